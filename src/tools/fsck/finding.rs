//! A problem of one file or directory, and its repair.

use std::{
    borrow::Cow,
    ffi::CString,
    path::{Path, PathBuf},
};

use super::problem::Problem;
use crate::{
    file_rights::{ForeignPlace, user_name},
    maildir::Error,
    printable,
};

/// A problem of one file or directory.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub path: PathBuf,
    pub problem: Problem,
    /// The evidence, in words for the operator.
    pub detail: String,
    pub repair: Repair,
    pub(super) file: FileRef,
}

/// The repair of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repair {
    /// No safe repair; the advice for a person.
    Manual(Cow<'static, str>),
    /// Rename the file in its directory.
    Rename(Vec<u8>),
    /// Remove the file, which is not mail.
    Remove,
    /// Set these permission bits.
    Mode(u32),
    MakeDirectory,
}

/// The file to repair, as the check found it.
#[derive(Debug, Clone)]
pub(super) struct FileRef {
    pub(super) dir: Dir,
    pub(super) name: CString,
    /// 0 if it does not exist.
    pub(super) inode: u64,
}

/// A directory of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dir {
    Root,
    Tmp,
    New,
    Cur,
}

impl Dir {
    pub(super) const PARTS: [Self; 3] = [Self::Tmp, Self::New, Self::Cur];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Root => ".",
            Self::Tmp => "tmp",
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// The result of a check.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Number of message files checked.
    pub messages: u64,
    pub findings: Vec<Finding>,
    /// Number of files and directories of a foreign owner with wrong modes. These are no findings, because they can only be corrected
    /// after the owner, which is one.
    pub foreign_modes: u64,
}

impl Report {
    /// The repairs of modes, if one of them keeps its owner from a file or directory, so that the check has not read it.
    pub(crate) fn mode_repairs(&self) -> Vec<Finding> {
        let modes = self.findings.iter().filter(|finding| matches!(finding.repair, Repair::Mode(_)));
        let modes: Vec<Finding> = modes.cloned().collect();
        let has_closed = modes.iter().any(|finding| finding.problem == Problem::ClosedToOwner);
        if has_closed { modes } else { Vec::new() }
    }
}

impl Finding {
    /// The finding for a mailbox, or a directory of one, that cannot be opened.
    pub(crate) fn unusable(path: &Path, error: &Error) -> Self {
        let is_no_directory = path.symlink_metadata().is_ok_and(|about| !about.is_dir());
        if let Some(place) = ForeignPlace::of(path).filter(|_| !is_no_directory) {
            return Self::foreign(path, &place);
        }
        let (problem, advice) = if is_no_directory {
            (Problem::NotADirectory, "put a directory in its place, or move it away".into())
        } else {
            let advice = error.remedy().map(|remedy| remedy.to_owned().into());
            (Problem::ClosedToOwner, advice.unwrap_or("check its owner and its mode".into()))
        };
        Self {
            path: path.to_owned(),
            problem,
            detail: error.without_remedy().to_string(),
            repair: Repair::Manual(advice),
            file: FileRef { dir: Dir::Root, name: CString::default(), inode: 0 },
        }
    }

    /// The finding for a directory of another user that keeps this user from a path, which is the directory or in it.
    pub(super) fn foreign(path: &Path, place: &ForeignPlace) -> Self {
        let depth = |path: &Path| path.components().count();
        let below =
            std::path::absolute(path).map_or(0, |path| depth(&path) - depth(&place.path).min(depth(&path)));
        Self {
            path: path.ancestors().nth(below).unwrap_or(&place.path).to_owned(),
            problem: Problem::ForeignOwner,
            detail: format!("its owner is {}, and {} may not write there", place.owner(), user_name()),
            repair: Repair::Manual(place.advice().into()),
            file: FileRef { dir: Dir::Root, name: CString::default(), inode: 0 },
        }
    }

    /// The finding for a mailbox with mail that no account has. `ways` is the advice.
    pub(crate) fn without_account(path: &Path, messages: u64, ways: String) -> Self {
        Self {
            path: path.to_owned(),
            problem: Problem::WithoutAccount,
            detail: format!("{}, and no account has this mailbox", printable::counted(messages, "message")),
            repair: Repair::Manual(ways.into()),
            file: FileRef { dir: Dir::Root, name: CString::default(), inode: 0 },
        }
    }

    /// The finding for mail in a place where no program looks for it.
    pub(super) fn misplaced(path: &Path, detail: String, advice: String) -> Self {
        Self {
            path: path.to_owned(),
            problem: Problem::Misplaced,
            detail,
            repair: Repair::Manual(advice.into()),
            file: FileRef { dir: Dir::Root, name: CString::default(), inode: 0 },
        }
    }

    /// The repair that `--fix` would make, or the advice for a person.
    pub(crate) fn advice(&self) -> String {
        match &self.repair {
            Repair::Manual(advice) => advice.clone().into_owned(),
            Repair::Rename(name) => format!("--fix renames it to {}", shown(name)),
            Repair::Remove => "--fix removes it".into(),
            Repair::Mode(mode) => format!("--fix sets its mode to {mode:04o}"),
            Repair::MakeDirectory => "--fix creates it".into(),
        }
    }

    /// The repair that `--fix` has made.
    pub(crate) fn repaired_text(&self) -> String {
        match &self.repair {
            Repair::Manual(_) => "nothing".into(),
            Repair::Rename(name) => format!("renamed to {}", shown(name)),
            Repair::Remove => "removed".into(),
            Repair::Mode(mode) => format!("mode set to {mode:04o}"),
            Repair::MakeDirectory => "created".into(),
        }
    }

    pub(crate) fn is_repairable(&self) -> bool {
        !matches!(self.repair, Repair::Manual(_))
    }
}

/// A file name for display. Octets of characters that are hidden, or of no character, are escaped; so is a backslash.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if printable::is_hidden(c) => {
                    text.extend(c.encode_utf8(&mut [0; 4]).as_bytes().escape_ascii().map(char::from));
                }
                c => text.push(c),
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u91_a_name_is_shown_in_its_own_letters_and_what_is_not_seen_is_escaped() {
        let names: [(&[u8], &str); 7] = [
            (b"Entw\xc3\xbcrfe", "Entw\u{fc}rfe"),
            ("\u{7528}\u{6237} \u{3c3}".as_bytes(), "\u{7528}\u{6237} \u{3c3}"),
            (b"it's \"x\"", "it's \"x\""),
            (b"a\\b", "a\\\\b"),
            (b"a\nb\x1b[1m\x7f", "a\\nb\\x1b[1m\\x7f"),
            (b"\xc3(\xff", "\\xc3(\\xff"),
            ("a\u{202e}b\u{85}".as_bytes(), "a\\xe2\\x80\\xaeb\\xc2\\x85"),
        ];
        for (name, expected) in names {
            assert_eq!(shown(name), expected);
        }
    }
}
