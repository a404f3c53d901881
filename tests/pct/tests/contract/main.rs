//! The fake `pct` against what is known of the real one: recorded commands line by line, leftovers of killed commands, locks.
//!
//! Needs root, LXC and a static busybox; without them each test says `skipped: ...`, or fails if `PHOENIX_TEST_LXC=require`.
//! Container numbers from 910000 on.

mod killed;
mod life;
mod world;
