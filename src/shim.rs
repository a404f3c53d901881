//! The shim: the small supervisor under which every child that changes the host runs, and the locks it holds.
//!
//! Apart because it outlives Phoenix: a killed orchestrator changes nothing for a child, and whoever comes after finds the
//! lock held, or the result. The same binary is executed again as `phoenix __shim`; what it is to do reaches it by
//! descriptor alone. Not here: which commands a backend runs (`host`), and what is done about a verdict (`engine`).
//!
//! The order of calls, by a host, for one recorded effect:
//!
//! 1. [`Lock::take`] for the container, before the intent is recorded; [`prepare`] allocates the result and output files,
//!    so that a full disk is noticed before anything is begun;
//! 2. [`spawn()`] hands the job and the locked descriptors over. It returns once the shim has left Phoenix's session;
//! 3. [`Running::wait`] blocks until the shim has written its result. Phoenix may be killed meanwhile;
//! 4. after a crash, [`recover()`] waits for what is in flight, reads the result, or ends orphans.

mod attach;
mod blot;
mod child;
mod clock;
mod freezer;
mod job;
mod left;
mod lock;
mod output;
mod place;
mod process;
mod recover;
mod result;
mod secret;
mod spawn;
mod supervise;
mod unpack;
mod wire;

pub use clock::Clock;
pub use freezer::thaw;
pub use job::{ContainerRef, IntentRef, Job, JobError, Kept, Secret, Task, Variables};
pub use left::{Begun, LEFT_FILES_MAX, Left};
pub use lock::{Holder, Lock, LockError, LockName, RuntimeDir, RuntimeDirError};
pub use output::{OUTPUT_HEAD_BYTES_MAX, OUTPUT_TAIL_BYTES_MAX};
pub use place::{PrepareError, Prepared, ResultPlace, prepare};
pub(crate) use process::beginning_of;
pub use process::{Bearer, end_bearers, living_bearers};
pub use recover::{InFlight, Inquiry, RecoverError, Settled, Settlement, recover};
pub use result::{Ending, JobResult, ResultError, Unpacked};
pub use secret::{SECRET_BYTES_MAX, SecretError, resolve};
pub use spawn::{Running, ShimBinary, SpawnError, spawn};
pub use unpack::{UNPACK_MEMORY_BYTES_MAX, digest_of, ran_out_of_memory};

use std::ffi::OsStr;
use std::process::ExitCode;

/// The hidden word that makes the binary a shim.
pub const SHIM_WORD: &str = "__shim";
/// The hidden word that makes the binary unpack an archive inside its own namespaces.
pub const UNPACK_WORD: &str = "__unpack";

/// Runs the hidden entry point that the first argument names; `None` if it names none.
///
/// A binary that serves as [`ShimBinary`] calls this first in `main`, before any thread is started.
pub fn entry(word: Option<&OsStr>) -> Option<ExitCode> {
    match word?.to_str()? {
        SHIM_WORD => Some(supervise::main()),
        UNPACK_WORD => Some(unpack::main()),
        _ => None,
    }
}
