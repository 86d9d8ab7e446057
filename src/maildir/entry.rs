//! Plain values that describe a message file: its directory, its name, its version, and a change of the mailbox.

use std::path::Path;

use rustix::fs::Stat;

use super::name;

/// The directories of a Maildir.
pub const PARTS: [&str; 3] = ["tmp", "new", "cur"];

/// Whether a directory has all of them. Links are followed.
pub fn has_all_parts(path: &Path) -> bool {
    PARTS.iter().all(|part| path.join(part).is_dir())
}

/// One of the two directories that hold messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subdir {
    /// Messages that no mail reader has seen.
    New,
    /// Messages that a mail reader has seen and moved here.
    Cur,
}

impl Subdir {
    /// Both directories, in the order in which a message passes through them.
    pub const ALL: [Self; 2] = [Self::New, Self::Cur];

    /// The name of the directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// The name of a message file, with its directory. The file may be gone.
pub type FileName = (Subdir, Box<[u8]>);

/// Identifies one file with one content. Another file, or other content, has another version: an inode that the file
/// system uses again comes with another size or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct FileVersion {
    /// Inode number.
    pub inode: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, u32),
}

impl FileVersion {
    /// The version of the file that `stat` describes.
    #[allow(clippy::unnecessary_cast, reason = "the widths of these fields differ between platforms")]
    pub fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        }
    }
}

/// The state of a directory. While it stays, the directory has the same names, and each belongs to the same file.
///
/// The time is that of the last change of the directory's inode. Nobody can set it, so a directory that was restored with its
/// old time of modification, and with other files under the old names, has another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DirState {
    pub(super) inode: u64,
    /// Seconds and nanoseconds.
    pub(super) changed: (i64, u32),
}

/// A message file, as a scan or recheck found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageEntry {
    /// The file name, with flags.
    pub name: Box<[u8]>,
    /// The directory of the file.
    pub subdir: Subdir,
    /// The version of the file.
    pub version: FileVersion,
    /// Octets on the wire, with CRLF line ends.
    pub octets: u64,
}

impl MessageEntry {
    /// The time of its delivery in milliseconds since 1970: that in its name, or that of its last change if another program gave
    /// the name a number that is no time.
    pub fn received(&self) -> i64 {
        let (seconds, micros, _) = name::sort_key(&self.name);
        let in_name = i64::try_from(seconds).ok().filter(|seconds| TIMES.contains(seconds));
        let (modified, nanos) = self.version.modified;
        let (seconds, millis) = match in_name {
            Some(seconds) => (seconds, i64::try_from(micros / 1000).unwrap_or(0).min(999)),
            None => (modified, i64::from(nanos / 1_000_000)),
        };
        seconds.saturating_mul(1000).saturating_add(millis)
    }

    /// True if a mail reader has shown it, or a POP3 client has fetched it.
    pub fn is_read(&self) -> bool {
        self.subdir == Subdir::Cur && name::flags(&self.name).contains(&b'S')
    }
}

/// The seconds in a name that are a time: from 1973 to 5138, nine to eleven digits.
const TIMES: std::ops::Range<i64> = 100_000_000..100_000_000_000;

/// A message as a snapshot lists it. Its file may have been renamed or replaced since then.
#[derive(Debug, Clone, Copy)]
pub struct MessageRef<'a> {
    /// The file name in the snapshot.
    pub name: &'a [u8],
    /// The directory in the snapshot.
    pub subdir: Subdir,
    /// The version that the file must still have.
    pub version: FileVersion,
}

impl<'a> From<&'a MessageEntry> for MessageRef<'a> {
    fn from(entry: &'a MessageEntry) -> Self {
        Self { name: &entry.name, subdir: entry.subdir, version: entry.version }
    }
}

/// A change of a mailbox. Applying it twice has the same effect as once, so that a repeated event does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The message exists, under this name and in this version.
    Present(MessageEntry),
    /// The directory has no message of this name.
    Absent {
        /// The directory.
        subdir: Subdir,
        /// The file name, with flags.
        name: Box<[u8]>,
    },
}

impl Change {
    /// The name that is gone, if the change is [`Change::Absent`].
    pub fn absent(self) -> Option<FileName> {
        match self {
            Self::Absent { subdir, name } => Some((subdir, name)),
            Self::Present(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_delivery_is_in_the_name_unless_that_number_is_no_time() {
        let version = FileVersion { inode: 1, bytes: 2, modified: (1_700_000_001, 234_567_890) };
        for (name, subdir, received, is_read) in [
            ("1795168805.M7008P1Q1.host,S=2", Subdir::New, 1_795_168_805_007, false),
            ("1795168805.M99999999999999999999.host:2,S", Subdir::Cur, 1_795_168_805_999, true),
            ("1795168805.1.host:2,S", Subdir::New, 1_795_168_805_000, false),
            ("1795168805.1.host:2,RF", Subdir::Cur, 1_795_168_805_000, false),
            ("1.letter", Subdir::New, 1_700_000_001_234, false),
            ("99999999999999999999999.x", Subdir::New, 1_700_000_001_234, false),
            ("letter:2,FS", Subdir::Cur, 1_700_000_001_234, true),
        ] {
            let entry = MessageEntry { name: name.as_bytes().into(), subdir, version, octets: 0 };
            assert_eq!((entry.received(), entry.is_read()), (received, is_read), "{name}");
        }
    }
}
