//! A disk that takes longer than a client waits: a message is stored and acknowledged, or refused and gone,
//! and never half of each.

use std::{thread, time::Duration};

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, with_lf, without_trace},
    eventually,
    inject::{Fault, can_inject},
};
use rustix::process::{Pid, Signal, kill_process};

const BOB: &str = "bob@example.test";
const CAROL: &str = "carol@example.test";
const MESSAGE: &[u8] = b"Subject: slow\r\n\r\n.\r\n";

/// A server that waits two seconds for its disk.
fn impatient() -> Server {
    let config = format!("{STRICT}\n[limits]\ndelivery.timeout = \"2s\"\n");
    Setup { config: Some(&config), users: &[BOB, CAROL], ..Setup::default() }.start()
}

/// Waits until the committer has ended the slow call: it does one thing after the other.
fn at_work_again(server: &Server) {
    eventually("the committer is at work again", || {
        Client::smtp(server).deliver(&[CAROL], MESSAGE).starts_with("250 ").then_some(())
    });
}

/// Delivers, as often as it takes: the disk itself may be slow.
fn stores(client: &mut Client, to: &str) {
    eventually("it is stored", || client.deliver(&[to], MESSAGE).starts_with("250 ").then_some(()));
}

/// A delivery whose fsyncs take that long is refused; nothing of it is left when the disk is
/// done; sent again, it is there once.
#[track_caller]
fn refuses_and_takes_back(what: &str, path: &str) {
    let server = impatient();
    let maildir = server.maildir(BOB);
    let mut client = Client::smtp(&server);
    stores(&mut client, BOB);
    std::fs::remove_file(&maildir.files("new")[0]).unwrap();
    let slow = Fault::new(what).of("committer");
    let slow = if path.is_empty() { slow } else { slow.on(maildir.path.join(path)) };
    slow.during(&server, || {
        let reply = client.deliver(&[BOB], MESSAGE);
        assert!(reply.starts_with("451 4.3.0 "), "{reply:?}");
        at_work_again(&server);
    });
    eventually("nothing is left of it", || {
        let left = [maildir.files("new"), maildir.files("tmp"), maildir.files("cur")].concat();
        left.is_empty().then_some(())
    });
    stores(&mut client, BOB);
    assert!(without_trace(&maildir.only_message()) == with_lf(MESSAGE));
}

#[test]
fn l09_when_the_queue_for_the_disk_is_full_a_message_is_refused_before_its_data() {
    if !can_inject("l09_when_the_queue_for_the_disk_is_full_a_message_is_refused_before_its_data") {
        return;
    }
    let config = format!("{STRICT}\n[limits]\ndelivery.queue_size = 2\ndelivery.batch_size = 1\n");
    let server = Setup { config: Some(&config), users: &[BOB, CAROL], ..Setup::default() }.start();
    at_work_again(&server);
    let begin = || {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<a@far.test>", "250");
        client.ask(&format!("RCPT TO:<{CAROL}>"), "250");
        client
    };
    let mut waiting = [begin(), begin()];
    Fault::new("fsync:delay_enter=4s:when=1").of("committer").during(&server, || {
        for client in &mut waiting {
            client.ask("DATA", "354");
            client.write(MESSAGE);
        }
        // The server answers DATA with 354 until both messages are in the queue; such a client then sends
        // none.
        let mut late = eventually("a message is refused", || {
            let mut late = begin();
            late.write(b"DATA\r\n");
            let reply = late.reply();
            assert!(reply.starts_with("354 ") || reply.starts_with("451 4.3.0 "), "{reply:?}");
            reply.starts_with("451").then_some(late)
        });
        late.ask("NOOP", "250 ");
        waiting.iter_mut().for_each(|client| drop(client.expect("250 2.0.0 ")));
        let reply = late.deliver(&[CAROL], MESSAGE);
        assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    });
    assert_eq!(server.maildir(CAROL).files("new").len(), 4, "every 250, and nothing else");
}

#[test]
fn d09_a_content_that_is_durable_too_late_is_taken_back() {
    if can_inject("d09_a_content_that_is_durable_too_late_is_taken_back") {
        refuses_and_takes_back("fsync:delay_enter=6s:when=1", "");
    }
}

#[test]
fn d09_a_name_that_is_durable_too_late_is_taken_back() {
    if can_inject("d09_a_name_that_is_durable_too_late_is_taken_back") {
        refuses_and_takes_back("fsync:delay_exit=6s", "new");
    }
}

#[test]
fn d09_a_message_that_waits_behind_a_slow_one_is_not_stored_either() {
    if !can_inject("d09_a_message_that_waits_behind_a_slow_one_is_not_stored_either") {
        return;
    }
    let server = &impatient();
    let bob = server.maildir(BOB);
    stores(&mut Client::smtp(server), BOB);
    let slow = Fault::new("fsync:delay_enter=8s:when=1").of("committer");
    slow.during(server, || {
        std::thread::scope(|scope| {
            let deliver = |user| scope.spawn(move || Client::smtp(server).deliver(&[user], MESSAGE));
            let first = deliver(BOB);
            // The round of the first is closed: the others are in the next one.
            eventually("the first is written", || server.is_writing_to(BOB).then_some(()));
            let clients = [first, deliver(CAROL), deliver(BOB)];
            for client in clients {
                let reply = client.join().unwrap();
                assert!(reply.starts_with("451 4.3.0 "), "{reply:?}");
            }
        });
        at_work_again(server);
    });
    assert_eq!((bob.files("new").len(), bob.files("tmp").len()), (1, 0));
    assert_eq!(server.maildir(CAROL).files("tmp").len(), 0);
}

#[test]
fn r10_a_server_that_stood_still_refuses_nothing_and_ends_no_session_for_it() {
    if !can_inject("r10_a_server_that_stood_still_refuses_nothing_and_ends_no_session_for_it") {
        return;
    }
    let times = ["delivery.timeout", "smtp.command_timeout", "smtp.data_timeout", "pop3.idle_timeout"]
        .map(|key| format!("{key} = \"5s\"\n"));
    let config = format!("{STRICT}\n[limits]\n{}", times.concat());
    let server = Setup { config: Some(&config), users: &[BOB, CAROL], ..Setup::default() }.start();
    stores(&mut Client::smtp(&server), BOB);
    let signal = |signal| kill_process(Pid::from_raw(server.pid().cast_signed()).unwrap(), signal).unwrap();
    let begin = || {
        let mut client = Client::smtp(&server);
        client.begin_data("a@far.test", &[BOB]);
        client
    };
    // The disk is still slow when the server goes on.
    Fault::new("fsync:delay_enter=9s:when=1").of("committer").during(&server, || {
        let (mut waiting, mut sending) = (begin(), begin());
        let (mut idle, mut reading) = (Client::smtp(&server), Client::pop3(&server, CAROL));
        sending.write(b"Subject: half\r\n");
        waiting.write(MESSAGE);
        eventually("it is on its way", || server.is_writing_to(BOB).then_some(()));
        signal(Signal::STOP);
        thread::sleep(Duration::from_secs(7));
        signal(Signal::CONT);
        idle.ask("NOOP", "250 ");
        reading.ask("NOOP", "+OK");
        waiting.expect("250 2.0.0 ");
        sending.write(b"\r\n.\r\n");
        sending.expect("250 2.0.0 ");
    });
    assert_eq!(server.maildir(BOB).files("new").len(), 3);
    server.tells("process was suspended, deadlines extended");
}
