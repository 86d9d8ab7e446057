//! The fate of each letter, as far as the reports of the programs show it.

use std::collections::{BTreeMap, BTreeSet};

/// Progress of the removal of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Change {
    /// No program asked for it.
    #[default]
    No,
    /// By a program that does not say whether it did it, or by a session that did not end well.
    Perhaps,
    /// Confirmed at the end of a POP3 session.
    Yes,
}

#[derive(Debug, Default)]
struct Entry {
    removed: Change,
    /// Programs that were about to put it away.
    movers: BTreeSet<&'static str>,
    reads: usize,
    uid: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    letters: BTreeMap<String, Entry>,
    deeds: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Ledger {
    /// A letter is about to be sent.
    pub(crate) fn send(&mut self, id: &str) {
        self.letters.insert(id.to_owned(), Entry::default());
    }

    /// The number of letters that no program has removed.
    pub(crate) fn there(&self) -> usize {
        self.letters.values().filter(|entry| entry.removed == Change::No).count()
    }

    /// A program has read a letter, or octets that are none.
    pub(crate) fn read(&mut self, by: &str, letter: Result<String, String>) -> Option<String> {
        let entry = letter.and_then(|id| match self.letters.get_mut(&id) {
            Some(entry) => Ok((id, entry)),
            None => Err(format!("{id} was never sent")),
        });
        match entry {
            Ok((id, entry)) => {
                entry.reads += 1;
                Some(id)
            }
            Err(why) => {
                self.wrong(format!("{by}: {why}"));
                None
            }
        }
    }

    /// The unique id that a letter has now.
    pub(crate) fn uid(&mut self, id: &str, uid: &str) {
        let Some(entry) = self.letters.get_mut(id) else { return };
        match &entry.uid {
            Some(before) if before != uid => {
                let why = format!("{id} was {before}, and is {uid}");
                self.wrong(why);
            }
            _ => entry.uid = Some(uid.to_owned()),
        }
    }

    /// A program has removed a letter that it has read.
    pub(crate) fn removed(&mut self, by: &str, id: &str, change: Change) {
        let Some(entry) = self.letters.get_mut(id) else { return };
        match (entry.removed, change) {
            (Change::Yes, Change::Yes) => self.wrong(format!("{by}: {id} came back after it was deleted")),
            (Change::Yes, _) => {}
            _ => entry.removed = change,
        }
    }

    /// A program is about to put a letter away. Dovecot moves one by a link in the other folder, and then removes the first
    /// name. A program that moves the letter between the two leaves a second name there. Therefore each program may put a
    /// letter away once.
    pub(crate) fn moves(&mut self, by: &'static str, id: &str) {
        if let Some(entry) = self.letters.get_mut(id) {
            entry.movers.insert(by);
        }
    }

    pub(crate) fn did(&mut self, by: &str) {
        *self.deeds.entry(by.to_owned()).or_default() += 1;
    }

    /// A program did something, or failed where it must not.
    pub(crate) fn done(&mut self, by: &str, well: bool, said: impl FnOnce() -> String) {
        if well { self.did(by) } else { self.wrong(format!("{by}: {}", said())) }
    }

    pub(crate) fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Compares with the letters left in the mailbox and those put away from there; returns all
    /// faults.
    pub(crate) fn judge(&self, left: &BTreeSet<String>, archived: Vec<String>) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        let mut away: BTreeMap<String, usize> = BTreeMap::new();
        for id in archived {
            *away.entry(id).or_default() += 1;
        }
        for (id, times) in &away {
            let movers = self.letters.get(id).map_or(0, |entry| entry.movers.len());
            if *times > movers {
                wrong.push(format!("{id} was put away {times} times by {movers} programs"));
            }
        }
        wrong.extend(
            left.iter().filter(|id| !self.letters.contains_key(*id)).map(|id| format!("{id} was never sent")),
        );
        for (id, Entry { removed, reads, .. }) in &self.letters {
            let why = match (removed, left.contains(id), away.contains_key(id)) {
                (_, true, true) => "doubled: here and put away",
                (Change::Yes, true, _) => "deleted, and still there",
                (Change::No, false, false) => "lost",
                (Change::Perhaps, false, false) if *reads == 0 => "lost: nobody has read it",
                _ => continue,
            };
            wrong.push(format!("{id} is {why}"));
        }
        wrong
    }

    /// The first of `everybody` that did nothing.
    pub(crate) fn idle<'a>(&self, everybody: &[&'a str]) -> Option<&'a str> {
        everybody.iter().copied().find(|who| !self.deeds.contains_key(*who))
    }

    pub(crate) fn summary(&self, left: usize) -> String {
        let removed = |change| self.letters.values().filter(|entry| entry.removed == change).count();
        let deeds: Vec<String> = self.deeds.iter().map(|(who, times)| format!("{who} {times}")).collect();
        format!(
            "{} letters: {} deleted over POP3, {} deleted or moved beside it, {left} left; turns: {}",
            self.letters.len(),
            removed(Change::Yes),
            removed(Change::Perhaps),
            deeds.join(", ")
        )
    }
}
