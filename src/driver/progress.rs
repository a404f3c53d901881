//! What happens during a run, as it happens, for whoever watches.
//!
//! Told after the commit, so nothing is shown that a crash could take back. Not here: how it is shown.

use std::path::Path;

use phoenix_journal::Seq;

use crate::ids::Ctid;
use crate::machine::{Fact, RunEnd, Wait};
use crate::plan::{Doubt, Intent};

use super::turn::TurnError;

/// One thing that happened.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The journal was one of an older version and is one of this program's now.
    Upgraded {
        /// The copy that was made of it before.
        copy: &'a Path,
    },
    /// An intent is durable, and the host is at work on it.
    Intended {
        /// Its place in the journal.
        seq: Seq,
        /// The intent.
        intent: &'a Intent,
    },
    /// A fact is durable.
    Recorded {
        /// Its place in the journal.
        seq: Seq,
        /// The fact.
        fact: &'a Fact,
    },
    /// What became of an intent is being found out.
    Settling {
        /// The intent.
        doubt: &'a Doubt,
    },
    /// A container waits for something.
    Waiting {
        /// The container.
        ctid: Ctid,
        /// For this.
        wait: &'a Wait,
    },
    /// Nothing more is begun; steps in flight are finished first.
    Stopping {
        /// How many steps are in flight.
        in_flight: usize,
        /// The error that it is for; a person asked for it if there is none.
        why: Option<&'a TurnError>,
    },
    /// The run ended.
    Ended {
        /// How.
        end: RunEnd,
    },
}

/// Who is told.
pub trait Observer {
    /// Something happened. Called on the driver's thread: must not block for long.
    fn observe(&mut self, progress: Progress<'_>);
}

/// Nobody is told.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _: Progress<'_>) {}
}
