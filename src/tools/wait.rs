//! Waits for messages.
//!
//! The rule: a mailbox is watched first, then scanned, and then the reported changes are checked, so that no message is
//! missed. Each message is reported once, even if its file is renamed.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Mark, Message,
    dir_watcher::{DirWatcher, wait_for_any},
    mark::ForeignMark,
};
use crate::{
    index::{
        budget::Budget,
        job::IndexId,
        watcher::{MailboxEvent, MailboxEvents, Watcher, WatcherReport},
    },
    limits::Limits,
    maildir::{
        Change, Error, FileVersion, Kind, Maildir, MessageEntry, Spool, name,
        scan::{self, Recheck},
        size_counter::CountSlice,
    },
    proto::{
        destinations::Destinations,
        folder::Folder,
        request::{AccountDirectory, Destination},
        smtp::address::Address,
        tagged::TaggedAddress,
    },
};

/// The address whose mail is awaited.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The mailbox, and the folder that the address names.
    pub destination: Destination,
    /// The address, if it has a tag: only mail for exactly this one counts.
    pub tagged: Option<TaggedAddress>,
}

impl Target {
    /// The targets of mail for an address with these destinations.
    pub(crate) fn all(directory: &dyn AccountDirectory, address: &Address, to: &Destinations) -> Vec<Self> {
        let tagged = directory.tagged(address);
        to.iter().map(|destination| Self { destination, tagged: tagged.clone() }).collect()
    }
}

/// The mailboxes to wait for, and the time limit.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    /// The spool; it may not exist yet.
    pub spool: &'a Path,
    pub targets: &'a [Target],
    /// Messages to ignore, because they were present before.
    pub after: &'a Mark,
    pub timeout: Duration,
}

/// The content of the place where messages are awaited.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    NoSpool,
    /// No mailbox of the address.
    NoMailbox {
        /// Mailboxes that the spool has.
        others: Vec<String>,
    },
    Messages {
        there: u64,
        /// Those that were present at the mark.
        marked: u64,
        /// Those of the others that may be for the address: they had several recipients, whom their headers do not tell.
        hidden: u64,
        /// Those of the others that are for another address of the mailbox.
        elsewhere: u64,
        /// The newest of all others, which are for the address, the last one first.
        newest: Vec<Message>,
    },
}

/// One Maildir or folder being watched.
struct WatchedDir {
    /// Its name in marks: mailbox and folder.
    label: String,
    mailbox: String,
    folder: Option<String>,
    /// Only mail for this address counts: the address has a `+tag`, and this is not that tag's folder.
    only_recipient: Option<TaggedAddress>,
    maildir: Option<Arc<Maildir>>,
    /// True if its changes are reported.
    is_watched: bool,
    /// True if it was removed during a scan.
    lost: bool,
    /// True if it was scanned since it was opened.
    is_scanned: bool,
    /// Reported messages. A message is reported again if its content changes, as when a program writes it in
    /// place.
    reported: HashMap<Box<[u8]>, FileVersion>,
}

impl Wait<'_> {
    /// Reports the messages that are present, in order of delivery, and then each that arrives, until `each` breaks.
    /// Returns false if the time limit passes first.
    pub(crate) fn run(&self, mut each: impl FnMut(Message) -> ControlFlow<()>) -> Result<bool, Error> {
        let timeout = self.timeout.min(A_YEAR);
        let deadline = Instant::now() + timeout;
        let dirs = DirWatcher::new();
        let (watcher, mut events) = Watcher::start(false);
        let mut watched_dirs = watched_dirs(self.targets);
        loop {
            let mut poll_interval = None;
            for (at, dir) in watched_dirs.iter_mut().enumerate() {
                let watched = dir.open(self.spool, IndexId(at as u64), &watcher, &dirs)?;
                poll_interval = poll_interval.or((!watched).then_some(POLL));
            }
            let over = deadline <= Instant::now();
            if self
                .report_new(&mut watched_dirs, &mut events, over || poll_interval.is_some(), &mut each)?
                .is_break()
            {
                return Ok(true);
            }
            if over {
                return Ok(false);
            }
            if watched_dirs.iter_mut().any(|dir| std::mem::take(&mut dir.lost)) {
                continue; // its event may have been consumed already
            }
            let next = Instant::now() + poll_interval.unwrap_or(timeout);
            wait_for_any([events.as_fd(), dirs.as_fd()], deadline.min(next));
            dirs.take_events();
        }
    }

    /// Marks the messages present now.
    pub(crate) fn mark(&self) -> Result<Mark, Error> {
        let dirs = watched_dirs(self.targets);
        let mut mark = Mark::of(self.spool, dirs.iter().map(|dir| dir.label.as_str()));
        for dir in &dirs {
            if let Some(maildir) = dir.find(self.spool)? {
                for found in list_messages(&maildir)?.unwrap_or_default() {
                    mark.insert(&dir.label, name::identity(&found.name));
                }
            }
        }
        Ok(mark)
    }

    /// Checks that the mark to ignore was made of these mailboxes.
    pub(crate) fn check_mark(&self) -> Result<(), ForeignMark> {
        let dirs = watched_dirs(self.targets);
        self.after.covers(self.spool, dirs.iter().map(|dir| dir.label.as_str()))
    }

    /// Looks at the places where messages are awaited.
    pub(crate) fn look(&self) -> Result<Presence, Error> {
        if !self.spool.is_dir() {
            return Ok(Presence::NoSpool);
        }
        let (mut is_mailbox, mut there, mut marked) = (false, 0, 0);
        let (mut hidden, mut elsewhere, mut newest) = (0, 0, Vec::new());
        for dir in watched_dirs(self.targets) {
            let Some(maildir) = dir.find(self.spool)? else { continue };
            is_mailbox = true;
            let maildir = Arc::new(maildir);
            for found in list_messages(&maildir)?.unwrap_or_default() {
                there += 1;
                if self.after.contains(&dir.label, name::identity(&found.name)) {
                    marked += 1;
                    continue;
                }
                if let Some(only) = &dir.only_recipient
                    && let Ok(message) = Message::read(Arc::clone(&maildir), found.clone())
                    && !message.is_to(only)
                {
                    if message.hides_from(only) {
                        hidden += 1;
                    } else {
                        elsewhere += 1;
                    }
                    continue;
                }
                newest.push((Arc::clone(&maildir), found));
            }
        }
        if is_mailbox {
            newest.sort_by(|(_, a), (_, b)| name::sort_key(&b.name).cmp(&name::sort_key(&a.name)));
            newest.truncate(MAX_NEWEST);
            // One that was deleted meanwhile is left out.
            let newest = newest.into_iter().filter_map(|(maildir, found)| Message::read(maildir, found).ok());
            return Ok(Presence::Messages { there, marked, hidden, elsewhere, newest: newest.collect() });
        }
        let names = Spool::open(self.spool)?.names()?.into_iter().filter_map(|name| name.into_string().ok());
        let mut others: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        others.sort();
        Ok(Presence::NoMailbox { others })
    }

    /// Reports new messages among the changed names, or among all messages if `everything` is set.
    fn report_new(
        &self,
        watched_dirs: &mut [WatchedDir],
        events: &mut MailboxEvents,
        everything: bool,
        each: &mut impl FnMut(Message) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut everything = everything;
        let mut rechecks: Vec<Vec<Recheck>> = vec![Vec::new(); watched_dirs.len()];
        events.set_readable();
        events.read(&mut Budget::new(usize::MAX), |report| match report {
            WatcherReport::Overflow => everything = true,
            WatcherReport::Event(MailboxEvent::NameChanged(IndexId(at), subdir, name)) => {
                if let Some(rechecks) = rechecks.get_mut(at as usize) {
                    rechecks.push(Recheck { subdir, name, known: Vec::new() });
                }
            }
            WatcherReport::Event(MailboxEvent::DirectoryLost(IndexId(at))) => {
                if let Some(dir) = watched_dirs.get_mut(at as usize) {
                    dir.maildir = None;
                }
            }
            WatcherReport::Event(MailboxEvent::NameRemoved(..)) | WatcherReport::Barrier(_) => {}
        });
        for (dir, rechecks) in watched_dirs.iter_mut().zip(rechecks) {
            let Some(maildir) = dir.maildir.clone() else { continue };
            let found = if everything || !std::mem::replace(&mut dir.is_scanned, true) {
                let Some(mut found) = list_messages(&maildir)? else {
                    (dir.maildir, dir.lost) = (None, true);
                    continue;
                };
                found.sort_by(|a, b| name::sort_key(&a.name).cmp(&name::sort_key(&b.name)));
                found
            } else {
                let (changes, _) =
                    scan::recheck(&maildir, &rechecks, &mut new_count_slice())?.unwrap_or_default();
                let listed = |change| match change {
                    Change::Present(found) if !name::is_trashed(&found.name) => Some(found),
                    _ => None,
                };
                changes.into_iter().filter_map(listed).collect()
            };
            for found in found {
                if let Some(message) = dir.take_if_new(&maildir, found, self.after)?
                    && each(message).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl WatchedDir {
    /// Opens and watches the mailbox if it exists; otherwise waits for it. Returns false if no event will
    /// report changes.
    fn open(
        &mut self,
        spool: &Path,
        id: IndexId,
        watcher: &Watcher,
        dirs: &DirWatcher,
    ) -> Result<bool, Error> {
        if let Some(maildir) = &self.maildir
            && self.still_exists(spool, maildir)
        {
            return Ok(self.is_watched);
        }
        self.maildir = None;
        let above_watched = dirs.watch(&self.path(spool));
        let Some(maildir) = self.find(spool)? else { return Ok(above_watched) };
        self.is_watched = watcher.watch(id, &maildir) && above_watched;
        (self.maildir, self.is_scanned) = (Some(Arc::new(maildir)), false);
        Ok(self.is_watched)
    }

    /// True if the path still leads to the same mailbox.
    fn still_exists(&self, spool: &Path, maildir: &Maildir) -> bool {
        let has = |spool: Spool| spool.still_resolves_to(&self.mailbox, self.folder.as_deref(), maildir);
        spool.is_dir() && Spool::open(spool).is_ok_and(has)
    }

    fn find(&self, spool: &Path) -> Result<Option<Maildir>, Error> {
        if !spool.is_dir() {
            return Ok(None); // opening it would create it
        }
        let opened = Spool::open(spool).and_then(|spool| match &self.folder {
            Some(folder) => spool.folder(&self.mailbox, folder),
            None => spool.maildir(&self.mailbox),
        });
        match opened {
            Err(error) if error.kind() == Kind::Gone => Ok(None),
            done => done.map(Some),
        }
    }

    fn path(&self, spool: &Path) -> PathBuf {
        let mailbox = spool.join(&self.mailbox);
        self.folder.as_ref().map_or(mailbox.clone(), |folder| mailbox.join(folder))
    }

    /// Returns the message if it counts and was not reported yet.
    fn take_if_new(
        &mut self,
        maildir: &Arc<Maildir>,
        found: MessageEntry,
        after: &Mark,
    ) -> Result<Option<Message>, Error> {
        let identity: Box<[u8]> = name::identity(&found.name).into();
        let stamp = found.version;
        if after.contains(&self.label, &identity) || self.reported.get(&identity) == Some(&stamp) {
            return Ok(None);
        }
        let message = match Message::read(Arc::clone(maildir), found) {
            // A further event will report it.
            Err(error) if matches!(error.kind(), Kind::Gone | Kind::Changed | Kind::Truncated) => {
                return Ok(None);
            }
            done => done?,
        };
        self.reported.insert(identity, stamp);
        let is_wanted = self.only_recipient.as_ref().is_none_or(|only| message.is_to(only));
        Ok(is_wanted.then_some(message))
    }
}

fn new_count_slice() -> CountSlice {
    CountSlice::unbounded(Limits::default().max_listed_size())
}

/// Lists all messages of a mailbox. `None` if it was removed.
fn list_messages(maildir: &Maildir) -> Result<Option<Vec<MessageEntry>>, Error> {
    match scan::scan(maildir, &[], &mut new_count_slice()) {
        Err(error) if error.kind() == Kind::Gone => Ok(None),
        done => done.map(|scan| scan.map(|scan| scan.messages)),
    }
}

/// The Maildirs of some targets: their mailboxes, and the folders that their addresses name.
fn watched_dirs(targets: &[Target]) -> Vec<WatchedDir> {
    let mut watched_dirs = Vec::new();
    for Target { destination: Destination { mailbox, folder }, tagged } in targets {
        let dir = |folder: Option<&Folder>, only| WatchedDir {
            label: folder.map_or(mailbox.to_string(), |folder| format!("{mailbox}/{folder}")),
            mailbox: mailbox.as_str().to_owned(),
            folder: folder.map(|folder| folder.directory().to_owned()),
            only_recipient: only,
            maildir: None,
            is_watched: false,
            lost: false,
            is_scanned: false,
            reported: HashMap::new(),
        };
        watched_dirs.push(dir(None, tagged.clone()));
        watched_dirs.extend(folder.as_ref().map(|folder| dir(Some(folder), None)));
    }
    watched_dirs
}

/// Messages that are described after a wait in vain.
const MAX_NEWEST: usize = 3;
const A_YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
/// Time between scans of a mailbox that cannot be watched.
const POLL: Duration = Duration::from_millis(250);
