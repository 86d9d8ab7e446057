//! The vocabulary of HTTP, for readers of transcripts.

use crate::proto::{smtp::reply_codes::ReplyClass, vocabulary::Vocabulary};

/// The meaning of requests and responses.
pub const VOCABULARY: Vocabulary = Vocabulary {
    begins_tls: "RFC 9110 section 4.2.2",
    exchange: "RFC 7617 section 2",
    command,
    reply,
    listed: &[],
    before_keyword: 0,
};

/// The meaning of the first word of a line: a request, a field, or the empty line after the last field.
fn command(name: &[u8]) -> Option<(&'static str, &'static str)> {
    let method = METHODS.iter().find(|(known, ..)| known.as_bytes() == name);
    match (method, name) {
        (Some((_, meaning, rfc)), _) => Some((meaning, rfc)),
        (None, b"") => Some(("the head of the request ends here", "RFC 9112 section 2.1")),
        (None, [.., b':']) => Some(("a field of the request", "RFC 9110 section 6.3")),
        _ => None,
    }
}

/// True if the word is a method that some route has.
pub fn is_method(word: &[u8]) -> bool {
    METHODS.iter().any(|(known, ..)| known.as_bytes() == word)
}

fn reply(line: &str) -> (String, Option<ReplyClass>) {
    let Some(status) = line.strip_prefix("HTTP/1.1 ") else { return (String::new(), None) };
    let (meaning, class) = match status.as_bytes().first() {
        Some(b'1') => ("go on, the body is wanted", ReplyClass::Intermediate),
        Some(b'2') => ("done", ReplyClass::Success),
        Some(b'3') => ("the client has it already", ReplyClass::Success),
        Some(b'4') => ("no", ReplyClass::Permanent),
        _ => ("not now", ReplyClass::Transient),
    };
    (meaning.into(), Some(class))
}

/// The value of a field that may be recorded. Any other field may be a secret.
pub fn loggable_field(name: &[u8]) -> bool {
    LOGGABLE.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

const METHODS: &[(&str, &str, &str)] = &[
    ("GET", "reads", "RFC 9110 section 9.3.1"),
    ("HEAD", "reads the head of a response only", "RFC 9110 section 9.3.2"),
    ("POST", "adds", "RFC 9110 section 9.3.3"),
    ("PUT", "changes", "RFC 9110 section 9.3.4"),
    ("DELETE", "deletes", "RFC 9110 section 9.3.5"),
];

const LOGGABLE: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "if-none-match",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "transfer-encoding",
    "user-agent",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_request_has_a_meaning() {
        for word in ["GET", "DELETE", "Host:", ""] {
            assert!(command(word.as_bytes()).is_some(), "{word}");
        }
        assert!(command(b"EHLO").is_none() && !is_method(b"Host:") && is_method(b"PUT"));
    }
}
