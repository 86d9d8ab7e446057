//! RENAME of INBOX: its messages go to a new folder. INBOX stays, and so do the folders below it (RFC 9051 section 6.3.6).
//!
//! The rule: INBOX is renamed once the record of the folders is without the renaming, which it names, durably, before the first
//! step. Until then any failure moves the messages back. If that fails too, or the process is killed, the next change of the
//! folders or list of them does so before anything else, so that no folder goes while it has messages of INBOX.

use std::{collections::HashSet, io::Read, path::PathBuf};

use rustix::{
    fs::{self, AtFlags, FileType, RenameFlags},
    io::Errno,
};

use super::{
    super::{
        Error, Kind, Maildir, Subdir,
        cache_file::{self, open},
        directory::open_directory,
        fault_points::fault_point,
        keyword_file,
        message_move::are_renames_atomic,
        name::identity,
        store::{FOLDER_MARK, make_maildir},
    },
    FolderError, FolderTree, PlannedFolders, is_inbox,
    message_files::message_files,
    record::{FolderRecord, Renaming},
    removal::{ATTEMPTS, MAX_DEPTH, remove_tree},
};
use crate::safe_file::Durability;

impl FolderTree<'_> {
    /// Makes a folder and moves the messages of INBOX there.
    pub fn rename_inbox(&self, to: &str) -> Result<(), FolderError> {
        self.rename_inbox_by(to, are_renames_atomic)
    }

    /// The same, if one rename of a message is whole or undone after a power cut, and else with links.
    pub(super) fn rename_inbox_by(
        &self,
        to: &str,
        are_renames_atomic: impl Fn(&Maildir, &Maildir) -> bool,
    ) -> Result<(), FolderError> {
        let _lock = self.begin_change()?;
        if is_inbox(to) || self.is_taken(to)? || self.find(to)?.is_some() {
            return Err(FolderError::Exists);
        }
        let planned = self.plan_with_parents(to)?;
        let mut made = Vec::new();
        for directory in &planned.directories {
            if !self.is_taken(directory)? {
                made.push(directory.as_str());
            }
        }
        let subscriptions = planned.subscriptions.as_ref().and_then(|_| self.subscriptions().ok().flatten());
        let mut record = FolderRecord::load(self.inbox)?;
        record.renaming = Some(Renaming::Inbox { to: to.to_owned() });
        let Err(error) = self.move_inbox(record.clone(), to, &planned, &are_renames_atomic) else {
            return Ok(());
        };
        if let FolderError::Disk(error) = &error
            && self.is_directory(to)?
            && !self.is_in_record(&record)?
        {
            log::warn!("{error}: INBOX is renamed all the same, and a power cut may undo that");
            return Ok(());
        }
        let undone = self.undo_inbox_renaming(record, to, are_renames_atomic).and_then(|()| {
            if self.subscriptions()? == planned.subscriptions
                && let Some(before) = subscriptions
            {
                self.save_subscriptions(&before)?;
            }
            // Its parents, from the lowest one.
            made.into_iter().rev().skip(1).try_for_each(|parent| self.remove_empty(parent).map(drop))
        });
        if let Err(FolderError::Disk(error)) = undone {
            log::warn!("{error}: the next change of the folders undoes the renaming of INBOX");
        }
        Err(error)
    }

    fn move_inbox(
        &self,
        mut record: FolderRecord,
        to: &str,
        planned: &PlannedFolders,
        are_renames_atomic: impl Fn(&Maildir, &Maildir) -> bool,
    ) -> Result<(), FolderError> {
        record.save(self.inbox)?;
        self.make_folders(planned)?;
        let target = self.open(to)?;
        copy_keywords(self.inbox, &target)?;
        move_messages(self.inbox, &target, are_renames_atomic(self.inbox, &target))?;
        if let Some(subscriptions) = &planned.subscriptions {
            self.save_subscriptions(subscriptions)?;
        }
        record.renaming = None;
        Ok(record.save(self.inbox)?)
    }

    /// Whether the renaming can be undone after a kill. The last step may have failed after the record was without it.
    fn is_in_record(&self, record: &FolderRecord) -> Result<bool, Error> {
        let is_there = || FolderRecord::load(self.inbox).map(|there| there == *record);
        Ok(is_there()? || record.save(self.inbox).is_ok() || is_there()?)
    }

    /// Moves the messages back, removes the folder, and then the renaming from the record. The caller has the lock. A message
    /// that has come into the folder meanwhile goes to INBOX too, as a delivery to a missing folder does.
    pub(super) fn undo_inbox_renaming(
        &self,
        mut record: FolderRecord,
        to: &str,
        are_renames_atomic: impl Fn(&Maildir, &Maildir) -> bool,
    ) -> Result<(), FolderError> {
        if self.is_directory(to)? {
            for attempt in 1.. {
                self.move_back(to, &are_renames_atomic)?;
                if self.remove_empty(to)? {
                    break;
                }
                if attempt == ATTEMPTS {
                    log::warn!(
                        "{}: keeps files that cannot go to INBOX",
                        self.inbox.path().join(to).display()
                    );
                    break;
                }
            }
        }
        record.renaming = None;
        if FolderRecord::load(self.inbox)? != record {
            record.save(self.inbox)?;
        }
        Ok(())
    }

    fn move_back(
        &self,
        from: &str,
        are_renames_atomic: impl Fn(&Maildir, &Maildir) -> bool,
    ) -> Result<(), FolderError> {
        let path = self.inbox.path().join(from);
        let opened = open_directory(self.inbox.root(), from, &path).and_then(|root| Maildir::at(root, path));
        match opened {
            Ok(folder) => Ok(move_messages(&folder, self.inbox, are_renames_atomic(&folder, self.inbox))?),
            Err(error) if error.kind() == Kind::Gone => Ok(()), // it has not all of its directories
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is a directory of that name, of a folder or of a part of one.
    fn is_directory(&self, name: &str) -> Result<bool, Error> {
        match fs::statat(self.inbox.root(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::at(self.inbox.path().join(name), "stat", error)),
        }
    }

    /// Removes a folder, unless it has a file where messages are. Returns whether it is gone.
    fn remove_empty(&self, directory: &str) -> Result<bool, FolderError> {
        let (root, path) = (self.inbox.root(), self.inbox.path());
        let home = match open_directory(root, directory, &path.join(directory)) {
            Err(error) if error.kind() == Kind::Gone => return Ok(true),
            opened => opened?,
        };
        // Only an empty directory can be removed, whoever writes into it at this moment.
        for part in Subdir::ALL.map(Subdir::name) {
            fault_point(path, "remove directory")?;
            match fs::unlinkat(&home, part, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    make_maildir(root, path, directory, Some(FOLDER_MARK))?;
                    return Ok(false);
                }
                Err(error) => {
                    return Err(Error::at(path.join(directory).join(part), "remove directory", error).into());
                }
            }
        }
        remove_tree(root, directory.as_ref(), path, MAX_DEPTH)?;
        self.sync()?;
        Ok(true)
    }
}

/// The letters of keywords mean the same in the new folder.
fn copy_keywords(inbox: &Maildir, target: &Maildir) -> Result<(), Error> {
    let file = match open(inbox, keyword_file::FILE) {
        Err(error) if error.kind() == Kind::Gone => return Ok(()),
        opened => opened?,
    };
    let mut octets = Vec::new();
    let read = file.take(MAX_KEYWORDS_FILE).read_to_end(&mut octets);
    read.map_err(|e| Error::at(inbox.path().join(keyword_file::FILE), "read", e))?;
    cache_file::replace(target, keyword_file::FILE, &octets, Durability::Durable)
}

/// Moves each message of one Maildir to another one under its name, durably. `by_renames`: one rename is whole or undone after a
/// power cut, so that no message is ever in both.
fn move_messages(source: &Maildir, target: &Maildir, by_renames: bool) -> Result<(), Error> {
    // A killed process may have linked them, and another program may have changed their flags since.
    let there = identified_files(target)?;
    if !(by_renames && rename_messages(source, target, &there)?) {
        link_messages(source, target, &there)?;
    }
    unlink_doubled(source, target)
}

/// Renames the messages. Returns `false` if the directories allow that of none.
fn rename_messages(
    source: &Maildir,
    target: &Maildir,
    there: &HashSet<IdentifiedFile>,
) -> Result<bool, Error> {
    for subdir in Subdir::ALL {
        for (name, inode) in message_files(source, subdir)? {
            if there.contains(&(identity(&name).to_vec(), inode)) {
                continue;
            }
            fault_point(source.path(), "rename message")?;
            let (from, to) = (source.dir(subdir), target.dir(subdir));
            match fs::renameat_with(from, &*name, to, &*name, RenameFlags::NOREPLACE) {
                // Another program has renamed it, and it stays.
                Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => return Ok(false),
                Err(error) => return Err(Error::at(path_in(target, subdir, &name), "rename", error)),
            }
        }
    }
    Ok(true)
}

fn path_in(maildir: &Maildir, subdir: Subdir, name: &[u8]) -> PathBuf {
    maildir.path().join(subdir.name()).join(String::from_utf8_lossy(name).as_ref())
}

/// A file by the identity of its message, whatever its flags are, and its inode.
type IdentifiedFile = (Vec<u8>, u64);

fn identified_files(maildir: &Maildir) -> Result<HashSet<IdentifiedFile>, Error> {
    let mut files = HashSet::new();
    for subdir in Subdir::ALL {
        let names = message_files(maildir, subdir)?.into_iter();
        files.extend(names.map(|(name, inode)| (identity(&name).to_vec(), inode)));
    }
    Ok(files)
}

/// Links the messages.
fn link_messages(source: &Maildir, target: &Maildir, there: &HashSet<IdentifiedFile>) -> Result<(), Error> {
    for subdir in Subdir::ALL {
        for (name, inode) in message_files(source, subdir)? {
            if there.contains(&(identity(&name).to_vec(), inode)) {
                continue;
            }
            let (from, to) = (source.dir(subdir), target.dir(subdir));
            fault_point(source.path(), "link message")?;
            match fs::linkat(from, &*name, to, &*name, AtFlags::empty()) {
                // Another program has renamed it, and it stays.
                Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                Err(error) => return Err(Error::at(path_in(target, subdir, &name), "link", error)),
            }
        }
    }
    Ok(())
}

/// Makes the names durable in the target, and then removes the same files from the source, under any name of their identity. Those
/// that were renamed are there no more.
fn unlink_doubled(source: &Maildir, target: &Maildir) -> Result<(), Error> {
    Subdir::ALL.into_iter().try_for_each(|subdir| target.sync(subdir))?;
    let moved = identified_files(target)?;
    for subdir in Subdir::ALL {
        for (name, inode) in message_files(source, subdir)? {
            if !moved.contains(&(identity(&name).to_vec(), inode)) {
                continue;
            }
            fault_point(source.path(), "unlink message")?;
            match fs::unlinkat(source.dir(subdir), &*name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(Error::at(path_in(source, subdir, &name), "unlink", error)),
            }
        }
    }
    Subdir::ALL.into_iter().try_for_each(|subdir| source.sync(subdir))
}

/// Octets that are read of the file with the keywords.
const MAX_KEYWORDS_FILE: u64 = 64 << 10;
