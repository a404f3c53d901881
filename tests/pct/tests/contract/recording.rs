//! The recording of the real `pct`: commands, what they said, and how they ended; and what of it differs from run to run.
//!
//! Not here: how a command's surroundings are brought about (`replay`).

/// One recorded command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Of the recording.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
    pub(crate) code: i32,
}

/// What the recording consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Entry(Entry),
    /// A line that belongs to no command: the protocol of commands that ran at the same time.
    Loose(usize, String),
}

pub(crate) const TEXT: &str = include_str!("../../recordings/pct-8.4.log");

/// Takes the recording apart; no line is lost.
pub(crate) fn items(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut open: Option<Entry> = None;
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.starts_with('#')) {
        if let Some(command) = text.strip_prefix("$ ") {
            open = Some(Entry { line, command: command.to_owned(), stdout: Vec::new(), stderr: Vec::new(), code: 0 });
        } else if let Some(entry) = &mut open {
            if let Some(said) = text.strip_prefix("O| ") {
                entry.stdout.push(said.to_owned());
            } else if let Some(said) = text.strip_prefix("E| ") {
                entry.stderr.push(said.to_owned());
            } else if let Some(code) = text.strip_prefix("[rc=").and_then(|rest| rest.split(',').next()) {
                entry.code = code.parse().expect("a number");
                items.extend(open.take().map(Item::Entry));
            } else {
                // An argument of several lines.
                entry.command += &format!("\n{text}");
            }
        } else {
            items.push(Item::Loose(line, text.to_owned()));
        }
    }
    assert_eq!(open, None, "the recording ends with the end of a command");
    items
}

/// What stays the same of output: without times, addresses, process numbers, sizes, and the lines of what is removed.
pub(crate) fn constant(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| constant_line(line)).collect();
    lines.dedup_by(|one, other| one == other && one.starts_with("cannot remove directory"));
    lines
}

/// Lines whose numbers are about the moment, the machine or the template.
const COUNTED: [&str; 17] = [
    "Total bytes read:",
    "Number of ",
    "Total ",
    "Literal data:",
    "Matched data:",
    "File list ",
    "sent ",
    "total ",
    "snaptime:",
    "pid:",
    "mem:",
    "disk:",
    "maxdisk:",
    "uptime:",
    "cpus:",
    "diskread:",
    "diskwrite:",
];

fn constant_line(line: &str) -> String {
    if COUNTED.iter().any(|start| line.starts_with(start)) {
        return without_numbers(line);
    }
    if line.starts_with("Filesystem UUID: ") {
        return "Filesystem UUID: *".to_owned();
    }
    if let Some(rest) = line.strip_prefix("cannot remove directory for ") {
        return format!("cannot remove directory * {}", rest.split(':').next_back().unwrap_or_default());
    }
    if line.contains("`-> ") {
        return line.char_indices().map(|(at, c)| if at >= 32 && c.is_ascii_digit() && at < 52 { 'N' } else { c }).collect();
    }
    if let Some((start, rest)) = line.split_once(": newuidmap ").filter(|(start, _)| start.contains("newuidmap failed")) {
        return format!("{start}: newuidmap {}", rest.split_once(' ').map_or("", |(_, rest)| rest));
    }
    if let Some((start, rest)) = line.split_once("hwaddr=BC:24:11:") {
        return format!("{start}hwaddr=*{}", &rest[8..]);
    }
    let is_listed = line.len() > 10 && line.starts_with(['-', 'd', 'l']) && line[1..10].bytes().all(|b| b"rwxstST-".contains(&b));
    if is_listed {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Permissions, links, owner, group, size, three words of time, name.
        return format!("{} {} {} {}", words[0], words[2], words[3], words[8..].join(" "));
    }
    line.to_owned()
}

fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' | ',' | '.' if text.ends_with('N') => {}
            '0'..='9' => text.push('N'),
            c => text.push(c),
        }
    }
    // Sizes are told in whatever unit fits.
    ["KiB", "MiB", "GiB"].iter().fold(text, |text, unit| text.replace(unit, "B"))
}

#[test]
fn the_recording_is_read_to_its_last_line() {
    let items = items(TEXT);
    let entries = items.iter().filter(|item| matches!(item, Item::Entry(_))).count();
    let recorded = TEXT.lines().filter(|line| line.starts_with("$ ")).count();
    assert_eq!(entries, recorded);
    let lines: usize = items
        .iter()
        .map(|item| match item {
            Item::Entry(entry) => entry.command.lines().count() + entry.stdout.len() + entry.stderr.len() + 1,
            Item::Loose(..) => 1,
        })
        .sum();
    assert_eq!(lines, TEXT.lines().filter(|line| !line.starts_with('#')).count());
}
