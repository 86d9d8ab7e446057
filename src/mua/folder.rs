//! The messages of one folder, on a server or on disk: their summaries, and the ones marked as deleted.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use super::{
    imap_source::{Flag, ImapSource},
    message_view::Summary,
    sent_folder::SentFolder,
};
use crate::client::{
    ClientError,
    pop3::{ListEntry, Pop3},
};

/// The place that messages are read from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The mailbox on the server.
    Server(Pop3),
    /// A folder on an IMAP server.
    Imap(Box<ImapSource>),
    /// The local copies of sent messages.
    Disk(SentFolder),
    /// Nothing: the last session has ended, and the next one has not begun.
    Disconnected,
}

/// One message of a list.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Message number, valid until the session ends.
    pub(crate) number: u32,
    pub(crate) octets: u64,
    pub(crate) deleted: bool,
    /// True if it was not read: with this client, or by IMAP with any.
    pub(crate) is_new: bool,
    pub(crate) is_flagged: bool,
    pub(crate) is_answered: bool,
    /// The UID in a folder of IMAP, else 0.
    pub(super) uid: u32,
    /// Unique id, the same in every session (RFC 1939 section 7, UIDL).
    id: Option<String>,
    pub(super) summary: Option<Summary>,
}

/// Summaries that an earlier session fetched, by unique id.
pub(crate) type SummaryCache = HashMap<String, Summary>;

/// The state of the messages of a session, for the next one.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// By unique id.
    known: HashMap<String, Mark>,
    /// Messages marked as deleted, also those without a unique id.
    deleted: usize,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    deleted: bool,
    is_new: bool,
}

/// A list of messages, oldest first.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(super) source: Source,
    /// True if it has what this user has sent.
    pub(super) has_sent: bool,
    pub(crate) entries: Vec<Entry>,
}

impl Folder {
    /// Lists the messages of a server. Summaries known from an earlier session are not fetched again.
    pub(crate) fn open(mut pop3: Pop3, mut known: SummaryCache) -> Result<Self, ClientError> {
        let listed = pop3.list()?;
        let mut ids: HashMap<u32, String> = pop3.unique_ids()?.into_iter().collect();
        let mut entries = Vec::with_capacity(listed.len());
        for ListEntry { number, octets } in listed {
            let id = ids.remove(&number);
            let summary = id.as_ref().and_then(|id| known.remove(id));
            entries.push(Entry { id, summary, ..Entry::new(number, octets) });
        }
        Ok(Self { entries, has_sent: false, source: Source::Server(pop3) })
    }

    /// The summaries that the next session need not fetch.
    pub(crate) fn summary_cache(&self) -> SummaryCache {
        let entries = self.entries.iter();
        entries.filter_map(|entry| entry.id.clone().zip(entry.summary.clone())).collect()
    }

    /// Marks the messages that are not among those as new. A message without a unique id is never new.
    pub(crate) fn mark_new(&mut self, read: &HashSet<String>) {
        for entry in &mut self.entries {
            entry.is_new = entry.id.as_ref().is_some_and(|id| !read.contains(id));
        }
    }

    /// The unique ids of the messages that are not new.
    pub(crate) fn read_ids(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| !entry.is_new).filter_map(|entry| entry.id.as_deref())
    }

    /// The state of each message that the next session continues with.
    pub(crate) fn marks(&self) -> Marks {
        let known = self.entries.iter().filter_map(|entry| {
            Some((entry.id.clone()?, Mark { deleted: entry.deleted, is_new: entry.is_new }))
        });
        Marks { known: known.collect(), deleted: self.deleted_count() }
    }

    /// Continues with the state of an earlier session. Returns the numbers of messages that have arrived, and of marks
    /// that could not be set again. Without unique ids, nothing is known of any message.
    pub(crate) fn continue_with(&mut self, marks: &Marks) -> Result<(usize, usize), ClientError> {
        let mut arrived = 0;
        for place in 0..self.entries.len() {
            let entry = &mut self.entries[place];
            match entry.id.as_ref().map(|id| marks.known.get(id)) {
                Some(Some(mark)) => {
                    entry.is_new = mark.is_new;
                    if mark.deleted {
                        self.delete(place)?;
                    }
                }
                Some(None) => {
                    entry.is_new = true;
                    arrived += 1;
                }
                None => {}
            }
        }
        Ok((arrived, marks.deleted.saturating_sub(self.deleted_count())))
    }

    pub(crate) fn from_sent_folder(copies: SentFolder) -> Self {
        let entries = (1..).zip(copies.sizes()).map(|(number, octets)| Entry::new(number, octets)).collect();
        Self { entries, has_sent: true, source: Source::Disk(copies) }
    }

    /// The folder between two sessions.
    pub(crate) fn disconnected() -> Self {
        Self { source: Source::Disconnected, has_sent: false, entries: Vec::new() }
    }

    /// True if there is a session or a disk to read from.
    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.source, Source::Disconnected)
    }

    /// The index of the message with that number.
    pub(crate) fn index_of(&self, number: u32) -> Option<usize> {
        let has_number = |place: &usize| self.entries.get(*place).is_some_and(|entry| entry.number == number);
        let usual = (number as usize).checked_sub(1).filter(has_number);
        usual.or_else(|| self.entries.iter().position(|entry| entry.number == number))
    }

    /// The summary of a message. Its header is fetched at the first call.
    pub(crate) fn summary(&mut self, place: usize) -> Result<Summary, ClientError> {
        let entry = &mut self.entries[place];
        if let Some(known) = &entry.summary {
            return Ok(known.clone());
        }
        if matches!(self.source, Source::Imap(_)) {
            self.fetch_summaries(&[place])?;
            return Ok(self.entries[place].summary.clone().unwrap_or_default());
        }
        // The server returns nothing for a message marked as deleted (RFC 1939 section 5).
        if entry.deleted {
            return Ok(Summary::default());
        }
        let header = match &mut self.source {
            Source::Server(pop3) => match pop3.top(entry.number, 0)? {
                None if entry.octets < MAX_WHOLE_FETCH => match pop3.retrieve(entry.number) {
                    Err(ClientError::Denied(_)) => None, // deleted, or unreadable at the moment: the list goes on without it
                    message => Some(message?),
                },
                header => header,
            },
            Source::Disk(copies) => copies.read(place).ok(),
            Source::Imap(_) | Source::Disconnected => None,
        };
        let summary = header.map(|header| Summary::parse(&header)).unwrap_or_default();
        entry.summary = Some(summary.clone());
        Ok(summary)
    }

    /// A whole message. `None`: another session of IMAP has removed it.
    pub(crate) fn message(&mut self, place: usize) -> Result<Option<Vec<u8>>, ClientError> {
        match &mut self.source {
            Source::Server(pop3) => pop3.retrieve(self.entries[place].number).map(Some),
            Source::Imap(source) => source.imap.message(self.entries[place].uid),
            Source::Disk(copies) => copies.read(place).map(Some).map_err(ClientError::Disk),
            Source::Disconnected => Err(ClientError::Disk(io::ErrorKind::NotFound.into())),
        }
    }

    /// True if this user has sent the messages.
    pub(crate) fn is_sent(&self) -> bool {
        self.has_sent
    }

    /// Only a server's messages can be deleted.
    pub(crate) fn can_delete(&self) -> bool {
        matches!(self.source, Source::Server(_) | Source::Imap(_))
    }

    pub(crate) fn delete(&mut self, place: usize) -> Result<(), ClientError> {
        if self.imap().is_some() {
            return self.set_flag(&[place], Flag::Deleted, true);
        }
        let entry = &mut self.entries[place];
        match &mut self.source {
            Source::Server(pop3) if !entry.deleted => pop3.delete(entry.number)?,
            Source::Server(_) => {}
            Source::Imap(_) | Source::Disk(_) | Source::Disconnected => {
                return Err(ClientError::Disk(io::ErrorKind::Unsupported.into()));
            }
        }
        entry.deleted = true;
        Ok(())
    }

    /// Removes the marks of these messages. POP3 can only remove all (RSET), so the other marks are set again: once for the
    /// whole list.
    pub(crate) fn undelete(&mut self, places: &[usize]) -> Result<(), ClientError> {
        if self.imap().is_some() {
            return self.set_flag(places, Flag::Deleted, false);
        }
        let Source::Server(pop3) = &mut self.source else { return Ok(()) };
        if !places.iter().any(|place| self.entries[*place].deleted) {
            return Ok(());
        }
        pop3.reset()?;
        places.iter().for_each(|place| self.entries[*place].deleted = false);
        let mut marked: Vec<&mut Entry> = self.entries.iter_mut().filter(|entry| entry.deleted).collect();
        marked.iter_mut().for_each(|entry| entry.deleted = false);
        for entry in marked {
            pop3.delete(entry.number)?;
            entry.deleted = true;
        }
        Ok(())
    }

    /// The number of messages marked as deleted.
    pub(crate) fn deleted_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.deleted).count()
    }

    /// Ends the session without a deletion.
    pub(crate) fn close_unchanged(self) -> Result<(), ClientError> {
        let Source::Server(mut pop3) = self.source else { return Ok(()) };
        // QUIT deletes what is marked (RFC 1939 section 6), so the marks go first.
        if self.entries.iter().any(|entry| entry.deleted) {
            pop3.reset()?;
        }
        pop3.quit_quietly();
        Ok(())
    }

    /// Ends the session, which deletes the marked messages. Returns their number.
    pub(crate) fn close(self) -> Result<usize, ClientError> {
        let marked = self.deleted_count();
        match self.source {
            Source::Server(pop3) if marked > 0 => pop3.quit().map(|()| marked),
            Source::Server(pop3) => {
                pop3.quit_quietly();
                Ok(0)
            }
            Source::Imap(_) | Source::Disk(_) | Source::Disconnected => Ok(0),
        }
    }
}

impl Entry {
    pub(super) fn new(number: u32, octets: u64) -> Self {
        Self {
            number,
            octets,
            deleted: false,
            is_new: false,
            is_flagged: false,
            is_answered: false,
            uid: 0,
            id: None,
            summary: None,
        }
    }
}

/// Octets of a message that is fetched whole for a list if the server lacks TOP.
const MAX_WHOLE_FETCH: u64 = 64 * 1024;
