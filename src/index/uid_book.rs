//! The UIDs of the messages of a folder: gives them to new files, and knows the flags and the modification sequence of each.
//!
//! A book belongs to one job at a time, on a worker, because it reads and writes the folder's file. It finds messages by their
//! identity, and by their inode too if several files share one. After the first time it compares two snapshots, which share
//! most of their memory, so that a change costs no look at the other messages.

mod arrivals;
mod changes;
mod flag_letters;
mod unselected;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use super::{folder_snapshot::FolderSnapshot, recent_marks::RecentMarks, sequence::Sequence};
use crate::{
    maildir::{
        Error, Maildir, MessageEntry,
        keyword_file::Keywords,
        name,
        uid_file::{self, LoadedUids, MessageKey, UidFile, UidHeader, UidRecord},
        uid_import::{self, ImportedUids},
        uid_validity,
    },
    proto::imap::{
        flags::Flags,
        recent::RecentMark,
        request::{FolderState, MessageState},
    },
};
use changes::{Assigned, Comparison, Reading, Unnumbered};
pub use flag_letters::FlagLetters;
pub use unselected::NextNumbers;

/// The UIDs of a folder.
#[derive(Debug)]
pub struct UidBook {
    /// `None`: the folder cannot have a file, so that its UIDs are valid until the book is dropped.
    file: Option<UidFile>,
    uid_validity: u32,
    uid_next: u32,
    /// The last modification sequence in use.
    modseq: u64,
    keywords: Keywords,
    /// The letters of flags with which the snapshot was read.
    letters: FlagLetters,
    snapshot: Arc<FolderSnapshot>,
    /// The numbers of each message of the snapshot, in its order: without the flag T, then with it.
    assigned: [Vec<Assigned>; 2],
    /// Records of the file whose messages are not known yet. The first snapshot decides which of them have one.
    unmatched: HashMap<MessageKey, UidRecord>,
    /// Records of messages that got a UID on their arrival, and that no snapshot has yet.
    preassigned: HashMap<MessageKey, UidRecord>,
    /// Records that the file does not have yet.
    unsaved: Vec<UidRecord>,
    /// The messages of which no session has been told.
    recent: RecentMark,
    /// Whether the log has told that the folder has no room for a keyword.
    has_left_out_keyword: bool,
    state: Arc<FolderState>,
}

/// The UIDs of a folder that had none.
enum Begun {
    Saved(LoadedUids),
    /// The UID validity of a folder that cannot keep it, and the reason.
    Unsaved(u32, Error),
}

impl UidBook {
    /// Reads the file of a folder, or begins one at `now`. If another IMAP server has given UIDs in the folder before, these
    /// stay.
    ///
    /// # Errors
    /// The disk failed.
    pub fn load(maildir: &Maildir, now: SystemTime, marks: &RecentMarks) -> Result<Self, Error> {
        Ok(Self::load_uids(maildir, now)?.with_mark(maildir, marks))
    }

    fn load_uids(maildir: &Maildir, now: SystemTime) -> Result<Self, Error> {
        let keywords = Keywords::load(maildir)?;
        let loaded = match UidFile::load(maildir)? {
            Some(loaded) => loaded,
            None => match Self::begin(maildir, now)? {
                Begun::Saved(loaded) => loaded,
                // A full disk is no reason to hide the mail on it.
                Begun::Unsaved(uid_validity, error) => {
                    log::warn!("{error}: UIDs stay valid only while the folder is in use");
                    return Ok(Self::unsaved(uid_validity, keywords));
                }
            },
        };
        let LoadedUids { file, mut records, is_damaged } = loaded;
        let mut header = file.header();
        let list = uid_import::known_list(maildir, header)?;
        let is_continued = list.later.is_some();
        if list.has_our_validity {
            remember(maildir, header.uid_validity);
        }
        if let Some(imported) = list.later {
            log::info!("{}: Dovecot has gone on with the UIDs", maildir.path().display());
            (header, records) = continue_with(header, records, imported);
        }
        if is_damaged {
            log::warn!(
                "{}: damaged, some messages may get new UIDs",
                maildir.path().join(uid_file::FILE).display()
            );
        }
        let numbers = (header.uid_limit, header.modseq_limit);
        // A file with a part that is none is written anew before anything else, so that its parts stay in step.
        let is_new = is_damaged || is_continued;
        let file = if is_new { UidFile::create(maildir, header, &records)? } else { file };
        Ok(Self::new(Some(file), header.uid_validity, numbers, records, keywords))
    }

    /// Reads the file of a folder that no session has selected, for its numbers alone: a damaged file stays as it is.
    ///
    /// # Errors
    /// The disk failed.
    pub fn peek(maildir: &Maildir, now: SystemTime, marks: &RecentMarks) -> Result<Self, Error> {
        let loaded = match UidFile::load(maildir)? {
            Some(loaded) => loaded,
            None => match Self::begin(maildir, now)? {
                Begun::Saved(loaded) => loaded,
                Begun::Unsaved(uid_validity, error) => {
                    log::debug!("{error}: the numbers of the folder stay valid only while it is in use");
                    return Ok(Self::unsaved(uid_validity, Keywords::default()).with_mark(maildir, marks));
                }
            },
        };
        let LoadedUids { file, mut records, .. } = loaded;
        let mut header = file.header();
        if let Some(imported) = uid_import::known_list(maildir, header)?.later {
            (header, records) = continue_with(header, records, imported);
        }
        let numbers = (header.uid_limit, header.modseq_limit);
        let book = Self::new(Some(file), header.uid_validity, numbers, records, Keywords::load(maildir)?);
        Ok(book.with_mark(maildir, marks))
    }

    /// A book whose UIDs are valid until it is dropped.
    fn unsaved(uid_validity: u32, keywords: Keywords) -> Self {
        Self::new(None, uid_validity, (1, 1), Vec::new(), keywords)
    }

    fn with_mark(self, maildir: &Maildir, marks: &RecentMarks) -> Self {
        Self { recent: marks.of(maildir.id(), self.uid_validity, self.uid_next), ..self }
    }

    /// Gives UIDs to a folder that has none. Only one thread does so at a time, so that none replaces those of another. The UID
    /// validity is durable, whether the folder can keep it or not.
    fn begin(maildir: &Maildir, now: SystemTime) -> Result<Begun, Error> {
        let (mut durable, mut taken_over) = (None, None);
        let begun = UidFile::begin(maildir, || {
            let imported = uid_import::read(maildir)?;
            // Such a list lacks the UIDs that were given here since.
            let is_old = match &imported {
                Some(uids) => uid_validity::is_used(maildir, uids.uid_validity)?,
                None => false,
            };
            let (uid_validity, uid_limit, records) = match imported.filter(|_| !is_old) {
                Some(imported) => {
                    uid_validity::raise_to(maildir, imported.uid_validity)?;
                    taken_over = Some(imported.uid_validity);
                    (imported.uid_validity, imported.uid_next, imported.records)
                }
                None => (*durable.insert(uid_validity::next(maildir, now)?), 1, Vec::new()),
            };
            Ok((UidHeader { uid_validity, uid_limit, modseq_limit: 1 }, records))
        });
        match (begun, durable) {
            (Ok(loaded), _) => {
                if let Some(uid_validity) = taken_over {
                    remember(maildir, uid_validity);
                }
                Ok(Begun::Saved(loaded))
            }
            (Err(error), Some(uid_validity)) => Ok(Begun::Unsaved(uid_validity, error)),
            (Err(error), None) => Ok(Begun::Unsaved(uid_validity::next(maildir, now)?, error)),
        }
    }

    fn new(
        file: Option<UidFile>,
        uid_validity: u32,
        (uid_next, modseq): (u32, u64),
        records: Vec<UidRecord>,
        keywords: Keywords,
    ) -> Self {
        let unmatched = records.into_iter().map(|record| (record.key, record)).collect();
        Self {
            file,
            uid_validity,
            uid_next,
            modseq,
            keywords,
            letters: FlagLetters::default(),
            snapshot: Arc::default(),
            assigned: Default::default(),
            unmatched,
            preassigned: HashMap::new(),
            unsaved: Vec::new(),
            recent: RecentMark::default(),
            has_left_out_keyword: false,
            state: Arc::default(),
        }
    }

    /// Whether another server that shares the spool has given UIDs in the folder since this book was read. It must be read
    /// again before it gives any: a message may have a UID by now, and clients may know later ones.
    ///
    /// # Errors
    /// The disk failed.
    pub fn is_overtaken(&self, maildir: &Maildir) -> Result<bool, Error> {
        self.file.as_ref().map_or(Ok(false), |file| file.is_overtaken(maildir))
    }

    /// The value with which the UIDs stay valid.
    pub fn uid_validity(&self) -> u32 {
        self.uid_validity
    }

    /// The keywords of the folder. The caller gives letters to new ones before it changes the names of files.
    pub fn keywords_mut(&mut self) -> &mut Keywords {
        &mut self.keywords
    }

    /// The UID of a file in the last snapshot.
    pub fn uid_of(&self, identity: &[u8], inode: u64) -> Option<u32> {
        let position = self.snapshot.position(identity, inode)?;
        let [listed, trashed] = &self.assigned;
        let assigned = listed.get(position).or_else(|| trashed.get(position - listed.len()))?;
        (assigned.uid > 0).then_some(assigned.uid)
    }

    /// Takes in a later snapshot of the folder: new files get UIDs in the order of their names, and changed flags the next
    /// modification sequence. Everything that the result tells is reserved durably.
    ///
    /// # Errors
    /// The disk failed. The book is as it was.
    pub fn refresh(&mut self, maildir: &Maildir, snapshot: Arc<FolderSnapshot>) -> Result<Sequence, Error> {
        self.keywords.reload(maildir)?;
        let (next_modseq, letters) = (self.modseq + 1, FlagLetters::of(&self.keywords));
        let reading = Reading { letters, is_same: letters == self.letters, modseq: next_modseq };
        let Comparison { mut assigned, mut unnumbered, mut gone, changed } =
            Comparison::of((&self.snapshot, &self.assigned), &snapshot, reading);
        let mut unsaved: Vec<UidRecord> =
            changed.into_iter().map(|(entry, now)| record_of(&snapshot, entry, now)).collect();
        unnumbered.sort_by(|a, b| name::sort_key(&a.entry.name).cmp(&name::sort_key(&b.entry.name)));
        let mut uid_next = self.uid_next;
        let mut matched = HashSet::new();
        for Unnumbered { list, position, entry } in unnumbered {
            let flags = letters.flags_of(entry);
            let known = gone.take_moved(entry).or_else(|| {
                let recorded = self.recorded(&snapshot, entry)?;
                matched.insert(recorded.uid).then_some(recorded)
            });
            let now = match known {
                Some(known) if known.flags == flags => known,
                Some(known) => Assigned { flags, modseq: next_modseq, ..known },
                None => {
                    let uid = uid_next;
                    uid_next = uid.checked_add(1).ok_or_else(|| no_uids_left(maildir))?;
                    Assigned { uid, flags, modseq: next_modseq }
                }
            };
            if now.modseq == next_modseq {
                unsaved.push(record_of(&snapshot, entry, now));
                unsaved.extend(self.other_of_identity((&snapshot, &assigned), entry));
            }
            assigned[list][position] = now;
        }
        let is_dead = |record: &&UidRecord| !matched.contains(&record.uid);
        let dead = self.unmatched.values().filter(is_dead).map(|record| record.uid);
        unsaved.extend(gone.into_uids().chain(dead).map(UidRecord::gone));
        let modseq = if unsaved.is_empty() { self.modseq } else { next_modseq };
        self.reserve(maildir, (uid_next, modseq), (UID_BLOCK, MODSEQ_BLOCK))?;
        (self.uid_next, self.modseq) = (uid_next, modseq);
        (self.snapshot, self.assigned, self.letters) = (snapshot, assigned, letters);
        self.unmatched = HashMap::new();
        self.preassigned.retain(|_, record| !matched.contains(&record.uid));
        self.unsaved.append(&mut unsaved);
        if let Err(error) = self.save(maildir) {
            log::debug!("{error}: after a restart, some messages get new UIDs");
        }
        Ok(self.sequence())
    }

    /// Makes the UIDs of the last snapshot durable, before a client learns of one of them in another way than by its place
    /// in the folder.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&mut self, maildir: &Maildir) -> Result<(), Error> {
        self.save(maildir)?;
        let is_synced = match &mut self.file {
            Some(file) => file.sync(maildir)?,
            None => true,
        };
        if is_synced { Ok(()) } else { self.write_anew(maildir, self.header()) }
    }

    /// The numbers of a message that no snapshot had before, if there is a record of it.
    fn recorded(&self, snapshot: &FolderSnapshot, entry: &MessageEntry) -> Option<Assigned> {
        if self.unmatched.is_empty() && self.preassigned.is_empty() {
            return None;
        }
        let (identity, inode) = (name::identity(&entry.name), entry.version.inode);
        let plain = (!snapshot.is_shared(identity)).then(|| MessageKey::of(identity, None));
        let keys = plain.into_iter().chain([MessageKey::of(identity, Some(inode))]);
        let record = keys
            .filter_map(|key| self.unmatched.get(&key).or_else(|| self.preassigned.get(&key)))
            .find(|record| is_same_size(record, entry))?;
        Some(Assigned { uid: record.uid, flags: Flags::from_bits(record.flags), modseq: record.modseq })
    }

    /// The record of the message that had the identity of this new one alone until now, because its key changes.
    fn other_of_identity(
        &self,
        (snapshot, assigned): (&FolderSnapshot, &[Vec<Assigned>; 2]),
        entry: &MessageEntry,
    ) -> Option<UidRecord> {
        let identity = name::identity(&entry.name);
        let before = self.snapshot.of_identity(identity).next()?.version.inode;
        if before == entry.version.inode || self.snapshot.is_shared(identity) {
            return None;
        }
        let position = snapshot.position(identity, before)?;
        let [listed, trashed] = assigned;
        let now = listed.get(position).or_else(|| trashed.get(position - listed.len()))?;
        let record = record_of(snapshot, snapshot.entry(position)?, *now);
        (now.uid > 0).then_some(record)
    }

    fn header(&self) -> UidHeader {
        self.file.as_ref().map(UidFile::header).unwrap_or_default()
    }

    /// Reserves numbers if those in use are more than the reserved ones, and blocks beyond them. `false`: nothing was written.
    fn reserve(
        &mut self,
        maildir: &Maildir,
        (uid_next, modseq): (u32, u64),
        (uid_block, modseq_block): (u32, u64),
    ) -> Result<bool, Error> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let mut header = file.header();
        if uid_next <= header.uid_limit && modseq <= header.modseq_limit {
            return Ok(false);
        }
        if uid_next > header.uid_limit {
            header.uid_limit = uid_next.saturating_add(uid_block);
        }
        if modseq > header.modseq_limit {
            header.modseq_limit = modseq.saturating_add(modseq_block);
        }
        if !file.reserve(maildir, header)? {
            self.write_anew(maildir, header)?;
        }
        Ok(true)
    }

    /// Appends the records that the file does not have.
    fn save(&mut self, maildir: &Maildir) -> Result<(), Error> {
        let header = self.header();
        let Some(file) = &mut self.file else {
            self.unsaved.clear();
            return Ok(());
        };
        let assigned = self.assigned.iter().map(Vec::len).sum::<usize>();
        let live = assigned + self.unmatched.len() + self.preassigned.len();
        let is_sparse = file.records() + self.unsaved.len() > 2 * live + SPARE_RECORDS;
        if is_sparse || !file.append(maildir, &self.unsaved)? {
            self.write_anew(maildir, header)?;
        }
        self.unsaved.clear();
        Ok(())
    }

    /// Writes the file with everything that is known, durably, unless another server has given UIDs meanwhile.
    fn write_anew(&mut self, maildir: &Maildir, header: UidHeader) -> Result<(), Error> {
        let mut records = Vec::new();
        for (list, assigned) in self.snapshot.lists().into_iter().zip(&self.assigned) {
            let known = list.iter().zip(assigned).filter(|(_, assigned)| assigned.uid > 0);
            records.extend(known.map(|(entry, assigned)| record_of(&self.snapshot, entry, *assigned)));
        }
        records.extend(self.unmatched.values().chain(self.preassigned.values()));
        self.file = match &self.file {
            Some(file) => Some(file.replace(maildir, header, &records)?),
            None => None,
        };
        Ok(())
    }

    /// The messages in the order of their UIDs.
    fn sequence(&mut self) -> Sequence {
        let numbers = self.assigned.iter().flatten().zip(0_u32..).filter(|(assigned, _)| assigned.uid > 0);
        let mut numbers: Vec<(Assigned, u32)> =
            numbers.map(|(assigned, position)| (*assigned, position)).collect();
        numbers.sort_by_key(|(assigned, _)| assigned.uid); // most are in order
        let message = |(assigned, _): &(Assigned, u32)| {
            let Assigned { uid, flags, modseq } = *assigned;
            MessageState { uid, flags, modseq }
        };
        let first_unseen = numbers.iter().position(|(assigned, _)| !assigned.flags.intersects(Flags::SEEN));
        let state = FolderState {
            uid_validity: self.uid_validity,
            uid_next: self.uid_next,
            highest_modseq: self.modseq,
            keywords: self.keywords.names().iter().map(|name| name.as_str().into()).collect(),
            has_keyword_room: self.keywords.has_room(),
            messages: numbers.iter().map(message).collect(),
            first_unseen: u32::try_from(first_unseen.map_or(0, |at| at + 1)).unwrap_or(0),
            recent: self.recent.clone(),
        };
        if state != *self.state {
            self.state = Arc::new(state);
        }
        let positions = numbers.into_iter().map(|(_, position)| position).collect();
        Sequence::new(Arc::clone(&self.state), Arc::clone(&self.snapshot), positions)
    }
}

/// Notes that the list of another server has this value too, so that a loss of our UIDs does not bring the list back. Each load does so,
/// because an earlier build, a power cut or a full disk may have left the note out.
fn remember(maildir: &Maildir, uid_validity: u32) {
    let noted = match uid_validity::is_used(maildir, uid_validity) {
        Ok(false) => uid_validity::record(maildir, uid_validity),
        known => known.map(|_| ()),
    };
    if let Err(error) = noted {
        let file = maildir.path().join(uid_file::FILE);
        log::warn!("{error}: keep {} until this is mended, or UIDs are given twice", file.display());
    }
}

/// Takes over the UIDs that Dovecot has given after ours. If the two have numbered one message twice, ours stay, above which
/// no UID of Dovecot is given again.
fn continue_with(
    mut header: UidHeader,
    mut records: Vec<UidRecord>,
    imported: ImportedUids,
) -> (UidHeader, Vec<UidRecord>) {
    let by_key: HashMap<MessageKey, u32> = records.iter().map(|record| (record.key, record.uid)).collect();
    let by_uid: HashMap<u32, MessageKey> = records.iter().map(|record| (record.uid, record.key)).collect();
    let agrees = |record: &UidRecord| {
        by_key.get(&record.key).is_none_or(|uid| *uid == record.uid)
            && by_uid.get(&record.uid).is_none_or(|key| *key == record.key)
    };
    header.uid_limit = imported.uid_next;
    if imported.records.iter().all(agrees) {
        let modseq = header.modseq_limit.saturating_add(1);
        let is_new = |record: &UidRecord| !by_key.contains_key(&record.key);
        let later = imported.records.into_iter().filter(is_new);
        records.extend(later.map(|record| UidRecord { modseq, ..record }));
        header.modseq_limit = modseq;
    }
    (header, records)
}

/// The record of a message. If several files share its identity, its key has the inode.
fn record_of(snapshot: &FolderSnapshot, entry: &MessageEntry, now: Assigned) -> UidRecord {
    let identity = name::identity(&entry.name);
    let inode = snapshot.is_shared(identity).then_some(entry.version.inode);
    let key = MessageKey::of(identity, inode);
    UidRecord {
        uid: now.uid,
        modseq: now.modseq,
        key,
        flags: now.flags.bits(),
        version: entry.version,
        octets: entry.octets,
    }
}

/// Whether a record may be of this file. Other content under the same name is another message.
fn is_same_size(record: &UidRecord, entry: &MessageEntry) -> bool {
    record.version.bytes == 0 || record.version.bytes == entry.version.bytes
}

fn no_uids_left(maildir: &Maildir) -> Error {
    let path = maildir.path().join(uid_file::FILE);
    Error::at(path, "number", std::io::Error::other("no UID is left: remove this file"))
}

/// UIDs that are reserved at a time.
const UID_BLOCK: u32 = 1000;
/// Modification sequences that are reserved at a time.
const MODSEQ_BLOCK: u64 = 10_000;
/// Excess records that make it worth writing a file anew.
const SPARE_RECORDS: usize = 1024;

#[cfg(test)]
mod tests;
