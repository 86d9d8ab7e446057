//! The files that accounts come from.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, time::SystemTime};

use super::{Accounts, Error, UserFile, Users, aliases::Aliases, table::Table};

/// Where accounts come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The file of accounts.
    pub users: PathBuf,
    /// The file of aliases, if there is one.
    pub aliases: Option<PathBuf>,
    /// Our domains, in lower case; the first one is meant where one is left out.
    pub domains: Vec<String>,
}

/// What the files were like at one moment: another stamp means that they have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<FileStamp>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    octets: u64,
    changed: (i64, i64),
}

impl Sources {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or is wrong somewhere.
    pub fn load(&self) -> Result<Accounts, Error> {
        let table = self.table()?;
        let aliases = self.read_aliases(&table)?;
        Ok(self.accounts(table, aliases))
    }

    pub(super) fn accounts(&self, table: Table, aliases: Aliases) -> Accounts {
        Accounts {
            domains: self.domains.clone(),
            users: Users::Listed(table.with(aliases)),
            sources: Some(self.clone()),
        }
    }

    /// The accounts without their aliases.
    pub(super) fn table(&self) -> Result<Table, Error> {
        Ok(Table::new(UserFile::at(&self.users).users()?))
    }

    pub(super) fn read_aliases(&self, table: &Table) -> Result<Aliases, Error> {
        let Some(path) = &self.aliases else { return Ok(Aliases::default()) };
        let unreadable = |error| Error::Io { path: path.clone(), action: "read", error };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Aliases::read(&text, &self.domains, |address| table.owner(address).cloned())
            .map_err(|mistake| Error::Aliases { path: path.clone(), line: mistake.line, why: mistake.why })
    }

    /// What the files are like now.
    pub fn stamp(&self) -> Stamp {
        let files = [Some(&self.users), self.aliases.as_ref()].into_iter().flatten();
        let stamp = files.map(|path| {
            let file = fs::metadata(path).ok()?;
            let changed = (file.mtime(), file.mtime_nsec());
            Some(FileStamp { device: file.dev(), inode: file.ino(), octets: file.len(), changed })
        });
        Stamp(stamp.collect())
    }
}

impl Stamp {
    /// Whether a file has been written to so lately that a further change may leave no trace: the clock of
    /// a file system ticks slowly.
    pub(super) fn is_young(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let changed = |file: &FileStamp| u64::try_from(file.changed.0).unwrap_or(0);
        self.0.iter().flatten().any(|file| changed(file).abs_diff(now) <= YOUNG)
    }
}

/// Seconds.
const YOUNG: u64 = 2;
