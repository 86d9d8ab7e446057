//! The vocabulary of POP3.

use super::{command_table, reply};
use crate::proto::{smtp::reply_codes::ReplyClass, vocabulary::Vocabulary};

/// The meaning of commands and replies.
pub const VOCABULARY: Vocabulary = Vocabulary {
    begins_tls: "RFC 2595 section 4",
    exchange: "RFC 5034 section 4",
    command,
    reply,
    listed: command_table::CAPABILITIES,
    before_keyword: 0,
};

fn command(name: &[u8]) -> Option<(&'static str, &'static str)> {
    let rule = command_table::COMMANDS.iter().find(|rule| rule.is_named(name));
    rule.map(|rule| (rule.meaning, rule.rfc))
}

fn reply(line: &str) -> (String, Option<ReplyClass>) {
    let code = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(code, _)| code);
    let code = code.and_then(|code| reply::CODES.iter().find(|(name, ..)| *name == code));
    match (line, code) {
        _ if line.starts_with("+OK") => ("done".into(), Some(ReplyClass::Success)),
        ("+" | "+ " | "+\\x20", _) => ("go on, more is wanted".into(), Some(ReplyClass::Intermediate)),
        (_, Some((name, meaning, class))) if line.starts_with("-ERR") => {
            (format!("no; {name}: {meaning}"), Some(*class))
        }
        _ if line.starts_with("-ERR") => ("no".into(), Some(ReplyClass::Permanent)),
        _ => (String::new(), None),
    }
}
