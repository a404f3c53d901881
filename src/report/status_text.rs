//! A status for people: a table per fleet, and below it what each container in trouble needs.
//!
//! Not here: what is said (`status`).

use std::fmt::{self, Write};

use crate::ids::{State, Wall};

use super::clock::{age, local};
use super::plain::{Look, Tone, count, lines, one_line, paragraph, written};
use super::status::{ContainerReport, ErrorReport, FleetReport, RunReport, StatusReport};
use super::table::{Cell, Column, Table};

const COLUMNS: [Column; 6] = [
    Column { title: "CTID", gives_way: 0, narrow: 9 },
    Column { title: "HOSTNAME", gives_way: 1, narrow: 8 },
    Column { title: "STATE", gives_way: 0, narrow: 10 },
    Column { title: "STANDING", gives_way: 0, narrow: 11 },
    Column { title: "STEP", gives_way: 2, narrow: 14 },
    Column { title: "SINCE", gives_way: 3, narrow: 6 },
];

impl StatusReport {
    /// The text for people; `now` is what "since" counts to.
    pub fn text(&self, look: Look, now: Wall) -> String {
        written(|f| self.write(f, look, now))
    }

    fn write(&self, f: &mut String, look: Look, now: Wall) -> fmt::Result {
        if !self.verified && !self.fleets.is_empty() {
            let note = "As of the last boot, unverified: the host has been restarted since, and `phoenix resume` has not looked yet.";
            paragraph(f, look, "", note)?;
            writeln!(f)?;
        }
        if self.fleets.is_empty() {
            writeln!(f, "No containers.")?;
        }
        for (index, fleet) in self.fleets.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.write_fleet(f, fleet, look, now)?;
        }
        Ok(())
    }

    fn write_fleet(&self, f: &mut String, fleet: &FleetReport, look: Look, now: Wall) -> fmt::Result {
        let run = fleet.run.as_ref().map_or_else(String::new, |run| format!(": {}", self.run_phrase(run)));
        paragraph(f, look, "", &format!("{}{run}", fleet.fleet))?;
        writeln!(f)?;
        let mut table = Table::new(&COLUMNS);
        for container in &fleet.containers {
            table.row(row(container, now));
        }
        table.write(f, look)?;
        for container in &fleet.containers {
            write_trouble(f, container, look)?;
        }
        write_live(f, &fleet.containers, look)?;
        writeln!(f)?;
        paragraph(f, look, "", &tally(&fleet.containers))
    }

    fn run_phrase(&self, run: &RunReport) -> String {
        let RunReport { id: _, command, state, started_at: _, started } = run;
        let writer = self.writer.as_ref().filter(|_| *state == "running");
        let by = writer.map_or_else(String::new, |writer| format!(" (pid {}: {})", writer.pid, writer.command));
        let next = if *state == "interrupted" { "; `phoenix resume` goes on with it" } else { "" };
        format!("{command} {state}{by}, begun {}{next}", local(*started))
    }
}

fn row(container: &ContainerReport, now: Wall) -> Vec<Cell> {
    let ContainerReport { ctid, hostname, state, standing, step, in_doubt, attempt, down, since_wall, .. } = container;
    let waits = container.waiting_for.as_ref().map(|wait| match wait.ctid {
        Some(ctid) if wait.kind == "dependency" => format!("after {ctid}"),
        Some(_) | None => wait.kind.to_owned(),
    });
    let again = attempt.filter(|&attempt| attempt > 1).map_or_else(String::new, |attempt| format!(" #{attempt}"));
    let doubt = if *in_doubt { " in doubt" } else { "" };
    let doing = step.as_ref().map(|step| format!("{step}{again}{doubt}"));
    let (standing, tone) = match standing.as_str() {
        _ if *down => ("down", Tone::Faint),
        "failed" => ("failed", Tone::Bad),
        "quarantined" => ("quarantined", Tone::Bad),
        "waiting" => ("waiting", Tone::Busy),
        other if state == State::Done.name() => (other, Tone::Good),
        other => (other, Tone::Plain),
    };
    vec![
        Cell::plain(&ctid.to_string()),
        Cell::plain(hostname),
        Cell::new(state, tone),
        Cell::new(standing, tone),
        Cell::plain(&doing.or(waits).unwrap_or_default()),
        Cell::new(&age(now, *since_wall), Tone::Faint),
    ]
}

fn write_trouble(f: &mut String, container: &ContainerReport, look: Look) -> fmt::Result {
    let name = name(container);
    if let Some(quarantine) = &container.quarantined {
        writeln!(f)?;
        let head = look.paint(Tone::Bad, &format!("{name} quarantined: {}", quarantine.reason));
        writeln!(f, "{head}")?;
        paragraph(f, look, "    ", &quarantine.evidence)?;
        next(f, &quarantine.next)?;
    }
    if let Some(wait) = &container.waiting_for
        && wait.kind != "dependency"
    {
        writeln!(f)?;
        let pid = wait.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        paragraph(f, look, "", &format!("{name} waits for {}: {}{pid}", wait.kind, wait.name))?;
    }
    if let Some(error) = &container.last_error
        && container.standing == "failed"
    {
        writeln!(f)?;
        write_failure(f, &name, error, look)?;
    }
    Ok(())
}

/// What the host says, where it was asked.
fn write_live(f: &mut String, containers: &[ContainerReport], look: Look) -> fmt::Result {
    let mut live = containers.iter().filter_map(|container| Some((name(container), container.live.as_ref()?))).peekable();
    if live.peek().is_some() {
        writeln!(f, "\n{}", look.paint(Tone::Strong, "On the host now"))?;
    }
    live.try_for_each(|(name, live)| paragraph(f, look, &format!("  {name}: "), &live.phrase()))
}

/// Container and step, exit status, what it said, the last lines, and the next command.
pub(super) fn write_failure(f: &mut String, name: &str, error: &ErrorReport, look: Look) -> fmt::Result {
    let ErrorReport { step, exit_status, message, tail, command, next: commands } = error;
    let status = exit_status.as_ref().map_or_else(String::new, |status| format!(" ({status})"));
    writeln!(f, "{}", look.paint(Tone::Bad, &format!("{name} failed at {step}{status}")))?;
    paragraph(f, look, "    ", message)?;
    if let Some(command) = command {
        paragraph(f, look, "    command: ", command)?;
    }
    for line in lines(tail) {
        writeln!(f, "    | {line}")?;
    }
    next(f, commands)
}

fn next(f: &mut String, commands: &[String]) -> fmt::Result {
    commands.iter().enumerate().try_for_each(|(index, command)| {
        let head = if index == 0 { "next:" } else { "" };
        writeln!(f, "    {head:5} {command}")
    })
}

/// `101 db`, or the number alone.
pub(super) fn name(container: &ContainerReport) -> String {
    one_line(&format!("{} {}", container.ctid, container.hostname))
}

/// `3 containers: 1 done, 2 failed`.
fn tally(containers: &[ContainerReport]) -> String {
    let counted = |what: &str, number: usize| (number > 0).then(|| format!("{number} {what}"));
    let number = |test: &dyn Fn(&ContainerReport) -> bool| containers.iter().filter(|container| test(container)).count();
    let done =
        |container: &ContainerReport| container.state == State::Done.name() && container.standing == "active" && container.step.is_none();
    let parts = [
        counted("done", number(&done)),
        counted("on the way", number(&|container| container.standing == "active" && !done(container) && !container.down)),
        counted("waiting", number(&|container| container.standing == "waiting")),
        counted("failed", number(&|container| container.standing == "failed")),
        counted("quarantined", number(&|container| container.standing == "quarantined")),
        counted("down", number(&|container| container.down && container.standing == "active")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{}: {}", count(containers.len(), "container"), parts.join(", "))
}
