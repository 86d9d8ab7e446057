//! One message of a mailbox: reading, deleting and marking it. Each operation finds the file by its identity, even
//! after another program has moved it, and checks that it is the listed file.

use std::{collections::HashMap, ffi::CString, io, os::fd::AsFd};

use rustix::{
    buffer::spare_capacity,
    fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Error, FileName, FileVersion, Kind, Maildir, MessageRef, Subdir, fault_points::fault_point, name,
};
use crate::deferred_drop::ReadFile;

/// The flags for opening message files: never through a link, never waiting for the writer of a FIFO.
pub const OPEN_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);

/// A message opened to be read in pieces.
#[derive(Debug)]
pub struct OpenMessage {
    file: ReadFile,
    path: std::path::PathBuf,
    bytes: u64,
}

impl OpenMessage {
    /// Opens the listed message. Errors are of kind `Gone`, `Changed` (another file has its name now, or its content
    /// was changed), or of the system.
    pub fn open(maildir: &Maildir, wanted: MessageRef<'_>) -> Result<Self, Error> {
        // Nearly always the message has its listed name. Another file there, or none, is a reason to look for it.
        let listed = c_string(wanted.name.to_vec());
        let path = path_of(maildir, wanted.subdir, &listed);
        match fs::openat(maildir.dir(wanted.subdir), &listed, OPEN_FLAGS, Mode::empty()).map(ReadFile::from) {
            Ok(file) if is_listed_file(&*file, wanted).is_ok_and(|is_it| is_it) => {
                return Ok(Self { file, path, bytes: wanted.version.bytes });
            }
            Ok(_) | Err(Errno::NOENT | Errno::LOOP) => {}
            Err(error) => return Err(Error::at(path, "open", error)),
        }
        let (subdir, name, _) = find(maildir, wanted)?;
        let path = path_of(maildir, subdir, &name);
        let file = fs::openat(maildir.dir(subdir), &name, OPEN_FLAGS, Mode::empty())
            .map_err(|e| Error::at(&path, "open", e))?;
        let file = ReadFile::from(file);
        if !is_listed_file(&*file, wanted).map_err(|e| Error::at(&path, "stat", e))? {
            return Err(changed_error(path));
        }
        Ok(Self { file, path, bytes: wanted.version.bytes })
    }

    /// Checks that no program has written to the file since it was listed. Its name may be another one by now, or gone.
    pub fn check_unchanged(&self, listed: FileVersion) -> Result<(), Error> {
        let stat = fs::fstat(&*self.file).map_err(|e| Error::at(&self.path, "stat", e))?;
        if FileVersion::of(&stat) == listed { Ok(()) } else { Err(changed_error(self.path.clone())) }
    }

    /// Reads up to `max` bytes at `from`; the flag says whether they end the message. A file that has become shorter
    /// is an error of kind `Truncated`.
    pub fn read(&self, from: u64, max: usize) -> Result<(Vec<u8>, bool), Error> {
        fault_point(&self.path, "read")?;
        let left = self.bytes.saturating_sub(from);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = from + bytes.len() as u64;
            match rustix::io::pread(&*self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(Error::at(&self.path, "read", io::ErrorKind::UnexpectedEof)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::at(&self.path, "read", error)),
            }
        }
        // The allocator may have given more than was asked for, and the file may have grown.
        bytes.truncate(length);
        Ok((bytes, length as u64 == left))
    }
}

/// Whether an open file is the one that was listed, with the content of that time.
pub(super) fn is_listed_file(file: impl AsFd, wanted: MessageRef<'_>) -> rustix::io::Result<bool> {
    let stat = fs::fstat(file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(is_file && FileVersion::of(&stat) == wanted.version)
}

/// Deletes messages of a Maildir, under whatever names they have now.
///
/// A program that moves a message by `link` and `unlink` gives it two names for a moment, or for good if it is killed
/// between them. So at the end the files that still have a name are looked for once more, all of them together: that
/// name may be in another mailbox, where the message belongs to another user.
#[derive(Debug)]
pub struct Deletion<'a> {
    maildir: &'a Maildir,
    link_check: LinkCheck,
    /// The files that have or may have another name, by their identity.
    still_linked: HashMap<&'a [u8], Vec<FileVersion>>,
}

/// The way in which a deletion finds files that still have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkCheck {
    /// One query for each file, through a descriptor: three calls to the system for each message.
    Fstat,
    /// One read of the directories at the end: the time depends on the remaining files.
    Readdir,
}

impl LinkCheck {
    /// The cheaper way to delete that many of the messages of a mailbox.
    pub fn cheapest(deleted: usize, messages: usize) -> Self {
        if deleted.saturating_mul(DIR_ENTRIES_PER_STAT) < messages { Self::Fstat } else { Self::Readdir }
    }
}

impl<'a> Deletion<'a> {
    /// Of messages of that Maildir.
    pub fn begin(maildir: &'a Maildir, survivors: LinkCheck) -> Self {
        Self { maildir, link_check: survivors, still_linked: HashMap::new() }
    }

    /// Deletes a message, and returns the name it had. `None`: the message is gone. A different file in its place is an
    /// error of kind `Changed`, because no client has read that content.
    pub fn delete(&mut self, wanted: MessageRef<'a>) -> Result<Option<FileName>, Error> {
        self.delete_if(wanted, |_| true)
    }

    /// The same, if that holds for the present name. Returns this name in either case.
    fn delete_if(
        &mut self,
        wanted: MessageRef<'a>,
        mut is_wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<FileName>, Error> {
        let Self { maildir, link_check: survivors, still_linked: linked } = self;
        with_current_name(maildir, wanted, |subdir, name| {
            if !is_wanted(name.to_bytes()) {
                return Ok((subdir, name.to_bytes().into()));
            }
            let failed = |step, error: Errno| Error::at(path_of(maildir, subdir, name), step, error);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = (*survivors == LinkCheck::Fstat)
                .then(|| fs::openat(maildir.dir(subdir), name, flags, Mode::empty()))
                .transpose()
                .map_err(|error| failed("open", error))?;
            fs::unlinkat(maildir.dir(subdir), name, AtFlags::empty())
                .map_err(|error| failed("unlink", error))?;
            if file.is_none_or(|file| fs::fstat(&file).is_ok_and(|stat| stat.st_nlink > 0)) {
                linked.entry(name::identity(wanted.name)).or_default().push(wanted.version);
            }
            Ok((subdir, name.to_bytes().into()))
        })
    }

    /// Deletes a message if it has the flag T still, under whatever name.
    pub fn delete_trashed(&mut self, wanted: MessageRef<'a>) -> Result<TrashDeletion, Error> {
        fault_point(self.maildir.path(), "delete trashed")?;
        let mut is_kept = false;
        let deleted = self.delete_if(wanted, |name| {
            is_kept = !name::is_trashed(name);
            !is_kept
        })?;
        Ok(match deleted {
            Some(_) if is_kept => TrashDeletion::Kept,
            Some(name) => TrashDeletion::Deleted(name),
            None => TrashDeletion::Gone,
        })
    }

    /// Notes that a message which has another name by now may have more of them, under its identity.
    pub(super) fn expect_other_names(&mut self, wanted: MessageRef<'a>) {
        self.still_linked.entry(name::identity(wanted.name)).or_default().push(wanted.version);
    }

    /// Deletes the remaining names of these files in this Maildir, and returns them.
    pub fn finish(self) -> Result<Vec<FileName>, Error> {
        let Self { maildir, still_linked: linked, .. } = self;
        let mut deleted = Vec::new();
        for _ in 0..ATTEMPTS {
            let before = deleted.len();
            for subdir in Subdir::ALL.into_iter().filter(|_| !linked.is_empty()) {
                for name in read_names(maildir, subdir)? {
                    let name = name?;
                    let Some(stamps) = linked.get(name::identity(name.to_bytes())) else { continue };
                    // The inode alone is not enough, because another file may have its number now.
                    if !version_of(maildir, subdir, &name)?.is_some_and(|stamp| stamps.contains(&stamp)) {
                        continue;
                    }
                    match fs::unlinkat(maildir.dir(subdir), &name, AtFlags::empty()) {
                        Ok(()) => deleted.push((subdir, name.to_bytes().into())),
                        Err(Errno::NOENT) => {}
                        Err(error) => {
                            return Err(Error::at(path_of(maildir, subdir, &name), "unlink", error));
                        }
                    }
                }
            }
            if deleted.len() == before {
                break;
            }
        }
        Ok(deleted)
    }
}

/// The result of [`Deletion::delete_trashed`].
#[derive(Debug, PartialEq, Eq)]
pub enum TrashDeletion {
    /// The message had this name.
    Deleted(FileName),
    /// Another program has taken the flag away.
    Kept,
    /// Another program has removed the message.
    Gone,
}

/// The names of a message whose flags were to be changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The name that it had.
    pub from: FileName,
    /// The name that it has now.
    pub to: FileName,
}

/// Gives a message the letters that `letters` makes of its present directory and letters, in `cur/`. `None` from it: the name
/// stays. The name stays, too, if the new one belongs to another file or is too long. `None`: the message is gone. Errors are
/// those of [`Deletion::delete`].
pub fn change_flags(
    maildir: &Maildir,
    wanted: MessageRef<'_>,
    mut letters: impl FnMut(Subdir, &[u8]) -> Option<Vec<u8>>,
) -> Result<Option<Renamed>, Error> {
    let mut from = None;
    let to = with_current_name(maildir, wanted, |subdir, name| {
        let present: FileName = (subdir, name.to_bytes().into());
        let now = letters(subdir, name::flags(name.to_bytes()));
        from = Some(present.clone());
        match now {
            Some(now) => {
                fault_point(maildir.path(), "rename flags")?;
                let new = c_string(name::with_flags(name.to_bytes(), &now));
                rename_flags(maildir, (subdir, name), (Subdir::Cur, new))
            }
            None => Ok(present),
        }
    })?;
    Ok(from.zip(to).map(|(from, to)| Renamed { from, to }))
}

/// Moves a message to `cur/` with the flag `S`, and returns its new name. It keeps the old name if the new one belongs
/// to another file or is too long. `None`: the message is gone. Errors are those of [`Deletion::delete`].
pub fn mark_seen(maildir: &Maildir, wanted: MessageRef<'_>) -> Result<Option<FileName>, Error> {
    with_current_name(maildir, wanted, |subdir, name| {
        if subdir == Subdir::Cur && name::flags(name.to_bytes()).contains(&b'S') {
            return Ok((subdir, name.to_bytes().into()));
        }
        let seen = c_string(name::with_flag(name.to_bytes(), b'S'));
        rename_flags(maildir, (subdir, name), (Subdir::Cur, seen))
    })
}

/// Removes the flag `S` of a message, and returns its new name, as [`mark_seen`] does.
pub fn mark_unseen(maildir: &Maildir, wanted: MessageRef<'_>) -> Result<Option<FileName>, Error> {
    with_current_name(maildir, wanted, |subdir, name| {
        let flags = name::flags(name.to_bytes());
        if !flags.contains(&b'S') {
            return Ok((subdir, name.to_bytes().into()));
        }
        let others: Vec<u8> = flags.iter().copied().filter(|flag| *flag != b'S').collect();
        let unseen = c_string(name::with_flags(name.to_bytes(), &others));
        rename_flags(maildir, (subdir, name), (subdir, unseen))
    })
}

/// Renames a message whose flags change.
fn rename_flags(
    maildir: &Maildir,
    (subdir, name): (Subdir, &CString),
    (to, new): (Subdir, CString),
) -> Result<FileName, Error> {
    let (from_dir, to_dir) = (maildir.dir(subdir), maildir.dir(to));
    // No file is overwritten, because another file may have this identity too.
    let renamed = match fs::renameat_with(from_dir, name, to_dir, &new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => fs::linkat(from_dir, name, to_dir, &new, AtFlags::empty())
            .and_then(|()| fs::unlinkat(from_dir, name, AtFlags::empty())),
        done => done,
    };
    match renamed {
        Ok(()) => Ok((to, new.to_bytes().into())),
        Err(Errno::EXIST | Errno::NAMETOOLONG) => Ok((subdir, name.to_bytes().into())),
        Err(error) => Err(Error::at(path_of(maildir, to, &new), "rename", error)),
    }
}

fn with_current_name(
    maildir: &Maildir,
    wanted: MessageRef<'_>,
    mut act: impl FnMut(Subdir, &CString) -> Result<FileName, Error>,
) -> Result<Option<FileName>, Error> {
    for _ in 0..ATTEMPTS {
        let (subdir, name, stamp) = match find(maildir, wanted) {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::Gone => return Ok(None),
            Err(error) => return Err(error),
        };
        if stamp != wanted.version {
            return Err(changed_error(path_of(maildir, subdir, &name)));
        }
        match act(subdir, &name) {
            Err(error) if error.kind() == Kind::Gone => {} // renamed between the two calls: look again
            done => return done.map(Some),
        }
    }
    let path = path_of(maildir, wanted.subdir, &c_string(wanted.name.to_vec()));
    Err(Error::at(path, "find", io::Error::other("it is renamed all the time")))
}

/// Finds a message under its listed name, or else under any name of the same identity: with changed flags, or moved
/// between `new/` and `cur/`. The stamp is the present one. An error is of kind `Gone`, `Changed` (another file has the
/// listed name), or of the system.
pub(super) fn find(
    maildir: &Maildir,
    wanted: MessageRef<'_>,
) -> Result<(Subdir, CString, FileVersion), Error> {
    let listed = c_string(wanted.name.to_vec());
    let is_it = |stamp: &FileVersion| stamp.inode == wanted.version.inode;
    let there = version_of(maildir, wanted.subdir, &listed)?;
    if let Some(stamp) = there.filter(is_it) {
        return Ok((wanted.subdir, listed, stamp));
    }
    let identity = name::identity(wanted.name);
    for _ in 0..ATTEMPTS {
        for subdir in Subdir::ALL {
            for name in read_names(maildir, subdir)? {
                let name = name?;
                if name::identity(name.to_bytes()) != identity {
                    continue;
                }
                if let Some(stamp) = version_of(maildir, subdir, &name)?.filter(is_it) {
                    return Ok((subdir, name, stamp));
                }
            }
        }
    }
    let path = path_of(maildir, wanted.subdir, &listed);
    Err(if there.is_some() { changed_error(path) } else { Error::at(path, "find", Errno::NOENT) })
}

/// The names in a directory.
fn read_names(
    maildir: &Maildir,
    subdir: Subdir,
) -> Result<impl Iterator<Item = Result<CString, Error>> + use<'_>, Error> {
    let failed = move |e: Errno| Error::at(maildir.path().join(subdir.name()), "read directory", e);
    let entries = fs::Dir::read_from(maildir.dir(subdir)).map_err(failed)?;
    Ok(entries.map(move |entry| entry.map(|entry| entry.file_name().to_owned()).map_err(failed)))
}

/// The version of the file with that name, if there is one.
fn version_of(maildir: &Maildir, subdir: Subdir, name: &CString) -> Result<Option<FileVersion>, Error> {
    match fs::statat(maildir.dir(subdir), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileVersion::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::at(path_of(maildir, subdir, name), "stat", error)),
    }
}

/// The path that a message was listed with.
pub(super) fn listed_path(maildir: &Maildir, wanted: MessageRef<'_>) -> std::path::PathBuf {
    path_of(maildir, wanted.subdir, &c_string(wanted.name.to_vec()))
}

/// An error of kind `Changed`.
pub(super) fn changed_error(path: std::path::PathBuf) -> Error {
    Error::at(path, "open", io::Error::new(io::ErrorKind::InvalidData, "not the file that was listed"))
}

/// A file name for the system. A name with a NUL cannot be on a disk, so no such file exists.
pub fn c_string(name: Vec<u8>) -> CString {
    CString::new(name).unwrap_or_default()
}

fn path_of(maildir: &Maildir, subdir: Subdir, name: &CString) -> std::path::PathBuf {
    maildir.path().join(subdir.name()).join(name.to_string_lossy().as_ref())
}

/// The number of directory entries read in the time of one query for a file.
const DIR_ENTRIES_PER_STAT: usize = 8;
/// Looks for a message that another program renames at the same time.
const ATTEMPTS: usize = 3;
