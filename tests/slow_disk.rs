//! A disk that takes longer than a client waits: one of two stories is told to the end, never half of each.

mod common;

use common::{
    STRICT, Server, Setup,
    client::{Client, with_lf, without_trace},
    eventually,
    inject::{Fault, can_inject},
};

const BOB: &str = "bob@example.test";
const CAROL: &str = "carol@example.test";
const MESSAGE: &[u8] = b"Subject: slow\r\n\r\n.\r\n";

/// A server that waits a second for its disk.
fn impatient() -> Server {
    let config = format!("{STRICT}\n[limits]\ndelivery_patience = \"1s\"\n");
    Setup { config: Some(&config), users: &[BOB, CAROL], ..Setup::default() }.start()
}

/// A delivery whose fsyncs by those threads take that long is refused; nothing of it is left when the disk is
/// done; sent again, it is there once.
#[track_caller]
fn refuses_and_takes_back(threads: &'static str, what: &str, path: &str, message: &[u8]) {
    let server = impatient();
    let maildir = server.maildir(BOB);
    let mut client = Client::smtp(&server);
    assert!(client.deliver(&[BOB], MESSAGE).starts_with("250 "));
    std::fs::remove_file(&maildir.files("new")[0]).unwrap();
    let slow = Fault::new(what).of(threads);
    let slow = if path.is_empty() { slow } else { slow.on(maildir.path.join(path)) };
    slow.during(&server, || {
        let reply = client.deliver(&[BOB], message);
        assert!(reply.starts_with("451 4.3.0 "), "{reply:?}");
        // The committer does one thing after the other: when this one is answered, the first one is over.
        let reply = Client::smtp(&server).deliver(&[CAROL], MESSAGE);
        assert!(["250 ", "451 "].iter().any(|code| reply.starts_with(code)), "{reply:?}");
    });
    eventually("nothing is left of it", || {
        let left = [maildir.files("new"), maildir.files("tmp"), maildir.files("cur")].concat();
        left.is_empty().then_some(())
    });
    let reply = client.deliver(&[BOB], message);
    assert!(reply.starts_with("250 "), "{reply:?}");
    assert!(without_trace(&maildir.only_message()) == with_lf(message));
}

#[test]
fn d09_a_content_that_is_durable_too_late_is_taken_back() {
    if can_inject("d09_a_content_that_is_durable_too_late_is_taken_back") {
        refuses_and_takes_back("committer", "fsync:delay_enter=3s:when=1", "", MESSAGE);
    }
}

#[test]
fn d09_a_name_that_is_durable_too_late_is_taken_back() {
    if can_inject("d09_a_name_that_is_durable_too_late_is_taken_back") {
        refuses_and_takes_back("committer", "fsync:delay_exit=3s", "new", MESSAGE);
    }
}

#[test]
fn d09_a_large_message_that_is_durable_too_late_is_taken_back() {
    if can_inject("d09_a_large_message_that_is_durable_too_late_is_taken_back") {
        let large = [b"Subject: large\r\n\r\n", &b"a line of text\r\n"[..].repeat(40_000)[..]].concat();
        refuses_and_takes_back("disk", "fsync:delay_enter=3s:when=1", "", &large);
    }
}

#[test]
fn d09_a_message_that_waits_behind_a_slow_one_is_not_stored_either() {
    if !can_inject("d09_a_message_that_waits_behind_a_slow_one_is_not_stored_either") {
        return;
    }
    let server = impatient();
    assert!(Client::smtp(&server).deliver(&[BOB], MESSAGE).starts_with("250 "));
    let slow = Fault::new("fsync:delay_enter=4s:when=1").of("committer");
    slow.during(&server, || {
        std::thread::scope(|scope| {
            let clients = [BOB, CAROL, BOB].map(|user| {
                let server = &server;
                scope.spawn(move || Client::smtp(server).deliver(&[user], MESSAGE))
            });
            for client in clients {
                let reply = client.join().unwrap();
                assert!(reply.starts_with("451 4.3.0 "), "{reply:?}");
            }
        });
    });
    eventually("the committer is at work again", || {
        Client::smtp(&server).deliver(&[CAROL], MESSAGE).starts_with("250 ").then_some(())
    });
    let bob = server.maildir(BOB);
    assert_eq!((bob.files("new").len(), bob.files("tmp").len()), (1, 0));
    assert_eq!(server.maildir(CAROL).files("tmp").len(), 0);
}
