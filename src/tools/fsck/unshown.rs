//! Folders with mail that no list of IMAP shows, and the names that they should have.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::{advice::as_root, finding::Finding};
use crate::{
    command_hint::path_word,
    maildir::folders::FolderTree,
    proto::folder::Folder,
    unread_maildirs::{text_of_folder, unshown_folders},
};

/// The findings for such folders of a mailbox.
pub(super) fn unshown_in(mailbox: &Path) -> Vec<Finding> {
    let entries = fs::read_dir(mailbox).into_iter().flatten().flatten();
    let mut taken: BTreeSet<String> =
        entries.filter_map(|entry| text_of_folder(&entry.file_name())).collect();
    let finding = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        let detail = match text_of_folder(name) {
            None => "IMAP cannot show a folder of this name, so no login reads its mail",
            Some(_) => "IMAP shows another folder of this name in its place",
        };
        let place = free_place(mailbox, name, &mut taken);
        let advice = format!(
            "{}`mv -T {} {}` gives it a name that IMAP shows",
            as_root(folder),
            path_word(folder),
            path_word(&place)
        );
        Finding::misplaced(folder, detail.to_owned(), advice)
    };
    unshown_folders(mailbox).iter().map(finding).collect()
}

/// The place of a folder with a name like that one which is valid, and which no other has. It is `taken` after that.
fn free_place(mailbox: &Path, name: &OsStr, taken: &mut BTreeSet<String>) -> PathBuf {
    let text = FolderTree::text_of(&name.to_string_lossy()).unwrap_or_default();
    let is_bad = |c: char| c.is_control() || c == '/' || c == char::REPLACEMENT_CHARACTER;
    let text: String = text.chars().map(|c| if is_bad(c) { '_' } else { c }).collect();
    let levels: Vec<&str> = text.split('.').filter(|level| !level.is_empty()).collect();
    let mut base = levels.join(".");
    if Folder::from_decoded(&base).is_none_or(|folder| folder.directory().len() > MAX_NAME) {
        let short: String = base.chars().take(SHORT).collect();
        base = short.trim_matches('.').to_owned();
    }
    if base.is_empty() {
        base.push_str("Folder");
    }
    let mut number = 1_u64;
    loop {
        let text = if number == 1 { base.clone() } else { format!("{base}-{number}") };
        number += 1;
        let Some(folder) = Folder::from_decoded(&text) else { continue };
        let place = mailbox.join(folder.directory());
        let is_shown = text_of_folder(folder.directory().as_ref()).is_some();
        if is_shown && place.symlink_metadata().is_err() && taken.insert(text) {
            return place;
        }
    }
}

/// Octets of a name that leave room for a number.
const MAX_NAME: usize = 150;
/// Characters of a name that was too long. In modified UTF-7 they have 150 octets at most.
const SHORT: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m34_the_new_name_of_a_folder_is_valid_and_free() {
        let mailbox = tempfile::tempdir().unwrap();
        fs::create_dir(mailbox.path().join(".Foo")).unwrap();
        let mut taken = BTreeSet::from(["Foo".to_owned(), "Entwürfe".to_owned()]);
        let long = format!(".{}", "\u{1f4ec}".repeat(60));
        let short = Folder::from_decoded(&"\u{1f4ec}".repeat(SHORT)).unwrap();
        for (name, expected) in [
            (".Bad..x", ".Bad.x"),
            (".Foo.", ".Foo-2"),
            (".Foo..", ".Foo-3"),
            (".INBOX", ".INBOX-2"),
            (".inbox..", ".INBOX-3"),
            ("...", ".Folder"),
            (".a\tb", ".a_b"),
            (".Entwürfe", ".Entw&APw-rfe-2"),
            (long.as_str(), short.directory()),
        ] {
            let place = free_place(mailbox.path(), name.as_ref(), &mut taken);
            assert_eq!(place, mailbox.path().join(expected), "{name}");
        }
    }
}
