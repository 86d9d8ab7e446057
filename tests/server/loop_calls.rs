//! The loop waits for no file server: its calls to the kernel while every kind of work is going on, and the delay of
//! other sessions while a file is closed slowly.

use std::{
    fs::File,
    io::{Read, Write},
    time::{Duration, Instant},
};

use crate::common::{
    self, PASSWORD, STRICT, Server, Setup,
    client::{Client, deliver, socket, stuffed},
    eventually,
    inject::{Fault, can_inject},
};
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};

const MESSAGE: &[u8] = b"Subject: a letter\r\n\r\nIt is short.\r\n";
const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// Calls that wait for nothing but memory, a socket that does not block, and the kernel's own clocks.
const CANNOT_WAIT: [&str; 38] = [
    "accept4",
    "bind",
    "brk",
    "clock_gettime",
    "clone",
    "clone3",
    "connect",
    "epoll_ctl",
    "epoll_wait",
    "futex",
    "getpeername",
    "getpid",
    "getrandom",
    "getsockname",
    "getsockopt",
    "gettid",
    "listen",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "prlimit64",
    "recvfrom",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "setsockopt",
    "shutdown",
    "sigaltstack",
    "socket",
    "epoll_pwait",
];

/// Calls that wait for nothing if their descriptor is one of these.
const ON_A_DESCRIPTOR: [&str; 8] = ["close", "fcntl", "ioctl", "read", "readv", "recvmsg", "write", "writev"];
const HARMLESS: [&str; 5] = ["<socket:", "<TCP", "<UNIX", "<anon_inode:", "<pipe:"];

/// Calls that the kernel refuses with EAGAIN rather than wait, if they have this flag; and the size of a file that is
/// open, which is in memory.
const REFUSED_RATHER_THAN_WAIT: [(&str, &str); 3] =
    [("openat2", "RESOLVE_CACHED"), ("preadv2", "RWF_NOWAIT"), ("fstat", "")];

/// The lines of a trace whose calls a file server could delay.
fn calls_that_may_wait(trace: &str) -> Vec<&str> {
    let may_wait = |line: &&str| {
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let Some((call, arguments)) = line.split_once('(') else {
            return false; // signals, and the end of strace
        };
        // glibc asks the kernel once, before it gives the memory of a thread back.
        if arguments.contains("/proc/sys/vm/overcommit_memory") {
            return false;
        }
        let refused = |(name, flag): &(&str, &str)| *name == call && arguments.contains(flag);
        if call.contains(' ') || CANNOT_WAIT.contains(&call) || REFUSED_RATHER_THAN_WAIT.iter().any(refused) {
            return false;
        }
        let descriptor = arguments.split([',', ')']).next().unwrap_or_default();
        !(ON_A_DESCRIPTOR.contains(&call) && HARMLESS.iter().any(|kind| descriptor.contains(kind)))
    };
    trace.lines().filter(may_wait).collect()
}

#[test]
fn a_trace_is_judged_by_its_calls_and_their_descriptors() {
    let trace = "epoll_wait(4<anon_inode:[eventpoll]>, [], 1024, 5000) = 0\n\
                 close(9<TCP:[127.0.0.1:1->127.0.0.1:2]>) = 0\nclose(9<socket:[123]>) = 0\n\
                 close(9</spool/bob/.restante.lock>) = 0\nopenat(AT_FDCWD</>, \"/etc/localtime\", O_RDONLY) = 3\n\
                 read(3</etc/localtime>, \"\", 1) = 0\n--- SIGHUP {si_signo=SIGHUP} ---\n\
                 write(6<anon_inode:[eventfd]>, \"\\1\", 8) = 8\nunlink(\"/run/x(y)\") = 0\n\
                 openat2(7</spool>, \"a\", {flags=O_RDONLY, resolve=RESOLVE_BENEATH}, 24) = 8\n\
                 openat2(7</spool>, \"a\", {flags=O_RDONLY, resolve=RESOLVE_CACHED}, 24) = 8\n\
                 preadv2(8</spool/a>, [], 1, 0, RWF_NOWAIT) = -1 EAGAIN\npreadv2(8</spool/a>, [], 1, 0, 0) = 1\n";
    let bad: Vec<&str> =
        calls_that_may_wait(trace).iter().map(|line| line.split('(').next().unwrap()).collect();
    assert_eq!(bad, ["close", "openat", "read", "unlink", "openat2", "preadv2"]);
}

/// Everything that sessions, signals and timers can ask for.
fn busy(server: &Server, users: &[String], round: usize) {
    let large: Vec<u8> =
        [b"Subject: large\r\n\r\n".to_vec(), b"a line of a large message\r\n".repeat(4000)].concat();
    for user in users {
        deliver(server, user, MESSAGE);
        deliver(server, user, &large);
        let mut client = Client::pop3(server, user);
        client.ask("STAT", "+OK 2");
        client.retr(1);
        client.retr(2);
        client.ask("DELE 1", "+OK");
        client.ask("DELE 2", "+OK");
        client.ask("QUIT", "+OK");
        // One session that changes nothing, and below one that leaves in the midst of a message.
        Client::pop3(server, user).ask("QUIT", "+OK");
    }
    deliver(server, &users[0], &large);
    let mut aborted = Client::pop3(server, &users[0]);
    aborted.send("RETR 1").expect("+OK");
    drop(aborted);
    let mut begun = Client::smtp(server);
    begun.ask("MAIL FROM:<a@far.test>", "250");
    begun.ask(&format!("RCPT TO:<{}>", users[1]), "250");
    begun.ask("DATA", "354");
    begun.write(&stuffed(&large)[..90_000]);
    eventually("its file is begun", || (!server.maildir(&users[1]).files("tmp").is_empty()).then_some(()));
    drop(begun);
    eventually("its file is gone", || server.maildir(&users[1]).files("tmp").is_empty().then_some(()));
    let mut wrong = Client::connect(server.pop3());
    wrong.expect("+OK");
    wrong.ask(&format!("USER {}", users[0]), "+OK");
    wrong.ask("PASS wrong", "-ERR");
    server.signal(Signal::HUP);
    eventually("it is loaded", || {
        (server.log().matches("configuration loaded").count() > round).then_some(())
    });
    server.signal(Signal::USR1);
    eventually("the figures are told", || {
        (server.log().matches("status resident_memory").count() > round).then_some(())
    });
    let mut client = Client::pop3(server, &users[0]);
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
}

#[test]
fn r7_the_loop_asks_the_kernel_for_nothing_that_a_file_server_can_delay() {
    if !can_inject("r7_the_loop_asks_the_kernel_for_nothing_that_a_file_server_can_delay") {
        return;
    }
    let users: Vec<String> = (0..6).map(|n| format!("u{n}@example.test")).collect();
    let home = common::home();
    let config = format!(
        "transcripts = {:?}\n{STRICT}\n[[listen]]\nprotocol = \"lmtp\"\naddress = {:?}\n[limits]\n\
         auth.failure_delay = \"0s\"\ndelivery.spill_threshold = \"4 KiB\"\ndisk.read_size = \"4 KiB\"\n\
         index.max_mailboxes = 2\nindex.idle_timeout = \"1s\"\nauth.reload_interval = \"1s\"\n",
        home.path().join("transcripts"),
        format!("unix:{}", home.path().join("lmtp").display()),
    );
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let server = Setup { config: Some(&config), users: &names, ..Setup::default() }.start();
    let trace = Fault::new("all").of("restante").traced(&server, || {
        busy(&server, &users, 0);
        // One listener goes, and its socket's file with it.
        let file = server.home.path().join("restante.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once("[[listen]]\nprotocol = \"lmtp\"").unwrap();
        let (_, limits) = rest.split_once("[limits]").unwrap();
        std::fs::write(&file, format!("{before}[limits]{limits}")).unwrap();
        busy(&server, &users, 1);
        eventually("the socket is gone", || (!home.path().join("lmtp").exists()).then_some(()));
    });
    assert!(trace.matches("epoll_wait").count() > 100, "the loop was traced");
    let may_wait = calls_that_may_wait(&trace);
    assert!(may_wait.is_empty(), "{} calls:\n{}", may_wait.len(), may_wait.join("\n"));
}

#[test]
fn v95_a_page_that_waits_for_a_disk_delays_no_reader_of_mail() {
    if !can_inject("v95_a_page_that_waits_for_a_disk_delays_no_reader_of_mail") {
        return;
    }
    let server = Server::dev();
    deliver(&server, ALICE, MESSAGE);
    Fault::new("getdents64:delay_enter=2s:when=1+2").of("web").during(&server, || {
        let began = Instant::now();
        let mut http = socket(server.addresses("http")[0]);
        http.write_all(b"GET /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut alice = Client::pop3(&server, ALICE);
        alice.ask("RETR 1", "+OK");
        alice.text();
        let read = began.elapsed();
        let mut page = String::new();
        http.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200") && page.contains(ALICE), "{page}");
        assert!(began.elapsed() > read + Duration::from_secs(1), "the page waited for the disk");
    });
}

/// Whether no session has the lock of that mailbox.
fn is_free(server: &Server, user: &str) -> bool {
    let file = File::open(server.maildir(user).path.join(".restante.lock")).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

#[test]
fn r7_a_slow_close_of_a_lock_delays_its_own_session_alone_which_is_told_when_it_is_done() {
    if !can_inject("r7_a_slow_close_of_a_lock_delays_its_own_session_alone_which_is_told_when_it_is_done") {
        return;
    }
    for (end, what) in [("QUIT", "nothing to do"), ("DELE", "a deletion"), ("drop", "a lost connection")] {
        let server = Server::strict();
        deliver(&server, ALICE, MESSAGE);
        let mut bob = Client::pop3(&server, BOB);
        let mut alice = Client::pop3(&server, ALICE);
        let lock = server.maildir(ALICE).path.join(".restante.lock");
        Fault::new("close:delay_enter=3s").on(lock).during(&server, || {
            if end == "DELE" {
                alice.ask("DELE 1", "+OK");
            }
            let mut alice = if end == "drop" {
                drop(alice);
                let mut again = Client::connect(server.pop3());
                again.expect("+OK");
                again.ask(&format!("USER {ALICE}"), "+OK");
                again.send(&format!("PASS {PASSWORD}"));
                again
            } else {
                alice.send("QUIT");
                alice
            };
            for _ in 0..50 {
                bob.ask("NOOP", "+OK");
            }
            assert!(!is_free(&server, ALICE), "{what}: it was closed before others were answered");
            alice.expect("+OK");
            if end != "drop" {
                assert!(is_free(&server, ALICE), "{what}: it is told before it is free");
            }
        });
    }
}
