//! How a script or command gets into a container: two sealed memfds and one `lxc-attach`.
//!
//! The first memfd is a small generated `/bin/sh` script that sets the environment and executes the second, the script
//! itself. So neither values nor arguments are ever arguments of a process of the host, and nothing of the script lies in a
//! file that could be changed between reading and running. Commands go the same way, without the second memfd. Not here:
//! starting `lxc-attach` (`supervise`).

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use super::job::{ContainerRef, JobError, Variables};
use super::process::TOKEN_VARIABLE;

/// The descriptor of the generated script inside. Single digits, because some shells know no others in redirections.
pub(super) const WRAPPER_FD: i32 = 3;
/// The descriptor of the script inside.
pub(super) const SCRIPT_FD: i32 = 4;
/// The descriptor that is written to when the generated script has begun.
pub(super) const BEGUN_FD: i32 = 5;

/// What the generated script executes.
pub(super) enum Inside<'a> {
    /// The script on [`SCRIPT_FD`], with these arguments.
    Script(&'a [String]),
    /// This command.
    Command(&'a [String]),
}

/// The text of the generated script.
pub(super) fn wrapper(env: &Variables, inside: &Inside<'_>) -> Result<Vec<u8>, JobError> {
    let mut text = b"#!/bin/sh\n".to_vec();
    for (name, value) in env {
        check_name(name)?;
        text.extend_from_slice(format!("export {name}=").as_bytes());
        quote(value.reveal(), || format!("the value of {name}"), &mut text)?;
        text.push(b'\n');
    }
    // Nobody may be left to read it; that must not end the script.
    text.extend_from_slice(format!("echo >&{BEGUN_FD}\nexec").as_bytes());
    let words = match inside {
        Inside::Script(args) => {
            text.extend_from_slice(format!(" /proc/self/fd/{SCRIPT_FD}").as_bytes());
            *args
        }
        Inside::Command([]) => return Err(JobError::Empty),
        Inside::Command(argv) => *argv,
    };
    for (index, word) in words.iter().enumerate() {
        text.push(b' ');
        quote(word.as_bytes(), || format!("word {} of the command or its arguments", index + 1), &mut text)?;
    }
    // The script's own descriptor stays open: whatever the `#!` line names opens it by its number.
    text.extend_from_slice(format!(" {WRAPPER_FD}<&- {BEGUN_FD}>&-\n").as_bytes());
    Ok(text)
}

fn check_name(name: &str) -> Result<(), JobError> {
    let fine = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // The token is ours: a manifest that set it would make its processes look like another step's.
    if fine && name != TOKEN_VARIABLE { Ok(()) } else { Err(JobError::VariableName { name: name.to_owned() }) }
}

/// In single quotes every byte stands for itself, but for the quote.
fn quote(bytes: &[u8], what: impl Fn() -> String, text: &mut Vec<u8>) -> Result<(), JobError> {
    text.push(b'\'');
    for &byte in bytes {
        match byte {
            0 => return Err(JobError::ZeroByte { what: what() }),
            b'\'' => text.extend_from_slice(br"'\''"),
            _ => text.push(byte),
        }
    }
    text.push(b'\'');
    Ok(())
}

/// The arguments of `lxc-attach`, the program first.
pub(super) fn argv(container: &ContainerRef) -> Vec<std::ffi::OsString> {
    let ContainerRef { lxc_attach, lxc_path, name, init: _ } = container;
    let wrapper = format!("/proc/self/fd/{WRAPPER_FD}");
    let mut argv = vec![lxc_attach.into(), "-P".into(), lxc_path.into()];
    argv.extend(["-n", name, "--clear-env", "--keep-var", TOKEN_VARIABLE, "--", &wrapper].map(Into::into));
    argv
}

/// A file in memory that nobody can change any more, executable.
pub(super) fn sealed(name: &str, content: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels from 6.3 on want to be told that it is executed, older ones do not know the flag.
    let memfd = match memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    };
    let mut file = File::from(memfd?);
    file.write_all(content)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::job::Secret;
    use super::*;

    fn text(env: &[(&str, &str)], inside: &Inside<'_>) -> Result<String, JobError> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        wrapper(&env, inside).map(|text| String::from_utf8(text).expect("plain"))
    }

    #[test]
    fn values_and_arguments_are_words_whatever_is_in_them() {
        let args = ["it's".to_owned(), String::new(), "$(id)\n`x`".to_owned()];
        assert_eq!(
            text(&[("A", "x'y"), ("B", "")], &Inside::Script(&args)).expect("fine"),
            "#!/bin/sh\nexport A='x'\\''y'\nexport B=''\necho >&5\nexec /proc/self/fd/4 'it'\\''s' '' '$(id)\n`x`' 3<&- 5>&-\n"
        );
        let command = ["pg_isready".to_owned(), "-q".to_owned()];
        assert_eq!(text(&[], &Inside::Command(&command)).expect("fine"), "#!/bin/sh\necho >&5\nexec 'pg_isready' '-q' 3<&- 5>&-\n");
    }

    #[test]
    fn what_a_shell_cannot_take_is_refused() {
        for name in ["", "1A", "A-B", "A B", "A;id", "Ä", "PHOENIX_TOKEN"] {
            assert!(matches!(text(&[(name, "x")], &Inside::Script(&[])), Err(JobError::VariableName { .. })), "{name:?}");
        }
        assert!(matches!(text(&[("A", "x\0y")], &Inside::Script(&[])), Err(JobError::ZeroByte { .. })));
        assert!(matches!(text(&[], &Inside::Script(&["\0".to_owned()])), Err(JobError::ZeroByte { .. })));
        assert!(matches!(text(&[], &Inside::Command(&[])), Err(JobError::Empty)));
    }

    #[test]
    fn sealed_files_cannot_be_written() {
        let file = sealed("x", b"abc").expect("a memfd");
        assert!(
            std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).is_err()
                || (&file).write_all(b"x").is_err()
        );
    }
}
