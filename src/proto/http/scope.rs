//! The mailboxes that a request may reach: those of its user, and the one that its path names.

use super::api::MailboxScope;
use crate::proto::{
    Context,
    request::{Lookup, Mailbox},
    smtp::address::Address,
};

/// The mailboxes that a request may reach. `None` if the user may not reach the mailbox, or there is none.
pub(super) fn scope_of(
    cx: &Context<'_>,
    address: Option<&str>,
    user: Option<&Mailbox>,
) -> Option<MailboxScope> {
    let named = match address {
        None => None,
        Some(text) => {
            let address = Address::parse(text).ok()?;
            match cx.directory.lookup(&address) {
                Lookup::Local(to) => Some((to.iter().next()?.mailbox, cx.directory.tagged(&address))),
                Lookup::Unknown | Lookup::Foreign | Lookup::Refused(_) => return None,
            }
        }
    };
    let scope = |(mailbox, tagged)| match tagged {
        Some(tagged) => MailboxScope::Tagged(mailbox, tagged),
        None => MailboxScope::One(mailbox),
    };
    let own = user.map(|user| user.clone().without_folder());
    match (own, named) {
        (Some(own), named) if !cx.directory.is_admin(&own) => {
            let (named, tagged) = named.unwrap_or_else(|| (own.clone(), None));
            (named == own).then(|| scope((own, tagged)))
        }
        (_, None) => Some(MailboxScope::All),
        (_, Some(named)) => Some(scope(named)),
    }
}
