//! The differences between two listings of a mailbox.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    catalog::{MailboxListing, Row},
    row_reader::{RowReader, known_summary},
    storage::Storage,
};
use crate::{
    message_object::{Summary, mailpit::ListItem},
    proto::{
        http::api::{MailChange, MailEvent},
        request::{Failure, Mailbox},
        tagged::TaggedAddress,
    },
};

/// The event that stands for any number of changes of a mailbox.
pub(crate) fn prune_event(mailbox: &Mailbox, is_copy: bool) -> MailEvent {
    let kind = MailChange::Prune;
    let json = serde_json::json!({ "Type": kind.name(), "Data": null }).to_string();
    MailEvent { kind, mailbox: mailbox.clone(), id: String::new(), tagged: None, is_copy, json }
}

/// A change of a message.
pub(super) struct Difference {
    pub(super) kind: MailChange,
    pub(super) id: Arc<str>,
    /// The recipients of the message that have a tag; `None` if they are not known.
    pub(super) tagged: Option<HashSet<TaggedAddress>>,
    /// The data of its event.
    pub(super) data: serde_json::Value,
}

/// The rows of two listings from the first to the last that differs: a mailbox may have thousands of messages, and mostly
/// one more than before.
pub(super) struct Differences {
    before: Vec<Row>,
    now: Vec<Row>,
}

impl Differences {
    pub(super) fn between(before: Option<&Arc<MailboxListing>>, now: Option<&Arc<MailboxListing>>) -> Self {
        let rows = |listing: Option<&Arc<MailboxListing>>| -> Vec<Row> {
            listing.into_iter().flat_map(MailboxListing::rows).collect()
        };
        let (mut before, mut now) = (rows(before), rows(now));
        let is_same = |(one, other): &(&Row, &Row)| one.id == other.id && one.is_read == other.is_read;
        let last = before.iter().rev().zip(now.iter().rev()).take_while(is_same).count();
        before.truncate(before.len() - last);
        now.truncate(now.len() - last);
        let first = before.iter().zip(&now).take_while(is_same).count();
        before.drain(..first);
        now.drain(..first);
        Self { before, now }
    }

    /// The ids of the messages that may have changed.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.before.iter().chain(&self.now).map(|row| &row.id)
    }

    /// The number of changes.
    pub(super) fn count(&self) -> usize {
        let mut gone = self.old();
        let changed = self.now.iter().filter(|row| gone.remove(&row.id) != Some(row.is_read)).count();
        changed + gone.len()
    }

    /// The changes, each with its message. `None` if a message that is still there cannot be read now: no later comparison would
    /// find it new.
    pub(super) fn changes(&self, storage: &Storage) -> Option<Vec<Difference>> {
        let old = self.old();
        let mut gone: HashMap<&Arc<str>, &Row> = self.before.iter().map(|row| (&row.id, row)).collect();
        let mut changes = Vec::new();
        let mut reader = RowReader::new(storage);
        // A message that has gone cannot be read again, and a mark is no reason to read one.
        let known = |kind, row: &Row, data| {
            let tagged = known_summary(storage, row).map(|summary| tagged_recipients(&summary));
            Difference { kind, id: Arc::clone(&row.id), tagged, data }
        };
        for row in &self.now {
            gone.remove(&row.id);
            match old.get(&row.id) {
                None => {
                    let summary = match reader.summary(row) {
                        Err(Failure::Gone) => continue,
                        summary => summary.ok()?,
                    };
                    let data =
                        serde_json::to_value(ListItem::new(&summary, &row.stored())).unwrap_or_default();
                    let (id, tagged) = (Arc::clone(&row.id), Some(tagged_recipients(&summary)));
                    changes.push(Difference { kind: MailChange::New, id, tagged, data });
                }
                Some(is_read) if *is_read != row.is_read => {
                    let data = serde_json::json!({ "ID": &*row.id, "Read": row.is_read });
                    changes.push(known(MailChange::Update, row, data));
                }
                Some(_) => {}
            }
        }
        let deleted = gone.into_values().map(|row| {
            let data = serde_json::json!({ "ID": &*row.id });
            known(MailChange::Delete, row, data)
        });
        changes.extend(deleted);
        Some(changes)
    }

    /// Whether each message was read before.
    fn old(&self) -> HashMap<Arc<str>, bool> {
        self.before.iter().map(|row| (Arc::clone(&row.id), row.is_read)).collect()
    }
}

/// The recipients of a message that have a tag, as far as they are known.
fn tagged_recipients(summary: &Summary) -> HashSet<TaggedAddress> {
    summary.recipients().filter_map(TaggedAddress::read).collect()
}
