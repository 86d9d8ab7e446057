//! The mailboxes that sessions have open, from a login to QUIT. One session at a time has exclusive access to a
//! mailbox, and any number read it beside that one. A mailbox is free after a worker has closed its lock; the reply to
//! QUIT and the next exclusive login wait for that.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    cached_reads::CachedReads,
    clients::{Client, Clients},
    effects::Effects,
    open_maildrop::{OpenFiles, OpenMaildrop, ReadOrder},
    quota::QuotaCache,
};
use crate::{
    capacity::Shrinker,
    deferred_drop::DeferredDrop,
    fd_limits::FdBudget,
    index::{LoginDelay, Registry, Sequence, Snapshot, job::SessionChanges},
    limits::Limits,
    maildir::Maildir,
    proto::{
        imap::request::{Fetch, FetchedPiece, ImapResponse, Refusal},
        request::{Access, ConnId, Failure, Mailbox, Maildrop, MaildropRequest, Response},
    },
    workers::{
        CompletionSender, Job,
        job::{KnownMaildir, MailboxLock, MessageChunk, OpenedMaildir, Release, Update},
    },
};

/// The mailboxes that sessions have open.
#[derive(Debug)]
pub(super) struct Maildrops {
    /// Each mailbox that is not free for exclusive access.
    locked: HashMap<Mailbox, LockState>,
    /// The number of sessions that share a mailbox with others.
    readers: usize,
    /// The largest number of sessions.
    max_open: usize,
    /// The number of unused mailboxes that may stay open in addition, until a worker has closed them.
    max_closing: usize,
    /// Every mailbox that was opened for a session and may still be open.
    opened: Vec<Weak<Maildir>>,
    /// The number of sessions that wait for a worker to open a mailbox.
    opening: usize,
    login_delay: LoginDelay,
    /// Octets of a piece of a message, unless sessions are few.
    read_size: usize,
    cached_reads: CachedReads,
    completions: CompletionSender,
}

/// The lock of a mailbox that is not free.
#[derive(Debug)]
enum LockState {
    /// A session holds the lock, or is about to.
    Held {
        /// Whether a worker has closed the lock already, before its completion of the update arrived.
        closed_early: bool,
    },
    /// A worker is closing the lock.
    Closing {
        /// The session that held the lock, if it waits for the reply to QUIT.
        quitting: Option<ConnId>,
        /// Logins that wait for the lock, and their arrival times.
        logins: Vec<(ConnId, Duration)>,
    },
}

/// The response of [`Maildrops::release`] to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReleaseResponse {
    /// None: the caller responds, or the connection is closed.
    None,
    /// Success of QUIT, after the mailbox is free.
    UpdatedWhenFree,
}

impl Maildrops {
    /// The limits that count are the least time between two logins to one mailbox, and the size of a read.
    pub(super) fn new(limits: &Limits, budget: &FdBudget, completions: CompletionSender) -> Self {
        Self {
            locked: HashMap::new(),
            readers: 0,
            max_open: budget.max_mailboxes,
            max_closing: budget.max_closing,
            opened: Vec::new(),
            opening: 0,
            login_delay: LoginDelay::new(limits.pop3.login_delay.0),
            read_size: limits.disk.read_size.as_len(),
            cached_reads: CachedReads::new(limits.disk.read_size.as_len()),
            completions,
        }
    }

    /// Applies reloaded limits. Sessions that are over a lower limit continue.
    pub(super) fn reconfigure(&mut self, login_delay: Duration, budget: &FdBudget) {
        (self.max_open, self.max_closing) = (budget.max_mailboxes, budget.max_closing);
        self.login_delay.reconfigure(login_delay);
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.locked);
        self.login_delay.shrink(shrinker);
    }

    /// The number of sessions with a mailbox, and of mailboxes whose lock is being closed.
    pub(super) fn len(&self) -> usize {
        self.locked.len() + self.readers
    }

    #[cfg(test)]
    pub(super) fn cached_reads(&mut self) -> &mut CachedReads {
        &mut self.cached_reads
    }

    #[cfg(test)]
    pub(super) fn add_readers(&mut self, count: usize) {
        self.readers += count;
    }

    pub(super) fn begin_turn(&mut self) {
        self.cached_reads.begin_turn();
    }

    // Requests

    /// Serves a request about the mailbox of a session.
    pub(super) fn handle(
        &mut self,
        (id, client): (ConnId, &mut Client),
        request: MaildropRequest,
        now: Duration,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        match request {
            MaildropRequest::Open { mailbox, access, now } => {
                self.open((id, client), (mailbox, access, now), index, effects)
            }
            MaildropRequest::Read { message, from } => self.read((id, client), (message, from), now, effects),
            MaildropRequest::Update { delete, seen } => {
                self.update((id, client), (delete, seen), index, effects)
            }
        }
    }

    /// Serves a login at `now`.
    pub(super) fn open(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (mailbox, access, now): (Mailbox, Access, Duration),
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        if access == Access::Exclusive {
            if !self.login_delay.is_allowed(&mailbox, now) {
                return effects.fail(id, Failure::LoginDelay);
            }
            match self.locked.get_mut(&mailbox) {
                Some(LockState::Closing { logins, .. }) => return logins.push((id, now)),
                Some(LockState::Held { .. }) => return effects.fail(id, Failure::InUse),
                None => {}
            }
        }
        // Otherwise sessions would take the descriptors that deliveries need. Those that share a mailbox have the same ones.
        let is_crowded = access == Access::Exclusive && self.locked.len() >= self.max_open;
        if is_crowded || !self.make_room_for(&mailbox, index) {
            return effects.fail(id, Failure::TooManyOpen);
        }
        self.opening += 1;
        match access {
            Access::Exclusive => {
                self.locked.insert(mailbox.clone(), LockState::Held { closed_early: false });
            }
            Access::Shared => self.readers += 1,
        }
        let opening = OpenMaildrop { mailbox: mailbox.clone(), access, since: now, files: None };
        client.maildrop = Some(Box::new(opening));
        let settled_times = index.settled_times(&mailbox);
        let known = index.maildir(&mailbox).map(|maildir| KnownMaildir { maildir, settled_times });
        effects.run(Job::Open { conn: id, mailbox, access, known });
    }

    /// Makes room for one more mailbox of a session, and returns whether there is some. If the indexes are too many, an
    /// idle one is dropped. Its mailbox stays open until a worker has closed it, and only a few may be in that state.
    fn make_room_for(&mut self, mailbox: &Mailbox, index: &mut Registry) -> bool {
        if index.maildir(mailbox).is_none() && index.len() + self.opening >= self.max_open {
            index.evict_one_idle();
        }
        let most = self.max_open + self.max_closing;
        if self.opened.len() + self.opening >= most {
            self.opened.retain(|maildir| maildir.strong_count() > 0);
        }
        self.opened.len() + self.opening < most
    }

    /// Serves RETR or TOP: reads the next piece of a message, from memory or by a worker.
    pub(super) fn read(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (message, from): (usize, u64),
        now: Duration,
        effects: &mut Effects,
    ) {
        let Some(files) = client.files() else { return effects.fail(id, Failure::TempFail) };
        // An open message is usable only by the RETR that opened it.
        let open = files.reading.take().filter(|_| from > 0);
        let is_next = from == 0 && files.order.advance(message);
        if from == 0
            && let Some(bytes) = self.cached_reads.read(files, message, now)
        {
            return effects.respond(id, Response::Chunk { bytes, last: true });
        }
        let (maildir, snapshot) = (Arc::clone(&files.maildir), Arc::clone(&files.snapshot));
        let ahead = (is_next && maildir.has_cached_reads())
            .then(|| files.order.take_ahead(message, snapshot.len()))
            .filter(|messages| !messages.is_empty());
        let ahead = ahead.map(|messages| Job::ReadAhead {
            maildir: Arc::clone(&maildir),
            snapshot: Arc::clone(&snapshot),
            messages,
            max: self.read_size,
        });
        let max = self.max_piece(from);
        effects.run(Job::Read { conn: id, maildir, snapshot, message, from, max, open });
        ahead.into_iter().for_each(|job| effects.run(job));
    }

    /// Serves FETCH without a worker, if that needs no wait.
    pub(super) fn fetch_cached(
        &mut self,
        maildir: &Maildir,
        sequence: &Sequence,
        fetch: &Fetch,
        now: Duration,
    ) -> Option<FetchedPiece> {
        self.cached_reads.fetch(maildir, sequence, fetch, now)
    }

    /// The bytes of the largest piece that begins at `from`. A worker costs the same two switches between threads for
    /// each piece, so a message is read in larger pieces after the first while the pieces of all sessions fit in
    /// [`MAX_IN_PIECES`].
    pub(super) fn max_piece(&self, from: u64) -> usize {
        let largest = self.read_size.saturating_mul(if from == 0 { 1 } else { MAX_GROWTH });
        (MAX_IN_PIECES / self.len().max(1)).clamp(self.read_size, largest)
    }

    /// Serves QUIT: deletes and marks messages, then releases the mailbox.
    pub(super) fn update(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (delete, seen): (Vec<usize>, Vec<usize>),
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = client.maildrop.as_deref_mut() else {
            return effects.fail(id, Failure::TempFail);
        };
        if delete.is_empty() && seen.is_empty() {
            return self.release((id, client), ReleaseResponse::UpdatedWhenFree, index, effects);
        }
        let Some(lock) = files.lock.take() else { return effects.fail(id, Failure::TempFail) };
        let (maildir, snapshot) = (Arc::clone(&files.maildir), Arc::clone(&files.snapshot));
        // Marking a message moves it from one name to another, so it counts twice.
        let names = delete.len() + 2 * seen.len();
        let unwatch = index.session_updating(mailbox, maildir.id(), (id, names));
        let update = Update { conn: id, maildir, snapshot, delete, seen, unwatch, lock };
        effects.run(Job::Update(Box::new(update)));
    }

    // Completions

    /// A worker has opened the mailbox of a login, or has failed to. The index serves the login once it has the
    /// contents.
    pub(super) fn open_finished(
        &mut self,
        (id, client): (ConnId, &mut Client),
        result: Result<OpenedMaildir, Failure>,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let OpenedMaildir { maildir, times, racy, lock, barrier } = match result {
            Ok(opened) => opened,
            Err(failure) => {
                let is_folder = failure == Failure::NoFolder
                    && client.maildrop.as_ref().is_some_and(|maildrop| maildrop.access == Access::Shared);
                self.release((id, client), ReleaseResponse::None, index, effects);
                let refused = Response::Imap(ImapResponse::Refused(Refusal::NoFolder));
                return effects.respond(id, if is_folder { refused } else { Response::Failed(failure) });
            }
        };
        self.opening -= 1;
        let Some(maildrop) = &mut client.maildrop else { return effects.fail(id, Failure::TempFail) };
        let maildir = index.shared(&maildrop.mailbox, maildir);
        if index.maildir(&maildrop.mailbox).is_none_or(|known| !Arc::ptr_eq(&known, &maildir)) {
            self.opened.push(Arc::downgrade(&maildir));
        }
        let guard = |lock| MailboxLock::new(maildrop.mailbox.clone(), lock, self.completions.clone());
        let lock = lock.map(guard).map(DeferredDrop::new);
        index.login(&maildrop.mailbox, &maildir, (times, racy), barrier, id);
        maildrop.files = Some(OpenFiles {
            maildir,
            snapshot: Arc::default(),
            reading: None,
            fetching: None,
            lock,
            order: ReadOrder::default(),
        });
    }

    /// The index has the contents of the mailbox, or could not get them.
    pub(super) fn index_ready(
        &mut self,
        (id, client): (ConnId, &mut Client),
        result: Result<Arc<Snapshot>, Failure>,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(failure) => {
                self.release((id, client), ReleaseResponse::None, index, effects);
                return effects.fail(id, failure);
            }
        };
        let Some(maildrop) = &mut client.maildrop else { return effects.fail(id, Failure::TempFail) };
        if let Some(files) = &mut maildrop.files {
            files.snapshot = Arc::clone(&snapshot);
        }
        if maildrop.access == Access::Exclusive {
            self.login_delay.record(maildrop.mailbox.clone(), maildrop.since);
        }
        effects.respond(id, Response::Opened(snapshot));
    }

    /// A worker has read a piece of a message, or has failed to.
    pub(super) fn read_finished(
        (id, client): (ConnId, &mut Client),
        message: usize,
        result: Result<MessageChunk, Failure>,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        match result {
            Ok(MessageChunk { bytes, last, still_open: open }) => {
                if let Some(files) = client.files() {
                    files.reading = open;
                }
                effects.respond(id, Response::Chunk { bytes, last });
            }
            Err(failure) => {
                if let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = client.maildrop.as_deref()
                    && let Some(wanted) = files.snapshot.message_ref(message)
                {
                    index.recheck_message(mailbox, wanted.subdir, wanted.name);
                }
                effects.fail(id, failure);
            }
        }
    }

    /// A worker has deleted and marked messages. Clients reconnect at once, so the index is updated and the mailbox
    /// is free before the reply to QUIT is sent.
    pub(super) fn update_finished(
        &mut self,
        (id, client): (ConnId, &mut Client),
        done: Option<SessionChanges>,
        result: Result<(), Failure>,
        index: &mut Registry,
        quotas: &mut QuotaCache,
        effects: &mut Effects,
    ) {
        if let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = client.maildrop.as_deref() {
            // If the worker reported no changes, a full scan follows at the end of the session.
            if let Some(done) = done {
                index.session_updated(mailbox, files.maildir.id(), (id, done));
            }
            quotas.invalidate(&mailbox.clone().without_folder());
        }
        match result {
            Ok(()) => self.release((id, client), ReleaseResponse::UpdatedWhenFree, index, effects),
            Err(failure) => {
                self.release((id, client), ReleaseResponse::None, index, effects);
                effects.fail(id, failure);
            }
        }
    }

    /// Releases the mailbox of a client, if it has one.
    pub(super) fn release(
        &mut self,
        (id, client): (ConnId, &mut Client),
        response: ReleaseResponse,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let Some(maildrop) = client.maildrop.take() else { return };
        let OpenMaildrop { mailbox, access, files, .. } = *maildrop;
        self.opening -= usize::from(files.is_none());
        let was_open = files.is_some();
        if let Some(OpenFiles { reading, fetching, lock, .. }) = files {
            index.logout(&mailbox, id);
            effects.run(Release::job((lock, reading, fetching)));
        }
        let quitting = (response == ReleaseResponse::UpdatedWhenFree).then_some(id);
        if access == Access::Shared {
            self.readers -= 1;
            if let Some(id) = quitting {
                effects.respond(id, Response::Done);
            }
            return;
        }
        let Some(state) = self.locked.get_mut(&mailbox) else { return }; // invariant: it is not free
        let is_closed = !was_open || matches!(state, LockState::Held { closed_early: true });
        *state = LockState::Closing { quitting, logins: Vec::new() };
        if is_closed {
            self.locked.remove(&mailbox);
            if let Some(id) = quitting {
                effects.respond(id, Response::Done);
            }
        }
    }

    /// The lock of a mailbox is closed: the session that held it and the logins that wait for it continue.
    pub(super) fn lock_released(
        &mut self,
        mailbox: &Mailbox,
        clients: &mut Clients,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        match self.locked.get_mut(mailbox) {
            // A worker closes the lock before the backend gets the completion of the update.
            Some(LockState::Held { closed_early }) => *closed_early = true,
            Some(LockState::Closing { quitting, logins }) => {
                let (quitting, logins) = (quitting.take(), std::mem::take(logins));
                self.locked.remove(mailbox);
                if let Some(id) = quitting {
                    effects.respond(id, Response::Done);
                }
                for (id, since) in logins {
                    match clients.get_mut(id).filter(|client| !client.is_closed()) {
                        Some(client) => {
                            let login = (mailbox.clone(), Access::Exclusive, since);
                            self.open((id, client), login, index, effects);
                        }
                        None => effects.fail(id, Failure::InUse), // the response is dropped
                    }
                }
            }
            None => {}
        }
    }
}

impl Client {
    pub(super) fn files(&mut self) -> Option<&mut OpenFiles> {
        self.maildrop.as_mut()?.files.as_mut()
    }
}

/// A later piece of a message is at most this many times as large as the first.
const MAX_GROWTH: usize = 4;
/// Bytes in the larger pieces of all sessions: 64 sessions have pieces of 256 KiB.
const MAX_IN_PIECES: usize = 16 << 20;
