//! mutt on the same Maildir while POP3 sessions are open.

use std::fs;

use crate::{
    common::{
        PASSWORD, Server,
        client::deliver,
        eventually,
        mutt::{NEEDS, mutt},
    },
    letters::{ALICE, ids, letter},
    programs::Story,
    visit::{Visit, look, look_for},
};

pub(crate) fn stories() -> Vec<Story> {
    let with_curl = [NEEDS, &["curl"]].concat();
    vec![
        Story::new(NEEDS, mutt_flags_during_a_session_and_the_session_reads_on),
        Story::new(NEEDS, mutt_deletes_during_a_session_and_the_session_says_what_is_gone),
        Story::new(NEEDS, both_delete_the_same_letter_and_it_is_gone_once),
        Story::new(&with_curl, pop3_deletes_under_an_open_mutt_and_mutt_brings_nothing_back),
        Story::new(NEEDS, mutt_still_calls_new_what_nobody_has_read),
    ]
}

/// A mailbox with so many letters, which mutt shows in the order of their numbers.
fn mailbox(letters: usize) -> (Server, Vec<String>) {
    let (server, sent) = (Server::strict(), ids("sent", letters));
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    (server, sent)
}

fn mutt_flags_during_a_session_and_the_session_reads_on() {
    let (server, sent) = mailbox(6);
    let mut visit = Visit::begin(&server);
    let keys = "<tag-pattern>~A<enter><tag-prefix><flag-message><first-entry><display-message><exit><quit>";
    mutt(&server.maildir(ALICE).path, "", keys);
    let flagged = server.maildir(ALICE).files("cur");
    assert_eq!(flagged.len(), 6, "{flagged:?}");
    let seen = visit.read_all();
    assert_eq!(seen.keys().collect::<Vec<_>>(), sent.iter().collect::<Vec<_>>());
    visit.delete(2);
    visit.quit();
    let left = server.maildir(ALICE).files("cur");
    assert!(left.iter().all(|file| file.to_string_lossy().ends_with(":2,FS")), "{left:?}");
    let after = look_for(&server, &without(&sent, &[1]));
    assert!(after.iter().all(|(letter, uid)| seen.get(letter) == Some(uid)));
}

fn mutt_deletes_during_a_session_and_the_session_says_what_is_gone() {
    let (server, sent) = mailbox(6);
    let mut visit = Visit::begin(&server);
    let keys = "<delete-pattern>~s \\\"sent-(1|4)$\\\"<enter><quit>";
    mutt(&server.maildir(ALICE).path, "", keys);
    let read: Vec<Option<String>> = (1..=6).map(|number| visit.read(number)).collect();
    let wanted: Vec<Option<String>> =
        sent.iter().map(|id| (!["sent-1", "sent-4"].contains(&&**id)).then(|| id.clone())).collect();
    assert_eq!(read, wanted);
    visit.quit();
    look_for(&server, &without(&sent, &[1, 4]));
}

fn both_delete_the_same_letter_and_it_is_gone_once() {
    let (server, sent) = mailbox(4);
    let mut visit = Visit::begin(&server);
    visit.delete(2);
    visit.delete(3);
    mutt(&server.maildir(ALICE).path, "", "<delete-pattern>~s sent-1<enter><quit>");
    visit.quit();
    look_for(&server, &without(&sent, &[1, 2]));
}

fn pop3_deletes_under_an_open_mutt_and_mutt_brings_nothing_back() {
    let (server, sent) = mailbox(5);
    // The order of the files is that of the letters: number 3 is the third one.
    let curl = format!(
        "curl -s --noproxy '*' -u {ALICE}:{PASSWORD} -l -X DELE pop3://{}/3 >deleted 2>&1",
        server.pop3()
    );
    let home = crate::common::home();
    fs::write(home.path().join("delete"), format!("{curl} && echo done >>deleted\n")).unwrap();
    let script = home.path().join("delete");
    let keys = format!(
        "<first-entry><flag-message><shell-escape>sh {}<enter><tag-pattern>~A<enter><tag-prefix><flag-message>\
         <sync-mailbox><quit>",
        script.display()
    );
    let at = mutt(&server.maildir(ALICE).path, "", &keys);
    let said = fs::read_to_string(at.path().join("deleted")).unwrap();
    assert!(said.ends_with("done\n"), "{said}");
    look_for(&server, &without(&sent, &[2]));
}

fn mutt_still_calls_new_what_nobody_has_read() {
    let (server, sent) = mailbox(4);
    let mut visit = Visit::begin(&server);
    visit.read(1);
    visit.read(3);
    visit.quit();
    let maildir = server.maildir(ALICE);
    let keys = "<tag-pattern>~N<enter><tag-prefix><pipe-message>grep Letter: >> listed<enter><exit>";
    let at = mutt(&maildir.path, "-R", keys);
    let listed = eventually("mutt has listed", || fs::read_to_string(at.path().join("listed")).ok());
    let mut letters: Vec<&str> = listed.lines().collect();
    letters.sort_unstable();
    assert_eq!(letters, ["Letter: sent-1", "Letter: sent-3"]);
    assert_eq!(look(&server).len(), sent.len());
}

/// The letters but for those at these places.
fn without(ids: &[String], places: &[usize]) -> Vec<String> {
    ids.iter().enumerate().filter(|(n, _)| !places.contains(n)).map(|(_, id)| id.clone()).collect()
}
