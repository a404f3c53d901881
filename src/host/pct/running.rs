//! What is at work to start a container, beside LXC's own: `pct start` and its worker.
//!
//! They get neither lock nor token, so that they are known by their command lines alone. Not here: monitors and inits
//! (`local::monitor`), and decisions.

use std::io;
use std::path::Path;

use crate::host::local::life::Up;
use crate::host::local::proc::{self, Held};
use crate::ids::Ctid;

use super::layout::Layout;
use super::observe;

/// Tasks that bring a container up.
const STARTING: [&str; 3] = ["vzstart", "vzreboot", "vzresume"];

/// Takes hold of what runs of one container: its init, its monitor, and whatever is at work to start it.
pub(crate) fn up(layout: &Layout, ctid: Ctid) -> io::Result<Up> {
    let mut up = observe::up(layout, ctid)?;
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Some(command) = proc::command_line(pid) else { continue };
        if starting(pid, &command, layout) == Some(ctid) && proc::is_of_this_root(pid) {
            up.starters.extend(Held::open(pid));
        }
    }
    Ok(up)
}

/// The container that a `pct start` or its worker is about.
fn starting(pid: u32, command: &[u8], layout: &Layout) -> Option<Ctid> {
    let text = std::str::from_utf8(command).ok()?;
    if let Some(title) = text.strip_prefix("task UPID:") {
        let fields: Vec<&str> = title.trim_end_matches(['\0', ' ']).split(':').collect();
        let own = fields.get(1).and_then(|own| u32::from_str_radix(own, 16).ok()) == Some(pid);
        let kind = fields.get(4).is_some_and(|kind| STARTING.contains(kind));
        return if own && kind && is_of_root(pid, layout) { fields.get(5)?.parse().ok() } else { None };
    }
    let program = layout.program("pct");
    // `/usr/bin/perl -T /usr/sbin/pct start 101`
    let mut words = text.trim_end_matches('\0').split('\0').skip_while(|word| Path::new(word) != program);
    (words.nth(1)? == "start").then(|| words.next()?.parse().ok())?
}

/// Under a root of a test's own, a worker is this root's program; on a node it is Perl's.
fn is_of_root(pid: u32, layout: &Layout) -> bool {
    layout.root() == Path::new("/") || std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(layout.root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_a_container_is_told_by_its_command() {
        let layout = Layout::new("/".into());
        let told = |command: &str| starting(0x1234, command.as_bytes(), &layout).map(Ctid::get);
        assert_eq!(told("/usr/bin/perl\0-T\0/usr/sbin/pct\0start\x00101\0"), Some(101));
        assert_eq!(told("/usr/sbin/pct\0start\x00101\0--debug\x001\0"), Some(101));
        assert_eq!(told("task UPID:vm:00001234:0007:6B03:vzstart:101:root@pam:\0\0"), Some(101));
        assert_eq!(told("task UPID:vm:00001235:0007:6B03:vzstart:101:root@pam:"), None, "a title with another's number");
        assert_eq!(told("task UPID:vm:00001234:0007:6B03:vzstop:101:root@pam:"), None);
        assert_eq!(told("/usr/sbin/pct\0stop\x00101\0"), None);
        assert_eq!(told("less\0/usr/sbin/pct\0"), None);
    }
}
