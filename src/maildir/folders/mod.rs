//! The folders of a mailbox (Maildir++): directories beside its `new/` and `cur/`, with a dot in front and a dot between
//! levels.
//!
//! The rule: each change is durable before it is told, and a kill at any step leaves every message in a folder that a list
//! shows. docs/DISK.md has the steps. A folder is found by the text of its name, so that a name which another program has
//! written in plain UTF-8 is found too. Links are never followed.

mod inbox_renaming;
mod message_files;
mod record;
mod removal;
mod renaming;
mod special_use;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::io;

use rustix::{
    fs::{self, AtFlags, Dir, FileType},
    io::Errno,
};

use super::{
    Error, Kind, Maildir,
    directory::{open_directory, sync_directory},
    fault_points::fault_point,
    folder_name::text,
    lock::Lock,
    store::{FOLDER_MARK, is_folder_name, make_maildir},
    sync_phase::{SyncPart, is_sync_skipped},
};

pub use message_files::message_names;
pub use record::{RECORD, bad_record_lines};
pub use removal::clean_deleted;
pub use subscriptions::{SUBSCRIPTIONS, SubscribedFolders, Subscriptions, bad_subscription_lines};

/// The tree of folders of one mailbox (Maildir++).
#[derive(Debug, Clone, Copy)]
pub struct FolderTree<'a> {
    /// The mailbox itself: INBOX.
    inbox: &'a Maildir,
    /// The largest number of folders.
    max: usize,
}

/// A folder that exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderEntry {
    /// Its name as a person reads it, without the leading dot.
    pub text: String,
    /// The name of its directory, with the leading dot.
    pub directory: String,
}

/// The reason why a change of folders did not happen.
#[derive(Debug)]
pub enum FolderError {
    /// There is such a folder already.
    Exists,
    /// There is no such folder.
    Missing,
    /// There are folders below it.
    HasChildren,
    /// This folder can never be changed in this way, or have this name.
    Impossible,
    /// The mailbox has as many folders as it may have.
    TooMany,
    /// The file of subscriptions has no room for another name.
    TooManySubscriptions,
    /// The disk, or the rights on it.
    Disk(Error),
}

impl From<Error> for FolderError {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}

impl<'a> FolderTree<'a> {
    /// The folders of that mailbox, `max` at most.
    pub fn of(inbox: &'a Maildir, max: usize) -> Self {
        Self { inbox, max }
    }

    /// Every folder with a `cur/`, in the order of their texts. Of two directories whose names mean the same, one is listed.
    pub fn list(&self) -> Result<Vec<FolderEntry>, Error> {
        let failed = |e| Error::at(self.inbox.path(), "read directory", e);
        let mut folders = Vec::new();
        for entry in Dir::read_from(self.inbox.root()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(directory) = entry.file_name().to_str() else { continue };
            let may_be_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if !may_be_directory || !is_folder_name(directory) || !self.is_folder(directory)? {
                continue;
            }
            if folders.len() == MAX_LISTED {
                log::warn!(
                    "{}: has more than {MAX_LISTED} folders, the others are not listed",
                    self.inbox.path().display()
                );
                break;
            }
            folders.push(FolderEntry { text: folder_text(directory), directory: directory.to_owned() });
        }
        // Plain ASCII, as modified UTF-7 is, sorts before other spellings of one text.
        folders.sort_unstable_by(|one, other| {
            let spelling = |folder: &FolderEntry| (!folder.directory.is_ascii(), folder.directory.clone());
            one.text.cmp(&other.text).then_with(|| spelling(one).cmp(&spelling(other)))
        });
        folders.dedup_by(|next, kept| next.text == kept.text);
        Ok(folders)
    }

    /// The directory of a folder. `name` is the name of its directory in modified UTF-7, which may be spelled otherwise on the
    /// disk.
    pub fn find(&self, name: &str) -> Result<Option<String>, Error> {
        if self.is_folder(name)? {
            return Ok(Some(name.to_owned()));
        }
        let wanted = folder_text(name);
        Ok(self.list()?.into_iter().find(|folder| folder.text == wanted).map(|folder| folder.directory))
    }

    /// The text of the name of a directory. `None` for INBOX.
    pub fn text_of(name: &str) -> Option<String> {
        name.strip_prefix('.').map(folder_text)
    }

    /// Opens a folder.
    pub fn open(&self, name: &str) -> Result<Maildir, FolderError> {
        let directory = self.find(name)?.ok_or(FolderError::Missing)?;
        let path = self.inbox.path().join(&directory);
        let opened = open_directory(self.inbox.root(), directory.as_str(), &path)
            .and_then(|root| Maildir::at(root, path));
        opened.map_err(|error| if error.kind() == Kind::Gone { FolderError::Missing } else { error.into() })
    }

    /// Makes a folder and the parents that it lacks, durably, and subscribes to them, unless there are no subscriptions, which
    /// means all folders. Returns the directories.
    pub fn create(&self, name: &str) -> Result<Vec<String>, FolderError> {
        let _lock = self.begin_change()?;
        self.create_locked(name)
    }

    fn create_locked(&self, name: &str) -> Result<Vec<String>, FolderError> {
        if is_inbox(name) {
            return Err(FolderError::Exists);
        }
        match self.open(name) {
            Ok(_) => return Err(FolderError::Exists),
            Err(FolderError::Missing) => {}
            Err(error) => return Err(error),
        }
        self.make_with_parents(name)
    }

    /// The same for a folder that is missing, or lacks a part after a kill.
    fn make_with_parents(&self, name: &str) -> Result<Vec<String>, FolderError> {
        let planned = self.plan_with_parents(name)?;
        self.make_folders(&planned)?;
        if let Some(subscriptions) = &planned.subscriptions {
            self.save_subscriptions(subscriptions)?;
        }
        Ok(planned.directories)
    }

    /// Looks whether such a folder can be made.
    fn plan_with_parents(&self, name: &str) -> Result<PlannedFolders, FolderError> {
        let (mut made, mut new) = (Vec::new(), 0);
        let parents = name.match_indices('.').skip(1).map(|(end, _)| &name[..end]);
        for name in parents.chain([name]).filter(|name| !is_inbox(name)) {
            match self.open(name) {
                Ok(_) => {}
                Err(FolderError::Missing) => {
                    let directory = self.find(name)?;
                    new += usize::from(directory.is_none());
                    made.push(directory.unwrap_or_else(|| name.to_owned()));
                }
                Err(error) => return Err(error),
            }
        }
        if self.list()?.len() + new > self.max {
            return Err(FolderError::TooMany);
        }
        let subscriptions =
            self.plan_subscriptions(|all| made.iter().for_each(|directory| all.insert(directory)))?;
        Ok(PlannedFolders { directories: made, subscriptions })
    }

    /// Makes folders, durably, without their subscriptions.
    fn make_folders(&self, planned: &PlannedFolders) -> Result<(), FolderError> {
        for directory in &planned.directories {
            make_maildir(self.inbox.root(), self.inbox.path(), directory, Some(FOLDER_MARK))?;
        }
        Ok(())
    }

    /// Waits for other changes of these folders to end, and ends one that has not ended.
    fn begin_change(&self) -> Result<Lock, FolderError> {
        let lock = Lock::of_folders((self.inbox.root(), self.inbox.path()))?;
        self.finish_renaming()?;
        Ok(lock)
    }

    /// Whether a directory of that name is a folder.
    fn is_folder(&self, directory: &str) -> Result<bool, Error> {
        // A name that cannot be on a disk has no folder.
        if !is_folder_name(directory) || directory.contains(['/', '\0']) {
            return Ok(false);
        }
        let at = |name: &str| match fs::statat(self.inbox.root(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            Err(Errno::ACCESS) => Ok(true), // it cannot be used, and whoever opens it says so
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(false),
            Err(error) => Err(Error::at(self.inbox.path().join(name), "stat", error)),
        };
        Ok(at(directory)? && at(&format!("{directory}/cur"))?)
    }

    /// Makes the names of the folders durable.
    fn sync(&self) -> Result<(), Error> {
        fault_point(self.inbox.path(), "fsync directory")?;
        if is_sync_skipped(SyncPart::Folders) {
            return Ok(());
        }
        sync_directory(self.inbox.root(), self.inbox.path())
    }
}

/// Folders that are to be made.
struct PlannedFolders {
    /// Their directories, the parents first.
    directories: Vec<String>,
    /// The subscriptions after that, if they change.
    subscriptions: Option<Subscriptions>,
}

/// The text of the name of a folder. The first level may be INBOX, whose case does not count (RFC 3501 section 5.1), so that the
/// text has it in capitals.
fn folder_text(name: &str) -> String {
    let mut text = text(bare(name));
    let first = text.split('.').next().unwrap_or_default();
    if first.eq_ignore_ascii_case(INBOX) {
        text.replace_range(..INBOX.len(), INBOX);
    }
    text
}

/// The name of a directory without the leading dot.
fn bare(directory: &str) -> &str {
    directory.strip_prefix('.').unwrap_or(directory)
}

/// Whether the name of a directory would be INBOX on the wire, where its case does not count (RFC 9051 section 5.1).
fn is_inbox(name: &str) -> bool {
    name.eq_ignore_ascii_case(".INBOX")
}

/// Whether a folder stands below another one, by the text of their names.
fn is_below(child: &str, parent: &str) -> bool {
    child.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

/// A failure for a name that is in use.
fn taken(path: std::path::PathBuf) -> Error {
    Error::at(path, "rename", io::Error::from(io::ErrorKind::AlreadyExists))
}

/// The name of the mailbox itself.
const INBOX: &str = "INBOX";
/// The largest number of folders in a list. Other programs may make any number of directories.
const MAX_LISTED: usize = 10_000;
/// Octets of the longest name of a folder's directory. File names may have 255, and the server puts names of its own beside
/// them.
const MAX_NAME: usize = 200;
