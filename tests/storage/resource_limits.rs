//! The limits of the machine: the size of a file, threads, memory. A message that comes in is delivered once or refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, deliver},
    configuration, eventually, home, installed, skip,
    tools::Desk,
};
use rustix::process::geteuid;

const ALICE: &str = "alice@example.test";

#[test]
fn m02_a_file_size_limit_refuses_a_message_and_ends_no_server() {
    // 1024 blocks of 512 octets; a process that writes more gets SIGXFSZ, which by default ends it.
    let server =
        Setup { wrapper: &["sh", "-c", "ulimit -f 1024; exec \"$@\"", "sh"], ..Setup::default() }.start();
    let mut client = Client::smtp(&server);
    let large = &b"a line of text\r\n"[..].repeat(100_000);
    let reply = client.deliver(&[ALICE], large);
    assert!(reply.starts_with("452 4.2.2 "), "{reply:?}");
    let maildir = server.maildir(ALICE);
    eventually("tmp/ is empty", || maildir.files("tmp").is_empty().then_some(()));
    let reply = client.deliver(&[ALICE], b"Subject: small\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
}

/// Starts the server as a user whose threads are counted, who then owns the directory.
const AS_NOBODY: &[&str] = &[
    "sh",
    "-c",
    r#"for last; do :; done
        chown -R 65534:65534 "$(dirname "$last")"
        exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@""#,
    "sh",
];

#[test]
fn without_a_thread_to_be_had_a_message_for_many_is_delivered_once() {
    let test = "without_a_thread_to_be_had_a_message_for_many_is_delivered_once";
    if !installed("setpriv") || !installed("prlimit") {
        return skip(test, "setpriv or prlimit is not installed");
    }
    let wrapper = if geteuid().is_root() { AS_NOBODY } else { &[] };
    let server = Setup { wrapper, ..Setup::default() }.start();
    let users: Vec<String> = (0..6).map(|n| format!("user{n}@example.test")).collect();
    let to: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut client = Client::smtp(&server);
    let mut tries = 0;
    for threads in [None, Some(1)] {
        if let Some(most) = threads {
            // Only that user may do this without a capability.
            let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            let own = if geteuid().is_root() { &as_nobody[..] } else { &["env"] };
            let mut limit = Command::new(own[0]);
            limit.args(&own[1..]).args(["prlimit", &format!("--nproc={most}"), "--pid"]);
            assert!(limit.arg(server.pid().to_string()).status().unwrap().success());
        }
        for spilled in [false, true] {
            for _ in 0..5 {
                let lines = if spilled { 20_000 } else { 1 };
                let body = [b"Subject: x\r\n\r\n", &b"a line of text\r\n"[..].repeat(lines)[..]].concat();
                let reply = client.deliver(&to, &body);
                assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
                tries += 1;
                for user in &users {
                    let maildir = server.maildir(user);
                    assert_eq!(
                        (maildir.files("new").len(), maildir.files("tmp").len()),
                        (tries, 0),
                        "{user}"
                    );
                }
            }
        }
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn workers_that_cannot_all_be_had_are_refused_at_the_start_with_key_and_limit() {
    let test = "workers_that_cannot_all_be_had_are_refused_at_the_start_with_key_and_limit";
    let backend = Desk::new();
    if !installed("setpriv") || !installed("prlimit") || !backend.give_away() {
        return skip(test, "setpriv or prlimit is not installed, or this is not root");
    }
    let config = format!("{STRICT}\n[limits]\ndisk.workers = 200\n");
    let file = backend.file("restante.toml", configuration(&backend.path(""), &backend.spool, &config));
    let users = backend.file("users.json", "{}");
    for path in [&file, &users] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    // Other tests may run as this user; the limit is far from what these threads need.
    let run = |command: &str, most: &str| {
        let mut run = Command::new("prlimit");
        run.args([&format!("--nproc={most}"), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        run.args([env!("CARGO_BIN_EXE_restante"), command, "--config"]).arg(&file);
        run.output().unwrap()
    };
    for command in ["check", "serve"] {
        let output = run(command, "100");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        for part in ["limits.disk.workers", "200", "RLIMIT_NPROC of 100", "TasksMax="] {
            assert!(said.contains(part), "{command}: {part:?} is not in {said:?}");
        }
    }
    assert!(run("check", "50000").status.success());
}

/// A control group that limits threads, as long as this lives.
struct PidsGroup(PathBuf);

impl PidsGroup {
    /// `None` where none can be made.
    fn new() -> Option<Self> {
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].into_iter().find_map(|root| {
            let group = Path::new(root).join(format!("restante-test-{}", std::process::id()));
            fs::create_dir(&group).ok()?;
            let group = Self(group);
            group.0.join("pids.max").exists().then_some(group)
        })
    }

    fn write(&self, file: &str, value: impl ToString) {
        fs::write(self.0.join(file), value.to_string()).unwrap();
    }
}

impl Drop for PidsGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0); // it is empty, or the machine has one more
    }
}

#[test]
fn a_control_group_that_is_full_doubles_no_message() {
    let test = "a_control_group_that_is_full_doubles_no_message";
    let Some(group) = PidsGroup::new() else {
        return skip(test, "no control group can be made that limits threads");
    };
    let server = Server::dev();
    let mut client = Client::smtp(&server);
    group.write("cgroup.procs", server.pid());
    group.write("pids.max", 1);
    let to = ["a@example.test", "b@example.test", "c@example.test", "d@example.test"];
    for tries in 1..=5 {
        let reply = client.deliver(&to, b"Subject: x\r\n\r\n");
        assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
        for user in to {
            let maildir = server.maildir(user);
            assert_eq!((maildir.files("new").len(), maildir.files("tmp").len()), (tries, 0), "{user}");
        }
    }
    drop(server);
    // A server in a group that is too small does not start.
    let entered = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.0.display());
    let spool = home();
    group.write("pids.max", 9);
    let output = Command::new("sh")
        .args(["-c", &entered, "sh", env!("CARGO_BIN_EXE_restante"), "dev", "--smtp", "127.0.0.1:0"])
        .args(["--pop3", "127.0.0.1:0", "--spool"])
        .arg(spool.path().join("spool"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("pids.max of 9") && said.contains("limits.disk.workers"), "{said}");
}

#[test]
fn r14_without_memory_no_message_is_both_visible_and_refused() {
    let test = "r14_without_memory_no_message_is_both_visible_and_refused";
    if !installed("prlimit") {
        return skip(test, "prlimit is not installed");
    }
    let to = ["a", "b", "c", "d", "e", "f"].map(|user| format!("{user}@example.test"));
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    // From nothing to enough.
    for kib in [0, 64, 128, 256, 512, 1024, 4096] {
        let server = Server::dev();
        let mut client = Client::smtp(&server);
        // One by one: what a message for many takes is not there yet.
        to.iter().for_each(|user| deliver(&server, user, b"Subject: x\r\n\r\n"));
        let limit = format!("--data={}", (server.status_kib("VmData:") + kib) << 10);
        let limited = Command::new("prlimit").arg(limit).args(["--pid", &server.pid().to_string()]).status();
        assert!(limited.unwrap().success());
        let mut stored = 1;
        for _ in 0..20 {
            let envelope = to.iter().map(|user| format!("RCPT TO:<{user}>\r\n")).collect::<String>();
            client.try_write(format!("MAIL FROM:<a@far.test>\r\n{envelope}DATA\r\n").as_bytes());
            let replies: Vec<String> = (0..to.len() + 2).map(|_| client.reply()).collect();
            client.try_write(if replies[to.len() + 1].starts_with("354") {
                b"Subject: x\r\n\r\n.\r\n"
            } else {
                b"RSET\r\n"
            });
            let reply = client.reply();
            if reply.is_empty() {
                break; // it has ended, and the client knows nothing of its message
            }
            if !replies[to.len() + 1].starts_with("354") {
                continue;
            }
            stored += usize::from(reply.starts_with("250 "));
            for user in &to {
                let maildir = server.maildir(user);
                let there = (maildir.files("new").len(), maildir.files("tmp").len());
                assert_eq!(there, (stored, 0), "{user} with {kib} KiB: {reply:?}");
            }
        }
    }
}
