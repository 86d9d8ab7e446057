//! The IMAP command table: for each command its syntax, its states, and its RFC section. Refusals and the explanations of
//! transcripts read it.

use crate::{
    near_name::nearest,
    proto::command_table::{self, row},
};

/// One row of the table. The parser has the commands as values, so a row has none.
pub type CommandSpec = command_table::CommandSpec<(), CommandPhase>;

/// The state of a session (RFC 3501 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPhase {
    /// Before the login.
    NotAuthenticated,
    /// After the login, without a mailbox.
    Authenticated,
    /// With a selected mailbox.
    Selected,
}

use CommandPhase::{Authenticated, NotAuthenticated, Selected};

const BEFORE_LOGIN: &[CommandPhase] = &[NotAuthenticated];
const AFTER_LOGIN: &[CommandPhase] = &[Authenticated, Selected];
const SELECTED: &[CommandPhase] = &[Selected];
const ANY_PHASE: &[CommandPhase] = &[NotAuthenticated, Authenticated, Selected];

/// The commands.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    row((), "CAPABILITY", "CAPABILITY", "Tells what this server can do", "RFC 3501 section 6.1.1", ANY_PHASE),
    row((), "NOOP", "NOOP", "Asks for the updates of the mailbox", "RFC 3501 section 6.1.2", ANY_PHASE),
    row((), "LOGOUT", "LOGOUT", "Ends the session", "RFC 3501 section 6.1.3", ANY_PHASE),
    row((), "ID", "ID (\"field\" \"value\" ...) or ID NIL", "Tells which program this is", "RFC 2971 section 3.1", ANY_PHASE),
    row((), "LANGUAGE", "LANGUAGE [tag ...]", "Chooses the language of the replies", "RFC 5255 section 3.2", ANY_PHASE),
    row((), "STARTTLS", "STARTTLS", "Begins TLS", "RFC 3501 section 6.2.1", BEFORE_LOGIN),
    row((), "AUTHENTICATE", "AUTHENTICATE PLAIN [response in base64]", "Logs in", "RFC 3501 section 6.2.2, RFC 4959", BEFORE_LOGIN),
    row((), "LOGIN", "LOGIN user password", "Logs in", "RFC 3501 section 6.2.3", BEFORE_LOGIN),
    row((), "ENABLE", "ENABLE extension ...", "Asks for the responses of extensions", "RFC 5161 section 3.1", AFTER_LOGIN),
    row((), "SELECT", "SELECT mailbox [(CONDSTORE)]", "Opens a mailbox", "RFC 3501 section 6.3.1", AFTER_LOGIN),
    row((), "EXAMINE", "EXAMINE mailbox [(CONDSTORE)]", "Opens a mailbox for reading only", "RFC 3501 section 6.3.2", AFTER_LOGIN),
    row((), "CREATE", "CREATE mailbox [(USE (\\Use))]", "Makes a mailbox", "RFC 3501 section 6.3.3, RFC 6154", AFTER_LOGIN),
    row((), "DELETE", "DELETE mailbox", "Removes a mailbox and its messages", "RFC 3501 section 6.3.4", AFTER_LOGIN),
    row((), "RENAME", "RENAME mailbox name", "Gives a mailbox another name", "RFC 3501 section 6.3.5", AFTER_LOGIN),
    row((), "SUBSCRIBE", "SUBSCRIBE mailbox", "Shows a mailbox in the client's list", "RFC 3501 section 6.3.6", AFTER_LOGIN),
    row((), "UNSUBSCRIBE", "UNSUBSCRIBE mailbox", "Hides a mailbox from the client's list", "RFC 3501 section 6.3.7", AFTER_LOGIN),
    row((), "LIST", "LIST [(option ...)] reference pattern [RETURN (option ...)]", "Tells the names of mailboxes", "RFC 3501 section 6.3.8, RFC 5258", AFTER_LOGIN),
    row((), "LSUB", "LSUB reference pattern", "Tells the names of subscribed mailboxes", "RFC 3501 section 6.3.9", AFTER_LOGIN),
    row((), "NAMESPACE", "NAMESPACE", "Tells where mailboxes begin", "RFC 2342 section 5", AFTER_LOGIN),
    row((), "STATUS", "STATUS mailbox (item ...)", "Tells the numbers of a mailbox", "RFC 3501 section 6.3.10", AFTER_LOGIN),
    row((), "APPEND", "APPEND mailbox [(flag ...)] [\"date\"] {octets}", "Stores a message", "RFC 3501 section 6.3.11", AFTER_LOGIN),
    row((), "IDLE", "IDLE", "Waits for updates", "RFC 2177 section 3", AFTER_LOGIN),
    row((), "GETQUOTA", "GETQUOTA root", "Tells the use of the quota", "RFC 9208 section 4.1.1", AFTER_LOGIN),
    row((), "GETQUOTAROOT", "GETQUOTAROOT mailbox", "Tells the quota of a mailbox", "RFC 9208 section 4.1.2", AFTER_LOGIN),
    row((), "CHECK", "CHECK", "Asks for the updates of the mailbox", "RFC 3501 section 6.4.1", SELECTED),
    row((), "CLOSE", "CLOSE", "Removes the deleted messages and closes the mailbox", "RFC 3501 section 6.4.2", SELECTED),
    row((), "UNSELECT", "UNSELECT", "Closes the mailbox", "RFC 3691 section 2", SELECTED),
    row((), "EXPUNGE", "EXPUNGE", "Removes the deleted messages", "RFC 3501 section 6.4.3", SELECTED),
    row((), "UID EXPUNGE", "UID EXPUNGE uids", "Removes deleted messages among these", "RFC 4315 section 2.1", SELECTED),
    row((), "SEARCH", "SEARCH [RETURN (result ...)] condition ...", "Finds messages", "RFC 3501 section 6.4.4", SELECTED),
    row((), "UID SEARCH", "UID SEARCH [RETURN (result ...)] condition ...", "Finds messages, and tells their UIDs", "RFC 3501 section 6.4.8", SELECTED),
    row((), "FETCH", "FETCH numbers (item ...) [(CHANGEDSINCE number)]", "Sends messages, or what is known of them", "RFC 3501 section 6.4.5", SELECTED),
    row((), "UID FETCH", "UID FETCH uids (item ...) [(CHANGEDSINCE number)]", "Sends messages, or what is known of them", "RFC 3501 section 6.4.8", SELECTED),
    row((), "STORE", "STORE numbers [(UNCHANGEDSINCE number)] [+|-]FLAGS (flag ...)", "Changes flags", "RFC 3501 section 6.4.6", SELECTED),
    row((), "UID STORE", "UID STORE uids [(UNCHANGEDSINCE number)] [+|-]FLAGS (flag ...)", "Changes flags", "RFC 3501 section 6.4.8", SELECTED),
    row((), "COPY", "COPY numbers mailbox", "Copies messages into a mailbox", "RFC 3501 section 6.4.7", SELECTED),
    row((), "UID COPY", "UID COPY uids mailbox", "Copies messages into a mailbox", "RFC 3501 section 6.4.8", SELECTED),
    row((), "MOVE", "MOVE numbers mailbox", "Moves messages into a mailbox", "RFC 6851 section 3.1", SELECTED),
    row((), "UID MOVE", "UID MOVE uids mailbox", "Moves messages into a mailbox", "RFC 6851 section 3.2", SELECTED),
];

/// The row of a command. `name` is in capitals, with UID before it if it takes UIDs.
pub(super) fn find(name: &str) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|row| row.name == name)
}

/// The row of a command that a client has written, in capitals or not.
pub(super) fn find_any_case(name: &[u8]) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|row| row.is_named(name))
}

/// The row of LOGOUT for a word with which a person ends a session of another protocol.
pub(super) fn logout_for(word: &[u8]) -> Option<&'static CommandSpec> {
    let is_end = ["QUIT", "EXIT", "BYE"].iter().any(|end| end.as_bytes().eq_ignore_ascii_case(word));
    is_end.then(|| find("LOGOUT")).flatten()
}

/// The command that is meant by an unknown one, in capitals. The reply names it and never the typed word, which may be a
/// password.
pub(super) fn meant_by(unknown: &str) -> Option<&'static str> {
    let names = COMMANDS.iter().map(|row| row.name).filter(|name| !name.starts_with(BY_UID));
    logout_for(unknown.as_bytes()).map(|row| row.name).or_else(|| nearest(unknown, names))
}

/// The begin of the name of a command that takes UIDs.
pub(super) const BY_UID: &str = "UID ";
