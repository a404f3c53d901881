//! Plain LXC below: the configuration that is made for it, and the container as it runs.
//!
//! Not here: Proxmox's configuration (`conf`), and what is mounted where (`mounting`).

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::conf::{Conf, Section};
use crate::died::{Died, Outcome, die, err, out};
use crate::property::{DEVICE, NET, Property};
use crate::root::{HOOKS, Root, Vmid};
use crate::task;

/// The first id of root's containers, which Proxmox takes for granted.
pub(crate) const FIRST_ID: u32 = 100_000;
const ENVIRONMENT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a monitor takes to end at most.
const MONITOR_END_MS: u64 = 5000;
/// How long the last line of a failed start is waited for.
const LAST_WORDS_MS: u64 = 2000;
pub(crate) const PRE_START: &str = "lxc-pve-prestart-hook";
pub(crate) const POST_STOP: &str = "lxc-pve-poststop-hook";

/// Whether LXC has the container running: its monitor listens.
pub(crate) fn is_running(root: &Root, id: Vmid) -> bool {
    let socket = format!("@{}/command", root.lxc(id).display());
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets.lines().any(|line| line.ends_with(&socket))
}

/// The process that is init inside.
pub(crate) fn init(root: &Root, id: Vmid) -> Option<u32> {
    let mut info = task::program("lxc-info");
    let output = info.arg("-P").arg(root.lxc_path()).args(["-n", &id.to_string(), "-pH"]).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The host's id of the container's root.
pub(crate) fn owner(section: &Section) -> u32 {
    if !section.is_on("unprivileged") {
        return 0;
    }
    let of_root = |(key, value): &(String, String)| {
        let mut words = value.split_ascii_whitespace();
        let is_it = key == "lxc.idmap" && words.next() == Some("u") && words.next() == Some("0");
        is_it.then(|| words.next()?.parse().ok()).flatten()
    };
    section.raw.iter().find_map(of_root).unwrap_or(FIRST_ID)
}

/// The id map as `lxc-usernsexec` and configurations want it: `u 0 100000 65536`.
pub(crate) fn id_maps(section: &Section) -> Vec<String> {
    let own: Vec<String> = section.raw.iter().filter(|(key, _)| key == "lxc.idmap").map(|(_, value)| value.clone()).collect();
    match (section.is_on("unprivileged"), own.is_empty()) {
        (false, true) => Vec::new(),
        (true, true) => ["u", "g"].map(|kind| format!("{kind} 0 {FIRST_ID} 65536")).to_vec(),
        (true | false, false) => own,
    }
}

/// Whether a bridge is there: on this machine, or for the root alone (then it connects nothing).
pub(crate) fn bridge_is_real(root: &Root, name: &str) -> Outcome<bool> {
    let place = Path::new("sys/class/net").join(name);
    match (Path::new("/").join(&place).exists(), root.join(&place).exists()) {
        (true, _) => Ok(true),
        (false, true) => Ok(false),
        (false, false) => die(format!("bridge '{name}' does not exist")),
    }
}

/// Writes `/var/lib/lxc/ID/config` from the configuration.
pub(crate) fn write_config(root: &Root, id: Vmid, conf: &Conf) -> Outcome {
    let main = &conf.main;
    let place = |line: u32| format!("internal error at /usr/share/perl5/PVE/LXC.pm line {line}.");
    let Some(arch) = main.get("arch") else { return die(format!("missing 'arch' - {}", place(676))) };
    if main.get("ostype").is_none() {
        return die(format!("missing 'ostype' - {}", place(678)));
    }
    let profile = main.raw.iter().any(|(key, _)| key == "lxc.apparmor.profile");
    if profile && main.get("features").is_some_and(|features| features.contains("nesting=1")) {
        err("explicitly configured lxc.apparmor.profile overrides the following settings: features:nesting");
    }
    let mut text = String::new();
    let mut set = |key: &str, value: &str| text += &format!("{key} = {value}\n");
    set("lxc.cgroup.relative", "0");
    set("lxc.cgroup.dir.monitor", &format!("lxc.monitor/{id}"));
    set("lxc.cgroup.dir.container", &format!("lxc/{id}"));
    set("lxc.cgroup.dir.container.inner", "ns");
    set("lxc.arch", arch);
    for include in ["common.conf", "userns.conf"].iter().take(if main.is_on("unprivileged") { 2 } else { 1 }) {
        let path = Path::new("/usr/share/lxc/config").join(include);
        if path.exists() {
            set("lxc.include", &path.display().to_string());
        }
    }
    set("lxc.monitor.unshare", "1");
    id_maps(main).iter().for_each(|map| set("lxc.idmap", map));
    set("lxc.environment", "TERM=linux");
    set("lxc.uts.name", main.get("hostname").unwrap_or(&format!("CT{id}")));
    limits(main).iter().for_each(|(key, value)| set(key, value));
    set("lxc.rootfs.path", &root.mounted(id).display().to_string());
    set("lxc.hook.version", "1");
    for (key, hook) in [("lxc.hook.pre-start", PRE_START), ("lxc.hook.post-stop", POST_STOP)] {
        set(key, &root.join(HOOKS).join(hook).display().to_string());
    }
    networks(root, id, main)?.iter().for_each(|(key, value)| set(key, value));
    devices(main)?.iter().for_each(|(key, value)| set(key, value));
    main.raw.iter().filter(|(key, _)| key != "lxc.idmap").for_each(|(key, value)| set(key, value));
    let path = root.lxc(id).join("config");
    let written = fs::create_dir_all(root.mounted(id)).and_then(|()| fs::write(&path, text));
    written.map_err(|error| Died::io("write", &path, &error))
}

fn limits(main: &Section) -> Vec<(&'static str, String)> {
    let memory: Option<u64> = main.get("memory").unwrap_or("512").parse().ok();
    let bytes = memory.unwrap_or(512) << 20;
    if Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
        vec![("lxc.cgroup.memory.limit_in_bytes", bytes.to_string())]
    } else if fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|list| list.contains("memory")) {
        vec![("lxc.cgroup2.memory.max", bytes.to_string())]
    } else {
        Vec::new()
    }
}

/// Owner and mode of a device are left as they are on the host.
fn devices(main: &Section) -> Outcome<Vec<(&'static str, String)>> {
    let mut settings = Vec::new();
    for (key, value) in main.numbered("dev") {
        let device = Property::parse(&DEVICE, value).map_err(|wrong| Died::new(format!("{key}: {}", wrong.join("\n"))))?;
        let path = device.first.unwrap_or_default();
        let Ok(found) = fs::metadata(&path) else { return die(format!("Device {path} does not exist")) };
        let kind = match (found.file_type().is_char_device(), found.file_type().is_block_device()) {
            (true, _) => "c",
            (_, true) => "b",
            (false, false) => return die(format!("Path {path} is not a device node")),
        };
        let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
        let allowed = if device.named.get("deny-write").is_some_and(|value| value == "1") { "r" } else { "rw" };
        for key in ["lxc.cgroup.devices.allow", "lxc.cgroup2.devices.allow"] {
            settings.push((key, format!("{kind} {major}:{minor} {allowed}")));
        }
        settings.push(("lxc.mount.entry", format!("{path} {} none bind,create=file 0 0", path.trim_start_matches('/'))));
    }
    Ok(settings)
}

fn networks(root: &Root, id: Vmid, main: &Section) -> Outcome<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut count = 0;
    for (key, value) in main.numbered("net") {
        let number = &key["net".len()..];
        let net = Property::parse(&NET, value).map_err(|wrong| Died::new(wrong.join("\n")))?;
        let mut set = |key: &str, value: &str| settings.push((format!("lxc.net.{number}.{key}"), value.to_owned()));
        set("type", "veth");
        set("veth.pair", &format!("veth{id}i{number}"));
        set("flags", "up");
        for (key, name) in [("hwaddr", "hwaddr"), ("name", "name"), ("mtu", "mtu")] {
            if let Some(value) = net.get(name) {
                set(key, value);
            }
        }
        if let Some(bridge) = net.get("bridge")
            && bridge_is_real(root, bridge)?
        {
            set("link", bridge);
        }
        for (version, address, gateway) in [("ipv4", "ip", "gw"), ("ipv6", "ip6", "gw6")] {
            if let Some(ip) = net.get(address).filter(|ip| ip.contains('/')) {
                set(&format!("{version}.address"), ip);
                if let Some(gateway) = net.get(gateway) {
                    set(&format!("{version}.gateway"), gateway);
                }
            }
        }
        count += 1;
    }
    if count == 0 {
        settings.push(("lxc.net.0.type".to_owned(), "empty".to_owned()));
    }
    Ok(settings)
}

/// Starts the container as `systemd` would: a session of its own, no descriptors, no environment.
pub(crate) fn start(root: &Root, id: Vmid) -> Outcome {
    let log = root.join(format!("run/pve/ct-{id}.log"));
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory).map_err(|error| Died::io("make", directory, &error))?;
    }
    let _ = fs::remove_file(&log);
    let mut start = task::program("lxc-start");
    start.env_clear().env("PATH", ENVIRONMENT_PATH).current_dir("/");
    start.stdout(Stdio::null()).stderr(Stdio::null());
    // `--daemon` closes every other descriptor before the monitor takes over.
    start.args(["--daemon", "-P"]).arg(root.lxc_path()).args(["-n", &id.to_string(), "-l", "ERROR", "-o"]).arg(&log);
    let mut child = start.spawn().map_err(|error| Died::new(format!("command 'lxc-start' failed: {error}")))?;
    let status = task::wait(&mut child)?;
    if status.success() {
        return Ok(());
    }
    let said = last_words(&log)?;
    // The real one starts in the foreground, and nobody waits for a daemon.
    let of_daemon = |text: &String| text.starts_with("wait_on_daemonized_start:") || text.starts_with("main:");
    said.lines().filter_map(message).filter(|text| !of_daemon(text)).for_each(|text| out(&text));
    die(format!("startup for container '{id}' failed"))
}

/// The log of a start that failed: the daemon writes its last line after the one that waits for it has given up.
fn last_words(log: &Path) -> Outcome<String> {
    for _ in 0..LAST_WORDS_MS / 10 {
        let said = fs::read_to_string(log).unwrap_or_default();
        if said.contains(":__lxc_start:") {
            return Ok(said);
        }
        task::pause(10)?;
    }
    Ok(fs::read_to_string(log).unwrap_or_default())
}

/// `FUNCTION: LINE TEXT` of a line of LXC's log.
fn message(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("ERROR")?;
    let (place, text) = rest.split_once(" - ")?.1.split_once(" - ")?;
    let mut parts = place.rsplit(':');
    let (number, function) = (parts.next()?, parts.next()?);
    Some(format!("{function}: {number} {text}"))
}

/// Runs `lxc-stop` with these further arguments.
pub(crate) fn stop(root: &Root, id: Vmid, how: &[&str]) -> Outcome {
    let mut stop = task::program("lxc-stop");
    stop.arg("-P").arg(root.lxc_path()).args(["-n", &id.to_string()]).args(how);
    task::must(&mut stop, &format!("lxc-stop -n {id} {}", how.join(" ")))?;
    // The monitor says that the container is stopped before it has ended itself.
    for _ in 0..MONITOR_END_MS / 5 {
        if !is_running(root, id) {
            break;
        }
        task::pause(5)?;
    }
    Ok(())
}

/// A control file of a running container: of version 1, in its hierarchy, or of version 2. The word says which.
fn control(root: &Root, id: Vmid, controller: &str, first: &str, second: &str) -> Option<(PathBuf, bool)> {
    let init = init(root, id)?;
    let groups = fs::read_to_string(format!("/proc/{init}/cgroup")).ok()?;
    let of = |controller: &str| {
        let line = groups.lines().find(|line| line.split(':').nth(1) == Some(controller))?;
        // The whole container's, not the inner group that its init is in.
        line.splitn(3, ':').nth(2).map(|path| path.trim_start_matches('/').trim_end_matches("/ns").to_owned())
    };
    let old = of(controller).map(|group| Path::new("/sys/fs/cgroup").join(controller).join(group).join(first));
    let new = || of("").map(|group| Path::new("/sys/fs/cgroup").join(group).join(second));
    match old.filter(|path| path.exists()) {
        Some(path) => Some((path, true)),
        None => new().map(|path| (path, false)),
    }
}

/// Gives a running container another limit of memory, in MiB.
pub(crate) fn limit_memory(root: &Root, id: Vmid, mib: u64) {
    if let Some((path, _)) = control(root, id, "memory", "memory.limit_in_bytes", "memory.max") {
        // Below what is in use it is refused; the real one goes on as well.
        let _ = fs::write(path, (mib << 20).to_string());
    }
}

/// Freezes the container, or thaws it.
pub(crate) fn freeze(root: &Root, id: Vmid, frozen: bool) -> Outcome {
    let found = control(root, id, "freezer", "freezer.state", "cgroup.freeze");
    let Some((path, is_first)) = found else { return die(format!("no freezer of container {id}")) };
    let word = match (is_first, frozen) {
        (true, false) => "THAWED",
        (true, true) => "FROZEN",
        (false, false) => "0",
        (false, true) => "1",
    };
    fs::write(&path, word).map_err(|error| Died::io("write", &path, &error))
}

/// Makes LXC's directory of a container, readable for its root.
pub(crate) fn make_directory(root: &Root, id: Vmid) -> Outcome {
    let path = root.mounted(id);
    let made = fs::create_dir_all(&path).and_then(|()| fs::set_permissions(&path, PermissionsExt::from_mode(0o755)));
    made.map_err(|error| Died::io("make", &path, &error))
}

/// Of the plain LXC that is installed.
pub(crate) fn version() -> String {
    let output = task::program("lxc-info").arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
