//! The tables and guards as SQL, and the user's rows in them.
//!
//! `sql/tables.sql` and `sql/guards.sql` are the whole format. The text of every table and trigger is compared at each opening:
//! a guard that somebody dropped would otherwise be missed by nobody. Not here: reading and writing entries.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rusqlite::Connection;

use crate::schema::{MachineRules, Rules};

/// The number of the table layout, in the upper half of `user_version`.
///
/// - 1: the first.
pub(crate) const LAYOUT: u32 = 1;

const TABLES: &str = include_str!("sql/tables.sql");
const GUARDS: &str = include_str!("sql/guards.sql");

/// Written once, when the journal is made or upgraded.
const SEALED: [&str; 6] = ["meta", "machine_states", "machine_edges", "machine_needs", "machine_begins", "machine_standings"];

/// Makes tables and guards in an empty database. The seals come last ([`seal`]), after the rows they protect.
pub(crate) fn install(conn: &Connection) -> rusqlite::Result<()> {
    install_tables(conn)?;
    install_guards(conn)
}

/// The first half of [`install`].
pub(crate) fn install_tables(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLES)
}

/// The second half of [`install`].
pub(crate) fn install_guards(conn: &Connection) -> rusqlite::Result<()> {
    if crate::sabotaged("old_epochs_may_write") {
        return conn.execute_batch(&GUARDS.replacen("NEW.epoch IS NOT (", "NEW.epoch > (", 1));
    }
    conn.execute_batch(GUARDS)?;
    if crate::sabotaged("no_guard_entries_insert") {
        conn.execute_batch("DROP TRIGGER entries_insert")?;
    }
    if crate::sabotaged("no_guard_entries_update") {
        conn.execute_batch("DROP TRIGGER entries_update")?;
    }
    if crate::sabotaged("no_guard_streams_insert") {
        conn.execute_batch("DROP TRIGGER streams_insert")?;
    }
    if crate::sabotaged("no_guard_streams_update") {
        conn.execute_batch("DROP TRIGGER streams_update")?;
    }
    Ok(())
}

/// From here on, what is written once cannot be written again.
pub(crate) fn seal(conn: &Connection) -> rusqlite::Result<()> {
    for table in SEALED {
        for (verb, done) in [("INSERT", "added to"), ("UPDATE", "changed"), ("DELETE", "deleted")] {
            let name = format!("{table}_{}", verb.to_lowercase());
            conn.execute_batch(&format!(
                "CREATE TRIGGER {name} BEFORE {verb} ON {table}\nBEGIN\n  SELECT RAISE(ABORT, 'phoenix: sealed: {table} is never {done}');\nEND;"
            ))?;
        }
    }
    Ok(())
}

/// Takes the seals off, inside the transaction of an upgrade.
pub(crate) fn unseal(conn: &Connection) -> rusqlite::Result<()> {
    for table in SEALED {
        for verb in ["insert", "update", "delete"] {
            conn.execute_batch(&format!("DROP TRIGGER {table}_{verb};"))?;
        }
    }
    Ok(())
}

/// The name and text of every table, index and trigger.
pub(crate) fn texts(conn: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = conn.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// The texts that a journal of this layout has; SQLite is asked once for how it keeps them.
pub(crate) fn expected_texts() -> rusqlite::Result<&'static BTreeMap<String, String>> {
    static TEXTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    if let Some(texts) = TEXTS.get() {
        return Ok(texts);
    }
    let conn = Connection::open_in_memory()?;
    install(&conn)?;
    seal(&conn)?;
    let texts = texts(&conn)?;
    Ok(TEXTS.get_or_init(|| texts))
}

/// Writes the user's rows into unsealed tables; rows that are there already stay.
pub(crate) fn write_rules(conn: &Connection, rules: &Rules) -> rusqlite::Result<()> {
    for (name, machine) in &rules.machines {
        let MachineRules { initial, states, edges, needs, begins, standings } = machine;
        for state in states {
            let sql = "INSERT OR IGNORE INTO machine_states (machine, state, initial) VALUES (?1, ?2, ?3)";
            conn.execute(sql, (name, state, state == initial))?;
        }
        for (from, to) in edges {
            let sql = "INSERT OR IGNORE INTO machine_edges (machine, from_state, to_state) VALUES (?1, ?2, ?3)";
            conn.execute(sql, (name, from, to))?;
        }
        for (state, step) in needs {
            conn.execute("INSERT OR IGNORE INTO machine_needs (machine, state, step) VALUES (?1, ?2, ?3)", (name, state, step))?;
        }
        for (step, state) in begins {
            conn.execute("INSERT OR IGNORE INTO machine_begins (machine, step, state) VALUES (?1, ?2, ?3)", (name, step, state))?;
        }
        for standing in standings {
            conn.execute("INSERT OR IGNORE INTO machine_standings (machine, standing) VALUES (?1, ?2)", (name, standing))?;
        }
    }
    Ok(())
}

/// Reads the user's rows back.
pub(crate) fn read_rules(conn: &Connection) -> rusqlite::Result<Rules> {
    let mut machines: BTreeMap<String, MachineRules> = BTreeMap::new();
    let mut states = conn.prepare("SELECT machine, state, initial FROM machine_states")?;
    let mut rows = states.query([])?;
    while let Some(row) = rows.next()? {
        let (machine, state): (String, String) = (row.get(0)?, row.get(1)?);
        let rules = machines.entry(machine).or_default();
        if row.get(2)? {
            rules.initial.clone_from(&state);
        }
        rules.states.insert(state);
    }
    let mut pairs = |sql: &str, put: fn(&mut MachineRules, (String, String))| -> rusqlite::Result<()> {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            put(machines.entry(row.get(0)?).or_default(), (row.get(1)?, row.get(2)?));
        }
        Ok(())
    };
    pairs("SELECT machine, from_state, to_state FROM machine_edges", |rules, pair| rules.edges.extend([pair]))?;
    pairs("SELECT machine, state, step FROM machine_needs", |rules, pair| rules.needs.extend([pair]))?;
    pairs("SELECT machine, step, state FROM machine_begins", |rules, pair| rules.begins.extend([pair]))?;
    pairs("SELECT machine, standing, '' FROM machine_standings", |rules, (standing, _)| rules.standings.extend([standing]))?;
    Ok(Rules { machines })
}
