//! The `phoenix` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a shim must neither parse a command line nor open a journal.
    if let Some(code) = phoenix::shim::entry(std::env::args_os().nth(1).as_deref()) {
        return code;
    }
    phoenix::cli::main(std::env::args_os())
}
