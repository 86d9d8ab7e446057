//! Thunderbird without a window: its own code reads, sorts and sends mail, and waits for more.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::{
    common::{PASSWORD, STRICT, Setup, client::deliver, home, listeners},
    imap::Imap,
    letters::{ALICE, ids, letter},
    programs::{Story, limited},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new(&["thunderbird", "python3"], thunderbird_sorts_and_sends_mail_and_shows_what_idle_tells)]
}

fn thunderbird_sorts_and_sends_mail_and_shows_what_idle_tells() {
    // Thunderbird overlooks a message whose EXISTS comes with a FETCH, until the next line in IDLE.
    let limits = "[limits]\nimap.idle_notify_interval = \"5s\"\n";
    let config = format!("{STRICT}{}{limits}", listeners(&["imap", "submission"]));
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let sent = ids("sent", 4);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let home = home();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/thunderbird.py");
    let address = |service: &str| server.addresses(service)[0].to_string();
    let mut command = limited("python3");
    command.args([script, &address("imap"), &address("submission"), ALICE, PASSWORD]);
    command.arg(home.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line == "watching\n" {
        deliver(&server, ALICE, &letter("late"));
    }
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");

    let mut imap = Imap::ours(&server);
    let by_thunderbird = "sent by Thunderbird";
    let inbox = messages(&mut imap, "INBOX");
    let subjects: Vec<&str> = inbox.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["sent-0", "sent-3", by_thunderbird, "late"]);
    let (_, flags) = &inbox[0];
    assert!(flags.contains("\\Seen") && flags.contains("\\Flagged"), "{flags}");
    for (folder, expected) in [("Trash", "sent-1"), ("Archive", "sent-2"), ("Sent", by_thunderbird)] {
        let found = messages(&mut imap, folder);
        assert_eq!(found.iter().map(|(subject, _)| subject).collect::<Vec<_>>(), [expected], "{folder}");
    }
    imap.logout();
}

/// The subject of each message in a folder, and the response with its flags.
fn messages(imap: &mut Imap, folder: &str) -> Vec<(String, String)> {
    imap.ask(&format!("SELECT {folder}"));
    let fetched = imap.ask("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    let subject = |text: &[u8]| String::from_utf8_lossy(text).replace("Subject: ", "").trim().to_owned();
    let subjects = fetched.into_iter().filter_map(|response| {
        let subject = subject(response.literals.first()?);
        Some((subject, response.text))
    });
    subjects.collect()
}
