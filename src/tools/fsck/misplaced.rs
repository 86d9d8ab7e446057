//! Mail in a place of the spool where no program looks for it.
//!
//! The rule: only what is certainly mail is reported, because other programs keep files of their own in a mailbox: a
//! Maildir that is no mailbox of the spool, and a file that begins with a field of a message.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::finding::Finding;
use crate::command_hint::{path_word, pipe_end};

/// The mail that was found in the wrong place.
#[derive(Debug, PartialEq, Eq)]
enum Misplaced {
    Maildir(PathBuf),
    Message(PathBuf),
}

/// Looks at a file, or a directory that is no Maildir, in the spool or in a mailbox.
pub(crate) fn misplaced_mail(path: &Path) -> Option<Finding> {
    let mut left = MAX_NAMES;
    let found = search(path, MAX_DEPTH, &mut left)?;
    let is_file = path.symlink_metadata().is_ok_and(|about| about.is_file());
    let (detail, advice) = match found {
        Misplaced::Maildir(maildir) => (
            format!("{} is a Maildir, and no mailbox of the spool", maildir.display()),
            format!(
                "a mailbox has new, cur and tmp in SPOOL/ADDRESS itself: move {} there",
                maildir.display()
            ),
        ),
        Misplaced::Message(_) if is_file => (
            "it is a message outside of the new and cur of a mailbox".to_owned(),
            format!("`{} && rm {}` delivers it and removes it here", import_of(path), path_word(path)),
        ),
        Misplaced::Message(message) => {
            (format!("it is no Maildir, and {} is a message", message.display()), ways_of_directory(path))
        }
    };
    Some(Finding::misplaced(path, detail, advice))
}

/// The command that delivers a message, or a directory of them, without backticks. The original stays.
fn import_of(path: &Path) -> String {
    pipe_end(&["import", &path.to_string_lossy(), "--to", "ADDRESS"])
}

/// The commands for a directory of messages. It first gets a name that no mailbox can have, because the import may make a
/// mailbox of its name in it. It is removed only after an import that has left out nothing.
fn ways_of_directory(path: &Path) -> String {
    let mut renamed = path.as_os_str().to_owned();
    renamed.push("~");
    let renamed = PathBuf::from(renamed);
    format!(
        "rename it with `mv -T {} {}`; then `{} && rm -r {}` delivers what is in it, and removes it unless the import \
         leaves out a file, which it names",
        path_word(path),
        path_word(&renamed),
        import_of(&renamed),
        path_word(&renamed)
    )
}

/// The messages that lie in the spool itself, beside the mailboxes.
pub(crate) fn misplaced_files(spool: &Path) -> Vec<Finding> {
    let entries = fs::read_dir(spool).into_iter().flatten().flatten();
    let is_loose = |name: &[u8]| !name.starts_with(b".") && !name.contains(&b'@');
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| is_loose(entry.file_name().as_encoded_bytes()))
        .map(|entry| entry.path())
        .filter(|path| path.symlink_metadata().is_ok_and(|about| about.is_file()))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| misplaced_mail(path)).collect()
}

fn search(path: &Path, depth: usize, left: &mut usize) -> Option<Misplaced> {
    *left = left.checked_sub(1)?;
    let about = path.symlink_metadata().ok()?;
    if about.is_file() {
        return begins_like_mail(path).then(|| Misplaced::Message(path.to_owned()));
    }
    if !about.is_dir() {
        return None;
    }
    if ["new", "cur"].iter().all(|part| path.join(part).is_dir()) {
        return Some(Misplaced::Maildir(path.to_owned()));
    }
    let depth = depth.checked_sub(1)?;
    let mut paths: Vec<PathBuf> = fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().find_map(|path| search(path, depth, left))
}

/// Whether a file begins with a field that messages have.
fn begins_like_mail(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_START).read_to_end(&mut start));
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    let name = start.split(|b| *b == b':').next().unwrap_or_default();
    read.is_ok()
        && name.len() < start.len()
        && FIELDS.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name.trim_ascii_end()))
}

/// Fields that a message may begin with.
const FIELDS: [&str; 14] = [
    "ARC-Seal",
    "Authentication-Results",
    "Content-Type",
    "Date",
    "Delivered-To",
    "DKIM-Signature",
    "From",
    "Message-ID",
    "MIME-Version",
    "Received",
    "Return-Path",
    "Subject",
    "To",
    "X-Original-To",
];
/// Octets of a file that are read.
const MAX_START: u64 = 256;
/// Levels of directories.
const MAX_DEPTH: usize = 4;
/// Names of one search.
const MAX_NAMES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u90_mail_that_no_program_finds_is_told_from_the_files_of_other_programs() {
        let spool = tempfile::tempdir().unwrap();
        let at = |name: &str| spool.path().join(name);
        let put = |name: &str, text: &str| {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
        };
        put("loose.eml", "\u{feff}\nSubject: x\n\nx\n");
        put("home@example.test/Maildir/new/1.a", "x\n");
        fs::create_dir_all(at("home@example.test/Maildir/cur")).unwrap();
        put("files@example.test/sent/d.eml", "From: a\n\nx\n");
        put("notes/README", "Read this: no mail\n");
        put("dovecot-keywords", "0 $Forwarded\n");
        put("list", "mail:x\n");
        std::os::unix::fs::symlink(at("files@example.test"), at("link")).unwrap();
        for (name, detail, advice) in [
            ("loose.eml", "a message outside", "`restante import "),
            ("home@example.test", "home@example.test/Maildir is a Maildir", "SPOOL/ADDRESS itself"),
            ("files@example.test", "sent/d.eml is a message", "rename it with `mv "),
            ("files@example.test/sent", "sent/d.eml is a message", "sent~' --to ADDRESS && rm -r "),
        ] {
            let finding = misplaced_mail(&at(name)).unwrap();
            assert!(finding.detail.contains(detail), "{finding:?}");
            assert!(finding.advice().contains(advice), "{finding:?}");
        }
        let loose: Vec<PathBuf> = misplaced_files(spool.path()).into_iter().map(|found| found.path).collect();
        assert_eq!(loose, [at("loose.eml")]);
        for name in ["notes", "dovecot-keywords", "list", "link", "absent"] {
            assert!(misplaced_mail(&at(name)).is_none(), "{name}");
        }
    }
}
