//! The mailboxes that the server's user may not write to, as after a copy that root made into the spool.
//!
//! The rule: nothing is opened or changed. A mailbox is looked at as far as this user may see it.

use std::{
    fs::{self, DirEntry},
    iter,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::Uid;
use rustix::fs::Access;

use crate::{
    command_hint::{path_word, restante},
    file_rights::{ALL, is_denied, name_of, user_name, way_to_change},
    maildir::Spool,
    printable::counted,
};

/// The warning about such mailboxes, with the remedy for the first of them. A spool that is closed as a whole is told by
/// [`places`](super::places).
pub fn warning(spool: &Path) -> Option<String> {
    if is_denied(spool, ALL) {
        return None;
    }
    let mut names = Spool::open_existing(spool).ok()?.names().ok()?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    let closed: Vec<PathBuf> = names.iter().filter_map(|name| closed_part(&spool.join(name))).collect();
    let remedy = closed.iter().find_map(|part| way_to_change(part))?;
    let others =
        if closed.len() > 1 { format!("; {} names each", restante(&["fsck"])) } else { String::new() };
    Some(format!(
        "the server's user cannot write to all parts of {}: {remedy}{others}",
        counted(closed.len(), "mailbox")
    ))
}

/// The server's own files in the spool that its user may not write to, as after a start by root, with the remedy.
pub(super) fn closed_files(spool: &Path) -> Option<String> {
    let is_own = |path: &Path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(OWN_FILES))
            && is_denied(path, Access::READ_OK | Access::WRITE_OK)
    };
    let mut closed: Vec<PathBuf> = fs::read_dir(spool).ok()?.flatten().map(|entry| entry.path()).collect();
    closed.retain(|path| is_own(path));
    closed.sort();
    let words: Vec<String> = closed.iter().map(|path| path_word(path)).collect();
    (!words.is_empty()).then(|| {
        format!(
            "the server's user may not write to its own files in {}, as after a start by another user: as root, run \
             `chown {}: {}`",
            spool.display(),
            user_name(),
            words.join(" ")
        )
    })
}

/// The sentence about a server of root in the spool of another user, whose server may not change what that one makes.
pub fn made_by_root(spool: &Path) -> Option<String> {
    let owner = Uid::from_raw(fs::metadata(spool).ok()?.uid());
    (Uid::effective().is_root() && !owner.is_root()).then(|| {
        let name = name_of(owner);
        format!(
            "the spool {} is of {name}, and a server that runs as root makes files there that a server of {name} may not \
             change: set user = {name:?}, or start it as {name}",
            spool.display()
        )
    })
}

/// The first directory of a mailbox, or of a folder of it, that is closed to this user. A directory that this user cannot
/// read may be a mailbox; another one is, if it has a part of a Maildir.
fn closed_part(mailbox: &Path) -> Option<PathBuf> {
    if is_denied(mailbox, ALL - Access::WRITE_OK) {
        return Some(mailbox.to_owned());
    }
    if !PARTS.iter().any(|part| mailbox.join(part).exists()) {
        return None;
    }
    let is_folder = |entry: &DirEntry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_directory && entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    let folders = fs::read_dir(mailbox).ok()?.flatten().filter(is_folder).map(|entry| entry.path());
    let maildirs = iter::once(mailbox.to_owned()).chain(folders);
    let mut parts = maildirs.flat_map(|maildir| {
        let parts = PARTS.map(|part| maildir.join(part));
        iter::once(maildir).chain(parts)
    });
    // A link leads out of the spool, and the server follows none.
    let is_directory = |part: &Path| part.symlink_metadata().is_ok_and(|about| about.is_dir());
    parts.find(|part| is_directory(part) && is_denied(part, ALL))
}

const OWN_FILES: &[u8] = b".restante.";
const PARTS: [&str; 3] = ["tmp", "new", "cur"];
