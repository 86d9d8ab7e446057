//! Reads the messages of mailboxes from the spool into the catalog, for the web API.
//!
//! The rule: a list is as old as the directories say. If their times have changed, or are so young that a change might not
//! show, their names are read again, and only the files of new names are looked at. A mailbox that cannot be read is never an
//! empty one.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsString,
    mem,
    sync::Arc,
    time::SystemTime,
};

use super::{
    catalog::{MailboxListing, Row, ScopeListings, ScopeRows, lock},
    row_reader::RowReader,
    selections::in_scope,
    storage::{Storage, log_failure},
};
use crate::{
    index::MessageList,
    maildir::{
        Change, CountProgress, Error, Kind, Maildir, MessageRef, OpenMessage, name,
        name_changes::name_changes,
        scan::{self, MAX_KNOWN, Recheck},
        size_counter::CountSlice,
    },
    proto::{
        http::api::{MailboxScope, MessageName},
        request::{Failure, Mailbox},
    },
};

impl Storage {
    /// The listings of the mailboxes of a scope. A mailbox that does not exist yet is empty. In the scope of all
    /// mailboxes, one that cannot be read is named, and the others are listed.
    pub(super) fn listings(&self, scope: &MailboxScope) -> Result<ScopeListings, Failure> {
        self.check_in_place()?;
        lock(&self.catalog.lists).begin_request();
        if let Some(mailbox) = scope.mailbox() {
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
        Ok(in_scope(self, scope, ScopeRows { rows, unreadable }))
    }

    /// The message of that name. If it is not found, it may be in a mailbox that cannot be read. One in several mailboxes is that
    /// of the first.
    pub(super) fn row(
        &self,
        scope: &MailboxScope,
        name: &MessageName,
    ) -> Result<(Option<Row>, BTreeSet<Mailbox>), Failure> {
        if let (MailboxScope::Tagged(..), MessageName::Latest) = (scope, name) {
            let ScopeRows { rows, unreadable } = self.rows(scope)?;
            return Ok((rows.into_iter().next(), unreadable));
        }
        let listings = self.listings(scope)?;
        let rows = listings.find(name).into_iter().collect();
        let ScopeRows { rows, unreadable } =
            in_scope(self, scope, ScopeRows { rows, unreadable: listings.unreadable });
        Ok((rows.into_iter().next(), unreadable))
    }

    /// The listing of a mailbox. `None` if there is no such mailbox.
    fn listing(&self, mailbox: &Mailbox) -> Result<Option<Arc<MailboxListing>>, Failure> {
        let Some(maildir) = self.existing_maildir(mailbox)? else { return Ok(None) };
        let times = scan::dir_times(&maildir).map_err(|error| log_failure(&error))?;
        let known = lock(&self.catalog.lists).get(mailbox);
        if let Some(known) = known.as_ref().filter(|known| known.times == times && !known.racy) {
            return Ok(Some(Arc::clone(known)));
        }
        let listing = match known.map(|known| self.renewed_listing(&maildir, &known)) {
            Some(Ok(Some(renewed))) => renewed,
            _ => self.scanned_listing(mailbox, &maildir)?,
        };
        let listing = Arc::new(listing);
        lock(&self.catalog.lists).insert(mailbox.clone(), listing.ids.len(), Arc::clone(&listing));
        Ok(Some(listing))
    }

    /// The listing of a mailbox after a scan of all its files.
    fn scanned_listing(&self, mailbox: &Mailbox, maildir: &Maildir) -> Result<MailboxListing, Failure> {
        let _busy = self.scan_threads.enter();
        let mut progress = CountProgress::default();
        let scan = loop {
            let mut turn =
                CountSlice::new(self.scan_limits(), progress).with_threads(Arc::clone(&self.scan_threads));
            let scanned = scan::scan(maildir, [], &mut turn).map_err(|error| log_failure(&error))?;
            match scanned {
                Some(scan) => break scan,
                None => progress = mem::take(&mut turn.progress),
            }
        };
        let racy = scan::is_racy(&scan.times, SystemTime::now());
        let list = MessageList::from_messages(scan.messages);
        Ok(MailboxListing::new((mailbox, maildir), (scan.times, racy), list, (None, &HashSet::new())))
    }

    /// The listing of a mailbox after a look at the names that have come or gone since the listing `known`. `None`: a scan
    /// has to make it.
    fn renewed_listing(
        &self,
        maildir: &Maildir,
        known: &MailboxListing,
    ) -> Result<Option<MailboxListing>, Error> {
        if maildir.id().0 != known.device {
            return Ok(None);
        }
        let names = name_changes(maildir, (&known.times, known.racy), known.list.iter())?;
        let Some(names) = names else { return Ok(None) };
        let rechecks: Vec<Recheck> = names
            .new
            .iter()
            .map(|(subdir, name)| {
                let same = known.list.of_identity(name::identity(name)).take(MAX_KNOWN);
                let sizes = same.map(|entry| (entry.version, entry.octets)).collect();
                Recheck { subdir: *subdir, name: name.clone(), known: sizes }
            })
            .collect();
        let mut turn = CountSlice::new(self.scan_limits(), CountProgress::default());
        let Some((changes, skipped)) = scan::recheck(maildir, &rechecks, &mut turn)? else { return Ok(None) };
        // A name that has gone since may belong to a message that is moving: a scan finds it.
        if changes.iter().filter(|change| matches!(change, Change::Absent { .. })).count() > skipped.len() {
            return Ok(None);
        }
        let mut list = known.list.clone();
        names.gone.iter().for_each(|(subdir, name)| list.remove(*subdir, name));
        for change in changes {
            match change {
                Change::Present(entry) => list.upsert(entry),
                Change::Absent { subdir, name } => list.remove(subdir, &name),
            }
        }
        let changed = names.gone.iter().chain(&names.new).map(|(_, name)| name::identity(name)).collect();
        let racy = scan::is_racy(&names.times, SystemTime::now());
        let times = (names.times, racy);
        Ok(Some(MailboxListing::new((&known.mailbox, maildir), times, list, (Some(known), &changed))))
    }

    /// Opens a mailbox that exists.
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
        self.open_in((mailbox, &maildir), wanted)
    }

    /// The same in a mailbox that is open.
    pub(super) fn open_in(
        &self,
        (mailbox, maildir): (&Mailbox, &Maildir),
        wanted: MessageRef<'_>,
    ) -> Result<OpenMessage, Failure> {
        OpenMessage::open(maildir, wanted).map_err(|error| {
            // Another program may have written to the file in its place, which no time of a directory shows.
            if error.kind() == Kind::Changed {
                lock(&self.catalog.lists).remove(mailbox);
            }
            log_failure(&error)
        })
    }

    /// The octets of the message of a row, and the size of its file.
    pub(super) fn read_row(&self, row: &Row) -> Result<(Vec<u8>, u64), Failure> {
        RowReader::new(self).read(row)
    }
}

#[cfg(test)]
mod tests;
