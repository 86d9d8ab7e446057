//! The vocabulary of POP3.

use super::{reply, session_config};
use crate::proto::{smtp::reply_codes::ReplyClass, vocabulary::Vocabulary};

/// The meaning of commands and replies.
pub const VOCABULARY: Vocabulary = Vocabulary {
    begins_tls: "RFC 2595 section 4",
    exchange: "RFC 5034 section 4",
    command,
    reply,
    listed: session_config::CAPABILITIES,
    before_keyword: 0,
};

fn command(name: &[u8]) -> Option<(&'static str, &'static str)> {
    let rule = session_config::COMMANDS.iter().find(|rule| rule.name.as_bytes().eq_ignore_ascii_case(name));
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
