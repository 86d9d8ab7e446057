//! The files of a directory with one message in each: `.eml` files, or a folder of MH.
//!
//! The rule: each file is delivered or named with a reason. Links are not followed, so nothing outside of the directory is
//! read. One file is open at a time, and one directory at each depth.

use std::{
    ffi::{CString, OsStr},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use blake2::{Blake2s, Digest, digest::consts::U16};
use flate2::bufread::MultiGzDecoder;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};

use super::{Beginning, Error, OpenedFile, OtherFormat, Source};
use crate::maildir::PARTS;

/// A directory with message files, in itself and in the directories below it.
pub struct MessageDir<'a> {
    /// The directory.
    pub dir: &'a File,
    /// Whether files in the format of gzip are decompressed.
    pub gz: bool,
}

/// A file, or a directory that is not searched.
pub enum Entry {
    /// A file with one message.
    Message(OpenedFile<Box<dyn Read>>, MessageFile),
    /// Anything else.
    Skipped(Skipped),
}

/// The size and the time of a file with one message.
#[derive(Debug, Clone, Copy)]
pub struct MessageFile {
    /// Octets on disk.
    pub octets: u64,
    /// Time of its last change.
    pub modified: SystemTime,
}

/// The reason for which a file or directory is left out.
#[derive(Debug)]
pub enum Skipped {
    /// A file whose name begins with a dot, such as `.mh_sequences`.
    Hidden,
    /// A directory whose name begins with a dot.
    HiddenDirectory,
    /// A file that MH has renamed because its user deleted the message: `,12`.
    DeletedByMh,
    /// A file of no octets, or of empty lines.
    Empty,
    /// A symbolic link.
    Link,
    /// A device, FIFO or socket.
    Special,
    /// A file of several messages.
    Mbox,
    /// A mailbox of its own.
    Maildir,
    /// A directory below so many others that it is not searched.
    TooDeep,
    /// A file in another format.
    Other(OtherFormat),
    /// The system refuses to read it, or its compressed data are damaged.
    Unreadable(io::Error),
}

impl Skipped {
    /// A noun for entries with the same reason.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Hidden => "hidden file",
            Self::HiddenDirectory => "hidden folder",
            Self::DeletedByMh => "deleted message",
            Self::Empty => "empty file",
            Self::Link => "link",
            Self::Special => "special file",
            Self::Mbox => "mbox",
            Self::Maildir => "Maildir",
            Self::TooDeep => "deep folder",
            Self::Other(_) => "other file",
            Self::Unreadable(_) => "unreadable file",
        }
    }

    /// True if its name shows that no mail is lost without it.
    pub fn is_no_mail(&self) -> bool {
        matches!(self, Self::Hidden | Self::DeletedByMh)
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hidden => "is a hidden file",
            Self::HiddenDirectory => "is a hidden directory",
            Self::DeletedByMh => "is a message that was deleted in MH",
            Self::Empty => "is empty",
            Self::Link => "is a symbolic link, which is not followed",
            Self::Special => "is a device, FIFO or socket",
            Self::Mbox => "is an mbox",
            Self::Maildir => "is a Maildir",
            Self::TooDeep => return write!(f, "is below {MAX_DEPTH} other directories"),
            Self::Other(other) => return other.fmt(f),
            Self::Unreadable(error) => return write!(f, "cannot be read: {error}"),
        })
    }
}

impl MessageDir<'_> {
    /// Visits all files in the order of their names, numbers first and by their value. Paths are relative to the directory.
    pub fn walk<E>(&self, visit: &mut dyn FnMut(&Path, Entry) -> Result<(), E>) -> Result<(), E> {
        self.walk_below(self.dir.as_fd(), &mut PathBuf::new(), 0, visit)
    }

    fn walk_below<E>(
        &self,
        dir: impl AsFd,
        path: &mut PathBuf,
        depth: usize,
        visit: &mut dyn FnMut(&Path, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let names = match names(&dir) {
            Ok(names) => names,
            Err(error) => return visit(path, Entry::Skipped(Skipped::Unreadable(error.into()))),
        };
        for name in names {
            path.push(OsStr::from_bytes(name.to_bytes()));
            match self.examine(&dir, &name, depth) {
                Ok(Examined::Directory(below)) => self.walk_below(below, path, depth + 1, visit)?,
                Ok(Examined::Entry(entry)) => visit(path, entry)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // deleted meanwhile
                Err(error) => visit(path, Entry::Skipped(Skipped::Unreadable(error)))?,
            }
            path.pop();
        }
        Ok(())
    }

    fn examine(&self, dir: impl AsFd, name: &CString, depth: usize) -> io::Result<Examined> {
        let skipped = |reason| Ok(Examined::Entry(Entry::Skipped(reason)));
        let is_hidden = name.to_bytes().starts_with(b".");
        match FileType::from_raw_mode(statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
            FileType::RegularFile if is_hidden => skipped(Skipped::Hidden),
            FileType::RegularFile if is_deleted(name.to_bytes()) => skipped(Skipped::DeletedByMh),
            FileType::RegularFile => {
                let flags =
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                self.open(openat(&dir, name, flags, Mode::empty())?.into()).map(Examined::Entry)
            }
            FileType::Directory if is_hidden => skipped(Skipped::HiddenDirectory),
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = openat(&dir, name, flags, Mode::empty())?;
                if is_maildir(&below) {
                    skipped(Skipped::Maildir)
                } else if depth + 1 == MAX_DEPTH {
                    skipped(Skipped::TooDeep)
                } else {
                    Ok(Examined::Directory(below))
                }
            }
            FileType::Symlink => skipped(Skipped::Link),
            _ => skipped(Skipped::Special),
        }
    }

    fn open(&self, file: File) -> io::Result<Entry> {
        let data = file.metadata()?;
        if !data.is_file() {
            return Ok(Entry::Skipped(Skipped::Special)); // another file has the name by now
        }
        let message = MessageFile { octets: data.len(), modified: data.modified()? };
        let opened = OpenedFile::open(self.decompress(file)?).map_err(Error::into_io)?;
        Ok(Entry::Skipped(match opened.beginning() {
            Beginning::Message(_) => return Ok(Entry::Message(opened, message)),
            Beginning::Empty => Skipped::Empty,
            Beginning::Mbox => Skipped::Mbox,
            Beginning::Other(other) => Skipped::Other(other.clone()),
        }))
    }

    fn decompress(&self, file: File) -> io::Result<Box<dyn Read>> {
        if !self.gz {
            return Ok(Box::new(file));
        }
        let mut file = BufReader::new(file);
        let is_packed = file.fill_buf()?.starts_with(GZIP);
        Ok(if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
    }
}

enum Examined {
    Directory(OwnedFd),
    Entry(Entry),
}

/// The message files of a directory, by their names, sizes and times: a later run recognizes them.
#[derive(Default)]
pub struct DirListing {
    /// Number of files.
    pub messages: u64,
    /// Octets of all of them.
    pub octets: u64,
    digest: Blake2s<U16>,
}

impl DirListing {
    /// Adds the next file.
    pub fn add(&mut self, path: &Path, file: &MessageFile) {
        self.messages += 1;
        self.octets += file.octets;
        self.digest.update(path.as_os_str().as_bytes());
        let since = file.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        self.digest.update([&b"\0"[..], &file.octets.to_be_bytes(), &since.to_be_bytes()].concat());
    }

    /// The identity of the whole.
    pub fn source(self, dir: &File) -> io::Result<Source> {
        Source::of_directory(dir, self.octets, &self.digest.finalize())
    }
}

fn is_maildir(dir: impl AsFd) -> bool {
    let is_directory = |name: &str| {
        let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    };
    PARTS.into_iter().all(is_directory)
}

fn names(dir: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if ![&b"."[..], b".."].contains(&name.to_bytes()) {
            names.push(name.to_owned());
        }
    }
    names.sort_by(|a, b| order(a.to_bytes()).cmp(&order(b.to_bytes())));
    Ok(names)
}

/// Numbers before other names, by their value.
fn order(name: &[u8]) -> (bool, usize, &[u8], &[u8]) {
    if !is_number(name) {
        return (true, 0, name, name);
    }
    let digits = &name[name.iter().take_while(|digit| **digit == b'0').count()..];
    (false, digits.len(), digits, name)
}

fn is_number(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

/// MH puts a comma or a number sign before the name of a message when its user deletes it.
fn is_deleted(name: &[u8]) -> bool {
    matches!(name, [b',' | b'#', number @ ..] if is_number(number))
}

/// Directories below each other that are searched; each is open meanwhile.
const MAX_DEPTH: usize = 64;
/// The first octets of a file that gzip has compressed.
const GZIP: &[u8] = b"\x1f\x8b";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u86_numbers_come_first_and_by_their_value() {
        let mut names = ["b", "10", "9", "a", "1a", "010", ",3", "100000000000000000000000", "2"];
        names.sort_by(|a, b| order(a.as_bytes()).cmp(&order(b.as_bytes())));
        assert_eq!(names, ["2", "9", "010", "10", "100000000000000000000000", ",3", "1a", "a", "b"]);
        assert!(is_deleted(b",3") && is_deleted(b"#12") && !is_deleted(b",") && !is_deleted(b",x"));
    }
}
