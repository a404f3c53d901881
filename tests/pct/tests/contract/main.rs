//! The fake `pct` against what is known of the real one: recorded commands line by line, leftovers of killed commands, locks.
//!
//! Needs root, LXC and a static busybox; without them each test says `skipped: ...`, or fails if `PHOENIX_TEST_LXC=require`.
//! Container numbers from 910000 on.

#![allow(clippy::format_push_string, clippy::format_collect, reason = "texts here are short, and made once")]

mod halfway;
mod killed;
mod left_out;
mod life;
mod recording;
mod replay;
mod storages;
mod weather;
mod world;
