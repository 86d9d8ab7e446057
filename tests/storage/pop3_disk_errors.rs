//! Disk errors during a POP3 session: a login that can't read the mailbox, a message that can't be read to
//! its end, a QUIT that can't delete. strace makes the calls fail.

use std::{io::Read, net::TcpStream, time::Duration};

use crate::common::{
    PASSWORD, Server,
    client::{Client, deliver},
    eventually,
    inject::{Fault, can_inject},
};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// Messages of elsewhere, `1`, `2`, ...
fn put(server: &Server, user: &str, messages: usize) {
    for i in 1..=messages {
        server.maildir(user).put(&format!("170000000{i}.M1P1.elsewhere"), format!("{i}\n").as_bytes());
    }
}

/// The reply to a login.
fn login(server: &Server, user: &str) -> String {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {user}"), "+OK");
    client.send(&format!("PASS {PASSWORD}")).reply()
}

#[test]
fn m03_m06_a_mailbox_that_cannot_be_read_is_never_called_empty() {
    let test = "m03_m06_a_mailbox_that_cannot_be_read_is_never_called_empty";
    if !can_inject(test) {
        return;
    }
    let server = Server::dev();
    for error in ["EIO", "ENOMEM", "ESTALE"] {
        for (nth, sub) in [(1, "new"), (2, "new"), (1, "cur"), (2, "cur")] {
            // A mailbox that no session has opened yet has to be read.
            let user = format!("{error}.{sub}{nth}@example.test").to_lowercase();
            put(&server, &user, 3);
            let fault = Fault::new(format!("getdents64:error={error}:when={nth}"));
            let fault = fault.on(server.maildir(&user).path.join(sub));
            let reply = fault.during(&server, || login(&server, &user));
            assert!(reply.starts_with("-ERR [SYS/TEMP] "), "{fault:?}: {reply:?}");
            Client::pop3(&server, &user).ask("STAT", "+OK 3 9\r\n");
        }
    }
}

#[test]
fn p12_an_error_in_mid_retr_ends_the_connection_without_the_dot() {
    if !can_inject("p12_an_error_in_mid_retr_ends_the_connection_without_the_dot") {
        return;
    }
    let server = Server::dev();
    let line = [&[b'x'; 76][..], b"\n"].concat();
    server.maildir(ALICE).put("1700000001.M1P1.elsewhere", &line.repeat(20_000));
    for error in ["EIO", "ESTALE", "ENOMEM"] {
        let mut client = Client::pop3(&server, ALICE);
        // The first piece that each worker reads is whole.
        let fault = Fault::new(format!("pread64:error={error}:when=2+")).of("disk");
        let rest = fault.during(&server, || {
            client.ask("RETR 1", "+OK ");
            client.rest()
        });
        assert!(rest.len() > line.len() && rest.len() < 20_000 * 78, "{} octets", rest.len());
        assert!(!rest.ends_with(b"\r\n.\r\n"));
        assert!(!rest.windows(4).any(|four| four == b"-ERR"));
        let path = server.maildir(ALICE).files("new").remove(0);
        server.tells(path.to_str().unwrap());
        assert_eq!(Client::pop3(&server, ALICE).retr(1).len(), 20_000 * 78);
    }
}

#[test]
fn p12_an_error_at_the_start_of_retr_is_a_refusal() {
    if !can_inject("p12_an_error_at_the_start_of_retr_is_a_refusal") {
        return;
    }
    let server = Server::dev();
    put(&server, ALICE, 2);
    let mut client = Client::pop3(&server, ALICE);
    let file = "1700000001.M1P1.elsewhere";
    for fault in [
        // The first try is that of the loop, which reads from memory, and the next one that of a worker.
        Fault::new("pread64,preadv2:error=EIO:when=1"),
        Fault::new("openat,openat2:error=EIO:when=1").on(file),
        Fault::new("openat,openat2:error=EMFILE:when=1").on(file),
    ] {
        for command in ["RETR 1", "TOP 1 0"] {
            let reply = fault.during(&server, || client.send(command).reply());
            assert!(reply.starts_with("-ERR [SYS/TEMP] "), "{fault:?}: {reply:?}");
            client.ask("NOOP", "+OK");
        }
        assert_eq!(client.retr(1), b"1\r\n");
    }
    client.ask("QUIT", "+OK");
}

#[test]
fn p08_m05_quit_tells_what_could_not_be_deleted_and_deletes_the_rest() {
    if !can_inject("p08_m05_quit_tells_what_could_not_be_deleted_and_deletes_the_rest") {
        return;
    }
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    for error in ["EIO", "EROFS", "EACCES", "EPERM", "EBUSY", "ENOSPC", "EDQUOT"] {
        put(&server, ALICE, 4);
        let mut client = Client::pop3(&server, ALICE);
        (1..=3).for_each(|i| drop(client.ask(&format!("DELE {i}"), "+OK")));
        let fault = Fault::new(format!("unlinkat,fsync:error={error}:when=1")).on(maildir.path.join("new"));
        let mut reply = String::new();
        let calls = fault.traced(&server, || reply = client.send("QUIT").reply());
        assert!(reply.starts_with("-ERR [SYS/"), "{error}: {reply:?}");
        assert!(reply.contains("some deleted messages not removed"), "{error}: {reply:?}");
        assert_eq!(client.rest(), b"");
        assert!(calls.matches("unlinkat(").count() >= 3, "all are tried: {calls}");
        assert!(calls.contains("fsync("), "what was done is made durable: {calls}");

        // The mailbox is free again, one of the three is left, and it goes with the next QUIT.
        let left = maildir.files("new");
        assert_eq!(left.len(), 2, "{error}: {left:?}");
        let mut client = Client::pop3(&server, ALICE);
        client.ask("STAT", "+OK 2 6\r\n");
        client.ask("DELE 1", "+OK");
        client.ask("DELE 2", "+OK");
        client.ask("QUIT", "+OK");
        assert!(maildir.files("new").is_empty());
    }
}

#[test]
fn p08_quit_tells_when_its_deletions_may_not_last() {
    if !can_inject("p08_quit_tells_when_its_deletions_may_not_last") {
        return;
    }
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    for error in ["EIO", "EROFS", "ENOSPC"] {
        put(&server, ALICE, 1);
        let mut client = Client::pop3(&server, ALICE);
        client.ask("DELE 1", "+OK");
        let fault = Fault::new(format!("fsync:error={error}:when=1")).on(maildir.path.join("new"));
        let reply = fault.during(&server, || client.send("QUIT").reply());
        assert!(reply.starts_with("-ERR [SYS/"), "{error}: {reply:?}");
        Client::pop3(&server, ALICE).ask("STAT", "+OK 0 0\r\n");
    }
}

#[test]
fn p08_a_message_that_cannot_be_marked_stays_new_and_is_marked_later() {
    if !can_inject("p08_a_message_that_cannot_be_marked_stays_new_and_is_marked_later") {
        return;
    }
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    put(&server, ALICE, 1);
    for error in ["EIO", "EROFS", "ENOSPC"] {
        let mut client = Client::pop3(&server, ALICE);
        client.retr(1);
        let fault = Fault::new(format!("renameat2:error={error}:when=1"));
        fault.during(&server, || client.ask("QUIT", "-ERR [SYS/"));
        assert_eq!(maildir.files("new").len(), 1);
    }
    let mut client = Client::pop3(&server, ALICE);
    client.retr(1);
    client.ask("QUIT", "+OK");
    assert!(maildir.files("new").is_empty());
    assert!(maildir.files("cur")[0].ends_with("1700000001.M1P1.elsewhere:2,S"));
}

#[test]
fn p08_m25_an_interrupted_quit_deletes_all_the_same_or_says_so() {
    if !can_inject("p08_m25_an_interrupted_quit_deletes_all_the_same_or_says_so") {
        return;
    }
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    for call in ["unlinkat", "fsync"] {
        put(&server, ALICE, 1);
        let mut client = Client::pop3(&server, ALICE);
        client.ask("DELE 1", "+OK");
        let fault = Fault::new(format!("{call}:error=EINTR:when=1")).on(maildir.path.join("new"));
        let reply = fault.during(&server, || client.send("QUIT").reply());
        let left = maildir.files("new").len();
        assert!(reply.starts_with("-ERR [SYS/TEMP]") || reply.starts_with("+OK") && left == 0, "{reply:?}");
        maildir.files("new").iter().for_each(|file| std::fs::remove_file(file).unwrap());
    }
}

#[test]
fn p09_a_kill_in_quit_frees_the_mailbox_and_leaves_what_was_not_deleted() {
    if !can_inject("p09_a_kill_in_quit_frees_the_mailbox_and_leaves_what_was_not_deleted") {
        return;
    }
    let mut server = Server::dev();
    put(&server, ALICE, 3);
    let mut client = Client::pop3(&server, ALICE);
    (1..=3).for_each(|i| drop(client.ask(&format!("DELE {i}"), "+OK")));
    let fault = Fault::new("unlinkat:signal=KILL:when=2").of("disk");
    let reply = fault.during(&server, || client.send("QUIT").reply());
    assert_eq!(reply, "");
    server.restart();
    assert_eq!(server.maildir(ALICE).files("new").len(), 2);
    let mut client = Client::pop3(&server, ALICE);
    assert_eq!([client.retr(1), client.retr(2)], [b"2\r\n", b"3\r\n"]);
}

#[test]
fn p35_m22_a_login_that_waits_for_the_disk_delays_nobody_else() {
    if !can_inject("p35_m22_a_login_that_waits_for_the_disk_delays_nobody_else") {
        return;
    }
    let server = Server::dev();
    put(&server, ALICE, 3);
    put(&server, BOB, 1);
    deliver(&server, BOB, b"Subject: x\r\n\r\n"); // the mailbox's own syncs are over
    let mut bob = Client::pop3(&server, BOB);
    let mut smtp = Client::smtp(&server);
    // One worker is held up; the others and the loop are not.
    let slow = Fault::new("getdents64:delay_enter=8s:when=1").on(server.maildir(ALICE).path.join("new"));
    slow.traced(&server, || {
        let mut alice = TcpStream::connect(server.pop3()).unwrap();
        std::io::Write::write_all(&mut alice, format!("USER {ALICE}\r\nPASS {PASSWORD}\r\n").as_bytes())
            .unwrap();
        alice.set_nonblocking(true).unwrap();
        let mut said = Vec::new();
        eventually("PASS is being answered", || {
            let _ = (&alice).read_to_end(&mut said); // there is nothing more to read yet
            (said.iter().filter(|&&b| b == b'\n').count() >= 2).then_some(())
        });
        bob.ask("STAT", "+OK 2 ");
        assert_eq!(bob.retr(1), b"1\r\n");
        let reply = smtp.deliver(&[BOB], b"Subject: x\r\n\r\n");
        assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
        bob.ask("QUIT", "+OK");
        let _ = (&alice).read_to_end(&mut said); // there should be nothing to read yet
        assert_eq!(said.iter().filter(|&&b| b == b'\n').count(), 2, "alice's login was to wait");
        alice.set_nonblocking(false).unwrap();
        alice.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut alice = std::io::BufReader::new(alice);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut alice, &mut line).unwrap();
        assert!(line.starts_with("+OK 3 "), "{line:?}");
    });
}
