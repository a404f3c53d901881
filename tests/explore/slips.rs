//! Mistakes made on purpose, each of which one invariant has to find.
//!
//! They sit in the abstract host and in what watches it, never in the engine: what is shown is that the invariants look. Not
//! here: the mistakes themselves, which stand where they are made.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    /// A result that a shim left is not found by the one who comes after a crash.
    ForgetsResults,
    /// Whose a container is does not matter.
    BlindToMarks,
    /// A step in doubt is answered for while its child is still at work, and its lock given to others.
    IgnoresLocks,
    /// What is not attached counts as attached when it is looked for, and stands in the configuration.
    AttachesInWordsOnly,
    /// A step that was done is not reported.
    LosesReports,
    /// A crash takes back the last transaction.
    LosesCommits,
    /// Starting a container does not make its id map.
    MapsNothing,
    /// A source that is to be held stays up.
    HoldsInWordsOnly,
    /// A source is stopped for its snapshot.
    StopsForSnapshots,
    /// The snapshot for clones is not deleted, and is said to be.
    KeepsSnapshots,
}
