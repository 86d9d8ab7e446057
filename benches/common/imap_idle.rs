//! Thousands of IMAP sessions in IDLE, in [`MAILBOXES`] mailboxes.

use std::{io, net::SocketAddr, path::Path};

use super::{imap_client::Imap, imap_load::fill};

/// Mailboxes of the sessions. The first sessions open all of them.
pub(crate) const MAILBOXES: usize = 50;

/// The users of the mailboxes.
pub(crate) fn users() -> Vec<String> {
    (0..MAILBOXES).map(|number| format!("idle{number}@example.test")).collect()
}

/// Fills a mailbox for each user.
pub(crate) fn fill_mailboxes(maildirs: &Path) -> io::Result<()> {
    users().iter().try_for_each(|user| fill(&maildirs.join(user), 10, 1024))
}

/// The sessions that a server with room for so many connections takes: SMTP and POP3 reserve a quarter of them.
pub(crate) fn sessions_within(connections: usize) -> usize {
    (connections / 4 * 3).saturating_sub(MAILBOXES) / 100 * 100
}

/// A session in IDLE.
pub(crate) fn idle(imap: SocketAddr, user: &str) -> io::Result<Imap> {
    let mut session = Imap::login_with_buffer(imap, user, 512)?;
    session.command("SELECT INBOX")?;
    session.idle()?;
    Ok(session)
}
