//! The beginning of message data, which must not become a part of the header lines that the server puts on top.
//!
//! The rule: if the data do not begin with a header field or an empty line, an empty line separates them from our
//! header. Otherwise a first line that begins with a blank would continue our `Received:`, and readers would take text
//! for a header and show nothing. A line of mbox files (`From ann@far.test Sun Jan  4 ...`) stands before the fields of
//! some messages. It becomes a field itself, because after an empty line those fields would be text.

/// Examines the first lines of message data as they arrive.
#[derive(Debug)]
pub(super) struct Opening {
    /// The beginning of the line to examine, in the bytes as stored.
    at: usize,
    /// The number of mbox lines so far.
    mailbox_lines: usize,
}

/// The kind of the first line.
#[derive(Debug, PartialEq, Eq)]
enum FirstLine {
    /// More octets are needed.
    Unknown,
    /// A header field, or the empty line before the body.
    Header,
    /// `From ` or `>From ` of an mbox file.
    Mailbox,
    /// Anything else.
    Text,
}

impl Opening {
    /// The data begin after `header_len` bytes.
    pub(super) fn after(header_len: usize) -> Self {
        Self { at: header_len, mailbox_lines: 0 }
    }

    /// Inserts what is missing into `bytes`, the message as stored so far. `ended`: no more follows. Returns `true` if
    /// no later line matters.
    pub(super) fn examine(&mut self, bytes: &mut Vec<u8>, ended: bool) -> bool {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let line = &rest[..rest.len().min(MAX_LINE + 1)];
            let ended = ended || rest.len() > MAX_LINE;
            let end = memchr::memchr(b'\n', line);
            match first_line(line, ended) {
                FirstLine::Unknown => return false,
                FirstLine::Header => return true,
                FirstLine::Mailbox if self.mailbox_lines < MAX_MAILBOX_LINES => {
                    if end.is_none() && !ended {
                        return false;
                    }
                    bytes.splice(self.at..self.at, FIELD.iter().copied());
                    let Some(end) = end else { return true };
                    self.at += FIELD.len() + end + 1;
                    self.mailbox_lines += 1;
                }
                FirstLine::Mailbox | FirstLine::Text => {
                    bytes.insert(self.at, b'\n');
                    return true;
                }
            }
        }
    }
}

/// The kind of a line, from its first octets. `ended`: no more of it follows.
fn first_line(line: &[u8], ended: bool) -> FirstLine {
    let unknown = if ended { FirstLine::Text } else { FirstLine::Unknown };
    let arrows = line.iter().take_while(|&&octet| octet == b'>').count();
    let word = &line[arrows..];
    if word.len() < MAILBOX.len() && MAILBOX.starts_with(word) {
        return if line.is_empty() && ended { FirstLine::Header } else { unknown };
    }
    let name = line.iter().take_while(|&&octet| octet.is_ascii_graphic() && octet != b':').count();
    let blanks = line[name..].iter().take_while(|&&octet| octet == b' ' || octet == b'\t').count();
    match line.get(name + blanks) {
        // `From : ann` is an old form of the field (RFC 5322 section 4.5).
        Some(b':') if name > 0 => FirstLine::Header,
        Some(b'\n') if name + blanks == 0 => FirstLine::Header,
        None => unknown,
        Some(_) if word.starts_with(MAILBOX) => FirstLine::Mailbox,
        Some(_) => FirstLine::Text,
    }
}

const MAILBOX: &[u8] = b"From ";
/// The name of the field that an mbox line becomes.
const FIELD: &[u8] = b"X-Mailbox-Line: ";
/// More octets than this without an end are no name of a field and no mbox line.
const MAX_LINE: usize = 998;
/// More mbox lines than this are text.
const MAX_MAILBOX_LINES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The message below a header, if the data arrive in pieces of that size.
    fn stored(data: &[u8], size: usize) -> String {
        let mut bytes = b"Received: x\n".to_vec();
        let (mut opening, header) = (Opening::after(bytes.len()), bytes.len());
        let mut done = false;
        for piece in data.chunks(size) {
            bytes.extend_from_slice(piece);
            done = done || opening.examine(&mut bytes, false);
        }
        if !done {
            opening.examine(&mut bytes, true);
        }
        String::from_utf8_lossy(&bytes[header..]).into_owned()
    }

    #[test]
    fn w05_data_that_do_not_begin_with_a_field_are_text() {
        let long = "x".repeat(2000);
        for (data, expected) in [
            ("Subject: x\n\nhello\n", "Subject: x\n\nhello\n"),
            ("X-A_b.c : x\n", "X-A_b.c : x\n"),
            ("From : ann\n", "From : ann\n"),
            ("From: ann\n", "From: ann\n"),
            ("\nhello\n", "\nhello\n"),
            ("", ""),
            (" hello\n", "\n hello\n"),
            ("\thello\n", "\n\thello\n"),
            (" \n", "\n \n"),
            ("hello\n", "\nhello\n"),
            ("hello world: x\n", "\nhello world: x\n"),
            (": x\n", "\n: x\n"),
            ("Größe: x\n", "\nGröße: x\n"),
            ("hello", "\nhello"),
            ("From", "\nFrom"),
            ("Fro\n", "\nFro\n"),
            (
                "From ann@far.test Sun Jan  4 08:00:00 2026\nSubject: x\n\nhello\n",
                "X-Mailbox-Line: From ann@far.test Sun Jan  4 08:00:00 2026\nSubject: x\n\nhello\n",
            ),
            (
                ">From ann\n>>From bob\nhello\n",
                "X-Mailbox-Line: >From ann\nX-Mailbox-Line: >>From bob\n\nhello\n",
            ),
            ("From ann", "X-Mailbox-Line: From ann"),
            ("From ann\n", "X-Mailbox-Line: From ann\n"),
            (">From: x\n", ">From: x\n"),
            (&long, &format!("\n{long}")),
        ] {
            for size in [1, 2, 3, data.len().max(1)] {
                assert_eq!(stored(data.as_bytes(), size), expected, "{data:?} in pieces of {size}");
            }
        }
        let many = "From x\n".repeat(9);
        let expected = format!("{}\n{}", "X-Mailbox-Line: From x\n".repeat(4), "From x\n".repeat(5));
        assert_eq!(stored(many.as_bytes(), 5), expected);
    }

    proptest! {
        #[test]
        fn w05_the_pieces_do_not_matter_and_every_octet_stays(
            data in prop::collection::vec(
                prop_oneof![Just(b"From ".to_vec()), Just(b"\n".to_vec()), Just(b"a:".to_vec()), prop::collection::vec(any::<u8>(), 0..4)],
                0..12,
            ),
            size in 1usize..9,
        ) {
            let data = data.concat();
            let whole = stored(&data, data.len().max(1));
            prop_assert_eq!(&stored(&data, size), &whole);
            let inserted = whole.replace("X-Mailbox-Line: ", "");
            prop_assert!(inserted.ends_with(&*String::from_utf8_lossy(&data)) || whole.contains("X-Mailbox-Line: "));
        }
    }
}
