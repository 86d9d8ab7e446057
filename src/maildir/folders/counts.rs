//! The numbers of a folder by the names of its files.

use rustix::fs::{Dir, FileType};

use super::super::{Error, Maildir, Subdir, name};

/// The numbers of a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderCounts {
    /// Messages.
    pub messages: u32,
    /// Messages without the flag `S`.
    pub unseen: u32,
    /// Messages with the flag `T`.
    pub deleted: u32,
}

impl FolderCounts {
    /// Reads the names in both directories, and no file. A name that no list of messages has is left out: hidden files, links
    /// and directories.
    pub fn read(maildir: &Maildir) -> Result<Self, Error> {
        let mut counts = Self::default();
        for subdir in Subdir::ALL {
            let failed = |e| Error::at(maildir.path().join(subdir.name()), "read directory", e);
            for entry in Dir::read_from(maildir.dir(subdir)).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let is_file = matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown);
                if is_file {
                    counts.add(subdir, entry.file_name().to_bytes());
                }
            }
        }
        Ok(counts)
    }

    /// Counts a message by the name of its file. In `new/` no program has shown it, whatever the name says.
    fn add(&mut self, subdir: Subdir, file_name: &[u8]) {
        if file_name.starts_with(b".") {
            return;
        }
        let flags = name::flags(file_name);
        let has = |flag| u32::from(flags.contains(&flag));
        self.messages = self.messages.saturating_add(1);
        self.unseen = self.unseen.saturating_add(if subdir == Subdir::New { 1 } else { 1 - has(b'S') });
        self.deleted = self.deleted.saturating_add(has(b'T'));
    }
}
