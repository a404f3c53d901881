//! A `pct` for tests: what Proxmox VE 8.4 shows of its containers (files, locks, messages, exit codes, leftovers), on top of
//! real plain LXC, with faults and delays to order.
//!
//! A test [installs](Installed::new) a root of its own: a directory with `etc/pve`, `var/lib/lxc`, storages, and the programs
//! `usr/sbin/pct` and `pvesm`, `usr/bin/pveam`, `pvesh` and `pveversion`. The programs find their root by where they are. What is known
//! of the real ones is in `recordings/`; the tests of this crate run the recorded commands and compare line by line. It does not
//! use the crate that is tested with it: what Proxmox does is read twice.
//!
//! Faults and delays are described in [`fault`](Installed::fault)'s module, `fault.rs`.
//!
//! What differs from the real ones, on purpose: volumes are directories, also where they stand for images and logical volumes;
//! mounts of directories stand for loop mounts; a network that is changed while the container runs changes in the
//! configuration alone; migration, backup, high availability, REST and users are missing.

#![allow(clippy::format_push_string, clippy::format_collect, reason = "texts here are short, and made once")]
#![allow(clippy::needless_for_each, reason = "what is said for each line reads as one sentence")]

mod arguments;
mod call;
mod clock;
mod clone;
mod commands;
mod conf;
mod create;
mod destroy;
mod died;
mod disks;
mod fault;
mod files;
mod guest_files;
mod hotplug;
mod install;
mod life;
mod lock;
mod lxc;
mod mounting;
mod others;
mod pending;
mod property;
mod read;
mod root;
mod schema;
mod set;
mod sha1;
mod snapshot;
mod storage;
mod task;
mod tree;
mod vmlist;

pub use commands::run;
pub use install::{Counted, Installed};
pub use root::{Root, Vmid};
pub use sha1::sha1;
pub use storage::StorageKind;
