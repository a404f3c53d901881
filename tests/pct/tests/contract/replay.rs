//! The recorded commands, one after the other, on a root in which every recorded id `NNN` is `910NNN`.
//!
//! Whoever recorded them did things in between: killed commands, edited files. [`between`] does them again.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use phoenix_test_pct::Vmid;
use rustix::fs::{FlockOperation, flock};

use crate::left_out::{Instead, LOOSE, left_out};
use crate::recording::{Entry, Item, TEXT, constant, items};
use crate::world::{Said, World, host_command, tell, template, waited};

const OFFSET: u32 = 910_000;
/// Recorded ids. Other numbers of three digits are sizes and codes.
const IDS: [u32; 36] = [
    100, 101, 102, 103, 110, 111, 120, 121, 122, 130, 131, 135, 136, 138, 140, 141, 150, 201, 202, 203, 204, 205, 206, 210, 220, 221, 223,
    240, 250, 251, 252, 260, 261, 262, 263, 264,
];

struct Replay {
    world: World,
    /// Held instead of the `pct stop` that hung.
    lock: Option<File>,
    /// Of the configuration when it was first used.
    digest: Option<String>,
    /// What differs, in words.
    wrong: Vec<String>,
}

#[test]
fn every_recorded_command_says_and_does_what_was_recorded() {
    let Some(world) = World::new() else { return };
    let mut replay = Replay { world, lock: None, digest: None, wrong: Vec::new() };
    replay.prepare();
    for item in items(TEXT) {
        match item {
            Item::Entry(entry) => replay.entry(&entry),
            Item::Loose(line, text) => assert!(LOOSE.contains(&line), "nobody replays line {line}: {text}"),
        }
    }
    let wrong = std::mem::take(&mut replay.wrong);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What differed before something broke says why it broke.
impl Drop for Replay {
    fn drop(&mut self) {
        self.wrong.iter().for_each(|what| tell(what));
    }
}

impl Replay {
    fn entry(&mut self, entry: &Entry) {
        self.between(entry.line);
        let instead = left_out(entry);
        if instead == Some(Instead::Nothing) {
            return;
        }
        let found = self.run(&entry.command);
        if instead == Some(Instead::Run) {
            return;
        }
        let lines = |text: &str| constant(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        let (stdout, stderr) = (lines(&self.as_recorded(&found.stdout)), lines(&self.as_recorded(&found.stderr)));
        let recorded = (constant(&entry.stdout), constant(&entry.stderr), entry.code);
        let is_list = entry.command.starts_with("pvesm list");
        let squeezed =
            |lines: &[String]| lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
        let same = if is_list { squeezed(&stdout) == squeezed(&recorded.0) } else { stdout == recorded.0 };
        if !same || stderr != recorded.1 || found.code != recorded.2 {
            let show = |name: &str, lines: &[String]| lines.iter().map(|line| format!("    {name} {line}\n")).collect::<String>();
            self.wrong.push(format!(
                "line {}: $ {}\n  recorded [{}]\n{}{}  found [{}]\n{}{}",
                entry.line,
                entry.command,
                entry.code,
                show("O|", &recorded.0),
                show("E|", &recorded.1),
                found.code,
                show("O|", &stdout),
                show("E|", &stderr),
            ));
        }
    }

    /// Runs a recorded command line.
    fn run(&mut self, command: &str) -> Said {
        let mut line = self.as_here(command);
        if let Some((_, digest)) = line.split_once("--digest ").map(|(start, digest)| (start.to_owned(), digest.to_owned())) {
            let conf = self.world.conf(OFFSET + 120);
            let own = self.digest.get_or_insert_with(|| phoenix_test_pct::sha1(conf.as_bytes()));
            line = line.replace(&digest, own);
        }
        self.shell(&line.replace("timeout 10 ", "timeout 1 "))
    }

    fn shell(&self, line: &str) -> Said {
        let programs = self.world.path();
        let mut shell = host_command("sh".as_ref());
        shell.env("PATH", format!("{0}/usr/sbin:{0}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs.display())).arg("-c").arg(line);
        // Files, not pipes: what hangs in a frozen container keeps them open.
        let (out, err) = (self.path("test/out"), self.path("test/err"));
        shell.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
        let status = shell.status().expect("a shell");
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("ended");
        let read = |path| String::from_utf8_lossy(&fs::read(path).expect("what it said")).into_owned();
        Said { code, stdout: read(out), stderr: read(err) }
    }

    /// A recorded line with the ids and paths of this root.
    fn as_here(&self, text: &str) -> String {
        let root = self.world.path().display();
        let mut here = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(at);
            let (number, after) = from.split_at(from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len()));
            here += before;
            let is_id = number.parse().is_ok_and(|number: u32| IDS.contains(&number));
            let is_value = here.ends_with("--memory ") || here.ends_with('.');
            here += &if is_id && !is_value { format!("910{number}") } else { number.to_owned() };
            rest = after;
        }
        here += rest;
        let here = here.replace("/etc/pve/", &format!("{root}/etc/pve/")).replace("/var/lib/vz", &format!("{root}/var/lib/vz"));
        here.replace("/root/files", &format!("{root}/root/files"))
    }

    /// What was said here, as it would have been said there.
    fn as_recorded(&self, text: &str) -> String {
        let text = text.replace(&self.world.path().display().to_string(), "").replace("/var/lib/vz/btr/", "/var/lib/vz/btrfs/");
        let mut there = String::new();
        for line in text.split_inclusive('\n') {
            // The columns of `pct list`: the id is in ten, and perhaps in the name at the end.
            let is_row = line.starts_with("910") && line.get(6..11) == Some("     ");
            let end = if line.contains("910") && line.matches("910").count() > 1 { "   \n" } else { "\n" };
            let line = if is_row { format!("{}   {}{end}", &line[..6], line[6..].trim_end_matches('\n')) } else { line.to_owned() };
            let mut parts = line.split("910");
            there += parts.next().unwrap_or_default();
            for part in parts {
                let is_id = part.get(..3).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
                there += if is_id { "" } else { "910" };
                there += part;
            }
        }
        there
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    fn hand(&mut self, recorded: &str) {
        self.hand_ends(recorded, 0);
    }

    fn hand_ends(&mut self, recorded: &str, code: i32) {
        let said = self.shell(&self.as_here(recorded));
        if said.code != code {
            self.wrong.push(format!("by hand: $ {recorded}\n  {said:?}"));
        }
    }

    /// Kills a command at a piece of its work.
    fn killed(&mut self, recorded: &str, piece: &str) {
        let line = self.as_here(recorded);
        let words: Vec<&str> = line.split(' ').collect();
        self.world.pct.fault(&format!("{} {} kill-both-after {piece}", words[1], words[2])).expect("ordered");
        self.hand_ends(recorded, 137);
        let lock = File::open(self.world.pct.root().config_lock(Vmid::new(words[2].parse().expect("an id"))));
        let free = || lock.as_ref().map_or(true, |lock| flock(lock, FlockOperation::NonBlockingLockShared).is_ok());
        assert!(waited(free), "{line}");
    }

    fn conf(&self, id: u32) -> PathBuf {
        self.world.pct.root().conf(Vmid::new(OFFSET + id))
    }

    fn edit(&self, id: u32, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.conf(id)).expect("a configuration");
        fs::write(self.conf(id), change(text)).expect("written");
    }

    fn hook(&self, fails_on: &str) {
        let path = self.path("var/lib/vz/snippets/hook.sh");
        let fail = if fails_on.is_empty() { String::new() } else { format!("[ $2 = {fails_on} ] && exit 3\n") };
        fs::write(&path, format!("#!/bin/sh\necho hook: $1 $2\n{fail}exit 0\n")).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode");
    }

    /// Templates and files of the recording machine.
    fn prepare(&mut self) {
        let tree = self.path("debian");
        fs::create_dir(&tree).expect("made");
        let (tree, cache) = (tree.display(), self.path("var/lib/vz/template/cache/debian-12-min_12_amd64.tar.zst"));
        let build = format!(
            "tar -xzf {} -C {tree} && echo ID=debian >{tree}/etc/os-release && echo www-data:x:33:33::/:/bin/sh >>{tree}/etc/passwd \
             && echo www-data:x:33: >>{tree}/etc/group && tar --numeric-owner -czf {} -C {tree} . && rm -r {tree}",
            template().display(),
            cache.display(),
        );
        assert_eq!(self.shell(&build).code, 0);
        fs::create_dir_all(self.path("root/files")).expect("made");
        fs::write(self.path("root/files/h.txt"), "hello\n").expect("written");
        self.hook("");
        self.hand("pct create 100 local:vztmpl/busybox-1.0_amd64.tar.gz --ostype unmanaged --arch amd64 --rootfs local:0 --unprivileged 1 --hostname ct100 --memory 64 --net0 name=eth0,bridge=vmbr0,ip=10.99.0.100/24");
    }

    /// What was done by hand before the command at this line.
    fn between(&mut self, line: usize) {
        const BUSYBOX: &str = "local:vztmpl/busybox-1.0_amd64.tar.gz --ostype unmanaged --arch amd64 --unprivileged 1";
        const DEBIAN: &str = "local:vztmpl/debian-12-min_12_amd64.tar.zst --rootfs btr:1 --unprivileged 1";
        match line {
            // The network was gone, and its new value pending.
            357 => self.edit(100, |text| {
                let kept: Vec<&str> = text.split_inclusive('\n').filter(|line| !line.starts_with("net0")).collect();
                kept.concat() + "net0: name=eth0,bridge=vmbr0,ip=10.99.0.101/24\n"
            }),
            424 => {
                fs::create_dir(self.path("var/lib/vz/bind1")).expect("made");
                fs::write(self.path("var/lib/vz/bind1/f"), "hi\n").expect("written");
            }
            969 => {
                self.hand("pct set 100 --delete mp0");
                self.hand("pct set 100 --net5 name=eth5,bridge=vmbr77");
            }
            1407 => self.killed(&format!("pct create 130 {DEBIAN}"), "unpack"),
            1441 => self.killed(&format!("pct create 131 {DEBIAN}"), "unpack"),
            1468 => self.killed(&format!("pct create 138 {DEBIAN}"), "unpack"),
            1505 => self.killed("pct clone 110 140", "volume"),
            // The clone that was ended softly; then the snapshot whose waiting process was killed.
            1560 => {
                self.world.pct.fault(&format!("snapshot {} kill-parent-after prepare", OFFSET + 110)).expect("ordered");
                self.hand_ends("pct snapshot 110 k1", 137);
                assert!(waited(|| !self.world.conf(OFFSET + 110).contains("lock:")));
            }
            1649 => {
                self.world.pct.fault(&format!("snapshot {} kill-worker-frozen", OFFSET + 110)).expect("ordered");
                self.hand_ends("pct snapshot 110 k1", 255);
            }
            // A `pct stop` hung in `lxc-stop`, with the lock.
            1719 => {
                self.world.pct.delay("lock-timeout", 100).expect("ordered");
                let lock = File::open(self.world.pct.root().config_lock(Vmid::new(OFFSET + 110))).expect("a lock");
                flock(&lock, FlockOperation::LockExclusive).expect("free");
                self.lock = Some(lock);
            }
            // It was killed, and the container thawed.
            1827 => {
                self.lock = None;
                thaw(OFFSET + 110);
                // Busybox obeys the request to shut down that reached it while it was frozen.
                assert!(waited(|| !self.world.pct.is_running(Vmid::new(OFFSET + 110))));
                self.hand("pct start 110");
            }
            2054 => self.hook("pre-start"),
            2058 => self.hook("post-start"),
            2067 => self.hook("pre-stop"),
            2085 => self.edit(120, |text| text + "lxc.environment = FOO=bar\nlxc.apparmor.profile: unconfined\n"),
            2124 => self.edit(120, |text| text.replace("arch:", "bogus: 1\narch:")),
            2282 => self.rest(),
            2377 => {
                self.hand("pct stop 111");
                self.hand("pct destroy 111");
                self.hand("pct set 202 --memory 101 --tags 'x;y'");
                self.hand("pct start 202");
                self.hand(&format!("pct create 221 {BUSYBOX} --rootfs local:0"));
            }
            2398 => {
                self.hand("pct stop 202");
                self.hand("pct set 202 --features nesting=1");
                self.map(202, "u 0 100000 1000,g 0 100000 1000,u 1000 1000 1,g 1000 1000 1,u 1001 101001 64535,g 1001 101001 64535");
            }
            2421 => self.hook(""),
            2447 => self.edit(250, |text| text.replace("hostname:", "lock: backup\nhostname:")),
            2475 => {
                self.map(202, "");
                self.hand("pct start 202");
                for id in [203, 204, 205, 206, 210, 221] {
                    self.hand(&format!("pct destroy {id}"));
                }
            }
            2512 => self.killed(&format!("pct create 252 {BUSYBOX} --rootfs btr:1"), "unpack"),
            _ => {}
        }
    }

    /// The containers of the parallel runs and of the REST recording.
    fn rest(&mut self) {
        const BUSYBOX: &str = "local:vztmpl/busybox-1.0_amd64.tar.gz --ostype unmanaged --arch amd64 --unprivileged 1 --rootfs local:0";
        for id in [201, 202, 203, 204, 205, 206, 210] {
            self.hand(&format!("pct create {id} {BUSYBOX}"));
        }
        self.hand("pct create 220 local:vztmpl/debian-12-min_12_amd64.tar.zst --rootfs btr:1 --unprivileged 1 --hostname api220 --net0 name=eth0,bridge=vmbr0,ip=10.99.0.220/24");
        self.killed("pct clone 220 223", "begin");
        self.hand("pct unlock 220");
        self.hand("pct start 220");
    }

    fn map(&self, id: u32, maps: &str) {
        self.edit(id, |text| {
            let kept: String = text.split_inclusive('\n').filter(|line| !line.starts_with("lxc.idmap")).collect();
            maps.split(',').filter(|map| !map.is_empty()).fold(kept, |text, map| text + &format!("lxc.idmap: {map}\n"))
        });
    }
}

fn thaw(id: u32) {
    let first = PathBuf::from(format!("/sys/fs/cgroup/freezer/lxc/{id}/freezer.state"));
    let (path, word) =
        if first.exists() { (first, "THAWED") } else { (PathBuf::from(format!("/sys/fs/cgroup/lxc/{id}/cgroup.freeze")), "0") };
    File::options().write(true).open(&path).and_then(|mut file| file.write_all(word.as_bytes())).expect("thawed");
}
