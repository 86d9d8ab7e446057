//! The messages of mailboxes as the web API lists them: newest first, over one mailbox or all.
//!
//! The rule: a list is as old as the directories say. It is scanned again if their times have changed, or are so young
//! that a change might not show. Only workers take the locks here.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::storage::{Storage, log_failure};
use crate::{
    index::{MessageList, Snapshot},
    maildir::{
        CountProgress, FileVersion, Kind, Maildir, MessageEntry, OpenMessage, name,
        scan::{self, DirTimes},
        size_counter::CountSlice,
    },
    message_object::{Limits, Summary, mailpit},
    proto::{
        http::api::MailboxScope,
        request::{Failure, Mailbox, Maildrop},
    },
};

/// The lists and summaries that the web API has read, for its next requests.
#[derive(Debug, Default)]
pub struct Catalog {
    lists: Mutex<HashMap<Mailbox, Arc<MailboxListing>>>,
    summaries: Mutex<SummaryCache>,
    /// The lists at the last comparison, by which changes are found.
    pub(super) compared: Mutex<HashMap<Mailbox, Arc<MailboxListing>>>,
}

/// The messages of one mailbox.
#[derive(Debug)]
pub(super) struct MailboxListing {
    pub(super) mailbox: Mailbox,
    times: DirTimes,
    /// True if a later change may bear the same times.
    racy: bool,
    pub(super) snapshot: Snapshot,
    /// The id of each message of the snapshot.
    pub(super) ids: Vec<Arc<str>>,
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
    /// The messages in the order of the snapshot.
    pub(super) fn rows(self: &Arc<Self>) -> impl Iterator<Item = Row> + '_ {
        let messages = self.snapshot.iter().zip(&self.ids).enumerate();
        messages.map(|(at, (entry, id))| Row {
            listing: Arc::clone(self),
            at,
            id: Arc::clone(id),
            is_read: entry.is_read(),
            received: entry.received(),
        })
    }
}

/// The id of each message: that of its identity, so that flags do not change it. Files of one identity have ids of their own.
fn ids(snapshot: &Snapshot) -> Vec<Arc<str>> {
    let id = |(at, entry): (usize, &MessageEntry)| {
        let unique_id = snapshot.unique_id(at);
        // No identity has a comma in it.
        let identity =
            if unique_id.contains(',') { unique_id.as_bytes() } else { name::identity(&entry.name) };
        mailpit::id(identity).into()
    };
    snapshot.iter().enumerate().map(id).collect()
}

impl Storage {
    /// The listings of the mailboxes of a scope. A mailbox that nobody has made yet is empty.
    pub(super) fn listings(&self, scope: &MailboxScope) -> Result<Vec<Arc<MailboxListing>>, Failure> {
        self.check_in_place()?;
        match scope {
            MailboxScope::One(mailbox) => Ok(self.listing(mailbox)?.into_iter().collect()),
            MailboxScope::All => {
                let names = self.spool.names().map_err(|error| log_failure(&error))?;
                let mailboxes = names.iter().filter_map(|name| Mailbox::named(name.to_str()?));
                // A mailbox that cannot be read hides no other.
                Ok(mailboxes.filter_map(|mailbox| self.listing(&mailbox).ok().flatten()).collect())
            }
        }
    }

    /// The messages of a scope, newest first. A message in several mailboxes counts once.
    pub(super) fn rows(&self, scope: &MailboxScope) -> Result<Vec<Row>, Failure> {
        let listings = self.listings(scope)?;
        let mut rows: Vec<Row> = listings.iter().flat_map(MailboxListing::rows).collect();
        rows.sort_by(|one, other| (other.received, &other.id).cmp(&(one.received, &one.id)));
        if listings.len() > 1 {
            let mut seen = HashSet::with_capacity(rows.len());
            rows.retain(|row| seen.insert(Arc::clone(&row.id)));
        }
        Ok(rows)
    }

    /// The listing of a mailbox. `None` if there is no such mailbox.
    fn listing(&self, mailbox: &Mailbox) -> Result<Option<Arc<MailboxListing>>, Failure> {
        let Some(maildir) = self.existing_maildir(mailbox)? else { return Ok(None) };
        let times = scan::dir_times(&maildir).map_err(|error| log_failure(&error))?;
        let known = lock(&self.catalog.lists).get(mailbox).cloned();
        if let Some(known) = known.filter(|known| known.times == times && !known.racy) {
            return Ok(Some(known));
        }
        let mut progress = CountProgress::default();
        let scan = loop {
            let mut turn = CountSlice::new(self.scan_limits(), progress);
            let scanned = scan::scan(&maildir, [], &mut turn).map_err(|error| log_failure(&error))?;
            match scanned {
                Some(scan) => break scan,
                None => progress = mem::take(&mut turn.progress),
            }
        };
        let racy = scan::is_racy(&scan.times, SystemTime::now());
        let snapshot = Snapshot::new(&MessageList::from_messages(scan.messages));
        let ids = ids(&snapshot);
        let listing =
            Arc::new(MailboxListing { mailbox: mailbox.clone(), times: scan.times, racy, snapshot, ids });
        let mut lists = lock(&self.catalog.lists);
        if lists.values().map(|listing| listing.ids.len()).sum::<usize>() + listing.ids.len() > MAX_LISTED {
            lists.clear();
        }
        lists.insert(mailbox.clone(), Arc::clone(&listing));
        Ok(Some(listing))
    }

    /// Opens a mailbox that exists.
    pub(super) fn existing_maildir(&self, mailbox: &Mailbox) -> Result<Option<Maildir>, Failure> {
        match self.spool.maildir(mailbox.as_str()) {
            Ok(maildir) => Ok(Some(maildir)),
            Err(error) if error.kind() == Kind::Gone => Ok(None),
            Err(error) => Err(log_failure(&error)),
        }
    }

    /// Opens the message of a row.
    pub(super) fn open_row(&self, row: &Row) -> Result<OpenMessage, Failure> {
        let maildir = self.existing_maildir(&row.listing.mailbox)?.ok_or(Failure::Gone)?;
        let wanted = row.listing.snapshot.message_ref(row.at).ok_or(Failure::Gone)?;
        OpenMessage::open(&maildir, wanted).map_err(|error| log_failure(&error))
    }

    /// The octets of the message of a row, and the size of its file. Only the beginning of a very large one is read.
    pub(super) fn read_row(&self, row: &Row) -> Result<(Vec<u8>, u64), Failure> {
        let (bytes, _) = self.open_row(row)?.read(0, MAX_PARSED).map_err(|error| log_failure(&error))?;
        Ok((bytes, row.version().map_or(0, |version| version.bytes)))
    }

    /// The summary of the message of a row.
    pub(super) fn summary(&self, row: &Row) -> Result<Arc<Summary>, Failure> {
        let version = row.version().ok_or(Failure::Gone)?;
        if let Some(known) = lock(&self.catalog.summaries).by_version.get(&version) {
            return Ok(Arc::clone(known));
        }
        let (bytes, size) = self.read_row(row)?;
        let summary = Arc::new(Summary { size, ..Summary::parse(&bytes, &Limits::default()) });
        lock(&self.catalog.summaries).insert(version, Arc::clone(&summary));
        Ok(summary)
    }
}

impl Row {
    /// The facts about its message that the octets do not tell.
    pub(super) fn stored(&self) -> mailpit::Stored<'_> {
        mailpit::Stored {
            id: &self.id,
            is_read: self.is_read,
            received: self.received,
            ..mailpit::Stored::default()
        }
    }

    /// The version of its file.
    pub(super) fn version(&self) -> Option<FileVersion> {
        self.listing.snapshot.message_ref(self.at).map(|wanted| wanted.version)
    }
}

/// Summaries of the messages that were read last.
#[derive(Debug, Default)]
struct SummaryCache {
    by_version: HashMap<FileVersion, Arc<Summary>>,
    /// The oldest first.
    order: VecDeque<FileVersion>,
}

impl SummaryCache {
    fn insert(&mut self, version: FileVersion, summary: Arc<Summary>) {
        if self.by_version.insert(version, summary).is_none() {
            self.order.push_back(version);
        }
        if self.order.len() > MAX_SUMMARIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_version.remove(&oldest);
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
/// Octets of a message that are parsed.
const MAX_PARSED: usize = 128 << 20;
