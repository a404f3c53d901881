//! STUB

/// How much of the beginning of an output is kept.
pub const OUTPUT_HEAD_BYTES_MAX: u64 = 64 * 1024;
/// How much of the end of an output is kept.
pub const OUTPUT_TAIL_BYTES_MAX: u64 = 192 * 1024;
/// What an output file takes at most.
pub(super) const OUTPUT_BYTES_MAX: u64 = OUTPUT_HEAD_BYTES_MAX + OUTPUT_TAIL_BYTES_MAX + 4096;
