//! Dovecot on the same Maildir: its IMAP server and its delivery agent, each a process of its own without the
//! daemon around it, as `ssh` starts it. The locks, the index files and the renames are the same.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::{
    common::{Server, client::deliver, eventually},
    deliverers::Deliverer,
    imap::{Imap, number_after},
    letters::{ALICE, OPEN, file, ids, letter},
    programs::{Story, UNSHARE, at_home, succeeded, unprivileged},
    visit::{Visit, look, look_for},
};

pub(crate) const DOVECOT_LDA: &str = "/usr/lib/dovecot/dovecot-lda";
pub(crate) const DOVECOT_IMAP: &str = "/usr/lib/dovecot/imap";

/// One of Dovecot's programs, for that Maildir, at home in that directory.
pub(crate) fn dovecot(program: &str, home: &Path, maildir: &Path) -> Command {
    let config = home.join("dovecot.conf");
    let settings = format!("mail_location = maildir:{}\nfirst_valid_uid = 1\nssl = no\n", maildir.display());
    fs::write(&config, settings).unwrap();
    let mut command = unprivileged(program);
    at_home(&mut command, home).arg("-c").arg(&config);
    command
}

pub(crate) fn stories() -> Vec<Story> {
    let (imap, both) = (&[DOVECOT_IMAP, UNSHARE][..], &[DOVECOT_IMAP, DOVECOT_LDA, UNSHARE][..]);
    vec![
        Story::new(imap, dovecot_flags_moves_and_expunges_while_pop3_reads),
        Story::new(imap, dovecot_sees_what_pop3_has_deleted),
        Story::new(imap, dovecot_appends_and_the_sizes_are_right),
        Story::new(imap, dovecot_and_pop3_agree_on_every_size),
        Story::new(both, uids_of_both_servers_are_stable_through_each_others_work),
    ]
}

fn dovecot_flags_moves_and_expunges_while_pop3_reads() {
    let (server, sent) = (Server::strict(), ids("sent", 8));
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let before = look_for(&server, &sent);
    let mut visit = Visit::begin(&server);
    let mut imap = Imap::dovecot(&server);
    imap.ask("CREATE Archive");
    imap.ask("SELECT INBOX");
    imap.ask("STORE 1:5 +FLAGS (\\Flagged \\Seen keyword)");
    imap.ask("MOVE 7,8 Archive");
    imap.ask("STORE 2 +FLAGS (\\Deleted)");
    imap.ask("EXPUNGE");

    let read: Vec<Option<String>> = (1..=8).map(|number| visit.read(number)).collect();
    let gone = [1, 6, 7];
    let wanted: Vec<Option<String>> =
        sent.iter().enumerate().map(|(n, id)| (!gone.contains(&n)).then(|| id.clone())).collect();
    assert_eq!(read, wanted);
    visit.delete(1);
    visit.delete(2); // Dovecot was first
    visit.quit();

    let left: Vec<String> =
        sent.iter().enumerate().filter(|(n, _)| (2..6).contains(n)).map(|(_, id)| id.clone()).collect();
    let after = look_for(&server, &left);
    assert!(after.iter().all(|(letter, uid)| before.get(letter) == Some(uid)), "{before:?} {after:?}");
    let archived: BTreeSet<String> = imap.read_all("Archive").into_iter().map(|(_, id)| id).collect();
    assert_eq!(archived, BTreeSet::from(["sent-6".to_owned(), "sent-7".to_owned()]));
    // The flags that each of them set have outlived the other's renames.
    imap.ask("SELECT INBOX");
    let flags = imap.ask("FETCH 1:* FLAGS");
    let flagged = flags.iter().filter(|response| response.text.contains("\\Flagged")).count();
    let seen = flags.iter().filter(|response| response.text.contains("\\Seen")).count();
    assert_eq!((flagged, seen), (3, 4), "three by Dovecot, and the one that was only read over POP3");
    imap.logout();
}

fn dovecot_sees_what_pop3_has_deleted() {
    let (server, sent) = (Server::strict(), ids("sent", 4));
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let mut imap = Imap::dovecot(&server);
    imap.ask("SELECT INBOX");
    let mut visit = Visit::begin(&server);
    visit.read_all();
    visit.delete(1);
    visit.delete(3);
    visit.quit();
    let mut expunged = 0;
    eventually("Dovecot says that two are gone", || {
        expunged += imap.ask("NOOP").iter().filter(|response| response.text.contains(" EXPUNGE")).count();
        (expunged == 2).then_some(())
    });
    let left: Vec<String> = imap.read_all("INBOX").into_iter().map(|(_, id)| id).collect();
    assert_eq!(left, [&*sent[1], &*sent[3]]);
    imap.logout();
}

fn dovecot_appends_and_the_sizes_are_right() {
    let server = Server::strict();
    deliver(&server, ALICE, &letter("ours"));
    let mut imap = Imap::dovecot(&server);
    let mut all = vec!["ours".to_owned()];
    for n in 0..10 {
        for id in [format!("theirs-{n}"), format!("theirs-{n}{OPEN}")] {
            imap.append("INBOX", &letter(&id));
            all.push(id);
        }
    }
    let before = look_for(&server, &all);
    imap.ask("SELECT INBOX");
    imap.ask("STORE 1:* +FLAGS (\\Seen)");
    imap.logout();
    assert_eq!(look_for(&server, &all), before);
}

fn dovecot_and_pop3_agree_on_every_size() {
    let (server, sent) = (Server::strict(), ids("sent", 24));
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    for id in ids("theirs", 8) {
        // The name of the file has no size, so both servers have to count.
        server.maildir(ALICE).put(&format!("1767268800.{id}.host"), &file(&id));
    }
    let mut imap = Imap::dovecot(&server);
    imap.ask("SELECT INBOX");
    let mut theirs: Vec<usize> =
        imap.ask("FETCH 1:* RFC822.SIZE").iter().map(|r| number_after(&r.text, "RFC822.SIZE ")).collect();
    imap.logout();
    let mut ours = Visit::begin(&server).sizes().to_vec();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
}

/// Each delivers, flags and deletes in turn.
fn uids_of_both_servers_are_stable_through_each_others_work() {
    let server = Server::strict();
    deliver(&server, ALICE, &letter("ours-first"));
    let mut imap = Imap::dovecot(&server);
    let (mut pop3_ids, mut imap_ids) = (look(&server), imap.read_all("INBOX"));
    for turn in 0..8 {
        deliver(&server, ALICE, &letter(&format!("ours-{turn}")));
        succeeded(Deliverer::DovecotLda.deliver(&server, &format!("theirs-{turn}")));
        imap.append("INBOX", &letter(&format!("appended-{turn}")));
        imap.ask("SELECT INBOX");
        imap.ask(&format!("STORE {} FLAGS (\\Answered)", turn + 1));
        let mut visit = Visit::begin(&server);
        visit.read(turn + 2);
        visit.delete(1);
        visit.quit();

        let (pop3_now, imap_now) = (look(&server), imap.read_all("INBOX"));
        assert_eq!(pop3_now.len(), imap_now.len());
        assert_eq!(pop3_now.len(), 1 + 2 * (turn + 1));
        let moved = |(letter, uid): &(&String, &String)| pop3_now.get(*letter).is_some_and(|now| now != *uid);
        assert_eq!(pop3_ids.iter().find(moved), None);
        let moved = |(uid, letter): &&(usize, String)| imap_now.iter().any(|(n, l)| l == letter && n != uid);
        assert_eq!(imap_ids.iter().find(moved), None);
        (pop3_ids, imap_ids) = (pop3_now, imap_now);
    }
    imap.logout();
}
