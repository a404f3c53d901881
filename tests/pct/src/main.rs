//! The program that stands for `pct`, `pveam`, `pvesm` and `pveversion`; which of them is said by the name it is called by.

use std::process::ExitCode;

fn main() -> ExitCode {
    phoenix_test_pct::run()
}
