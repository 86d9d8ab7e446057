//! The messages of a folder by the names of its files. No file is looked at.

use rustix::fs::{Dir, FileType};

use super::super::{Error, FileName, Maildir, Subdir, name};

/// The names in both directories that a list of messages has: no hidden files, links and directories.
pub fn message_names(maildir: &Maildir) -> Result<Vec<FileName>, Error> {
    let mut names = Vec::new();
    for subdir in Subdir::ALL {
        names.extend(message_files(maildir, subdir)?.into_iter().map(|(name, _)| (subdir, name)));
    }
    Ok(names)
}

/// The name of a file, and its inode.
pub(super) type NamedInode = (Box<[u8]>, u64);

/// The same names of one directory, with the inode of each.
pub(super) fn message_files(maildir: &Maildir, subdir: Subdir) -> Result<Vec<NamedInode>, Error> {
    let failed = |e| Error::at(maildir.path().join(subdir.name()), "read directory", e);
    let mut files = Vec::new();
    for entry in Dir::read_from(maildir.dir(subdir)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        let is_file = matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown);
        if is_file && !name::is_hidden(name) {
            files.push((name.into(), entry.ino()));
        }
    }
    Ok(files)
}
