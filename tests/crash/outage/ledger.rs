//! The promises of the server, mailbox by mailbox. An entry is made before the server can know the letter,
//! and a request is noted before it is sent: at any moment the ledger allows every state that the disk may
//! have.

use std::collections::HashMap;

use super::letters::Letter;

/// Progress of a change of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Change {
    /// No client asked for it.
    #[default]
    No,
    /// Asked for and not confirmed: it may have happened.
    Perhaps,
    /// Confirmed: it stays so.
    Yes,
}

/// One letter in one mailbox.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) letter: Letter,
    pub(crate) filed: Change,
    pub(crate) removed: Change,
    pub(crate) seen: Change,
}

impl Entry {
    pub(crate) fn must_be_there(&self) -> bool {
        self.filed == Change::Yes && self.removed == Change::No
    }

    pub(crate) fn may_be_there(&self) -> bool {
        self.removed != Change::Yes
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: HashMap<String, HashMap<String, Entry>>,
    /// Letters that were answered with 250.
    pub(crate) accepted: usize,
    /// Deletions that were confirmed at QUIT.
    pub(crate) deleted: usize,
    /// Letters that were answered with something else than 250.
    pub(crate) refused: usize,
}

impl Ledger {
    pub(crate) fn entry(&mut self, mailbox: &str, id: &str) -> Option<&mut Entry> {
        self.entries.get_mut(mailbox)?.get_mut(id)
    }

    pub(crate) fn of(&mut self, mailbox: &str) -> &mut HashMap<String, Entry> {
        self.entries.entry(mailbox.to_owned()).or_default()
    }

    pub(crate) fn mailboxes(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    /// Forgets a mailbox that the test has removed.
    pub(crate) fn forget(&mut self, mailbox: &str) {
        self.entries.remove(mailbox);
    }

    /// A letter is about to get its final dot.
    pub(crate) fn send(&mut self, letter: &Letter, to: &[String]) {
        for mailbox in to {
            let (letter, no) = (letter.clone(), Change::No);
            let entry = Entry { letter, filed: Change::Perhaps, removed: no, seen: no };
            self.of(mailbox).insert(entry.letter.id.clone(), entry);
        }
    }

    /// The reply to the final dot.
    pub(crate) fn answered(&mut self, letter: &Letter, to: &[String], accepted: bool) {
        if !accepted {
            self.refused += 1;
            return;
        }
        self.accepted += 1;
        for mailbox in to {
            if let Some(entry) = self.entry(mailbox, &letter.id) {
                entry.filed = Change::Yes;
            }
        }
    }

    /// QUIT is about to be sent (`Perhaps`), or was confirmed (`Yes`).
    pub(crate) fn quit(&mut self, mailbox: &str, deleted: &[String], read: &[String], change: Change) {
        if change == Change::Yes {
            self.deleted += deleted.len();
        }
        for id in deleted {
            if let Some(entry) = self.entry(mailbox, id) {
                entry.removed = change;
            }
        }
        for id in read {
            if let Some(entry) = self.entry(mailbox, id).filter(|entry| entry.seen != Change::Yes) {
                entry.seen = change;
            }
        }
    }
}
