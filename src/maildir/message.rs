//! One message of a mailbox: reading it, deleting it, marking it. Each finds the file by its identity,
//! wherever another program has put it meanwhile, and makes sure that it is the file that was listed.

use std::{ffi::CString, fs::File, io, os::unix::fs::FileExt};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Error, Kind, Maildir, Place, name,
    scan::{Found, Stamp},
};

/// How message files are opened: never through a link, never waiting for the writer of a FIFO.
pub const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);

/// The message that is meant.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name when it was listed.
    pub name: &'a [u8],
    /// Where it was.
    pub place: Place,
    /// Which file it was.
    pub stamp: Stamp,
}

impl<'a> From<&'a Found> for Wanted<'a> {
    fn from(found: &'a Found) -> Self {
        Self { name: &found.name, place: found.place, stamp: found.stamp }
    }
}

/// A message opened to be read in pieces.
#[derive(Debug)]
pub struct OpenMessage {
    file: File,
    path: std::path::PathBuf,
    bytes: u64,
}

impl OpenMessage {
    /// Opens the message that was listed. Errors are of kind `Gone`, `Changed` (another file has its name
    /// now, or its content was changed), or of the system.
    pub fn open(maildir: &Maildir, wanted: Wanted<'_>) -> Result<Self, Error> {
        let (place, name) = find(maildir, wanted)?;
        let path = path_of(maildir, place, &name);
        let file = fs::openat(maildir.dir(place), &name, OPEN, Mode::empty())
            .map_err(|e| Error::at(&path, "open", e))?;
        let stat = fs::fstat(&file).map_err(|e| Error::at(&path, "stat", e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || Stamp::of(&stat) != wanted.stamp
        {
            return Err(changed(path));
        }
        Ok(Self { file: File::from(file), path, bytes: wanted.stamp.bytes })
    }

    /// Reads up to `most` bytes at `from`; the flag says whether they end the message. A file that ends
    /// before the bytes it had is an error of kind `Cut`.
    pub fn read(&self, from: u64, most: usize) -> Result<(Vec<u8>, bool), Error> {
        let left = self.bytes.saturating_sub(from);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, from).map_err(|e| Error::at(&self.path, "read", e))?;
        Ok((bytes, length as u64 == left))
    }
}

/// A name of a message file, and where it is or was.
pub type Named = (Place, Box<[u8]>);

/// Deletes a message, and returns the name it had. `None`: it is not there any more, or was replaced by
/// another, which is as good.
pub fn delete(maildir: &Maildir, wanted: Wanted<'_>) -> Result<Option<Named>, Error> {
    on_the_file(maildir, wanted, |place, name| {
        fs::unlinkat(maildir.dir(place), name, AtFlags::empty())
            .map_err(|e| Error::at(path_of(maildir, place, name), "unlink", e))?;
        Ok((place, name.to_bytes().into()))
    })
}

/// Moves a message to `cur/` with the flag `S`, and returns its new name. `None`: it is not there any more,
/// or was replaced by another, which is as good.
pub fn mark_seen(maildir: &Maildir, wanted: Wanted<'_>) -> Result<Option<Named>, Error> {
    on_the_file(maildir, wanted, |place, name| {
        if place == Place::Cur && name::flags(name.to_bytes()).contains(&b'S') {
            return Ok((place, name.to_bytes().into()));
        }
        let seen = c_string(name::with_flag(name.to_bytes(), b'S'));
        let failed = |e| Error::at(path_of(maildir, Place::Cur, &seen), "rename", e);
        let (from, to) = (maildir.dir(place), maildir.dir(Place::Cur));
        match fs::renameat_with(from, name, to, &seen, RenameFlags::NOREPLACE) {
            // Nothing is overwritten: another file may have this identity too.
            Err(Errno::INVAL | Errno::NOSYS) => fs::linkat(from, name, to, &seen, AtFlags::empty())
                .and_then(|()| fs::unlinkat(from, name, AtFlags::empty()))
                .map_err(failed)?,
            done => done.map_err(failed)?,
        }
        Ok((Place::Cur, seen.to_bytes().into()))
    })
}

fn on_the_file(
    maildir: &Maildir,
    wanted: Wanted<'_>,
    act: impl Fn(Place, &CString) -> Result<Named, Error>,
) -> Result<Option<Named>, Error> {
    for _ in 0..ATTEMPTS {
        let (place, name) = match find(maildir, wanted) {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::Gone => return Ok(None),
            Err(error) => return Err(error),
        };
        match fs::statat(maildir.dir(place), &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if Stamp::of(&stat).inode == wanted.stamp.inode => {}
            Ok(_) => return Ok(None),
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(Error::at(path_of(maildir, place, &name), "stat", error)),
        }
        match act(place, &name) {
            Err(error) if error.kind() == Kind::Gone => {} // renamed between the two calls: look again
            done => return done.map(Some),
        }
    }
    Ok(None)
}

/// Finds a message under the name it was listed with, or else under any name of the same identity: flags
/// changed, or moved between `new/` and `cur/`.
fn find(maildir: &Maildir, wanted: Wanted<'_>) -> Result<(Place, CString), Error> {
    let listed = c_string(wanted.name.to_vec());
    if fs::statat(maildir.dir(wanted.place), &listed, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok((wanted.place, listed));
    }
    let identity = name::identity(wanted.name);
    for _ in 0..ATTEMPTS {
        for place in Place::BOTH {
            let failed = |e: Errno| Error::at(maildir.path().join(place.name()), "read directory", e);
            for entry in fs::Dir::read_from(maildir.dir(place)).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                if name::identity(name.to_bytes()) == identity && entry.ino() == wanted.stamp.inode {
                    return Ok((place, name.to_owned()));
                }
            }
        }
    }
    let gone = io::Error::from(Errno::NOENT);
    Err(Error::at(path_of(maildir, wanted.place, &listed), "find", gone))
}

fn changed(path: std::path::PathBuf) -> Error {
    Error::at(path, "open", io::Error::new(io::ErrorKind::InvalidData, "not the file that was listed"))
}

/// A file name as the system wants it. A name with a NUL can't be on a disk, so that nothing is there.
pub fn c_string(name: Vec<u8>) -> CString {
    CString::new(name).unwrap_or_default()
}

fn path_of(maildir: &Maildir, place: Place, name: &CString) -> std::path::PathBuf {
    maildir.path().join(place.name()).join(name.to_string_lossy().as_ref())
}

/// Looks for a message that another program renames at the same time.
const ATTEMPTS: usize = 3;
