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
        Some(text) => match cx.directory.lookup(&Address::parse(text).ok()?) {
            Lookup::Local(to) => Some(to.iter().next()?.mailbox),
            Lookup::Unknown | Lookup::Foreign | Lookup::Refused(_) => return None,
        },
    };
    let own = user.map(|user| user.clone().without_folder());
    match (own, named) {
        (Some(own), named) if !cx.directory.is_admin(&own) => {
            named.is_none_or(|named| named == own).then_some(MailboxScope::One(own))
        }
        (_, None) => Some(MailboxScope::All),
        (_, Some(named)) => Some(MailboxScope::One(named)),
    }
}
