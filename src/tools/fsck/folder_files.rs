//! The files of folders beside the messages: keywords, subscriptions, the record of folders and the last UIDVALIDITY.
//!
//! The rule: damage in them never costs a message, so the check says what it costs, and repairs only what loses nothing.

use std::{ffi::CString, fs::File, io::Read};

use rustix::fs::{self, AtFlags, FileType, Mode};

use super::{
    check::Checker,
    finding::{Dir, Repair},
    problem::Problem,
};
use crate::{
    maildir::{folders, keyword_file, message::OPEN_FLAGS, uid_validity},
    printable::counted,
};

/// A file beside the messages, and the check of its content.
struct FolderFile {
    name: &'static str,
    problem: Problem,
    /// True if only the mailbox itself has it, and no folder.
    in_mailbox: bool,
    /// The number of lines that are none of its format.
    bad_lines: fn(&[u8]) -> usize,
    /// The remedy. `None`: `--fix` removes the file.
    advice: Option<&'static str>,
}

const FILES: [FolderFile; 4] = [
    FolderFile {
        name: uid_validity::FILE,
        problem: Problem::BrokenUidValidity,
        in_mailbox: true,
        bad_lines: uid_validity::bad_lines,
        advice: None,
    },
    FolderFile {
        name: folders::RECORD,
        problem: Problem::BrokenFolderRecord,
        in_mailbox: true,
        bad_lines: folders::bad_record_lines,
        advice: Some(
            "move it away: special uses then follow from the names of folders, and the usual ones are made again",
        ),
    },
    FolderFile {
        name: keyword_file::FILE,
        problem: Problem::BrokenKeywords,
        in_mailbox: false,
        bad_lines: keyword_file::bad_lines,
        advice: Some(
            "correct the lines, each like `0 todo` with numbers from 0 to 25, or take them from a backup",
        ),
    },
    FolderFile {
        name: folders::SUBSCRIPTIONS,
        problem: Problem::BrokenSubscriptions,
        in_mailbox: true,
        bad_lines: folders::bad_subscription_lines,
        advice: Some("correct the lines, or move the file away: clients then show every folder"),
    },
];

impl Checker<'_> {
    pub(super) fn check_folder_files(&mut self) {
        let is_folder = self.mailbox.is_folder();
        for file in FILES.iter().filter(|file| !(file.in_mailbox && is_folder)) {
            self.check_folder_file(file);
        }
    }

    fn check_folder_file(&mut self, file: &FolderFile) {
        let name = CString::new(file.name).unwrap_or_default();
        let Ok(stat) = fs::statat(&self.mailbox.root, &name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        let found = (Dir::Root, &*name, stat.st_ino);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            if !file.name.starts_with('.') {
                let advice = "move it away: the server makes the file again".into();
                let detail = "it is no regular file, so the server does not use it".into();
                self.report(found, Problem::NotAFile, detail, Repair::Manual(advice));
            }
            return; // the check of the server's own files reports the others
        }
        let mut octets = Vec::new();
        let opened = fs::openat(&self.mailbox.root, &name, OPEN_FLAGS, Mode::empty());
        let read = opened.map_err(std::io::Error::from).map(File::from);
        let read = read.and_then(|open| open.take(MAX_BYTES + 1).read_to_end(&mut octets));
        let (detail, repair) = match read {
            // It has gone meanwhile, or the check of the server's own files reports its mode.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound || file.name.starts_with('.') => {
                return;
            }
            Err(error) => (error.to_string(), Repair::Manual("check its owner and its mode".into())),
            Ok(_) => {
                let bad = (file.bad_lines)(&octets);
                let detail = if octets.len() as u64 > MAX_BYTES {
                    "it is longer than 1 MiB".to_owned()
                } else if bad > 0 {
                    format!("{} that no server has written", counted(bad, "line"))
                } else {
                    return;
                };
                (detail, file.advice.map_or(Repair::Remove, |advice| Repair::Manual(advice.into())))
            }
        };
        self.report(found, file.problem, detail, repair);
    }
}

/// Octets of the longest of the files.
const MAX_BYTES: u64 = 1 << 20;
