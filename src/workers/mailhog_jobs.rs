//! The lists and messages of MailHog's API, on a worker thread.
//!
//! The rule: an item is a whole message, two or three times, so a page has an end in octets of JSON too, and a very large
//! message is cut.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    catalog::{Row, ScopeRows},
    row_reader::RowReader,
    selections::{addresses, has_gone, list_document, page_of},
    storage::Storage,
};
use crate::{
    message_object::{
        ObjectLimits,
        mailhog::{self, Page, Stored},
    },
    printable,
    proto::{
        http::api::{Document, MailHogKind, MailHogSearch, MailboxScope},
        request::Failure,
        smtp::address::Address,
    },
};

/// A page of messages.
pub(super) fn list(
    storage: &Storage,
    scope: &MailboxScope,
    search: Option<&MailHogSearch>,
    (start, limit): (usize, usize),
) -> Result<Document, Failure> {
    let ScopeRows { mut rows, mut unreadable } = storage.rows(scope)?;
    let mut reader = RowReader::new(storage);
    if let Some(search) = search {
        let holders = match search.kind {
            MailHogKind::To => Holders::of(storage, scope, &rows)?,
            MailHogKind::From | MailHogKind::Containing => Holders::default(),
        };
        rows.retain(|row| {
            matches(&mut reader, &holders, search, row).unwrap_or_else(|_| {
                unreadable.insert(row.listing.mailbox.clone());
                false
            })
        });
    }
    let total = rows.len();
    let page = rows.get(start..).unwrap_or_default();
    let page = &page[..page.len().min(limit)];
    let holders = Holders::of(storage, scope, page)?;
    let items = page_of(page, MAX_PAGE, &mut unreadable, |row| {
        let item = item(&mut reader, &holders, row)?;
        let written = item.written();
        Ok((item, written))
    });
    let page = Page { total, count: items.len(), start, items, unreadable: addresses(&unreadable) };
    Ok(list_document(&page))
}

/// One message.
pub(super) fn message(storage: &Storage, scope: &MailboxScope, row: &Row) -> Result<Document, Failure> {
    let holders = Holders::of(storage, scope, std::slice::from_ref(row))?;
    let item = item(&mut RowReader::new(storage), &holders, row)?;
    Ok(Document::json(printable::json(&item, false)))
}

/// The item of a message.
fn item(reader: &mut RowReader<'_>, holders: &Holders, row: &Row) -> Result<mailhog::Message, Failure> {
    let summary = reader.summary(row)?;
    let (octets, _) = reader.read_beginning(row, MAX_MESSAGE)?;
    let recipients = mailhog::recipients(&summary, holders.mailboxes(row));
    let stored = Stored { id: &row.id, received: row.received, recipients: &recipients };
    Ok(mailhog::Message::new(&octets, &stored, &ObjectLimits::default()))
}

/// True if the message matches. One that has gone meanwhile does not.
fn matches(
    reader: &mut RowReader<'_>,
    holders: &Holders,
    search: &MailHogSearch,
    row: &Row,
) -> Result<bool, Failure> {
    let mut found = || {
        if search.kind == MailHogKind::Containing {
            let (octets, _) = reader.read(row)?;
            return Ok(mailhog::contains(&octets, &search.text));
        }
        let summary = reader.summary(row)?;
        let (envelope, people) = match search.kind {
            MailHogKind::To => (mailhog::recipients(&summary, holders.mailboxes(row)), &summary.to),
            _ => (summary.envelope.from.iter().cloned().collect(), &summary.from),
        };
        Ok(mailhog::names(envelope.iter().map(String::as_str), people, &search.text))
    };
    match found() {
        Err(failure) if has_gone(failure) => Ok(false),
        result => result,
    }
}

/// The addresses of the mailboxes that have each message.
#[derive(Debug, Default)]
struct Holders(HashMap<Arc<str>, Vec<String>>);

impl Holders {
    /// Those of some rows, within a scope.
    fn of(storage: &Storage, scope: &MailboxScope, rows: &[Row]) -> Result<Self, Failure> {
        let wanted: HashSet<&str> = rows.iter().map(|row| &*row.id).collect();
        let mut holders = HashMap::<Arc<str>, Vec<String>>::with_capacity(wanted.len());
        for listing in storage.listings(scope)?.listings {
            let address = Address::from(&listing.mailbox).to_string();
            for id in listing.ids.iter().filter(|id| wanted.contains(&***id)) {
                holders.entry(Arc::clone(id)).or_default().push(address.clone());
            }
        }
        Ok(Self(holders))
    }

    fn mailboxes(&self, row: &Row) -> &[String] {
        self.0.get(&row.id).map_or(&[], Vec::as_slice)
    }
}

/// Octets of JSON after which a page ends: those of 16 MiB of mail at least.
const MAX_PAGE: usize = 32 << 20;
/// Octets of the longest item: a longer message is cut. `…/download` has all of it.
const MAX_MESSAGE: usize = 16 << 20;
