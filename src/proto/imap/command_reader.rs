//! Collects the octets of one command: its lines, and the literals between them (RFC 9051 section 4.3).
//!
//! A literal is announced at the end of a line with its number of octets, `{11}` or `{11+}`. After `{11}` the client
//! waits for a continuation (`+ …`). After `{11+}` it sends the octets at once (RFC 7888), so a refused literal has to be
//! skipped.

use crate::{
    imap_characters::is_tag_char,
    proto::{
        buffer::{Inbox, Line, Octets, Outbox},
        telnet,
    },
};

/// The octets of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawCommand {
    /// The lines without their line ends, one after the other, with the announcements of the literals.
    pub(super) text: Vec<u8>,
    /// The literals, and the offset in `text` after the announcement of each.
    pub(super) literals: Vec<(usize, Vec<u8>)>,
}

/// The announcement of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// The octets of the literal.
    pub octets: u64,
    /// Whether the client waits for a continuation.
    pub synchronizing: bool,
}

/// The next part of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// More octets have to arrive.
    Partial,
    /// A line announces a literal. The session accepts it, or takes its octets itself, or refuses the command.
    Literal(Announcement),
    /// The command is whole.
    Command(RawCommand),
    /// The command is longer than the limit. Its last line has been read. This is its tag, if it has one.
    TooLong(Option<Vec<u8>>),
    /// A line has no end.
    NoLineEnd,
    /// A line has ended in a bare LF, and the listener takes none.
    BareLineFeed,
}

/// Collects a command. A new one begins after each [`Input::Command`].
#[derive(Debug, Default)]
pub(super) struct CommandReader {
    command: RawCommand,
    /// The octets of an accepted literal that has not arrived.
    awaited: Option<u64>,
    /// The tag of a command that is too long.
    long_tag: Option<Vec<u8>>,
    /// Whether a line of the command had a bare LF at its end.
    has_bare_line_feed: bool,
}

impl CommandReader {
    /// Reads the next part. `max` bounds the lines of a command together, `discard` the octets of a longer line.
    /// `typed`: a person may type the lines in telnet, whose requests are answered there.
    pub(super) fn read(
        &mut self,
        inbox: &mut Inbox,
        max: usize,
        discard: usize,
        typed: Option<&mut Outbox>,
    ) -> Input {
        if let Some(octets) = self.awaited {
            match inbox.take(octets, usize::MAX) {
                Octets::Full(literal) => {
                    self.command.literals.push((self.command.text.len(), literal));
                    self.awaited = None;
                }
                Octets::Partial | Octets::TooMany => return Input::Partial,
            }
        }
        if self.command == RawCommand::default() {
            self.has_bare_line_feed = false;
        }
        let room = max.saturating_sub(self.command.text.len());
        if inbox.line_start().len() > room {
            let is_begun = !self.command.text.is_empty();
            let text = if is_begun { &self.command.text[..] } else { inbox.line_start() };
            self.long_tag = tag(text).map(<[u8]>::to_vec);
        }
        match inbox.line(room, discard) {
            Line::Partial => Input::Partial,
            Line::NoLineEnd => Input::NoLineEnd,
            Line::TooLong => {
                self.command = RawCommand::default();
                Input::TooLong(self.long_tag.take())
            }
            Line::Complete(line) => {
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                self.has_bare_line_feed |= !line.ends_with(b"\r");
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let typed = typed.map(|out| telnet::typed_line(line.to_vec(), true, out));
                let line = typed.as_deref().unwrap_or(line);
                self.command.text.extend_from_slice(line);
                match announcement(line) {
                    Some(announcement) => Input::Literal(announcement),
                    None => Input::Command(std::mem::take(&mut self.command)),
                }
            }
        }
    }

    /// Whether a line of the last command had a bare LF at its end.
    pub(super) fn has_bare_line_feed(&self) -> bool {
        self.has_bare_line_feed
    }

    /// The command so far, which ends with the announcement of a literal.
    pub(super) fn begun(&self) -> &RawCommand {
        &self.command
    }

    /// The next octets are a literal of the command.
    pub(super) fn accept_literal(&mut self, octets: u64) {
        self.awaited = Some(octets);
    }

    /// Octets of literals and lines in memory, and of the literal that is awaited.
    pub(super) fn octets(&self) -> u64 {
        let literals: usize = self.command.literals.iter().map(|(_, literal)| literal.len()).sum();
        (self.command.text.len() + literals) as u64 + self.awaited.unwrap_or(0)
    }

    /// Forgets the command that has begun.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The announcement at the end of a line. A literal of any octets (`~{n}`, RFC 3516) is none that this server offers, so
/// the parser refuses the tilde before it.
pub fn announcement(line: &[u8]) -> Option<Announcement> {
    let inner = line.strip_suffix(b"}")?;
    let from = memchr::memrchr(b'{', inner)? + 1;
    let (digits, synchronizing) = match inner[from..].strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (&inner[from..], true),
    };
    let octets = number(digits)?;
    Some(Announcement { octets, synchronizing })
}

/// The tag at the beginning of a command, if it is one.
pub(super) fn tag(command: &[u8]) -> Option<&[u8]> {
    let tag = command.split(|&b| b == b' ').next()?;
    let is_good = (1..=MAX_TAG).contains(&tag.len()) && tag.iter().all(|octet| is_tag_char(*octet));
    is_good.then_some(tag)
}

/// The longest tag of a command that is too long, in octets. Clients have tags of a few letters and digits.
const MAX_TAG: usize = 64;

/// A number of at most 19 digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let good = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| good)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads commands from octets that arrive in pieces, and accepts every literal.
    fn commands(wire: &[u8], piece: usize) -> Vec<RawCommand> {
        let (mut inbox, mut reader, mut commands) = (Inbox::default(), CommandReader::default(), Vec::new());
        for piece in wire.chunks(piece) {
            inbox.push(piece);
            loop {
                match reader.read(&mut inbox, 1000, 1000, None) {
                    Input::Partial => break,
                    Input::Literal(announcement) => reader.accept_literal(announcement.octets),
                    Input::Command(command) => commands.push(command),
                    other => panic!("{other:?}"),
                }
            }
        }
        commands
    }

    #[test]
    fn a_command_is_the_same_in_any_pieces() {
        let wire = b"a LOGIN {3}\r\nbob {7+}\r\n{1}\r\n\xff \r\nb NOOP\n";
        let login = RawCommand {
            text: b"a LOGIN {3} {7+}".to_vec(),
            literals: vec![(11, b"bob".to_vec()), (16, b"{1}\r\n\xff ".to_vec())],
        };
        let noop = RawCommand { text: b"b NOOP".to_vec(), literals: Vec::new() };
        for piece in [1, 2, 5, 100] {
            assert_eq!(commands(wire, piece), [login.clone(), noop.clone()], "pieces of {piece}");
        }
    }

    #[test]
    fn only_a_number_in_braces_at_the_end_announces_a_literal() {
        let of = |octets, synchronizing| Some(Announcement { octets, synchronizing });
        for (line, expected) in [
            ("x {0}", of(0, true)),
            ("x {12+}", of(12, false)),
            ("x{12}", of(12, true)),
            ("x {12-}", None),
            ("x {12} ", None),
            ("x {}", None),
            ("x {+}", None),
            ("x { 1}", None),
            ("x {99999999999999999999}", None),
            ("x 12}", None),
        ] {
            assert_eq!(announcement(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn the_lines_of_a_command_are_bounded_together() {
        let (mut inbox, mut reader) = (Inbox::default(), CommandReader::default());
        inbox.push(b"a LOGIN {1}\r\nx {1}\r\ny\r\nb NOOP\r\n");
        assert!(matches!(reader.read(&mut inbox, 15, 100, None), Input::Literal(_)));
        reader.accept_literal(1);
        assert_eq!(reader.octets(), 12);
        assert_eq!(reader.read(&mut inbox, 15, 100, None), Input::TooLong(Some(b"a".to_vec())));
        assert_eq!((reader.octets(), reader.begun()), (0, &RawCommand::default()));
        assert!(matches!(reader.read(&mut inbox, 15, 100, None), Input::Command(_)));
    }
}
