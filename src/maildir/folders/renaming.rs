//! RENAME of a folder, with all folders below it.
//!
//! It has several steps, and the record of the folders names it, durably, before the first one. Each step can be repeated, so
//! the next change or list of the folders finishes the renaming of a killed process.

use rustix::{
    fs::{self, AtFlags},
    io::Errno,
};

use super::{
    super::{Error, Kind, message_move::are_renames_atomic},
    FolderEntry, FolderError, FolderTree, MAX_NAME, SUBSCRIPTIONS, bare, folder_text, is_below, is_inbox,
    record::{FolderRecord, Renaming},
};

impl FolderTree<'_> {
    /// Gives a folder another name, and all folders below it. The missing parents of the new name are made.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FolderError> {
        if is_inbox(from) {
            return self.rename_inbox(to);
        }
        let (old, new) = (folder_text(from), folder_text(to));
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
            let name_text = folder_text(name);
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
        self.carry_out(record, from, to)
    }

    /// Ends the renaming of a process that was killed, or that could not undo it. The caller has the lock.
    pub(super) fn finish_renaming(&self) -> Result<(), FolderError> {
        let record = FolderRecord::load(self.inbox)?;
        match record.renaming.clone() {
            None => Ok(()),
            // Whatever prevents that prevents all changes too: the messages of INBOX may be in the folder that one is about.
            Some(Renaming::Inbox { to }) => {
                log::info!("{}: undoing the renaming of INBOX", self.inbox.path().display());
                self.undo_inbox_renaming(record, &to, are_renames_atomic)
            }
            Some(Renaming::Folder { from, to }) => {
                log::info!("{}: finishing the renaming of a folder", self.inbox.path().display());
                match self.carry_out(record, &from, &to) {
                    // A folder that cannot get its new name keeps the old one.
                    Err(FolderError::Disk(error)) if is_transient(&error) => Err(error.into()),
                    _ => Ok(()),
                }
            }
        }
    }

    /// The same, if there is such a renaming and no other process is at work.
    pub fn recover(&self) {
        let recovered = FolderRecord::load(self.inbox).map_err(FolderError::from).and_then(|record| {
            if record.renaming.is_some() { self.begin_change().map(drop) } else { Ok(()) }
        });
        if let Err(FolderError::Disk(error)) = recovered {
            log::warn!("{error}: the renaming of a folder has not ended yet");
        }
    }

    /// Takes the steps that are left of a renaming, and then removes it from the record. A name that is in use meanwhile is
    /// left alone, and is the error that is returned at the end.
    fn carry_out(&self, mut record: FolderRecord, from: &str, to: &str) -> Result<(), FolderError> {
        let mut left = Ok(());
        let old_text = folder_text(from);
        for (old, new) in planned_names(&self.list()?, &old_text, to) {
            match self.rename_directory(&old, &new) {
                Ok(()) => {}
                Err(FolderError::Disk(error)) if is_transient(&error) => return Err(error.into()),
                Err(error) => left = Err(error),
            }
        }
        self.sync()?;
        let renamed = |name: &str| renamed(name, &old_text, to);
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
        record.renaming = None;
        record.save(self.inbox)?;
        left
    }

    /// Whether there is anything of that name beside the messages.
    pub(super) fn is_taken(&self, name: &str) -> Result<bool, Error> {
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
    let end = ends.find(|end| folder_text(&name[..*end]) == from)?;
    Some(format!("{to}{}", &name[end..]))
}
