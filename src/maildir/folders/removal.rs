//! The removal of a folder: it gets a hidden name at once, and its files go after that.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, RenameFlags},
    io::Errno,
};

use super::{
    super::{
        Error, Kind, Spool,
        directory::{directories, id_of, open_directory},
        fault_points::fault_point,
    },
    FolderError, FolderTree, folder_text, is_below, is_inbox, taken,
};
impl FolderTree<'_> {
    /// Removes a folder with its messages. `random` makes its hidden name. When this returns the folder is durably gone; a
    /// later cleaning removes the files that could not be removed now.
    pub fn delete(&self, name: &str, random: u64) -> Result<(), FolderError> {
        if is_inbox(name) {
            return Err(FolderError::Impossible);
        }
        let hidden = format!("{HIDDEN}{random:016x}");
        let lock = self.begin_change()?;
        let wanted = folder_text(name);
        let folders = self.list()?;
        if folders.iter().any(|folder| is_below(&folder.text, &wanted)) {
            return Err(FolderError::HasChildren);
        }
        let at =
            folders.binary_search_by(|folder| folder.text.cmp(&wanted)).map_err(|_| FolderError::Missing)?;
        self.rename_directory(&folders[at].directory, &hidden)?;
        self.sync()?;
        drop(lock);
        if let Err(error) = remove_tree(self.inbox.root(), hidden.as_ref(), self.inbox.path(), MAX_DEPTH) {
            log::warn!("{error}: the rest of a deleted folder is removed later");
        }
        Ok(())
    }

    /// Gives a directory another name. It replaces nothing.
    pub(super) fn rename_directory(&self, from: &str, to: &str) -> Result<(), FolderError> {
        let root = self.inbox.root();
        let path = || self.inbox.path().join(from);
        fault_point(self.inbox.path(), "rename folder")?;
        let mut renamed = fs::renameat_with(root, from, root, to, RenameFlags::NOREPLACE);
        if let Err(Errno::INVAL | Errno::NOSYS) = renamed {
            // The file system cannot do this in one call.
            renamed = match fs::statat(root, to, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => fs::renameat(root, from, root, to),
                Ok(_) => Err(Errno::EXIST),
                Err(error) => Err(error),
            };
        }
        match renamed {
            Ok(()) => Ok(fault_point(self.inbox.path(), "rename folder: done")?),
            Err(Errno::BUSY) => Err(FolderError::Impossible), // something is mounted there
            Err(Errno::EXIST | Errno::NOTEMPTY) => Err(taken(self.inbox.path().join(to)).into()),
            Err(error) => Err(Error::at(path(), "rename", error).into()),
        }
    }

    /// Removes the rest of folders that were deleted before the process was killed.
    pub fn clean_deleted(&self) -> Result<(), Error> {
        remove_hidden(self.inbox.root(), self.inbox.path())
    }
}

/// Removes the rest of deleted folders from all mailboxes. Returns the failures.
pub fn clean_deleted(spool: &Spool) -> Vec<Error> {
    let names = match spool.names() {
        Ok(names) => names,
        Err(error) => return vec![error],
    };
    let mailboxes = names.iter().filter_map(|name| name.to_str()).filter(|name| !name.starts_with('.'));
    let clean = |name: &str| {
        let path = spool.path().join(name);
        open_directory(spool.dir(), name, &path).and_then(|home| remove_hidden(&home, &path)).err()
    };
    mailboxes.filter_map(clean).filter(|error| error.kind() != Kind::Gone).collect()
}

fn remove_hidden(home: &OwnedFd, path: &Path) -> Result<(), Error> {
    for name in directories(home, path)? {
        if name.as_encoded_bytes().starts_with(HIDDEN.as_bytes()) {
            remove_tree(home, &name, path, MAX_DEPTH)?;
        }
    }
    Ok(())
}

/// Removes a directory of `above` with all that is in it, and nothing that is mounted there. A link is removed and not followed.
pub(super) fn remove_tree(above: &OwnedFd, name: &OsStr, path: &Path, depth: usize) -> Result<(), Error> {
    let path = &path.join(name);
    let dir = match open_directory(above, name, path) {
        Err(error) if error.kind() == Kind::Gone => return Ok(()),
        opened => opened?,
    };
    let (device, _) = id_of(&dir, path)?;
    if device != id_of(above, path)?.0 {
        return Err(Error::at(
            path,
            "remove",
            io::Error::other("another file system is mounted there: umount it"),
        ));
    }
    let failed = |step| move |e: Errno| Error::at(path, step, e);
    // Another program may still put files there.
    for _ in 0..ATTEMPTS {
        let mut directories: Vec<OsString> = Vec::new();
        for entry in Dir::read_from(&dir).map_err(failed("read directory"))? {
            let entry = entry.map_err(failed("read directory"))?;
            let name = entry.file_name();
            if [&b"."[..], b".."].contains(&name.to_bytes()) {
                continue;
            }
            fault_point(path, "remove file")?;
            match fs::unlinkat(&dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) if entry.file_type() != FileType::RegularFile => {
                    directories.push(OsStr::from_bytes(name.to_bytes()).to_owned());
                }
                Err(error) => return Err(failed("unlink")(error)),
            }
        }
        for name in directories {
            let below = depth.checked_sub(1).ok_or_else(|| failed("remove")(Errno::NAMETOOLONG))?;
            remove_tree(&dir, &name, path, below)?;
        }
        fault_point(path, "remove directory")?;
        match fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(failed("remove directory")(error)),
        }
    }
    Err(failed("remove directory")(Errno::NOTEMPTY))
}

/// The beginning of the hidden name of a deleted folder. No folder has two dots there, and Dovecot hides such names too.
const HIDDEN: &str = "..restante.deleted.";
/// Levels of directories in a deleted folder. A Maildir has one.
pub(super) const MAX_DEPTH: usize = 16;
/// Passes through a directory that does not become empty.
pub(super) const ATTEMPTS: usize = 5;
