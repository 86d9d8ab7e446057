//! Whole mailboxes under another name, or deleted, for `restante user`.
//!
//! The rule: after a kill at any step, the same call finishes the work. A message is under the old name or under the
//! new one, and never under none. A server may work in both mailboxes meanwhile.

use std::{ffi::CString, fs as std_fs, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{self, AtFlags, Dir, RenameFlags},
    io::Errno,
};

use super::{
    Error, Kind, Maildir, PARTS, Spool, Subdir,
    directory::{directories, make_directory, open_directory, sync_directory},
    store::FOLDER_MARK,
};

/// The result of [`move_mailbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// There is no mailbox of the old name.
    Nothing,
    /// The old name is gone.
    All,
    /// Something is left under the old name that is not a message, or that another program writes now.
    Part,
}

/// Moves a mailbox to another name: at once if that is free, else message by message into the mailbox that has it.
/// The result is durable.
pub fn move_mailbox(spool: &Spool, from: &str, to: &str) -> Result<Moved, Error> {
    let path = spool.path().join(from);
    match fs::statat(spool.dir(), from, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Moved::Nothing),
        done => drop(done.map_err(|e| Error::at(&path, "stat", e))?),
    }
    // A directory takes the place of another one only if that is empty.
    match fs::renameat(spool.dir(), from, spool.dir(), to) {
        Ok(()) => {
            sync_directory(spool.dir(), spool.path())?;
            return Ok(Moved::All);
        }
        Err(Errno::EXIST | Errno::NOTEMPTY) => {}
        Err(error) => return Err(Error::at(&path, "rename", error)),
    }
    spool.open_or_create_maildir(to)?;
    for folder in folders(spool, from)? {
        let (source, target) = match &folder {
            None => (spool.open_or_create_maildir(from)?, spool.open_or_create_maildir(to)?),
            Some(folder) => match spool.folder(from, folder) {
                Err(error) if error.is_incomplete_maildir() => (
                    spool.open_or_create_folder(from, folder)?, // a call was killed while it removed this one
                    spool.open_or_create_folder(to, folder)?,
                ),
                Err(error) if error.kind() == Kind::Gone => continue, // not a Maildir
                source => (source?, spool.open_or_create_folder(to, folder)?),
            },
        };
        [Subdir::Cur, Subdir::New]
            .into_iter()
            .try_for_each(|subdir| move_messages(&source, &target, subdir))?;
    }
    remove_empty(spool, from)?;
    sync_directory(spool.dir(), spool.path())?;
    let is_left = fs::statat(spool.dir(), from, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    Ok(if is_left { Moved::Part } else { Moved::All })
}

/// Moves the files of one directory. A file whose name is taken stays.
fn move_messages(from: &Maildir, to: &Maildir, subdir: Subdir) -> Result<(), Error> {
    let path = || from.path().join(subdir.name());
    let (source, target) = (from.dir(subdir), to.dir(subdir));
    for name in names(source).map_err(|e| Error::at(path(), "read directory", e))? {
        let moved = match fs::renameat_with(source, &name, target, &name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => fs::linkat(source, &name, target, &name, AtFlags::empty())
                .and_then(|()| fs::unlinkat(source, &name, AtFlags::empty())),
            done => done,
        };
        match moved {
            Ok(()) | Err(Errno::NOENT) => {} // another program has moved or removed it
            Err(Errno::EXIST) if is_same_file(source, target, &name) => {
                fs::unlinkat(source, &name, AtFlags::empty()).map_err(|e| Error::at(path(), "unlink", e))?;
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::at(path(), "rename", error)),
        }
    }
    to.sync(subdir)?;
    from.sync(subdir)
}

fn names(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !name.to_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    Ok(names)
}

/// A call that was killed between linking and unlinking leaves a file under both.
fn is_same_file(one: &OwnedFd, other: &OwnedFd, name: &CString) -> bool {
    let id = |dir| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// The folders of a mailbox, and at the end the mailbox itself.
fn folders(spool: &Spool, name: &str) -> Result<Vec<Option<String>>, Error> {
    let path = spool.path().join(name);
    let home = open_directory(spool.dir(), name, &path)?;
    let names = directories(&home, &path)?.into_iter().filter_map(|name| name.into_string().ok());
    let mut folders: Vec<_> = names.filter(|name| name.starts_with('.')).map(Some).collect();
    folders.push(None);
    Ok(folders)
}

/// Removes a mailbox without messages, and its caches. A directory with other files stays.
fn remove_empty(spool: &Spool, name: &str) -> Result<(), Error> {
    let path = spool.path().join(name);
    let home = open_directory(spool.dir(), name, &path)?;
    for folder in folders(spool, name)? {
        match folder {
            Some(folder) => remove_if_empty(&home, &folder, &path.join(&folder))?,
            None => remove_if_empty(spool.dir(), name, &path)?,
        }
    }
    Ok(())
}

fn remove_if_empty(at: &OwnedFd, name: &str, path: &Path) -> Result<(), Error> {
    let dir = open_directory(at, name, path)?;
    for (n, part) in PARTS.iter().enumerate() {
        match fs::unlinkat(&dir, *part, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(_) => {
                // A message has arrived, or is being written.
                let _ = PARTS[..n].iter().try_for_each(|part| make_directory(&dir, *part, path).map(drop));
                return Ok(());
            }
        }
    }
    let listed = Dir::read_from(&dir).map_err(|e| Error::at(path, "read directory", e))?;
    for entry in listed.flatten() {
        let name = entry.file_name();
        if name.to_bytes().starts_with(OURS) || name.to_bytes() == FOLDER_MARK.as_bytes() {
            let _ = fs::unlinkat(&dir, name, AtFlags::empty()); // a cache, which nothing depends on
        }
    }
    let _ = fs::unlinkat(at, name, AtFlags::REMOVEDIR); // other programs may keep files there
    Ok(())
}

/// Deletes a mailbox with all its folders. First it gets a name that no mailbox can have, so that no session or delivery
/// finds a part of it. `false`: there was none.
pub fn delete_mailbox(spool: &Spool, name: &str) -> Result<bool, Error> {
    let hidden = format!("{DELETED}{name}");
    let path = spool.path().join(&hidden);
    // Of a call that was killed.
    let rest = remove_tree(spool, &hidden, &path)?;
    match fs::renameat(spool.dir(), name, spool.dir(), &*hidden) {
        Err(Errno::NOENT) => return Ok(rest),
        done => done.map_err(|e| Error::at(spool.path().join(name), "rename", e))?,
    }
    sync_directory(spool.dir(), spool.path())?;
    remove_tree(spool, &hidden, &path)
}

fn remove_tree(spool: &Spool, name: &str, path: &Path) -> Result<bool, Error> {
    if fs::statat(spool.dir(), name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        return Ok(false);
    }
    std_fs::remove_dir_all(path).map_err(|e| Error::at(path, "remove", e))?;
    sync_directory(spool.dir(), spool.path())?;
    Ok(true)
}

/// Whether [`delete_mailbox`] was killed for that mailbox.
pub fn is_partly_deleted(spool: &Spool, name: &str) -> bool {
    fs::statat(spool.dir(), format!("{DELETED}{name}"), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// The start of the names of our own files in a mailbox.
const OURS: &[u8] = b".restante.";
/// The start of the name of a mailbox that is being deleted.
const DELETED: &str = ".restante.deleted.";

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        (dir, spool)
    }

    fn put(spool: &Spool, mailbox: &str, folder: Option<&str>, file: &str) {
        spool.open_or_create_maildir(mailbox).unwrap();
        let maildir = match folder {
            None => spool.maildir(mailbox).unwrap(),
            Some(folder) => spool.open_or_create_folder(mailbox, folder).unwrap(),
        };
        std_fs::write(maildir.path().join(file), file).unwrap();
    }

    #[test]
    fn a_mailbox_moves_at_once_or_into_the_one_that_has_the_name() {
        let (dir, spool) = spool();
        assert_eq!(move_mailbox(&spool, "bob", "rob").unwrap(), Moved::Nothing);
        put(&spool, "bob", None, "new/1");
        put(&spool, "bob", Some(".Sent"), "cur/2:2,S");
        assert_eq!(move_mailbox(&spool, "bob", "rob").unwrap(), Moved::All);
        // A server that has not heard of it yet.
        put(&spool, "bob", None, "new/3");
        put(&spool, "bob", Some(".Lists"), "new/4");
        std_fs::write(dir.path().join("bob/.restante.index"), "").unwrap();
        assert_eq!(move_mailbox(&spool, "bob", "rob").unwrap(), Moved::All);
        for file in ["new/1", ".Sent/cur/2:2,S", "new/3", ".Lists/new/4"] {
            assert!(dir.path().join("rob").join(file).exists(), "{file}");
        }
        assert!(!dir.path().join("bob").exists());
    }

    #[test]
    fn what_is_no_message_and_a_name_that_is_taken_stay() {
        let (dir, spool) = spool();
        put(&spool, "bob", None, "tmp/draft");
        put(&spool, "bob", None, "new/1");
        put(&spool, "rob", None, "new/1");
        put(&spool, "bob", None, "new/2");
        assert_eq!(move_mailbox(&spool, "bob", "rob").unwrap(), Moved::Part);
        for file in ["bob/tmp/draft", "bob/new/1", "rob/new/1", "rob/new/2"] {
            assert!(dir.path().join(file).exists(), "{file}");
        }
    }

    #[test]
    fn a_mailbox_is_deleted_with_its_folders_also_after_a_kill() {
        let (dir, spool) = spool();
        put(&spool, "bob", Some(".Sent"), "cur/2");
        std_fs::rename(dir.path().join("bob"), dir.path().join(".restante.deleted.bob")).unwrap();
        assert!(is_partly_deleted(&spool, "bob"));
        put(&spool, "bob", None, "new/1");
        assert!(delete_mailbox(&spool, "bob").unwrap());
        assert_eq!(std_fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(!delete_mailbox(&spool, "bob").unwrap());
    }
}
