//! The mail in the output of an IMAP session, which a transcript leaves out: the literals and strings in responses to FETCH.

use crate::proto::imap::command_reader::announcement;

/// The place in the output of a session.
#[derive(Debug, Default)]
pub(super) struct ImapOutput {
    /// Octets of a literal that are still to come.
    pub(super) literal: u64,
    /// True if the next line continues a response to FETCH.
    is_continued: bool,
}

impl ImapOutput {
    /// Reads a line without its end. Returns it as a transcript may have it.
    pub(super) fn line(&mut self, line: &[u8]) -> Vec<u8> {
        let is_fetch = line.starts_with(b"* ") && line.split(|&b| b == b' ').nth(2) == Some(b"FETCH");
        if !is_fetch && !self.is_continued {
            return line.to_vec();
        }
        let literal = announcement(line);
        self.is_continued = literal.is_some();
        self.literal = literal.map_or(0, |literal| literal.octets);
        without_strings(line)
    }
}

/// A line of a response to FETCH without its strings, which are fields of the mail. The internal date is none.
fn without_strings(line: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut rest = line;
    while let Some(start) = memchr::memchr(b'"', rest) {
        let (before, string) = rest.split_at(start);
        let mut is_escaped = false;
        let length = string[1..].iter().position(|&b| {
            let is_end = b == b'"' && !is_escaped;
            is_escaped = b == b'\\' && !is_escaped;
            is_end
        });
        let (string, after) = string.split_at(length.map_or(string.len(), |length| length + 2));
        shown.extend_from_slice(before);
        shown.extend_from_slice(if before.ends_with(b"INTERNALDATE ") { string } else { HIDDEN });
        rest = after;
    }
    shown.extend_from_slice(rest);
    shown
}

/// The mask of a string.
const HIDDEN: &[u8] = b"\"***\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y83_mail_in_responses_is_left_out() {
        let mut output = ImapOutput::default();
        let mut shown = |line: &str| {
            let shown = String::from_utf8(output.line(line.as_bytes())).unwrap();
            (shown, std::mem::take(&mut output.literal))
        };
        let date = "INTERNALDATE \"17-Jul-1996\" FLAGS (\\Seen)";
        let line = format!("* 1 FETCH ({date} ENVELOPE (NIL \"a \\\"b\" NIL) BODY[] {{5}}");
        let expected = format!("* 1 FETCH ({date} ENVELOPE (NIL \"***\" NIL) BODY[] {{5}}");
        assert_eq!(shown(&line), (expected, 5));
        assert_eq!(shown(" BODY[1] \"secret\")"), (" BODY[1] \"***\")".into(), 0));
        for line in ["* LIST () \".\" \"Sent mail\"", "* OK {5}", "a1 OK \"x\" {5}"] {
            assert_eq!(shown(line), (line.into(), 0));
        }
        assert_eq!(shown("* 2 FETCH (BODY[] \"cut"), ("* 2 FETCH (BODY[] \"***\"".into(), 0));
    }
}
