//! Selects messages of the catalog by ids or a search, and changes them, for the web API.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use serde::Serialize;

use super::{
    catalog::{MailboxListing, Row, ScopeListings, ScopeRows, lock},
    job::Changes,
    row_reader::RowReader,
    storage::{Storage, log_failure},
};
use crate::{
    maildir::{
        Error, Kind, Subdir,
        message::{self, Deletion, LinkCheck},
    },
    message_object::Summary,
    metrics::METRICS,
    printable,
    proto::{
        http::api::{Document, MailboxScope, MessageName, Selection},
        request::{Failure, Mailbox, Maildrop},
        smtp::address::Address,
    },
    search::{Candidate, Mistake, Query, SearchText},
    time_zone::Zone,
};

/// The reason why a request is not served.
#[derive(Debug)]
pub(super) enum Unserved {
    /// The disk or another program prevents it.
    Failure(Failure),
    /// Its search has a mistake.
    Mistake(Mistake),
}

impl From<Failure> for Unserved {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Mistake> for Unserved {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

/// The words of a search, read as `restante wait --search` reads them. Dates are in that zone.
pub(super) fn query(text: &str, zone: &Zone) -> Result<Query, Mistake> {
    Query::parse_in(text, &|shown| zone.offset(shown))
}

/// The rows whose messages match.
pub(super) fn matching(storage: &Storage, search: &Query, found: ScopeRows) -> ScopeRows {
    if search.terms.is_empty() {
        return found;
    }
    retain(storage, found, |reader, row| search_matches(reader, search, row))
}

/// The rows whose messages are in the scope: those for exactly its address, if it has one with a tag.
pub(super) fn in_scope(storage: &Storage, scope: &MailboxScope, found: ScopeRows) -> ScopeRows {
    let MailboxScope::Tagged(_, address) = scope else { return found };
    retain(storage, found, |reader, row| match reader.summary(row) {
        Err(failure) if has_gone(failure) => Ok(false),
        summary => summary.map(|summary| summary.recipients().any(|recipient| address.is(recipient))),
    })
}

/// The rows that are wanted. A mailbox of which a message cannot be read is noted.
fn retain(
    storage: &Storage,
    found: ScopeRows,
    is_wanted: impl Fn(&mut RowReader<'_>, &Row) -> Result<bool, Failure>,
) -> ScopeRows {
    let ScopeRows { mut rows, mut unreadable } = found;
    let mut reader = RowReader::new(storage);
    rows.retain(|row| {
        is_wanted(&mut reader, row).unwrap_or_else(|_| {
            unreadable.insert(row.listing.mailbox.clone());
            false
        })
    });
    ScopeRows { rows, unreadable }
}

/// True if the message matches. One that has gone meanwhile does not.
pub(super) fn search_matches(reader: &mut RowReader<'_>, search: &Query, row: &Row) -> Result<bool, Failure> {
    if search.terms.is_empty() {
        return Ok(true);
    }
    let matches = |summary: &Summary, text: &SearchText| {
        let Row { is_read, received, .. } = *row;
        let octets = row.listing.snapshot.octets(row.at);
        search.matches(&Candidate { summary, octets, text, is_read, received, tags: &[] })
    };
    let result = if search.needs_text() {
        reader.object(row).map(|object| matches(&object.summary, &SearchText::of(&object)))
    } else {
        reader.summary(row).map(|summary| matches(&summary, &SearchText::default()))
    };
    match result {
        Err(failure) if has_gone(failure) => Ok(false),
        result => result,
    }
}

/// True if another program has removed or changed the message meanwhile, so that the next list does not have it.
pub(super) fn has_gone(failure: Failure) -> bool {
    matches!(failure, Failure::Gone | Failure::Changed | Failure::Truncated)
}

/// The addresses of mailboxes, for people.
pub(super) fn addresses(mailboxes: &BTreeSet<Mailbox>) -> Vec<String> {
    mailboxes.iter().map(|mailbox| Address::from(mailbox).to_string()).collect()
}

/// The rows of a selection: a message in several mailboxes has one in each.
pub(super) fn select(
    storage: &Storage,
    scope: &MailboxScope,
    selection: &Selection,
    zone: &Zone,
) -> Result<ScopeRows, Unserved> {
    let search = match selection {
        Selection::All => Query::default(),
        Selection::One(name) => return Ok(with_name(storage, scope, name)?),
        Selection::Ids(ids) => return Ok(with_ids(storage, scope, ids)?),
        Selection::Search(text) => query(text, zone)?,
    };
    // A search without words must not select all messages.
    if search.terms.is_empty() && *selection != Selection::All {
        return Ok(ScopeRows::default());
    }
    let ScopeListings { listings, unreadable } = storage.listings(scope)?;
    let rows = listings.iter().flat_map(MailboxListing::rows).collect();
    let found = in_scope(storage, scope, ScopeRows { rows, unreadable });
    Ok(matching(storage, &search, found))
}

/// The rows of one message. If it is not found, it may be in a mailbox that cannot be read.
fn with_name(storage: &Storage, scope: &MailboxScope, name: &MessageName) -> Result<ScopeRows, Failure> {
    match storage.row(scope, name)? {
        (Some(row), _) => with_ids(storage, scope, &[row.id.to_string()]),
        (None, unreadable) if unreadable.is_empty() => Err(Failure::Gone),
        (None, unreadable) => Ok(ScopeRows { rows: Vec::new(), unreadable }),
    }
}

/// The rows of the messages with these ids. If all are found, no further mailbox is needed.
pub(super) fn with_ids(
    storage: &Storage,
    scope: &MailboxScope,
    ids: &[String],
) -> Result<ScopeRows, Failure> {
    let ScopeListings { listings, mut unreadable } = storage.listings(scope)?;
    let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
    let found = listings.iter().flat_map(|listing| listing.rows_with(|id, _| ids.contains(id)));
    let rows: Vec<Row> = found.collect();
    if rows.iter().map(|row| &*row.id).collect::<HashSet<_>>().len() == ids.len() {
        unreadable = BTreeSet::new();
    }
    Ok(in_scope(storage, scope, ScopeRows { rows, unreadable }))
}

/// The row of the message with that name, among rows whose first is the newest.
pub(super) fn named<'a>(rows: &'a [Row], name: &MessageName) -> Option<&'a Row> {
    match name {
        MessageName::Latest => rows.first(),
        MessageName::Id(text) => rows.iter().find(|row| *row.id == **text),
    }
}

/// The values of a page of rows, until their octets reach `most`. A message that has gone meanwhile is left out, and a
/// mailbox that cannot be read is noted. `read` returns a value and its octets.
pub(super) fn page_of<'a, T>(
    rows: impl IntoIterator<Item = &'a Row>,
    most: usize,
    unreadable: &mut BTreeSet<Mailbox>,
    mut read: impl FnMut(&'a Row) -> Result<(T, usize), Failure>,
) -> Vec<T> {
    let (mut page, mut sum) = (Vec::new(), 0);
    for row in rows {
        match read(row) {
            Ok((value, octets)) => {
                page.push(value);
                sum += octets;
            }
            Err(failure) if has_gone(failure) => {}
            Err(_) => drop(unreadable.insert(row.listing.mailbox.clone())),
        }
        if sum >= most {
            break;
        }
    }
    page
}

/// The document of a list. Its version is a hash of its octets.
pub(super) fn list_document(list: &impl Serialize) -> Document {
    let mut document = Document::json(printable::json(list, false));
    document.etag = Some(format!("{:08x}{:x}", crc32fast::hash(&document.bytes), document.length));
    document
}

/// A change of the messages of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowChange {
    Delete,
    MarkRead,
    MarkUnread,
}

/// Syncs the mailboxes of a scope in which an earlier change could not be synced. That change is not made again, and its
/// repetition finds nothing to do.
pub(super) fn sync_earlier(storage: &Storage, scope: &MailboxScope) -> Result<(), Failure> {
    let is_in_scope = |mailbox: &&Mailbox| scope.mailbox().is_none_or(|own| own == *mailbox);
    let unsynced: Vec<Mailbox> =
        lock(&storage.catalog.unsynced).iter().filter(is_in_scope).cloned().collect();
    for mailbox in unsynced {
        if let Some(maildir) = storage.existing_maildir(&mailbox)? {
            for subdir in Subdir::ALL {
                maildir.sync(subdir).map_err(|error| log_failure(&error))?;
            }
        }
        lock(&storage.catalog.unsynced).remove(&mailbox);
    }
    Ok(())
}

/// Changes the messages of rows, which stand together by mailbox. It carries out every change that is possible and returns
/// them, and a failure beside them if the disk prevented one.
pub(super) fn mark(
    storage: &Storage,
    mut rows: Vec<Row>,
    change: RowChange,
) -> (Changes, Result<(), Failure>) {
    // Nothing is opened or synced for a message that has its mark already.
    rows.retain(|row| match change {
        RowChange::Delete => true,
        RowChange::MarkRead => !row.is_read,
        RowChange::MarkUnread => row.is_read,
    });
    let mut result = Ok(());
    let mut changed = Vec::new();
    for rows in rows.chunk_by(|one, other| Arc::ptr_eq(&one.listing, &other.listing)) {
        let listing = &rows[0].listing;
        let maildir = match storage.existing_maildir(&listing.mailbox) {
            Ok(Some(maildir)) => maildir,
            Ok(None) => continue,
            Err(failure) => {
                result = Err(failure);
                continue;
            }
        };
        let mut note = |error: Error| {
            if !matches!(error.kind(), Kind::Gone | Kind::Changed) {
                result = Err(log_failure(&error));
            }
        };
        let check = LinkCheck::cheapest(rows.len(), listing.snapshot.len());
        let mut changed_here = 0;
        let mut deletion = Deletion::begin(&maildir, check);
        for row in rows {
            let Some(wanted) = listing.snapshot.message_ref(row.at) else { continue };
            let done = match change {
                RowChange::Delete => deletion.delete(wanted),
                RowChange::MarkRead => message::mark_seen(&maildir, wanted),
                RowChange::MarkUnread => message::mark_unseen(&maildir, wanted),
            };
            match done {
                Ok(name) => changed_here += usize::from(name.is_some()),
                Err(error) => note(error),
            }
        }
        if changed_here == 0 {
            continue;
        }
        if change == RowChange::Delete {
            METRICS.web_deleted.add(changed_here as u64);
            deletion.finish().map_or_else(&mut note, drop);
        }
        for subdir in Subdir::ALL {
            if let Err(error) = maildir.sync(subdir) {
                lock(&storage.catalog.unsynced).insert(listing.mailbox.clone());
                note(error);
            }
        }
        changed.push(listing.mailbox.clone());
    }
    let changes = match change {
        _ if changed.is_empty() => Changes::None,
        RowChange::Delete => Changes::Deletions(changed),
        RowChange::MarkRead | RowChange::MarkUnread => Changes::Marks,
    };
    (changes, result)
}
