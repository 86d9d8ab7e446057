//! The vocabulary of IMAP.

use super::{capabilities, command_table};
use crate::proto::{smtp::reply_codes::ReplyClass, vocabulary::Vocabulary};

/// The meaning of commands and replies.
pub const VOCABULARY: Vocabulary = Vocabulary {
    begins_tls: "RFC 3501 section 6.2.1",
    exchange: "RFC 3501 section 6.2.2",
    command,
    reply,
    listed: capabilities::MEANINGS,
    before_keyword: 0,
};

fn command(name: &[u8]) -> Option<(&'static str, &'static str)> {
    let row = command_table::COMMANDS.iter().find(|row| row.is_named(name));
    row.map(|row| (row.meaning, row.rfc))
}

fn reply(line: &str) -> (String, Option<ReplyClass>) {
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some("+"), _) => ("go on, more is wanted".into(), Some(ReplyClass::Intermediate)),
        (Some(_), Some("OK")) => ("done".into(), Some(ReplyClass::Success)),
        (Some(_), Some("NO")) => ("no".into(), Some(ReplyClass::Permanent)),
        (Some(_), Some("BAD")) => ("not understood".into(), Some(ReplyClass::Permanent)),
        (Some("*"), Some("BYE")) => ("the connection ends".into(), Some(ReplyClass::Success)),
        _ => (String::new(), None),
    }
}
