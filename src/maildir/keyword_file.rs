//! `dovecot-keywords`: the keyword of each letter from `a` to `z` in the file names of a folder. Dovecot and others read and
//! write this file too.
//!
//! The rule: a letter keeps its keyword for good, even after no file name has the letter. Dovecot, a delivery or another server
//! that shares the spool may have looked the letter up already, and would put another keyword on its message.

use std::{io::Read, time::SystemTime};

use rustix::fs::{self, AtFlags};

use super::{
    Error, FileVersion, Kind, Maildir,
    cache_file::{is_foreign, open, replace},
    sync_phase::{SyncPart, is_sync_skipped},
};
use crate::{imap_characters::is_atom, safe_file::Durability};

/// The file, beside the messages.
pub const FILE: &str = "dovecot-keywords";
/// The keyword of Dovecot for a flag that the Maildir rules have too, as the letter `P`.
pub const FORWARDED: &str = "$Forwarded";

/// The keywords of a folder, by their letter. A letter without one has an empty text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keywords {
    names: Vec<String>,
    /// The version of the file that has them.
    version: Option<FileVersion>,
    /// Whether another kind of file has the name, or one that this user may not read: no keyword gets a letter.
    is_foreign: bool,
}

impl Keywords {
    /// Reads the file. Lines of another form are skipped.
    ///
    /// # Errors
    /// The disk failed.
    pub fn load(maildir: &Maildir) -> Result<Self, Error> {
        let version = version(maildir);
        let (mut text, mut foreign) = (Vec::new(), false);
        match open(maildir, FILE) {
            Ok(file) => {
                let read = file.take(MAX_BYTES).read_to_end(&mut text);
                read.map_err(|e| Error::at(maildir.path().join(FILE), "read", e))?;
            }
            Err(error) if error.kind() == Kind::Gone => {}
            Err(error) if is_foreign(&error) => {
                log::debug!("{error}: the folder has no keywords");
                foreign = true;
            }
            Err(error) => return Err(error),
        }
        Ok(Self { names: parse(&text), version, is_foreign: foreign })
    }

    /// Reads the file again if it is another one.
    ///
    /// # Errors
    /// The disk failed.
    pub fn reload(&mut self, maildir: &Maildir) -> Result<(), Error> {
        let now = version(maildir);
        if now.is_none() || now != self.version {
            *self = Self::load(maildir)?;
        }
        Ok(())
    }

    /// The keywords, from letter `a`. A letter without one has an empty text.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of the letter of a keyword, in any case (RFC 9051 section 2.3.2).
    pub fn number_of(&self, keyword: &str) -> Option<usize> {
        self.names.iter().position(|name| name.eq_ignore_ascii_case(keyword))
    }

    /// Whether another keyword has room.
    pub fn has_room(&self) -> bool {
        self.free().is_some()
    }

    fn free(&self) -> Option<usize> {
        let free = self.names.iter().position(String::is_empty).unwrap_or(self.names.len());
        (free < LETTERS && !self.is_foreign).then_some(free)
    }

    /// Gives letters to those of the keywords that have none, durably. `false`: the letters do not suffice, and nothing has
    /// changed.
    ///
    /// # Errors
    /// The disk failed, and nothing has changed.
    pub fn add(&mut self, maildir: &Maildir, keywords: &[String]) -> Result<bool, Error> {
        self.reload(maildir)?;
        let (next, is_whole) = self.with(keywords);
        if is_whole {
            self.save(maildir, next)?;
        }
        Ok(is_whole)
    }

    /// Gives letters to as many of the keywords as have room, durably. `false`: some have no letter.
    ///
    /// # Errors
    /// The disk failed, and nothing has changed.
    pub fn add_some(&mut self, maildir: &Maildir, keywords: &[String]) -> Result<bool, Error> {
        self.reload(maildir)?;
        let (next, is_whole) = self.with(keywords);
        self.save(maildir, next)?;
        Ok(is_whole)
    }

    /// These keywords and as many of the others as have room, and whether all have.
    fn with(&self, keywords: &[String]) -> (Self, bool) {
        let (mut next, mut is_whole) = (self.clone(), true);
        for keyword in keywords {
            if next.number_of(keyword).is_some() {
                continue;
            }
            let Some(free) = next.free() else {
                is_whole = false;
                continue;
            };
            next.names.resize_with(next.names.len().max(free + 1), String::new);
            next.names[free].clone_from(keyword);
        }
        (next, is_whole)
    }

    fn save(&mut self, maildir: &Maildir, mut next: Self) -> Result<(), Error> {
        if next.names != self.names {
            let line = |(number, name): (usize, &String)| format!("{number} {name}\n");
            let lines = next.names.iter().enumerate().filter(|(_, name)| !name.is_empty());
            let text: String = lines.map(line).collect();
            let is_skipped = is_sync_skipped(SyncPart::Keywords);
            let durability = if is_skipped { Durability::Cached } else { Durability::Durable };
            replace(maildir, FILE, text.as_bytes(), durability)?;
            next.version = version(maildir);
            *self = next;
        }
        Ok(())
    }
}

/// The number of lines in such a file that are no letter with a keyword.
pub fn bad_lines(octets: &[u8]) -> usize {
    let lines = octets.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.filter(|line| keyword(line).is_none()).count()
}

/// The letter and the keyword of a line.
fn keyword(line: &[u8]) -> Option<(usize, &str)> {
    let (number, name) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let number = number.parse().ok().filter(|number: &usize| *number < LETTERS)?;
    (name.len() <= MAX_KEYWORD && is_atom(name.as_bytes())).then_some((number, name))
}

fn parse(text: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for (number, name) in text.split(|b| *b == b'\n').filter_map(keyword) {
        if names.iter().any(|other: &String| other.eq_ignore_ascii_case(name)) {
            continue;
        }
        names.resize_with(names.len().max(number + 1), String::new);
        name.clone_into(&mut names[number]);
    }
    names
}

/// The version of the file. A file whose time may be that of a later change, too, has none.
fn version(maildir: &Maildir) -> Option<FileVersion> {
    let stat = fs::statat(maildir.root(), FILE, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let version = FileVersion::of(&stat);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_old = i64::try_from(now).is_ok_and(|now| version.modified.0 < now - RACY_SECS);
    is_old.then_some(version)
}

const LETTERS: usize = 26;
/// The longest keyword of the file. Other programs may write longer ones than clients of this server.
const MAX_KEYWORD: usize = 200;
const MAX_BYTES: u64 = 64 << 10;
/// Seconds within which two changes of a file may have the same time.
const RACY_SECS: i64 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::uid_file::tests::mailbox;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn keywords_have_the_letters_of_the_file_and_new_ones_get_free_letters() {
        let (_dir, maildir) = mailbox();
        let mut keywords = Keywords::load(&maildir).unwrap();
        assert!(keywords.names().is_empty() && keywords.has_room());
        std::fs::write(maildir.path().join(FILE), "0 $Junk\n2 todo\n26 beyond\nx y\n3 bad(\n").unwrap();
        assert!(keywords.add(&maildir, &words(&["TODO", "new", "later"])).unwrap());
        assert_eq!(keywords.names(), ["$Junk", "new", "todo", "later"]);
        assert_eq!(keywords.number_of("$JUNK"), Some(0));
        let text = std::fs::read_to_string(maildir.path().join(FILE)).unwrap();
        assert_eq!(text, "0 $Junk\n1 new\n2 todo\n3 later\n");
        assert_eq!(Keywords::load(&maildir).unwrap().names(), keywords.names());
    }

    #[test]
    fn y252_as_many_keywords_get_letters_as_have_room() {
        let (_dir, maildir) = mailbox();
        let mut keywords = Keywords::default();
        let many: Vec<String> = (0..25).map(|n| format!("k{n}")).collect();
        assert!(keywords.add_some(&maildir, &many).unwrap());
        assert!(!keywords.add_some(&maildir, &words(&["K3", "one", "two", "ONE", "k4"])).unwrap());
        assert_eq!(keywords.number_of("one"), Some(25));
        assert_eq!(keywords.number_of("two"), None);
        assert!(keywords.add_some(&maildir, &words(&["k24", "One"])).unwrap());
        assert_eq!(Keywords::load(&maildir).unwrap().names(), keywords.names());
    }

    #[test]
    fn y33_another_kind_of_file_under_the_name_leaves_the_folder_without_keywords() {
        let (_dir, maildir) = mailbox();
        std::os::unix::fs::symlink("/etc/passwd", maildir.path().join(FILE)).unwrap();
        let mut keywords = Keywords::load(&maildir).unwrap();
        assert!(keywords.names().is_empty() && !keywords.has_room());
        assert!(!keywords.add(&maildir, &words(&["todo"])).unwrap());
        assert!(maildir.path().join(FILE).is_symlink());
    }

    #[test]
    fn y23_a_folder_has_26_keywords_and_no_more() {
        let (_dir, maildir) = mailbox();
        let mut keywords = Keywords::default();
        let many: Vec<String> = (0..26).map(|n| format!("k{n}")).collect();
        assert!(
            !keywords
                .add(&maildir, &words(&["one", "two"]).into_iter().chain(many.clone()).collect::<Vec<_>>())
                .unwrap()
        );
        assert!(keywords.names().is_empty());
        assert!(keywords.add(&maildir, &many).unwrap());
        assert!(!keywords.has_room() && !keywords.add(&maildir, &words(&["k27"])).unwrap());
        assert!(keywords.add(&maildir, &words(&["K25"])).unwrap());
    }
}
