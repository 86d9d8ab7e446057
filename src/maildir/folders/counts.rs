//! The messages of a folder by the names of its files.

use rustix::fs::{Dir, FileType};

use super::super::{Error, FileName, Maildir, Subdir, name};

/// The names in both directories that a list of messages has: no hidden files, links and directories. No file is looked at.
pub fn message_names(maildir: &Maildir) -> Result<Vec<FileName>, Error> {
    let mut names = Vec::new();
    for subdir in Subdir::ALL {
        let failed = |e| Error::at(maildir.path().join(subdir.name()), "read directory", e);
        for entry in Dir::read_from(maildir.dir(subdir)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            let is_file = matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown);
            if is_file && !name::is_hidden(name) {
                names.push((subdir, name.into()));
            }
        }
    }
    Ok(names)
}
