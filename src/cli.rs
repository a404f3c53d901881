//! The command line: arguments in, a report out, one file per command.
//!
//! Data goes to stdout; progress, hints and logs go to stderr. What a command says is the business of `report`; here it is
//! decided where it goes and with which exit code the process ends. Not here: anything that a library user would want.

mod args;
mod blame;
mod check;
mod decide;
mod doctor;
mod down;
mod explain;
mod faults;
mod generate;
mod history;
mod journal;
mod plan;
mod progress;
mod rebuild;
mod rehearse;
mod resume;
mod screen;
mod setting;
mod signals;
mod status;
mod templates;
mod up;
mod vet;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::report::plain::one_line;

use args::{Cli, Command, JournalCommand};
use blame::{CliError, Exit};
use screen::{Screen, say};
use setting::Setting;

pub use args::command;

/// Runs the command line with these arguments, the program's name first; the exit code is the process's.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let Cli { globals, command } = cli;
    trace(globals.verbose);
    report_panics();
    let screen = Screen::of_process();
    let outcome = catch_unwind(AssertUnwindSafe(|| Setting::new(globals, screen).and_then(|setting| run(&setting, command))));
    let exit = match outcome {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => blame::report(&error, screen),
        // What happened was said by the hook, where the panic was.
        Err(_) => Exit::Fault,
    };
    ExitCode::from(exit.code())
}

fn run(setting: &Setting, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Up(args) => up::run(setting, &args),
        Command::Resume(args) => resume::run(setting, &args),
        Command::Status(args) => status::run(setting, &args),
        Command::Plan(args) => plan::run(setting, &args),
        Command::Check(args) => check::run(setting, &args),
        Command::Doctor => doctor::run(setting),
        Command::Rehearse(args) => rehearse::run(setting, &args),
        Command::Explain(args) => explain::run(setting, &args),
        Command::History(args) => history::run(setting, &args),
        Command::Down(args) => down::run(setting, &args),
        Command::Retry(args) => decide::run(setting, &args),
        Command::Journal { command: JournalCommand::Verify } => journal::verify(setting),
        Command::Journal { command: JournalCommand::Export } => journal::export(setting),
        Command::Journal { command: JournalCommand::Backup(args) } => journal::backup(setting, &args),
        Command::Journal { command: JournalCommand::Rebuild(args) } => rebuild::run(setting, &args),
        Command::Schema => generate::schema(setting),
        Command::Completions(args) => generate::completions(setting, &args),
        Command::Man => generate::man(setting),
    }
}

/// What clap has to say: help and version on stdout, everything else on stderr with exit code 2.
fn refuse(error: &clap::Error) -> ExitCode {
    let plain = error.render().to_string();
    if plain.contains(|c: char| c.is_control() && c != '\n') {
        // It quotes what it was given.
        plain.split('\n').for_each(|line| screen::say(&format!("{}\n", one_line(line))));
    } else {
        // A closed stream cannot be told about.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Well.code() })
}

/// `-v` sets the level; `PHOENIX_LOG` (`debug`, `phoenix=trace,...`) has the last word.
fn trace(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let asked = std::env::var("PHOENIX_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_target("phoenix", level));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).without_time();
    // Refused if a library user has set one up; theirs stays.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
}

/// A panic is our own fault and is said as such, on whichever thread it happens.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" ({}:{})", place.file(), place.line()));
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let what = one_line(text.unwrap_or("no message"));
        say(&format!(
            "error: phoenix broke down: {what}{place}\n  This is a fault of phoenix; please report it with the output of `phoenix history`.\n  What was recorded stays; `phoenix resume` goes on from there.\n"
        ));
    }));
}
