//! `journal verify`, `export`, `backup`: looking after the journal.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::driver::RunError;
use crate::report::SCHEMA;
use crate::report::plain::{count, one_line, path_text};

use super::args::BackupArgs;
use super::blame::{CliError, Exit};
use super::screen::{print, print_json};
use super::setting::Setting;

/// The answer of `verify` in JSON.
#[derive(Serialize)]
struct Verified {
    schema: u32,
    journal: String,
    entries: u64,
    streams: u64,
    epochs: u64,
    findings: Vec<String>,
}

pub(super) fn verify(setting: &Setting) -> Result<Exit, CliError> {
    must_exist(setting)?;
    let report = phoenix_journal::verify(&setting.journal)?;
    let findings: Vec<String> = report.findings.iter().map(|finding| one_line(&finding.to_string())).collect();
    let phoenix_journal::Report { journal, entries, streams, epochs, blobs, findings: _ } = &report;
    if setting.globals.json {
        let (journal, entries, streams, epochs) = (journal.to_string(), *entries, *streams, *epochs);
        print_json(&Verified { schema: SCHEMA, journal, entries, streams, epochs, findings: findings.clone() })?;
    } else {
        let number = |number: u64, one: &str| count(usize::try_from(number).unwrap_or(usize::MAX), one);
        let (streams, epochs, blobs) = (number(*streams, "stream"), number(*epochs, "epoch"), number(*blobs, "blob"));
        let mut text = format!("journal {journal}: {entries} entries in {streams}, {epochs}, {blobs}\n");
        for finding in &findings {
            let _ = writeln!(text, "  {finding}");
        }
        text.push_str(if findings.is_empty() {
            "Every entry is as it was written, and none is missing before the last one.\n"
        } else {
            ""
        });
        print(&text)?;
    }
    if report.is_clean() { Ok(Exit::Well) } else { Err(CliError::NotWhole { findings: count(findings.len(), "finding") }) }
}

pub(super) fn export(setting: &Setting) -> Result<Exit, CliError> {
    must_exist(setting)?;
    let mut out = Remembering { out: io::BufWriter::new(io::stdout().lock()), failed: None };
    let exported = phoenix_journal::export(&setting.journal, &mut out);
    let flushed = out.flush();
    // The journal's error only says that a write failed; which one, only we know.
    if let Some(kind) = out.failed {
        return Err(CliError::Output(kind.into()));
    }
    exported?;
    flushed.map_err(CliError::Output)?;
    Ok(Exit::Well)
}

pub(super) fn backup(setting: &Setting, args: &BackupArgs) -> Result<Exit, CliError> {
    must_exist(setting)?;
    phoenix_journal::backup(&setting.journal, &args.to)?;
    print(&format!("copied to {}\n", path_text(&args.to)))?;
    Ok(Exit::Well)
}

fn must_exist(setting: &Setting) -> Result<(), CliError> {
    match setting.reader()? {
        Some(_) => Ok(()),
        None => Err(RunError::NoJournal { path: setting.journal.clone() }.into()),
    }
}

/// A stream that remembers that it failed.
struct Remembering<W> {
    out: W,
    failed: Option<io::ErrorKind>,
}

impl<W: io::Write> Remembering<W> {
    fn watch<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.failed.get_or_insert(error.kind());
        }
        result
    }
}

impl<W: io::Write> io::Write for Remembering<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.watch(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.watch(flushed)
    }
}
