//! What must not compile, and the error that a person sees who tries.
//!
//! Each file in `compile_fail/` breaks one promise that the types make; beside it stands what the compiler says. Its words
//! change between compilers: `TRYBUILD=overwrite cargo test --test compile_fail` writes them anew, and whoever does that reads
//! that every error is still about the promise. Not here: promises that hold at run time (`order`).

#[test]
fn broken_promises_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
