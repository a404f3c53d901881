//! The arguments, as data.
//!
//! The doc comments are the help texts. Not here: what the commands do, one file each.

use std::path::PathBuf;

use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::engine::limits::JOBS_DEFAULT;
use crate::ids::{Ctid, FleetName, StepId};
use crate::rehearse::Script;

use super::rehearse::{BUDGET_DEFAULT, SEED_DEFAULT, parse_script};

/// Brings fleets of LXC containers from a manifest to running services, and survives being killed at any moment.
#[derive(Debug, Parser)]
#[command(name = "phoenix", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 all well, 1 a container is not where it should be, 2 usage or manifest, 3 host, 4 journal, 70 a fault of phoenix, 130 interrupted."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The whole command line, for completions and manuals.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Arguments that every command takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Globals {
    /// The journal's file [default: /var/lib/phoenix/journal.db for root, else phoenix/journal.db in the XDG state directory]
    #[arg(long, global = true, value_name = "PATH", env = "PHOENIX_JOURNAL")]
    pub(super) journal: Option<PathBuf>,
    /// The kind of host; auto is what the journal belongs to, else what this machine is
    #[arg(long, global = true, value_enum, default_value_t = HostChoice::Auto)]
    pub(super) host: HostChoice,
    /// The container directory, absolute [default: what the journal belongs to, else /var/lib/lxc]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) lxc_path: Option<PathBuf>,
    /// Take a manifest and scripts that others can write
    #[arg(long, global = true)]
    pub(super) trust_manifest: bool,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Say more on stderr; repeat for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

/// The kinds of host, as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum HostChoice {
    /// Find out
    Auto,
    /// Plain LXC
    Lxc,
    /// Proxmox VE
    Pct,
    /// The simulator; its world lies beside the journal
    Sim,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Bring a fleet to done; running it again changes nothing
    Up(UpArgs),
    /// Go on with every interrupted run, from the journal alone
    Resume(ResumeArgs),
    /// Show where every container stands
    Status(StatusArgs),
    /// Show what up would do, and why; changes nothing
    Plan(PlanArgs),
    /// Check a manifest; needs no host
    Check(CheckArgs),
    /// Say whether this machine is fit to be a host, and what to do about what is not
    Doctor,
    /// Try a fleet under every crash that can come, on the simulator; needs no host and touches no journal
    Rehearse(RehearseArgs),
    /// Say why a container is where it is, and what resume would do next
    Explain(ExplainArgs),
    /// Show the journal, readable
    History(HistoryArgs),
    /// Stop and destroy containers that are ours; shared directories are never deleted
    Down(DownArgs),
    /// Decide about a failed or quarantined container; up or resume acts on it
    Retry(RetryArgs),
    /// Look after the journal
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Print the JSON Schema of the manifest
    Schema,
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

/// `up`.
#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// The manifest
    #[arg(value_name = "FLEET")]
    pub(super) manifest: PathBuf,
    /// Only this container and what it depends on; may be repeated
    #[arg(long, value_name = "CTID")]
    pub(super) only: Vec<Ctid>,
    #[command(flatten)]
    pub(super) jobs: Jobs,
}

/// How many at once.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Jobs {
    /// How many steps at once
    #[arg(short, long, value_name = "N", default_value_t = JOBS_DEFAULT, value_parser = parse_jobs)]
    pub(super) jobs: usize,
}

/// The most steps at once: each has a thread and a handful of descriptors.
const JOBS_MAX: usize = 1024;

fn parse_jobs(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|jobs| (1..=JOBS_MAX).contains(jobs));
    number.ok_or_else(|| format!("a number from 1 to {JOBS_MAX} is expected"))
}

/// `resume`.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// Only the containers of this fleet
    #[arg(long, value_name = "NAME")]
    pub(super) fleet: Option<FleetName>,
    #[command(flatten)]
    pub(super) jobs: Jobs,
}

/// `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only this container
    pub(super) ctid: Option<Ctid>,
    /// Show it again every second until interrupted
    #[arg(long)]
    pub(super) watch: bool,
    /// Ask the host as well
    #[arg(long)]
    pub(super) live: bool,
}

/// `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The manifest
    #[arg(value_name = "FLEET")]
    pub(super) manifest: PathBuf,
    /// Only this container and what it depends on; may be repeated
    #[arg(long, value_name = "CTID")]
    pub(super) only: Vec<Ctid>,
}

/// `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The manifest
    #[arg(value_name = "FLEET")]
    pub(super) manifest: PathBuf,
}

/// `rehearse`.
#[derive(Debug, Args)]
pub(super) struct RehearseArgs {
    /// The manifest
    #[arg(value_name = "FLEET")]
    pub(super) manifest: PathBuf,
    /// How many schedules of crashes to try at most
    #[arg(long, value_name = "N", default_value_t = BUDGET_DEFAULT, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) budget: u64,
    /// What chance is drawn from; the same seed gives the same schedules
    #[arg(long, value_name = "S", default_value_t = SEED_DEFAULT)]
    pub(super) seed: u64,
    /// Play one schedule and print its history: the seed, then for each run the point at which p (phoenix), s (its shims too), c
    /// (their children too) or h (the host) is killed, as 7:12p,40h
    #[arg(long, value_name = "SEED:POINTS", value_parser = parse_script, conflicts_with_all = ["budget", "seed", "threads"])]
    pub(super) replay: Option<Script>,
    #[command(flatten)]
    pub(super) jobs: Jobs,
    /// How many schedules to play at once; changes nothing in what comes out [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = parse_jobs)]
    pub(super) threads: Option<usize>,
}

/// `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The container
    pub(super) ctid: Ctid,
}

/// `history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Only this container
    pub(super) ctid: Option<Ctid>,
}

/// `down`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ctids", "all"]))]
pub(super) struct DownArgs {
    /// The containers
    #[arg(value_name = "CTID")]
    pub(super) ctids: Vec<Ctid>,
    /// All containers that the journal knows
    #[arg(long)]
    pub(super) all: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) jobs: Jobs,
}

/// `retry`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what a person types; `decide` makes one value of them")]
#[command(group = ArgGroup::new("decision").args(["recreate", "remark", "rerun", "skip"]))]
pub(super) struct RetryArgs {
    /// The container
    pub(super) ctid: Ctid,
    /// Only this step, as status and history name it
    #[arg(long, value_name = "ID", conflicts_with_all = ["recreate", "remark"])]
    pub(super) step: Option<StepId>,
    /// Forget the container, which must be gone or not ours, and make a new one
    #[arg(long)]
    pub(super) recreate: bool,
    /// Write the identity mark again; look first whether it is this container
    #[arg(long)]
    pub(super) remark: bool,
    /// Start the script that was cut off again
    #[arg(long)]
    pub(super) rerun: bool,
    /// Take the script that was cut off as done
    #[arg(long)]
    pub(super) skip: bool,
}

/// `journal`.
#[derive(Debug, Subcommand)]
pub(super) enum JournalCommand {
    /// Check that nothing was changed, lost or added
    Verify,
    /// Print every entry as one line of JSON
    Export,
    /// Copy the journal, also while it is being written
    Backup(BackupArgs),
    /// Begin a new journal in the place of a lost one, from the manifest and what the host shows
    Rebuild(RebuildArgs),
}

/// `journal rebuild`.
#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// The manifest
    #[arg(value_name = "FLEET")]
    pub(super) manifest: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

/// `journal backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Where to; must not exist
    pub(super) to: PathBuf,
}

/// `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_way_out_of_quarantine_is_a_command_that_exists() {
        let ctid = Ctid::new(101).expect("in range");
        for reason in crate::machine::QuarantineReason::ALL {
            for command in crate::report::next_commands(reason, ctid) {
                let parsed = Cli::try_parse_from(command.split(' '));
                assert!(parsed.is_ok(), "{command}: {parsed:?}");
            }
        }
    }
}
