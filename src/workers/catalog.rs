//! The messages of mailboxes as the web API lists them: newest first, over one mailbox or all.
//!
//! Plain values; `listings` fills them. Only workers take the locks here.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::list_cache::ListCache;
use crate::{
    index::{MessageList, Snapshot, unique_id},
    maildir::{FileVersion, Maildir, MessageEntry, MessageRef, name, scan::DirTimes},
    message_object::{Summary, mailpit},
    proto::{
        http::api::MessageName,
        request::{Mailbox, Maildrop},
    },
};

/// The lists and summaries that the web API has read, for its next requests.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) lists: Mutex<ListCache<MailboxListing>>,
    pub(super) summaries: Mutex<SummaryCache>,
    /// Mailboxes with a change that could not be synced.
    pub(super) unsynced: Mutex<BTreeSet<Mailbox>>,
    /// The lists at the last comparison, by which changes are found. `None`: the mailbox could not be read so far.
    pub(super) compared: Mutex<Compared>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            lists: Mutex::new(ListCache::new(MAX_LISTED)),
            summaries: Mutex::default(),
            unsynced: Mutex::default(),
            compared: Mutex::default(),
        }
    }
}

pub(super) type Compared = HashMap<Mailbox, Option<Arc<MailboxListing>>>;

/// The mailboxes of a scope.
#[derive(Debug, Default)]
pub(super) struct ScopeListings {
    pub(super) listings: Vec<Arc<MailboxListing>>,
    /// The mailboxes of which something could not be read.
    pub(super) unreadable: BTreeSet<Mailbox>,
}

/// The messages of a scope.
#[derive(Debug, Default)]
pub(super) struct ScopeRows {
    pub(super) rows: Vec<Row>,
    /// The mailboxes of which something could not be read.
    pub(super) unreadable: BTreeSet<Mailbox>,
}

/// The messages of one mailbox.
#[derive(Debug)]
pub(super) struct MailboxListing {
    pub(super) mailbox: Mailbox,
    /// The file system of its files.
    pub(super) device: u64,
    pub(super) times: DirTimes,
    /// True if a later change may bear the same times.
    pub(super) racy: bool,
    /// The messages, from which the next listing is made.
    pub(super) list: MessageList,
    pub(super) snapshot: Snapshot,
    /// The id of each message of the snapshot.
    pub(super) ids: Vec<Arc<str>>,
}

/// The id of a message in the web API, by the name of its file.
pub fn api_id(file: &[u8]) -> String {
    mailpit::id(&unique_id(name::identity(file), None))
}

/// One message in a list.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) listing: Arc<MailboxListing>,
    /// Its position in the snapshot.
    pub(super) at: usize,
    pub(super) id: Arc<str>,
    pub(super) is_read: bool,
    /// The time of its delivery, in milliseconds since 1970.
    pub(super) received: i64,
}

impl MailboxListing {
    /// The listing of these messages. Identities that have not `changed` keep the ids of the listing `before`, because an id
    /// is a hash.
    pub(super) fn new(
        (mailbox, maildir): (&Mailbox, &Maildir),
        (times, racy): (DirTimes, bool),
        list: MessageList,
        (before, changed): (Option<&Self>, &HashSet<&[u8]>),
    ) -> Self {
        let snapshot = Snapshot::new(&list);
        let has_changed = |name: &[u8]| changed.contains(name::identity(name));
        let before = before.into_iter().flat_map(|before| before.snapshot.iter().zip(&before.ids));
        // Both lists have the same order.
        let mut kept = before.filter(|(entry, _)| !has_changed(&entry.name)).map(|(_, id)| Arc::clone(id));
        let id = |(at, entry): (usize, &MessageEntry)| {
            let kept = if has_changed(&entry.name) { None } else { kept.next() };
            kept.unwrap_or_else(|| mailpit::id(&snapshot.unique_id(at)).into())
        };
        let ids = snapshot.iter().enumerate().map(id).collect();
        let (device, _) = maildir.id();
        Self { mailbox: mailbox.clone(), device, times, racy, list, snapshot, ids }
    }

    /// The messages in the order of the snapshot.
    pub(super) fn rows(self: &Arc<Self>) -> impl Iterator<Item = Row> + '_ {
        self.rows_with(|_, _| true)
    }

    /// The messages for which `is_wanted` holds, by their ids and entries.
    pub(super) fn rows_with<'a>(
        self: &'a Arc<Self>,
        is_wanted: impl Fn(&str, &MessageEntry) -> bool + 'a,
    ) -> impl Iterator<Item = Row> + 'a {
        let messages = self.snapshot.iter().zip(&self.ids).enumerate();
        messages.filter(move |(_, (entry, id))| is_wanted(id, entry)).map(|(at, (entry, id))| Row {
            listing: Arc::clone(self),
            at,
            id: Arc::clone(id),
            is_read: entry.is_read(),
            received: entry.received(),
        })
    }

    /// The newest message: the first in a list.
    fn newest(self: &Arc<Self>) -> Option<Row> {
        let messages = self.snapshot.iter().zip(&self.ids);
        let (_, newest) = messages.map(|(entry, id)| (entry.received(), id)).max()?;
        self.rows_with(|id, _| id == &**newest).next()
    }
}

impl ScopeListings {
    /// The message of that name. One in several mailboxes is that of the first.
    pub(super) fn find(&self, name: &MessageName) -> Option<Row> {
        match name {
            MessageName::Latest => {
                let newest = self.listings.iter().filter_map(MailboxListing::newest);
                // The first of equal ones.
                newest.reduce(
                    |best, row| {
                        if (row.received, &row.id) > (best.received, &best.id) { row } else { best }
                    },
                )
            }
            MessageName::Id(wanted) => {
                let mut found =
                    self.listings.iter().flat_map(|listing| listing.rows_with(|id, _| id == wanted));
                found.next()
            }
        }
    }
}

impl Row {
    /// The facts about its message that the octets do not tell.
    pub(super) fn stored(&self) -> mailpit::Stored<'_> {
        mailpit::Stored {
            id: &self.id,
            is_read: self.is_read,
            received: self.received,
            octets: Some(self.listing.snapshot.octets(self.at)),
            ..mailpit::Stored::default()
        }
    }

    /// Its file, as it was listed.
    pub(super) fn wanted(&self) -> Option<MessageRef<'_>> {
        self.listing.snapshot.message_ref(self.at)
    }

    /// The identity of that file.
    pub(super) fn file(&self) -> Option<FileKey> {
        Some((self.listing.device, self.wanted()?.version))
    }
}

/// The identity of a file, and its state, across all file systems: an inode has a number on each.
pub(super) type FileKey = (u64, FileVersion);

/// Summaries of the messages that were read last.
#[derive(Debug, Default)]
pub(super) struct SummaryCache {
    pub(super) by_file: HashMap<FileKey, Arc<Summary>>,
    /// The oldest first.
    order: VecDeque<FileKey>,
    /// Octets of all summaries.
    octets: usize,
}

impl SummaryCache {
    pub(super) fn insert(&mut self, file: FileKey, summary: Arc<Summary>) {
        self.octets += summary.octets();
        match self.by_file.insert(file, summary) {
            None => self.order.push_back(file),
            Some(before) => self.octets -= before.octets(),
        }
        while (self.order.len() > MAX_SUMMARIES || self.octets > MAX_SUMMARY_OCTETS)
            && let Some(oldest) = self.order.pop_front()
        {
            self.octets -= self.by_file.remove(&oldest).map_or(0, |summary| summary.octets());
        }
    }
}

/// Locks a value of the catalog. A worker that has panicked may have left it incomplete, but never wrong.
pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages in all lists that are kept: some 150 octets each.
const MAX_LISTED: usize = 500_000;
/// Messages whose summaries are kept: about a kilobyte each.
const MAX_SUMMARIES: usize = 4096;
/// Octets of all summaries that are kept. The header of one message may have a mebibyte of addresses.
const MAX_SUMMARY_OCTETS: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v32_the_summaries_in_memory_are_bounded_by_their_octets() {
        let mut cache = SummaryCache::default();
        let summary = |octets| Arc::new(Summary { subject: "x".repeat(octets), ..Summary::default() });
        let file = |inode| (1, FileVersion { inode, bytes: 1, modified: (0, 0) });
        for inode in 0..100 {
            cache.insert(file(inode), summary(1 << 20));
            cache.insert(file(inode), summary(1 << 20));
            assert!(cache.octets <= MAX_SUMMARY_OCTETS, "{}", cache.octets);
        }
        let kept = cache.by_file.len();
        assert!((20..=32).contains(&kept) && cache.order.len() == kept, "{kept}");
        (100..5000).for_each(|inode| cache.insert(file(inode), summary(10)));
        assert_eq!((cache.by_file.len(), cache.order.len()), (MAX_SUMMARIES, MAX_SUMMARIES));
        let octets: usize = cache.by_file.values().map(|summary| summary.octets()).sum();
        assert_eq!(cache.octets, octets);
    }
}
