//! `250` means durable and visible: the order of the system calls, seen from outside with strace. For every
//! reply to a message the file was created, written, synced and closed before it was linked or renamed into `new/`,
//! and `new/` was synced before the reply left; each step had returned before the next one began.

use std::{collections::HashMap, fs, path::PathBuf, process::Command, sync::Barrier, thread};

use crate::common::{
    Server, Setup,
    client::{Client, deliver},
    eventually, home, installed, listener, memory, skip,
};
use tempfile::TempDir;

/// The place of the spool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// The disk of the build, where the server may sync the whole file system.
    OfTheBuild,
    /// A directory in memory, where the server writes small messages without a name.
    Memory,
}

const DISKS: [Disk; 2] = [Disk::OfTheBuild, Disk::Memory];

/// A server under strace, and where the trace goes.
struct Traced {
    server: Server,
    trace: PathBuf,
    _home: TempDir,
    _memory: TempDir,
}

impl Traced {
    /// `None`, with a message on the terminal, if nothing can be traced here.
    fn start(test: &str, disk: Disk) -> Option<Self> {
        Self::start_with(test, disk, Setup::default())
    }

    fn start_with(test: &str, disk: Disk, setup: Setup<'_>) -> Option<Self> {
        if !installed("strace") {
            skip(test, "strace is not installed");
            return None;
        }
        let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).output().unwrap();
        if !probe.status.success() {
            skip(test, "ptrace is not permitted here");
            return None;
        }
        let home = home();
        let trace = home.path().join("trace");
        // -D: the server stays our child, so that signals and the exit code are its own.
        let out = trace.to_str().unwrap();
        let wrapper = ["strace", "-D", "-f", "-y", "-s", "400", "-e", CALLS, "-o", out];
        let memory = memory();
        let spool = if disk == Disk::Memory { memory.path() } else { home.path() }.join("spool");
        let server = Setup { wrapper: &wrapper, spool: Some(spool), ..setup }.start();
        Some(Self { server, trace, _home: home, _memory: memory })
    }

    /// Ends the server, and checks each of the replies that it sent. Returns the trace.
    fn check(self, replies: usize) -> String {
        let trace = self.end();
        match check(&trace) {
            Ok(checked) => assert_eq!(checked, replies, "replies in the trace"),
            Err(wrong) => panic!("{wrong}\n{}", about_files(&trace)),
        }
        trace
    }

    /// Ends the server, and returns the whole trace.
    fn end(mut self) -> String {
        self.server.kill();
        let last = format!("{} ", self.server.pid());
        eventually("strace writes its last line", || {
            let trace = fs::read_to_string(&self.trace).unwrap();
            let ended = trace.lines().any(|line| line.starts_with(&last) && line.contains("+++ killed"));
            (ended && trace.ends_with('\n')).then_some(trace)
        })
    }
}

const CALLS: &str = "trace=openat,close,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,syncfs,rename,renameat,\
                     renameat2,link,linkat,mkdir,mkdirat,read,readv,recvfrom,recvmsg,sendto,sendmsg";

/// The part of a trace that a reader wants to see: no libraries, no message texts.
fn about_files(trace: &str) -> String {
    let wanted =
        |line: &&str| line.contains("spool") || line.contains("RCPT TO") || line.contains("250 2.0.0");
    trace.lines().filter(wanted).map(|line| line.chars().take(300).collect::<String>() + "\n").collect()
}

/// One system call. It began before the line `start` of the trace and had returned at the line `end`.
#[derive(Debug)]
struct Call {
    start: usize,
    end: usize,
    name: String,
    args: Vec<String>,
    result: Option<i64>,
    /// The path of the descriptor that it returned.
    opened: String,
}

impl Call {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// The path of the descriptor in the first argument.
    fn path(&self) -> &str {
        described(&self.args[0])
    }

    /// The path that two arguments name together: a directory's descriptor and a name in it, or a file's and none.
    fn path_at(&self, first: usize) -> String {
        let name = self.args[first + 1].trim_matches('"');
        if name.is_empty() {
            described(&self.args[first]).to_owned()
        } else if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("{}/{name}", described(&self.args[first]))
        }
    }

    /// Whether it makes that file exclusively: with a new name, or without one.
    fn creates(&self, file: &str) -> bool {
        let flags = self.args.get(2).map_or("", String::as_str);
        self.name == "openat"
            && self.result >= Some(0)
            && if flags.contains("O_TMPFILE") {
                self.opened == file
            } else {
                flags.contains("O_CREAT") && flags.contains("O_EXCL") && self.path_at(0) == file
            }
    }

    /// Source and target, if it puts a file under another name.
    fn moves(&self) -> Option<(String, String)> {
        if self.result != Some(0) {
            return None;
        }
        match self.name.as_str() {
            "rename" | "link" => Some((unquoted(&self.args[0]), unquoted(&self.args[1]))),
            "renameat" | "renameat2" | "linkat" => Some((self.path_at(0), self.path_at(2))),
            _ => None,
        }
    }

    /// The directory that it made.
    fn makes(&self) -> Option<String> {
        match self.name.as_str() {
            _ if self.result != Some(0) => None,
            "mkdir" => Some(unquoted(&self.args[0])),
            "mkdirat" => Some(self.path_at(0)),
            _ => None,
        }
    }
}

fn unquoted(arg: &str) -> String {
    arg.trim_matches('"').to_owned()
}

/// `/spool/new` of `9</spool/new>`, and `/spool/tmp/#7` of `9</spool/tmp/#7>(deleted)`, which has no name.
fn described(arg: &str) -> &str {
    arg.split_once('<').map_or("", |(_, path)| path.trim_end_matches("(deleted)").trim_end_matches('>'))
}

/// Puts the calls that strace had to write in two pieces together again.
fn parse(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((pid, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(start) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, (number, start.to_owned()));
        } else if let Some((_, end)) =
            text.strip_prefix("<... ").and_then(|text| text.split_once(" resumed>"))
        {
            let Some((start, text)) = unfinished.remove(pid) else { continue };
            calls.extend(call(start, number, &(text + end)));
        } else {
            calls.extend(call(number, number, text));
        }
    }
    calls
}

/// `name(argument, argument) = result`.
fn call(start: usize, end: usize, text: &str) -> Option<Call> {
    let (call, result) = text.rsplit_once(" = ")?;
    let (name, args) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let digits: String = result.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    let (result, opened) = (digits.parse().ok(), described(result).to_owned());
    Some(Call { start, end, name: name.to_owned(), args: arguments(args), result, opened })
}

/// Splits at the commas that are not in a string, a path, a list or a struct.
fn arguments(text: &str) -> Vec<String> {
    let mut args = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '<' | '[' | '{' if !quoted => depth += 1,
            '>' | ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                args.push(String::new());
                continue;
            }
            _ => {}
        }
        args.last_mut().unwrap().push(c);
    }
    args.iter().map(|arg| arg.trim().to_owned()).collect()
}

/// Checks every reply to a message; returns their number, or the fault of the first bad one.
fn check(trace: &str) -> Result<usize, String> {
    let calls = parse(trace);
    let mut answered: HashMap<&str, usize> = HashMap::new();
    let mut replies = 0;
    let to_client = |call: &&Call| call.is(&SENDS) && call.path().starts_with("socket:");
    for reply in calls.iter().filter(to_client).filter(|call| call.args[1].contains("250 2.0.0")) {
        let since = answered.insert(reply.path(), reply.start);
        let mailboxes = recipients(&calls, reply, since);
        if mailboxes.is_empty() {
            return Err(format!("nobody was named before {reply:?}"));
        }
        for mailbox in &mailboxes {
            durable(&calls, mailbox, "new", reply.start).map_err(|wrong| format!("{mailbox}: {wrong}"))?;
        }
        replies += 1;
    }
    Ok(replies)
}

const SENDS: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];
const RECEIVES: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];
const WRITES: [&str; 5] = ["write", "writev", "pwrite64", "pwritev", "pwritev2"];

/// The recipients of the answered message, from the commands read on the same socket.
fn recipients(calls: &[Call], reply: &Call, since: Option<usize>) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.is(&RECEIVES) && call.path() == reply.path())
        .filter(|call| call.end < reply.start && since.is_none_or(|since| call.start > since))
        .flat_map(|call| call.args[1].split("RCPT TO:<").skip(1))
        .filter_map(|text| text.split_once('>'))
        .map(|(mailbox, _)| mailbox.to_owned())
        .collect()
}

/// Whether the message of a mailbox was durable and visible in that place before the line `reply`.
fn durable(calls: &[Call], mailbox: &str, place: &str, reply: usize) -> Result<(), String> {
    let moves: Vec<(&Call, String, String)> =
        calls.iter().filter_map(|call| call.moves().map(|(from, to)| (call, from, to))).collect();
    let place = format!("/{mailbox}/{place}");
    let into = format!("{place}/");
    let arrives = |(call, _, to): &&(&Call, String, String)| to.contains(&into) && call.end < reply;
    let (arrival, mut file, _) =
        moves.iter().find(arrives).cloned().ok_or("no file was there before the reply")?;
    // Before Linux 6.10, a file without a name is named by its descriptor.
    if let Some(fd) = file.strip_prefix("/proc/self/fd/").map(|fd| fd.parse().unwrap()) {
        let opens =
            |call: &&Call| call.name == "openat" && call.result == Some(fd) && call.end < arrival.start;
        let opened = calls.iter().rfind(opens).ok_or("no file had the descriptor that was linked")?;
        file.clone_from(&opened.opened);
    }
    // A message to many was renamed into one mailbox and linked into the others.
    while !file.contains("/tmp/") {
        let from = moves.iter().find(|(_, _, to)| *to == file).ok_or(format!("{file} comes from nowhere"))?;
        file.clone_from(&from.1);
    }
    let first_move = moves.iter().filter(|(_, from, _)| *from == file).map(|(call, ..)| call.start).min();
    let first_move = first_move.unwrap_or(arrival.start);

    let created = calls.iter().find(|call| call.creates(&file));
    let created = created.ok_or("the file was not created with O_EXCL or O_TMPFILE in tmp/")?;
    let writes: Vec<&Call> = calls.iter().filter(|call| call.is(&WRITES) && call.path() == file).collect();
    let written = writes.iter().map(|call| call.end).max().ok_or("the file was never written")?;
    if writes.iter().any(|call| call.start <= created.end || call.result <= Some(0)) {
        return Err("a write to the file failed".to_owned());
    }
    if !synced(calls, &file, written, first_move) {
        return Err(
            "the file was not synced between its last write and its first name in a mailbox".to_owned()
        );
    }
    let closes = |call: &Call| {
        let same = call.args[0].split_once('<').and_then(|(fd, _)| fd.parse().ok()) == created.result;
        call.name == "close" && same && call.path() == file && call.result == Some(0)
    };
    if !calls.iter().any(|call| closes(call) && call.start > written && call.end < first_move) {
        return Err("the file was not closed before its first name in a mailbox".to_owned());
    }
    if !synced(calls, &place, arrival.end, reply) {
        return Err("the directory was not synced between the name and the reply".to_owned());
    }
    for (made, dir) in calls.iter().filter_map(|call| call.makes().map(|dir| (call, dir))) {
        let (parent, _) = dir.rsplit_once('/').unwrap_or(("", &dir));
        let ours = dir.ends_with(&format!("/{mailbox}")) || parent.ends_with(&format!("/{mailbox}"));
        if ours && !synced(calls, parent, made.end, reply) {
            return Err(format!("{dir} was made, and its parent was not synced before the reply"));
        }
    }
    Ok(())
}

/// Whether a sync of that path, or of all of its file system, began and ended well between two lines.
fn synced(calls: &[Call], path: &str, after: usize, before: usize) -> bool {
    calls.iter().any(|call| {
        let of_it = call.is(&["fsync", "fdatasync"]) && call.path().ends_with(path);
        let of_all = call.name == "syncfs" && call.path().contains("/spool");
        (of_it || of_all) && call.result == Some(0) && call.start > after && call.end < before
    })
}

#[test]
fn m11_m26_one_message_is_durable_before_its_reply() {
    for disk in DISKS {
        let Some(traced) = Traced::start("m11_m26_one_message_is_durable_before_its_reply", disk) else {
            return;
        };
        deliver(&traced.server, "one@example.test", b"Subject: x\r\n\r\nbody\r\n");
        deliver(&traced.server, "large@example.test", &b"a line of text\r\n".repeat(100_000));
        let trace = traced.check(2);
        let calls = |user: &str, call: &str| {
            let new = format!("/{user}@example.test/new>");
            trace.lines().any(|line| line.contains(call) && line.contains(&new))
        };
        // One has its first name in the mailbox, and the other one has been in tmp/.
        assert!(disk == Disk::OfTheBuild || calls("one", "linkat("), "{trace}");
        assert!(calls("large", "renameat2("), "{trace}");
    }
}

#[test]
fn m11_m26_a_message_to_many_is_durable_in_every_mailbox_before_its_reply() {
    let test = "m11_m26_a_message_to_many_is_durable_in_every_mailbox_before_its_reply";
    for disk in DISKS {
        let Some(traced) = Traced::start(test, disk) else { return };
        let to = ["a@example.test", "b@example.test", "c@example.test"];
        let reply = Client::smtp(&traced.server).deliver(&to, b"Subject: x\r\n\r\n");
        assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
        traced.check(1);
    }
}

#[test]
fn the_copy_of_a_sender_is_durable_before_the_reply() {
    DISKS.into_iter().for_each(copy_of_a_sender_is_durable);
}

fn copy_of_a_sender_is_durable(disk: Disk) {
    let config = listener("submission", "tls = \"none\"");
    let (alice, bob) = ("alice@example.test", "bob@example.test");
    let setup = Setup { config: Some(&config), users: &[alice, bob], ..Setup::default() };
    let Some(traced) = Traced::start_with("the_copy_of_a_sender_is_durable_before_the_reply", disk, setup)
    else {
        return;
    };
    let mut client = Client::smtp_at(traced.server.addresses("submission")[0]);
    client.ask("AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWU=", "235 2.7.0");
    client.begin_data(alice, &[bob]);
    client.write(b"Message-ID: <1@example.test>\r\n\r\n.\r\n");
    client.expect("250 2.0.0");
    let trace = traced.end();
    let calls = parse(&trace);
    let queued = |call: &&Call| call.is(&SENDS) && call.args[1].contains("250 2.0.0 Queued");
    let reply = calls.iter().find(queued).unwrap().start;
    for (mailbox, place) in [(bob, "new"), ("alice@example.test/.Sent", "cur")] {
        let durable = durable(&calls, mailbox, place, reply);
        assert_eq!(durable, Ok(()), "{mailbox}\n{}", about_files(&trace));
    }
}

#[test]
fn m26_messages_that_come_together_are_durable_before_their_replies() {
    DISKS.into_iter().for_each(messages_that_come_together_are_durable);
}

fn messages_that_come_together_are_durable(disk: Disk) {
    let test = "m26_messages_that_come_together_are_durable_before_their_replies";
    let Some(traced) = Traced::start(test, disk) else { return };
    let together = Barrier::new(8);
    thread::scope(|scope| {
        for i in 0..8 {
            let (together, server) = (&together, &traced.server);
            scope.spawn(move || {
                let mut client = Client::smtp(server);
                for round in 0..3 {
                    together.wait();
                    let to = format!("user{i}.{round}@example.test");
                    let reply = client.deliver(&[&to], b"Subject: x\r\n\r\nbody\r\n");
                    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
                }
            });
        }
    });
    traced.check(24);
}

/// A delivery in good order, with calls that other threads interrupt.
const GOOD: &str = r#"10 recvfrom(7<socket:[55]>, "RCPT TO:<u@x.test>\r\n", 4096, 0, NULL, NULL) = 20
11 mkdirat(4</s/spool>, "u@x.test", 0700)  = 0
11 fsync(4</s/spool>) = 0
11 openat(5</s/spool/u@x.test/tmp>, "1.M2.h,S=5,W=6", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 9</s/spool/u@x.test/tmp/1.M2.h,S=5,W=6>
11 write(9</s/spool/u@x.test/tmp/1.M2.h,S=5,W=6>, "text, \"250 2.0.0\" = 5\n", 22 <unfinished ...>
10 recvfrom(8<socket:[56]>, "RCPT TO:<v@x.test>\r\n", 4096, 0, NULL, NULL) = 20
11 <... write resumed>)                    = 22
11 fsync(9</s/spool/u@x.test/tmp/1.M2.h,S=5,W=6>) = 0
11 close(9</s/spool/u@x.test/tmp/1.M2.h,S=5,W=6>) = 0
11 renameat2(5</s/spool/u@x.test/tmp>, "1.M2.h,S=5,W=6", 6</s/spool/u@x.test/new>, "1.M2.h,S=5,W=6", RENAME_NOREPLACE) = 0
11 fsync(6</s/spool/u@x.test/new>)         = 0
10 sendto(7<socket:[55]>, "250 2.0.0 filed\r\n", 17, MSG_NOSIGNAL, NULL, 0) = 17
"#;

/// The same with a file that has no name before it has one in the mailbox.
fn unnamed() -> String {
    let named = "/s/spool/u@x.test/tmp/1.M2.h,S=5,W=6>";
    let open = r#""1.M2.h,S=5,W=6", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600)"#;
    let close = "11 close(9<";
    let reopen = format!(r#"11 openat(AT_FDCWD</>, "/proc/self/fd/9", O_RDONLY|O_CLOEXEC) = 12<{named}"#);
    GOOD.replace(open, r#"".", O_WRONLY|O_CLOEXEC|O_TMPFILE, 0600)"#)
        .replace(close, &format!("{reopen}\n{close}"))
        .replace(
            r#"renameat2(5</s/spool/u@x.test/tmp>, "1.M2.h,S=5,W=6","#,
            &format!(r#"linkat(12<{named}, "","#),
        )
        .replace("RENAME_NOREPLACE", "AT_EMPTY_PATH")
        .replace(named, "/s/spool/u@x.test/tmp/#7>(deleted)")
}

#[test]
fn the_checker_finds_good_order_good() {
    for good in [GOOD, &unnamed()] {
        assert_eq!(check(good), Ok(1), "{good}");
        let fsync = good.lines().find(|line| line.contains("fsync(9<")).unwrap();
        let group = good.replace(fsync, "11 syncfs(4</s/spool>) = 0");
        assert_eq!(check(&group), Ok(1));
    }
    let by_path = unnamed()
        .replace(r#"12</s/spool/u@x.test/tmp/#7>(deleted), "","#, r#"AT_FDCWD</>, "/proc/self/fd/12","#);
    assert_ne!(by_path, unnamed());
    assert_eq!(check(&by_path.replace("AT_EMPTY_PATH", "AT_SYMLINK_FOLLOW")), Ok(1));
}

#[test]
fn the_checker_sees_every_step_that_is_missing_late_or_failed() {
    for good in [GOOD, &unnamed()] {
        let line = |part: &str| format!("{}\n", good.lines().find(|line| line.contains(part)).unwrap());
        let without = |part: &str| good.replace(&line(part), "");
        let (fsync, names) = (line("fsync(9<"), line("11 fsync(6<"));
        let name = if good == GOOD { "renameat2(" } else { "linkat(" };
        let after_name = |part: &str| without(part).replace(&line(name), &(line(name) + &line(part)));
        let failed = fsync.replace("= 0", "= -1 EIO (Input/output error)");
        let late = names.replace(")         = 0", " <unfinished ...>");
        for (what, trace) in [
            ("no fsync of the file", without("fsync(9<")),
            ("fsync of the file after all", good.replace(&fsync, "") + &fsync),
            ("fsync of the file after its name", after_name("fsync(9<")),
            ("fsync of the file failed", good.replace(&fsync, &failed)),
            ("no close of the file", without("close(9<")),
            ("close of the file after its name", after_name("close(9<")),
            ("no fsync of new/", without("fsync(6<")),
            (
                "fsync of new/ not back before the reply",
                good.replace(&names, &late) + "11 <... fsync resumed>) = 0\n",
            ),
            ("no name", without(name)),
            ("no fsync of the spool", without("fsync(4<")),
            (
                "a file that may have been there",
                good.replace("O_CREAT|O_EXCL", "O_CREAT").replace("|O_TMPFILE", ""),
            ),
            ("another mailbox", good.replace("RCPT TO:<u@", "RCPT TO:<w@")),
        ] {
            assert!(trace != good && check(&trace).is_err(), "not seen: {what}\n{trace}");
        }
    }
}
