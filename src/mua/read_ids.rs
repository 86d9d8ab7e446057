//! The unique ids of the messages that the user has read with this client, in a file beside the sent copies. POP3 has no
//! flags, so the mark of the others can come from nowhere else.
//!
//! The rule: the file only serves the marks. If it cannot be read or written, the client goes on without it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// The file of one user at one server.
#[derive(Debug)]
pub(crate) struct ReadIds {
    path: PathBuf,
}

impl ReadIds {
    /// `name` is that of the user's sent copies, which has no characters of a path.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        Self { path: directory.join(format!("read.{name}")) }
    }

    /// The ids of messages that were read; none if the file is absent.
    pub(crate) fn load(&self) -> HashSet<String> {
        let mut text = String::new();
        let read = File::open(&self.path).and_then(|file| file.take(MAX_OCTETS).read_to_string(&mut text));
        if read.is_err() {
            text.clear();
        }
        text.lines().map(str::to_owned).collect()
    }

    /// Replaces the file.
    pub(crate) fn save<'a>(&self, ids: impl Iterator<Item = &'a str>) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        // Two clients may save at the same time, so each writes a file of its own.
        let unfinished = self.path.with_extension(format!("{}.new", std::process::id()));
        let mut text = String::new();
        ids.for_each(|id| text.extend([id, "\n"]));
        let _ = fs::remove_file(&unfinished); // left by a process that died
        let written = File::create_new(&unfinished).and_then(|mut file| file.write_all(text.as_bytes()));
        let done = written.and_then(|()| fs::rename(&unfinished, &self.path));
        if done.is_err() {
            let _ = fs::remove_file(&unfinished); // the error to report is the first one
        }
        done
    }
}

/// Octets of the longest file that is read: the ids of a million messages.
const MAX_OCTETS: u64 = 72 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_a_file_that_is_absent_has_none() {
        let home = tempfile::tempdir().unwrap();
        let ids = ReadIds::new(&home.path().join("deep"), "ann");
        assert!(ids.load().is_empty());
        for expected in [&["a", "b"][..], &["c"], &[]] {
            ids.save(expected.iter().copied()).unwrap();
            assert_eq!(ids.load(), expected.iter().map(|id| (*id).to_owned()).collect());
        }
        assert_eq!(fs::read_dir(home.path().join("deep")).unwrap().count(), 1);
    }
}
