//! Folders with a special use (RFC 6154): `Sent`, `Drafts`, `Trash`, `Junk` and `Archive`.
//!
//! The record of the folders says once which folder has a use. A folder that is not in it has the use of its name.

use super::{FolderEntry, FolderError, FolderTree, bare, record::FolderRecord};

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
        for (word, names) in USES {
            let has_name = |name: &&str| folders.iter().find(|folder| folder.text.eq_ignore_ascii_case(name));
            if let Some((_, directory)) = uses(&record, &folders).into_iter().find(|(used, _)| used == word) {
                record.set_use(word, &directory);
            } else if let Some(folder) = names.iter().find_map(has_name) {
                record.set_use(word, &folder.directory);
            } else {
                let directory = format!(".{word}");
                match self.create_locked(&directory) {
                    Ok(_) | Err(FolderError::Exists) => record.set_use(word, &directory),
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

    /// Makes a folder for a special use, such as `Sent`. Another folder that had the use loses it.
    pub fn create_for_use(&self, name: &str, word: &str) -> Result<Vec<String>, FolderError> {
        let _lock = self.begin_change()?;
        let made = self.create_locked(name)?;
        let mut record = FolderRecord::load(self.inbox)?;
        record.set_use(word, name);
        record.save(self.inbox)?;
        Ok(made)
    }

    /// The special uses of these folders, each with the directory that has it.
    pub fn uses(&self, folders: &[FolderEntry]) -> Vec<(String, String)> {
        let record = FolderRecord::load(self.inbox).unwrap_or_else(|error| {
            log::warn!("{error}: folders have the special uses of their names");
            FolderRecord::default()
        });
        uses(&record, folders)
    }
}

fn uses(record: &FolderRecord, folders: &[FolderEntry]) -> Vec<(String, String)> {
    let exists = |directory: &str| folders.iter().any(|folder| folder.directory == directory);
    let mut uses: Vec<(String, String)> =
        record.uses.iter().filter(|(_, directory)| exists(directory)).cloned().collect();
    for (word, _) in USES {
        let is_named = |folder: &&FolderEntry| bare(&folder.directory) == *word;
        let is_used = uses.iter().any(|(used, has)| used == word || bare(has) == *word);
        if let Some(folder) = folders.iter().find(is_named).filter(|_| !is_used) {
            uses.push(((*word).to_owned(), folder.directory.clone()));
        }
    }
    uses
}

/// Each use, and the names that programs give to its folder. The first one is ours.
const USES: &[(&str, &[&str])] = &[
    ("Archive", &["Archive", "Archives"]),
    ("Drafts", &["Drafts"]),
    ("Junk", &["Junk", "Spam", "Junk E-mail"]),
    ("Sent", &["Sent", "Sent Items", "Sent Messages", "Sent Mail"]),
    ("Trash", &["Trash", "Deleted Items", "Deleted Messages"]),
];
