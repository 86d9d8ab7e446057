//! RENAME: a folder with all folders below it, or the messages of INBOX into a new folder.
//!
//! It has several steps, and the record of the folders names it, durably, before the first one. Each step can be repeated, so
//! the next change or list of the folders finishes the renaming of a killed process.

use std::{collections::HashSet, io::Read, path::PathBuf};

use rustix::{
    fs::{self, AtFlags, RenameFlags},
    io::Errno,
};

use super::{
    super::{
        Error, Kind, Maildir, Subdir,
        cache_file::{self, open},
        fault_points::fault_point,
        folder_name::text,
        keyword_file,
        message_move::are_renames_atomic,
        name::identity,
    },
    FolderEntry, FolderError, Folders, MAX_NAME, SUBSCRIPTIONS, bare, is_below, is_inbox,
    message_files::message_files,
    record::{FolderRecord, Renaming},
};
use crate::safe_file::Durability;

impl Folders<'_> {
    /// Gives a folder another name, and all folders below it. The missing parents of the new name are made.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FolderError> {
        if is_inbox(from) {
            return self.rename_inbox(to);
        }
        let (old, new) = (text(bare(from)), text(bare(to)));
        if is_below(&new, &old) {
            return Err(FolderError::Impossible);
        }
        let _lock = self.begin_change()?;
        if is_inbox(to) || old == new {
            return Err(FolderError::Exists);
        }
        let folders = self.list()?;
        let planned = planned_names(&folders, &old, to);
        if planned.is_empty() {
            return Err(FolderError::Missing);
        }
        for (_, name) in &planned {
            if name.len() > MAX_NAME {
                return Err(FolderError::Impossible);
            }
            let name_text = text(bare(name));
            if folders.iter().any(|folder| folder.text == name_text) || self.is_taken(name)? {
                return Err(FolderError::Exists);
            }
        }
        self.plan_subscriptions(|all| {
            to.match_indices('.').skip(1).for_each(|(end, _)| all.insert(&to[..end]));
            all.rename(|name| renamed(name, &old, to));
        })?;
        if let Some((parent, _)) = bare(to).rsplit_once('.') {
            match self.create_locked(&format!(".{parent}")) {
                Ok(_) | Err(FolderError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        let mut record = FolderRecord::load(self.inbox)?;
        record.renaming = Some(Renaming::Folder { from: from.to_owned(), to: to.to_owned() });
        record.save(self.inbox)?;
        self.carry_out(record)
    }

    /// Makes a folder and moves the messages of INBOX there. INBOX stays, and so do the folders below it (RFC 9051 section
    /// 6.3.6).
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
        if is_inbox(to) || self.is_taken(to)? {
            return Err(FolderError::Exists);
        }
        self.create_locked(to)?;
        let mut record = FolderRecord::load(self.inbox)?;
        record.renaming = Some(Renaming::Inbox { to: to.to_owned() });
        record.save(self.inbox)?;
        let target = self.open(to)?;
        copy_keywords(self.inbox, &target)?;
        if !(are_renames_atomic(self.inbox, &target) && rename_messages(self.inbox, &target)?) {
            link_messages(self.inbox, &target)?;
        }
        self.carry_out(record)
    }

    /// Finishes the renaming of a process that was killed. The caller has the lock.
    pub(super) fn finish_renaming(&self) -> Result<(), FolderError> {
        let record = FolderRecord::load(self.inbox)?;
        if record.renaming.is_none() {
            return Ok(());
        }
        log::info!("{}: finishing the renaming of a folder", self.inbox.path().display());
        match self.carry_out(record) {
            // A folder that cannot get its new name keeps the old one.
            Err(FolderError::Disk(error)) if is_transient(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The same, if there is such a renaming and no other process is at work.
    pub fn recover(&self) {
        let recovered = FolderRecord::load(self.inbox).map_err(FolderError::from).and_then(|record| {
            if record.renaming.is_some() { self.begin_change().map(drop) } else { Ok(()) }
        });
        if let Err(FolderError::Disk(error)) = recovered {
            log::warn!("{error}: the renaming of a folder is not finished yet");
        }
    }

    /// Takes the steps that are left of a renaming, and then removes it from the record. A name that is in use meanwhile is
    /// left alone, and is the error that is returned at the end.
    fn carry_out(&self, mut record: FolderRecord) -> Result<(), FolderError> {
        let mut left = Ok(());
        match record.renaming.take() {
            None => {}
            Some(Renaming::Inbox { to }) => match self.open(&to) {
                Ok(target) => unlink_moved(self.inbox, &target)?,
                Err(FolderError::Missing) => {}
                Err(error) => return Err(error),
            },
            Some(Renaming::Folder { from, to }) => {
                for (old, new) in planned_names(&self.list()?, &text(bare(&from)), &to) {
                    match self.rename_directory(&old, &new) {
                        Ok(()) => {}
                        Err(FolderError::Disk(error)) if is_transient(&error) => return Err(error.into()),
                        Err(error) => left = Err(error),
                    }
                }
                self.sync()?;
                let renamed = |name: &str| renamed(name, &text(bare(&from)), &to);
                match self.plan_subscriptions(|all| all.rename(renamed)) {
                    Ok(Some(subscriptions)) => self.save_subscriptions(&subscriptions)?,
                    Ok(None) => {}
                    Err(FolderError::Disk(error)) => return Err(error.into()),
                    Err(_) => log::warn!(
                        "{}: has no room for the new names of folders",
                        self.inbox.path().join(SUBSCRIPTIONS).display()
                    ),
                }
                for (_, directory) in &mut record.uses {
                    *directory = renamed(directory).unwrap_or_else(|| directory.clone());
                }
            }
        }
        record.save(self.inbox)?;
        left
    }

    /// Whether there is anything of that name beside the messages.
    fn is_taken(&self, name: &str) -> Result<bool, Error> {
        match fs::statat(self.inbox.root(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::at(self.inbox.path().join(name), "stat", error)),
        }
    }
}

/// Whether trying again may help.
fn is_transient(error: &Error) -> bool {
    !error.is_taken_name() && !matches!(error.kind(), Kind::Gone | Kind::Unusable)
}

/// The old and the new directory of each folder that a renaming moves: the folders below first.
fn planned_names(folders: &[FolderEntry], from: &str, to: &str) -> Vec<(String, String)> {
    let planned = folders.iter().rev();
    let new_name =
        |folder: &FolderEntry| Some((folder.directory.clone(), renamed(&folder.directory, from, to)?));
    planned.filter_map(new_name).collect()
}

/// The new name of a directory whose folder is `from`, or stands below it. The levels below keep their spelling.
fn renamed(directory: &str, from: &str, to: &str) -> Option<String> {
    let name = bare(directory);
    let mut ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
    let end = ends.find(|end| text(&name[..*end]) == from)?;
    Some(format!("{to}{}", &name[end..]))
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

/// Renames each message of one Maildir into another one, under its name. Returns `false` if the directories allow that of none.
fn rename_messages(source: &Maildir, target: &Maildir) -> Result<bool, Error> {
    for subdir in Subdir::ALL {
        for (name, _) in message_files(source, subdir)? {
            fault_point(source.path(), "rename message")?;
            let (from, to) = (source.dir(subdir), target.dir(subdir));
            match fs::renameat_with(from, &*name, to, &*name, RenameFlags::NOREPLACE) {
                // Another program has renamed it, and it stays in INBOX.
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

/// Links each message of one Maildir into another one, under its name.
fn link_messages(source: &Maildir, target: &Maildir) -> Result<(), Error> {
    for subdir in Subdir::ALL {
        for (name, _) in message_files(source, subdir)? {
            let (from, to) = (source.dir(subdir), target.dir(subdir));
            fault_point(source.path(), "link message")?;
            match fs::linkat(from, &*name, to, &*name, AtFlags::empty()) {
                // Another program has renamed it, and it stays in INBOX.
                Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                Err(error) => return Err(Error::at(path_in(target, subdir, &name), "link", error)),
            }
        }
    }
    Ok(())
}

/// Makes the names durable in the target, and then removes the same files from the source, under any name of their identity. Those
/// that were renamed are there no more.
fn unlink_moved(source: &Maildir, target: &Maildir) -> Result<(), Error> {
    let mut moved = HashSet::new();
    for subdir in Subdir::ALL {
        target.sync(subdir)?;
        moved.extend(
            message_files(target, subdir)?.into_iter().map(|(name, inode)| (identity(&name).to_vec(), inode)),
        );
    }
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
