//! Mail in a place of the spool where no program looks for it.
//!
//! The rule: only what is certainly mail is reported, because other programs keep files of their own in a mailbox: a
//! Maildir that is no mailbox of the spool, an mbox, and a file that begins with a field of a message.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    advice::Destination,
    finding::{Finding, Repair},
};
use crate::{
    maildir::Error,
    tools::mbox::{Beginning, OpenedFile},
    unread_maildirs::{MisnamedMaildir, is_maildir},
};

/// A file of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MailFile {
    Message,
    Mbox,
}

/// The mail that was found in the wrong place.
#[derive(Debug, Default)]
struct Misplaced {
    maildirs: Vec<PathBuf>,
    mboxes: Vec<PathBuf>,
    /// The first message.
    message: Option<PathBuf>,
    /// Whether there may be more of them than are named.
    has_more: bool,
}

/// Looks at a file, or a directory that is no Maildir, in the spool.
pub(crate) fn misplaced_in_spool(path: &Path, spool: &Path) -> Vec<Finding> {
    findings(path, &|maildir| Destination::of_path(maildir, spool), &|place| {
        Destination::of_path(place, spool)
    })
}

/// Looks at a file or a directory beside the `new` and `cur` of a mailbox, or of a folder of one, that is no Maildir.
pub(super) fn misplaced_in_mailbox(path: &Path, mailbox: &Path, is_folder: bool) -> Vec<Finding> {
    let home = Destination::of(mailbox, is_folder);
    findings(path, &|maildir| home.below(maildir, mailbox), &|_| home.clone())
}

/// The advice for a Maildir in a mailbox, or in a folder of one, that should be a folder beside the others.
pub(super) fn advice_for_nested(maildir: &Path, mailbox: &Path, is_folder: bool) -> String {
    Destination::of(mailbox, is_folder).below(maildir, mailbox).advice_for_maildir(maildir)
}

/// The finding for a Maildir in the place of a mailbox, with a name that no mailbox has.
pub(crate) fn misnamed_maildir(path: &Path, spool: &Path) -> Option<Finding> {
    let misnamed = MisnamedMaildir::of(path)?;
    Some(Finding::misplaced(
        path,
        misnamed.cost(),
        Destination::of_path(path, spool).advice_for_maildir(path),
    ))
}

/// The finding for a mailbox that cannot be opened. In its place there may be a file of mail.
pub(crate) fn unusable(path: &Path, error: &Error) -> Finding {
    let mut finding = Finding::unusable(path, error);
    if path.symlink_metadata().is_ok_and(|about| about.is_file()) && mail_file(path).is_some() {
        finding.repair = Repair::Manual(Destination::of(path, false).advice_for_file_in_place(path).into());
    }
    finding
}

fn findings(
    path: &Path,
    destination_of_maildir: &dyn Fn(&Path) -> Destination,
    destination_of_place: &dyn Fn(&Path) -> Destination,
) -> Vec<Finding> {
    let mut found = Misplaced::default();
    search(path, MAX_DEPTH, &mut { MAX_NAMES }, &mut found);
    let Misplaced { maildirs, mboxes, message, has_more } = found;
    let of_maildir = |maildir: &PathBuf| {
        let detail = format!("{} is a Maildir, and no mailbox of the spool", maildir.display());
        Finding::misplaced(maildir, detail, destination_of_maildir(maildir).advice_for_maildir(maildir))
    };
    let place = |file: &Path| destination_of_place(file.parent().unwrap_or(file));
    let of_mbox = |mbox: &PathBuf| {
        let detail = "it is an mbox, and the spool has a Maildir for each mailbox".to_owned();
        Finding::misplaced(mbox, detail, place(mbox).advice_for_file(mbox))
    };
    let mut findings: Vec<Finding> =
        maildirs.iter().map(of_maildir).chain(mboxes.iter().map(of_mbox)).collect();
    // The messages beside them are found when these are away, because the command is for the whole directory.
    if let Some(message) = message.filter(|_| findings.is_empty()) {
        let (detail, advice) = if message == path {
            let detail = "it is a message outside of the new and cur of a mailbox".to_owned();
            (detail, place(path).advice_for_file(path))
        } else {
            let detail = format!("it is no Maildir, and {} is a message", message.display());
            (detail, destination_of_place(path).advice_for_directory(path))
        };
        findings.push(Finding::misplaced(path, detail, advice));
    }
    if let Some(last) = findings.last_mut().filter(|_| has_more) {
        last.detail.push_str(&format!("; {} has more, which the next run names", path.display()));
    }
    findings
}

/// The mail that lies in the spool itself, beside the mailboxes.
pub(crate) fn misplaced_files(spool: &Path) -> Vec<Finding> {
    let entries = fs::read_dir(spool).into_iter().flatten().flatten();
    let is_loose = |name: &[u8]| !name.starts_with(b".") && !name.contains(&b'@');
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| is_loose(entry.file_name().as_encoded_bytes()))
        .map(|entry| entry.path())
        .filter(|path| path.symlink_metadata().is_ok_and(|about| about.is_file()))
        .collect();
    paths.sort();
    paths.iter().flat_map(|path| misplaced_in_spool(path, spool)).collect()
}

/// The hidden Maildirs of a spool. No mailbox is hidden.
pub(crate) fn hidden_maildirs(spool: &Path) -> Vec<Finding> {
    let entries = fs::read_dir(spool).into_iter().flatten().flatten();
    let is_hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_hidden).collect();
    paths.sort();
    paths.iter().filter_map(|path| misnamed_maildir(path, spool)).collect()
}

fn search(path: &Path, depth: usize, left: &mut usize, found: &mut Misplaced) {
    if *left == 0 || found.maildirs.len() >= MAX_FINDINGS || found.mboxes.len() >= MAX_FINDINGS {
        found.has_more = true;
        return;
    }
    *left -= 1;
    let Ok(about) = path.symlink_metadata() else { return };
    if about.is_file() {
        match mail_file(path) {
            Some(MailFile::Mbox) => found.mboxes.push(path.to_owned()),
            Some(MailFile::Message) if found.message.is_none() => found.message = Some(path.to_owned()),
            _ => {}
        }
        return;
    }
    if !about.is_dir() {
        return;
    }
    if is_maildir(path) {
        found.maildirs.push(path.to_owned());
        return;
    }
    let Some(depth) = depth.checked_sub(1) else { return };
    let mut paths: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().for_each(|path| search(path, depth, left, found));
}

/// Whether a file is an mbox, or begins with a field that messages have.
fn mail_file(path: &Path) -> Option<MailFile> {
    let mut start = Vec::new();
    let mut file = File::open(path).ok()?;
    file.by_ref().take(MAX_START).read_to_end(&mut start).ok()?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    if start.starts_with(b"From ") {
        let opened = OpenedFile::open(File::open(path).ok()?).ok()?;
        return (*opened.beginning() == Beginning::Mbox).then_some(MailFile::Mbox);
    }
    let name = start.split(|b| *b == b':').next().unwrap_or_default();
    let is_field = |field: &&str| field.as_bytes().eq_ignore_ascii_case(name.trim_ascii_end());
    (name.len() < start.len() && FIELDS.iter().any(is_field)).then_some(MailFile::Message)
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
/// Maildirs, or mboxes, of one search.
const MAX_FINDINGS: usize = 200;

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
        put("notes/letter", "From here on, no mail\n");
        put("notes/README", "Read this: no mail\n");
        put("dovecot-keywords", "0 $Forwarded\n");
        put("list", "mail:x\n");
        std::os::unix::fs::symlink(at("files@example.test"), at("link")).unwrap();
        for (name, detail, advice) in [
            ("loose.eml", "a message outside", "--to ADDRESS && rm "),
            (
                "home@example.test",
                "home@example.test/Maildir is a Maildir",
                "--to home@example.test --create",
            ),
            ("files@example.test", "sent/d.eml is a message", "rename it with `mv "),
            (
                "files@example.test",
                "sent/d.eml is a message",
                "test~' --to files@example.test --create && rm -r ",
            ),
        ] {
            let findings = misplaced_in_spool(&at(name), spool.path());
            assert!(findings.len() == 1 && findings[0].detail.contains(detail), "{findings:?}");
            assert!(findings[0].advice().contains(advice), "{findings:?}");
        }
        let loose: Vec<PathBuf> = misplaced_files(spool.path()).into_iter().map(|found| found.path).collect();
        assert_eq!(loose, [at("loose.eml")]);
        for name in ["notes", "dovecot-keywords", "list", "link", "absent"] {
            assert!(misplaced_in_spool(&at(name), spool.path()).is_empty(), "{name}");
        }
    }
}
