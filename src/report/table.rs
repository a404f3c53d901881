//! Tables of short cells, laid out for the width there is.
//!
//! Apart from what they show: columns give way in a fixed order when the screen is narrow. Not here: long texts, which stand
//! below a table and are wrapped.

use std::fmt;

use super::plain::{Look, Tone, cut, one_line, width};

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell; the text is cleaned.
    pub fn new(text: &str, tone: Tone) -> Self {
        Self { text: one_line(text), tone }
    }

    /// A cell in no particular tone.
    pub fn plain(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// When it gives way: columns with a higher number are left out first; those with 0 never are.
    pub gives_way: u8,
    /// The width below which it is not cut; at least 2.
    pub narrow: usize,
}

/// Rows under headings.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

const GAP: usize = 2;

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as there are columns.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a row has a cell for every column");
        self.rows.push(cells);
    }

    /// Writes it, indented by two. Columns that are empty in every row are left out; then, until it fits, columns give way, and
    /// the widest are cut.
    pub fn write(&self, f: &mut dyn fmt::Write, look: Look) -> fmt::Result {
        let shown = self.fit(look);
        line(f, &shown, |column| Cell::new(self.columns[column].title, Tone::Faint), look)?;
        self.rows.iter().try_for_each(|row| line(f, &shown, |column| row[column].clone(), look))
    }

    /// Which columns are shown, and how wide.
    fn fit(&self, look: Look) -> Vec<(usize, usize)> {
        let natural = |column: usize| {
            let cells = self.rows.iter().map(|row| width(&row[column].text)).max().unwrap_or(0);
            if cells == 0 { 0 } else { cells.max(self.columns[column].title.len()) }
        };
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len()).map(|column| (column, natural(column))).collect();
        shown.retain(|&(_, columns)| columns > 0);
        let Some(room) = look.columns() else { return shown };
        let total = |shown: &[(usize, usize)]| shown.iter().map(|(_, columns)| columns + GAP).sum::<usize>();
        let narrowest = |&(column, columns): &(usize, usize)| (column, columns.min(self.columns[column].narrow));
        while total(&shown.iter().map(narrowest).collect::<Vec<_>>()) > room {
            let way = shown.iter().enumerate().max_by_key(|(_, (column, _))| self.columns[*column].gives_way);
            match way {
                Some((index, &(column, _))) if self.columns[column].gives_way > 0 => shown.remove(index),
                Some(_) | None => break,
            };
        }
        while total(&shown) > room {
            let can_shrink = |(column, columns): &&mut (usize, usize)| *columns > self.columns[*column].narrow;
            let Some(widest) = shown.iter_mut().filter(can_shrink).max_by_key(|(_, columns)| *columns) else { break };
            widest.1 -= 1;
        }
        shown
    }
}

fn line(f: &mut dyn fmt::Write, shown: &[(usize, usize)], cell: impl Fn(usize) -> Cell, look: Look) -> fmt::Result {
    let mut text = String::new();
    let mut pending = 0;
    for &(column, columns) in shown {
        let Cell { text: content, tone } = cell(column);
        let content = cut(&content, columns);
        // Spaces are written before the next content only, so that no line ends in them.
        text.push_str(&" ".repeat(if content.is_empty() { 0 } else { pending + GAP }));
        pending = if content.is_empty() { pending + GAP + columns } else { columns - width(&content) };
        text.push_str(&look.paint(tone, &content));
    }
    writeln!(f, "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "CTID", gives_way: 0, narrow: 9 },
        Column { title: "STEP", gives_way: 1, narrow: 8 },
        Column { title: "SINCE", gives_way: 2, narrow: 5 },
    ];

    #[track_caller]
    fn check(columns: Option<usize>, expected: &str) {
        let mut table = Table::new(&COLUMNS);
        table.row(vec![Cell::plain("101"), Cell::plain("volume.attach[/srv/media]"), Cell::plain("3m ago")]);
        table.row(vec![Cell::plain("102"), Cell::plain(""), Cell::plain("1h ago")]);
        let mut text = String::new();
        table.write(&mut text, Look { width: columns, colour: false }).expect("a string takes everything");
        assert_eq!(text, expected);
    }

    #[test]
    fn a_table_takes_what_it_needs() {
        check(
            None,
            "  CTID  STEP                       SINCE\n  101   volume.attach[/srv/media]  3m ago\n  102                              1h ago\n",
        );
    }

    #[test]
    fn the_widest_column_is_cut_first() {
        check(Some(30), "  CTID  STEP            SINCE\n  101   volume.attach…  3m ago\n  102                   1h ago\n");
    }

    #[test]
    fn columns_give_way_when_cutting_is_not_enough() {
        check(Some(24), "  CTID  STEP      SINCE\n  101   volume.…  3m ago\n  102             1h ago\n");
    }
}
