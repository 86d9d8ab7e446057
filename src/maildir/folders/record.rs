//! `.restante.folders`, beside the messages of a mailbox: the special uses of its folders, and a renaming that has begun.
//!
//! Lines of text, with tabs between the words. The file is replaced as a whole, durably. A line that is not understood counts
//! as missing. Without the file no renaming is in progress, and special uses follow from the names of folders.

use std::{io::Read, str};

use super::{
    super::{
        Error, Kind, Maildir,
        cache_file::{self, open},
        fault_points::fault_point,
        store::is_folder_name,
    },
    MAX_NAME,
};
use crate::safe_file::Durability;

/// The file.
pub const RECORD: &str = ".restante.folders";

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FolderRecord {
    /// Whether the folders with a special use were made once. The user may have deleted some of them since.
    pub(super) is_prepared: bool,
    /// The words of special uses, such as `Sent`, each with the directory that has it. Words of a later version stay in the file.
    pub(super) uses: Vec<(String, String)>,
    /// The renaming that has begun.
    pub(super) renaming: Option<Renaming>,
}

/// A renaming in several steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Renaming {
    /// A folder gets another name, with all folders below it.
    Folder {
        /// The old name of the directory.
        from: String,
        /// The new one.
        to: String,
    },
    /// A new folder gets the messages of INBOX. As long as the record says so, they are to be moved back.
    Inbox {
        /// The directory of that folder.
        to: String,
    },
}

impl FolderRecord {
    /// Reads the file.
    pub(super) fn load(inbox: &Maildir) -> Result<Self, Error> {
        let file = match open(inbox, RECORD) {
            Ok(file) => file,
            Err(error) if error.kind() == Kind::Gone => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut octets = Vec::new();
        let read = file.take(MAX_FILE).read_to_end(&mut octets);
        read.map_err(|e| Error::at(inbox.path().join(RECORD), "read", e))?;
        Ok(Self::parse(&octets))
    }

    fn parse(octets: &[u8]) -> Self {
        Self::parse_counting(octets).0
    }

    /// Parses the file, and counts the lines that are not understood.
    fn parse_counting(octets: &[u8]) -> (Self, usize) {
        let (mut record, mut bad) = (Self::default(), 0);
        for line in octets.split(|octet| *octet == b'\n') {
            let Ok(line) = str::from_utf8(line) else {
                bad += 1;
                continue;
            };
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["prepared"] => record.is_prepared = true,
                ["use", word, directory] if is_harmless(directory) => record.set_use(word, directory),
                ["rename", from, to] if is_harmless(from) && is_harmless(to) => {
                    record.renaming = Some(Renaming::Folder { from: from.to_owned(), to: to.to_owned() });
                }
                ["rename-inbox", to] if is_harmless(to) => {
                    record.renaming = Some(Renaming::Inbox { to: to.to_owned() });
                }
                _ => bad += usize::from(!line.is_empty() && line != HEAD.trim_end()),
            }
        }
        (record, bad)
    }

    /// Gives a special use to a folder. Another folder that had it loses it.
    pub(super) fn set_use(&mut self, word: &str, directory: &str) {
        self.uses.retain(|(other, has)| other != word && has != directory);
        self.uses.push((word.to_owned(), directory.to_owned()));
    }

    /// Replaces the file, durably.
    pub(super) fn save(&self, inbox: &Maildir) -> Result<(), Error> {
        let mut text = String::from(HEAD);
        if self.is_prepared {
            text.push_str("prepared\n");
        }
        for (word, directory) in &self.uses {
            text.push_str(&format!("use\t{word}\t{directory}\n"));
        }
        match &self.renaming {
            Some(Renaming::Folder { from, to }) => text.push_str(&format!("rename\t{from}\t{to}\n")),
            Some(Renaming::Inbox { to }) => text.push_str(&format!("rename-inbox\t{to}\n")),
            None => {}
        }
        fault_point(inbox.path(), "write folder record")?;
        cache_file::replace(inbox, RECORD, text.as_bytes(), Durability::Durable)?;
        fault_point(inbox.path(), "write folder record: done")
    }
}

/// The number of lines in such a file that are not understood.
pub fn bad_record_lines(octets: &[u8]) -> usize {
    FolderRecord::parse_counting(octets).1
}

/// Whether a name in the file is that of a folder's directory, and no path.
fn is_harmless(name: &str) -> bool {
    is_folder_name(name) && name.len() <= MAX_NAME && !name.contains(|c: char| c == '/' || c.is_control())
}

const HEAD: &str = "restante folders 1\n";
/// Octets that are read of the file.
const MAX_FILE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Spool;

    #[test]
    fn the_record_is_read_back_and_what_is_no_line_of_it_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        let inbox = Spool::open(home.path()).unwrap().open_or_create_maildir("bob").unwrap();
        assert_eq!(FolderRecord::load(&inbox).unwrap(), FolderRecord::default());
        let mut record = FolderRecord { is_prepared: true, ..FolderRecord::default() };
        record.set_use("Sent", ".Sent");
        record.set_use("Sent", ".Sent Items");
        for renaming in [
            Some(Renaming::Folder { from: ".A".into(), to: ".Entw&APw-rfe.B".into() }),
            Some(Renaming::Inbox { to: ".Old".into() }),
            None,
        ] {
            record.renaming = renaming;
            record.save(&inbox).unwrap();
            assert_eq!(FolderRecord::load(&inbox).unwrap(), record);
        }
        assert_eq!(record.uses, [("Sent".to_owned(), ".Sent Items".to_owned())]);
        let foreign = b"rename\t.A\nrename\t../x\t.B\nrename-inbox\t.a/b\nuse\tSent\t..x\n\xff\nuse\n\nuse\tJunk\t.J\nuse\tx";
        let expected = FolderRecord { uses: vec![("Junk".into(), ".J".into())], ..FolderRecord::default() };
        assert_eq!(FolderRecord::parse(foreign), expected);
    }
}
