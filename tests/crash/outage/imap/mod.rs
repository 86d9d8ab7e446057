//! IMAP under sudden ends: sessions that change messages and folders, a ledger of the server's responses to them, and a
//! check afterwards. The check uses IMAP only, and reads no files.

pub(crate) mod check;
pub(crate) mod ledger;
pub(crate) mod wire;
pub(crate) mod writer;

/// Users of IMAP, whose mailboxes no session of POP3 opens.
pub(crate) const USERS: usize = 2;
/// Sessions that change the folders of one user at the same time, each its own messages.
pub(crate) const WRITERS: usize = 2;
/// Folders that all sessions of a user share.
pub(crate) const SHARED: [&str; 3] = ["INBOX", "Archive", "Trash"];

/// The mailbox of a user.
pub(crate) fn mailbox(number: usize) -> String {
    format!("{PREFIX}{number}@example.test")
}

/// Whether a mailbox is that of a user of IMAP.
pub(crate) fn is_ours(mailbox: &str) -> bool {
    mailbox.starts_with(PREFIX)
}

const PREFIX: &str = "imap";
