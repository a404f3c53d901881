//! Where text goes: stdout for data, stderr for everything else.
//!
//! Apart because printing fails: a closed stdout ends a command quietly, and a closed stderr stops nothing. Not here: what is
//! printed.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::report::plain::Look;

use super::blame::CliError;

/// How the two streams are to be written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Stdout.
    pub(super) out: Look,
    /// Stderr.
    pub(super) err: Look,
    /// Whether stderr is a terminal, and so can show progress in place.
    pub(super) live: bool,
    /// Whether stdout is a terminal that can be cleared.
    pub(super) clears: bool,
    /// Whether a person can be asked: stdin and stderr are terminals.
    pub(super) asks: bool,
}

impl Screen {
    /// As the process finds them. `COLUMNS` overrides the width, `NO_COLOR` and `TERM=dumb` forbid colours.
    pub(super) fn of_process() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = dumb || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let asked = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok()).filter(|columns| *columns > 0);
        let look = |terminal: bool, size: Option<(u16, u16)>| Look {
            width: asked.or_else(|| terminal.then(|| size.map_or(80, |(_, columns)| usize::from(columns)))),
            colour: terminal && !plain,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            out: look(out, console::Term::stdout().size_checked()),
            err: look(err, console::Term::stderr().size_checked()),
            live: err && !dumb,
            clears: out && !dumb,
            asks: err && io::stdin().is_terminal(),
        }
    }
}

/// Asks a person; `what` is the error where there is no terminal to ask on.
pub(super) fn asked(screen: Screen, question: &str, what: &str) -> Result<bool, CliError> {
    if !screen.asks {
        return Err(CliError::Usage { what: what.to_owned(), next: Some("the same command with --yes".to_owned()) });
    }
    say(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let unreadable = |source| CliError::Unreadable { what: "the answer".to_owned(), source };
    io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes data to stdout.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Output)
}

/// Writes a value to stdout as JSON, on one line.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let mut text = phoenix_journal::visible_json(serde_json::to_string(value).map_err(|error| CliError::Output(error.into()))?);
    text.push('\n');
    print(&text)
}

/// Writes to stderr. If nobody reads it, nobody misses it.
pub(super) fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
