//! Secrets reach the script and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::fleet::{Fleet, wait_for_gate};
use super::ground::{Ground, Kind};
use super::processes::{all, until};

const OF_FILE: &str = "correct-horse-4f1c";
const OF_ENVIRONMENT: &str = "battery-staple-93ab";

/// No file below has these bytes.
#[track_caller]
fn check_absent(path: &Path, secret: &str, except: &Path) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if path == except {
        return;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            check_absent(&entry.path(), secret, except);
        }
    } else if meta.is_file() {
        let bytes = fs::read(path).unwrap_or_default();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds a secret", path.display());
    }
}

#[track_caller]
fn check_nowhere(ground: &Ground) {
    for secret in [OF_FILE, OF_ENVIRONMENT] {
        for directory in
            [ground.path("journal"), ground.path("said"), ground.lxc_path(), ground.path("pve/etc"), ground.path("pve/var/log")]
        {
            check_absent(&directory, secret, &ground.rootfs(0).join("root"));
        }
        check_absent(ground.runtime(), secret, Path::new(""));
        let shown = all().into_iter().find(|one| one.argv.iter().any(|word| word.contains(secret)));
        assert_eq!(shown, None, "arguments are for everybody to read");
    }
}

fn secrets_reach_the_script_and_nothing_else(kind: Kind) {
    let Some(ground) = Ground::on(kind, 19) else { return };
    let file = ground.path("secret");
    fs::write(&file, format!("{OF_FILE}\n")).expect("written");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("a mode");
    let body = format!(
        "echo \"password $FIRST and $SECOND\"; printf %s \"$FIRST $SECOND\" | sed 's/./&\\n/g' | tr -d '\\n'; \
         printf '%s %s' \"$FIRST\" \"$SECOND\" >/root/got; {}; echo \"$FIRST\" >&2",
        wait_for_gate("go")
    );
    ground.script("secretive", &body);
    let env = json!({ "FIRST": { "secret_file": file }, "SECOND": { "secret_env": "PHOENIX_REAL_SECRET" } });
    Fleet::new(&ground).container(0, json!({ "features": [{ "script": "scripts/secretive.sh", "env": env }] })).write();

    // One is missing: the container waits, and says for what.
    ground.up(1);
    let status = ground.status();
    assert_eq!(status[0]["waiting_for"]["kind"], "secret", "{status:#?}");
    assert!(status[0]["waiting_for"]["name"].as_str().is_some_and(|name| name.contains("PHOENIX_REAL_SECRET")), "{status:#?}");
    assert_eq!(ground.starts(0, "secretive"), 0);

    let manifest = ground.path("fleet.json");
    let mut command = ground.command(&["-v", "up", manifest.to_str().expect("plain")]);
    command.env("PHOENIX_REAL_SECRET", OF_ENVIRONMENT);
    let phoenix = ground.start_command(command);
    until("the secrets", || {
        fs::read_to_string(ground.rootfs(0).join("root/got")).ok().filter(|got| got.len() > OF_FILE.len() + OF_ENVIRONMENT.len())
    });
    check_nowhere(&ground);
    ground.open_gate(0, "go");
    let said = phoenix.wait();
    assert_eq!(said.code, 0, "{}", said.stderr);
    let got = fs::read_to_string(ground.rootfs(0).join("root/got")).expect("written");
    assert_eq!(got, format!("{OF_FILE} {OF_ENVIRONMENT}"));
    ground.ends(0, &["--json", "history"]);
    ground.ends(0, &["journal", "export"]);
    ground.ends(0, &["explain", &ground.ctid(0).to_string()]);
    check_nowhere(&ground);
    ground.invariant_journal_is_clean();
}

on_each_host! {
    secrets_reach_the_script_and_nothing_else
}
