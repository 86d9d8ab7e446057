//! The size of a mailbox, for its quota.

use rustix::{
    fs::{self, AtFlags, Dir, FileType},
    io::Errno,
};

use super::{Error, Kind, Maildir, Spool, Subdir, name};

/// The amount of mail in a mailbox, all its folders together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all files.
    pub bytes: u64,
    /// Number of messages.
    pub messages: u64,
}

impl Usage {
    /// With one more message of so many octets.
    pub fn with(self, bytes: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), messages: self.messages.saturating_add(1) }
    }

    /// With all of another amount.
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            messages: self.messages.saturating_add(other.messages),
        }
    }

    /// Without another amount.
    pub fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            messages: self.messages.saturating_sub(other.messages),
        }
    }
}

/// Counts a mailbox with all its folders, including files that wait for their removal. It reads no file: our own names
/// have the sizes, and the file system has the others. A missing or unusable mailbox or folder counts as empty.
pub fn usage(spool: &Spool, mailbox: &str) -> Result<Usage, Error> {
    let mut usage = Usage::default();
    for maildir in spool.maildirs_of(mailbox.to_owned()) {
        match maildir {
            Ok(maildir) => {
                for subdir in Subdir::ALL {
                    usage = count(&maildir, subdir, usage)?;
                }
            }
            Err(error) if matches!(error.kind(), Kind::Gone | Kind::Unusable) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(usage)
}

fn count(maildir: &Maildir, subdir: Subdir, mut usage: Usage) -> Result<Usage, Error> {
    let failed = |step| move |e: Errno| Error::at(maildir.path().join(subdir.name()), step, e);
    for entry in Dir::read_from(maildir.dir(subdir)).map_err(failed("read directory"))? {
        let entry = entry.map_err(failed("read directory"))?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        if let Some((bytes, _)) = name::sizes_in_name(name.to_bytes()) {
            usage = usage.with(bytes);
            continue;
        }
        match fs::statat(maildir.dir(subdir), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                usage = usage.with(u64::try_from(stat.st_size).unwrap_or(0));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("stat")(error)),
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::name::NameGenerator;

    #[test]
    fn everything_counts_wherever_it_lies_and_whoever_put_it_there() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        assert_eq!(usage(&spool, "bob").unwrap(), Usage::default());
        let bob = spool.open_or_create_maildir("bob").unwrap();
        let sent = spool.open_or_create_folder("bob", ".Sent").unwrap();
        let other = spool.open_or_create_maildir("alice").unwrap();
        let name =
            NameGenerator::new("mx", 1).next(std::time::SystemTime::UNIX_EPOCH, 1).final_name(100, Some(110));
        for (maildir, file, bytes) in [
            (&bob, "new/1.a", 7),
            (&bob, "cur/2.b:2,ST", 5),
            (&bob, "new/.hidden", 1000),
            (&bob, "tmp/3.c", 1000),
            (&sent, &*format!("cur/{name}:2,S"), 100),
            (&other, "new/4.d", 1000),
        ] {
            std::fs::write(maildir.path().join(file), vec![b'x'; bytes]).unwrap();
        }
        std::fs::create_dir(bob.path().join("new/directory")).unwrap();
        assert_eq!(usage(&spool, "bob").unwrap(), Usage { bytes: 112, messages: 3 });
    }
}
