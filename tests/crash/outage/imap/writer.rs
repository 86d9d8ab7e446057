//! A session that changes messages and folders: its own letters, beside other sessions of the same user and the deliveries.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::MutexGuard,
};

use super::super::{
    Dice, Wrong,
    ledger::Change as Filed,
    load::{Focus, Load},
};
use super::{
    SHARED, USERS, WRITERS,
    ledger::{Change, Slot, User, renamed},
    mailbox,
    wire::ImapWire,
};

pub(crate) struct Writer<'a> {
    load: &'a Load<'a>,
    user: usize,
    /// Its number among the sessions of the user.
    number: usize,
    wire: ImapWire,
    selected: Option<String>,
    dice: Dice,
}

impl<'a> Writer<'a> {
    /// Logs in. The number is that among all writers.
    pub(crate) fn login(load: &'a Load<'a>, number: usize, dice: Dice) -> io::Result<Self> {
        let (user, number) = (number % USERS, number / USERS % WRITERS);
        let wire = ImapWire::login(load.addresses.imap, &mailbox(user))?;
        Ok(Self { load, user, number, wire, selected: None, dice })
    }

    /// Makes changes until the load stops, or the server refuses one.
    pub(crate) fn run(&mut self, focus: Option<Focus>) -> io::Result<()> {
        let done = self.make_changes(focus);
        self.ledger().history[self.number] = self.wire.history();
        done
    }

    fn make_changes(&mut self, focus: Option<Focus>) -> io::Result<()> {
        while !self.load.stopped() {
            let any = self.dice.below(KINDS.len());
            let kind = focus.filter(|_| !self.dice.one_in(32)).unwrap_or(KINDS[any]);
            self.change(kind)?;
        }
        Ok(())
    }

    fn change(&mut self, kind: Focus) -> io::Result<()> {
        let held = self.ledger().slots.values().filter(|slot| slot.owner == self.number).count();
        match kind {
            _ if held > MOST_LETTERS => self.expunge(),
            Focus::Append => self.append(),
            Focus::Store => self.store(),
            Focus::Copy => self.transfer(false),
            Focus::Move => self.transfer(true),
            Focus::Expunge => self.expunge(),
            Focus::Folders => match self.dice.below(3) {
                0 => self.create(),
                1 => self.rename(),
                _ => self.delete(),
            },
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let id = format!("i{}-{}-{:x}", self.load.cycle, self.number, self.dice.next());
        let letter = self.load.letters.draw_up_to(SHORT, id.clone(), &mut self.dice);
        let (folder, flags) = (self.any_folder(), self.any_flags());
        let date = self.dice.one_in(2).then(|| {
            let (day, second) = (10 + self.dice.below(20), self.dice.below(60));
            format!("{day}-Jul-2019 02:44:{second:02} +0000")
        });
        let octets = self.load.letters.plain(&letter);
        let list: Vec<&str> = flags.iter().map(String::as_str).collect();
        let quoted = date.as_ref().map(|date| format!("\"{date}\"")).unwrap_or_default();
        let command = format!("APPEND {folder} ({}) {quoted}", list.join(" "));
        let slot = Slot { letter, owner: self.number, uid: 0, has_lasting_uid: false, flags, date };
        self.begin(Change::Append { to: (folder.clone(), id.clone()), slot });
        let reply = self.wire.append(command.trim_end(), &octets);
        let reply = self.answered(reply)?;
        let told = reply.append_uid().map(|(validity, uid)| (validity, vec![(uid, id)]));
        self.arrived(&folder, told, &command)
    }

    fn store(&mut self) -> io::Result<()> {
        let Some((folder, ids)) = self.pick()? else { return self.append() };
        let flags = self.any_flags();
        let (sign, how) = [("", 0), ("+", 1), ("-", 2)][self.dice.below(3)];
        let after = |now: &BTreeSet<String>| match how {
            0 => flags.clone(),
            1 => now.union(&flags).cloned().collect(),
            _ => now.difference(&flags).cloned().collect(),
        };
        self.store_flags(&folder, &ids, (sign, &flags), after)
    }

    fn store_flags(
        &mut self,
        folder: &str,
        ids: &[String],
        (sign, flags): (&str, &BTreeSet<String>),
        after: impl Fn(&BTreeSet<String>) -> BTreeSet<String>,
    ) -> io::Result<()> {
        let (mut wanted, mut changed) = (BTreeMap::new(), BTreeMap::new());
        for (id, slot) in
            self.ledger().letters_of(self.number, folder).filter(|(id, _)| ids.iter().any(|of| of == id))
        {
            let flags = after(&slot.flags);
            wanted.insert(slot.uid, flags.clone());
            changed.insert(id.to_owned(), flags);
        }
        let uids = set(wanted.keys().copied());
        self.begin(Change::Store { folder: folder.to_owned(), flags: changed });
        let list: Vec<&str> = flags.iter().map(String::as_str).collect();
        let command = format!("UID STORE {uids} {sign}FLAGS ({})", list.join(" "));
        let reply = self.wire.command(&command);
        let told = self.answered(reply)?.flags();
        // OK to UID STORE promises nothing of a UID that no response names (RFC 9051 section 6.4.9).
        if let Some((uid, flags)) = wanted.iter().find(|(uid, flags)| told.get(uid) != Some(*flags)) {
            let text = format!("{command}: UID {uid} has {:?}, wanted {flags:?}", told.get(uid));
            if !self.load.is_ending() {
                self.load.note(Wrong::new("STORE not done", &text));
            }
            return Err(io::Error::other(text));
        }
        self.ledger().confirm(self.number, &HashMap::new());
        Ok(())
    }

    /// COPY or MOVE.
    fn transfer(&mut self, is_move: bool) -> io::Result<()> {
        let Some((from, mut ids)) = self.pick()? else { return self.append() };
        let to = self.any_folder();
        let pairs: Vec<(u32, String)> = {
            let ledger = self.ledger();
            ids.retain(|id| !ledger.slots.contains_key(&(to.clone(), id.clone())));
            ids.iter().map(|id| (ledger.slots[&(from.clone(), id.clone())].uid, id.clone())).collect()
        };
        if ids.is_empty() {
            return self.append();
        }
        let uids = set(pairs.iter().map(|(uid, _)| *uid));
        let (word, change) = match is_move {
            true => ("MOVE", Change::Move { from, to: to.clone(), ids }),
            false => ("COPY", Change::Copy { from, to: to.clone(), ids }),
        };
        self.begin(change);
        let command = format!("UID {word} {uids} {to}");
        let reply = self.wire.command(&command);
        let reply = self.answered(reply)?;
        let id_of = |uid: u32| pairs.iter().find(|(from, _)| *from == uid).map(|(_, id)| id.clone());
        let told = reply.copy_uids().map(|(validity, copied)| {
            (validity, copied.iter().filter_map(|(from, to)| Some((*to, id_of(*from)?))).collect())
        });
        let told = told.filter(|(_, told): &(u32, Vec<_>)| told.len() == pairs.len());
        self.arrived(&to, told, &command)
    }

    /// Confirms that letters are in a folder, with the UIDs that the server reports. After the end has begun it may
    /// report none, because a disk without power keeps no UIDs.
    fn arrived(
        &mut self,
        folder: &str,
        told: Option<(u32, Vec<(u32, String)>)>,
        command: &str,
    ) -> io::Result<()> {
        match &told {
            Some((validity, uids)) => self.told(folder, *validity, uids),
            None if self.load.is_ending() => {}
            None => self.load.note(Wrong::new("no UID", command)),
        }
        let uids = told.map(|(_, uids)| uids).unwrap_or_default();
        let uids: HashMap<String, u32> = uids.into_iter().map(|(uid, id)| (id, uid)).collect();
        self.ledger().confirm(self.number, &uids);
        Ok(())
    }

    /// Marks letters as deleted, and removes them.
    fn expunge(&mut self) -> io::Result<()> {
        let Some((folder, ids)) = self.pick()? else { return self.append() };
        let deleted = BTreeSet::from(["\\Deleted".to_owned()]);
        self.store_flags(&folder, &ids, ("+", &deleted), |now| now.union(&deleted).cloned().collect())?;
        let is_private = !SHARED.contains(&folder.as_str());
        let (ids, uids) = {
            let ledger = self.ledger();
            let marked: Vec<(&str, &Slot)> = ledger
                .letters_of(self.number, &folder)
                .filter(|(id, slot)| {
                    slot.flags.contains("\\Deleted") && (is_private || ids.iter().any(|other| other == id))
                })
                .collect();
            let ids: Vec<String> = marked.iter().map(|(id, _)| (*id).to_owned()).collect();
            (ids, set(marked.iter().map(|(_, slot)| slot.uid)))
        };
        self.begin(Change::Expunge { folder, ids });
        let command = if is_private { "EXPUNGE".to_owned() } else { format!("UID EXPUNGE {uids}") };
        let reply = self.wire.command(&command);
        self.answered(reply)?;
        self.ledger().confirm(self.number, &HashMap::new());
        Ok(())
    }

    fn create(&mut self) -> io::Result<()> {
        let own = self.own_folders();
        if own.len() >= MOST_FOLDERS {
            return self.delete();
        }
        let top = self.new_name();
        let is_below = self.dice.one_in(2);
        let parent = own.iter().find(|name| is_below && !name.contains('.'));
        let folders = match parent {
            Some(parent) => vec![format!("{parent}.{top}")],
            None if self.dice.one_in(2) => vec![top.clone(), format!("{top}.sub")],
            None => vec![top],
        };
        let name = folders.last().cloned().unwrap_or_default();
        self.begin(Change::Create { folders });
        self.finish(&format!("CREATE {name}"))
    }

    fn rename(&mut self) -> io::Result<()> {
        let own = self.own_folders();
        if own.is_empty() {
            return self.create();
        }
        let (from, to) = (own[self.dice.below(own.len())].clone(), self.new_name());
        self.leave(|selected| renamed(selected, &from, &to).is_some());
        self.begin(Change::Rename { from: from.clone(), to: to.clone() });
        self.finish(&format!("RENAME {from} {to}"))
    }

    fn delete(&mut self) -> io::Result<()> {
        let own = self.own_folders();
        let is_leaf = |name: &&String| !own.iter().any(|other| other.starts_with(&format!("{name}.")));
        let Some(folder) = own.iter().rfind(is_leaf).cloned() else { return self.create() };
        self.leave(|selected| selected == folder);
        self.begin(Change::Delete { folder: folder.clone() });
        self.finish(&format!("DELETE {folder}"))
    }

    /// Sends a command whose confirmation has no UIDs.
    fn finish(&mut self, command: &str) -> io::Result<()> {
        let reply = self.wire.command(command);
        self.answered(reply)?;
        self.ledger().confirm(self.number, &HashMap::new());
        Ok(())
    }

    /// Notes a change before the server can know of it.
    fn begin(&self, change: Change) {
        self.ledger().pending[self.number] = Some(change);
    }

    /// Some of the own letters in a folder, which is selected.
    fn pick(&mut self) -> io::Result<Option<(String, Vec<String>)>> {
        let is_kept = self.selected.is_some() && !self.dice.one_in(4);
        let folder = match self.selected.clone().filter(|_| is_kept) {
            Some(selected) => selected,
            None => {
                let ledger = self.ledger();
                let names: BTreeSet<&String> = ledger
                    .slots
                    .iter()
                    .filter(|(_, slot)| slot.owner == self.number)
                    .map(|((of, _), _)| of)
                    .collect();
                let names: Vec<String> = names.into_iter().cloned().chain(["INBOX".to_owned()]).collect();
                drop(ledger);
                names[self.dice.below(names.len())].clone()
            }
        };
        if self.selected.as_ref() != Some(&folder) || folder == "INBOX" && self.dice.one_in(4) {
            self.select(&folder)?;
        }
        let mut ids: Vec<String> =
            self.ledger().letters_of(self.number, &folder).map(|(id, _)| id.to_owned()).collect();
        let most = if self.dice.one_in(5) { ids.len() } else { 1 + self.dice.below(6) };
        while ids.len() > most {
            let at = self.dice.below(ids.len());
            ids.swap_remove(at);
        }
        Ok((!ids.is_empty()).then_some((folder, ids)))
    }

    fn select(&mut self, folder: &str) -> io::Result<()> {
        self.selected = None;
        let selected = self.wire.select(folder);
        let selected = self.answered(selected)?;
        self.selected = Some(folder.to_owned());
        if self.load.is_ending() {
            return Ok(()); // the numbers of a folder that cannot keep them
        }
        self.told(folder, selected.validity, &[]);
        let behind = self.ledger().told_modseq(selected.validity, selected.modseq);
        self.note(behind);
        self.look(folder, selected.validity)
    }

    /// Compares the own letters of a folder with the ledger, and takes over letters of INBOX that were delivered and
    /// acknowledged.
    fn look(&mut self, folder: &str, validity: u32) -> io::Result<()> {
        let reply = self.wire.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (Letter)])");
        let reply = self.answered(reply)?;
        let mut found = HashMap::new();
        for message in reply.fetched() {
            let header = String::from_utf8_lossy(&message.octets).into_owned();
            let Some(id) = header.trim().strip_prefix("Letter: ").filter(|_| !self.load.is_ending()) else {
                continue;
            };
            self.told(folder, validity, &[(message.uid, id.to_owned())]);
            found.insert(id.to_owned(), message.uid);
            if folder != "INBOX" {
                continue;
            }
            let is_mine = id.bytes().map(usize::from).sum::<usize>() % WRITERS == self.number;
            let mut ledger = self.ledger();
            if !is_mine || ledger.slots.contains_key(&("INBOX".to_owned(), id.to_owned())) {
                continue;
            }
            let mut mail = self.load.ledger.lock().unwrap();
            let letters = mail.of(&mailbox(self.user));
            if letters.get(id).is_none_or(|entry| entry.filed != Filed::Yes) {
                continue;
            }
            let Some(entry) = letters.remove(id) else { continue };
            let slot = Slot {
                letter: entry.letter,
                owner: self.number,
                uid: message.uid,
                has_lasting_uid: false,
                flags: message.flags,
                date: None,
            };
            ledger.slots.insert(("INBOX".to_owned(), id.to_owned()), slot);
        }
        let ledger = self.ledger();
        for (id, slot) in ledger.letters_of(self.number, folder) {
            let now = found.get(id);
            if now != Some(&slot.uid) && slot.uid > 0 && !self.load.is_ending() {
                let text = format!("{}: {folder}: {id} has {now:?}, was {slot:?}", mailbox(self.user));
                self.load.note(Wrong::new("other UID while the server runs", text));
            }
        }
        Ok(())
    }

    /// Notes that another command may close the selected folder.
    fn leave(&mut self, is_closed: impl Fn(&str) -> bool) {
        if self.selected.as_deref().is_some_and(is_closed) {
            self.selected = None;
        }
    }

    /// The folders that this session alone uses, each after those above it.
    fn own_folders(&self) -> Vec<String> {
        let ledger = self.ledger();
        ledger.folders.keys().filter(|name| name.starts_with(&self.prefix())).cloned().collect()
    }

    fn prefix(&self) -> String {
        format!("Box{}x", self.number)
    }

    fn new_name(&mut self) -> String {
        format!("{}{:x}", self.prefix(), self.dice.next())
    }

    fn any_folder(&mut self) -> String {
        let mut names = self.own_folders();
        names.extend(SHARED.map(str::to_owned));
        names.swap_remove(self.dice.below(names.len()))
    }

    fn any_flags(&mut self) -> BTreeSet<String> {
        FLAGS.iter().filter(|_| self.dice.one_in(4)).map(|flag| (*flag).to_owned()).collect()
    }

    fn ledger(&self) -> MutexGuard<'a, User> {
        self.load.users[self.user].lock().unwrap()
    }

    /// Notes the UID validity of a folder and the UIDs of letters in it, as the server reports them.
    fn told(&self, folder: &str, validity: u32, uids: &[(u32, String)]) {
        let mut ledger = self.ledger();
        let mut results = vec![ledger.told_validity(folder, validity)];
        results.extend(uids.iter().map(|(uid, id)| ledger.told_uid((validity, *uid), id)));
        drop(ledger);
        results.into_iter().for_each(|result| self.note(result));
    }

    fn note(&self, result: Result<(), Wrong>) {
        if let Err(wrong) = result {
            self.load.note(wrong);
        }
    }

    /// Notes a refusal before the end of the server as a fault.
    fn answered<T>(&self, reply: io::Result<T>) -> io::Result<T> {
        reply.inspect_err(|error| {
            if error.kind() == io::ErrorKind::Other && !self.load.is_ending() {
                let pending = self.ledger().pending[self.number].clone();
                self.load
                    .note(Wrong::new("refused", format!("{}: {error}: {pending:?}", mailbox(self.user))));
            }
        })
    }
}

/// UIDs as a set.
pub(crate) fn set(uids: impl Iterator<Item = u32>) -> String {
    let mut uids: Vec<u32> = uids.collect();
    uids.sort_unstable();
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Kinds of changes, each as often as it is made.
const KINDS: [Focus; 10] = {
    use Focus::{Append, Copy, Expunge, Folders, Move, Store};
    [Append, Append, Append, Store, Store, Copy, Move, Move, Expunge, Folders]
};
const FLAGS: [&str; 7] = ["\\Answered", "\\Deleted", "\\Flagged", "\\Seen", "$Later", "Blue", "Green"];
/// Letters of a session above which it removes some.
const MOST_LETTERS: usize = 60;
const MOST_FOLDERS: usize = 5;
/// Doublings of the octets of the shortest letter.
const SHORT: usize = 9;
