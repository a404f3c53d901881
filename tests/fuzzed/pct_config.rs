//! Proxmox's configuration of a container: any text is answered, what parses comes back byte by byte, and an edit changes its own
//! key in the main section and nothing else.

use std::path::Path;

use phoenix::host::pct::config::{Config, Section};
use phoenix::ids::Target;

/// The text as a configuration.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let config = match Config::parse(&text) {
        Ok(config) => config,
        Err(why) => return assert!(why.to_string().len() < 2000, "{why}"),
    };
    assert_eq!(config.to_string(), text);
    let others = rest(&config);
    for section in [config.main()].into_iter().chain(config.pending()).chain(config.snapshots().map(|(_, section)| section)) {
        ask(section);
    }
    edited(&config, &others, "onboot", |config| config.set("onboot", "1").expect("a plain value"));
    edited(&config, &others, "description", |config| config.set_description("a: b\nc %41"));
    edited(&config, &others, "lxc.idmap", |config| config.set_raw("lxc.idmap", ["u 0 1 2", "g 0 1 2"]).expect("plain values"));
    let at: Target = "/srv/fuzz".parse().expect("a target");
    let mut attached = config.clone();
    if let Ok(number) = attached.attach(Path::new("/srv/a"), &at, &[("ro", Some("1"))]) {
        let again = Config::parse(&attached.to_string()).expect("what was written is read");
        assert_eq!(again.main().mounts().expect("mounts")[&number].target(), at.as_str());
        assert_eq!(rest(&again), others);
        assert_eq!(attached.attach(Path::new("/srv/a"), &at, &[("ro", Some("1"))]), Ok(number), "a target keeps its number");
        assert_eq!(attached, again);
    }
}

/// Everything that can be asked of a section; whatever it says, it says it without breaking down.
fn ask(section: Section<'_>) {
    let mut said = Vec::new();
    let mut note = |error: Option<String>| said.extend(error);
    note(section.nets().err().map(|error| error.to_string()));
    note(section.mounts().err().map(|error| error.to_string()));
    note(section.devices().err().map(|error| error.to_string()));
    note(section.rootfs().err().map(|error| error.to_string()));
    note(section.startup().err().map(|error| error.to_string()));
    note(section.features().err().map(|error| error.to_string()));
    note(section.description().err().map(|error| error.to_string()));
    note(section.seen().err().map(|error| error.to_string()));
    let _ = (section.lock(), section.tags().count(), section.deleted().count(), section.odd_lines().count());
    assert!(said.iter().all(|text| text.len() < 4000), "{said:?}");
}

/// An edit leaves the other sections and the other keys as they are, and is read back.
fn edited(config: &Config, others: &str, changed: &str, edit: impl Fn(&mut Config)) {
    let mut after = config.clone();
    edit(&mut after);
    let again = Config::parse(&after.to_string()).expect("what was written is read");
    assert_eq!(again, after);
    assert_eq!(rest(&again), *others);
    let settings = |config: &Config| -> Vec<(String, String)> {
        let main = config.main();
        let all = main.settings().chain(main.raw()).filter(|(key, _)| *key != changed);
        all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    assert_eq!(settings(&again), settings(config));
    edit(&mut after);
    assert_eq!(again, after, "a second time changes nothing");
}

/// What comes behind the main section.
fn rest(config: &Config) -> String {
    let text = config.to_string();
    let begins = text.split_inclusive('\n').scan(0, |at, line| {
        *at += line.len();
        Some((*at - line.len(), line))
    });
    let first = begins.into_iter().find(|(_, line)| line.starts_with('['));
    first.map_or_else(String::new, |(at, _)| text[at..].trim_end_matches('\n').to_owned())
}
