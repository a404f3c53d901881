//! A crash-safe journal of state machines on SQLite.
