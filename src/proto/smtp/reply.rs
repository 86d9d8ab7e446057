//! All replies of the SMTP server: code, enhanced code (RFC 3463) and text.

use std::borrow::Cow;

use super::{address::Address, reply_codes::FAULT_ON_DEMAND};
use crate::{
    language::Language,
    proto::{EndReason, buffer::Outbox, failure_texts, request::Failure},
};

/// One reply. Banner, EHLO, HELO and 354 have no enhanced code (RFC 2034).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: &'static str,
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply with a fixed text.
    pub const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Self {
        Self { code, enhanced, text: Cow::Borrowed(text) }
    }

    /// The same reply with another text.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Cow::Owned(text.into());
        self
    }

    /// The same reply, with the recipient before the text. The text must be one line.
    pub fn with_recipient(&self, recipient: &Address) -> Self {
        self.clone().with_text(format!("<{recipient}> {}", self.text))
    }

    /// The text without the codes; several lines are separated by LF.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes the reply, with a line for each line of the text.
    pub fn write(&self, out: &mut Outbox) {
        let gap = if self.enhanced.is_empty() { "" } else { " " };
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let dash = if lines.peek().is_some() { '-' } else { ' ' };
            out.line(&format!("{}{dash}{}{gap}{line}", self.code, self.enhanced));
        }
    }

    /// The reply as one line, for a connection without a session.
    pub fn line(&self) -> String {
        format!("{} {} {}", self.code, self.enhanced, self.text)
    }

    /// Code and enhanced code, for the log.
    pub fn codes(&self) -> String {
        format!("{}-{}", self.code, self.enhanced)
    }
}

/// The last reply of a session that the server ends.
pub fn farewell(why: EndReason) -> Reply {
    match why {
        EndReason::Shutdown => SHUTTING_DOWN,
        EndReason::LoginRevoked => LOGIN_REVOKED,
    }
}

/// The reply to a failure of the server while it receives a message, as a stranger may read it.
pub fn failure_reply(failure: Failure) -> Reply {
    match failure {
        Failure::Full => Reply::new(452, "4.3.1", "Out of storage, try later"),
        Failure::Quota => Reply::new(452, "4.2.2", "The mailbox is over its quota, try later"),
        Failure::MailboxUnusable => {
            Reply::new(451, "4.3.5", "The mailbox can't be used as it is configured, try later")
        }
        Failure::AuthFailed { .. } => AUTH_FAILED,
        Failure::Busy => Reply::new(454, "4.7.0", "Too many logins at once, try later"),
        Failure::TempFail
        | Failure::SpoolMoved
        | Failure::ReadOnly
        | Failure::InUse
        | Failure::TooManyOpen
        | Failure::LoginDelay
        | Failure::NoFolder
        | Failure::Gone
        | Failure::Changed
        | Failure::Truncated => Reply::new(451, "4.3.0", "The message could not be stored, try later"),
    }
}

/// [`Failure::SpoolMoved`], for a user who is logged in.
pub const SPOOL_MOVED: Reply = Reply::new(451, "4.3.0", failure_texts::SPOOL_MOVED.text(Language::English));

/// The refusal of a fault on demand.
pub fn injected_reply(code: u16) -> Reply {
    Reply::new(code, if code < 500 { "4.0.0" } else { "5.0.0" }, FAULT_ON_DEMAND)
}

/// The message with this id is durable.
pub fn queued(id: &str) -> Reply {
    Reply::new(250, "2.0.0", "").with_text(format!("Queued as {id}"))
}

/// MAIL, RSET and NOOP succeeded.
pub const OK: Reply = Reply::new(250, "2.0.0", "Ok");
/// MAIL was accepted, and begins a message.
pub const SENDER_OK: Reply = Reply::new(250, "2.1.0", "Sender ok");
/// RCPT was accepted: the address has a mailbox here.
pub const RECIPIENT_OK: Reply = Reply::new(250, "2.1.5", "Recipient ok");
/// DATA was accepted: the message may begin.
pub const GO_AHEAD: Reply = Reply::new(354, "", "End data with <CR><LF>.<CR><LF>");
/// AUTH: the client may send its PLAIN message.
pub const GO_ON: Reply = Reply::new(334, "", "");
/// AUTH LOGIN: "Username:", in base64.
pub const USER_NAME: Reply = Reply::new(334, "", "VXNlcm5hbWU6");
/// AUTH LOGIN: "Password:", in base64.
pub const PASSWORD: Reply = Reply::new(334, "", "UGFzc3dvcmQ6");
/// AUTH succeeded, with the right password.
pub const AUTHENTICATED: Reply = Reply::new(235, "2.7.0", "Authentication succeeded");
/// The client cancelled the exchange.
pub const CANCELLED: Reply = Reply::new(501, "5.7.0", "Authentication cancelled");
/// The response is not base64, or does not fit the mechanism.
pub const BAD_RESPONSE: Reply = Reply::new(501, "5.5.2", "Cannot decode the response, expected base64");
/// A line of an exchange exceeds the limit.
pub const EXCHANGE_TOO_LONG: Reply = Reply::new(500, "5.5.6", "Authentication exchange line is too long");
/// The client named a mechanism that was not announced.
pub const UNKNOWN_MECHANISM: Reply = Reply::new(504, "5.5.4", "Mechanism not recognized");
/// AUTH in clear text, on a listener that accepts passwords only under TLS.
pub const ENCRYPTION_NEEDED: Reply =
    Reply::new(538, "5.7.11", "Encryption required for the requested mechanism, use STARTTLS first");
/// Wrong user, wrong password, or disabled account.
pub const AUTH_FAILED: Reply = Reply::new(535, "5.7.8", "Authentication failed");
/// A failure of the server during a password check.
pub const CANNOT_AUTHENTICATE: Reply = Reply::new(454, "4.7.0", "Authentication failed for the time being");
/// MAIL before AUTH, on a listener that requires a login.
pub const AUTHENTICATION_NEEDED: Reply = Reply::new(530, "5.7.0", "Authentication required");
/// MAIL before STARTTLS, on a listener that requires a login and accepts none in clear text.
pub const TLS_NEEDED: Reply = Reply::new(530, "5.7.0", "Must issue a STARTTLS command first");
/// The text of both, and of AUTH, if there is no STARTTLS either: then no advice to the client would work.
pub const NO_LOGIN_IN_CLEAR: &str = "Passwords are taken under TLS only, and this port offers no TLS";
/// MAIL FROM is not an address of the user.
pub const NOT_YOUR_ADDRESS: Reply = Reply::new(550, "5.7.1", "Not an address that you may send from");
/// STARTTLS was accepted: the handshake may begin.
pub const START_TLS: Reply = Reply::new(220, "2.0.0", "Ready to start TLS");
/// A chunk that is not the last one was accepted.
pub const CHUNK_OK: Reply = Reply::new(250, "2.0.0", "Chunk ok");
/// An empty chunk that does not end the message.
pub const EMPTY_CHUNK: Reply = Reply::new(551, "5.7.1", "An empty chunk must be the last one");
/// A BDAT without a valid number of octets.
pub const BAD_CHUNK: Reply = Reply::new(501, "5.5.4", "Expected BDAT <octets> [LAST]");
/// QUIT.
pub const BYE: Reply = Reply::new(221, "2.0.0", "Bye");
/// VRFY reveals nothing (RFC 5321 section 7.3).
pub const CANNOT_VERIFY: Reply =
    Reply::new(252, "2.0.0", "Cannot VRFY user, but will take mail for a valid one");
/// A command that no RFC known here defines.
pub const UNKNOWN_COMMAND: Reply = Reply::new(500, "5.5.2", "Command not recognized, try HELP");
/// A command line exceeds the limit.
pub const LINE_TOO_LONG: Reply = Reply::new(500, "5.5.2", "Line too long");
/// A command line contains a CR, LF or NUL that is not allowed.
pub const BAD_LINE: Reply =
    Reply::new(500, "5.5.2", "Lines end with <CR><LF>, and no other control character is allowed");
/// A command of the RFCs that this server lacks.
pub const NOT_IMPLEMENTED: Reply = Reply::new(502, "5.5.1", "Command not implemented");
/// The client speaks another protocol.
pub const NOT_SMTP: Reply = Reply::new(502, "5.7.0", failure_texts::MAIL_SERVER.text(Language::English));
/// A TLS handshake on a port without implicit TLS.
pub const NOT_TLS: Reply = Reply::new(500, "5.5.2", "This port does not begin with TLS");
/// A command in the wrong order. The text usually names the command to send first.
pub const BAD_SEQUENCE: Reply = Reply::new(503, "5.5.1", "Bad sequence of commands");
/// DATA before an accepted RCPT (RFC 5321 section 3.3).
pub const NO_RECIPIENTS: Reply = Reply::new(554, "5.5.1", "No valid recipients");
/// DATA before an accepted RCPT in LMTP (RFC 2033 section 4.2).
pub const NO_RECIPIENTS_LMTP: Reply = Reply::new(503, "5.5.1", "No valid recipients");
/// An argument that does not follow the grammar.
pub const BAD_ARGUMENT: Reply = Reply::new(501, "5.5.4", "Syntax error in the arguments");
/// A parameter that was not announced.
pub const UNKNOWN_PARAMETER: Reply = Reply::new(555, "5.5.4", "Parameter not recognized");
/// MAIL FROM without a valid path.
pub const BAD_SENDER: Reply = Reply::new(501, "5.1.7", "Bad sender address, expected <user@domain>");
/// RCPT TO without a valid path.
pub const BAD_RECIPIENT: Reply = Reply::new(501, "5.1.3", "Bad recipient address, expected <user@domain>");
/// An address with octets above 0x7f (RFC 6531 section 3.5).
pub const NEEDS_UTF8: Reply = Reply::new(553, "5.6.7", "An address that is not ASCII needs SMTPUTF8");
/// The user does not exist.
pub const NO_SUCH_USER: Reply = Reply::new(550, "5.1.1", "No such user here");
/// The recipient's domain is not local.
pub const NO_RELAY: Reply = Reply::new(550, "5.7.1", "This server delivers to its own users only");
/// The limit of recipients is reached.
pub const TOO_MANY_RECIPIENTS: Reply =
    Reply::new(452, "4.5.3", "Too many recipients, send the rest in another message");
/// The recipient is a list of more mailboxes than the server may have open.
pub const LIST_TOO_LONG: Reply =
    Reply::new(451, "4.3.5", "This list has more mailboxes than the server has descriptors for");
/// The message exceeds the size limit.
pub const TOO_BIG: Reply = Reply::new(552, "5.3.4", "Message too big");
/// The message is in a mail loop.
pub const LOOP: Reply = Reply::new(554, "5.4.6", "Too many hops, this message is in a loop");
/// Message data contains a bare CR or LF.
pub const BARE_LINE_END: Reply =
    Reply::new(550, "5.5.2", "Message refused: a CR or LF of its own is not a line end");
/// The client sent octets before it had the reply.
pub const ILLEGAL_PIPELINING: Reply =
    Reply::new(554, "5.5.0", "Out of step: wait for the reply before you go on");
/// The client took too long.
pub const TOO_SLOW: Reply = Reply::new(421, "4.4.2", "Timeout, closing the connection");
/// Too many errors, junk commands or wrong passwords, or an endless line.
pub const TOO_MUCH: Reply =
    Reply::new(421, "4.7.0", "Too many errors or idle commands, closing the connection");
/// An unauthenticated client has sent the maximum number of messages in one session.
pub const TOO_MANY_MESSAGES: Reply =
    Reply::new(421, "4.7.0", "Too many messages in one session, come back in a new one");
/// The server shuts down and ends the session.
pub const SHUTTING_DOWN: Reply = Reply::new(421, "4.3.2", "Shutting down, try later");
/// The user who has logged in may no longer log in so.
pub const LOGIN_REVOKED: Reply =
    Reply::new(421, "4.7.0", failure_texts::ACCOUNT_CHANGED.text(Language::English));
/// An internal error of the server.
pub const INTERNAL: Reply = Reply::new(421, "4.3.0", "Internal error, try later");
/// The connection limit is reached.
pub const TOO_MANY_CONNECTIONS: Reply = Reply::new(421, "4.3.2", "Too many connections, try later");
