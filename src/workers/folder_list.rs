//! LIST and STATUS: the folders of a user, and their numbers.
//!
//! The rule: numbers may cost a look at every file of a thousand folders, so a list is cut into slices. A slice ends with the
//! first folder after which it has read enough, or in the midst of one whose files it counts. The next slice goes on with the
//! folders that are left, so that other jobs go between, and nothing is left to do once the client has gone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    folder_status,
    storage::{Storage, log_failure},
};
use crate::{
    index::{Sequence, uid_book::NextNumbers},
    limits::MAX_FOLDERS,
    maildir::{
        CountProgress, Error, Maildir,
        folders::{FolderEntry, FolderTree, Subscriptions},
        size_counter::{CountSlice, ScanLimits},
    },
    printable,
    proto::{
        folder::Folder,
        imap::{
            command::StatusItem,
            request::{FolderInfo, FolderState, FolderStatus},
        },
        request::{Failure, Mailbox},
    },
};

/// A folder in memory, with its newest state.
#[derive(Debug)]
pub enum KnownFolder {
    /// A session has selected it.
    Selected(Arc<Sequence>),
    /// No session has. The next SELECT goes on from this state, if the folder has this device and inode still.
    Idle(Arc<FolderState>, (u64, u64)),
}

/// The numbers that the slices so far have found.
#[derive(Debug, Default)]
pub(super) struct ListProgress {
    /// The numbers of folders. `None`: they cannot be had.
    found: HashMap<Mailbox, Option<FolderStatus>>,
    /// The sizes that are counted of the next folder.
    counting: CountProgress,
}

/// One slice of a list.
pub(super) struct ListSlice<'a> {
    storage: &'a Storage,
    items: &'a [StatusItem],
    /// The folders that are in memory.
    known: &'a BTreeMap<Mailbox, KnownFolder>,
    turn: CountSlice,
}

/// The end of a slice: the slice is spent, or it has the result.
type Sliced<T> = Result<ControlFlow<(), T>, Failure>;

impl<'a> ListSlice<'a> {
    /// A slice that goes on from `progress`.
    pub(super) fn new(
        (storage, limits): (&'a Storage, ScanLimits),
        items: &'a [StatusItem],
        known: &'a BTreeMap<Mailbox, KnownFolder>,
        progress: &mut ListProgress,
    ) -> Self {
        let turn = CountSlice::new(limits, std::mem::take(&mut progress.counting));
        Self { storage, items, known, turn }
    }

    /// The folders of a user, INBOX first, then by their texts, with parents and subscriptions that do not exist.
    pub(super) fn list(mut self, mailbox: &Mailbox, progress: &mut ListProgress) -> Sliced<Vec<FolderInfo>> {
        let inbox = self.storage.maildir(mailbox)?;
        let folders = FolderTree::of(&inbox, MAX_FOLDERS);
        folders.recover();
        let entries = folders.list().map_err(|error| log_failure(&error))?;
        let all = entries.iter().filter_map(|entry| named(mailbox, &entry.text));
        if !self.items.is_empty()
            && self.read_all([mailbox.clone()].into_iter().chain(all), progress).is_break()
        {
            progress.counting = self.turn.progress;
            return Ok(ControlFlow::Break(()));
        }
        let status_of = |folder: &Mailbox| progress.found.get(folder).copied().flatten();
        let uses = folders.uses(&entries);
        // A file that cannot be read hides no folder.
        let subscriptions = folders.subscriptions().unwrap_or_else(|error| {
            log::warn!("{error}: every folder counts as subscribed");
            None
        });
        let subscribed = subscriptions.as_ref().map(Subscriptions::lookup);
        let is_subscribed = |name: &str| subscribed.as_ref().is_none_or(|all| all.contains(name));
        let of_inbox = FolderInfo {
            folder: mailbox.clone(),
            exists: true,
            is_subscribed: is_subscribed("INBOX"),
            special_use: None,
            status: status_of(mailbox),
        };
        let mut by_text = BTreeMap::new();
        for FolderEntry { text, directory } in &entries {
            let Some(folder) = named(mailbox, text) else {
                log_unshown(&inbox.path().join(directory));
                continue;
            };
            let info = FolderInfo {
                is_subscribed: is_subscribed(directory),
                special_use: uses
                    .iter()
                    .find(|(_, has)| has == directory)
                    .map(|(special_use, _)| *special_use),
                status: status_of(&folder),
                exists: true,
                folder,
            };
            by_text.insert(text.clone(), info);
        }
        let absent = |text: &str, is_subscribed| {
            let folder = named(mailbox, text)?;
            Some(FolderInfo { folder, exists: false, is_subscribed, special_use: None, status: None })
        };
        let names =
            subscriptions.iter().flat_map(|all| all.names()).filter_map(|name| FolderTree::text_of(&name));
        for text in names {
            if !by_text.contains_key(&text) {
                by_text.extend(absent(&text, true).map(|info| (text, info)));
            }
        }
        // LSUB with a percent sign names the parents of a subscribed name too (RFC 3501 section 6.3.9).
        let mut parents = Vec::new();
        for text in by_text.keys() {
            parents.extend(text.match_indices('.').map(|(end, _)| text[..end].to_owned()));
        }
        for parent in parents {
            if !by_text.contains_key(&parent) {
                by_text.extend(absent(&parent, false).map(|info| (parent, info)));
            }
        }
        Ok(ControlFlow::Continue([of_inbox].into_iter().chain(by_text.into_values()).collect()))
    }

    /// The numbers of one folder.
    pub(super) fn status(mut self, folder: &Mailbox, progress: &mut ListProgress) -> Sliced<FolderStatus> {
        let read = self.read(folder)?;
        progress.counting = self.turn.progress;
        Ok(read)
    }

    /// Reads the numbers of the folders that have none yet.
    fn read_all(
        &mut self,
        folders: impl Iterator<Item = Mailbox>,
        progress: &mut ListProgress,
    ) -> ControlFlow<()> {
        for folder in folders {
            if progress.found.contains_key(&folder) {
                continue;
            }
            if self.turn.is_spent() {
                return ControlFlow::Break(());
            }
            let status = match self.read(&folder) {
                Ok(ControlFlow::Break(())) => return ControlFlow::Break(()),
                Ok(ControlFlow::Continue(status)) => Some(status),
                Err(_) => None,
            };
            progress.found.insert(folder, status);
        }
        ControlFlow::Continue(())
    }

    fn read(&mut self, folder: &Mailbox) -> Sliced<FolderStatus> {
        let wants_size = self.items.contains(&StatusItem::Size);
        let maildir = self.storage.imap_maildir(folder)?;
        let status = match self.known.get(folder) {
            Some(KnownFolder::Selected(sequence)) => Ok(Some(folder_status::of_sequence(sequence))),
            known => self.read_idle(&maildir, known, wants_size),
        };
        let status = status.map_err(|error| log_failure(&error))?;
        Ok(status.map_or(ControlFlow::Break(()), ControlFlow::Continue))
    }

    fn read_idle(
        &mut self,
        maildir: &Maildir,
        known: Option<&KnownFolder>,
        wants_size: bool,
    ) -> Result<Option<FolderStatus>, Error> {
        let next = match known {
            Some(KnownFolder::Idle(state, id)) if *id == maildir.id() => Some(NextNumbers::from(&**state)),
            _ => None,
        };
        folder_status::read(self.storage, maildir, (wants_size, &mut self.turn), next)
    }
}

/// The folder with that text. `None`: no name on the wire can have it, or it would be INBOX.
pub(super) fn named(mailbox: &Mailbox, text: &str) -> Option<Mailbox> {
    let folder = Folder::from_decoded(text).filter(|_| !text.eq_ignore_ascii_case("INBOX"))?;
    Some(mailbox.clone().in_folder(folder))
}

/// Logs once each folder that no list shows.
fn log_unshown(folder: &Path) {
    static LOGGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.len() < MAX_LOGGED && logged.insert(folder.to_owned()) {
        let folder = printable::escape_path(folder);
        log::warn!(
            "{folder}: IMAP cannot show a folder of this name, so no login reads mail in it: `restante fsck` has the command \
             that renames it"
        );
    }
}

/// Folders that are logged.
const MAX_LOGGED: usize = 1000;

#[cfg(test)]
mod tests;
