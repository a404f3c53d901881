//! How a run came out: a line, and for each container that is not where it should be what failed and what to do next.
//!
//! Not here: what happened on the way (`event`).

use std::fmt::{self, Write};

use crate::driver::Finished;
use crate::engine::Stand;
use crate::ids::Ctid;
use crate::machine::{Life, RunCommand, RunEnd, Standing};

use super::event::{standing_phrase, wait_phrase};
use super::plain::{Look, Tone, count, paragraph, written};
use super::status::{ErrorReport, WaitReport, after_failure};
use super::status_text::write_failure;
use super::ways::{meaning, next_commands};

/// A run's end for people.
#[derive(Debug)]
pub struct RunSummary<'a> {
    command: RunCommand,
    finished: &'a Finished,
}

/// The summary of a finished run.
pub fn summary(command: RunCommand, finished: &Finished) -> RunSummary<'_> {
    RunSummary { command, finished }
}

impl RunSummary<'_> {
    /// The text.
    pub fn text(&self, look: Look) -> String {
        written(|f| self.write(f, look))
    }

    fn write(&self, f: &mut String, look: Look) -> fmt::Result {
        for (&ctid, stand) in &self.finished.stands {
            self.write_stand(f, ctid, stand, look)?;
        }
        let there = self.finished.stands.values().filter(|stand| **stand == Stand::There).count();
        let all = self.finished.stands.len();
        let goal = match self.command {
            RunCommand::Up | RunCommand::Resume | RunCommand::Retry | RunCommand::Rebuild => "done",
            RunCommand::Down => "down",
        };
        let (tone, how) = match (self.finished.end, self.finished.run) {
            (RunEnd::Done, None) => (Tone::Good, "nothing to do"),
            (RunEnd::Done, Some(_)) => (Tone::Good, "all well"),
            (RunEnd::Failed, _) => (Tone::Bad, "not all is well"),
            (RunEnd::Interrupted, _) => (Tone::Busy, "interrupted; `phoenix resume` goes on"),
        };
        let line = format!("{there} of {} {goal}: {how}", count(all, "container"));
        writeln!(f, "{}", look.paint(tone, &line))
    }

    fn write_stand(&self, f: &mut String, ctid: Ctid, stand: &Stand, look: Look) -> fmt::Result {
        let life = self.finished.lives.get(&ctid).and_then(|life| life.as_ref().ok());
        let name = life.map_or_else(|| ctid.to_string(), |life| format!("{ctid} {}", life.spec.hostname));
        match stand {
            Stand::There => Ok(()),
            Stand::Stuck(standing) => write_stuck(f, &name, ctid, standing, life, look),
            Stand::Blocked(on) => writeln!(f, "{name} waits for {on}, which is not done\n"),
            Stand::UnderWay if self.finished.end == RunEnd::Interrupted => Ok(()),
            Stand::UnderWay => writeln!(f, "{name} is still on the way\n"),
            Stand::Undecodable(why) => {
                paragraph(f, look, "", &format!("{name} is left alone, because the journal's account of it cannot be read: {why}"))?;
                writeln!(f)
            }
        }
    }
}

fn write_stuck(f: &mut String, name: &str, ctid: Ctid, standing: &Standing, life: Option<&Life>, look: Look) -> fmt::Result {
    match standing {
        Standing::Failed { step, failure } => {
            let next = after_failure(ctid, life.map(|life| &life.fleet));
            write_failure(f, name, &ErrorReport::of(&step.to_string(), failure, next), look)?;
        }
        Standing::Quarantined(found) => {
            writeln!(f, "{}", look.paint(Tone::Bad, &format!("{name} quarantined: {}", found.reason.name())))?;
            paragraph(f, look, "    ", &format!("{}. {}", meaning(found.reason), found.evidence))?;
            for (index, command) in next_commands(found.reason, ctid).iter().enumerate() {
                writeln!(f, "    {:5} {command}", if index == 0 { "next:" } else { "" })?;
            }
        }
        Standing::Waiting(wait) => paragraph(f, look, "", &format!("{name} {}", wait_phrase(&WaitReport::of(wait))))?,
        Standing::Active => paragraph(f, look, "", &format!("{name} {}", standing_phrase(standing)))?,
    }
    writeln!(f)
}
