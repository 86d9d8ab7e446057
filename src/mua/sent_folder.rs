//! Copies of sent messages in a local Maildir, for servers that keep none.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::SystemTime,
};

use crate::{
    maildir::{Maildir, Spool, Subdir, TmpFile, name},
    wire_size,
};

/// The copies of one user at one server, oldest first.
#[derive(Debug, Default)]
pub(crate) struct SentFolder {
    files: Vec<PathBuf>,
}

impl SentFolder {
    /// Lists the copies below that directory; none if it does not exist.
    pub(crate) fn open(directory: &Path, who: &str) -> io::Result<Self> {
        let directory = directory.join(path_component(who)).join("cur");
        let mut files = Vec::new();
        match fs::read_dir(&directory) {
            Ok(entries) => {
                for entry in entries {
                    files.push(entry?.path());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
        files.sort_by(|a, b| name::sort_key(&name(a)).cmp(&name::sort_key(&name(b))));
        Ok(Self { files })
    }

    /// Writes one copy durably. `random` makes its file name unique.
    pub(crate) fn save(
        directory: &Path,
        who: &str,
        message: &[u8],
        date: SystemTime,
        random: u64,
    ) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let unique = name::NameGenerator::new(&host, process::id()).next(date, random);
        let kept = || {
            let maildir: Maildir = Spool::open(directory)?.open_or_create_maildir(&path_component(who))?;
            let mut tmp_file = TmpFile::create(&maildir, unique)?;
            let written =
                tmp_file.write(message).and_then(|()| tmp_file.sync()).and_then(|()| tmp_file.close());
            let name = name::with_flag(tmp_file.final_name(wire_size::wire_size(message)).as_bytes(), b'S');
            let name = String::from_utf8_lossy(&name);
            let placed = written.and_then(|()| tmp_file.rename(&maildir, Subdir::Cur, &name));
            if placed.is_err() {
                tmp_file.discard();
            }
            placed.and_then(|_| maildir.sync(Subdir::Cur))
        };
        kept().map_err(|error| io::Error::other(error.to_string()))
    }

    pub(crate) fn sizes(&self) -> Vec<u64> {
        self.files.iter().map(|file| fs::metadata(file).map_or(0, |about| about.len())).collect()
    }

    pub(crate) fn read(&self, index: usize) -> io::Result<Vec<u8>> {
        self.files.get(index).map_or(Err(io::ErrorKind::NotFound.into()), fs::read)
    }
}

/// The path component for this user and this server.
pub(super) fn path_component(who: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._+-".contains(c);
    let name: String = who.chars().map(|c| if plain(c) { c } else { '_' }).take(200).collect();
    format!("sent.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_kept_in_order_and_apart() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("deep/er");
        assert!(SentFolder::open(&directory, "a@b").unwrap().sizes().is_empty());
        for (who, text, second) in [("a@b", "one", 5), ("a@b", "three", 6), ("../../x", "two", 7)] {
            let date = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            SentFolder::save(&directory, who, text.as_bytes(), date, second).unwrap();
        }
        let copies = SentFolder::open(&directory, "a@b").unwrap();
        assert_eq!(copies.sizes(), [3, 5]);
        assert_eq!(copies.read(1).unwrap(), b"three");
        assert!(copies.read(2).is_err());
        assert_eq!(SentFolder::open(&directory, "../../x").unwrap().sizes(), [3]);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing is beside the directory");
    }
}
