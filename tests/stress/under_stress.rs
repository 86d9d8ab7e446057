//! A server under the strain of machine and peers: many at once, slow ones, a full disk, no descriptors left,
//! and kill -9.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::{Client, deliver, socket, stuffed, without_trace},
    disk::SmallDisk,
    eventually, listener,
    secure::{self, BOTH, Keys},
    skip,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

const ALICE: &str = "alice@example.test";

/// That many octets in lines.
fn lines(octets: usize) -> Vec<u8> {
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    line.repeat(octets / line.len())
}

#[test]
fn two_hundred_connections_at_once_all_deliver() {
    let server = Server::dev();
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(server.smtp())).collect();
    for client in &mut clients {
        client.expect("220");
        client.send("EHLO client.test");
    }
    for client in &mut clients {
        client.expect("250");
        client.write(b"MAIL FROM:<a@far.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n");
    }
    for client in &mut clients {
        for reply in ["250 2.1.0", "250 2.1.5", "354"] {
            client.expect(reply);
        }
    }
    for (i, client) in clients.iter_mut().enumerate() {
        client.write(&stuffed(format!("Subject: {i}\r\n\r\n").as_bytes()));
    }
    for client in &mut clients {
        client.expect("250 2.0.0");
    }
    let mut subjects: Vec<String> = server
        .maildir(ALICE)
        .files("new")
        .iter()
        .map(|file| String::from_utf8(without_trace(&fs::read(file).unwrap()).to_vec()).unwrap())
        .collect();
    subjects.sort_by_key(|subject| (subject.len(), subject.clone()));
    let all: Vec<String> = (0..200).map(|i| format!("Subject: {i}\n\n")).collect();
    assert_eq!(subjects, all);
    assert!(server.maildir(ALICE).files("tmp").is_empty());
    Client::pop3(&server, ALICE).ask("STAT", "+OK 200 ");
}

#[test]
fn m10_a_message_that_was_answered_is_there_after_kill_9() {
    let mut server = Server::dev();
    for i in 1..=5 {
        deliver(&server, ALICE, format!("Subject: {i}\r\n\r\n").as_bytes());
        server.restart();
        let mut client = Client::pop3(&server, ALICE);
        client.ask("STAT", &format!("+OK {i} "));
        assert!(client.retr(i).ends_with(format!("Subject: {i}\r\n\r\n").as_bytes()));
    }
}

#[test]
fn m10_kill_9_in_the_midst_of_data_leaves_nothing_in_the_mailbox() {
    let mut server = Server::dev();
    let mut client = Client::smtp(&server);
    client.begin_data("a@far.test", &[ALICE]);
    client.write(&lines(3_000_000));
    server.restart();
    Client::pop3(&server, ALICE).ask("STAT", "+OK 0 0");
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
}

#[test]
fn l03_clients_that_do_not_read_cost_no_memory() {
    let server = Server::dev();
    let users: Vec<String> = (0..5).map(|i| format!("user{i}@example.test")).collect();
    for user in &users {
        server.maildir(user).put("1700000001.M1P1.elsewhere", &lines(20_000_000));
    }
    let mut clients: Vec<Client> = users.iter().map(|user| Client::pop3(&server, user)).collect();
    let before = server.status_kib("VmRSS");
    for client in &mut clients {
        client.send("RETR 1");
    }
    let mut last = 0;
    let mut still = 0;
    eventually("the server reads no more from the disk", || {
        let read = octets_read(&server);
        still = if read == last { still + 1 } else { 0 };
        last = read;
        (still == 40).then_some(())
    });
    let grown = server.status_kib("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");

    // Others are served meanwhile, and a client that reads again gets all of the message.
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
    clients[0].expect("+OK ");
    assert!(clients[0].text() == lines(20_000_000));
}

/// R14: the map of connections must not keep its room for all that there have been. The pieces of a connection are
/// small, so the allocator may keep them, but then they serve the next crowd.
#[test]
fn the_memory_of_connections_that_have_gone_is_given_back_or_serves_the_next() {
    const CONNECTIONS: usize = 2000;
    let here = getrlimit(Resource::Nofile);
    if here.maximum.is_some_and(|most| most < 3 * CONNECTIONS as u64) {
        let name = "the_memory_of_connections_that_have_gone_is_given_back_or_serves_the_next";
        return skip(name, "too few descriptors");
    }
    prlimit(None, Resource::Nofile, Rlimit { current: here.maximum, ..here }).unwrap();
    let server = Server::strict(); // `dev` keeps the transcript of every session
    drop(Client::smtp(&server));
    let before = server.status_kib("VmRSS");
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::smtp(&server)).collect();
    let with = server.status_kib("VmRSS");
    let grown = with - before;
    assert!(grown * 1024 < MAX_SMTP * CONNECTIONS as u64, "{grown} KiB");
    drop(clients);
    eventually("the connections have gone", || {
        let left = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
        (left < CONNECTIONS / 10).then_some(())
    });
    let _clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::smtp(&server)).collect();
    let again = server.status_kib("VmRSS") - before;
    assert!(again < grown + grown / 4, "{again} KiB after {grown}");
}

/// A limit stands some hundred octets above the octets that were measured, so that the next field that each connection
/// gets has to be worth it.
#[test]
fn r16_idle_connections_and_event_streams_cost_little_memory() {
    const CONNECTIONS: usize = 2000;
    let here = getrlimit(Resource::Nofile);
    if here.maximum.is_some_and(|most| most < 4 * CONNECTIONS as u64) {
        return skip("r16_idle_connections_and_event_streams_cost_little_memory", "too few descriptors");
    }
    prlimit(None, Resource::Nofile, Rlimit { current: here.maximum, ..here }).unwrap();
    let last_line_after = |mut client: Client, request: &str, last: &str| {
        client.write(request.as_bytes());
        while client.line() != last.as_bytes() {}
        client
    };
    type Connect<'a> = &'a dyn Fn(&Server) -> Client;
    let keys = Keys::make();
    let trusted = keys.trusted(BOTH);
    let kinds: [(&str, u64, Connect<'_>); 4] = [
        ("POP3 under TLS", MAX_POP3S, &|server| {
            let tls = secure::over(socket(server.addresses("pop3s")[0]), &trusted);
            last_line_after(Client::over(tls), "CAPA\r\n", ".\r\n")
        }),
        ("POP3", MAX_POP3, &|server| last_line_after(Client::connect(server.pop3()), "CAPA\r\n", ".\r\n")),
        ("SMTP", MAX_SMTP, &Client::smtp),
        ("event stream", MAX_EVENTS, &|server| {
            let login = STANDARD.encode(format!("{ALICE}:{PASSWORD}"));
            let head = format!("Host: localhost\r\nAuthorization: Basic {login}\r\n");
            let request = format!("GET /api/events HTTP/1.1\r\n{head}\r\n");
            last_line_after(Client::connect(server.addresses("http")[0]), &request, ": restante\r\n")
        }),
    ];
    let (listeners, pair) = (listener("http", "") + &listener("pop3s", ""), (keys.certificate(), keys.key()));
    let config = format!("{STRICT}{listeners}[tls]\ncertificate = {:?}\nkey = {:?}\n", pair.0, pair.1);
    for (kind, most, connect) in kinds {
        // `dev` keeps the transcript of every session.
        let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
        // Memory allocated at the first use belongs to no connection.
        let _first: Vec<Client> = (0..50).map(|_| connect(&server)).collect();
        let before = server.status_kib("RssAnon");
        let _clients: Vec<Client> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
        // Password checks may give memory back meanwhile.
        let each = server.status_kib("RssAnon").saturating_sub(before) * 1024 / CONNECTIONS as u64;
        assert!(each < most, "{kind}: {each} octets");
    }
}

/// Octets of an idle POP3 connection that has asked for CAPA, with TLS and without, of an SMTP connection that said EHLO, and of an event stream.
const MAX_POP3S: u64 = 8192;
const MAX_POP3: u64 = 1500;
const MAX_SMTP: u64 = 1700;
const MAX_EVENTS: u64 = 1700;

/// Octets that a process has read so far, from disks and sockets.
fn octets_read(server: &Server) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", server.pid())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn c01_c02_commands_without_end_or_without_pause_cost_no_memory() {
    let server = Server::dev();
    Client::smtp(&server);
    let before = server.status_kib("VmRSS");
    let mut flood = Client::smtp(&server);
    for _ in 0..100 {
        flood.write(&b"NOOP\r\n".repeat(100));
        (0..100).for_each(|_| drop(flood.expect("250")));
    }
    let mut endless = Client::smtp(&server);
    endless.write(&[b'x'; 60_000]);
    endless.write(b"\r\n");
    endless.expect("500 5.5.2");
    endless.ask("NOOP", "250");
    let grown = server.status_kib("VmHWM").saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB more");
}

/// Each client in the queue is served or sent away, without a new connection to wake the server; and then the
/// server works as before.
fn assert_recovered(server: &Server, waiting: Vec<Client>) {
    for mut client in waiting {
        let line = String::from_utf8(client.line()).unwrap();
        assert!(["220 ", "421 "].iter().any(|code| line.starts_with(code)) || line.is_empty(), "{line:?}");
    }
    eventually("a new client is greeted", || {
        Client::connect(server.smtp()).line().starts_with(b"220 ").then_some(())
    });
    deliver(server, ALICE, b"Subject: x\r\n\r\n");
    Client::pop3(server, ALICE).ask("STAT", "+OK 1 ");
}

#[test]
fn l04_a_server_with_few_descriptors_sends_away_whom_it_cannot_serve() {
    let wrapper = &["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"];
    let server = Setup { wrapper, arguments: &["--no-imap"], ..Setup::default() }.start();
    let mut clients: Vec<Client> = (0..120).map(|_| Client::connect(server.smtp())).collect();
    clients[0].expect("220");
    let waiting = clients.split_off(60);
    drop(clients);
    assert_recovered(&server, waiting);
}

#[test]
fn m06_l04_sessions_with_open_mailboxes_leave_deliveries_their_descriptors() {
    let wrapper = &["sh", "-c", "ulimit -n 512; exec \"$@\"", "sh"];
    let server = Setup { wrapper, ..Setup::default() }.start();
    let login = |n: usize| {
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask(&format!("USER u{n}@localhost"), "+OK");
        let reply = client.send("PASS any").reply();
        (client, reply)
    };
    let (mut inside, outside): (Vec<_>, Vec<_>) =
        (0..100).map(login).partition(|(_, reply)| reply.starts_with("+OK"));
    assert!(inside.len() >= 12 && !outside.is_empty(), "{} of a hundred", inside.len());
    for (mut client, reply) in outside {
        assert_eq!(reply, "-ERR [SYS/TEMP] Too many mailboxes are open, try later\r\n");
        client.ask("NOOP", "-ERR");
    }
    for n in 0..100 {
        deliver(&server, &format!("new{n}@localhost"), b"Subject: x\r\n\r\n");
    }
    // A client that leaves makes room.
    let (client, _) = &mut inside[0];
    client.ask("QUIT", "+OK");
    let (_, reply) = login(200);
    assert!(reply.starts_with("+OK"), "{reply:?}");
}

/// Wraps a server in a descriptor limit. Descriptors that this process has inherited are closed first.
fn with_descriptors(limit: usize) -> String {
    format!("exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit -n {limit}; exec \"$@\"")
}

/// A new SMTP client of a server that may have to end another connection for it.
fn smtp_at_the_brim(server: &Server) -> Client {
    let mut client = eventually("a client is greeted", || {
        let mut client = Client::connect(server.smtp());
        client.line().starts_with(b"220 ").then_some(client)
    });
    client.ask("EHLO client.test", "250");
    client
}

/// Opens mailboxes and holds connections, as many as come in; then messages of every size must still be stored.
fn assert_mail_is_stored_at_the_brim(server: &Server, limit: usize, user: impl Fn(usize) -> String) {
    let mut sessions = Vec::new();
    for n in 0..limit / 4 {
        let mut client = Client::connect(server.pop3());
        if client.line().starts_with(b"+OK") {
            client.ask(&format!("USER {}", user(n)), "+OK");
            let reply = client.send(&format!("PASS {PASSWORD}")).reply();
            assert!(reply.starts_with("+OK") || reply.contains("Too many mailboxes"), "{limit}: {reply}");
            sessions.push((client, reply.starts_with("+OK")));
        }
    }
    assert!(sessions.iter().any(|(_, open)| *open), "{limit}: nobody could log in");
    let _idle: Vec<Client> = (0..limit + 20).map(|_| Client::connect(server.smtp())).collect();
    for n in 0..5 {
        let (one, other) = (user(1000 + n), user(2000 + n));
        let mut client = smtp_at_the_brim(server);
        let reply = client.deliver(&[&one], b"Subject: small\r\n\r\n");
        assert!(reply.starts_with("250 2.0.0 "), "{limit}: {reply}");
        let reply = client.deliver(&[&other], &lines(600_000));
        assert!(reply.starts_with("250 2.0.0 "), "{limit}: {reply}");
        // To as many as are taken.
        client.ask("MAIL FROM:<a@far.test>", "250");
        let mut most = 0;
        while most < 100
            && client.send(&format!("RCPT TO:<{}>", user(3000 + 100 * n + most))).reply().starts_with("250")
        {
            most += 1;
        }
        client.ask("DATA", "354");
        client.write(&stuffed(b"Subject: to all\r\n\r\n"));
        let reply = client.reply();
        assert!(most > 0 && reply.starts_with("250 2.0.0 "), "{limit}, to {most}: {reply}");
    }
    // Sessions that come and go leave indexes, whose mailboxes are closed when others need the room.
    for (mut client, _) in sessions.into_iter().filter(|(_, open)| *open) {
        client.ask("QUIT", "+OK");
    }
    for n in 0..6 {
        let mut client = Client::connect(server.pop3());
        if client.line().starts_with(b"+OK") {
            client.ask(&format!("USER {}", user(1000 + n)), "+OK");
            client.send(&format!("PASS {PASSWORD}")).reply();
            client.ask("QUIT", "");
        }
    }
    let log = server.log();
    for sign in ["os error 24", "Too many open files", "clients are sent away until"] {
        assert!(!log.contains(sign), "{limit}: {log}");
    }
}

#[test]
fn l04_m06_at_any_limit_of_descriptors_mail_is_stored_while_mailboxes_and_connections_are_full() {
    for limit in [64, 96, 128, 256, 512] {
        let limited = with_descriptors(limit);
        let wrapper = &["sh", "-c", &limited, "sh"];
        let server = Setup { wrapper, arguments: &["--no-imap"], ..Setup::default() }.start();
        assert_mail_is_stored_at_the_brim(&server, limit, |n| format!("u{n}@localhost"));
    }
}

#[test]
fn o07_below_the_least_number_of_descriptors_a_server_says_it_and_with_that_number_it_stores_mail() {
    let config = format!("transcripts = \"dialogues\"\n{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\n");
    let users: Vec<String> = (0..4100).map(|n| format!("u{n}@example.test")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    // This server is started only for the configuration file that it leaves.
    let server = Setup { config: Some(&config), users: &users[..1], ..Setup::default() }.start();
    let file = server.home.path().join("restante.toml");
    let mut needed = 48;
    for (command, code) in [("check", 2), ("serve", 1)] {
        let words = [env!("CARGO_BIN_EXE_restante"), command, "--config", file.to_str().unwrap()];
        let output =
            Command::new("sh").args(["-c", &with_descriptors(48), "sh"]).args(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let (_, number) = said.split_once("ulimit -n ").unwrap();
        needed = number.split(';').next().unwrap().parse().unwrap();
        assert!(said.contains(&format!("LimitNOFILE={needed}")), "{said}");
    }
    drop(server);
    for limit in [needed, needed + 50] {
        let limited = with_descriptors(limit);
        let wrapper = &["sh", "-c", &limited, "sh"];
        let server = Setup { config: Some(&config), users: &users, wrapper, ..Setup::default() }.start();
        server.signal(Signal::HUP);
        server.tells("configuration loaded");
        assert_mail_is_stored_at_the_brim(&server, limit, |n| format!("u{n}@example.test"));
        server.signal(Signal::HUP);
        server.signal(Signal::USR1);
        assert_mail_is_stored_at_the_brim(&server, limit, |n| format!("u{n}@example.test"));
    }
}

/// Leaves a running server thirty descriptors, which its own bound on connections knows nothing of, and takes
/// them all: accept and open fail from now on.
fn starve(server: &Server) -> Vec<Client> {
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count() as u64;
    let process = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let few = Rlimit { current: Some(open + 30), ..getrlimit(Resource::Nofile) };
    prlimit(process, Resource::Nofile, few).unwrap();
    let mut clients: Vec<Client> = (0..120).map(|_| Client::connect(server.smtp())).collect();
    clients[0].expect("220");
    clients
}

#[test]
fn m06_l04_the_server_outlives_a_shortage_of_descriptors_and_needs_no_push_to_recover() {
    let server = Server::dev();
    let mut early = Client::smtp(&server);
    let mut clients = starve(&server);
    let reply = early.deliver(&["bob@example.test"], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 ") || reply.starts_with("451 4.3.0 "), "{reply:?}");
    let waiting = clients.split_off(60);
    drop(clients);
    assert_recovered(&server, waiting);
    let reply = early.deliver(&["bob@example.test"], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
}

#[test]
fn l04_a_shortage_of_descriptors_that_lasts_costs_neither_time_nor_log() {
    let server = Server::dev();
    let _clients = starve(&server);
    let (ticks, lines) = (server.cpu_ticks(), server.log().lines().count());
    // The absence of something has no event to wait for. Twenty pauses of accept are enough for it to show.
    thread::sleep(Duration::from_secs(2));
    let (ticks, lines) = (server.cpu_ticks() - ticks, server.log().lines().count() - lines);
    assert!(ticks < 40, "{ticks} hundredths of a second of CPU in two seconds");
    assert!(lines < 50, "{lines} lines in the log in two seconds");
}

#[test]
fn a_server_short_of_descriptors_ends_when_asked() {
    let mut server = Server::dev();
    let clients = starve(&server);
    server.signal(Signal::TERM);
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn m01_a_full_disk_is_a_452_that_leaves_nothing_behind_and_passes() {
    let Some(disk) = SmallDisk::mount("1m") else {
        return skip(
            "m01_a_full_disk_is_a_452_that_leaves_nothing_behind_and_passes",
            "mounting a tmpfs needs root",
        );
    };
    let config = format!("{STRICT}\n[limits]\nsmtp.max_message_size = \"300 KiB\"\n");
    let spool = Some(disk.dir.path().join("spool"));
    let server = Setup { config: Some(&config), users: &[ALICE], spool, ..Setup::default() }.start();
    let maildir = server.maildir(ALICE);
    deliver(&server, ALICE, &lines(10_000));

    // The disk fills up after the message has begun: the write or the fsync finds out.
    let mut client = Client::smtp(&server);
    client.begin_data("a@far.test", &[ALICE]);
    let filler = disk.fill(0);
    client.write(&stuffed(&lines(200_000)));
    client.expect("452 4.3.1");
    eventually("tmp/ is empty", || maildir.files("tmp").is_empty().then_some(()));
    assert_eq!(maildir.files("new").len(), 1);

    // It is full before: the client need not send anything.
    let mut reply = client.send("MAIL FROM:<a@far.test> SIZE=200000").reply();
    if reply.starts_with("250") {
        client.ask("RSET", "250");
        reply = client.deliver(&[ALICE], &lines(200_000));
    }
    assert!(reply.starts_with("452 4.3.1 "), "{reply:?}");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");

    fs::remove_file(filler).unwrap();
    client.ask("RSET", "250");
    let reply = client.deliver(&[ALICE], &lines(200_000));
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    assert_eq!(maildir.files("new").len(), 2);
    assert!(maildir.files("tmp").is_empty());
}

#[test]
fn m09_a_maildir_that_was_removed_is_made_again_or_refused_in_good_order() {
    let server = Server::dev();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    fs::remove_dir_all(server.maildir(ALICE).path).unwrap();
    let mut client = Client::smtp(&server);
    let reply = client.deliver(&[ALICE], b"Subject: y\r\n\r\n");
    let files = server.maildir(ALICE).files("new").len();
    assert_eq!(files, usize::from(reply.starts_with("250 2.0.0 ")), "{reply:?}");
    assert!(reply.starts_with("250 ") || reply.starts_with("45"), "{reply:?}");
    client.ask("NOOP", "250");
}

#[test]
fn a_mailbox_that_cannot_be_written_is_a_451_for_its_own_mail_alone() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    fs::remove_dir_all(&maildir.path).unwrap();
    fs::write(&maildir.path, "not a Maildir").unwrap();
    let mut client = Client::smtp(&server);
    let reply = client.deliver(&[ALICE], b"Subject: y\r\n\r\n");
    assert!(reply.starts_with("451 4.3."), "{reply:?}");
    let reply = client.deliver(&["bob@example.test"], b"Subject: y\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    assert!(Path::new(&maildir.path).is_file());
}
