//! The pieces of each operation: what a crash can come between.
//!
//! One table, apart from what a piece does (`act`), so that a test can walk every piece of every action and a reader sees at
//! a glance where an operation can be cut. Durations are those of a small Proxmox node with local storage.

use crate::plan::{Action, HoldBy, Intent};

use super::dice::{Dice, step_key};

/// One piece: what it does, and how long it takes in milliseconds before chance moves it by a fifth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) act: Act,
    pub(super) ms: u32,
}

/// What one piece does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A part of the template is in the host's store.
    FetchHalf,
    /// The rest of it is.
    FetchRest,
    /// The configuration appears, locked and without a mark.
    Claim,
    /// The root file system is filled: from the archive, or with the source's.
    Fill,
    /// Configuration and mark are complete; locks on target and source are gone.
    Complete,
    /// A clone source's configuration is locked.
    LockSource,
    /// The mark is written again, if a person asked for that.
    WriteMark,
    /// The host asks a container to end; it may take until the deadline.
    Signal,
    /// Its init ends.
    Halt,
    /// The source may be started again.
    LetGo,
    WriteSettings,
    /// The container's own section of the firewall is written.
    WriteFirewall,
    /// A snapshot's section appears, locked; what runs is frozen.
    PrepareSnapshot,
    /// The storage has the snapshot; lock and frost are gone.
    KeepSnapshot,
    /// A snapshot is marked as going, and locked.
    UnmakeSnapshot,
    /// It is gone.
    DropSnapshot,
    /// An init appears, and the host writes the id map down.
    Spawn,
    /// The init still lives and has the right map.
    Confirm,
    ReadMap,
    MakeDirectory,
    GiveOwner,
    GiveMode,
    WriteMount,
    DropMount,
    /// The container is ready, or was not until the deadline.
    Await,
    /// A script is started inside.
    Exec,
    /// It has written the one half of what it writes.
    WriteHalf,
    /// It has written the other half, and ended.
    WriteRest,
    /// The shim collects its exit status and writes the result.
    Reap,
    Ask,
    WriteAutostart,
    /// A container is renamed away: it is not there under its id any more, its files still are.
    MoveAway,
    Delete,
    /// What a killed operation left is removed.
    ClearLeftover,
    /// What was changed is made durable.
    Sync,
}

/// Who carries an operation, and so what a death of Phoenix alone does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Phoenix itself: it ends where it is.
    Phoenix,
    /// A child under a shim: it goes on and leaves a result.
    Shim,
    /// `lxc-start`, which nobody supervises: it goes on and leaves none.
    Nobody,
}

/// The pieces of what an intent does, in order; never empty. `live` says that the source to be let go has a snapshot for its clones.
pub(super) fn pieces_of(intent: &Intent, live: bool) -> &'static [Piece] {
    match &intent.action {
        Action::FetchTemplate => FETCH,
        Action::SetFirewall => FIREWALL,
        Action::TakeSnapshot | Action::Hold { by: HoldBy::Snapshot, .. } => SNAPSHOT,
        Action::Release if live => UNSNAPSHOT,
        Action::Create { .. } => CREATE,
        Action::Clone { .. } => CLONE,
        Action::Mark => MARK,
        Action::Hold { by: HoldBy::Stop, .. } | Action::Stop { .. } => STOP,
        Action::Release => RELEASE,
        Action::Configure => CONFIGURE,
        Action::Start { .. } => START,
        Action::ReadIdmap { .. } => READ_MAP,
        Action::Prepare { .. } => PREPARE,
        Action::Attach { .. } => ATTACH,
        Action::Detach { .. } => DETACH,
        Action::AwaitReady { .. } => AWAIT_READY,
        Action::RunScript { .. } => SCRIPT,
        Action::AskHealth { .. } => ASK_HEALTH,
        Action::SetAutostart => AUTOSTART,
        Action::Destroy => DESTROY,
        Action::Repair { .. } => REPAIR,
    }
}

pub(super) fn carrier_of(action: &Action, live: bool) -> Carrier {
    match action {
        Action::Release if live => Carrier::Shim,
        Action::FetchTemplate
        | Action::TakeSnapshot
        | Action::Create { .. }
        | Action::Clone { .. }
        | Action::Hold { .. }
        | Action::Stop { .. }
        | Action::RunScript { .. }
        | Action::AskHealth { .. }
        | Action::Destroy
        | Action::Repair { .. } => Carrier::Shim,
        Action::Start { .. } => Carrier::Nobody,
        Action::Mark
        | Action::Release
        | Action::Configure
        | Action::SetFirewall
        | Action::ReadIdmap { .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::AwaitReady { .. }
        | Action::SetAutostart => Carrier::Phoenix,
    }
}

/// Whether an action changes the host, rather than only asking it.
pub(super) fn changes_host(action: &Action) -> bool {
    match action {
        Action::ReadIdmap { .. } | Action::AwaitReady { .. } | Action::AskHealth { .. } => false,
        Action::FetchTemplate
        | Action::SetFirewall
        | Action::TakeSnapshot
        | Action::Create { .. }
        | Action::Clone { .. }
        | Action::Mark
        | Action::Hold { .. }
        | Action::Release
        | Action::Configure
        | Action::Start { .. }
        | Action::Stop { .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::RunScript { .. }
        | Action::SetAutostart
        | Action::Destroy
        | Action::Repair { .. } => true,
    }
}

/// How long the piece with this number takes, in milliseconds: its own time, a fifth more or less.
pub(super) fn duration_ms(intent: &Intent, pieces: &[Piece], number: u8, dice: Dice) -> u64 {
    let base = u64::from(pieces.get(usize::from(number)).map_or(0, |piece| piece.ms));
    let keys = [u64::from(intent.ctid.get()), step_key(&intent.step.step), u64::from(intent.attempt), u64::from(number)];
    dice.between(&keys, base - base / 5, base + base / 5)
}

const fn piece(act: Act, ms: u32) -> Piece {
    Piece { act, ms }
}

const FETCH: &[Piece] = &[piece(Act::FetchHalf, 2000), piece(Act::FetchRest, 2000), piece(Act::Sync, 100)];
const FIREWALL: &[Piece] = &[piece(Act::WriteFirewall, 5), piece(Act::Sync, 5)];
const SNAPSHOT: &[Piece] = &[piece(Act::PrepareSnapshot, 300), piece(Act::KeepSnapshot, 400), piece(Act::Sync, 50)];
const UNSNAPSHOT: &[Piece] = &[piece(Act::UnmakeSnapshot, 300), piece(Act::DropSnapshot, 350), piece(Act::Sync, 50)];
const CREATE: &[Piece] = &[piece(Act::Claim, 150), piece(Act::Fill, 1500), piece(Act::Complete, 250), piece(Act::Sync, 100)];
const CLONE: &[Piece] =
    &[piece(Act::LockSource, 50), piece(Act::Claim, 150), piece(Act::Fill, 2500), piece(Act::Complete, 200), piece(Act::Sync, 100)];
const MARK: &[Piece] = &[piece(Act::WriteMark, 2), piece(Act::Sync, 3)];
const STOP: &[Piece] = &[piece(Act::Signal, 50), piece(Act::Halt, 450)];
const RELEASE: &[Piece] = &[piece(Act::LetGo, 2)];
const CONFIGURE: &[Piece] = &[piece(Act::WriteSettings, 5), piece(Act::Sync, 5)];
const START: &[Piece] = &[piece(Act::Spawn, 200), piece(Act::Confirm, 100)];
const READ_MAP: &[Piece] = &[piece(Act::ReadMap, 1)];
const PREPARE: &[Piece] = &[piece(Act::MakeDirectory, 1), piece(Act::GiveOwner, 5), piece(Act::GiveMode, 1), piece(Act::Sync, 5)];
const ATTACH: &[Piece] = &[piece(Act::WriteMount, 5), piece(Act::Sync, 5)];
const DETACH: &[Piece] = &[piece(Act::DropMount, 5), piece(Act::Sync, 5)];
const AWAIT_READY: &[Piece] = &[piece(Act::Await, 10)];
const SCRIPT: &[Piece] =
    &[piece(Act::Exec, 20), piece(Act::WriteHalf, 1500), piece(Act::WriteRest, 1500), piece(Act::Sync, 50), piece(Act::Reap, 5)];
const ASK_HEALTH: &[Piece] = &[piece(Act::Ask, 100)];
const AUTOSTART: &[Piece] = &[piece(Act::WriteAutostart, 5), piece(Act::Sync, 5)];
const DESTROY: &[Piece] = &[piece(Act::MoveAway, 50), piece(Act::Delete, 800), piece(Act::Sync, 50)];
const REPAIR: &[Piece] = &[piece(Act::ClearLeftover, 500), piece(Act::Sync, 50)];
