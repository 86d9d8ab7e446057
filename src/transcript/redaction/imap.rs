//! Masks passwords in the commands of IMAP.
//!
//! The rule: before the login, only the names of commands are shown, and the response of AUTHENTICATE with its mask. After
//! it, arguments are shown if the command is known and takes some. The first word of a line that is no command may be a
//! password, because the server asks for none in a line of its own. The reply repeats that word as a tag, so it is masked there
//! too.

use std::borrow::Cow;

use super::{HIDDEN, Redactor};
use crate::proto::{SessionPhase, imap, sasl};

impl Redactor {
    /// Masks a line of a command. `None` if it contains no secret.
    pub(super) fn redact_imap(&mut self, line: &[u8], phase: SessionPhase) -> Option<Vec<u8>> {
        let is_before_login = phase != SessionPhase::Authenticated && phase != SessionPhase::Selected;
        if phase == SessionPhase::Literal {
            // A literal of LOGIN, or the rest of its line.
            return self.hides_user().then(|| HIDDEN.to_vec());
        }
        // The end of IDLE has no tag, so no reply would take its mask away.
        if phase == SessionPhase::Idling && line.eq_ignore_ascii_case(b"DONE") {
            return None;
        }
        let (tag, rest) = split(line);
        let (first, after) = split(rest);
        let (name, argument) = match first.eq_ignore_ascii_case(b"UID") {
            true => {
                let (second, argument) = split(after);
                ([first, b" ", second].concat(), argument)
            }
            false => (first.to_vec(), after),
        };
        let is_known = (imap::VOCABULARY.command)(&name).is_some();
        let is_tag = (1..=MAX_TAG).contains(&tag.len()) && tag.iter().all(u8::is_ascii_alphanumeric);
        if line.is_empty() {
            return None;
        }
        if !is_known || !is_tag {
            self.in_sasl_exchange = true;
            if is_usual(tag) && !rest.is_empty() {
                return Some([tag, b" ***"].concat());
            }
            if self.hidden_tags.len() < MAX_HIDDEN_TAGS {
                self.hidden_tags.push(crc32fast::hash(tag));
            }
            return Some(HIDDEN.to_vec());
        }
        let upper = name.to_ascii_uppercase();
        let begin = [tag, b" ", &name].concat();
        let begin = begin.as_slice();
        self.in_sasl_exchange = matches!(upper.as_slice(), b"AUTHENTICATE" | b"LOGIN");
        match upper.as_slice() {
            _ if argument.is_empty() => None,
            b"AUTHENTICATE" => {
                let (mechanism, response) = split(argument);
                if !mechanism.eq_ignore_ascii_case(b"PLAIN") {
                    return Some([begin, b" ", HIDDEN].concat());
                }
                let shown = self.redact_response(response, SessionPhase::AuthPlain, sasl::LINE)?;
                Some([begin, b" ", mechanism, b" ", &shown].concat())
            }
            b"LOGIN" => Some([begin, &b" \"user\" \"***\""[..]].concat()),
            b"ID" if argument.starts_with(b"(") || argument.eq_ignore_ascii_case(b"NIL") => None,
            b"LANGUAGE" => None,
            b"CAPABILITY" | b"NOOP" | b"LOGOUT" | b"STARTTLS" | b"ID" => Some([begin, b" ", HIDDEN].concat()),
            _ if is_before_login => Some([begin, b" ", HIDDEN].concat()),
            _ => None,
        }
    }

    /// Masks the tag of a reply if the line of its command was masked with its tag.
    pub(in crate::transcript) fn redact_reply<'a>(&mut self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let (tag, _) = split(line);
        let digest = crc32fast::hash(tag);
        let Some(at) = self.hidden_tags.iter().position(|hidden| *hidden == digest) else {
            return line.into();
        };
        self.hidden_tags.remove(at);
        [HIDDEN, &line[tag.len()..]].concat().into()
    }
}

/// Whether a word is a tag as people and programs write it, and no password: one or two letters, and up to four digits.
fn is_usual(tag: &[u8]) -> bool {
    let letters = tag.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let digits = &tag[letters..];
    (1..=2).contains(&letters) && (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// The first word of a line, and the rest after one blank.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

/// The longest tag that is shown, in octets.
const MAX_TAG: usize = 32;
/// The largest number of masked tags whose replies have not come. After more of them, the session has ended for its mistakes.
const MAX_HIDDEN_TAGS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::protocol::Protocol;

    #[test]
    fn y60_a_password_of_imap_is_masked_in_every_command() {
        let shown = |phase, line: &str| {
            let mut redactor = Redactor::new(Protocol::Imap, 65_536, false);
            String::from_utf8(redactor.redact_line(format!("{line}\r\n").as_bytes(), phase)).unwrap()
        };
        for (line, expected) in [
            ("a1 LOGIN bob hunter2", "a1 LOGIN \"user\" \"***\""),
            ("a1 login {3}", "a1 login \"user\" \"***\""),
            ("a1 AUTHENTICATE PLAIN AGJvYgBodW50ZXIy", "a1 AUTHENTICATE PLAIN AHVzZXIAKioq"),
            ("a1 AUTHENTICATE PLAIN", "a1 AUTHENTICATE PLAIN"),
            ("a1 AUTHENTICATE hunter2", "a1 AUTHENTICATE ***"),
            ("a1 ID (\"name\" \"x\")", "a1 ID (\"name\" \"x\")"),
            ("a1 SELECT hunter2", "a1 SELECT ***"),
            ("a1 NOOP hunter2", "a1 NOOP ***"),
            ("a1 PASS hunter2", "a1 ***"),
            ("a1 ID hunter2", "a1 ID ***"),
            ("hunter2", "***"),
            ("hunter2 x", "***"),
            ("hunter two", "***"),
            ("4711 x", "***"),
        ] {
            assert_eq!(shown(SessionPhase::Authorization, line), format!("{expected}\r\n"));
        }
        for (line, expected) in [
            ("a1 UID FETCH 1:* (FLAGS)", "a1 UID FETCH 1:* (FLAGS)"),
            ("a1 SELECT \"Sent Items\"", "a1 SELECT \"Sent Items\""),
            ("a1 LOGIN bob hunter2", "a1 LOGIN \"user\" \"***\""),
            ("a1 UID hunter2", "a1 ***"),
        ] {
            assert_eq!(shown(SessionPhase::Authenticated, line), format!("{expected}\r\n"));
        }
    }

    #[test]
    fn y240_done_is_shown_and_leaves_no_mask_behind() {
        let mut redactor = Redactor::new(Protocol::Imap, 65_536, false);
        for _ in 0..=MAX_HIDDEN_TAGS {
            assert_eq!(redactor.redact_line(b"done\r\n", SessionPhase::Idling), b"done\r\n");
        }
        assert_eq!(redactor.redact_line(b"hunter2\r\n", SessionPhase::Idling), b"***\r\n");
        assert_eq!(&*redactor.redact_reply(b"hunter2 BAD Expected x"), b"*** BAD Expected x");
        assert_eq!(redactor.redact_line(b"DONE\r\n", SessionPhase::Authenticated), b"***\r\n");
    }

    #[test]
    fn y223_a_reply_does_not_repeat_a_masked_word_as_its_tag() {
        let mut redactor = Redactor::new(Protocol::Imap, 65_536, false);
        let lines = ["a1 LOGIN bob", "hunter2", "hunter two", "hunter2", "a2 NOOP"];
        lines.iter().for_each(|line| _ = redactor.redact_line(line.as_bytes(), SessionPhase::Authorization));
        let replies = [
            ("a1 BAD Expected x", "a1 BAD Expected x"),
            ("hunter2 BAD Expected x", "*** BAD Expected x"),
            ("hunter BAD Unknown", "*** BAD Unknown"),
            ("* OK hunter2 x", "* OK hunter2 x"),
            ("hunter2 BAD Expected x", "*** BAD Expected x"),
            ("a2 OK Done", "a2 OK Done"),
        ];
        for (reply, expected) in replies {
            assert_eq!(redactor.redact_reply(reply.as_bytes()), expected.as_bytes(), "{reply}");
        }
        assert!(redactor.hidden_tags.is_empty());
    }

    #[test]
    fn y60_a_literal_of_a_login_is_masked() {
        let mut redactor = Redactor::new(Protocol::Imap, 65_536, false);
        redactor.redact_line(b"a1 LOGIN {3}\r\n", SessionPhase::Authorization);
        assert_eq!(redactor.redact_line(b"bob hunter2\r\n", SessionPhase::Literal), b"***\r\n");
    }
}
