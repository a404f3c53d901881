//! STUB
#![allow(clippy::todo, reason = "signatures first")]
pub(super) fn main() -> std::process::ExitCode {
    todo!()
}
