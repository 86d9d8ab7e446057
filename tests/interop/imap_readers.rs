//! Programs with a screen that read mail over IMAP and wait for news, and one that sorts mail by rules.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::{
    common::{PASSWORD, client::deliver, home, write_private},
    imap::{Imap, server},
    letters::{ALICE, ids, letter},
    programs::{Story, at_home, in_time, limited, succeeded},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&["alpine", "python3"], alpine_saves_deletes_and_shows_what_comes),
        Story::new(&["mutt", "python3"], mutt_saves_deletes_and_shows_what_idle_tells),
        Story::new(&["neomutt", "python3"], neomutt_saves_deletes_and_shows_what_idle_tells),
        Story::new(&["imapfilter"], imapfilter_sorts_flags_and_deletes_by_its_rules),
    ]
}

fn alpine_saves_deletes_and_shows_what_comes() {
    reads_and_waits("alpine");
}

fn mutt_saves_deletes_and_shows_what_idle_tells() {
    reads_and_waits("mutt");
}

fn neomutt_saves_deletes_and_shows_what_idle_tells() {
    reads_and_waits("neomutt");
}

/// The first letter is deleted, the second one saved; then another one comes.
fn reads_and_waits(program: &str) {
    let server = server();
    let sent = ids("sent", 4);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let home = home();
    fs::create_dir(home.path().join("Mail")).unwrap(); // mutt asks if it is not there
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/mail_readers.py");
    let mut command = limited("python3");
    command.args([script, program, &server.addresses("imap")[0].to_string(), ALICE, PASSWORD]);
    command.arg(home.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line == "watching\n" {
        deliver(&server, ALICE, &letter("late"));
    }
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{program}: {errors}");

    let mut imap = Imap::ours(&server);
    let left: Vec<String> = imap.read_all("INBOX").into_iter().map(|(_, id)| id).collect();
    assert_eq!(left, ["sent-2", "sent-3", "late"]);
    assert_eq!(imap.read_all("Archive"), [(1, "sent-1".to_owned())]);
}

fn imapfilter_sorts_flags_and_deletes_by_its_rules() {
    let server = server();
    let sent = ids("sent", 5);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let home = home();
    let address = server.addresses("imap")[0];
    let rules = format!(
        "options.timeout = 60\noptions.create = true\noptions.subscribe = true\n\
         local a = IMAP {{ server = '{}', port = {}, username = '{ALICE}', password = '{PASSWORD}' }}\n\
         a.INBOX:contain_subject('sent-0'):move_messages(a['Lists/devel'])\n\
         a.INBOX:contain_subject('sent-1'):mark_flagged()\n\
         a.INBOX:contain_subject('sent-2'):delete_messages()\n\
         local found = a.INBOX:is_unflagged() * a.INBOX:contain_field('Subject', 'sent-3')\n\
         found:copy_messages(a.Archive)\n\
         a.INBOX:is_flagged():mark_seen()\n",
        address.ip(),
        address.port()
    );
    write_private(&home.path().join("rules"), &rules);
    let mut command = limited("imapfilter");
    command.arg("-c").arg(home.path().join("rules"));
    succeeded(in_time(at_home(&mut command, home.path()).output().unwrap()));
    let mut imap = Imap::ours(&server);
    assert_eq!(imap.read_all("INBOX"), [(2, sent[1].clone()), (4, sent[3].clone()), (5, sent[4].clone())]);
    let flags: Vec<String> = imap.ask("UID FETCH 2 FLAGS").into_iter().map(|one| one.text).collect();
    assert!(flags[0].contains("\\Flagged") && flags[0].contains("\\Seen"), "{flags:?}");
    assert_eq!(imap.read_all("Lists.devel"), [(1, sent[0].clone())]);
    assert_eq!(imap.read_all("Archive"), [(1, sent[3].clone())]);
}
