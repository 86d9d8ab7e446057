//! The phases of a session with their names and descriptions: the phases in the command tables, and the
//! states in which the session reads no command.

/// The phase of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its meaning in the table")]
pub enum SessionPhase {
    Start,
    Greeted,
    Sender,
    Recipients,
    Data,
    Chunk,
    Chunks,
    AuthPlain,
    AuthUser,
    AuthPassword,
    Authorization,
    UserGiven,
    Transaction,
    Sending,
    Update,
    RequestHead,
    RequestBody,
    Authenticated,
    Selected,
    Idling,
    Literal,
    Message,
    /// A request is pending or a reply is delayed, so the next phase is not known yet.
    Pending,
    Ended,
}

use SessionPhase::{
    AuthPassword, AuthPlain, AuthUser, Authenticated, Authorization, Chunk, Chunks, Data, Ended, Greeted,
    Idling, Literal, Message, Pending, Recipients, RequestBody, RequestHead, Selected, Sender, Sending,
    Start, Transaction, Update, UserGiven,
};

impl SessionPhase {
    /// The name in a transcript.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The description, for readers of a transcript.
    pub fn description(self) -> &'static str {
        self.row().2
    }

    /// The phase with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// True if the client's octets are message data.
    pub fn is_data(self) -> bool {
        matches!(self, Data | Chunk | RequestBody | Message)
    }

    fn row(self) -> (Self, &'static str, &'static str) {
        TABLE.into_iter().find(|row| row.0 == self).unwrap_or((self, "between", ""))
    }
}

/// Each phase with its name and description in transcripts. Kept transcripts have the names.
const TABLE: [(SessionPhase, &str, &str); 24] = [
    (Start, "start", "nobody has said hello yet"),
    (Greeted, "greeted", "hello was said, no message is begun"),
    (Sender, "sender", "a message is begun, and has no recipient yet"),
    (Recipients, "recipients", "the message has a recipient, and may have more"),
    (Data, "data", "everything up to a line with a dot alone is the message"),
    (Chunk, "chunk", "as many octets as BDAT counted are the message"),
    (Chunks, "chunks", "a part of the message is there, more is to come"),
    (AuthPlain, "auth-plain", "the next line is a name and a password in base64"),
    (AuthUser, "auth-user", "the next line is a name in base64"),
    (AuthPassword, "auth-password", "the next line is a password in base64"),
    (Authorization, "authorization", "nobody has logged in yet"),
    (UserGiven, "named", "the name is known, the password is not"),
    (Transaction, "transaction", "the mailbox is open, and locked for this session"),
    (Sending, "sending", "a message is on its way to the client"),
    (Update, "update", "what was marked is being deleted"),
    (RequestHead, "request", "the next request may come"),
    (RequestBody, "body", "as many octets as Content-Length counted are the body of the request"),
    (Authenticated, "authenticated", "the client has logged in"),
    (Selected, "selected", "a mailbox is selected"),
    (Idling, "idle", "the client waits for updates, until it says DONE"),
    (Literal, "literal", "the rest of a command is to come"),
    (Message, "message", "as many octets as announced are the message"),
    (Pending, "between", "the answer is not known yet"),
    (Ended, "over", "the session has ended"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_standing() {
        for (phase, name, meaning) in TABLE {
            assert_eq!((SessionPhase::from_name(name), phase.name()), (Some(phase), name));
            assert!(!meaning.is_empty() && phase.description() == meaning);
        }
    }
}
