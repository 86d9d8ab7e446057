//! The way here from Dovecot, back to it, and here again: clients keep their UIDs.

use std::{
    collections::BTreeMap,
    process::{Command, Output},
};

use crate::{
    common::{Server, client::deliver},
    dovecot::DOVECOT_IMAP,
    imap::{Imap, number_after, server},
    letters::{ALICE, letter},
    programs::{Story, UNSHARE, succeeded},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&[DOVECOT_IMAP, UNSHARE], y24_a_mailbox_of_dovecot_keeps_its_uids_and_its_keywords),
        Story::new(&[DOVECOT_IMAP, UNSHARE], y117_uids_go_to_dovecot_and_come_back),
    ]
}

const FOLDERS: [&str; 2] = ["INBOX", "Projects"];

fn y24_a_mailbox_of_dovecot_keeps_its_uids_and_its_keywords() {
    let server = server();
    let mut dovecot = Imap::dovecot(&server);
    for n in 1..=5 {
        dovecot.append("INBOX", &letter(&format!("theirs-{n}")));
    }
    dovecot.ask("CREATE Projects");
    dovecot.ask("SELECT INBOX");
    dovecot.ask("COPY 4:5 Projects");
    dovecot.ask("STORE 2 +FLAGS (\\Flagged todo later $Forwarded)");
    dovecot.ask("STORE 1 +FLAGS (\\Deleted)");
    dovecot.ask("EXPUNGE");
    let theirs = FOLDERS.map(|folder| known(&mut dovecot, folder));
    dovecot.logout();

    let mut imap = Imap::ours(&server);
    assert_eq!(FOLDERS.map(|folder| known(&mut imap, folder)), theirs);
    deliver(&server, ALICE, &letter("ours"));
    let (_, after) = known(&mut imap, "INBOX");
    assert!(theirs[0].1.keys().all(|uid| uid < after.keys().next_back().unwrap()), "no UID is given twice");
    imap.logout();
}

fn y117_uids_go_to_dovecot_and_come_back() {
    let mut server = server();
    for n in 1..=5 {
        deliver(&server, ALICE, &letter(&format!("ours-{n}")));
    }
    let mut imap = Imap::ours(&server);
    imap.ask("SELECT INBOX");
    imap.ask("CREATE Projects");
    imap.ask("COPY 4:5 Projects");
    imap.ask("STORE 2 +FLAGS (\\Flagged todo $Forwarded)");
    imap.ask("STORE 1 +FLAGS (\\Deleted)");
    imap.ask("EXPUNGE");
    let before = FOLDERS.map(|folder| known(&mut imap, folder));
    imap.logout();
    let refused = export(&server, &[]);
    assert!(!refused.status.success(), "beside a server");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it first"), "{refused:?}");
    // No client of IMAP has seen this one, so Dovecot gives it the next UID.
    deliver(&server, ALICE, &letter("unseen"));
    server.kill();
    succeeded(export(&server, &[]));

    let mut dovecot = Imap::dovecot(&server);
    for (folder, before) in FOLDERS.iter().zip(&before) {
        let after = known(&mut dovecot, folder);
        assert_eq!(after.0, before.0, "UIDVALIDITY of {folder}");
        for (uid, message) in &before.1 {
            assert_eq!(after.1.get(uid), Some(message), "{folder}");
        }
        let later = after.1.iter().filter(|(uid, _)| !before.1.contains_key(*uid));
        assert_eq!(later.clone().count(), usize::from(*folder == "INBOX"), "{folder}");
        assert!(later.clone().all(|(uid, _)| before.1.keys().all(|before| before < uid)), "{folder}");
    }
    let subscribed = dovecot.ask("LSUB \"\" *");
    assert!(subscribed.iter().any(|line| line.text.contains("Projects")), "subscribed without a file");
    dovecot.append("INBOX", &letter("theirs"));
    dovecot.ask("SELECT INBOX");
    dovecot.ask("STORE 3 +FLAGS (\\Answered later)");
    let theirs = FOLDERS.map(|folder| known(&mut dovecot, folder));
    dovecot.logout();

    let refused = export(&server, &[]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("Dovecot has given UIDs since"), "{told}");
    server.restart();
    let mut imap = Imap::ours(&server);
    assert_eq!(FOLDERS.map(|folder| known(&mut imap, folder)), theirs);
    deliver(&server, ALICE, &letter("ours-again"));
    let (_, again) = known(&mut imap, "INBOX");
    let last = *again.keys().next_back().unwrap();
    assert!(theirs[0].1.keys().all(|uid| *uid < last), "no UID is given twice");
    imap.logout();
}

fn export(server: &Server, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(["export", "--dovecot", "--spool"]).arg(&server.spool).args(options);
    command.output().unwrap()
}

/// The UID validity of a folder, and the subject and the flags of each message by its UID.
fn known(imap: &mut Imap, folder: &str) -> (usize, BTreeMap<usize, (String, Vec<String>)>) {
    let selected = imap.ask(&format!("SELECT {folder}"));
    let validity = selected.iter().find(|line| line.text.contains("UIDVALIDITY")).unwrap();
    let validity = number_after(&validity.text, "UIDVALIDITY ");
    let fetched = imap.ask("UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID SUBJECT)])");
    let messages = fetched.iter().filter(|line| !line.literals.is_empty()).map(|line| {
        let (_, flags) = line.text.split_once("FLAGS (").unwrap();
        let flags = flags.split(')').next().unwrap().split(' ');
        let mut flags: Vec<String> = flags.filter(|flag| *flag != "\\Recent").map(str::to_owned).collect();
        flags.retain(|flag| !flag.is_empty());
        flags.sort_unstable();
        let header = String::from_utf8_lossy(&line.literals[0]).into_owned();
        (number_after(&line.text, "UID "), (header, flags))
    });
    (validity, messages.collect())
}
