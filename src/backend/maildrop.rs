//! Mailboxes in the hands of POP3 sessions: from a login to QUIT. A mailbox is free when its lock is closed, which a
//! worker does: the reply to QUIT and the next login wait for that.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    clients::{Client, Clients},
    effects::Effects,
    quota::QuotaCache,
};
use crate::{
    closing::OffLoop,
    descriptors::most_open,
    mailbox::{Logins, Registry, Snapshot, registry},
    maildir::{Maildir, OpenMessage},
    proto::ask::{Answer, ConnId, Fault, Mailbox},
    workers::{
        CompletionSender, Job,
        job::{MailboxLock, Opened, Piece, Release},
    },
};

/// The mailboxes that POP3 sessions have open, each by one session at a time.
#[derive(Debug)]
pub(super) struct Maildrops {
    /// Each mailbox that is not free.
    locked: HashMap<Mailbox, LockState>,
    /// How many of them there may be.
    most_open: usize,
    logins: Logins,
    completions: CompletionSender,
}

/// The lock of a mailbox that is not free.
#[derive(Debug)]
enum LockState {
    /// A session has it, or is about to.
    Held {
        /// A worker that the session has left it to, at QUIT, has closed it.
        is_closed: bool,
    },
    /// A worker closes it.
    Closing {
        /// The session that had it, if it waits for the reply to QUIT.
        quitting: Option<ConnId>,
        /// Logins that wait until it is closed, and when they came.
        logins: Vec<(ConnId, Duration)>,
    },
}

/// A mailbox that a session has open, or is opening.
#[derive(Debug)]
pub(super) struct OpenMaildrop {
    mailbox: Mailbox,
    /// When it was asked for.
    since: Duration,
    /// There once the mailbox is locked.
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    maildir: Arc<Maildir>,
    /// Empty until the index has it.
    snapshot: Arc<Snapshot>,
    /// The message that is being read, between two pieces of it.
    reading: Option<OpenMessage>,
    /// `None`: a worker has it, which ends the session.
    lock: Option<OffLoop<MailboxLock>>,
}

impl Maildrops {
    /// Waits `login_delay` between two logins to one mailbox.
    pub(super) fn new(login_delay: Duration, completions: CompletionSender) -> Self {
        let logins = Logins::new(login_delay);
        Self { locked: HashMap::new(), most_open: most_open(), logins, completions }
    }

    /// Other limits are in force from now on.
    pub(super) fn reconfigure(&mut self, login_delay: Duration) {
        self.most_open = most_open();
        self.logins.follow(login_delay);
    }

    /// How many mailboxes are not free.
    pub(super) fn len(&self) -> usize {
        self.locked.len()
    }

    // Requests

    /// A login, at `now`: locks the mailbox.
    pub(super) fn open(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (mailbox, now): (Mailbox, Duration),
        index: &Registry,
        effects: &mut Effects,
    ) {
        if !self.logins.allow(&mailbox, now) {
            return effects.fail(id, Fault::TooSoon);
        }
        match self.locked.get_mut(&mailbox) {
            Some(LockState::Closing { logins, .. }) => return logins.push((id, now)),
            Some(LockState::Held { .. }) => return effects.fail(id, Fault::InUse),
            None => {}
        }
        // Else sessions would take the descriptors that deliveries need.
        if self.locked.len() >= self.most_open {
            return effects.fail(id, Fault::Crowded);
        }
        self.locked.insert(mailbox.clone(), LockState::Held { is_closed: false });
        client.maildrop = Some(OpenMaildrop { mailbox: mailbox.clone(), since: now, files: None });
        let known = index.maildir(&mailbox);
        effects.run(Job::Lock { conn: id, mailbox, known });
    }

    /// RETR or TOP: the next piece of a message.
    pub(super) fn read(
        (id, client): (ConnId, &mut Client),
        (message, from): (usize, u64),
        effects: &mut Effects,
    ) {
        let Some(files) = client.files() else { return effects.fail(id, Fault::Broken) };
        // An open message is of use only to the RETR that opened it.
        let open = files.reading.take().filter(|_| from > 0);
        let (maildir, snapshot) = (Arc::clone(&files.maildir), Arc::clone(&files.snapshot));
        effects.run(Job::Read { conn: id, maildir, snapshot, message, from, open });
    }

    /// QUIT: deletes and marks messages, then gives the mailbox back.
    pub(super) fn update(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (delete, seen): (Vec<usize>, Vec<usize>),
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let Some(files) = client.files() else { return effects.fail(id, Fault::Broken) };
        if delete.is_empty() && seen.is_empty() {
            return self.release(client, Some(id), index, effects);
        }
        let Some(lock) = files.lock.take() else { return effects.fail(id, Fault::Broken) };
        let (maildir, snapshot) = (Arc::clone(&files.maildir), Arc::clone(&files.snapshot));
        effects.run(Job::Update { conn: id, maildir, snapshot, delete, seen, lock });
    }

    // Completions

    /// The mailbox of a login is locked, or could not be. The index serves the login once it has the contents.
    pub(super) fn locked(
        &mut self,
        (id, client): (ConnId, &mut Client),
        result: Result<Opened, Fault>,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        let Opened { maildir, times, lock, mark } = match result {
            Ok(opened) => opened,
            Err(failure) => {
                self.release(client, None, index, effects);
                return effects.fail(id, failure);
            }
        };
        let Some(maildrop) = &mut client.maildrop else { return effects.fail(id, Fault::Broken) };
        let lock = OffLoop::new(MailboxLock::new(maildrop.mailbox.clone(), lock, self.completions.clone()));
        index.login(&maildrop.mailbox, &maildir, times, mark, id);
        maildrop.files = Some(Files { maildir, snapshot: Arc::default(), reading: None, lock: Some(lock) });
    }

    /// The index has the contents of the mailbox of a login, or could not have them.
    pub(super) fn opened(
        &mut self,
        (id, client): (ConnId, &mut Client),
        result: Result<Arc<Snapshot>, Fault>,
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
        let Some(maildrop) = &mut client.maildrop else { return effects.fail(id, Fault::Broken) };
        if let Some(files) = &mut maildrop.files {
            files.snapshot = Arc::clone(&snapshot);
        }
        self.logins.note(maildrop.mailbox.clone(), maildrop.since);
        effects.respond(id, Answer::Opened(snapshot));
    }

    /// A piece of a message was read, or could not be.
    pub(super) fn was_read(
        (id, client): (ConnId, &mut Client),
        message: usize,
        result: Result<Piece, Fault>,
        index: &mut Registry,
        effects: &mut Effects,
    ) {
        match result {
            Ok(Piece { bytes, last, open }) => {
                if let Some(files) = client.files() {
                    files.reading = open;
                }
                effects.respond(id, Answer::Chunk { bytes, last });
            }
            Err(failure) => {
                if let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = &client.maildrop
                    && let Some(wanted) = files.snapshot.wanted(message)
                {
                    index.doubt(mailbox, wanted.place, wanted.name);
                }
                effects.fail(id, failure);
            }
        }
    }

    /// Messages were deleted and marked. Clients come back at once: the index knows, and the mailbox is free, before
    /// the reply to QUIT leaves.
    pub(super) fn updated(
        &mut self,
        (id, client): (ConnId, &mut Client),
        done: registry::Done,
        result: Result<(), Fault>,
        index: &mut Registry,
        quotas: &mut QuotaCache,
        effects: &mut Effects,
    ) {
        if let Some(OpenMaildrop { mailbox, files: Some(files), .. }) = &client.maildrop {
            index.updated(mailbox, files.maildir.key(), done);
            quotas.invalidate(&mailbox.clone().whole());
        }
        match result {
            Ok(()) => self.release(client, Some(id), index, effects),
            Err(failure) => {
                self.release(client, None, index, effects);
                effects.fail(id, failure);
            }
        }
    }

    /// Gives the mailbox of a client back, if it has one. The session `quitting` gets its response when the mailbox is
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
        let is_closed = files.is_none() || matches!(state, LockState::Held { is_closed: true });
        *state = LockState::Closing { quitting, logins: Vec::new() };
        if let Some(Files { reading, lock, .. }) = files {
            index.logout(&mailbox);
            effects.run(Release::of((lock, reading)));
        }
        if is_closed {
            self.locked.remove(&mailbox);
            if let Some(id) = quitting {
                effects.respond(id, Answer::Updated);
            }
        }
    }

    /// The lock of a mailbox is closed: the session that had it and those that wait for it go on.
    pub(super) fn unlocked(
        &mut self,
        mailbox: &Mailbox,
        clients: &mut Clients,
        index: &Registry,
        effects: &mut Effects,
    ) {
        match self.locked.get_mut(mailbox) {
            // A worker closes it before the backend hears that messages were deleted.
            Some(LockState::Held { is_closed }) => *is_closed = true,
            Some(LockState::Closing { quitting, logins }) => {
                let (quitting, logins) = (quitting.take(), std::mem::take(logins));
                self.locked.remove(mailbox);
                if let Some(id) = quitting {
                    effects.respond(id, Answer::Updated);
                }
                for (id, since) in logins {
                    match clients.get_mut(id).filter(|client| !client.is_closed()) {
                        Some(client) => self.open((id, client), (mailbox.clone(), since), index, effects),
                        None => effects.fail(id, Fault::InUse), // it hears nothing
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
    fn files(&mut self) -> Option<&mut Files> {
        self.maildrop.as_mut()?.files.as_mut()
    }
}
