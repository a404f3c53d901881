//! How a command ends that does not succeed, and what is said on the way.
//!
//! Not here: which text belongs to which mistake (the commands).

use std::io::{self, Write};
use std::path::Path;

/// The last words of a command, and its exit code, which classifies nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Died {
    /// Without the final line end.
    pub(crate) text: String,
    pub(crate) code: u8,
}

pub(crate) type Outcome<T = ()> = Result<T, Died>;

impl Died {
    /// With the exit code of most mistakes.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 255 }
    }

    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// A call of the system that the real program would not fail at either.
    pub(crate) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("{what} {}: {error}", path.display()))
    }
}

/// Ends with `text` as the last word.
pub(crate) fn die<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Died::new(text))
}

/// Says a line on stdout.
pub(crate) fn out(line: &str) {
    say(&mut io::stdout().lock(), line);
}

/// Says a line on stderr.
pub(crate) fn err(line: &str) {
    say(&mut io::stderr().lock(), line);
}

/// A Perl program dies of a pipe that nobody reads, without cleaning up; Rust ignores that signal. A worker whose `pct` was
/// killed has such a pipe.
fn say(stream: &mut impl Write, line: &str) {
    let text = format!("{line}\n");
    if stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_err() {
        vanish();
    }
}

/// Ends this process at once and leaves everything as it is.
pub(crate) fn vanish() -> ! {
    let me = rustix::process::getpid();
    loop {
        // The kernel delivers it before the call returns.
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    }
}
