//! The `phoenix` binary.
fn main() {}
