//! The commands of the client, with strings that any server understands.

/// A command without its tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) pieces: Vec<Piece>,
}

/// A part of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// Octets that a quoted string cannot have, sent after their number.
    Literal(Vec<u8>),
}

impl Command {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Text(text.into())] }
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
        self
    }

    /// Adds a string, quoted if it can be.
    pub(super) fn string(self, octets: &[u8]) -> Self {
        match quoted(octets) {
            Some(quoted) => self.text(&quoted),
            None => self.literal(octets),
        }
    }

    /// Adds octets after their number.
    pub(super) fn literal(mut self, octets: &[u8]) -> Self {
        self.pieces.push(Piece::Literal(octets.to_vec()));
        self
    }
}

/// A string in quotes. `None`: it has octets that must stand in a literal.
pub(super) fn quoted(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok().filter(|_| octets.len() <= MAX_QUOTED)?;
    let is_plain = text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ');
    is_plain.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Sets of UIDs, each for one command of a moderate length. The UIDs ascend.
pub(super) fn uid_sets(uids: &[u32]) -> Vec<String> {
    let set = |uids: &[u32]| {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &uid in uids {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
                _ => ranges.push((uid, uid)),
            }
        }
        let range = |(first, last): &(u32, u32)| {
            if first == last { first.to_string() } else { format!("{first}:{last}") }
        };
        ranges.iter().map(range).collect::<Vec<_>>().join(",")
    };
    uids.chunks(UIDS_PER_COMMAND).map(set).collect()
}

/// Octets of a quoted string.
const MAX_QUOTED: usize = 1000;
/// A command line then has at most 8,192 octets (RFC 7162 section 4).
const UIDS_PER_COMMAND: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_quoted_or_a_literal() {
        let command = Command::new("LOGIN ").string(b"a \"b\\").text(" ").string("é".as_bytes());
        let expected = [Piece::Text("LOGIN \"a \\\"b\\\\\" ".into()), Piece::Literal("é".into())];
        assert_eq!(command.pieces, expected);
        assert_eq!(quoted(b"a\r\nb"), None);
        assert_eq!(quoted(b"").as_deref(), Some("\"\""));
    }

    #[test]
    fn uids_become_ranges_in_lines_of_a_moderate_length() {
        assert_eq!(uid_sets(&[1, 2, 3, 7, 9, 10]), ["1:3,7,9:10"]);
        assert!(uid_sets(&[]).is_empty());
        let odd: Vec<u32> = (0..2000).map(|n| 4_000_000_001 + 2 * n).collect();
        let sets = uid_sets(&odd);
        assert!(sets.len() == 4 && sets.iter().all(|set| set.len() < 8000));
    }
}
