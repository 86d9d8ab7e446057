//! What is in a mailbox: a walk through `new/` and `cur/`.

use std::{ffi::CStr, io, os::fd::AsFd};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Stat},
    io::Errno,
};

use super::{Error, Maildir, Place, name};
use crate::octets::Octets;

/// A message file as the scan found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, flags and all.
    pub name: Box<[u8]>,
    /// Where it lies.
    pub place: Place,
    /// What tells this file from another of the same name.
    pub stamp: Stamp,
    /// Octets on the wire.
    pub octets: u64,
}

/// What tells a file from another one, or from itself after a change: inode, bytes, time of the last change
/// of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, u32),
}

impl Stamp {
    /// The stamp of a file with that state.
    #[allow(clippy::unnecessary_cast, reason = "the widths of these fields differ between platforms")]
    pub fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        }
    }
}

/// A file that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: Box<[u8]>,
    /// Where it lies.
    pub place: Place,
    /// The reason, for the log.
    pub why: &'static str,
}

/// All messages of a mailbox, in no order, and what was left out. It is an error if a directory can't be
/// read: a mailbox is never called empty because it could not be looked at.
pub fn scan(maildir: &Maildir) -> Result<(Vec<Found>, Vec<LeftOut>), Error> {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for _ in 0..ATTEMPTS {
        (found, left_out) = (Vec::new(), Vec::new());
        let before = times(maildir)?;
        for place in Place::BOTH {
            scan_place(maildir, place, &mut found, &mut left_out)?;
        }
        // A file that is renamed while a directory is read may be seen twice or not at all: look again
        // when the directories changed under the walk.
        if times(maildir)? == before {
            break;
        }
    }
    Ok((found, left_out))
}

fn scan_place(
    maildir: &Maildir,
    place: Place,
    found: &mut Vec<Found>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), Error> {
    let failed = |e: Errno| Error::at(maildir.path().join(place.name()), "read directory", e);
    let entries = Dir::read_from(maildir.dir(place)).map_err(failed)?;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        match look_at(maildir, place, name)? {
            Looked::Message(message) => found.push(message),
            Looked::Gone => {}
            Looked::LeftOut(why) => left_out.push(LeftOut { name: name.to_bytes().into(), place, why }),
        }
    }
    Ok(())
}

/// What became of a look at one name.
#[derive(Debug)]
pub enum Looked {
    /// A message.
    Message(Found),
    /// Nothing is there any more.
    Gone,
    /// Something that is no message, and why.
    LeftOut(&'static str),
}

/// Looks at one name of a mailbox.
pub fn look_at(maildir: &Maildir, place: Place, name: &CStr) -> Result<Looked, Error> {
    let path = || maildir.path().join(place.name()).join(name.to_string_lossy().as_ref());
    let stat = match fs::statat(maildir.dir(place), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Looked::Gone),
        Err(error) => return Err(Error::at(path(), "stat", error)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Looked::LeftOut("not a regular file"));
    }
    let stamp = Stamp::of(&stat);
    let octets = match name::octets_told(name.to_bytes(), stamp.bytes) {
        Some(octets) => octets,
        None => match count(maildir, place, name) {
            Ok(octets) => octets,
            Err(Errno::NOENT) => return Ok(Looked::Gone),
            Err(Errno::ACCESS | Errno::PERM) => return Ok(Looked::LeftOut("unreadable")),
            Err(error) => return Err(Error::at(path(), "read", error)),
        },
    };
    Ok(Looked::Message(Found { name: name.to_bytes().into(), place, stamp, octets }))
}

/// Reads a file through once to count its octets on the wire.
fn count(maildir: &Maildir, place: Place, name: &CStr) -> Result<u64, Errno> {
    let file = fs::openat(maildir.dir(place), name, super::message::OPEN, fs::Mode::empty())?;
    let mut octets = Octets::default();
    let mut buffer = vec![0; COUNT_BUFFER];
    loop {
        match rustix::io::read(file.as_fd(), &mut buffer[..]) {
            Ok(0) => return Ok(octets.total()),
            Ok(n) => octets.feed(&buffer[..n]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The modification times of both directories.
fn times(maildir: &Maildir) -> Result<[(i64, u32); 2], Error> {
    let time = |place: Place| {
        let stat = fs::fstat(maildir.dir(place))
            .map_err(|e| Error::at(maildir.path().join(place.name()), "stat", e))?;
        if stat.st_nlink == 0 {
            let gone = io::Error::from(Errno::NOENT);
            return Err(Error::at(maildir.path().join(place.name()), "stat", gone));
        }
        Ok(Stamp::of(&stat).modified)
    };
    Ok([time(Place::New)?, time(Place::Cur)?])
}

/// Walks through a mailbox that changes under each of them.
const ATTEMPTS: usize = 3;
const COUNT_BUFFER: usize = 64 * 1024;
