//! Values of environment variables, read just before a job starts.
//!
//! The journal keeps the reference, never value or digest. Not here: blotting (`blot`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::job::{Secret, Variables};
use crate::manifest::EnvValue;

/// The largest secret, in bytes; half of what one string of an environment may have (`MAX_ARG_STRLEN`).
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Reads every value: the variables, and those values among them that are secret, for [`super::Job::secrets`].
pub fn resolve(env: &BTreeMap<String, EnvValue>) -> Result<(Variables, Vec<Secret>), SecretError> {
    resolve_from(env, |name| std::env::var_os(name))
}

fn resolve_from(env: &BTreeMap<String, EnvValue>, own: impl Fn(&str) -> Option<OsString>) -> Result<(Variables, Vec<Secret>), SecretError> {
    let (mut variables, mut secrets) = (Variables::new(), Vec::new());
    for (variable, value) in env {
        let value = match value {
            EnvValue::Plain(text) => Secret::new(text.as_bytes()),
            EnvValue::SecretFile(path) => keep(&mut secrets, read_file(variable, path)?),
            EnvValue::SecretEnv(name) => {
                let value = own(name).ok_or_else(|| SecretError::Env { variable: variable.clone(), name: name.clone() })?;
                keep(&mut secrets, Secret::new(value.into_vec()))
            }
        };
        variables.insert(variable.clone(), value);
    }
    Ok((variables, secrets))
}

fn keep(secrets: &mut Vec<Secret>, secret: Secret) -> Secret {
    secrets.push(secret.clone());
    secret
}

/// The content without the line ending that editors add.
fn read_file(variable: &str, path: &Path) -> Result<Secret, SecretError> {
    let io = |source| SecretError::File { variable: variable.to_owned(), path: path.to_owned(), source };
    let unfit = |why: &str| SecretError::Unfit { variable: variable.to_owned(), path: path.to_owned(), why: why.to_owned() };
    // Non-blocking, because opening a fifo would wait for its writer.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag that fits");
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(unfit("is no regular file; name a file with the value alone"));
    }
    let mut value = Vec::new();
    file.take(SECRET_BYTES_MAX + 2).read_to_end(&mut value).map_err(io)?;
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    if value.len() as u64 > SECRET_BYTES_MAX {
        return Err(unfit("is larger than 64 KiB; name a file with the value alone"));
    }
    if value.contains(&0) {
        return Err(unfit("contains a zero byte, which no variable can hold"));
    }
    Ok(Secret::new(value))
}

/// Why a value cannot be had: the container waits for it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret for {variable} cannot be read from {}", path.display())]
    File {
        /// The variable that needs it.
        variable: String,
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// The file is no regular file, or too large.
    #[error("the secret for {variable} in {} {why}", path.display())]
    Unfit {
        /// The variable that needs it.
        variable: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, as `is no regular file`.
        why: String,
    },
    /// The variable is not in Phoenix's environment.
    #[error("the secret for {variable} is to come from the environment variable {name}, which is not set; set it and run again")]
    Env {
        /// The variable that needs it.
        variable: String,
        /// The variable it comes from.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(value: EnvValue) -> Result<(Variables, Vec<Secret>), SecretError> {
        let own = |name: &str| (name == "SET").then(|| OsString::from("from-env"));
        resolve_from(&BTreeMap::from([("V".to_owned(), value)]), own)
    }

    #[test]
    fn values_are_read_where_they_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pw");
        for (content, value) in [("pw\n", "pw"), ("pw", "pw"), ("pw\r\n", "pw"), ("a\nb\n\n", "a\nb\n"), ("", "")] {
            std::fs::write(&path, content).expect("written");
            let (variables, secrets) = ask(EnvValue::SecretFile(path.clone())).expect("there");
            assert_eq!(variables["V"].reveal(), value.as_bytes());
            assert_eq!(secrets, vec![Secret::new(value)]);
        }
        let (variables, secrets) = ask(EnvValue::SecretEnv("SET".into())).expect("set");
        assert_eq!((variables["V"].reveal(), secrets.len()), (&b"from-env"[..], 1));
        let (variables, secrets) = ask(EnvValue::Plain("open".into())).expect("plain");
        assert_eq!((variables["V"].reveal(), secrets.len()), (&b"open"[..], 0));
    }

    #[test]
    fn what_is_missing_or_unfit_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let large = dir.path().join("large");
        std::fs::write(&large, vec![b'x'; 65_537]).expect("written");
        assert!(matches!(ask(EnvValue::SecretFile(dir.path().join("none"))), Err(SecretError::File { .. })));
        assert!(matches!(ask(EnvValue::SecretFile(dir.path().to_owned())), Err(SecretError::Unfit { .. })));
        assert!(matches!(ask(EnvValue::SecretFile(large)), Err(SecretError::Unfit { .. })));
        let error = ask(EnvValue::SecretEnv("UNSET".into())).expect_err("not set").to_string();
        assert!(error.contains('V') && error.contains("UNSET"), "{error}");
    }

    #[test]
    fn secrets_do_not_print() {
        let (variables, secrets) = ask(EnvValue::SecretEnv("SET".into())).expect("set");
        assert!(!format!("{variables:?} {secrets:?}").contains("from-env"));
    }
}
