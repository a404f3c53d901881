//! `/etc/pve/lxc/ID.conf`: read, changed and written in Proxmox's order.
//!
//! Not here: what the values mean (`property`, `schema`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::died::{Died, Outcome, die, err};
use crate::root::{Root, Vmid};
use crate::schema;
use crate::sha1::sha1;

/// The main section, `[pve:pending]`, or a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// With `description` as plain text, each of its lines ended.
    pub(crate) keys: BTreeMap<String, String>,
    /// The `lxc.*` lines, in their order.
    pub(crate) raw: Vec<(String, String)>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conf {
    pub(crate) main: Section,
    pub(crate) pending: Section,
    pub(crate) snapshots: BTreeMap<String, Section>,
    /// Of the file as it was read.
    pub(crate) digest: String,
}

/// What has been complained about: a file is read once as long as it does not change, as through Proxmox's cache.
static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// A worker inherits the cache of the process that it comes from.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Reads without complaints from now on.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

impl Section {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.keys.insert(key.to_owned(), value.into());
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<String> {
        self.keys.remove(key)
    }

    pub(crate) fn is_on(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }

    /// The keys of this name with a number after it, and their values.
    pub(crate) fn numbered<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let of_name =
            move |key: &str| key.strip_prefix(name).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        self.keys.iter().filter(move |(key, _)| of_name(key)).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// `rootfs` and every `mpN`.
    pub(crate) fn mount_points(&self) -> impl Iterator<Item = (&str, &str)> {
        self.get("rootfs").map(|value| ("rootfs", value)).into_iter().chain(self.numbered("mp"))
    }

    fn text(&self) -> Outcome<String> {
        let mut text: String =
            self.get("description").into_iter().flat_map(str::lines).map(|line| format!("#{}\n", encode(line))).collect();
        for (key, value) in self.keys.iter().filter(|(key, _)| *key != "description") {
            if value.contains('\n') {
                return die(format!("detected invalid newline inside property '{key}'"));
            }
            text += &format!("{key}: {value}\n");
        }
        text.extend(self.raw.iter().map(|(key, value)| format!("{key}: {value}\n")));
        Ok(text)
    }

    /// As `pct config` shows it.
    pub(crate) fn shown(&self) -> impl Iterator<Item = String> {
        let shown = |(key, value): (&String, &String)| match key.as_str() {
            "description" => format!("{key}: {}", encode(value)),
            _ => format!("{key}: {value}"),
        };
        self.keys.iter().map(shown).chain(self.raw.iter().map(|(key, value)| format!("{key}: {value}")))
    }
}

impl Conf {
    /// Reads a container's configuration; says on stderr what it does not know.
    pub(crate) fn load(root: &Root, id: Vmid) -> Outcome<Self> {
        let path = root.conf(id);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(root, id)),
            Err(error) => return Err(Died::io("read", &path, &error)),
        };
        let (conf, unknown) = Self::parse(&bytes);
        let first = WARNED.lock().is_ok_and(|mut warned| warned.insert(conf.digest.clone()));
        if first && !QUIET.load(Ordering::Relaxed) {
            unknown.iter().for_each(|what| err(&format!("vm {id} - {what}")));
        }
        Ok(conf)
    }

    /// The configuration, and complaints about lines.
    pub(crate) fn parse(bytes: &[u8]) -> (Self, Vec<String>) {
        let mut conf = Self { digest: sha1(bytes), ..Self::default() };
        let mut complaints = Vec::new();
        let text = String::from_utf8_lossy(bytes);
        let mut section: Option<String> = None;
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = Some(name.to_owned());
                if name != PENDING {
                    conf.snapshots.entry(name.to_owned()).or_default();
                }
                continue;
            }
            let into = match section.as_deref() {
                None => &mut conf.main,
                Some(PENDING) => &mut conf.pending,
                Some(name) => conf.snapshots.entry(name.to_owned()).or_default(),
            };
            if let Some(remark) = line.strip_prefix('#') {
                *into.keys.entry("description".to_owned()).or_default() += &format!("{}\n", decode(remark));
            } else if let Some((key, value)) = raw_line(line) {
                into.raw.push((key.to_owned(), value.to_owned()));
            } else if let Some((key, value)) = line.split_once(':') {
                if !schema::is_known(key) {
                    complaints.push(format!("unable to parse value of '{key}' - unknown setting '{key}'"));
                }
                into.set(key, value.trim());
            } else {
                complaints.push(format!("unable to parse config: {line}"));
            }
        }
        (conf, complaints)
    }

    fn text(&self) -> Outcome<String> {
        let mut text = self.main.text()?;
        if !self.pending.keys.is_empty() {
            text += &format!("\n[{PENDING}]\n{}", self.pending.text()?);
        }
        for (name, section) in &self.snapshots {
            text += &format!("\n[{name}]\n{}", section.text()?);
        }
        Ok(text)
    }

    /// Puts the file in place, whole or not at all.
    pub(crate) fn write(&mut self, root: &Root, id: Vmid) -> Outcome {
        let text = self.text()?;
        let path = root.conf(id);
        replace(&path, &text).map_err(|error| Died::io("write", &path, &error))?;
        self.digest = sha1(text.as_bytes());
        Ok(())
    }

    /// Fails if the container has a `lock:`.
    pub(crate) fn check_lock(&self) -> Outcome {
        self.main.get("lock").map_or(Ok(()), |lock| die(format!("CT is locked ({lock})")))
    }

    /// Fails if the caller saw another file than this.
    pub(crate) fn check_digest(&self, given: Option<&str>) -> Outcome {
        let same = given.is_none_or(|digest| digest == self.digest);
        if same { Ok(()) } else { die("detected modified configuration - file changed by other user? Try again.") }
    }

    pub(crate) fn is_template(&self) -> bool {
        self.main.is_on("template")
    }

    /// What waits to be deleted.
    pub(crate) fn pending_deletes(&self) -> BTreeSet<String> {
        self.pending.get("delete").into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect()
    }

    pub(crate) fn set_pending_deletes(&mut self, keys: &BTreeSet<String>) {
        if keys.is_empty() {
            self.pending.remove("delete");
        } else {
            self.pending.set("delete", keys.iter().map(String::as_str).collect::<Vec<_>>().join(","));
        }
    }
}

const PENDING: &str = "pve:pending";

/// The error of a container without configuration.
pub(crate) fn missing(root: &Root, id: Vmid) -> Died {
    Died::new(format!("Configuration file 'nodes/{}/lxc/{id}.conf' does not exist", root.node())).with_code(2)
}

/// Writes a file beside its place and renames it, as the cluster's file system does.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    fs::rename(draft(path, text)?, path)
}

/// The same for one that must not be there yet. Whole or not at all, as with the cluster's lock on the list of guests.
pub(crate) fn make(path: &Path, text: &str) -> io::Result<()> {
    let partial = draft(path, text)?;
    let made = fs::hard_link(&partial, path);
    fs::remove_file(&partial)?;
    made
}

fn draft(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".tmp.{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&partial)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(PathBuf::from(partial))
}

/// `lxc.KEY: VALUE` or `lxc.KEY = VALUE`.
fn raw_line(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once([':', '=']).filter(|(key, _)| key.starts_with("lxc."))?;
    Some((key.trim(), value.trim()))
}

/// Control characters, `%`, `:` and everything that is not ASCII, as `%XX`.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b'%' && byte != b':';
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        let (byte, after) = hex.filter(|_| *first == b'%').map_or((*first, after), |byte| (byte, &after[2..]));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "#line one\n#line%3A two #x%25\n#%C3%BCml\narch: amd64\nmp0: /srv,mp=/srv\nlxc.idmap: u 0 100000 1000\n\n[pve:pending]\ndelete: arch,mp0\ntty: 1\n\n[s1]\n#first\narch: amd64\nsnaptime: 5\n";

    #[test]
    fn a_file_in_proxmox_s_order_comes_back_as_it_was() {
        let (conf, complaints) = Conf::parse(WHOLE.as_bytes());
        assert_eq!(conf.text().expect("no newline"), WHOLE);
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!(conf.main.get("description"), Some("line one\nline: two #x%\nüml\n"));
        assert_eq!(conf.pending_deletes().len(), 2);
        assert_eq!(conf.digest, sha1(WHOLE.as_bytes()));
    }

    #[test]
    fn unknown_settings_are_kept_and_raw_lines_rewritten() {
        let (conf, complaints) = Conf::parse(b"zfoo: 1\narch: amd64\nlxc.environment = FOO=bar\n");
        assert_eq!(conf.text().expect("no newline"), "arch: amd64\nzfoo: 1\nlxc.environment: FOO=bar\n");
        assert_eq!(complaints, ["unable to parse value of 'zfoo' - unknown setting 'zfoo'"]);
    }
}
