//! Reads the messages of mailboxes from the spool into the catalog, for the web API.
//!
//! The rule: a list is as old as the directories say. It is scanned again if their times have changed, or are so young
//! that a change might not show. A mailbox that cannot be read is never an empty one.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsString,
    mem,
    sync::Arc,
    time::SystemTime,
};

use super::{
    catalog::{MailboxListing, Row, ScopeListings, ScopeRows, lock},
    storage::{Storage, log_failure},
};
use crate::{
    index::{MessageList, Snapshot},
    maildir::{CountProgress, Kind, Maildir, MessageRef, OpenMessage, scan, size_counter::CountSlice},
    message_object::{Limits, Summary, mailpit},
    proto::{
        http::api::MailboxScope,
        request::{Failure, Mailbox, Maildrop},
    },
};

impl Storage {
    /// The listings of the mailboxes of a scope. A mailbox that nobody has made yet is empty. Of all mailboxes, one that
    /// cannot be read hides no other, and is named.
    pub(super) fn listings(&self, scope: &MailboxScope) -> Result<ScopeListings, Failure> {
        self.check_in_place()?;
        if let MailboxScope::One(mailbox) = scope {
            let listings = self.listing(mailbox)?.into_iter().collect();
            return Ok(ScopeListings { listings, unreadable: BTreeSet::new() });
        }
        let name_failure = |error| log_failure(&error);
        let names = self.spool.names().map_err(name_failure)?;
        let misplaced = self.spool.misplaced_names().map_err(name_failure)?;
        let mut all = ScopeListings::default();
        let named = |name: &OsString| Mailbox::named(name.to_str()?);
        for mailbox in names.iter().filter_map(named) {
            match self.listing(&mailbox) {
                Ok(listing) => all.listings.extend(listing),
                // The root of a file system has it, and only root may read it.
                Err(_) if mailbox.as_str() == LOST_AND_FOUND => {}
                Err(_) => drop(all.unreadable.insert(mailbox)),
            }
        }
        all.unreadable.extend(misplaced.iter().filter_map(named));
        Ok(all)
    }

    /// The messages of a scope, newest first. A message in several mailboxes counts once.
    pub(super) fn rows(&self, scope: &MailboxScope) -> Result<ScopeRows, Failure> {
        let ScopeListings { listings, unreadable } = self.listings(scope)?;
        let mut rows: Vec<Row> = listings.iter().flat_map(MailboxListing::rows).collect();
        rows.sort_by(|one, other| (other.received, &other.id).cmp(&(one.received, &one.id)));
        if listings.len() > 1 {
            let mut seen = HashSet::with_capacity(rows.len());
            rows.retain(|row| seen.insert(Arc::clone(&row.id)));
        }
        Ok(ScopeRows { rows, unreadable })
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
        let ids = (0..snapshot.len()).map(|at| mailpit::id(&snapshot.unique_id(at)).into()).collect();
        let (device, _) = maildir.id();
        let (mailbox, times) = (mailbox.clone(), scan.times);
        let listing = Arc::new(MailboxListing { mailbox, device, times, racy, snapshot, ids });
        let mut lists = lock(&self.catalog.lists);
        if lists.values().map(|listing| listing.ids.len()).sum::<usize>() + listing.ids.len() > MAX_LISTED {
            lists.clear();
        }
        lists.insert(listing.mailbox.clone(), Arc::clone(&listing));
        Ok(Some(listing))
    }

    /// Opens a mailbox that exists. One of which a directory is missing, as after a copy that left out empty ones, gets it
    /// here as at a login.
    pub(super) fn existing_maildir(&self, mailbox: &Mailbox) -> Result<Option<Maildir>, Failure> {
        let opened = match self.spool.maildir(mailbox.as_str()) {
            Err(error) if error.is_incomplete_maildir() => {
                self.spool.open_or_create_maildir(mailbox.as_str())
            }
            opened => opened,
        };
        match opened {
            Ok(maildir) => Ok(Some(maildir)),
            Err(error) if error.kind() == Kind::Gone => Ok(None),
            Err(error) => Err(log_failure(&error)),
        }
    }

    /// Opens a message, if it is still the one that was listed.
    pub(super) fn open_message(
        &self,
        mailbox: &Mailbox,
        wanted: MessageRef<'_>,
    ) -> Result<OpenMessage, Failure> {
        let maildir = self.existing_maildir(mailbox)?.ok_or(Failure::Gone)?;
        OpenMessage::open(&maildir, wanted).map_err(|error| log_failure(&error))
    }

    /// The octets of the message of a row, and the size of its file. Only the beginning of a very large one is read.
    pub(super) fn read_row(&self, row: &Row) -> Result<(Vec<u8>, u64), Failure> {
        self.read_beginning(row, MAX_PARSED)
    }

    /// The first octets of the message of a row, and the size of its file.
    pub(super) fn read_beginning(&self, row: &Row, most: usize) -> Result<(Vec<u8>, u64), Failure> {
        let wanted = row.wanted().ok_or(Failure::Gone)?;
        let open = self.open_message(&row.listing.mailbox, wanted)?;
        let (bytes, _) = open.read(0, most).map_err(|error| log_failure(&error))?;
        Ok((bytes, wanted.version.bytes))
    }

    /// The summary of the message of a row.
    pub(super) fn summary(&self, row: &Row) -> Result<Arc<Summary>, Failure> {
        let file = (row.listing.device, row.wanted().ok_or(Failure::Gone)?.version);
        if let Some(known) = lock(&self.catalog.summaries).by_file.get(&file) {
            return Ok(Arc::clone(known));
        }
        let (bytes, size) = self.read_row(row)?;
        let summary = Arc::new(Summary { size, ..Summary::parse(&bytes, &Limits::default()) });
        lock(&self.catalog.summaries).insert(file, Arc::clone(&summary));
        Ok(summary)
    }
}

const LOST_AND_FOUND: &str = "lost+found";
/// Messages in all lists that are kept: some 150 octets each.
const MAX_LISTED: usize = 500_000;
/// Octets of a message that are parsed.
const MAX_PARSED: usize = 128 << 20;
