//! Scripts, features and health checks.
//!
//! Apart because they are what people write most and mistype most; their files are read here, once each. Not here: who may write these files
//! (`files`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::Digest;

use super::super::entries::{EnvEntry, FeatureEntry};
use super::super::files::{Files, Refusal, is_open_to_all};
use super::super::period::Period;
use super::super::read::{Entries, Key, List, Whole};
use super::super::source::{At, Findings};
use super::super::spec::{EnvValue, Feature, HealthCheck, OnInterrupt, Ready, ReadyProbe, SCRIPT_BYTES_MAX, Script};
use super::super::tables::{
    FeatureTable, HEALTH_INTERVAL_MS, HEALTH_RETRIES, HEALTH_TIMEOUT_MS, HealthTable, READY_TIMEOUT_MS, ReadyTable, SCRIPT_TIMEOUT_MS,
    ScriptTable,
};
use super::super::value::{EnvName, Text};
use super::Context;
use crate::ids::FeatureName;

/// A script's text and its digest.
#[derive(Clone)]
struct Runnable {
    digest: Digest,
    text: Arc<[u8]>,
}

/// The scripts of a manifest, read once each however many containers run them.
pub(super) struct Scripts<'a> {
    context: &'a Context<'a>,
    files: Files,
    read: BTreeMap<PathBuf, Result<Runnable, Refusal>>,
}

impl<'a> Scripts<'a> {
    pub(super) fn new(context: &'a Context<'a>, files: Files) -> Self {
        Self { context, files, read: BTreeMap::new() }
    }

    /// The features of a container, with names that differ.
    pub(super) fn features(&mut self, key: &Key<List<FeatureEntry>>, found: &mut Findings) -> Option<Vec<Feature>> {
        let list = match key {
            Key::Absent => return Some(Vec::new()),
            Key::Bad => return None,
            Key::Given(list) => &list.value,
        };
        let mut names = BTreeMap::new();
        let mut features = Vec::with_capacity(list.values.len());
        for at in &list.values {
            let FeatureTable { name, script, env, args, timeout, retries, on_interrupt } = at.value.0.clone();
            let table = ScriptTable { script, env, args, timeout, retries, on_interrupt };
            let name = feature_name(&name, &table, found);
            let script = self.script(&table, found);
            if let Some(name) = &name
                && let Some(line) = names.insert(name.value.clone(), found.line(&name.span))
            {
                let what = format!("two features are called `{}`, the first in line {line}", name.value);
                found.problem(&name.span, what, "give one of them a `name` of its own");
            }
            features.push(name.zip(script).map(|(name, script)| Feature { name: name.value, script }));
        }
        features.into_iter().collect::<Option<Vec<Feature>>>().filter(|_| list.whole)
    }

    /// One script with its text.
    pub(super) fn script(&mut self, table: &ScriptTable, found: &mut Findings) -> Option<Script> {
        let ScriptTable { script, env, args, timeout, retries, on_interrupt } = table;
        let text = script.given().and_then(|at| self.text(&at.value.0, at, found));
        let env = environment(env, found);
        let args = match args {
            Key::Absent => Some(Vec::new()),
            Key::Bad => None,
            Key::Given(list) => texts(&list.value),
        };
        let (path, Runnable { digest, text }) = text?;
        Some(Script {
            path,
            digest,
            text: Some(text),
            env: env?,
            args: args?,
            timeout: timeout.value_or(Period(Duration::from_millis(SCRIPT_TIMEOUT_MS)))?.0,
            retries: retries.value_or(Whole(0))?.0,
            on_interrupt: on_interrupt.value_or(OnInterrupt::Rerun)?,
        })
    }

    fn text<T>(&mut self, path: &Path, at: &At<T>, found: &mut Findings) -> Option<(PathBuf, Runnable)> {
        let path = self.context.resolve(path);
        if !self.read.contains_key(&path) {
            let read = self.files.read(&path, SCRIPT_BYTES_MAX).and_then(runnable);
            self.read.insert(path.clone(), read);
        }
        match self.read.get(&path)? {
            Ok(runnable) => Some((path, runnable.clone())),
            Err(Refusal { what, remedy }) => {
                found.problem(&at.span, format!("the script {} {what}", path.display()), remedy.clone());
                None
            }
        }
    }
}

/// A script must say itself what runs it: it is handed to the kernel, not to a shell.
fn runnable(text: Vec<u8>) -> Result<Runnable, Refusal> {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if !first.starts_with(b"#!") {
        return Err(Refusal {
            what: "does not begin with `#!`".into(),
            remedy: "write its interpreter into the first line, such as #!/bin/sh".into(),
        });
    }
    if first.ends_with(b"\r") {
        return Err(Refusal {
            what: "has Windows line ends, so its interpreter would not be found".into(),
            remedy: "convert it, for example with `sed -i 's/\\r$//'`".into(),
        });
    }
    if !first[2..].trim_ascii().starts_with(b"/") {
        return Err(Refusal {
            what: "names an interpreter without a whole path".into(),
            remedy: "write for example #!/bin/sh or #!/usr/bin/env python3".into(),
        });
    }
    Ok(Runnable { digest: Digest::of(&text), text: text.into() })
}

/// The name given, or the file's without its extension.
fn feature_name(name: &Key<FeatureName>, table: &ScriptTable, found: &mut Findings) -> Option<At<FeatureName>> {
    match name {
        Key::Given(name) => return Some(name.clone()),
        Key::Bad => return None,
        Key::Absent => {}
    }
    let script = table.script.given()?;
    let stem = script.value.0.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if let Ok(value) = stem.parse() {
        return Some(At { value, span: script.span.clone() });
    }
    let what = format!("the file name {stem:?} cannot serve as the feature's name");
    found.problem(&script.span, what, "write { \"name\": \"base\", \"script\": ... }");
    None
}

fn environment(env: &Key<Entries<EnvName, EnvEntry>>, found: &mut Findings) -> Option<BTreeMap<String, EnvValue>> {
    let entries = match env {
        Key::Absent => return Some(BTreeMap::new()),
        Key::Bad => return None,
        Key::Given(given) => &given.value,
    };
    for given in entries.entries.iter().filter_map(|(_, value)| value.given()) {
        if let EnvValue::SecretFile(path) = &given.value.0
            && is_open_to_all(path)
        {
            let shown = path.display();
            found.warning(
                &given.span,
                format!("everybody on this host can read the secret in {shown}"),
                format!("run `chmod o-r {shown}`"),
            );
        }
    }
    let pairs = entries.entries.iter().map(|(name, value)| Some((name.value.0.clone(), value.given()?.value.0.clone())));
    pairs.collect::<Option<BTreeMap<String, EnvValue>>>().filter(|_| entries.whole)
}

fn texts(list: &List<Text>) -> Option<Vec<String>> {
    list.whole.then(|| list.values.iter().map(|at| at.value.0.clone()).collect())
}

/// Program and arguments; the program must be there.
fn command(at: &At<List<Text>>, found: &mut Findings) -> Option<Vec<String>> {
    let words = texts(&at.value)?;
    if words.first().is_none_or(String::is_empty) {
        found.problem(&at.span, "the command has no program", "write for example [\"pg_isready\", \"-q\"]");
        return None;
    }
    Some(words)
}

/// The health checks of a container, with names that differ.
pub(super) fn health(key: &Key<List<HealthTable>>, found: &mut Findings) -> Option<Vec<HealthCheck>> {
    let list = match key {
        Key::Absent => return Some(Vec::new()),
        Key::Bad => return None,
        Key::Given(list) => &list.value,
    };
    let mut names = BTreeSet::new();
    for name in list.values.iter().filter_map(|check| check.value.name.given()) {
        if !names.insert(&name.value) {
            found.problem(&name.span, format!("two health checks are called `{}`", name.value), "give each a name of its own");
        }
    }
    let checks: Vec<Option<HealthCheck>> = list.values.iter().map(|check| health_check(&check.value, found)).collect();
    checks.into_iter().collect::<Option<Vec<HealthCheck>>>().filter(|_| list.whole)
}

fn health_check(table: &HealthTable, found: &mut Findings) -> Option<HealthCheck> {
    let HealthTable { name, command, retries, interval, timeout } = table;
    let command = command.given().and_then(|at| self::command(at, found));
    Some(HealthCheck {
        name: name.given()?.value.clone(),
        command: command?,
        retries: retries.value_or(Whole(HEALTH_RETRIES))?.0,
        interval: interval.value_or(Period(Duration::from_millis(HEALTH_INTERVAL_MS)))?.0,
        timeout: timeout.value_or(Period(Duration::from_millis(HEALTH_TIMEOUT_MS)))?.0,
    })
}

/// When a container is ready.
pub(super) fn ready(key: &Key<ReadyTable>, found: &mut Findings) -> Option<Ready> {
    let at = match key {
        Key::Absent => return Some(Ready { probe: ReadyProbe::Init, timeout: Duration::from_millis(READY_TIMEOUT_MS) }),
        Key::Bad => return None,
        Key::Given(at) => at,
    };
    let ReadyTable { command, port, file, timeout } = &at.value;
    let given = [!command.is_absent(), !port.is_absent(), !file.is_absent()].into_iter().filter(|given| *given).count();
    if given > 1 {
        found.problem(
            &at.span,
            "`ready` has more than one of `command`, `port` and `file`",
            "keep one; a command can ask for several things",
        );
        return None;
    }
    let probe = match (command, port, file) {
        (Key::Bad, _, _) | (_, Key::Bad, _) | (_, _, Key::Bad) => None,
        (Key::Given(words), _, _) => self::command(words, found).map(ReadyProbe::Command),
        (_, Key::Given(port), _) => u16::try_from(port.value.0).ok().map(ReadyProbe::Port),
        (_, _, Key::Given(file)) => Some(ReadyProbe::File(file.value.clone())),
        (Key::Absent, Key::Absent, Key::Absent) => Some(ReadyProbe::Init),
    };
    Some(Ready { probe: probe?, timeout: timeout.value_or(Period(Duration::from_millis(READY_TIMEOUT_MS)))?.0 })
}
