//! What a case has to know of a host beside the trait: how one meddles with it from outside, and what is to be seen there.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use phoenix::host::Host;
use phoenix::ids::Ctid;
use phoenix::manifest::{Mount, Spec};
use phoenix::plan::Mark;

/// A host of a test's own, and the world around it.
pub(crate) trait Site {
    fn host(&self) -> Arc<dyn Host>;

    /// The same host, as a process started later would see it.
    fn again(&self) -> Arc<dyn Host>;

    /// A container that can be made here: unprivileged, a planned id map, autostart, no scripts and no volumes.
    fn spec(&self, ctid: Ctid) -> Spec;

    /// Asks of a container whatever this host alone can be asked for.
    fn enrich(&self, spec: &mut Spec);

    /// A container that can be copied while it runs, where there are such.
    fn live_spec(&self, ctid: Ctid) -> Option<Spec>;

    /// A directory of the host that nothing lies at yet, for uid and gid 1000 inside and mode 0750.
    fn mount(&self, name: &str) -> Mount;

    /// Others do something to a container.
    fn meddle(&self, ctid: Ctid, meddling: &Meddling);

    /// Another process takes a container's lock, until what is returned is dropped.
    fn hold(&self, ctid: Ctid) -> Box<dyn Any>;

    /// The host does not show any more that it is the one the journal was made on.
    fn lose_proof(&self);

    /// All that is on the host's disk of containers and directories, to be compared: what an effect may change.
    fn print(&self) -> String;

    /// What is left of a container on the host, results of its scripts included.
    fn left_of(&self, ctid: Ctid) -> Vec<String>;

    /// Owner, group and permission bits of a directory of the host; `None` if there is none.
    fn directory(&self, path: &Path) -> Option<(u32, u32, u32)>;

    /// Makes a directory with something in it.
    fn make_filled_directory(&self, path: &Path, uid: u32, gid: u32, mode: u32);

    /// Puts another directory in the place of this one.
    fn swap_directory(&self, path: &Path);

    /// Where a secret lies that a script may be given; it is not there yet.
    fn secret(&self) -> std::path::PathBuf;

    /// Whether the secret can be read.
    fn show_secret(&self, shown: bool);

    /// Whether scripts are run: the simulator counts them and lets them succeed.
    fn runs_scripts(&self) -> bool;

    /// What a host's own configuration puts into the environment of everything that runs inside.
    fn environment(&self) -> Vec<String>;

    /// Whether the host bears something of each journal that was made on it; else it is known by its own name.
    fn has_sentinels(&self) -> bool;
}

/// What others do to a container.
#[derive(Clone, Debug)]
pub(crate) enum Meddling {
    /// It is removed by hand, running or not.
    Remove,
    /// A stranger's container comes to lie in its place, whatever was there.
    Stranger,
    /// Its mark is taken off.
    Unmark,
    /// It gets this mark.
    Mark(Mark),
    /// Its init is killed.
    KillInit,
    /// It is started by hand.
    Start,
}
