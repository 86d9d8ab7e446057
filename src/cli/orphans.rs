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

/// The command that makes an account for a mailbox with mail. An address of another domain than those of the server, and
/// the name of a directory that is no address, can be an inbox only.
#[cfg(feature = "tools")]
pub(super) fn way_to_account(mailbox: &str, domains: &[String]) -> String {
    if is_own(mailbox) && crate::accounts::account_name(mailbox, domains).is_ok() {
        return restante(&["user", "add", mailbox, "--keep-mail"]);
    }
    restante(&["user", "add", "NAME@DOMAIN", "--inbox", mailbox, "--keep-mail"])
}

/// The same, with the command that deletes the mail.
#[cfg(feature = "tools")]
pub(super) fn ways_to_account(mailbox: &str, domains: &[String]) -> String {
    let delete = is_own(mailbox).then(|| restante(&["user", "remove", mailbox, "--delete-mail"]));
    let delete = delete.map(|delete| format!("; {delete} deletes it")).unwrap_or_default();
    format!("{} makes an account for it{delete}", way_to_account(mailbox, domains))
}

/// Whether the directory has the name of its account, as that of an address has, unless the address had to be escaped.
#[cfg(feature = "tools")]
fn is_own(mailbox: &str) -> bool {
    crate::accounts::own_mailbox(mailbox).is_some_and(|own| own.as_str() == mailbox)
}

/// The warning of a start and of `check` about such mailboxes.
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

#[cfg(test)]
mod tests {
    #[cfg(feature = "tools")]
    #[test]
    fn n103_the_command_for_an_account_keeps_the_mail_and_names_one_of_a_domain_of_the_server() {
        let domains = ["example.test".to_owned()];
        for (mailbox, words) in [
            ("bob@example.test", "bob@example.test --keep-mail"),
            ("bob@other.test", "NAME@DOMAIN --inbox bob@other.test --keep-mail"),
            ("bob", "NAME@DOMAIN --inbox bob --keep-mail"),
        ] {
            assert_eq!(super::way_to_account(mailbox, &domains), format!("`restante user add {words}`"));
        }
    }
}
