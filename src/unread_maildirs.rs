//! Maildirs in the spool that no login reads, because their places are not those of mailboxes.
//!
//! The rule: nothing is changed. A hidden directory counts only if it is a Maildir itself, because programs and file systems keep
//! other things in such places (`.zfs`, `.snapshot`).

use std::{
    ffi::OsStr,
    fs::{self, DirEntry},
    iter,
    path::{Path, PathBuf},
};

use crate::{
    command_hint::restante,
    maildir::{PARTS, folders::FolderTree},
    printable::counted,
    proto::{folder::Folder, request::Mailbox, smtp::address::Address},
};

/// A Maildir in the place of a mailbox, with a name that no mailbox has.
pub(crate) struct MisnamedMaildir {
    /// The mailbox of the address that the name means, and that gets the mail for it.
    right: Option<Mailbox>,
    /// The mail in it, in words, if there is any.
    mail: Option<String>,
}

impl MisnamedMaildir {
    /// Looks at a directory of the spool. An empty one counts only if its name is an address.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        Self::examine(path, |maildir| match messages_in(maildir) {
            0 => None,
            count => Some(counted(count, "message")),
        })
    }

    /// The same for a start, which counts no messages and looks into no folders.
    fn of_start(path: &Path) -> Option<Self> {
        Self::examine(path, |maildir| has_message(maildir).then(|| "mail".to_owned()))
    }

    fn examine(path: &Path, mail_in: impl Fn(&Path) -> Option<String>) -> Option<Self> {
        let name = path.file_name()?;
        if is_name_of_mailbox(name) || is_other(name) || !is_directory(path) {
            return None;
        }
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let right = mailbox_meant_by(name).filter(|_| !is_hidden);
        let mail = if is_maildir(path) { mail_in(path) } else { None };
        (mail.is_some() || right.is_some()).then_some(Self { right, mail })
    }

    /// The reason why its mail is not read, in words after its path.
    pub(crate) fn cost(&self) -> String {
        let mail = self.mail.as_deref();
        match (&self.right, mail) {
            (Some(right), None) => format!("not a mailbox, mail for that address goes to {right}"),
            (Some(right), Some(mail)) => format!(
                "not a mailbox, mail for that address goes to {right}, and no login reads the {mail} here"
            ),
            (None, mail) => {
                let mail = mail.unwrap_or("mail");
                format!("not a mailbox, its name is no address, so no login reads its {mail}")
            }
        }
    }
}

/// The mailbox that a name means which another program has given to a directory.
pub(crate) fn mailbox_meant_by(name: &OsStr) -> Option<Mailbox> {
    let address = Address::parse(name.to_str()?).ok()?;
    Mailbox::of_address(&address.folded_local(), address.domain()?)
}

/// Whether a directory of the spool with that name may be a mailbox.
pub(crate) fn is_name_of_mailbox(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| Mailbox::named(name).is_some())
}

/// Whether a directory has the parts of a Maildir with mail.
pub(crate) fn is_maildir(path: &Path) -> bool {
    ["new", "cur"].iter().all(|part| is_directory(&path.join(part)))
}

/// The names of the folders of a Maildir, in order.
pub(crate) fn folders_of(maildir: &Path) -> Vec<PathBuf> {
    let is_folder = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.starts_with(b".") && !name.starts_with(b"..")
    };
    let mut folders = entries(maildir, MOST);
    folders.retain(|path| path.file_name().is_some_and(is_folder) && is_maildir(path));
    folders
}

/// The text by which IMAP shows a folder with that name. `None` if there is none.
pub(crate) fn text_of_folder(name: &OsStr) -> Option<String> {
    let text = FolderTree::text_of(name.to_str().filter(|name| !name.starts_with(".."))?)?;
    let is_shown = Folder::from_decoded(&text).is_some() && !text.eq_ignore_ascii_case("INBOX");
    is_shown.then_some(text)
}

/// The folders of a mailbox that have mail and that no list of IMAP shows: their names have no text, or another folder has the
/// same one.
pub(crate) fn unshown_folders(mailbox: &Path) -> Vec<PathBuf> {
    let (mut folders, mut unshown) = (Vec::new(), Vec::new());
    for path in entries(mailbox, MOST) {
        let name = path.file_name().unwrap_or_default();
        let is_dotted = name.as_encoded_bytes().starts_with(b".");
        if !is_dotted || is_other(name) || is_deleted(name) || !is_maildir(&path) {
            continue;
        }
        match text_of_folder(name) {
            Some(text) => folders.push((text, !name.is_ascii(), path)),
            None => unshown.push(path),
        }
    }
    folders.sort(); // as a list does, which shows the first of one text
    let same = folders.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].2.clone());
    unshown.extend(same);
    unshown.retain(|folder| has_message(folder));
    unshown.sort();
    unshown
}

/// The warnings of `restante check` about such directories of a spool.
pub(crate) fn warnings(spool: &Path) -> Vec<String> {
    warn(&directories(spool, |_| true), why_unread)
}

/// The warnings of a start. The mailboxes may be many, and clients wait, so it looks only at names that no mailbox can have.
pub(crate) fn warnings_of_start(spool: &Path) -> Vec<String> {
    let mut misnamed = directories(spool, |name| !is_name_of_mailbox(name));
    misnamed.truncate(MOST);
    warn(&misnamed, |path| Some(MisnamedMaildir::of_start(path)?.cost()))
}

fn warn(paths: &[PathBuf], why: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut told: Vec<String> = paths
        .iter()
        .filter_map(|path| Some(format!("{}: {}", path.display(), why(path)?)))
        .take(MAX_WARNINGS + 1)
        .collect();
    let has_more = told.len() > MAX_WARNINGS;
    told.truncate(MAX_WARNINGS);
    let commands = restante(&["fsck"]);
    for (n, warning) in told.iter_mut().enumerate() {
        let others = if has_more && n + 1 == MAX_WARNINGS { ", and others" } else { "" };
        warning.push_str(&format!(": {commands} names it{others} with the commands that bring the mail in"));
    }
    told
}

/// The reason why no login reads the mail in a directory of the spool.
fn why_unread(path: &Path) -> Option<String> {
    if let Some(misnamed) = MisnamedMaildir::of(path) {
        return Some(misnamed.cost());
    }
    let name = path.file_name()?;
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    if is_hidden || is_other(name) {
        return None;
    }
    if PARTS.iter().any(|part| path.join(part).exists()) {
        return why_unshown(path);
    }
    let first = maildir_below(path, MAX_DEPTH, &mut { MOST })?;
    Some(format!("not a mailbox, and no login reads the mail in it, such as {}", first.display()))
}

/// The reason why no login reads the mail in some folders of a mailbox.
fn why_unshown(mailbox: &Path) -> Option<String> {
    let folders = unshown_folders(mailbox);
    let first = folders.first()?.file_name()?.to_string_lossy();
    let others = match folders.len() - 1 {
        0 => String::new(),
        more => format!(", nor in {more} more"),
    };
    Some(format!("no login reads the mail in its folder {first}, which IMAP cannot show{others}"))
}

/// The first Maildir with mail below a directory.
fn maildir_below(path: &Path, depth: usize, left: &mut usize) -> Option<PathBuf> {
    let depth = depth.checked_sub(1)?;
    let below = entries(path, *left);
    *left = left.saturating_sub(below.len());
    below.iter().filter(|path| is_directory(path)).find_map(|path| {
        let has_mail = is_maildir(path) && messages_in(path) > 0;
        if has_mail { Some(path.clone()) } else { maildir_below(path, depth, left) }
    })
}

/// Whether a Maildir has a message of its own.
fn has_message(maildir: &Path) -> bool {
    ["new", "cur"].iter().any(|part| {
        let files = fs::read_dir(maildir.join(part)).into_iter().flatten().flatten();
        files.take(MOST).any(|entry| is_message(&entry))
    })
}

fn is_message(entry: &DirEntry) -> bool {
    !entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// The messages of a Maildir and of its folders.
fn messages_in(maildir: &Path) -> usize {
    let files =
        |place: PathBuf| fs::read_dir(place).into_iter().flatten().flatten().filter(is_message).count();
    let maildirs = iter::once(maildir.to_owned()).chain(folders_of(maildir));
    maildirs.map(|maildir| files(maildir.join("new")) + files(maildir.join("cur"))).sum()
}

/// The files of the server in the spool, and the directory of e2fsck(8).
fn is_other(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".restante") || name == "lost+found"
}

/// Folders that a server has deleted, and that it removes later.
fn is_deleted(name: &OsStr) -> bool {
    DELETED.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()))
}

/// Links are followed nowhere.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_dir())
}

/// The directories in a spool with such names, in order. Links are none.
fn directories(spool: &Path, is_wanted: impl Fn(&OsStr) -> bool) -> Vec<PathBuf> {
    let is_directory = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let read = fs::read_dir(spool).into_iter().flatten().flatten();
    let read = read.filter(|entry| is_wanted(&entry.file_name()) && is_directory(entry));
    let mut directories: Vec<PathBuf> = read.map(|entry| entry.path()).collect();
    directories.sort();
    directories
}

/// The paths of the first entries of a directory, in order; none if it cannot be read.
fn entries(directory: &Path, most: usize) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).into_iter().flatten().flatten().take(most);
    let mut entries: Vec<PathBuf> = read.map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

/// The beginnings of the names that this server and Dovecot give to deleted folders.
const DELETED: [&str; 2] = ["..restante.deleted.", "..DOVECOT-TRASHED"];
/// Levels of directories below one of the spool, as in DOMAIN/USER/Maildir.
const MAX_DEPTH: usize = 2;
/// Entries that are looked at below one directory.
const MOST: usize = 10_000;
/// Directories that are named.
const MAX_WARNINGS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n114_a_directory_with_mail_that_no_login_reads_is_named_with_its_cost() {
        let spool = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = spool.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n").unwrap();
        };
        for maildir in [
            "Maildir",
            ".maildir",
            "dave smith@example.test",
            "Bob@Example.Test",
            "alice@example.test",
            "archive",
            "example.test/carol/Maildir",
            "example.test/dan",
            ".zfs/snapshot",
        ] {
            put(&format!("{maildir}/new/1.x"));
            put(&format!("{maildir}/cur/2.x:2,S"));
        }
        fs::create_dir_all(spool.path().join(".empty/new")).unwrap();
        fs::create_dir_all(spool.path().join(".empty/cur")).unwrap();
        put(".maildir/.Sent/new/3.x");
        put(".maildir/.Sent/cur/4.x");
        let told = warnings(spool.path());
        let at = |name: &str| spool.path().join(name).display().to_string();
        let carol = at("example.test/carol/Maildir");
        let expected = [
            (".maildir", "its name is no address, so no login reads its 4 messages"),
            ("Bob@Example.Test", "goes to bob@example.test, and no login reads the 2 messages here"),
            ("Maildir", "its name is no address, so no login reads its 2 messages"),
            ("dave smith@example.test", "no login reads its 2 messages"),
            ("example.test", &format!("no login reads the mail in it, such as {carol}")),
        ];
        for (told, (name, why)) in told.iter().zip(expected) {
            assert!(told.starts_with(&format!("{}: not a mailbox, ", at(name))), "{told}");
            assert!(told.contains(why) && told.contains("`restante fsck` names it"), "{told}");
        }
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        let at_start = warnings_of_start(spool.path());
        let expected = [
            (".maildir", "so no login reads its mail: "),
            ("Bob@Example.Test", "and no login reads the mail here: "),
            ("Maildir", "so no login reads its mail: "),
            ("dave smith@example.test", "so no login reads its mail: "),
        ];
        for (told, (name, why)) in at_start.iter().zip(expected) {
            assert!(told.starts_with(&at(name)) && told.contains(why), "{told}");
        }
        assert_eq!(at_start.len(), expected.len(), "{at_start:#?}");
    }

    #[test]
    fn n114_the_warnings_about_many_directories_are_bounded() {
        let spool = tempfile::tempdir().unwrap();
        for n in 0..=MAX_WARNINGS {
            fs::create_dir(spool.path().join(format!("U{n}@example.test"))).unwrap();
        }
        for told in [warnings(spool.path()), warnings_of_start(spool.path())] {
            assert_eq!(told.len(), MAX_WARNINGS);
            assert!(told[MAX_WARNINGS - 1].contains(" names it, and others with"), "{told:?}");
        }
    }

    #[test]
    fn m34_a_folder_that_imap_cannot_show_is_named_if_it_has_mail() {
        let spool = tempfile::tempdir().unwrap();
        let bob = spool.path().join("bob@example.test");
        for part in PARTS {
            fs::create_dir_all(bob.join(part)).unwrap();
        }
        for name in [
            ".Good.x",
            ".Entw&APw-rfe",
            ".Entwürfe",
            ".Bad..x",
            ".INBOX",
            ".inbox",
            ".Foo.",
            "..Old",
            "..restante.deleted.1",
            "..DOVECOT-TRASHED.1",
        ] {
            for part in PARTS {
                fs::create_dir_all(bob.join(name).join(part)).unwrap();
            }
            fs::write(bob.join(name).join("cur/1.x:2,S"), "x\n").unwrap();
        }
        for part in PARTS {
            fs::create_dir_all(bob.join(".Empty.").join(part)).unwrap();
        }
        let names: Vec<String> = unshown_folders(&bob)
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["..Old", ".Bad..x", ".Entwürfe", ".Foo.", ".INBOX", ".inbox"]);
        let told = warnings(spool.path());
        let expected = format!(
            "{}: no login reads the mail in its folder ..Old, which IMAP cannot show, nor in 5 more: `restante fsck` names it",
            bob.display()
        );
        assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:#?}");
    }
}
