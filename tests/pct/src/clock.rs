//! Time, and waiting: what the real program costs is paid here, and only where a test asks for it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the program tells the time to files and to nobody else")]
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1000
}

/// A moment to measure from.
#[expect(clippy::disallowed_methods, reason = "deadlines of locks, as in the real program")]
pub(crate) fn moment() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "delays are what a test orders, and locks are polled as in the real program")]
pub(crate) fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
