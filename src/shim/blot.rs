//! Blots exact secret values out of a stream of bytes, whatever the pieces it arrives in.
//!
//! A byte is let through once no occurrence of a secret can still include it; overlapping occurrences become one blot. What a
//! program does to a secret before it prints it (encoding, splitting) is not undone. Not here: files and pipes.

use std::collections::BTreeMap;

/// What stands in the output for one or several adjoining secrets.
pub(super) const BLOT: &[u8] = b"********";
/// Shorter values are no secrets to hide: blotting out every `1` would destroy the output and tell the value.
pub(super) const SECRET_BLOTTED_BYTES_MIN: usize = 3;
/// From this length on a line of a secret of several lines (a key, say) is hidden where it stands alone.
const LINE_BLOTTED_BYTES_MIN: usize = 8;

/// The filter. Feed with [`Blotter::push`], end with [`Blotter::finish`].
#[derive(Debug)]
pub(super) struct Blotter {
    /// By their first two bytes: a key of many lines costs no more than a word.
    secrets: BTreeMap<[u8; 2], Vec<Vec<u8>>>,
    held: Vec<u8>,
    /// How many bytes at the beginning of `held` belong to an occurrence found already.
    covered: usize,
    /// Whether the last byte let through was part of a blot.
    in_blot: bool,
}

impl Blotter {
    pub(super) fn new(secrets: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut hidden = Vec::new();
        for secret in secrets {
            let bare = secret.trim_ascii_end();
            let lines = bare.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
            hidden.extend(lines.filter(|line| line.len() >= LINE_BLOTTED_BYTES_MIN).map(<[u8]>::to_vec));
            // Whoever prints a variable without quotes leaves out its last line ending.
            hidden.extend([bare.to_vec(), secret.clone()]);
        }
        hidden.retain(|secret| secret.len() >= SECRET_BLOTTED_BYTES_MIN);
        hidden.sort_unstable();
        hidden.dedup();
        let mut secrets: BTreeMap<[u8; 2], Vec<Vec<u8>>> = BTreeMap::new();
        for secret in hidden {
            secrets.entry([secret[0], secret[1]]).or_default().push(secret);
        }
        Self { secrets, held: Vec::new(), covered: 0, in_blot: false }
    }

    /// Takes the next piece and appends to `out` what can be let through.
    pub(super) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.secrets.is_empty() || phoenix_journal::sabotaged("secrets_are_printed") {
            out.extend_from_slice(piece);
            return;
        }
        self.held.extend_from_slice(piece);
        let open = (0..self.held.len()).find(|&at| self.may_begin(at)).unwrap_or(self.held.len());
        self.release(open, out);
    }

    /// Lets through the rest.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(self.held.len(), out);
    }

    /// Whether a secret may begin at `at` and end in what is still to come.
    fn may_begin(&self, at: usize) -> bool {
        match &self.held[at..] {
            [] => false,
            [first] => self.secrets.range([*first, 0]..=[*first, u8::MAX]).next().is_some(),
            rest => self.like(rest).any(|secret| secret.len() > rest.len() && secret.starts_with(rest)),
        }
    }

    /// The longest secret that stands whole at `at`.
    fn whole_at(&self, at: usize) -> Option<usize> {
        let rest = &self.held[at..];
        self.like(rest).filter(|secret| rest.starts_with(secret)).map(Vec::len).max()
    }

    /// The secrets that begin as `text` does.
    fn like<'a>(&'a self, text: &[u8]) -> impl Iterator<Item = &'a Vec<u8>> {
        let begin = text.first_chunk::<2>();
        begin.and_then(|begin| self.secrets.get(begin)).into_iter().flatten()
    }

    /// Lets `count` bytes through. Every secret that begins among them stands whole in `held`.
    fn release(&mut self, count: usize, out: &mut Vec<u8>) {
        for at in 0..count {
            if let Some(len) = self.whole_at(at) {
                self.covered = self.covered.max(at + len);
            }
            let hidden = at < self.covered;
            if !hidden {
                out.push(self.held[at]);
            } else if !self.in_blot {
                out.extend_from_slice(BLOT);
            }
            self.in_blot = hidden;
        }
        self.held.drain(..count);
        self.covered = self.covered.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blot(secrets: &[&[u8]], pieces: &[&[u8]]) -> Vec<u8> {
        let mut blotter = Blotter::new(secrets.iter().map(|secret| secret.to_vec()));
        let mut out = Vec::new();
        for piece in pieces {
            blotter.push(piece, &mut out);
        }
        blotter.finish(&mut out);
        out
    }

    #[track_caller]
    fn check(secrets: &[&[u8]], pieces: &[&[u8]], expected: &str) {
        assert_eq!(String::from_utf8_lossy(&blot(secrets, pieces)), expected);
    }

    #[test]
    fn secrets_are_blotted_across_the_edges_of_reads() {
        check(&[b"hunter2"], &[b"pw=hunter2\n"], "pw=********\n");
        check(&[b"hunter2"], &[b"pw=hun", b"ter2\n"], "pw=********\n");
        check(&[b"hunter2"], &[b"pw=hun", b"ted\n"], "pw=hunted\n");
        check(&[b"hunter2"], &[b"pw=hun"], "pw=hun");
    }

    #[test]
    fn overlapping_and_adjoining_secrets_become_one_blot() {
        check(&[b"abc", b"cde"], &[b"xabcdex"], "x********x");
        check(&[b"abc"], &[b"abcabc"], "********");
        check(&[b"abcd", b"abc"], &[b"abc", b"d!"], "********!");
        check(&[b"abcde", b"bcd"], &[b"abc", b"d!"], "a********!");
        check(&[b"aaa"], &[b"aaaa", b"b"], "********b");
    }

    #[test]
    fn lines_of_a_secret_are_hidden_where_they_stand_alone() {
        let key = b"BEGIN KEY\nAAAABBBB\r\nCC\nEND KEY.\n".as_slice();
        check(&[key], &[b"x AAAABBBB y CC\n"], "x ******** y CC\n");
        check(&[key], &[key, b"!"], "********!");
        check(&[b"{\n    \"key\": 12\n}"], &[b"\"key\": 12 }"], "******** }");
        check(&[b"hunter2\n"], &[b"pw=hunter2, "], "pw=********, ");
    }

    #[test]
    fn very_short_values_are_let_through() {
        check(&[b"1", b""], &[b"1 of 10"], "1 of 10");
    }

    proptest! {
        #[test]
        fn no_secret_survives_and_cutting_makes_no_difference(
            secrets in prop::collection::vec(prop::collection::vec(b'a'..=b'c', 3..8), 0..4),
            text in prop::collection::vec(b'a'..=b'c', 0..200),
            cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            let mut edges: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).chain([0, text.len()]).collect();
            edges.sort_unstable();
            let pieces: Vec<&[u8]> = edges.windows(2).map(|edge| &text[edge[0]..edge[1]]).collect();
            let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
            let out = blot(&secrets, &pieces);
            prop_assert_eq!(&out, &blot(&secrets, &[&text]));
            for secret in &secrets {
                prop_assert!(!out.windows(secret.len()).any(|window| window == *secret));
            }
            // The bytes that are in no secret all survive, in order.
            let mut hidden = vec![false; text.len()];
            for secret in &secrets {
                for at in 0..text.len() {
                    if text[at..].starts_with(secret) {
                        hidden[at..at + secret.len()].fill(true);
                    }
                }
            }
            let open: Vec<u8> = text.iter().zip(&hidden).filter(|(_, hidden)| !**hidden).map(|(byte, _)| *byte).collect();
            let left: Vec<u8> = out.iter().copied().filter(|byte| *byte != b'*').collect();
            prop_assert_eq!(left, open);
        }
    }
}
