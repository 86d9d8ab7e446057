//! Mailboxes with mail that no account has, so that no login reads it.

use std::path::Path;

use crate::{
    accounts::Accounts,
    command_hint::restante,
    maildir::{Spool, usage::usage},
    printable::counted,
    proto::request::Mailbox,
};

/// The messages in a directory of the spool if it is a mailbox of no account.
pub(super) fn orphaned_messages(spool: &Spool, accounts: &Accounts, directory: &str) -> Option<u64> {
    let mailbox = Mailbox::named(directory).filter(|mailbox| !accounts.has_mailbox(mailbox))?;
    usage(spool, mailbox.as_str()).ok().map(|usage| usage.messages).filter(|messages| *messages > 0)
}

/// The warning of a start about such mailboxes.
pub(super) fn warning(spool: &Path, accounts: &Accounts) -> Option<String> {
    let spool = Spool::open_existing(spool).ok()?;
    let names = spool.names().ok()?;
    let has_mail = |name: &&str| orphaned_messages(&spool, accounts, name).is_some();
    match names.iter().filter_map(|name| name.to_str()).filter(has_mail).count() {
        0 => None,
        count => Some(format!(
            "{} with mail that no account has, so that no login reads it: {} names each",
            counted(count, "mailbox"),
            restante(&["fsck"])
        )),
    }
}
