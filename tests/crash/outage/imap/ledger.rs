//! The promises of the server to the sessions of one user. A session makes one change at a time, so of each session at
//! most one change may have happened in part.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::{Wrong, letters::Letter, load::Focus};
use super::{SHARED, WRITERS};

/// A folder, and the id of a letter that is there.
pub(crate) type Place = (String, String);

/// A letter in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) letter: Letter,
    /// The session whose letter it is.
    pub(crate) owner: usize,
    pub(crate) uid: u32,
    /// Whether APPENDUID or COPYUID has reported the UID, so that it stays.
    pub(crate) has_lasting_uid: bool,
    pub(crate) flags: BTreeSet<String>,
    /// The internal date, if it is known.
    pub(crate) date: Option<String>,
}

/// A change that is asked for, and not confirmed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Append { to: Place, slot: Slot },
    Store { folder: String, flags: BTreeMap<String, BTreeSet<String>> },
    Copy { from: String, to: String, ids: Vec<String> },
    Move { from: String, to: String, ids: Vec<String> },
    Expunge { folder: String, ids: Vec<String> },
    Create { folders: Vec<String> },
    Delete { folder: String },
    Rename { from: String, to: String },
}

impl Change {
    fn kind(&self) -> Focus {
        match self {
            Self::Append { .. } => Focus::Append,
            Self::Store { .. } => Focus::Store,
            Self::Copy { .. } => Focus::Copy,
            Self::Move { .. } => Focus::Move,
            Self::Expunge { .. } => Focus::Expunge,
            Self::Create { .. } | Self::Delete { .. } | Self::Rename { .. } => Focus::Folders,
        }
    }
}

/// The folders and the letters of a user.
#[derive(Debug, Default)]
pub(crate) struct User {
    /// The folders, each with its UID validity once the server has reported it.
    pub(crate) folders: BTreeMap<String, Option<u32>>,
    pub(crate) slots: BTreeMap<Place, Slot>,
    pub(crate) pending: [Option<Change>; WRITERS],
    /// The letter of each UID that a client has seen, by UID validity.
    uids: HashMap<(u32, u32), String>,
    /// The highest modification sequence that a client has seen.
    modseqs: HashMap<u32, u64>,
    /// Confirmed changes, by their kind.
    pub(crate) confirmed: BTreeMap<Focus, usize>,
    /// The last commands of each session and the results, for the report of a fault.
    pub(crate) history: [Vec<String>; WRITERS],
}

impl User {
    pub(crate) fn new() -> Self {
        Self { folders: SHARED.iter().map(|name| ((*name).to_owned(), None)).collect(), ..Self::default() }
    }

    /// Notes the UID of a letter; an error if another letter had it before.
    pub(crate) fn told_uid(&mut self, (validity, uid): (u32, u32), id: &str) -> Result<(), Wrong> {
        let before = self.uids.entry((validity, uid)).or_insert_with(|| id.to_owned());
        if before == id {
            return Ok(());
        }
        Err(Wrong::new("UID given twice", format!("{uid} of {validity}: first {before}, now {id}")))
    }

    /// Notes the UID validity of a folder; an error if it has changed.
    pub(crate) fn told_validity(&mut self, folder: &str, validity: u32) -> Result<(), Wrong> {
        let Some(known) = self.folders.get_mut(folder) else { return Ok(()) };
        match *known.get_or_insert(validity) {
            before if before == validity => Ok(()),
            before => {
                *known = Some(validity);
                Err(Wrong::new("other UID validity", format!("{folder}: first {before}, now {validity}")))
            }
        }
    }

    /// Notes the highest modification sequence of a folder; an error if it goes back.
    pub(crate) fn told_modseq(&mut self, validity: u32, modseq: u64) -> Result<(), Wrong> {
        let before = self.modseqs.entry(validity).or_default();
        if modseq >= *before {
            *before = modseq;
            return Ok(());
        }
        Err(Wrong::new(
            "modification sequence goes back",
            format!("{validity}: first {before}, now {modseq}"),
        ))
    }

    /// The largest UID of a folder that a client has seen.
    pub(crate) fn largest_uid(&self, validity: u32) -> u32 {
        self.uids.keys().filter(|(of, _)| *of == validity).map(|(_, uid)| *uid).max().unwrap_or(0)
    }

    /// The change of a session is confirmed, with these UIDs by the id of the letter.
    pub(crate) fn confirm(&mut self, writer: usize, uids: &HashMap<String, u32>) {
        let change = self.pending[writer].take();
        if let Some(change) = &change {
            *self.confirmed.entry(change.kind()).or_default() += 1;
        }
        match change {
            None => {}
            Some(Change::Append { to, slot }) => {
                let told = uids.get(&to.1).copied();
                let (uid, has_lasting_uid) = (told.unwrap_or(0), told.is_some());
                self.slots.insert(to, Slot { uid, has_lasting_uid, ..slot });
            }
            Some(Change::Store { folder, flags }) => {
                for (id, flags) in flags {
                    self.slots.entry((folder.clone(), id)).and_modify(|slot| slot.flags = flags);
                }
            }
            Some(Change::Copy { from, to, ids }) => self.transfer((&from, &to), &ids, false, uids),
            Some(Change::Move { from, to, ids }) => self.transfer((&from, &to), &ids, true, uids),
            Some(Change::Expunge { folder, ids }) => {
                for id in ids {
                    self.slots.remove(&(folder.clone(), id));
                }
            }
            Some(Change::Create { folders }) => folders.into_iter().for_each(|name| {
                self.folders.entry(name).or_default();
            }),
            Some(Change::Delete { folder }) => self.delete(&folder),
            Some(Change::Rename { from, to }) => self.rename(&from, &to),
        }
    }

    fn transfer(
        &mut self,
        (from, to): (&str, &str),
        ids: &[String],
        is_move: bool,
        uids: &HashMap<String, u32>,
    ) {
        for id in ids {
            let place = (from.to_owned(), id.clone());
            let slot = if is_move { self.slots.remove(&place) } else { self.slots.get(&place).cloned() };
            let Some(slot) = slot else { continue };
            let told = uids.get(id).copied();
            let (uid, has_lasting_uid) = (told.unwrap_or(0), told.is_some());
            self.slots.insert((to.to_owned(), id.clone()), Slot { uid, has_lasting_uid, ..slot });
        }
    }

    pub(crate) fn delete(&mut self, folder: &str) {
        self.folders.remove(folder);
        self.slots.retain(|(of, _), _| of != folder);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let folders = std::mem::take(&mut self.folders).into_iter();
        self.folders =
            folders.map(|(name, known)| (renamed(&name, from, to).unwrap_or(name), known)).collect();
        let slots = std::mem::take(&mut self.slots).into_iter();
        let slots = slots.map(|((of, id), slot)| ((renamed(&of, from, to).unwrap_or(of), id), slot));
        self.slots = slots.collect();
    }

    /// The letters of a session in a folder.
    pub(crate) fn letters_of<'a>(
        &'a self,
        writer: usize,
        folder: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Slot)> {
        let there = self.slots.iter().filter(move |((of, _), slot)| of == folder && slot.owner == writer);
        there.map(|((_, id), slot)| (id.as_str(), slot))
    }
}

/// The new name of a folder, if it is the renamed one or below that.
pub(crate) fn renamed(name: &str, from: &str, to: &str) -> Option<String> {
    let rest = name.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
}
