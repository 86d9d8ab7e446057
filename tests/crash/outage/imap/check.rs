//! The check after an outage by IMAP: the folders and the messages of each user against the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::super::{
    Wrong,
    check::list,
    ledger::{Change as Filed, Ledger},
    letters::{Letters, find_in},
};
use super::{
    SHARED,
    ledger::{Change, Place, Slot, User, renamed},
    mailbox,
    wire::{Fetched, ImapWire},
    writer::set,
};

/// The state of the check of one user.
struct Look<'a> {
    name: String,
    spool: &'a Path,
    user: &'a mut User,
    mail: &'a mut Ledger,
    letters: &'a Letters,
    wrong: Vec<Wrong>,
}

/// Compares all users with their ledgers, and settles these: each open change now has the state that
/// the server reports. A fault of a user brings the last commands of the user's sessions, and a lost letter its places in `spool`.
pub(crate) fn check(
    (address, spool): (SocketAddr, &Path),
    users: &[Mutex<User>],
    mail: &mut Ledger,
    letters: &Letters,
) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let user = &mut *user.lock().unwrap();
        let mut look = Look { name: mailbox(number), spool, user, mail, letters, wrong: Vec::new() };
        if let Err(error) = look.run(address) {
            look.told("IMAP fails", &error.to_string());
        }
        let sessions = std::mem::take(&mut look.user.history).map(|lines| lines.join("\n      "));
        if let Some(last) = look.wrong.last_mut() {
            last.text += &format!(
                "; the last commands:\n      {}",
                sessions.join("\n      and beside these:\n      ")
            );
        }
        wrong.append(&mut look.wrong);
    }
    wrong
}

impl Look<'_> {
    fn told(&mut self, what: &'static str, text: &str) {
        self.wrong.push(Wrong::new(what, format!("{}: {text}", self.name)));
    }

    fn note(&mut self, result: Result<(), Wrong>) {
        if let Err(wrong) = result {
            self.told(wrong.what, &wrong.text);
        }
    }

    fn run(&mut self, address: SocketAddr) -> io::Result<()> {
        let mut wire = ImapWire::login(address, &self.name)?;
        let listed = wire.command("LIST \"\" \"*\"")?.untagged;
        let names =
            listed.iter().filter_map(|line| line.text.rsplit_once(' ')).map(|(_, name)| name.to_owned());
        let names: BTreeSet<String> = names.collect();
        self.folders(&names);
        let mut found: BTreeMap<Place, Vec<Fetched>> = BTreeMap::new();
        for folder in self.user.folders.keys().cloned().collect::<Vec<_>>() {
            self.folder(&mut wire, &folder, &mut found)?;
        }
        self.messages(&mut found);
        self.tidy(&mut wire)
    }

    /// Compares the names of the folders.
    fn folders(&mut self, names: &BTreeSet<String>) {
        for number in 0..self.user.pending.len() {
            match self.user.pending[number].clone() {
                Some(Change::Create { folders }) => {
                    let made =
                        folders.into_iter().filter(|name| names.contains(name)).map(|name| (name, None));
                    self.user.folders.extend(made);
                }
                Some(Change::Delete { folder }) if !names.contains(&folder) => self.user.delete(&folder),
                Some(Change::Rename { from, to }) => {
                    let of =
                        |name: &str| names.iter().filter(|other| renamed(other, name, "").is_some()).count();
                    match (of(&from), of(&to)) {
                        (_, 0) => {}
                        (0, _) => self.user.rename(&from, &to),
                        both => self.told("renamed in part", &format!("{from} to {to}: {both:?}")),
                    }
                }
                _ => {}
            }
        }
        let known: BTreeSet<String> = self.user.folders.keys().cloned().collect();
        for lost in known.difference(names) {
            self.told("folder lost", lost);
            self.user.delete(lost);
        }
        for back in names.difference(&known).filter(|name| !SPECIAL.contains(&name.as_str())) {
            self.told("folder back again", back);
            self.user.folders.insert(back.clone(), None);
        }
    }

    /// Reads a folder.
    fn folder(
        &mut self,
        wire: &mut ImapWire,
        folder: &str,
        found: &mut BTreeMap<Place, Vec<Fetched>>,
    ) -> io::Result<()> {
        let selected = wire.select(folder)?;
        let validity = selected.validity;
        let results =
            [self.user.told_validity(folder, validity), self.user.told_modseq(validity, selected.modseq)];
        results.into_iter().for_each(|result| self.note(result));
        let reply = wire.command("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])")?;
        for message in reply.fetched() {
            match self.identify(&message.octets) {
                Ok(id) => {
                    let result = self.user.told_uid((validity, message.uid), &id);
                    self.note(result);
                    found.entry((folder.to_owned(), id)).or_default().push(message);
                }
                Err((what, why)) => self.told(what, &format!("{folder}, UID {}: {why}", message.uid)),
            }
        }
        let largest = self.user.largest_uid(validity);
        if selected.uid_next <= largest {
            let text = format!("{folder}: UIDNEXT {}, and {largest} was given", selected.uid_next);
            self.told("UID to be given twice", &text);
        }
        Ok(())
    }

    /// The id of a letter, which must be whole.
    fn identify(&mut self, octets: &[u8]) -> Result<String, (&'static str, String)> {
        let Some((id, at)) = find_in(octets) else {
            return Err(("damaged", format!("{} octets, and no letter", octets.len())));
        };
        let appended = self.user.pending.iter().flatten().filter_map(|change| match change {
            Change::Append { to, slot } if to.1 == id => Some(&slot.letter),
            _ => None,
        });
        let held = self.user.slots.iter().filter(|((_, of), _)| of == id).map(|(_, slot)| &slot.letter);
        let known = appended.chain(held).next().cloned();
        let known = known.or_else(|| Some(self.mail.entry(&self.name, id)?.letter.clone()));
        let Some(letter) = known else { return Err(("back again", id.to_owned())) };
        let is_whole = self.letters.plain(&letter) == octets[at..];
        is_whole.then(|| id.to_owned()).ok_or_else(|| ("damaged", id.to_owned()))
    }

    /// Compares the messages, and settles the ledger.
    fn messages(&mut self, found: &mut BTreeMap<Place, Vec<Fetched>>) {
        let before = std::mem::take(&mut self.user.slots);
        let arrivals = self.arrivals(&before);
        let pending = self.user.pending.clone();
        for ((folder, id), messages) in found.iter().filter(|(_, messages)| messages.len() > 1) {
            let uids: Vec<u32> = messages.iter().map(|message| message.uid).collect();
            self.told("doubled", &format!("{folder}: {id}: {uids:?}"));
        }
        for (place, slot) in before {
            let open = pending.get(slot.owner).and_then(Option::as_ref);
            let message = found.remove(&place).and_then(|mut messages| messages.pop());
            if let Some(what) = broken_rule(&place, &slot, open, message.as_ref(), found) {
                let now = message.as_ref().map(brief);
                let files = places_on_disk(&self.spool.join(&self.name), &place.1);
                self.told(
                    what,
                    &format!("{place:?}: {now:?}, was {slot:?}; open: {open:?}; files: {files:?}"),
                );
            }
            if let Some(message) = message {
                let has_lasting_uid = slot.has_lasting_uid && slot.uid == message.uid;
                self.settle(place, Slot { has_lasting_uid, ..slot }, message);
            }
        }
        for (place, slot) in arrivals {
            let Some(message) = found.remove(&place).and_then(|mut messages| messages.pop()) else {
                continue;
            };
            if message.flags != slot.flags || slot.date.as_ref().is_some_and(|date| *date != message.date) {
                self.told("other flags or date", &format!("{place:?}: {:?}, was {slot:?}", brief(&message)));
            }
            self.settle(place, Slot { has_lasting_uid: false, ..slot }, message);
        }
        self.user.pending = Default::default();
        self.deliveries(found);
    }

    fn settle(&mut self, place: Place, slot: Slot, message: Fetched) {
        let Fetched { uid, flags, date, .. } = message;
        self.user.slots.insert(place, Slot { uid, flags, date: Some(date), ..slot });
    }

    /// The letters that open changes may have brought into other folders.
    fn arrivals(&self, before: &BTreeMap<Place, Slot>) -> Vec<(Place, Slot)> {
        let mut arrivals = Vec::new();
        for change in self.user.pending.iter().flatten() {
            match change {
                Change::Append { to, slot } => arrivals.push((to.clone(), slot.clone())),
                Change::Copy { from, to, ids } | Change::Move { from, to, ids } => {
                    let slot = |id: &String| before.get(&(from.clone(), id.clone())).cloned();
                    arrivals.extend(ids.iter().filter_map(|id| Some(((to.clone(), id.clone()), slot(id)?))));
                }
                _ => {}
            }
        }
        arrivals
    }

    /// Compares the letters of INBOX that no session has taken over.
    fn deliveries(&mut self, found: &mut BTreeMap<Place, Vec<Fetched>>) {
        let mut wrong = Vec::new();
        for (id, entry) in self.mail.of(&self.name) {
            let is_there = found.remove(&("INBOX".to_owned(), id.clone())).is_some();
            match is_there {
                false if entry.must_be_there() => wrong.push(("lost", id.clone())),
                true if !entry.may_be_there() => wrong.push(("back again", id.clone())),
                _ => {}
            }
            (entry.filed, entry.removed) =
                if is_there { (Filed::Yes, Filed::No) } else { (Filed::Yes, Filed::Yes) };
        }
        wrong.into_iter().for_each(|(what, id)| self.told(what, &id));
        for (place, messages) in std::mem::take(found) {
            self.told(
                "back again",
                &format!("{place:?}: {:?}", messages.iter().map(brief).collect::<Vec<_>>()),
            );
        }
    }

    /// Removes letters from folders that have many of them.
    fn tidy(&mut self, wire: &mut ImapWire) -> io::Result<()> {
        for folder in SHARED {
            let there: Vec<(Place, u32)> = self
                .user
                .slots
                .iter()
                .filter(|((of, _), _)| of == folder)
                .map(|(place, slot)| (place.clone(), slot.uid))
                .collect();
            if there.len() <= MOST_LETTERS {
                continue;
            }
            let gone = &there[..there.len() / 2];
            let uids = set(gone.iter().map(|(_, uid)| *uid));
            wire.select(folder)?;
            wire.command(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)"))?;
            wire.command(&format!("UID EXPUNGE {uids}"))?;
            gone.iter().for_each(|(place, _)| drop(self.user.slots.remove(place)));
        }
        Ok(())
    }
}

/// The rule that a letter breaks, if it does.
fn broken_rule(
    (folder, id): &Place,
    slot: &Slot,
    open: Option<&Change>,
    message: Option<&Fetched>,
    found: &BTreeMap<Place, Vec<Fetched>>,
) -> Option<&'static str> {
    let Some(message) = message else {
        return match open {
            Some(Change::Expunge { folder: of, ids }) if of == folder && ids.contains(id) => None,
            Some(Change::Move { from, to, ids }) if from == folder && ids.contains(id) => {
                let is_there = found.contains_key(&(to.clone(), id.clone()));
                (!is_there).then_some("lost by MOVE")
            }
            _ => Some("lost"),
        };
    };
    if let Some(Change::Move { from, to, ids }) = open
        && from == folder
        && ids.contains(id)
        && found.contains_key(&(to.clone(), id.clone()))
    {
        return Some("doubled by MOVE");
    }
    let stored = match open {
        Some(Change::Store { folder: of, flags }) if of == folder => flags.get(id),
        _ => None,
    };
    if message.flags != slot.flags && stored != Some(&message.flags) {
        return Some("other flags");
    }
    if slot.date.as_ref().is_some_and(|date| *date != message.date) {
        return Some("other date");
    }
    (slot.has_lasting_uid && slot.uid != message.uid).then_some("other UID")
}

/// The files of a mailbox that have that letter, in any folder.
fn places_on_disk(mailbox: &Path, id: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(mailbox).into_iter().flatten().flatten().map(|entry| entry.path());
    let directories = folders
        .chain([mailbox.to_owned()])
        .flat_map(|folder| ["", "new", "cur", "tmp"].map(|name| folder.join(name)));
    let files = directories.flat_map(|directory| list(&directory));
    files
        .filter(|file| fs::read(file).is_ok_and(|text| find_in(&text).is_some_and(|(of, _)| of == id)))
        .collect()
}

/// A message without its octets.
fn brief(message: &Fetched) -> (u32, &BTreeSet<String>, &str) {
    (message.uid, &message.flags, &message.date)
}

/// Folders that the server makes for a use, beside the shared ones.
const SPECIAL: [&str; 3] = ["Drafts", "Junk", "Sent"];
/// Letters of a folder above which half of them go.
const MOST_LETTERS: usize = 80;
