//! Folders with a special use (RFC 6154): `Sent`, `Drafts`, `Trash`, `Junk` and `Archive`.
//!
//! The record of the folders says once which folder has a use. A folder that is not in it has the use of its name.

use super::{FolderEntry, FolderError, FolderTree, bare, record::FolderRecord};
use crate::special_use::SpecialUse;

impl FolderTree<'_> {
    /// Makes the folders with a special use that are missing, once in the life of a mailbox: the user may delete them after
    /// that. A folder which another program has made for a use keeps it. If one cannot be made, the others are, and the next login
    /// tries again.
    pub fn prepare(&self) -> Result<(), FolderError> {
        let record = FolderRecord::load(self.inbox)?;
        if record.is_prepared && record.renaming.is_none() {
            return Ok(());
        }
        let _lock = self.begin_change()?;
        let mut record = FolderRecord::load(self.inbox)?;
        if record.is_prepared {
            return Ok(());
        }
        self.clean_deleted()?;
        let folders = self.list()?;
        let mut failure = None;
        for special_use in SpecialUse::ALL {
            let has_name = |name: &&str| folders.iter().find(|folder| folder.text.eq_ignore_ascii_case(name));
            if let Some((_, directory)) =
                uses(&record, &folders).into_iter().find(|(used, _)| *used == special_use)
            {
                record.set_use(special_use.word(), &directory);
            } else if let Some(folder) = special_use.folder_names().iter().find_map(has_name) {
                record.set_use(special_use.word(), &folder.directory);
            } else {
                let directory = format!(".{}", special_use.word());
                match self.create_locked(&directory) {
                    Ok(_) | Err(FolderError::Exists) => record.set_use(special_use.word(), &directory),
                    Err(FolderError::TooMany | FolderError::TooManySubscriptions) => {}
                    Err(error) => failure = Some(error),
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        record.is_prepared = true;
        record.save(self.inbox)?;
        Ok(())
    }

    /// Makes a folder for a special use. Another folder that had the use loses it.
    pub fn create_for_use(&self, name: &str, special_use: SpecialUse) -> Result<Vec<String>, FolderError> {
        let _lock = self.begin_change()?;
        let made = self.create_locked(name)?;
        let mut record = FolderRecord::load(self.inbox)?;
        record.set_use(special_use.word(), name);
        record.save(self.inbox)?;
        Ok(made)
    }

    /// The special uses of these folders, each with the directory that has it.
    pub fn uses(&self, folders: &[FolderEntry]) -> Vec<(SpecialUse, String)> {
        let record = FolderRecord::load(self.inbox).unwrap_or_else(|error| {
            log::warn!("{error}: folders have the special uses of their names");
            FolderRecord::default()
        });
        uses(&record, folders)
    }
}

fn uses(record: &FolderRecord, folders: &[FolderEntry]) -> Vec<(SpecialUse, String)> {
    let exists = |directory: &str| folders.iter().any(|folder| folder.directory == directory);
    let recorded = record.uses.iter().filter(|(_, directory)| exists(directory));
    let typed = |(word, directory): &(String, String)| Some((SpecialUse::of_word(word)?, directory.clone()));
    let mut uses: Vec<(SpecialUse, String)> = recorded.filter_map(typed).collect();
    for special_use in SpecialUse::ALL {
        let is_named = |folder: &&FolderEntry| bare(&folder.directory) == special_use.word();
        let is_used = uses.iter().any(|(used, has)| *used == special_use || bare(has) == special_use.word());
        if let Some(folder) = folders.iter().find(is_named).filter(|_| !is_used) {
            uses.push((special_use, folder.directory.clone()));
        }
    }
    uses
}
