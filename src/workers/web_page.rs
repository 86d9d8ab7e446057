//! The page of the web inbox, on a worker thread.

use std::sync::Arc;

use super::{
    catalog::{MailboxListing, Row, ScopeRows},
    job::ApiOutcome,
    selections::{Change, addresses, has_gone, mark, matching, named, query, select},
    storage::Storage,
};
use crate::{
    api::web_page::{Counts, OpenedMessage, WebPage},
    message_object::{Limits, MessageObject, Summary},
    proto::{
        http::api::{MailboxScope, MessageName, PageRequest, Selection},
        request::Failure,
        smtp::address::Address,
    },
};

/// The page, with the message that the request names. It marks a message with an id as read: `latest` needs no secret, so a
/// page of another site could name it.
pub(super) fn web_page(
    storage: &Storage,
    scope: &MailboxScope,
    request: &PageRequest,
) -> Result<ApiOutcome, Failure> {
    let mut changed = Vec::new();
    if let Some(MessageName::Id(id)) = &request.message {
        // A mailbox that cannot be changed can be read all the same.
        let copies = select(storage, scope, &Selection::Ids(vec![id.clone()]))?.rows;
        changed = mark(storage, copies, Change::MarkRead).unwrap_or_default();
    }
    let found = storage.rows(scope)?;
    let rows = &found.rows;
    let in_scope = counts(rows.iter().map(|row| row.is_read));
    let open = request.message.as_ref().and_then(|name| named(rows, name)).cloned();
    let object = open.as_ref().map(|row| object(storage, row));
    let ScopeRows { rows, mut unreadable } = matching(storage, &query(&request.search), found);
    let mut part: Vec<(&Row, Arc<Summary>)> = Vec::new();
    for row in rows.iter().skip(request.start).take(WebPage::PART) {
        match storage.summary(row) {
            Ok(summary) => part.push((row, summary)),
            // A message that has gone meanwhile is left out.
            Err(failure) if has_gone(failure) => {}
            Err(_) => drop(unreadable.insert(row.listing.mailbox.clone())),
        }
    }
    if let (Some(row), Some(Err(failure))) = (&open, &object)
        && !has_gone(*failure)
    {
        unreadable.insert(row.listing.mailbox.clone());
    }
    let all_inboxes = storage.listings(&request.inboxes)?;
    unreadable.extend(all_inboxes.unreadable);
    let mut inboxes: Vec<(String, Counts)> = all_inboxes
        .listings
        .iter()
        .map(|listing| {
            (
                Address::from(&listing.mailbox).to_string(),
                counts(MailboxListing::rows(listing).map(|row| row.is_read)),
            )
        })
        .collect();
    inboxes.sort();
    let all = match (&request.inboxes, scope) {
        (MailboxScope::All, MailboxScope::All) => Some(in_scope),
        (MailboxScope::All, MailboxScope::One(_)) => {
            Some(counts(storage.rows(&MailboxScope::All)?.rows.iter().map(|row| row.is_read)))
        }
        (MailboxScope::One(_), _) => None,
    };
    let page = WebPage {
        language: request.language,
        address: request.address.as_deref(),
        all,
        inboxes,
        search: &request.search,
        start: request.start,
        listed: counts(rows.iter().map(|row| row.is_read)),
        unread: in_scope.unread,
        unreadable: addresses(&unreadable),
        rows: part.iter().map(|(row, summary)| (&**summary, row.stored())).collect(),
        open: match (&open, &object) {
            (Some(row), Some(Ok(object))) => OpenedMessage::Shown(object, row.stored()),
            // It may be in a mailbox that cannot be read.
            _ if request.message.is_some() && unreadable.is_empty() => OpenedMessage::Gone,
            _ => OpenedMessage::None,
        },
    };
    Ok(ApiOutcome::Document { document: page.document(), reading: None, changed })
}

/// The message of a row.
fn object(storage: &Storage, row: &Row) -> Result<MessageObject, Failure> {
    let (bytes, size) = storage.read_row(row)?;
    let mut object = MessageObject::parse(&bytes, &Limits::default());
    object.summary.size = size;
    Ok(object)
}

/// Counts messages, each of which has been read or not.
fn counts(read: impl Iterator<Item = bool>) -> Counts {
    read.fold(Counts::default(), |sum, is_read| Counts {
        messages: sum.messages + 1,
        unread: sum.unread + usize::from(!is_read),
    })
}
