//! Plain files among the mailboxes of a spool, where a person or another program has put them.
//!
//! The rule: nothing is changed. Only the first octets of a file are read, which tell an mbox.

use std::{
    ffi::OsStr,
    fs::{self, DirEntry},
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    command_hint::{free_name, path_word, restante, with_paths},
    open_regular::open_regular,
    printable::counted,
};

/// The warnings about files in the places of mailboxes, as `is_mailbox` tells by the name, and about mboxes beside them. A name
/// without a domain is looked for in each of `domains`.
pub fn warnings(spool: &Path, domains: &[String], is_mailbox: impl Fn(&str) -> bool) -> Vec<String> {
    let is_file = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_dir() && !kind.is_symlink());
    let entries = fs::read_dir(spool).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.filter(is_file).map(|entry| entry.path()).collect();
    files.sort();
    let (in_place, mut others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| name_of(file).is_some_and(&is_mailbox));
    others.truncate(MOST);
    others.retain(|file| is_mbox(file));
    let meant_by = |file: &Path| {
        let name = name_of(file)?;
        domains.iter().map(|domain| format!("{name}@{domain}")).find(|address| is_mailbox(address))
    };
    let beside = others.first().map(|first| warning_beside(first, meant_by(first).as_deref(), others.len()));
    in_place.first().map(|first| warning_in_place(first, in_place.len())).into_iter().chain(beside).collect()
}

fn warning_in_place(first: &Path, count: usize) -> String {
    let advice = match name_of(first).filter(|_| is_mbox(first)) {
        Some(name) => {
            let renamed = free_name(first);
            let (from, to) = (path_word(first), path_word(&renamed));
            let import = import(&renamed, name, true);
            format!(
                "is an mbox: `mv -T {from} {to} && {import} && rm {to}` delivers its mail to a mailbox in its place"
            )
        }
        None => {
            "is not a directory: move it away, and a directory is made when the next mail comes".to_owned()
        }
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
}
