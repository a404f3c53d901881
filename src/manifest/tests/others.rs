//! Files in the hands of others, and files that are none.
//!
//! Apart because these tests are about the disk: owners, modes, links, directories.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{Bench, load_says, one};

/// A bench as root sees it, with a good manifest.
fn as_root() -> Bench {
    let mut bench = Bench::new();
    bench.around.root = true;
    bench.write("fleet.json", one("\"features\": [\"base.sh\"]"), 0o644);
    bench
}

#[track_caller]
fn load(bench: &Bench, expected: &str) {
    let said = load_says(bench, &bench.path("fleet.json"));
    assert!(said == expected.trim_matches('\n'), "\n--- said\n{said}\n--- expected{expected}\n---");
}

fn chmod(bench: &Bench, name: &str, mode: u32) {
    fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn files_in_our_own_hands_are_taken() {
    load(
        &as_root(),
        r##"
fine
"##,
    );
}

#[test]
fn a_script_that_others_can_write_is_refused() {
    let bench = as_root();
    chmod(&bench, "base.sh", 0o757);
    load(
        &bench,
        r##"
fleet.json:3:14: the script DIR/base.sh can be written by others (mode 0757); run `chmod go-w DIR/base.sh`, or trust it with --trust-manifest
  3 | "features": ["base.sh"]
    |              ^^^^^^^^^
"##,
    );
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    let bench = as_root();
    fs::create_dir(bench.path("in")).expect("a directory");
    let secret = bench.path("in/secret");
    fs::write(&secret, "value").expect("written");
    let script = format!(r#""application": {{ "script": "base.sh", "env": {{ "A": {{ "secret_file": "{}" }} }} }}"#, secret.display());
    bench.write("fleet.json", one(&script), 0o644);
    let said = |file: u32, directory: u32, top: u32| {
        chmod(&bench, "in/secret", file);
        chmod(&bench, "in", directory);
        chmod(&bench, "", top);
        load_says(&bench, &bench.path("fleet.json"))
    };
    let warned = said(0o644, 0o755, 0o755);
    assert!(warned.contains("everybody on this host can read the secret in DIR/in/secret; run `chmod o-r DIR/in/secret`"), "{warned}");
    for (file, directory, top) in [(0o640, 0o755, 0o755), (0o644, 0o750, 0o755), (0o644, 0o755, 0o700)] {
        assert_eq!(said(file, directory, top), "fine");
    }
}

#[test]
fn a_manifest_that_its_group_can_write_is_refused() {
    let bench = as_root();
    chmod(&bench, "fleet.json", 0o664);
    load(
        &bench,
        r##"
fleet.json: the manifest can be written by others (mode 0664); run `chmod go-w fleet.json`, or trust it with --trust-manifest
"##,
    );
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let bench = as_root();
    chmod(&bench, "", 0o777);
    load(
        &bench,
        r##"
fleet.json: the manifest lies in DIR, which others can write to (mode 0777); run `chmod go-w DIR`, or trust it with --trust-manifest
"##,
    );
}

#[test]
fn a_link_leads_through_directories_that_are_looked_at_too() {
    let bench = as_root();
    fs::create_dir(bench.path("open")).expect("a directory");
    bench.write("open/real.sh", "#!/bin/sh\n", 0o755);
    symlink("real.sh", bench.path("open/link.sh")).expect("a link");
    symlink("open/../open/link.sh", bench.path("deep.sh")).expect("a link");
    bench.write("fleet.json", one("\"features\": [\"deep.sh\"]"), 0o644);
    load(
        &bench,
        r##"
fine
"##,
    );
    chmod(&bench, "open", 0o777);
    let said = load_says(&bench, &bench.path("fleet.json"));
    assert!(said.contains("the script DIR/deep.sh lies in DIR/open, which others can write to (mode 0777)"), "{said}");
}

#[test]
fn a_sticky_directory_of_roots_protects_what_is_in_it() {
    let bench = as_root();
    chmod(&bench, "", 0o1777);
    let owned_by_root = rustix::process::geteuid().is_root();
    assert_eq!(load_says(&bench, &bench.path("fleet.json")) == "fine", owned_by_root);
}

#[test]
fn a_script_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln_skip("only root can give a file away");
        return;
    }
    let bench = as_root();
    std::os::unix::fs::chown(bench.path("base.sh"), Some(1234), None).expect("another owner");
    load(
        &bench,
        r##"
fleet.json:3:14: the script DIR/base.sh belongs to user 1234, who could change it; run `chown root DIR/base.sh`, or trust it with --trust-manifest
  3 | "features": ["base.sh"]
    |              ^^^^^^^^^
"##,
    );
}

#[test]
fn a_link_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln_skip("only root can give a link away");
        return;
    }
    let bench = as_root();
    symlink("base.sh", bench.path("link.sh")).expect("a link");
    std::os::unix::fs::lchown(bench.path("link.sh"), Some(1234), None).expect("another owner");
    bench.write("fleet.json", one("\"features\": [\"link.sh\"]"), 0o644);
    load(
        &bench,
        r##"
fleet.json:3:14: the script DIR/link.sh is reached through the link DIR/link.sh of user 1234, who could exchange it; run `chown -h root DIR/link.sh`, or trust it with --trust-manifest
  3 | "features": ["link.sh"]
    |              ^^^^^^^^^
"##,
    );
}

#[test]
fn trust_takes_everything() {
    let mut bench = as_root();
    chmod(&bench, "base.sh", 0o777);
    chmod(&bench, "", 0o777);
    bench.around.trust_manifest = true;
    load(
        &bench,
        r##"
fine
"##,
    );
}

#[test]
fn links_in_a_circle_end() {
    let bench = as_root();
    symlink("b.sh", bench.path("a.sh")).expect("a link");
    symlink("a.sh", bench.path("b.sh")).expect("a link");
    bench.write("fleet.json", one("\"features\": [\"a.sh\"]"), 0o644);
    load(
        &bench,
        r##"
fleet.json:3:14: the script DIR/a.sh leads through more than 40 links; name the file itself
  3 | "features": ["a.sh"]
    |              ^^^^^^
"##,
    );
}

#[test]
fn a_manifest_that_is_not_there_is_named() {
    let bench = Bench::new();
    load(
        &bench,
        r##"
fleet.json: the manifest does not exist; check the path
"##,
    );
}

#[test]
fn a_manifest_that_is_a_directory_is_named() {
    let bench = Bench::new();
    fs::create_dir(bench.path("fleet.json")).expect("a directory");
    load(
        &bench,
        r##"
fleet.json: the manifest is a directory; name the file in it
"##,
    );
}

#[test]
fn a_path_through_a_file_is_named() {
    let bench = Bench::new();
    let said = load_says(&bench, &bench.path("t.tar/fleet.json"));
    assert_eq!(said, "DIR/t.tar/fleet.json: the manifest does not exist: its path leads through a file; check the path");
}

#[test]
fn a_manifest_that_may_not_be_read_is_named() {
    if rustix::process::geteuid().is_root() {
        eprintln_skip("root may read everything");
        return;
    }
    let bench = Bench::new();
    bench.write("fleet.json", "{}", 0o000);
    load(
        &bench,
        r##"
fleet.json: the manifest cannot be read by this user; run as a user who may read it
"##,
    );
}

#[test]
fn a_named_pipe_does_not_stop_us() {
    let bench = Bench::new();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, bench.path("pipe.sh"), rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    bench.write("fleet.json", one("\"features\": [\"pipe.sh\"]"), 0o644);
    load(
        &bench,
        r##"
fleet.json:3:14: the script DIR/pipe.sh is not a regular file; copy it to a file first
  3 | "features": ["pipe.sh"]
    |              ^^^^^^^^^
"##,
    );
}

#[test]
fn scripts_must_say_what_runs_them() {
    let bench = Bench::new();
    bench.write("none.sh", "echo hello\n", 0o755);
    bench.write("windows.sh", "#!/bin/sh\r\necho hello\r\n", 0o755);
    bench.write("short.sh", "#!bash\n", 0o755);
    bench.write("empty.sh", "", 0o755);
    bench.write("huge.sh", vec![b'#'; crate::manifest::SCRIPT_BYTES_MAX + 1], 0o755);
    fs::create_dir(bench.path("directory.sh")).expect("a directory");
    bench.write(
        "fleet.json",
        one("\"features\": [\"none.sh\",\n\"windows.sh\",\n\"short.sh\",\n\"empty.sh\",\n\"huge.sh\",\n\"directory.sh\"]"),
        0o644,
    );
    load(
        &bench,
        r##"
fleet.json:3:14: the script DIR/none.sh does not begin with `#!`; write its interpreter into the first line, such as #!/bin/sh
  3 | "features": ["none.sh",
    |              ^^^^^^^^^
fleet.json:4:1: the script DIR/windows.sh has Windows line ends, so its interpreter would not be found; convert it, for example with `sed -i 's/\r$//'`
  4 | "windows.sh",
    | ^^^^^^^^^^^^
fleet.json:5:1: the script DIR/short.sh names an interpreter without a whole path; write for example #!/bin/sh or #!/usr/bin/env python3
  5 | "short.sh",
    | ^^^^^^^^^^
fleet.json:6:1: the script DIR/empty.sh does not begin with `#!`; write its interpreter into the first line, such as #!/bin/sh
  6 | "empty.sh",
    | ^^^^^^^^^^
fleet.json:7:1: the script DIR/huge.sh is larger than 4 MiB; is this the right file?
  7 | "huge.sh",
    | ^^^^^^^^^
fleet.json:8:1: the script DIR/directory.sh is a directory; name the file in it
  8 | "directory.sh"]
    | ^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_volume_source_leads_through_no_link() {
    let bench = Bench::new();
    fs::create_dir(bench.path("real")).expect("a directory");
    symlink("real", bench.path("link")).expect("a link");
    let source = |name: &str| bench.path(name).display().to_string();
    let json = format!(
        "{{ \"fleet\": \"f\", \"volumes\": {{\n\"a\": {{ \"source\": \"{}\" }},\n\"b\": {{ \"source\": \"{}\" }},\n\"c\": {{ \"source\": \"{}\" }} }},\n\"containers\": {{ \"101\": {{ \"hostname\": \"a\", \"template\": \"t.tar\" }} }} }}",
        source("link/a"),
        source("t.tar"),
        source("real/new"),
    );
    let said = bench.says(json);
    let said: Vec<&str> = said.lines().filter(|line| line.starts_with("fleet.json")).collect();
    assert_eq!(
        said,
        [
            "fleet.json:2:18: the source DIR/link/a leads through the link DIR/link; write the path that the link stands for",
            "fleet.json:3:18: DIR/t.tar is not a directory; name a directory; it is made if it does not exist",
        ]
    );
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn eprintln_skip(why: &str) {
    eprintln!("skipped: {why}");
}
