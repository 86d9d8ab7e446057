//! The mailboxes of POP3 sessions, from a login to QUIT. A mailbox is free after a worker has closed its lock; the
//! reply to QUIT and the next login wait for that.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    clients::{Client, Clients},
    effects::Effects,
    quota::QuotaCache,
};
use crate::{
    capacity::Shrinker,
    deferred_drop::DeferredDrop,
    fd_limits::FdBudget,
    index::{LoginDelay, Registry, Snapshot, registry},
    maildir::{Maildir, OpenMessage},
    proto::request::{ConnId, Failure, Mailbox, Response},
    workers::{
        CompletionSender, Job,
        job::{LockedMaildir, MailboxLock, MessageChunk, Release, Update},
    },
};

/// The mailboxes that POP3 sessions have open, each in one session at a time.
#[derive(Debug)]
pub(super) struct Maildrops {
    /// Each mailbox that is not free.
    locked: HashMap<Mailbox, LockState>,
    /// The largest number of mailboxes that may be locked.
    max_open: usize,
    /// The number of unused mailboxes that may stay open in addition, until a worker has closed them.
    max_closing: usize,
    /// Every mailbox that was opened for a session and may still be open.
    opened: Vec<Weak<Maildir>>,
    /// The number of sessions that wait for a worker to open a mailbox.
    opening: usize,
    login_delay: LoginDelay,
    completions: CompletionSender,
}

/// The lock of a mailbox that is not free.
#[derive(Debug)]
enum LockState {
    /// A session holds the lock, or is about to.
    Held {
        /// Whether a worker has already closed the lock, which the session passed to it at QUIT.
        is_closed: bool,
    },
    /// A worker is closing the lock.
    Closing {
        /// The session that held the lock, if it waits for the reply to QUIT.
        quitting: Option<ConnId>,
        /// Logins that wait for the lock, and their arrival times.
        logins: Vec<(ConnId, Duration)>,
    },
}

/// A mailbox that a session has open, or is opening.
#[derive(Debug)]
pub(super) struct OpenMaildrop {
    mailbox: Mailbox,
    /// The time of the login.
    since: Duration,
    /// Set once the mailbox is locked.
    files: Option<OpenFiles>,
}

#[derive(Debug)]
struct OpenFiles {
    maildir: Arc<Maildir>,
    /// Empty until the index has the contents.
    snapshot: Arc<Snapshot>,
    /// The message that is being read, between two pieces of it.
    reading: Option<OpenMessage>,
    /// `None` if a worker holds the lock, which ends the session.
    lock: Option<DeferredDrop<MailboxLock>>,
}

impl Maildrops {
    /// `login_delay` is the least time between two logins to one mailbox.
    pub(super) fn new(login_delay: Duration, budget: &FdBudget, completions: CompletionSender) -> Self {
        Self {
            locked: HashMap::new(),
            max_open: budget.max_mailboxes,
            max_closing: budget.max_closing,
            opened: Vec::new(),
            opening: 0,
            login_delay: LoginDelay::new(login_delay),
            completions,
        }
    }

    /// Applies other limits.
    pub(super) fn reconfigure(&mut self, login_delay: Duration, budget: &FdBudget) {
        (self.max_open, self.max_closing) = (budget.max_mailboxes, budget.max_closing);
        self.login_delay.reconfigure(login_delay);
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.locked);
        self.login_delay.shrink(shrinker);
    }

    /// The number of mailboxes that are not free.
    pub(super) fn len(&self) -> usize {
        self.locked.len()
    }

    // Requests

    /// Serves a login at `now`: locks the mailbox.
    pub(super) fn open(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (mailbox, now): (Mailbox, Duration),
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        if !self.login_delay.is_allowed(&mailbox, now) {
            return effects.fail(id, Failure::LoginDelay);
        }
        match self.locked.get_mut(&mailbox) {
            Some(LockState::Closing { logins, .. }) => return logins.push((id, now)),
            Some(LockState::Held { .. }) => return effects.fail(id, Failure::InUse),
            None => {}
        }
        // Otherwise sessions would take the descriptors that deliveries need.
        if self.locked.len() >= self.max_open || !self.has_capacity_for(&mailbox, index) {
            return effects.fail(id, Failure::TooManyOpen);
        }
        self.opening += 1;
        self.locked.insert(mailbox.clone(), LockState::Held { is_closed: false });
        client.maildrop = Some(OpenMaildrop { mailbox: mailbox.clone(), since: now, files: None });
        let known = index.maildir(&mailbox);
        effects.run(Job::Lock { conn: id, mailbox, known });
    }

    /// Returns whether one more mailbox may be opened for a session. If the indexes are too many, an idle one is
    /// dropped. Its mailbox stays open until a worker has closed it, and only a few may be in that state.
    fn has_capacity_for(&mut self, mailbox: &Mailbox, index: &mut Registry) -> bool {
        if index.maildir(mailbox).is_none() && index.len() + self.opening >= self.max_open {
            index.evict_one_idle();
        }
        let most = self.max_open + self.max_closing;
        if self.opened.len() + self.opening >= most {
            self.opened.retain(|maildir| maildir.strong_count() > 0);
        }
        self.opened.len() + self.opening < most
    }

    /// Serves RETR or TOP: reads the next piece of a message.
    pub(super) fn read(
        (id, client): (ConnId, &mut Client),
        (message, from): (usize, u64),
        effects: &mut Effects,
    ) {
        let Some(files) = client.files() else { return effects.fail(id, Failure::TempFail) };
        // An open message is usable only by the RETR that opened it.
        let open = files.reading.take().filter(|_| from > 0);
        let (maildir, snapshot) = (Arc::clone(&files.maildir), Arc::clone(&files.snapshot));
        effects.run(Job::Read { conn: id, maildir, snapshot, message, from, open });
    }

    /// Serves QUIT: deletes and marks messages, then releases the mailbox.
    pub(super) fn update(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (delete, seen): (Vec<usize>, Vec<usize>),
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = &mut client.maildrop else {
            return effects.fail(id, Failure::TempFail);
        };
        if delete.is_empty() && seen.is_empty() {
            return self.release(client, Some(id), index, effects);
        }
        let Some(lock) = files.lock.take() else { return effects.fail(id, Failure::TempFail) };
        let (maildir, snapshot) = (Arc::clone(&files.maildir), Arc::clone(&files.snapshot));
        // Marking a message moves it from one name to another, so it counts twice.
        let names = delete.len() + 2 * seen.len();
        let unwatch = index.session_updating(mailbox, maildir.id(), names);
        let update = Update { conn: id, maildir, snapshot, delete, seen, unwatch, lock };
        effects.run(Job::Update(Box::new(update)));
    }

    // Completions

    /// A worker has locked the mailbox of a login, or has failed to. The index serves the login once it has the
    /// contents.
    pub(super) fn lock_finished(
        &mut self,
        (id, client): (ConnId, &mut Client),
        result: Result<LockedMaildir, Failure>,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let LockedMaildir { maildir, times, lock, barrier } = match result {
            Ok(opened) => opened,
            Err(failure) => {
                self.release(client, None, index, effects);
                return effects.fail(id, failure);
            }
        };
        self.opening -= 1;
        let Some(maildrop) = &mut client.maildrop else { return effects.fail(id, Failure::TempFail) };
        if index.maildir(&maildrop.mailbox).is_none_or(|known| !Arc::ptr_eq(&known, &maildir)) {
            self.opened.push(Arc::downgrade(&maildir));
        }
        let lock =
            DeferredDrop::new(MailboxLock::new(maildrop.mailbox.clone(), lock, self.completions.clone()));
        index.login(&maildrop.mailbox, &maildir, times, barrier, id);
        maildrop.files =
            Some(OpenFiles { maildir, snapshot: Arc::default(), reading: None, lock: Some(lock) });
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
                self.release(client, None, index, effects);
                return effects.fail(id, failure);
            }
        };
        let Some(maildrop) = &mut client.maildrop else { return effects.fail(id, Failure::TempFail) };
        if let Some(files) = &mut maildrop.files {
            files.snapshot = Arc::clone(&snapshot);
        }
        self.login_delay.record(maildrop.mailbox.clone(), maildrop.since);
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
                if let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = &client.maildrop
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
        done: Option<registry::SessionChanges>,
        result: Result<(), Failure>,
        index: &mut Registry,
        quotas: &mut QuotaCache,
        effects: &mut Effects,
    ) {
        if let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = &client.maildrop {
            // Without them the end of the session has the mailbox scanned.
            if let Some(done) = done {
                index.session_updated(mailbox, files.maildir.id(), done);
            }
            quotas.invalidate(&mailbox.clone().without_folder());
        }
        match result {
            Ok(()) => self.release(client, Some(id), index, effects),
            Err(failure) => {
                self.release(client, None, index, effects);
                effects.fail(id, failure);
            }
        }
    }

    /// Releases the mailbox of a client, if it has one. The session `quitting` gets its response when the mailbox is
    /// free.
    pub(super) fn release(
        &mut self,
        client: &mut Client,
        quitting: Option<ConnId>,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let Some(OpenMaildrop { mailbox, files, .. }) = client.maildrop.take() else { return };
        let Some(state) = self.locked.get_mut(&mailbox) else { return }; // invariant: it is not free
        self.opening -= usize::from(files.is_none());
        let is_closed = files.is_none() || matches!(state, LockState::Held { is_closed: true });
        *state = LockState::Closing { quitting, logins: Vec::new() };
        if let Some(OpenFiles { reading, lock, .. }) = files {
            index.logout(&mailbox);
            effects.run(Release::job((lock, reading)));
        }
        if is_closed {
            self.locked.remove(&mailbox);
            if let Some(id) = quitting {
                effects.respond(id, Response::Updated);
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
            // A worker closes the lock before the backend gets the completion of the deletion.
            Some(LockState::Held { is_closed }) => *is_closed = true,
            Some(LockState::Closing { quitting, logins }) => {
                let (quitting, logins) = (quitting.take(), std::mem::take(logins));
                self.locked.remove(mailbox);
                if let Some(id) = quitting {
                    effects.respond(id, Response::Updated);
                }
                for (id, since) in logins {
                    match clients.get_mut(id).filter(|client| !client.is_closed()) {
                        Some(client) => self.open((id, client), (mailbox.clone(), since), index, effects),
                        None => effects.fail(id, Failure::InUse), // the response is dropped
                    }
                }
            }
            None => {}
        }
    }
}

impl OpenMaildrop {
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }
}

impl Client {
    fn files(&mut self) -> Option<&mut OpenFiles> {
        self.maildrop.as_mut()?.files.as_mut()
    }
}
