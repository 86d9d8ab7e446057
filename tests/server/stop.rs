//! SIGTERM in the midst of things: a client past the final dot gets the reply for its message, the others are
//! told to come back, and the end comes within five seconds. `RESTANTE_STOPS=50` stops more often.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, stuffed, with_lf, without_trace},
    dice::Dice,
    eventually,
    inject::{Fault, can_inject},
};
use rustix::process::Signal;

const ALICE: &str = "alice@example.test";
const MESSAGE: &[u8] = b"Subject: the last one\r\n\r\nIt is late.\r\n";
/// The server waits that long for nothing but a disk.
const END: Duration = Duration::from_secs(20);
const GRACE: &str = "connections.shutdown_timeout = \"30s\"\n";

/// The number of runs of each story.
fn stops() -> u64 {
    env::var("RESTANTE_STOPS").ok().and_then(|stops| stops.parse().ok()).unwrap_or(4)
}

fn server(limits: &str) -> Server {
    let config = format!("{STRICT}\n[limits]\n{limits}\n");
    Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start()
}

/// Sends SIGTERM, and waits for the end in time. Returns the value of `client`, which runs meanwhile.
#[track_caller]
fn stop<T>(server: &mut Server, client: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    server.signal(Signal::TERM);
    let seen = client();
    assert_eq!(server.wait().code(), Some(0));
    assert!(start.elapsed() < END, "{:?}", start.elapsed());
    seen
}

/// A session that has been told to go ahead with the message.
fn in_data(server: &Server) -> Client {
    let mut client = Client::smtp(server);
    client.begin_data("a@far.test", &[ALICE]);
    client
}

#[test]
fn o01_in_data_a_client_is_told_to_come_back_and_nothing_is_stored() {
    for n in 0..stops() {
        let mut server = server(&format!("{GRACE}delivery.spill_threshold = \"4 KiB\""));
        let mut client = in_data(&server);
        // Before the first octet, in the midst of a line, and when there is a file already.
        let sent = [0, 100, 20_000, 200_000][n as usize % 4];
        client.write(&b"Subject: x\r\n".repeat(sent / 12 + 1)[..sent]);
        let reply = stop(&mut server, move || {
            let reply = client.reply();
            (reply, client.rest())
        });
        assert!(reply.0.starts_with("421 4.3.2 ") && reply.1.is_empty(), "{sent} octets: {reply:?}");
        let maildir = server.maildir(ALICE);
        assert_eq!((maildir.files("new").len(), maildir.files("tmp").len()), (0, 0), "{sent} octets");
    }
}

#[test]
fn o01_behind_the_final_dot_the_reply_is_true_whenever_the_signal_comes() {
    let mut dice = Dice::new(1);
    for _ in 0..stops() {
        let mut server = server(GRACE);
        Client::smtp(&server).deliver(&[ALICE], MESSAGE); // the mailbox is there, and its own syncs are over
        let mut clients: Vec<Client> = (0..8).map(|_| in_data(&server)).collect();
        let wait = Duration::from_micros(dice.below(4000) as u64);
        clients.iter_mut().for_each(|client| client.write(&stuffed(MESSAGE)));
        thread::sleep(wait); // into the work of the committer, here or there
        let replies =
            stop(&mut server, || clients.into_iter().map(|mut client| client.reply()).collect::<Vec<_>>());
        let accepted = replies.iter().filter(|reply| reply.starts_with("250 2.0.0 ")).count();
        let others = replies.iter().filter(|reply| reply.starts_with('4')).count();
        assert_eq!(accepted + others, 8, "{replies:?}");
        assert_eq!(server.maildir(ALICE).files("new").len(), 1 + accepted, "{replies:?}");
    }
}

#[test]
fn o01_in_fsync_the_client_gets_its_250_or_its_451() {
    if !can_inject("o01_in_fsync_the_client_gets_its_250_or_its_451") {
        return;
    }
    for (fault, code, stored) in [
        ("fsync:delay_enter=3s:when=1", "250 2.0.0 ", 1),
        ("fsync:error=EIO:delay_enter=3s:when=1", "451 4.3.0 ", 0),
    ] {
        let mut server = server(GRACE);
        Client::smtp(&server).deliver(&[ALICE], MESSAGE); // the mailbox is there, and its own syncs are over
        let mut client = in_data(&server);
        let maildir = server.maildir(ALICE);
        let reply = Fault::new(fault).of("committer").during(&server, || {
            client.write(&stuffed(MESSAGE));
            eventually("it is written", || server.is_writing_to(ALICE).then_some(()));
            server.signal(Signal::TERM);
            client.reply()
        });
        drop(client);
        assert!(reply.starts_with(code), "{fault}: {reply:?}");
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!((maildir.files("new").len(), maildir.files("tmp").len()), (1 + stored, 0), "{fault}");
    }
}

/// SIGTERM while that call hangs for the committer; returns the client's reply, and the number of messages
/// after the first one.
fn stop_while_it_hangs(what: &str, path: &str) -> (String, usize) {
    let mut server = server("connections.shutdown_timeout = \"1s\"");
    Client::smtp(&server).deliver(&[ALICE], MESSAGE); // the mailbox is there
    let (mut client, maildir) = (in_data(&server), server.maildir(ALICE));
    let slow = Fault::new(what).of("committer");
    let slow = if path.is_empty() { slow } else { slow.on(maildir.path.join(path)) };
    let start = Instant::now();
    let mut reply = String::new();
    slow.traced(&server, || {
        client.write(&stuffed(MESSAGE));
        let hangs =
            || if path.is_empty() { server.is_writing_to(ALICE) } else { maildir.files("new").len() == 2 };
        eventually("it is written", || hangs().then_some(()));
        server.signal(Signal::TERM);
        reply = client.reply();
    });
    assert_eq!(server.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    (reply, maildir.files("new").len() - 1)
}

#[test]
fn o01_a_disk_that_hangs_does_not_keep_the_server_from_its_end_nor_from_the_truth() {
    if !can_inject("o01_a_disk_that_hangs_does_not_keep_the_server_from_its_end_nor_from_the_truth") {
        return;
    }
    let (reply, stored) = stop_while_it_hangs("fsync:delay_enter=20s:when=1", "");
    assert!(reply.starts_with("451 4.3.0 ") && stored == 0, "{reply:?}, {stored}");
    // After the rename a client may have read the message, and the server cannot take it back.
    let (reply, _) = stop_while_it_hangs("fsync:delay_enter=20s", "new");
    assert_eq!(reply, "");
}

#[test]
fn o01_d09_a_message_that_was_refused_late_is_taken_back_before_the_end() {
    if !can_inject("o01_d09_a_message_that_was_refused_late_is_taken_back_before_the_end") {
        return;
    }
    let mut server = server(&format!("{GRACE}delivery.timeout = \"1s\""));
    eventually("the mailbox is there, and the disk is fast enough", || {
        Client::smtp(&server).deliver(&[ALICE], MESSAGE).starts_with("250 ").then_some(())
    });
    let (mut client, maildir) = (in_data(&server), server.maildir(ALICE));
    let slow = Fault::new("fsync:delay_enter=6s").of("committer").on(maildir.path.join("new"));
    slow.during(&server, || {
        client.write(&stuffed(MESSAGE));
        client.expect("451 4.3.0 ");
        assert_eq!(maildir.files("new").len(), 2, "it is visible, and not durable");
        server.signal(Signal::TERM);
        client.expect("421 4.3.2 ");
        eventually("it is taken back", || (maildir.files("new").len() == 1).then_some(()));
    });
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn o01_in_retr_the_message_is_cut_off_without_its_end_and_stays() {
    let letter = b"Subject: long\r\n\r\n".iter().copied().chain(b"a line of it\r\n".repeat(500_000));
    let letter: Vec<u8> = letter.collect();
    for _ in 0..stops() {
        let mut server = server(GRACE);
        assert!(Client::smtp(&server).deliver(&[ALICE], &letter).starts_with("250 "));
        let mut client = Client::pop3(&server, ALICE);
        client.ask("RETR 1", "+OK");
        assert_eq!(client.line(), b"Return-Path: <sender@far.test>\r\n");
        let rest = stop(&mut server, || client.rest());
        assert!(rest.len() < letter.len(), "all of it was in flight: the test needs a longer letter");
        assert!(!rest.ends_with(b"\r\n.\r\n") && !rest.windows(4).any(|text| text == b"-ERR"));

        server.restart();
        assert!(without_trace(&server.maildir(ALICE).only_message()) == with_lf(&letter));
        let mut client = Client::pop3(&server, ALICE);
        client.ask("STAT", "+OK 1 ");
    }
}
