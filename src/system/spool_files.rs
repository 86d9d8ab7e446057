//! Files and links among the mailboxes of a spool, where a person or another program has put them.
//!
//! The rule: nothing is changed. Only the first octets of a file are read, which tell an mbox.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    command_hint::{free_name, path_word, restante, with_paths},
    maildir::{
        PARTS,
        directory::{IS_LINK, IS_NO_DIRECTORY},
    },
    open_regular::open_regular,
    printable::counted,
};

/// The warnings about files and links in the places of mailboxes, as `is_mailbox` tells by the name, and of their parts, and
/// about mboxes beside them. A name without a domain is looked for in each of `domains`.
pub fn warnings(spool: &Path, domains: &[String], is_mailbox: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = fs::read_dir(spool).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let (mailboxes, mut others): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| name_of(path).is_some_and(&is_mailbox));
    let places = mailboxes.into_iter().flat_map(|mailbox| {
        let parts = PARTS.map(|part| mailbox.join(part)).into_iter().filter(|_| is_directory(&mailbox));
        parts.collect::<Vec<_>>().into_iter().chain([mailbox])
    });
    let odd = places.filter(|place| place.symlink_metadata().is_ok_and(|about| !about.is_dir()));
    let (links, in_place): (Vec<_>, Vec<_>) = odd.partition(|place| place.is_symlink());
    others.retain(|path| path.symlink_metadata().is_ok_and(|about| about.is_file()));
    others.truncate(MOST);
    others.retain(|file| is_mbox(file));
    let meant_by = |file: &Path| {
        let name = name_of(file)?;
        domains.iter().map(|domain| format!("{name}@{domain}")).find(|address| is_mailbox(address))
    };
    let beside = others.first().map(|first| warning_beside(first, meant_by(first).as_deref(), others.len()));
    let in_place = in_place.first().map(|first| warning_in_place(first, in_place.len(), spool));
    let links = links.first().map(|first| warning_about_link(first, links.len()));
    in_place.into_iter().chain(links).chain(beside).collect()
}

fn warning_about_link(first: &Path, count: usize) -> String {
    format!(
        "{} in the place of a mailbox or of a part of one, so that its mail is refused: {} {IS_LINK}{}",
        counted(count, "link"),
        first.display(),
        others(count)
    )
}

fn warning_in_place(first: &Path, count: usize, spool: &Path) -> String {
    let is_whole = first.parent() == Some(spool);
    let advice = match name_of(first).filter(|_| is_whole && is_mbox(first)) {
        Some(name) => {
            let renamed = free_name(first);
            let (from, to) = (path_word(first), path_word(&renamed));
            let import = import(&renamed, name, true);
            format!(
                "is an mbox: `mv -T {from} {to} && {import} && rm {to}` delivers its mail to a mailbox in its place"
            )
        }
        None => IS_NO_DIRECTORY.to_owned(),
    };
    format!(
        "{} in the place of a mailbox, so that its mail is refused: {} {advice}{}",
        counted(count, "file"),
        first.display(),
        others(count)
    )
}

fn warning_beside(first: &Path, address: Option<&str>, count: usize) -> String {
    // A person who writes the address may mistype it, so the command makes no mailbox of that name.
    let import = import(first, address.unwrap_or(SOME_ADDRESS), address.is_some());
    format!(
        "{} in the spool, which no login reads: `{import} && rm {}` delivers the mail of {} and removes it here{}",
        counted(count, "mbox"),
        path_word(first),
        first.display(),
        others(count)
    )
}

fn others(count: usize) -> String {
    if count > 1 { format!("; {} names each", restante(&["fsck"])) } else { String::new() }
}

fn import(file: &Path, mailbox: &str, may_create: bool) -> String {
    let mut words: Vec<&OsStr> = vec!["import".as_ref(), file.as_ref(), "--to".as_ref(), mailbox.as_ref()];
    words.extend(may_create.then_some(OsStr::new("--create")));
    with_paths(&words)
}

/// Links are followed nowhere.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_dir())
}

fn name_of(file: &Path) -> Option<&str> {
    file.file_name()?.to_str()
}

/// Whether a file begins as an mbox does. One that this user cannot read does not count.
fn is_mbox(file: &Path) -> bool {
    let mut first = [0; FROM.len()];
    open_regular(file).is_ok_and(|mut file| file.read_exact(&mut first).is_ok()) && first == *FROM
}

const FROM: &[u8; 5] = b"From ";
/// The word for a person to replace.
const SOME_ADDRESS: &str = "ADDRESS";
/// Files that are read.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n150_an_mbox_in_the_spool_comes_with_the_command_that_imports_it() {
        let spool = tempfile::tempdir().unwrap();
        let at = |name: &str| spool.path().join(name).display().to_string();
        let put = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        let domains = ["example.test".to_owned(), "second.test".to_owned()];
        let told = || {
            warnings(spool.path(), &domains, |name| {
                ["alice@example.test", "bob@example.test", "carol@second.test"].contains(&name)
            })
        };
        let mbox = "From a@far.test Sat Jan  3 10:05:34 2026\nSubject: x\n\nx\n\n";
        put("README", "Fromage\n");
        fs::create_dir(at("bob@example.test")).unwrap();
        assert_eq!(told(), Vec::<String>::new());
        put("zoe", mbox);
        let zoe = at("zoe");
        assert_eq!(
            told(),
            [format!(
                "1 mbox in the spool, which no login reads: `restante import {zoe} --to ADDRESS && rm {zoe}` delivers the mail \
                 of {zoe} and removes it here"
            )]
        );
        put("carol", mbox);
        put("alice@example.test", mbox);
        let told_now = told();
        let (alice, carol) = (at("alice@example.test"), at("carol"));
        let renamed = path_word(Path::new(&format!("{alice}~")));
        let expected = format!(
            "1 file in the place of a mailbox, so that its mail is refused: {alice} is an mbox: `mv -T {alice} {renamed} && \
             restante import {renamed} --to alice@example.test --create && rm {renamed}` delivers its mail to a mailbox in its place"
        );
        assert_eq!(told_now[0], expected);
        let import = format!("`restante import {carol} --to carol@second.test --create && rm {carol}`");
        assert!(
            told_now[1].starts_with("2 mboxes in the spool, ")
                && told_now[1].contains(&import)
                && told_now[1].ends_with("; `restante fsck` names each"),
            "{told_now:#?}"
        );
        put("alice@example.test", "no mail\n");
        assert!(told()[0].contains(" is not a directory: move it away"), "{:#?}", told());
    }

    #[test]
    fn n163_a_link_in_the_place_of_a_mailbox_or_of_a_part_of_one_is_a_warning() {
        let spool = tempfile::tempdir().unwrap();
        let at = |name: &str| spool.path().join(name);
        let told = || warnings(spool.path(), &[], |name| name.contains('@'));
        std::os::unix::fs::symlink("/tmp", at("elsewhere")).unwrap();
        fs::create_dir_all(at("bob@example.test/new")).unwrap();
        assert_eq!(told(), Vec::<String>::new());
        std::os::unix::fs::symlink("/tmp", at("link@example.test")).unwrap();
        let link = at("link@example.test").display().to_string();
        let place = "1 link in the place of a mailbox or of a part of one, so that its mail is refused: ";
        assert_eq!(told(), [format!("{place}{link} {IS_LINK}")]);
        std::os::unix::fs::symlink("nowhere", at("bob@example.test/cur")).unwrap();
        fs::write(at("bob@example.test/tmp"), "From ").unwrap();
        let (cur, tmp) = (at("bob@example.test/cur"), at("bob@example.test/tmp"));
        let told = told();
        assert!(told[0].contains(&format!("{} {IS_NO_DIRECTORY}", tmp.display())), "{told:#?}");
        assert!(told[1].starts_with("2 links ") && told[1].contains(&cur.display().to_string()), "{told:#?}");
        assert!(told.len() == 2 && told[1].ends_with("; `restante fsck` names each"), "{told:#?}");
    }
}
