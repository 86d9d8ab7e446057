//! Disk errors during a delivery and during QUIT, step by step and error by error: the right reply, nothing
//! half done, and the same process does the next one as if nothing had been. strace makes the calls fail.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, with_lf, without_trace},
    eventually,
    inject::{Fault, can_inject},
    memory,
};
use tempfile::TempDir;

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";
const SMALL: &[u8] = b"Subject: small\r\n\r\n.\r\n";

/// A message that is too large to be kept in memory on its way in.
fn large() -> Vec<u8> {
    [b"Subject: large\r\n\r\n", &b"a line of text\r\n"[..].repeat(100_000)[..]].concat()
}

/// An error, and the reply to a message that could not be stored for it.
type Expected = (&'static str, &'static str);

const NO_ROOM: [Expected; 3] = [("ENOSPC", "452 4.3.1 "), ("EDQUOT", "452 4.2.2 "), ("EFBIG", "452 4.2.2 ")];

const TROUBLE: [Expected; 5] = [
    ("EIO", "451 4.3.0 "),
    ("EROFS", "451 4.3.0 "),
    ("EMFILE", "451 4.3.0 "),
    ("ENOMEM", "451 4.3.0 "),
    ("ESTALE", "451 4.3.0 "),
];

/// A server with empty mailboxes, and a client that stays through all faults.
struct Office {
    server: Server,
    client: Client,
    _memory: TempDir,
}

impl Office {
    fn open() -> Self {
        Self::open_with(Setup::default())
    }

    fn open_with(setup: Setup<'_>) -> Self {
        let memory = memory();
        let server = Setup { spool: Some(memory.path().join("spool")), ..setup }.start();
        let client = Client::smtp(&server);
        let mut office = Self { server, client, _memory: memory };
        office.delivers(&[ALICE, BOB], SMALL);
        office
    }

    /// Delivers without a fault, checks the result, and empties the mailboxes.
    #[track_caller]
    fn delivers(&mut self, to: &[&str], message: &[u8]) {
        let reply = self.client.deliver(to, message);
        assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
        self.has(to, message);
    }

    /// The message is in each of the mailboxes once, and then in none.
    #[track_caller]
    fn has(&mut self, to: &[&str], message: &[u8]) {
        for user in to {
            let maildir = self.server.maildir(user);
            assert!(without_trace(&maildir.only_message()) == with_lf(message));
            fs::remove_file(&maildir.files("new")[0]).unwrap();
        }
    }

    #[track_caller]
    fn has_nothing(&self, to: &[&str]) {
        for user in to {
            let maildir = self.server.maildir(user);
            assert_eq!([maildir.files("new"), maildir.files("cur")].concat(), Vec::<&Path>::new());
            eventually("tmp/ is empty", || maildir.files("tmp").is_empty().then_some(()));
        }
    }

    /// A delivery that fails leaves nothing, and the next one does not fail.
    #[track_caller]
    fn refuses(&mut self, fault: &Fault, to: &[&str], message: &[u8], expected: &str) {
        let reply = fault.during(&self.server, || self.client.deliver(to, message));
        assert!(reply.starts_with(expected), "{fault:?}: expected {expected:?}, got {reply:?}");
        self.has_nothing(to);
        self.delivers(to, message);
    }

    /// A delivery that succeeds all the same.
    #[track_caller]
    fn survives(&mut self, fault: &Fault, to: &[&str], message: &[u8]) {
        let reply = fault.during(&self.server, || self.client.deliver(to, message));
        assert!(reply.starts_with("250 2.0.0 "), "{fault:?}: {reply:?}");
        self.has(to, message);
        self.has_nothing(to);
        self.delivers(to, message);
    }

    /// Errors at one step of a delivery. `fault` says where, `{}` stands for the error.
    #[track_caller]
    fn refuses_each(&mut self, errors: &[Expected], fault: &Fault, to: &[&str], message: &[u8]) {
        for (error, reply) in errors {
            let fault = Fault { what: fault.what.replace("{}", error), ..fault.clone() };
            self.refuses(&fault, to, message, reply);
        }
    }

    #[track_caller]
    fn refuses_all(&mut self, fault: &Fault, to: &[&str], message: &[u8]) {
        self.refuses_each(&NO_ROOM, fault, to, message);
        self.refuses_each(&TROUBLE, fault, to, message);
    }

    /// From now on messages have a name in `tmp/`: after this error the server does not make files without a name.
    #[track_caller]
    fn writes_names(&mut self) {
        self.survives(&Fault::new("linkat:error=EPERM:when=1"), &[ALICE], SMALL);
    }

    fn dir(&self, user: &str, sub: &str) -> PathBuf {
        self.server.maildir(user).path.join(sub)
    }
}

#[test]
fn m01_to_m06_the_file_in_tmp_cannot_be_created() {
    if !can_inject("m01_to_m06_the_file_in_tmp_cannot_be_created") {
        return;
    }
    let mut office = Office::open();
    let fault = Fault::new("openat:error={}:when=1").on(office.dir(ALICE, "tmp"));
    office.refuses_all(&fault, &[ALICE], SMALL);
    office.refuses_all(&fault, &[ALICE], &large());
    // A file without a name is opened once more, so that it outlives the end of its writing.
    office.refuses_all(&Fault::new("openat:error={}:when=2").of("committer"), &[ALICE, BOB], SMALL);
    // A file system without such files.
    for error in ["EOPNOTSUPP", "EISDIR", "EINVAL"] {
        let fault = Fault::new(format!("openat:error={error}:when=1")).on(office.dir(ALICE, "tmp"));
        office.survives(&fault, &[ALICE], SMALL);
    }
    office.writes_names();
    office.refuses_all(&fault, &[ALICE], SMALL);
}

#[test]
fn m01_to_m06_the_message_cannot_be_written() {
    if !can_inject("m01_to_m06_the_message_cannot_be_written") {
        return;
    }
    let mut office = Office::open();
    office.refuses_all(&Fault::new("write:error={}:when=1").of("committer"), &[ALICE], SMALL);
    office.refuses_all(&Fault::new("write:error={}:when=1").of("disk"), &[ALICE], &large());
}

#[test]
fn m04_after_a_failed_fsync_the_file_is_dropped_and_never_synced_again() {
    if !can_inject("m04_after_a_failed_fsync_the_file_is_dropped_and_never_synced_again") {
        return;
    }
    let mut office = Office::open();
    let fault = Fault::new("fsync:error={}:when=1");
    for (to, message) in [(&[ALICE][..], SMALL), (&[ALICE], &large()), (&[ALICE, BOB], SMALL)] {
        office.refuses_each(&TROUBLE, &fault, to, message);
        // The kernel calls a second fsync of the same file a success: there is none.
        let calls = Fault::new("fsync:error=EIO:when=1").traced(&office.server, || {
            office.client.deliver(to, message);
        });
        assert_eq!(calls.matches("fsync(").count(), 1, "{calls}");
        office.has_nothing(to);
    }
}

#[test]
fn r11_an_error_at_close_is_a_failed_write() {
    if !can_inject("r11_an_error_at_close_is_a_failed_write") {
        return;
    }
    // One worker: strace counts the calls of each thread.
    let config = format!("{STRICT}\n[limits]\ndisk.workers = 1\n");
    let mut office =
        Office::open_with(Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() });
    // strace counts all closes of a thread, so the test first finds the number of the one of the message.
    for (to, message, thread) in [
        (&[ALICE][..], SMALL, "committer"),
        (&[ALICE, BOB], SMALL, "committer"),
        (&[ALICE], &large(), "disk"),
        (&[ALICE, BOB], &large(), "disk"),
    ] {
        let closing = Fault::new("close").of(thread);
        let calls = closing.traced(&office.server, || {
            office.client.deliver(to, message);
        });
        office.has(to, message);
        // The committer closes the handle of a file without a name when the message has its names.
        let is_message = |line: &&str| line.contains("/tmp/1") || line.contains("/tmp/#");
        let expected = if thread == "committer" { 2 } else { 1 };
        assert_eq!(calls.lines().filter(is_message).count(), expected, "{calls}");
        let nth = 1 + calls.lines().take_while(|line| !is_message(line)).count();
        for (error, expected) in [
            ("EIO", "451 4.3.0 "),
            ("ENOSPC", "452 4.3.1 "),
            ("EDQUOT", "452 4.2.2 "),
            ("EINTR", "451 4.3.0 "),
        ] {
            let fault = Fault::new(format!("close:error={error}:when={nth}")).of(thread);
            office.refuses(&fault, to, message, expected);
        }
    }
    office.server.tells(": close: ");
}

#[test]
fn m01_to_m06_m23_the_message_cannot_be_put_into_new() {
    if !can_inject("m01_to_m06_m23_the_message_cannot_be_put_into_new") {
        return;
    }
    let mut office = Office::open();
    let (link, rename) = (Fault::new("linkat:error={}:when=1"), Fault::new("renameat2:error={}:when=1"));
    let second = Fault::new("linkat:error={}:when=2").of("committer");
    office.refuses_all(&link, &[ALICE], SMALL);
    office.refuses_all(&rename, &[ALICE], &large());
    office.refuses_all(&link, &[ALICE, BOB], SMALL);
    office.refuses_all(&link, &[ALICE, BOB], &large());
    // The other mailbox has it by then, and must lose it again.
    office.refuses_all(&second, &[ALICE, BOB], SMALL);
    office.refuses_all(&rename, &[ALICE, BOB], &large());
    office.writes_names();
    office.refuses_all(&rename, &[ALICE], SMALL);
    office.refuses_all(&rename, &[ALICE, BOB], SMALL);
    // A directory may be full while the disk is not: the log says which.
    let new = office.dir(ALICE, "new");
    office.server.tells(&format!("{}/", new.display()));
}

#[test]
fn m04_new_cannot_be_synced_and_the_message_is_taken_back_from_every_mailbox() {
    if !can_inject("m04_new_cannot_be_synced_and_the_message_is_taken_back_from_every_mailbox") {
        return;
    }
    let mut office = Office::open();
    for user in [ALICE, BOB] {
        let fault = Fault::new("fsync:error={}:when=1").on(office.dir(user, "new"));
        office.refuses_each(&TROUBLE, &fault, &[user], SMALL);
        office.refuses_each(&TROUBLE, &fault, &[ALICE, BOB], SMALL);
    }
}

#[test]
fn m01_m02_a_want_of_room_that_fsync_finds_is_told_as_such() {
    if !can_inject("m01_m02_a_want_of_room_that_fsync_finds_is_told_as_such") {
        return;
    }
    let mut office = Office::open();
    let file = Fault::new("fsync:error={}:when=1");
    office.refuses_each(&NO_ROOM, &file, &[ALICE], SMALL);
    office.refuses_each(&NO_ROOM, &file, &[ALICE], &large());
    let new = file.on(office.dir(BOB, "new"));
    office.refuses_each(&NO_ROOM, &new, &[BOB], SMALL);
    office.refuses_each(&NO_ROOM, &new, &[ALICE, BOB], SMALL);
}

#[test]
fn m01_to_m06_m11_a_new_mailbox_cannot_be_made() {
    if !can_inject("m01_to_m06_m11_a_new_mailbox_cannot_be_made") {
        return;
    }
    let mut office = Office::open();
    for (error, expected) in [&NO_ROOM[..], &TROUBLE].concat() {
        for step in ["mkdirat", "fsync"] {
            // The mailbox and its three parts; the parts, the mailbox and the spool.
            for nth in 1..=(if step == "mkdirat" { 4 } else { 5 }) {
                let user = format!("{step}{nth}.{}@example.test", error.to_lowercase());
                let fault = Fault::new(format!("{step}:error={error}:when={nth}")).of("committer");
                office.refuses(&fault, &[&user], SMALL, expected);
            }
        }
    }
}

#[test]
fn m11_a_new_mailbox_that_could_not_be_synced_is_synced_before_its_first_250() {
    if !can_inject("m11_a_new_mailbox_that_could_not_be_synced_is_synced_before_its_first_250") {
        return;
    }
    let mut office = Office::open();
    for nth in 1..=5 {
        let user = format!("new{nth}@example.test");
        let fault = Fault::new(format!("fsync:error=EIO:when={nth}")).of("committer");
        let reply = fault.during(&office.server, || office.client.deliver(&[&user], SMALL));
        assert!(reply.starts_with("451 4.3.0 "), "{reply:?}");
        let server = &office.server;
        let calls = Fault::new("fsync").traced(server, || {
            let reply = office.client.deliver(&[&user], SMALL);
            assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
        });
        let maildir = server.maildir(&user).path;
        for dir in
            [maildir.join("tmp"), maildir.join("new"), maildir.join("cur"), maildir, server.spool.clone()]
        {
            let synced = format!("<{}>) = 0\n", dir.display());
            assert!(calls.contains(&synced), "{} after a failure of fsync {nth}:\n{calls}", dir.display());
        }
    }
}

#[test]
fn m08_a_name_that_exists_is_never_overwritten() {
    if !can_inject("m08_a_name_that_exists_is_never_overwritten") {
        return;
    }
    let mut office = Office::open();
    let large = large();
    for (call, to, message) in [
        ("linkat", &[ALICE][..], SMALL),
        ("linkat", &[ALICE, BOB], SMALL),
        ("renameat2", &[ALICE], &large),
        ("renameat2", &[ALICE, BOB], &large),
    ] {
        let fault = Fault::new(format!("{call}:error=EEXIST:when=1"));
        let reply = fault.during(&office.server, || office.client.deliver(to, message));
        if reply.starts_with("250 2.0.0 ") {
            office.has(to, message);
        } else {
            assert!(reply.starts_with("451 4.3.0 "), "{reply:?}");
            office.has_nothing(to);
        }
        office.delivers(to, message);
    }
    // If a file system can't rename without overwriting, a link can do it.
    for error in ["EINVAL", "ENOSYS"] {
        let fault = Fault::new(format!("renameat2:error={error}:when=1"));
        office.survives(&fault, &[ALICE], &large);
        office.survives(&fault, &[ALICE, BOB], &large);
    }
}

#[test]
fn m07_mailboxes_that_cannot_be_linked_get_a_copy() {
    if !can_inject("m07_mailboxes_that_cannot_be_linked_get_a_copy") {
        return;
    }
    let mut office = Office::open();
    for error in ["EXDEV", "EMLINK", "EPERM", "EOPNOTSUPP"] {
        let fault = Fault::new(format!("linkat:error={error}:when=1"));
        office.survives(&fault, &[ALICE, BOB], SMALL);
        office.survives(&fault, &[ALICE, BOB], &large());
    }
}

#[test]
fn m07_where_no_file_without_a_name_gets_one_mail_is_stored_and_the_log_says_once_that_it_is_slower() {
    if !can_inject(
        "m07_where_no_file_without_a_name_gets_one_mail_is_stored_and_the_log_says_once_that_it_is_slower",
    ) {
        return;
    }
    for error in ["EACCES", "EPERM", "ENOENT", "EOPNOTSUPP"] {
        let mut office = Office::open();
        // The second call is the way of older kernels, after ENOENT.
        let refused = Fault::new(format!("linkat:error={error}")).of("committer");
        office.survives(&refused, &[ALICE], SMALL);
        let renamed = Fault::new("renameat2,linkat").traced(&office.server, || {
            office.client.deliver(&[ALICE], SMALL);
        });
        assert!(renamed.contains("renameat2(") && !renamed.contains("linkat("), "{renamed}");
        office.has(&[ALICE], SMALL);
        assert_eq!(office.server.log().matches("linkat gives an open file no name").count(), 1, "{error}");
    }
}

#[test]
fn m25_a_short_write_is_continued_where_it_ended() {
    if !can_inject("m25_a_short_write_is_continued_where_it_ended") {
        return;
    }
    let mut office = Office::open();
    // strace reports a write of 9 octets and does none: the file must hold all octets after them.
    let fault = Fault::new("write:retval=9:when=1").of("committer");
    let reply = fault.during(&office.server, || office.client.deliver(&[ALICE], SMALL));
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    let stored = office.server.maildir(ALICE).only_message();
    assert!(stored.starts_with(&b"Return-Path: <sender@far.test>"[9..]), "{}", stored.escape_ascii());
    assert!(stored.ends_with(&with_lf(SMALL)));
    fs::remove_file(&office.server.maildir(ALICE).files("new")[0]).unwrap();
    office.delivers(&[ALICE], SMALL);
}

#[test]
fn m25_an_interrupted_call_is_done_again_or_the_delivery_undone() {
    if !can_inject("m25_an_interrupted_call_is_done_again_or_the_delivery_undone") {
        return;
    }
    let mut office = Office::open();
    let (tmp, new) = (office.dir(ALICE, "tmp"), office.dir(ALICE, "new"));
    for fault in [
        Fault::new("openat:error=EINTR:when=1").on(tmp),
        Fault::new("fsync:error=EINTR:when=1"),
        Fault::new("fsync:error=EINTR:when=1").on(new),
        Fault::new("renameat2,linkat:error=EINTR:when=1"),
    ] {
        for message in [SMALL, &large()] {
            let reply = fault.during(&office.server, || office.client.deliver(&[ALICE], message));
            if reply.starts_with("250 2.0.0 ") {
                office.has(&[ALICE], message);
            } else {
                assert!(reply.starts_with("451 4.3.0 "), "{fault:?}: {reply:?}");
            }
            office.has_nothing(&[ALICE]);
            office.delivers(&[ALICE], message);
        }
    }
    office.survives(&Fault::new("write:error=EINTR:when=1").of("committer"), &[ALICE], SMALL);
    office.survives(&Fault::new("write:error=EINTR:when=1").of("disk"), &[ALICE], &large());
}

#[test]
fn m10_killed_at_any_step_the_message_is_whole_or_not_there() {
    if !can_inject("m10_killed_at_any_step_the_message_is_whole_or_not_there") {
        return;
    }
    let mut office = Office::open();
    let large = large();
    for (call, to, message) in [
        ("openat:signal=KILL:when=1", &[ALICE][..], SMALL),
        ("write:signal=KILL:when=1", &[ALICE], SMALL),
        ("fsync:signal=KILL:when=1", &[ALICE], SMALL),
        ("openat:signal=KILL:when=2", &[ALICE], SMALL),
        ("close:signal=KILL:when=1", &[ALICE], SMALL),
        ("linkat:signal=KILL:when=1", &[ALICE], SMALL),
        ("linkat:signal=KILL:when=1", &[ALICE, BOB], SMALL),
        ("linkat:signal=KILL:when=2", &[ALICE, BOB], SMALL),
        ("fsync:signal=KILL:when=2", &[ALICE], SMALL),
        ("linkat:signal=KILL:when=1", &[ALICE, BOB], &large),
        ("renameat2:signal=KILL:when=1", &[ALICE], &large),
    ] {
        let fault = Fault::new(call).of("committer");
        let reply = fault.during(&office.server, || office.client.deliver(to, message));
        assert_eq!(reply, "", "{call}");
        office.server.restart();
        office.client = Client::smtp(&office.server);
        for user in to {
            let maildir = office.server.maildir(user);
            let whole = maildir.files("new").len();
            assert!(whole <= 1, "{call}");
            Client::pop3(&office.server, user).ask("STAT", &format!("+OK {whole} "));
            if whole == 1 {
                assert!(without_trace(&maildir.only_message()) == with_lf(message), "{call}");
                fs::remove_file(&maildir.files("new")[0]).unwrap();
            }
            let left = maildir.files("tmp");
            assert!(
                left.is_empty() || message == large,
                "{call}: a file without a name leaves nothing: {left:?}"
            );
            left.iter().for_each(|file| fs::remove_file(file).unwrap());
        }
        office.delivers(to, message);
    }
}
