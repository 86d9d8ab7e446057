//! A folder of an IMAP server as a list of messages.
//!
//! The rule: the numbers that a person types are those on the screen. News of the server change them, so they wait until the
//! list is shown again, and commands name messages by UID.

use std::{
    collections::{HashMap, HashSet},
    mem,
    time::Duration,
};

use super::{
    folder::{Entry, Folder, Source},
    imap_source::{Flag, ImapSource, News},
    message_view::Summary,
};
use crate::client::{
    ClientError,
    imap::{FolderEvent, Imap, ImapFolder, ImapMessage, MessageFlags},
};

impl Folder {
    /// A folder that the session has selected, with its messages.
    pub(crate) fn of_imap(
        imap: Imap,
        folder: ImapFolder,
        all: Vec<ImapFolder>,
        messages: Vec<ImapMessage>,
    ) -> Self {
        let source = ImapSource { imap, folder, all, found: None, removed: 0 };
        let has_sent = source.folder.is_sent;
        let mut folder = Self { entries: Vec::new(), has_sent, source: Source::Imap(Box::new(source)) };
        folder.entries.extend(messages.into_iter().map(Entry::of_imap));
        folder.renumber();
        folder
    }

    /// The session, for the next folder.
    pub(crate) fn into_imap(self) -> Option<Imap> {
        match self.source {
            Source::Imap(source) => Some(source.imap),
            _ => None,
        }
    }

    pub(crate) fn imap(&self) -> Option<&ImapSource> {
        match &self.source {
            Source::Imap(source) => Some(source),
            _ => None,
        }
    }

    pub(super) fn imap_mut(&mut self) -> Option<&mut ImapSource> {
        match &mut self.source {
            Source::Imap(source) => Some(source),
            _ => None,
        }
    }

    /// The places of the messages that the list shows.
    pub(crate) fn places(&self) -> Vec<usize> {
        let found = self.imap().and_then(|source| source.found.as_ref());
        let is_shown = |entry: &Entry| found.is_none_or(|found| found.contains(&entry.uid));
        (0..self.entries.len()).filter(|place| is_shown(&self.entries[*place])).collect()
    }

    /// True if the list shows only the messages that a search has found.
    pub(crate) fn is_search(&self) -> bool {
        self.imap().is_some_and(|source| source.found.is_some())
    }

    /// Takes in what the server has told since the last time.
    pub(crate) fn take_news(&mut self) -> Result<News, ClientError> {
        let Source::Imap(source) = &mut self.source else { return Ok(News::default()) };
        let mut news = News::default();
        let mut exists = None;
        for event in source.imap.take_events() {
            let place = |number: u32| (number as usize).checked_sub(1).filter(|at| *at < self.entries.len());
            match event {
                FolderEvent::Exists(number) => exists = Some(number),
                FolderEvent::Expunge(number) => {
                    if let Some(at) = place(number) {
                        self.entries.remove(at);
                        news.gone += 1;
                    }
                    exists = exists.map(|exists: u32| exists.saturating_sub(1));
                }
                FolderEvent::Flags(number, flags) => {
                    if let Some(at) = place(number) {
                        self.entries[at].set_flags(flags);
                    }
                }
            }
        }
        let here = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        if let Some(exists) = exists.filter(|exists| *exists != here) {
            // A server that tells of fewer messages without EXPUNGE has lost count, so the folder is read anew.
            let later = if exists > here {
                source.imap.messages(here + 1, exists)?
            } else {
                self.entries.clear();
                source.imap.select(&source.folder.name.clone())?
            };
            if exists > here {
                news.arrived = later.len();
                if let Some(found) = &mut source.found {
                    found.extend(later.iter().map(|message| message.uid));
                }
            }
            self.entries.extend(later.into_iter().map(Entry::of_imap));
        }
        news.gone = news.gone.saturating_sub(mem::take(&mut source.removed));
        self.renumber();
        Ok(news)
    }

    /// Asks for news, which the next [`Folder::take_news`] takes in.
    pub(crate) fn look_for_news(&mut self) -> Result<(), ClientError> {
        self.imap_mut().map_or(Ok(()), |source| source.imap.noop())
    }

    fn renumber(&mut self) {
        for (number, entry) in (1..).zip(&mut self.entries) {
            entry.number = number;
        }
    }

    /// Fetches the summaries of these messages together.
    pub(crate) fn fetch_summaries(&mut self, places: &[usize]) -> Result<(), ClientError> {
        let Source::Imap(source) = &mut self.source else { return Ok(()) };
        let missing = |place: &&usize| self.entries[**place].summary.is_none();
        let mut wanted: HashMap<u32, usize> =
            places.iter().filter(missing).map(|place| (self.entries[*place].uid, *place)).collect();
        let mut uids: Vec<u32> = wanted.keys().copied().collect();
        uids.sort_unstable();
        for (uid, header) in source.imap.headers(&uids)? {
            if let Some(place) = wanted.remove(&uid) {
                let summary = Summary::parse(&header.fields).arrived_at(&header.internal_date);
                self.entries[place].summary = Some(summary);
            }
        }
        // The others are gone, of which the next news tell.
        for place in wanted.into_values() {
            self.entries[place].summary = Some(Summary::default());
        }
        Ok(())
    }

    /// Sets a flag of these messages, or removes it.
    pub(crate) fn set_flag(&mut self, places: &[usize], flag: Flag, on: bool) -> Result<(), ClientError> {
        let uids = self.uids(places);
        let Some(source) = self.imap_mut() else { return Ok(()) };
        source.imap.set_flag(&uids, flag.name(), on)?;
        for place in places {
            let entry = &mut self.entries[*place];
            match flag {
                Flag::Seen => entry.is_new = !on,
                Flag::Flagged => entry.is_flagged = on,
                Flag::Deleted => entry.deleted = on,
            }
        }
        Ok(())
    }

    /// Moves messages to another folder. False if the server can only copy, so that the messages are marked as deleted.
    pub(crate) fn move_to(&mut self, places: &[usize], folder: &ImapFolder) -> Result<bool, ClientError> {
        let uids = self.uids(places);
        let Some(source) = self.imap_mut() else { return Ok(false) };
        let is_moved = source.imap.move_to(&uids, &folder.name)?;
        source.removed += if is_moved { uids.len() } else { 0 };
        Ok(is_moved)
    }

    /// Removes the messages that are marked as deleted.
    pub(crate) fn expunge(&mut self) -> Result<(), ClientError> {
        let marked = self.deleted_count();
        let Some(source) = self.imap_mut() else { return Ok(()) };
        source.imap.expunge()?;
        source.removed += marked;
        Ok(())
    }

    /// Shows only the messages that have each of these words, or all if there is no word. Returns how many there are.
    pub(crate) fn search(&mut self, words: &[&str]) -> Result<usize, ClientError> {
        let Some(source) = self.imap_mut() else { return Ok(0) };
        source.found = None;
        if !words.is_empty() {
            let found: HashSet<u32> = source.imap.search(words)?.into_iter().collect();
            source.found = Some(found);
        }
        let shown = self.places().len();
        if let Some(source) = self.imap_mut().filter(|_| shown == 0) {
            source.found = None;
        }
        Ok(shown)
    }

    /// Waits for news, until a person presses Enter if there is one. False: the server cannot tell news by itself.
    pub(crate) fn wait_for_news(&mut self, is_interactive: bool) -> Result<bool, ClientError> {
        let Some(source) = self.imap_mut().filter(|source| source.imap.can_idle()) else { return Ok(false) };
        let input = std::io::stdin();
        let input = is_interactive.then(|| std::os::fd::AsFd::as_fd(&input));
        source.imap.idle(input, LONGEST_IDLE)?;
        Ok(true)
    }

    fn uids(&self, places: &[usize]) -> Vec<u32> {
        let mut uids: Vec<u32> = places.iter().map(|place| self.entries[*place].uid).collect();
        uids.sort_unstable();
        uids
    }
}

impl Entry {
    fn of_imap(ImapMessage { uid, flags, octets }: ImapMessage) -> Self {
        let mut entry = Self::new(0, octets);
        entry.uid = uid;
        entry.set_flags(flags);
        entry
    }

    fn set_flags(&mut self, flags: MessageFlags) {
        let MessageFlags { seen, answered, flagged, deleted } = flags;
        (self.is_new, self.is_answered, self.is_flagged, self.deleted) = (!seen, answered, flagged, deleted);
    }
}

/// Servers may close a connection that is idle for half an hour (RFC 2177 section 3).
const LONGEST_IDLE: Duration = Duration::from_secs(25 * 60);
