//! The words that explain a protocol to people who read a transcript of it.

use super::smtp::reply_codes::Class;

/// The meaning of a protocol's commands and replies, with the sections that rule them.
#[derive(Debug)]
pub struct Vocabulary {
    /// The section about what TLS changes for a session.
    pub begins_tls: &'static str,
    /// The section about the exchange of AUTH.
    pub exchange: &'static str,
    /// The meaning and section of a command, its name in any case.
    pub command: fn(&[u8]) -> Option<(&'static str, &'static str)>,
    /// The meaning of a reply's line, and what it asks of the client. Empty where a line of the same reply follows.
    pub reply: fn(&str) -> (String, Option<Class>),
    /// Keyword, meaning and section of what a server can list.
    pub listed: &'static [(&'static str, &'static str, &'static str)],
    /// Octets before the keyword in a line of that list.
    pub before_keyword: usize,
}
