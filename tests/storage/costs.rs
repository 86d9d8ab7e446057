//! The cost of a login, a TOP, a QUIT and a restart, in calls to the system: an open mailbox is not scanned again, a
//! message is not read further than it is shown, and no file is counted twice.

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, deliver, session_with},
    eventually, faketime,
    inject::{Fault, can_inject},
    installed, skip,
};

const ALICE: &str = "alice@example.test";
const MESSAGES: usize = 300;

/// A mailbox with so many messages of another program.
fn filled(server: &Server) {
    let maildir = server.maildir(ALICE);
    for n in 0..MESSAGES {
        maildir.put(&format!("{}.M1P1.elsewhere", 1_700_000_000 + n), b"Subject: x\n\n.x\n");
    }
}

/// The calls of those names that the server makes about its messages during a login.
fn calls_of_a_login(server: &Server, names: &str) -> Vec<String> {
    let trace = Fault::new(names).traced(server, || {
        session_with(server, ALICE, MESSAGES).ask("QUIT", "+OK");
    });
    // strace writes a call that another thread's interrupts in two lines.
    let about = |line: &&str| {
        !line.contains(" resumed>") && ["/new", "/cur", ".elsewhere"].iter().any(|word| line.contains(word))
    };
    trace.lines().filter(about).map(str::to_owned).collect()
}

const LOOKS: &str = "openat,getdents64,newfstatat,statx,faccessat,faccessat2";

#[test]
fn a_login_to_an_open_mailbox_looks_at_no_message() {
    if !can_inject("a_login_to_an_open_mailbox_looks_at_no_message") {
        return;
    }
    let server = Server::dev();
    filled(&server);
    let first = calls_of_a_login(&server, LOOKS);
    assert!(first.len() > MESSAGES, "each is looked at once: {}", first.len());
    let next = calls_of_a_login(&server, LOOKS);
    let looked = |call: &&String| call.contains("getdents") || call.contains(".elsewhere");
    assert_eq!(next.iter().find(looked), None);
    assert!(next.len() < 20, "{next:#?}");
}

#[test]
fn g03_a_restart_reads_no_message_again() {
    if !can_inject("g03_a_restart_reads_no_message_again") {
        return;
    }
    let mut server = Server::dev();
    filled(&server);
    let opens = |server: &Server| {
        let calls = calls_of_a_login(server, "openat");
        calls.iter().filter(|call| call.contains(".elsewhere")).count()
    };
    assert_eq!(opens(&server), MESSAGES);
    server.restart();
    assert_eq!(opens(&server), 0);
    // Torn and foreign records are not believed, and the server reads only their messages again.
    let kept = server.maildir(ALICE).path.join(".restante.index");
    let mut bytes = fs::read(&kept).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept, &bytes[..bytes.len() - 1]).unwrap();
    server.restart();
    assert_eq!(opens(&server), 2);
    fs::write(&kept, "Dear friend,\n").unwrap();
    server.restart();
    assert_eq!(opens(&server), MESSAGES);
}

#[test]
fn x10_a_message_is_deleted_without_being_opened_and_all_of_them_in_few_calls() {
    if !can_inject("x10_a_message_is_deleted_without_being_opened_and_all_of_them_in_few_calls") {
        return;
    }
    let server = Server::dev();
    filled(&server);
    let mut client = session_with(&server, ALICE, MESSAGES);
    for number in 1..=MESSAGES {
        client.ask(&format!("DELE {number}"), "+OK");
    }
    let calls = "openat,newfstatat,unlinkat,fstat,close,renameat,renameat2,linkat,fsync,getdents64";
    let trace = Fault::new(calls).traced(&server, || {
        client.ask("QUIT", "+OK");
        session_with(&server, ALICE, 0); // it waits for whatever the QUIT has left to be looked at
    });
    let of = |call: &str, about: &str| {
        let is_it = |line: &&str| line.contains(&format!("{call}(")) && line.contains(about);
        trace.lines().filter(is_it).count()
    };
    assert_eq!(of("unlinkat", ".elsewhere"), MESSAGES);
    assert_eq!(of("openat", ".elsewhere"), 0, "{trace}");
    assert_eq!(of("fsync", "/new"), 1);
    assert_eq!(of("fsync", "/cur"), 1);
    // Each directory is read once, whatever was in it.
    assert!(of("getdents64", "") <= 10, "{trace}");
    // One call before the deletion, and the deletion. The index makes none, because the watch reports the name.
    let about_messages = trace.lines().filter(|line| line.contains(".elsewhere")).count();
    assert_eq!(about_messages, 2 * MESSAGES);
}

#[test]
fn x10_one_message_of_many_is_deleted_without_reading_the_directories() {
    if !can_inject("x10_one_message_of_many_is_deleted_without_reading_the_directories") {
        return;
    }
    let server = Server::dev();
    filled(&server);
    let mut client = session_with(&server, ALICE, MESSAGES);
    client.ask("DELE 2", "+OK");
    let trace = Fault::new("getdents64,unlinkat").traced(&server, || drop(client.ask("QUIT", "+OK")));
    let of = |call: &str| trace.lines().filter(|line| line.contains(&format!("{call}("))).count();
    assert_eq!((of("unlinkat"), of("getdents64")), (1, 0), "{trace}");
}

#[test]
fn x10_a_message_goes_under_all_its_names_however_many_are_deleted() {
    for deleted in [1, MESSAGES] {
        let server = Server::dev();
        filled(&server);
        let maildir = server.maildir(ALICE).path;
        let mut client = session_with(&server, ALICE, MESSAGES);
        let name = format!("{}.M1P1.elsewhere", 1_700_000_000);
        let other = maildir.join("cur").join(format!("{name}:2,S"));
        fs::hard_link(maildir.join("new").join(&name), &other).unwrap();
        // Another file of the same identity stays, because no client has read it.
        let stranger = maildir.join("cur").join(format!("{name}:2,F"));
        fs::write(&stranger, "Subject: x\n\n.x\n").unwrap();
        for number in 1..=deleted {
            client.ask(&format!("DELE {number}"), "+OK");
        }
        client.ask("QUIT", "+OK");
        assert!(!other.exists() && stranger.exists(), "{deleted} deleted");
        assert_eq!(fs::read_dir(maildir.join("new")).unwrap().count(), MESSAGES - deleted);
    }
}

#[test]
fn p04_top_reads_no_more_than_it_shows() {
    if !can_inject("p04_top_reads_no_more_than_it_shows") {
        return;
    }
    let server = Server::dev();
    let long = [b"Subject: long\n\n".to_vec(), b"a line of it\n".repeat(500_000)].concat();
    server.maildir(ALICE).put("1700000000.M1P1.elsewhere", &long);
    let mut client = session_with(&server, ALICE, 1);
    let trace = Fault::new("pread64").traced(&server, || {
        client.ask("TOP 1 3", "+OK");
        assert_eq!(client.text().iter().filter(|&&octet| octet == b'\n').count(), 5);
    });
    let read = trace.lines().filter_map(|line| line.rsplit_once("= ")?.1.trim().parse::<usize>().ok());
    let octets: usize = read.sum();
    assert!((1..=256 << 10).contains(&octets), "{octets} octets of {}\n{trace}", long.len());
}

#[test]
fn m12_a_server_removes_what_was_left_in_tmp_for_36_hours() {
    if !installed("faketime") || faketime().is_none() {
        return skip("m12_a_server_removes_what_was_left_in_tmp_for_36_hours", "faketime is not installed");
    }
    let mut server = Server::dev();
    let left = server.maildir(ALICE).path.join("tmp/1700000000.M1P1.elsewhere");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
    fs::write(&left, "half a mess").unwrap();
    server.restart();
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
    assert!(left.exists());
    let spool = Some(server.spool.clone());
    server.kill();
    // The operator confirms that date.
    let date = SystemTime::now() + Duration::from_secs(37 * 3600);
    let seconds = date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    fs::write(server.spool.join(".restante.clock"), seconds.to_string()).unwrap();
    let _later = Setup { wrapper: &["faketime", "-f", "+37h"], spool, ..Setup::default() }.start();
    eventually("it is gone", || (!left.exists()).then_some(()));
}

/// The wakes of the loop in five seconds in which nothing happens.
fn wakes(server: &Server) -> Vec<String> {
    let idle = Fault::new("epoll_wait,epoll_pwait,epoll_pwait2").of("restante");
    let trace = idle.traced(server, || thread::sleep(Duration::from_secs(5)));
    trace.lines().filter(|line| line.contains(" = ")).map(str::to_owned).collect()
}

/// Bound of the wakes: the housekeeping every five seconds with three answers at most, a last tick, and a new read of
/// accounts that are young.
const FEW_WAKES: usize = 9;

#[test]
fn x10_an_idle_loop_wakes_to_keep_house_and_for_no_one_who_is_gone() {
    if !can_inject("x10_an_idle_loop_wakes_to_keep_house_and_for_no_one_who_is_gone") {
        return;
    }
    // With these limits the deadlines of the sessions would fall into the measurement.
    let config =
        format!("{STRICT}\n[limits]\nsmtp.greeting_timeout = \"5s\"\nsmtp.command_timeout = \"5s\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let fresh = wakes(&Server::dev());
    assert!(fresh.len() <= FEW_WAKES, "when it was fresh: {fresh:#?}");
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(server.smtp())).collect();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    session_with(&server, ALICE, 1).ask("QUIT", "+OK");
    for client in &mut clients {
        client.expect("220");
        client.ask("QUIT", "221");
        assert!(client.line().is_empty());
    }
    drop(clients);
    let open = || fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    eventually("all are gone", || (open() < 100).then_some(()));
    let after = wakes(&server);
    assert!(after.len() <= FEW_WAKES, "when 200 had gone: {after:#?}");
}
