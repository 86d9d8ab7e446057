//! The explanations of a protocol, for readers of its transcripts.

use super::smtp::reply_codes::ReplyClass;

/// The meaning of a protocol's commands and replies, with the sections that define them.
#[derive(Debug)]
pub struct Vocabulary {
    /// The section about the effect of TLS on a session.
    pub begins_tls: &'static str,
    /// The section about the exchange of AUTH.
    pub exchange: &'static str,
    /// The meaning and section of a command. The name may be in any case.
    pub command: fn(&[u8]) -> Option<(&'static str, &'static str)>,
    /// The meaning of a line of a reply, and the class of the reply. The meaning is empty if another line of
    /// the same reply follows.
    pub reply: fn(&str) -> (String, Option<ReplyClass>),
    /// Keyword, meaning and section of each capability that a server can list.
    pub listed: &'static [(&'static str, &'static str, &'static str)],
    /// Octets before the keyword in a line of that list.
    pub before_keyword: usize,
}
