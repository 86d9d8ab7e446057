//! The desk's way out: from a user to a mailbox in the hands of a session, and back. A mailbox is free when its lock
//! is closed, which a worker does: the reply to QUIT and the next login wait for that.

use std::{sync::Arc, time::Duration};

use super::{Desk, Which};
use crate::{
    closing::OffLoop,
    mailbox::{Snapshot, registry},
    maildir::{Maildir, OpenMessage, lock::Lock, name},
    proto::ask::{Answer, ConnId, Fault, Mailbox},
    work::{
        Job, To,
        job::{Opened, Piece, Task, Unlock, Update},
    },
};

/// A mailbox in the hands of a session.
pub(super) struct Lease {
    mailbox: Mailbox,
    /// When it was asked for.
    since: Duration,
    /// There once the mailbox is open.
    open: Option<Open>,
}

pub(super) struct Open {
    maildir: Arc<Maildir>,
    /// Empty until the index has it.
    snapshot: Arc<Snapshot>,
    /// The message that is being read, between two pieces of it.
    reading: Option<OpenMessage>,
    /// `None`: a worker has it, which ends the session.
    lock: Option<Lock>,
}

/// Sessions that wait until a mailbox is free.
#[derive(Default)]
pub(super) struct Unlocking {
    /// The one that had it, if it is still to be told.
    quitting: Option<ConnId>,
    /// Logins, and when they came.
    logins: Vec<(ConnId, Duration)>,
}

impl Desk {
    pub(super) fn lock(&mut self, from: ConnId, mailbox: Mailbox, now: Duration) -> Option<Answer> {
        if !self.logins.allow(&mailbox, now) {
            return Some(Answer::Failed(Fault::TooSoon));
        }
        if let Some(unlocking) = self.unlocking.get_mut(&mailbox) {
            unlocking.logins.push((from, now));
            self.awaited.insert(from);
            return None;
        }
        if self.holders.contains_key(&mailbox) {
            return Some(Answer::Failed(Fault::InUse));
        }
        // Else they would take the descriptors that deliveries need.
        if self.holders.len() >= self.most_open {
            return Some(Answer::Failed(Fault::Crowded));
        }
        self.holders.insert(mailbox.clone(), from);
        self.leases.insert(from, Lease { mailbox: mailbox.clone(), since: now, open: None });
        let known = self.registry.maildir(&mailbox);
        let full = self.submit(Which::Disk, from, Task::Open { mailbox, known }, Fault::Broken);
        if full.is_some() {
            self.give_back(from);
        }
        full
    }

    /// The mailbox is locked; the registry says when its contents are known.
    pub(super) fn locked(&mut self, from: ConnId, opened: Opened) {
        let Opened { maildir, times, lock, mark } = opened;
        let Some(lease) = self.leases.get_mut(&from) else {
            return self.answer(from, Answer::Failed(Fault::Broken));
        };
        let snapshot = Arc::default();
        lease.open = Some(Open { maildir: Arc::clone(&maildir), snapshot, reading: None, lock: Some(lock) });
        self.registry.login(&lease.mailbox, &maildir, times, mark, from);
    }

    /// Nobody knows what became of a lock that was asked for.
    pub(super) fn not_locked(&mut self, from: ConnId) {
        if self.leases.get(&from).is_some_and(|lease| lease.open.is_none()) {
            self.give_back(from);
        }
    }

    pub(super) fn opened(&mut self, from: ConnId, snapshot: Arc<Snapshot>) -> Answer {
        let Some(lease) = self.leases.get_mut(&from) else { return Answer::Failed(Fault::Broken) };
        if let Some(open) = &mut lease.open {
            open.snapshot = Arc::clone(&snapshot);
        }
        self.logins.note(lease.mailbox.clone(), lease.since);
        Answer::Opened(snapshot)
    }

    pub(super) fn fetch(&mut self, id: ConnId, message: usize, from: u64) -> Option<Answer> {
        let Some(open) = self.open_of(id) else { return Some(Answer::Failed(Fault::Broken)) };
        // An open message is of use only to the RETR that opened it.
        let reading = open.reading.take().filter(|_| from > 0);
        let (maildir, snapshot) = (Arc::clone(&open.maildir), Arc::clone(&open.snapshot));
        self.submit(
            Which::Disk,
            id,
            Task::Read { maildir, snapshot, message, from, open: reading },
            Fault::Broken,
        )
    }

    pub(super) fn read(&mut self, to: ConnId, result: Result<Piece, (usize, Fault)>) -> Answer {
        match result {
            Ok(Piece { bytes, last, open: message }) => {
                if let Some(open) = self.open_of(to) {
                    open.reading = message;
                }
                Answer::Chunk { bytes, last }
            }
            Err((message, fault)) => {
                let Some(lease) = self.leases.get(&to) else { return Answer::Failed(fault) };
                let snapshot = lease.open.as_ref().map(|open| &open.snapshot);
                if let Some(wanted) = snapshot.and_then(|snapshot| snapshot.wanted(message)) {
                    self.registry.doubt(&lease.mailbox, wanted.place, wanted.name);
                }
                Answer::Failed(fault)
            }
        }
    }

    pub(super) fn update(&mut self, from: ConnId, delete: Vec<usize>, seen: Vec<usize>) -> Option<Answer> {
        let Some(Lease { mailbox, open: Some(open), .. }) = self.leases.get_mut(&from) else {
            return Some(Answer::Failed(Fault::Broken));
        };
        let (maildir, snapshot) = (Arc::clone(&open.maildir), Arc::clone(&open.snapshot));
        if delete.is_empty() && seen.is_empty() {
            self.give_back_for(from, Some(from));
            return None;
        }
        let Some(lock) = open.lock.take() else { return Some(Answer::Failed(Fault::Broken)) };
        // A message that is marked moves from one name to another.
        let names = delete.len() + 2 * seen.len();
        let unwatch = self.registry.updating(mailbox, maildir.key(), names);
        let update = Update { maildir, snapshot, delete, seen, unwatch, lock };
        self.submit(Which::Disk, from, Task::Update(Box::new(update)), Fault::Broken)
    }

    /// The lock of a mailbox comes back from a job that could not be queued.
    pub(super) fn still_locked(&mut self, id: ConnId, lock: Lock) {
        if let Some(open) = self.open_of(id) {
            open.lock = Some(lock);
        }
    }

    /// Clients come back at once: the index knows and the mailbox is free before the reply to QUIT leaves.
    pub(super) fn updated(&mut self, to: ConnId, done: registry::Done, result: Result<(), Fault>) -> Answer {
        let held = self.leases.get(&to).map(|lease| lease.mailbox.clone());
        if let Some(mailbox) = held.filter(|_| self.changes.is_some()) {
            for (place, name) in &done.gone {
                self.note(to, "deleted", &mailbox, (*place, name));
            }
            // The old name of a file stands there too.
            let is_seen = |name: &[u8]| name::flags(name).contains(&b'S');
            for (place, name) in done.touched.iter().filter(|(_, name)| is_seen(name)) {
                self.note(to, "seen", &mailbox, (*place, name));
            }
        }
        if let Some(Lease { mailbox, open: Some(open), .. }) = self.leases.get(&to) {
            self.registry.updated(mailbox, open.maildir.key(), done);
            self.tally.forget(&mailbox.clone().whole());
        }
        self.give_back(to);
        result.map_or_else(Answer::Failed, |()| Answer::Updated)
    }

    pub(super) fn open_of(&mut self, id: ConnId) -> Option<&mut Open> {
        self.leases.get_mut(&id)?.open.as_mut()
    }

    pub(super) fn give_back(&mut self, id: ConnId) {
        self.give_back_for(id, None);
    }

    /// The session `quitting` is told when the mailbox is free.
    fn give_back_for(&mut self, id: ConnId, quitting: Option<ConnId>) {
        let Some(Lease { mailbox, open, .. }) = self.leases.remove(&id) else { return };
        self.awaited.extend(quitting);
        self.unlocking.insert(mailbox.clone(), Unlocking { quitting, logins: Vec::new() });
        let Some(open) = open else { return self.unlocked(&mailbox) };
        self.registry.logout(&mailbox);
        let Some(lock) = open.lock else { return self.unlocked(&mailbox) };
        let unlock = Unlock::new(mailbox, lock, open.reading, self.returns.clone());
        // If the queue is full, the end of the job closes the files.
        let _ = self.disk.submit(Job { to: To::Desk, task: Task::Unlock(OffLoop::new(Box::new(unlock))) });
    }

    /// The lock of a mailbox is closed.
    pub(super) fn unlocked(&mut self, mailbox: &Mailbox) {
        self.holders.remove(mailbox);
        let Unlocking { quitting, logins } = self.unlocking.remove(mailbox).unwrap_or_default();
        if let Some(id) = quitting {
            self.answer(id, Answer::Updated);
        }
        for (id, since) in logins {
            let refused = if self.left.contains(&id) {
                Some(Answer::Failed(Fault::InUse)) // it is gone, and hears nothing
            } else {
                self.awaited.remove(&id);
                self.lock(id, mailbox.clone(), since)
            };
            if let Some(answer) = refused {
                self.answer(id, answer);
            }
        }
    }
}
