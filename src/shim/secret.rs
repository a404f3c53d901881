//! Values of environment variables, read just before a job starts.
//!
//! The journal keeps the reference, never value or digest. Not here: blotting (`blot`).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::job::{Secret, Variables};
use crate::manifest::EnvValue;

/// The largest secret, in bytes.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Reads every value: the variables, and those values among them that are secret, for [`super::Job::secrets`].
pub fn resolve(env: &BTreeMap<String, EnvValue>) -> Result<(Variables, Vec<Secret>), SecretError> {
    let _ = env;
    todo!()
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
