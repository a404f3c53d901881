//! Which programs and commands there are, and what is said when there is no such command.

use std::process::ExitCode;

use crate::call::{Call, Command, record};
use crate::clone::{CLONE, TEMPLATE};
use crate::create::CREATE;
use crate::destroy::{DESTROY, UNLOCK};
use crate::died::{Died, Outcome, err};
use crate::disks::{MOUNT, RESCAN, RESIZE, UNMOUNT};
use crate::files::{PULL, PUSH};
use crate::life::{REBOOT, SHUTDOWN, START, STOP};
use crate::read::{CONFIG, EXEC, LIST, PENDING, STATUS};
use crate::root::Root;
use crate::set::SET;
use crate::snapshot::{DELSNAPSHOT, LISTSNAPSHOT, ROLLBACK, SNAPSHOT};
use crate::{lxc, mounting, others, task};

static COMMANDS: &[&Command] = &[
    &CLONE,
    &CONFIG,
    &CREATE,
    &DELSNAPSHOT,
    &DESTROY,
    &EXEC,
    &LIST,
    &LISTSNAPSHOT,
    &MOUNT,
    &PENDING,
    &PULL,
    &PUSH,
    &REBOOT,
    &RESCAN,
    &RESIZE,
    &ROLLBACK,
    &SET,
    &SHUTDOWN,
    &SNAPSHOT,
    &START,
    &STATUS,
    &STOP,
    &TEMPLATE,
    &UNLOCK,
    &UNMOUNT,
];

/// What `pct` says after an unknown command.
const USAGE: &str = "USAGE: pct <COMMAND> [ARGS] [OPTIONS]

       pct clone <vmid> <newid> [OPTIONS]
       pct create <vmid> <ostemplate> [OPTIONS]
       pct destroy <vmid> [OPTIONS]
       pct list 
       pct migrate <vmid> <target> [OPTIONS]
       pct move-volume <vmid> <volume> [<storage>] [<target-vmid>] [<target-volume>] [OPTIONS]
       pct pending <vmid>
       pct resize <vmid> <disk> <size> [OPTIONS]
       pct restore <vmid> <ostemplate> [OPTIONS]
       pct template <vmid>

       pct config <vmid> [OPTIONS]
       pct set <vmid> [OPTIONS]

       pct delsnapshot <vmid> <snapname> [OPTIONS]
       pct listsnapshot <vmid>
       pct rollback <vmid> <snapname> [OPTIONS]
       pct snapshot <vmid> <snapname> [OPTIONS]

       pct reboot <vmid> [OPTIONS]
       pct resume <vmid>
       pct shutdown <vmid> [OPTIONS]
       pct start <vmid> [OPTIONS]
       pct stop <vmid> [OPTIONS]
       pct suspend <vmid>

       pct console <vmid> [OPTIONS]
       pct cpusets 
       pct df <vmid>
       pct enter <vmid> [OPTIONS]
       pct exec <vmid> [<extra-args>] [OPTIONS]
       pct fsck <vmid> [OPTIONS]
       pct fstrim <vmid> [OPTIONS]
       pct mount <vmid>
       pct pull <vmid> <path> <destination> [OPTIONS]
       pct push <vmid> <file> <destination> [OPTIONS]
       pct remote-migrate <vmid> [<target-vmid>] <target-endpoint> --target-bridge <string> --target-storage <string> [OPTIONS]
       pct rescan  [OPTIONS]
       pct status <vmid> [OPTIONS]
       pct unlock <vmid>
       pct unmount <vmid>

       pct help [<extra-args>] [OPTIONS]";

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().copied().find(|command| command.name == name)
}

/// An argument as a Perl program reads it that decodes by the locale: the plain one knows no letter beyond ASCII.
fn decoded(word: String) -> String {
    let is_plain = std::env::var("LC_ALL").is_ok_and(|locale| locale == "C" || locale == "POSIX");
    if is_plain {
        word.bytes().map(|byte| if byte.is_ascii() { char::from(byte) } else { char::REPLACEMENT_CHARACTER }).collect()
    } else {
        word
    }
}

/// Does what this process was called for.
pub fn run() -> ExitCode {
    let root = match Root::of_this_program() {
        Ok(root) => root,
        Err(died) => return ended(Err(died)),
    };
    if let Some(code) = task::work_if_asked(&root, find) {
        return code;
    }
    let mut words = std::env::args();
    let called = words.next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or(&called).to_owned();
    let args: Vec<String> = words.map(decoded).collect();
    if [lxc::PRE_START, lxc::POST_STOP].contains(&name.as_str()) {
        return mounting::hook(&root, &name);
    }
    let line: Vec<String> = [name.clone()].into_iter().chain(args.iter().cloned()).collect();
    record(&root, &line);
    ended(match name.as_str() {
        "pveam" => others::pveam(root, &args),
        "pvesh" => others::pvesh(&root, &args),
        "pvesm" => others::pvesm(&root, &args),
        "pveversion" => Ok(others::pveversion(&root, &args)),
        _ => pct(root, &args),
    })
}

fn pct(root: Root, args: &[String]) -> Outcome<u8> {
    let Some((name, rest)) = args.split_first() else { return Err(Died::new(format!("ERROR: no command specified\n{USAGE}"))) };
    let Some(command) = find(name) else { return Err(Died::new(format!("ERROR: unknown command 'pct {name}'\n{USAGE}"))) };
    Call::new(root, command, rest.to_vec())?.go()
}

fn ended(outcome: Outcome<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(died) => {
            err(&died.text);
            ExitCode::from(died.code)
        }
    }
}
