//! The mailboxes that the server's user may not write to, as after a copy that root made into the spool.
//!
//! The rule: nothing is opened or changed. A mailbox is looked at as far as this user may see it.

use std::{
    fs::{self, DirEntry, Metadata},
    iter,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd::Uid;
use rustix::fs::Access;

use crate::{
    command_hint::{path_word, restante},
    file_rights::{
        ALL, advice_to_mount, advice_to_open_file, advice_to_own_file, is_denied, is_own, name_of,
        read_only_below, user_name, way_to_change,
    },
    maildir::{PARTS, Spool},
    printable::{counted, size},
};

/// The warning about such mailboxes, with the remedy for the first of them. A spool that is closed as a whole is told by
/// [`places`](super::places).
pub fn warning(spool: &Path) -> Option<String> {
    if is_denied(spool, ALL) {
        return None;
    }
    let closed: Vec<PathBuf> = mailboxes(spool)?.iter().filter_map(|mailbox| closed_part(mailbox)).collect();
    let remedy = closed.iter().find_map(|part| way_to_change(part))?;
    let others =
        if closed.len() > 1 { format!("; {} names each", restante(&["fsck"])) } else { String::new() };
    Some(format!(
        "the server's user cannot write to all parts of {}: {remedy}{others}",
        counted(closed.len(), "mailbox")
    ))
}

/// The warning about mailboxes that are mounted read-only, as a whole or in part, in a spool that is not.
pub fn read_only_mailboxes(spool: &Path) -> Option<String> {
    let maildirs = mailboxes(spool)?.into_iter().flat_map(|mailbox| maildirs_of(&mailbox));
    let places = maildirs.flat_map(|maildir| {
        let parts = PARTS.map(|part| maildir.join(part));
        iter::once(maildir).chain(parts)
    });
    let mut mounts: Vec<PathBuf> =
        places.take(MOST_PLACES).filter_map(|place| read_only_below(&place, spool)).collect();
    mounts.dedup();
    let first = mounts.first()?;
    let others =
        if mounts.len() > 1 { format!("; {} names each", restante(&["fsck"])) } else { String::new() };
    Some(format!(
        "{} is mounted read-only below the spool, so mail for it is refused: {}{others}",
        first.display(),
        advice_to_mount(first)
    ))
}

/// The warning about those message files that the server's user may not read, with the remedy for the first of them.
pub fn unreadable_messages(files: &[PathBuf]) -> Option<String> {
    let closed: Vec<&PathBuf> = files.iter().filter(|file| is_denied(file, Access::READ_OK)).collect();
    let first = closed.first()?;
    let remedy = if is_own(first) { advice_to_open_file(first) } else { advice_to_own_file(first) };
    Some(format!(
        "the server skips {} that its user cannot read: {remedy}; {} names each",
        counted(closed.len(), "message file"),
        restante(&["fsck"])
    ))
}

/// The warning about those message files with more bytes than the server lists, with the remedy for the largest of them.
pub fn too_large_messages(
    files: &[PathBuf],
    max_listed: u64,
    way_to_list: impl Fn(u64) -> String,
) -> Option<String> {
    let sized = files.iter().filter_map(|file| Some((file.symlink_metadata().ok()?.len(), file)));
    let too_large: Vec<(u64, &PathBuf)> = sized.filter(|(bytes, _)| *bytes > max_listed).collect();
    let (bytes, largest) = too_large.iter().max()?;
    Some(format!(
        "the server skips {} of more than {}, and no login shows such mail: {} has {}: {}; {} names each",
        counted(too_large.len(), "message file"),
        size(max_listed),
        largest.display(),
        size(*bytes),
        way_to_list(*bytes),
        restante(&["fsck"])
    ))
}

/// Message files of a spool; none if it is closed to this user. The directories that were changed last are looked at first, and
/// only so many files.
pub fn newest_files(spool: &Path) -> Vec<PathBuf> {
    if is_denied(spool, ALL) {
        return Vec::new();
    }
    let maildirs = mailboxes(spool).into_iter().flatten().flat_map(|mailbox| maildirs_of(&mailbox));
    let parts = maildirs.flat_map(|maildir| ["new", "cur"].map(|part| maildir.join(part)));
    let mut open: Vec<(SystemTime, PathBuf)> = parts
        .filter_map(|part| {
            let about = part.symlink_metadata().ok().filter(Metadata::is_dir)?;
            Some((about.modified().ok()?, part))
        })
        .filter(|(_, part)| !is_denied(part, ALL - Access::WRITE_OK))
        .collect();
    open.sort();
    let entries = open.iter().rev().filter_map(|(_, part)| fs::read_dir(part).ok()).flatten().flatten();
    let is_message = |entry: &DirEntry| {
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    entries.filter(is_message).take(MOST_FILES).map(|entry| entry.path()).collect()
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
    let mut parts = maildirs_of(mailbox).into_iter().flat_map(|maildir| {
        let parts = PARTS.map(|part| maildir.join(part));
        iter::once(maildir).chain(parts)
    });
    // A link leads out of the spool, and the server follows none.
    let is_directory = |part: &Path| part.symlink_metadata().is_ok_and(|about| about.is_dir());
    parts.find(|part| is_directory(part) && is_denied(part, ALL))
}

/// The mailboxes of a spool, and other directories that are not hidden.
fn mailboxes(spool: &Path) -> Option<Vec<PathBuf>> {
    let mut names = Spool::open_existing(spool).ok()?.names().ok()?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    Some(names.iter().map(|name| spool.join(name)).collect())
}

/// A mailbox and its folders; none, if the directory has no part of a Maildir or cannot be read.
fn maildirs_of(mailbox: &Path) -> Vec<PathBuf> {
    if !PARTS.iter().any(|part| mailbox.join(part).exists()) {
        return Vec::new();
    }
    let is_folder = |entry: &DirEntry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_directory && entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    let Ok(entries) = fs::read_dir(mailbox) else { return Vec::new() };
    let folders = entries.flatten().filter(is_folder).map(|entry| entry.path());
    iter::once(mailbox.to_owned()).chain(folders).collect()
}

/// Directories whose mounts a check looks at.
const MOST_PLACES: usize = 100_000;
/// Message files that a check looks at.
const MOST_FILES: usize = 10_000;
const OWN_FILES: &[u8] = b".restante.";
