//! Errors at the end of their way: who is to blame, which exit code follows, and how it is said.
//!
//! One exhaustive match per error enum decides the exit code. Not here: the texts, which stand with the errors.

use std::error::Error;
use std::fmt::Write;
use std::io;

use phoenix_journal::JournalError;

use crate::driver::rebuild::RebuildError;
use crate::driver::{DecideError, DriveError, RunError, TurnError};
use crate::host::HostError;
use crate::manifest::Problems;
use crate::rehearse::RehearsalError;
use crate::report::plain::{Look, Tone, one_line, paragraph};

use super::screen::{Screen, say};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    /// All is well.
    Well,
    /// A container is not where the run should have brought it.
    NotThere,
    /// It was interrupted.
    Interrupted,
    /// The arguments or the manifest are wrong.
    Usage,
    /// The host cannot be used.
    Host,
    /// The journal cannot be used.
    Journal,
    /// Our own fault.
    Fault,
}

impl Exit {
    /// The exit code. Of several causes the greatest [`Exit`] counts: the enum is in that order.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::NotThere => 1,
            Self::Usage => 2,
            Self::Host => 3,
            Self::Journal => 4,
            Self::Fault => 70,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// A run broke off or was not begun.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A decision was not recorded.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// No journal was rebuilt.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The host cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The manifest is wrong.
    #[error("{0}")]
    Manifest(Box<Problems>),
    /// What was asked for makes no sense.
    #[error("{what}")]
    Usage {
        /// Why not.
        what: String,
        /// The command to be given instead.
        next: Option<String>,
    },
    /// A file of the person's cannot be read.
    #[error("cannot read {what}")]
    Unreadable {
        /// Which file, for what.
        what: String,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// The journal was looked through and is not whole.
    #[error(
        "the journal is not whole: {findings}; move all its files away (-wal and -shm too) and put the newest backup in their place, or `phoenix journal rebuild FLEET`"
    )]
    NotWhole {
        /// How much is wrong.
        findings: String,
    },
    /// Nothing could be rehearsed.
    #[error(transparent)]
    Rehearsal(#[from] RehearsalError),
    /// Stdout cannot be written to.
    #[error("cannot write to stdout")]
    Output(#[source] io::Error),
}

/// Says what went wrong, unless it is that nobody listens; returns how the process ends.
pub(super) fn report(error: &CliError, screen: Screen) -> Exit {
    if let CliError::Output(source) = error
        && source.kind() == io::ErrorKind::BrokenPipe
    {
        return Exit::Well;
    }
    say(&text(error, screen.err));
    blame(error)
}

/// `error: what`, `  cause: ...` for each cause, `  next: command`.
fn text(error: &CliError, look: Look) -> String {
    let mut text = String::new();
    if let CliError::Manifest(problems) = error {
        // Several lines with marked spots, cleaned where they were made.
        return format!("{problems}\n");
    }
    let head = look.paint(Tone::Bad, "error");
    let _ = writeln!(text, "{head}: {}", one_line(&error.to_string()));
    for detail in details(error) {
        let _ = paragraph(&mut text, look, "  - ", &detail);
    }
    let mut cause = error.source();
    while let Some(source) = cause {
        let _ = writeln!(text, "  cause: {}", one_line(&source.to_string()));
        cause = source.source();
    }
    if let Some(next) = next(error) {
        let _ = writeln!(text, "  next: {next}");
    }
    text
}

/// The parts of an error that has several.
fn details(error: &CliError) -> Vec<String> {
    match error {
        CliError::Run(RunError::Plan(errors)) => errors.iter().map(ToString::to_string).collect(),
        CliError::Run(_)
        | CliError::Decide(_)
        | CliError::Rebuild(_)
        | CliError::Journal(_)
        | CliError::Host(_)
        | CliError::Manifest(_)
        | CliError::Usage { .. }
        | CliError::Unreadable { .. }
        | CliError::NotWhole { .. }
        | CliError::Rehearsal(_)
        | CliError::Output(_) => Vec::new(),
    }
}

/// The command to be given next, where there is one.
fn next(error: &CliError) -> Option<String> {
    if journal_of(error).is_some_and(is_lost) {
        return Some("a backup of the journal, or `phoenix journal rebuild FLEET`".to_owned());
    }
    if let Some(JournalError::Io { .. }) = journal_of(error) {
        return Some("`phoenix doctor` looks at the journal's place; --journal names another".to_owned());
    }
    match error {
        CliError::Usage { next, .. } => next.clone(),
        CliError::Run(RunError::Drive(DriveError::Abandoned { .. })) => Some("phoenix status --watch".to_owned()),
        CliError::Run(RunError::Drive(_)) => Some("phoenix resume".to_owned()),
        CliError::Run(RunError::JournalLost { .. }) => Some("phoenix journal rebuild FLEET".to_owned()),
        CliError::Run(RunError::UnknownContainers { .. }) | CliError::Decide(DecideError::Run(RunError::UnknownContainers { .. })) => {
            Some("phoenix status".to_owned())
        }
        CliError::Run(_)
        | CliError::Decide(_)
        | CliError::Rebuild(_)
        | CliError::Journal(_)
        | CliError::Host(_)
        | CliError::Manifest(_)
        | CliError::Unreadable { .. }
        | CliError::NotWhole { .. }
        | CliError::Rehearsal(_)
        | CliError::Output(_) => None,
    }
}

/// The journal's error, if it is one.
fn journal_of(error: &CliError) -> Option<&JournalError> {
    match error {
        CliError::Journal(error)
        | CliError::Run(RunError::Journal(error))
        | CliError::Decide(DecideError::Run(RunError::Journal(error)))
        | CliError::Rebuild(RebuildError::Run(RunError::Journal(error))) => Some(error),
        CliError::Run(_)
        | CliError::Decide(_)
        | CliError::Rebuild(_)
        | CliError::Host(_)
        | CliError::Rehearsal(_)
        | CliError::Manifest(_)
        | CliError::Usage { .. }
        | CliError::Unreadable { .. }
        | CliError::NotWhole { .. }
        | CliError::Output(_) => None,
    }
}

/// Whether nothing but another copy, or another journal, helps.
fn is_lost(error: &JournalError) -> bool {
    matches!(
        error,
        JournalError::Damaged { .. }
            | JournalError::NotAJournal { .. }
            | JournalError::WalBesideEmpty { .. }
            | JournalError::WalWithoutMain { .. }
    )
}

/// Whose fault it is.
fn blame(error: &CliError) -> Exit {
    match error {
        CliError::Run(error) => of_run(error),
        CliError::Decide(error) => of_decision(error),
        CliError::Rebuild(error) => of_rebuild(error),
        CliError::Journal(error) => of_journal(error),
        CliError::Host(error) => of_host(error),
        CliError::Manifest(_) | CliError::Usage { .. } | CliError::Unreadable { .. } => Exit::Usage,
        CliError::NotWhole { .. } => Exit::Journal,
        CliError::Rehearsal(RehearsalError::Unreached { .. }) => Exit::Usage,
        CliError::Rehearsal(RehearsalError::Stage(_)) => Exit::Fault,
        CliError::Output(_) => Exit::Host,
    }
}

fn of_run(error: &RunError) -> Exit {
    match error {
        RunError::Journal(error) => of_journal(error),
        RunError::Host(error) => of_host(error),
        RunError::OtherTerritory { .. } => Exit::Host,
        RunError::JournalLost { .. } | RunError::NothingRecorded { .. } => Exit::Journal,
        RunError::Plan(_) | RunError::NoJournal { .. } | RunError::UnknownContainers { .. } => Exit::Usage,
        RunError::Drive(DriveError::Turn(TurnError::Journal(error))) => of_journal(error),
        RunError::Drive(DriveError::Turn(TurnError::Refused { .. }) | DriveError::Panicked { .. }) => Exit::Fault,
        RunError::Drive(DriveError::Turn(TurnError::Host(error))) => of_host(error),
        RunError::Drive(DriveError::Abandoned { .. }) => Exit::Interrupted,
    }
}

fn of_decision(error: &DecideError) -> Exit {
    match error {
        DecideError::Run(error) => of_run(error),
        DecideError::Locked { .. } => Exit::Host,
        DecideError::NothingToDecide { .. }
        | DecideError::InDoubt { .. }
        | DecideError::NotInterrupted { .. }
        | DecideError::NoSuchStep { .. }
        | DecideError::StillThere { .. }
        | DecideError::NotMissing { .. }
        | DecideError::Unreadable { .. } => Exit::Usage,
    }
}

fn of_rebuild(error: &RebuildError) -> Exit {
    match error {
        RebuildError::Run(error) => of_run(error),
        RebuildError::Usable { .. } | RebuildError::TwoJournals { .. } => Exit::Usage,
        RebuildError::Locked { .. } | RebuildError::Alive { .. } | RebuildError::Changed => Exit::Host,
        RebuildError::OutOfTurn { .. } | RebuildError::Refused { .. } => Exit::Fault,
    }
}

fn of_host(error: &HostError) -> Exit {
    match error {
        HostError::Unusable { .. } | HostError::NotOurs { .. } | HostError::Io { .. } => Exit::Host,
        HostError::Full { .. } => Exit::Journal,
    }
}

/// The enum may grow in its own crate; whatever comes is the journal's affair.
fn of_journal(error: &JournalError) -> Exit {
    let ours = matches!(error, JournalError::BadSchema { .. } | JournalError::NoEpoch | JournalError::NotBegun { .. });
    let absent = matches!(error, JournalError::Missing { .. } | JournalError::Exists { .. });
    match (ours, absent) {
        (true, _) => Exit::Fault,
        (false, true) => Exit::Usage,
        (false, false) => Exit::Journal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_causes_the_first_of_the_list_counts() {
        let order = [Exit::Fault, Exit::Journal, Exit::Host, Exit::Usage, Exit::Interrupted, Exit::NotThere, Exit::Well];
        assert!(order.windows(2).all(|pair| pair[0] > pair[1]));
        assert_eq!(order.map(Exit::code), [70, 4, 3, 2, 130, 1, 0]);
    }

    #[test]
    fn an_error_is_said_with_its_causes_and_the_next_command() {
        let source = io::Error::other("disk\u{1b}[2J on fire");
        let error = CliError::Host(HostError::Io { what: "read /etc/machine-id".to_owned(), source });
        assert_eq!(text(&error, Look::PLAIN), "error: cannot read /etc/machine-id\n  cause: disk on fire\n");
        let error = CliError::Usage { what: "no such thing".to_owned(), next: Some("phoenix status".to_owned()) };
        assert_eq!(text(&error, Look::PLAIN), "error: no such thing\n  next: phoenix status\n");
    }

    #[test]
    fn a_closed_stdout_is_no_error() {
        let closed = CliError::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        let screen = Screen { out: Look::PLAIN, err: Look::PLAIN, live: false, clears: false, asks: false };
        assert_eq!(report(&closed, screen), Exit::Well);
    }
}
