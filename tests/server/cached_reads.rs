//! RETR of small messages: the loop sends those that are in memory, with few calls, and workers read the others.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::IoSliceMut,
    path::Path,
    time::{Duration, Instant},
};

use crate::common::{
    Maildir, PATIENCE, STRICT, Server, Setup,
    client::{Client, deliver},
    inject::{Fault, can_inject},
    skip,
};
use rustix::{
    fs::{Advice, fadvise, statfs},
    io::{Errno, ReadWriteFlags, preadv2},
};

const MESSAGE: &[u8] = b"Subject: a letter\r\n\r\nIt is short.\r\n";
const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

const MESSAGES: usize = 20;
const NOT_FROM_MEMORY: &str = "the loop reads no messages on the file system of the tests";

/// A server whose mailbox of Alice has [`MESSAGES`] messages, and a session of Alice.
fn with_messages() -> (Server, Client) {
    with(MESSAGE)
}

/// The same with that message.
fn with(message: &[u8]) -> (Server, Client) {
    // The file of the metrics would wake a thread.
    let config = format!("{STRICT}\n[metrics]\ninterval = \"1h\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() }.start();
    for _ in 0..MESSAGES {
        deliver(&server, ALICE, message);
    }
    let mut alice = Client::pop3(&server, ALICE);
    alice.ask("STAT", &format!("+OK {MESSAGES}"));
    (server, alice)
}

/// Drops the contents of the messages from memory.
fn drop_from_memory(maildir: &Maildir) {
    for subdir in ["new", "cur"] {
        for name in maildir.files(subdir) {
            let file = File::open(maildir.path.join(subdir).join(name)).unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    }
}

/// Whether the loop reads messages from memory on the file system of the tests: the list is that of `src/maildir/remote_fs.rs`.
fn has_cached_reads(server: &Server) -> bool {
    let kind = statfs(server.home.path()).unwrap().f_type as u64 & 0xffff_ffff;
    [0xef53, 0x5846_5342, 0x0102_1994].contains(&kind)
}

/// Whether the file system of the tests reads messages from memory, and can drop them from it.
fn has_cold_files(home: &Path) -> bool {
    let path = home.join("probe");
    fs::write(&path, "probe").unwrap();
    let file = File::open(&path).unwrap();
    file.sync_all().unwrap();
    let read = || preadv2(&file, &mut [IoSliceMut::new(&mut [0])], 0, ReadWriteFlags::NOWAIT);
    let warm = read();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    (warm, read()) == (Ok(1), Err(Errno::AGAIN))
}

#[test]
fn r7_messages_in_memory_are_read_without_a_worker() {
    if !can_inject("r7_messages_in_memory_are_read_without_a_worker") {
        return;
    }
    let (server, mut alice) = with_messages();
    in_some_round(|| {
        let workers = Fault::new("openat,openat2,pread64,preadv2,read").of("disk").traced(&server, || {
            (1..=MESSAGES).for_each(|n| drop(alice.retr(n)));
        });
        if workers.contains("/new/") { Err(format!("a worker read a message:\n{workers}")) } else { Ok(()) }
    });
}

#[test]
fn r7_messages_that_are_not_in_memory_are_read_by_workers_and_a_slow_disk_holds_up_nobody_else() {
    let test = "r7_messages_that_are_not_in_memory_are_read_by_workers_and_a_slow_disk_holds_up_nobody_else";
    if !can_inject(test) {
        return;
    }
    let (server, mut alice) = with_messages();
    if !has_cold_files(server.home.path()) {
        return skip(test, "the file system of the tests does not tell what is in memory");
    }
    drop_from_memory(&server.maildir(ALICE));
    let trace = Fault::new("preadv2,pread64").traced(&server, || {
        (1..=MESSAGES).for_each(|n| drop(alice.retr(n)));
    });
    // The kernel may keep a page that another processor has just used.
    let count = |part: &str| trace.lines().filter(|l| l.contains(part)).count();
    let from_memory = count("preadv2(") - count(" = -1 EAGAIN");
    let by_workers = count("pread64(");
    assert!(by_workers > 0, "the loop read all messages:\n{trace}");
    assert_eq!(from_memory + by_workers, MESSAGES, "{trace}");
    drop_from_memory(&server.maildir(ALICE));
    let mut bob = Client::pop3(&server, BOB);
    Fault::new("pread64:delay_enter=5s:when=1").of("disk").during(&server, || {
        alice.send(&(1..=MESSAGES).map(|n| format!("RETR {n}")).collect::<Vec<_>>().join("\r\n"));
        (0..50).for_each(|_| drop(bob.ask("NOOP", "+OK")));
        let bobs = Instant::now();
        for _ in 0..MESSAGES {
            alice.expect("+OK");
            alice.text();
        }
        assert!(bobs.elapsed() > Duration::from_secs(1), "the others were answered while the disk was slow");
    });
}

/// A message of 4 KiB.
fn four_kib() -> Vec<u8> {
    [MESSAGE, &b"a line of sixty-four octets, which many messages have in them.\r\n".repeat(62)].concat()
}

/// Repeats a round until it shows that. A loop that waited for a processor leaves the reads to workers for ten seconds, and
/// timers go off every few seconds.
#[track_caller]
fn in_some_round(mut round: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while let Err(why) = round() {
        assert!(began.elapsed() < 4 * PATIENCE, "{why}");
    }
}

/// The number of waits of each thread of the server, by the thread's number.
fn waits(server: &Server) -> BTreeMap<String, u64> {
    let tasks =
        fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().map(|task| task.unwrap().path());
    let of_thread = |task: std::path::PathBuf| {
        let status = fs::read_to_string(task.join("status")).unwrap();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        (task.file_name().unwrap().to_string_lossy().into_owned(), count.trim().parse().unwrap())
    };
    tasks.map(of_thread).collect()
}

#[test]
fn r23_messages_in_memory_are_sent_by_one_thread_which_waits_for_the_next_command_alone() {
    let test = "r23_messages_in_memory_are_sent_by_one_thread_which_waits_for_the_next_command_alone";
    let (server, mut alice) = with(&four_kib());
    if !has_cached_reads(&server) {
        return skip(test, NOT_FROM_MEMORY);
    }
    in_some_round(|| {
        let before = waits(&server);
        (1..=MESSAGES).for_each(|n| drop(alice.retr(n)));
        let new = waits(&server).into_iter().map(|(id, now)| (now - before.get(&id).unwrap_or(&0), id));
        let woken: Vec<(u64, String)> = new.filter(|(count, _)| *count > 0).collect();
        // One wait for each command: the client sends the next one after it has read the message.
        let is_right =
            |(count, id): &(u64, String)| *id == server.pid().to_string() && *count <= MESSAGES as u64 + 1;
        if woken.iter().all(is_right) { Ok(()) } else { Err(format!("waits by threads: {woken:?}")) }
    });
}

#[test]
fn r23_a_message_in_memory_costs_seven_calls() {
    let test = "r23_a_message_in_memory_costs_seven_calls";
    if !can_inject(test) {
        return;
    }
    let (server, mut alice) = with(&four_kib());
    if !has_cached_reads(&server) {
        return skip(test, NOT_FROM_MEMORY);
    }
    in_some_round(|| {
        let trace = Fault::new("all").of("restante").traced(&server, || {
            (1..=MESSAGES).for_each(|n| drop(alice.retr(n)));
        });
        let mut calls = BTreeMap::new();
        for line in trace.lines().filter(|line| line.contains(" = ")) {
            *calls.entry(line.split('(').next().unwrap()).or_insert(0) += 1;
        }
        // One turn of the loop for each; the first wait was there before, and strace may have interrupted it.
        let turns = calls.remove("clock_gettime").unwrap_or(0);
        let waits: usize =
            ["epoll_wait", "restart_syscall"].iter().filter_map(|call| calls.remove(call)).sum();
        let expected = CALLS.map(|call| (call, MESSAGES)).into();
        if calls == expected && turns.max(waits) <= MESSAGES + 1 {
            Ok(())
        } else {
            Err(format!("{turns} turns, {waits} waits, {calls:?}:\n{trace}"))
        }
    });
}

/// The calls of one RETR beside those of a turn, `epoll_wait` and the time that the thread has used. The file is closed later, by another thread, together with others.
const CALLS: [&str; 5] = ["recvfrom", "openat2", "fstat", "preadv2", "sendto"];

#[test]
fn r23_ten_messages_that_are_asked_for_at_once_are_sent_in_one_write() {
    let test = "r23_ten_messages_that_are_asked_for_at_once_are_sent_in_one_write";
    if !can_inject(test) {
        return;
    }
    let (server, mut alice) = with(&four_kib());
    if !has_cached_reads(&server) {
        return skip(test, NOT_FROM_MEMORY);
    }
    let octets = alice.listing("LIST");
    in_some_round(|| {
        let trace = Fault::new("sendto,sendmsg,write,writev").of("restante").traced(&server, || {
            alice.write((1..=10).map(|n| format!("RETR {n}\r\n")).collect::<String>().as_bytes());
            for n in 1..=10 {
                alice.expect("+OK");
                assert_eq!(alice.text().len().to_string(), octets[n - 1]);
            }
        });
        let writes = trace.lines().filter(|line| line.contains("\"+OK ")).count();
        if writes == 1 { Ok(()) } else { Err(format!("{writes} writes:\n{trace}")) }
    });
}

#[test]
fn r24_without_openat2_workers_read() {
    if !can_inject("r24_without_openat2_workers_read") {
        return;
    }
    let (server, mut alice) = with_messages();
    let old_kernel = Fault::new("openat2:error=ENOSYS").of("restante");
    let workers = Fault::new("pread64").of("disk").traced(&server, || {
        old_kernel.during(&server, || {
            (1..=MESSAGES).for_each(|n| assert!(alice.retr(n).ends_with(MESSAGE)));
        });
    });
    assert_eq!(workers.matches("/new/").count(), MESSAGES, "{workers}");
}

#[test]
fn r25_a_worker_reads_ahead_for_a_session_that_goes_on_in_order() {
    let test = "r25_a_worker_reads_ahead_for_a_session_that_goes_on_in_order";
    if !can_inject(test) {
        return;
    }
    // With one worker, a job is done when the next one is.
    let config = format!("{STRICT}\n[limits]\ndisk.workers = 1\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    if !has_cold_files(server.home.path()) {
        return skip(test, "the file system of the tests does not tell what is in memory");
    }
    for _ in 0..MESSAGES {
        deliver(&server, ALICE, MESSAGE);
    }
    let maildir = server.maildir(ALICE);
    // A processor may keep a page that it has just used, and a slow disk may have read nothing when the loop looks.
    in_some_round(|| {
        drop_from_memory(&maildir);
        let mut alice = Client::pop3(&server, ALICE);
        let begun = Fault::new("fadvise64,pread64").of("disk").traced(&server, || {
            drop(alice.retr(1));
            drop(alice.retr(MESSAGES));
        });
        let read = Fault::new("pread64").of("disk").traced(&server, || {
            (2..=9).for_each(|n| drop(alice.retr(n)));
        });
        alice.ask("QUIT", "+OK");
        let is_message = |line: &&str| line.contains("/new/") || line.contains("/cur/");
        let ahead = begun.matches("POSIX_FADV_WILLNEED").count();
        let by_worker = read.lines().filter(is_message).count();
        let told = format!("{ahead} ahead, and then {by_worker} by the worker:\n{begun}{read}");
        if (ahead, by_worker) == (8, 0) { Ok(()) } else { Err(told) }
    });
}
