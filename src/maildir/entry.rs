//! A message file of a mailbox as values: its directory, its name, its version, and what changed about it.

use rustix::fs::Stat;

/// One of the two directories that hold messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subdir {
    /// Delivered, and not yet seen by a mail reader.
    New,
    /// Seen by a mail reader, which has moved it here.
    Cur,
}

impl Subdir {
    /// Both places, in the order in which a message goes through them.
    pub const ALL: [Self; 2] = [Self::New, Self::Cur];

    /// The name of the directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// A name of a message file, with its present or former directory.
pub type FileName = (Subdir, Box<[u8]>);

/// The version of a file: inode, bytes, time of the last change of its content. It differs between two files, and
/// between two states of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileVersion {
    /// Inode number, which the file system may use again for a later file.
    pub inode: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, u32),
}

impl FileVersion {
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

/// A message file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageEntry {
    /// The file name, with flags.
    pub name: Box<[u8]>,
    /// The directory of the file.
    pub subdir: Subdir,
    /// The version of the file, which differs from another file of the same name.
    pub version: FileVersion,
    /// Octets on the wire, with CRLF line ends.
    pub octets: u64,
}

/// A reference to a message.
#[derive(Debug, Clone, Copy)]
pub struct MessageRef<'a> {
    /// The name at the time of the list.
    pub name: &'a [u8],
    /// The directory at that time.
    pub subdir: Subdir,
    /// The version of the file.
    pub version: FileVersion,
}

impl<'a> From<&'a MessageEntry> for MessageRef<'a> {
    fn from(found: &'a MessageEntry) -> Self {
        Self { name: &found.name, subdir: found.subdir, version: found.version }
    }
}

/// One difference in the contents of a mailbox. Applying it twice has the same effect as once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The message exists, under this name and in this version.
    Present(MessageEntry),
    /// No message has that name there.
    Absent {
        /// The directory in which the name is missing.
        subdir: Subdir,
        /// The file name, with flags.
        name: Box<[u8]>,
    },
}

impl Change {
    /// The missing name, if this is a removal.
    pub fn absent(self) -> Option<FileName> {
        match self {
            Self::Absent { subdir, name } => Some((subdir, name)),
            Self::Present(_) => None,
        }
    }
}
