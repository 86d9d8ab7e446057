//! The backend with its threads and a real disk, without a socket: messages for several recipients of whom some
//! can't get it, messages for folders, and the copy that a sender keeps.

use std::{
    collections::BTreeSet,
    fs,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use crate::common::{Maildir, STRICT, Setup, client::Client, configuration, eventually, home, memory, skip};
use restante::{
    accounts::Accounts,
    backend::Backend,
    config::Config,
    connection::RequestHandler,
    fd_limits::{FdBudget, FdInputs, raise_fd_limit},
    proto::{
        folder::Folder,
        request::{ConnId, Envelope, Failure, Mailbox, ReceiveRequest, Recipient, Request, Response},
        smtp::address::Address,
    },
    workers::{Completion, CompletionSender, LoopWaker},
};
use rustix::{
    fs::inotify::{self, ReadFlags, WatchFlags},
    io::Errno,
};
use tempfile::TempDir;

const MESSAGE: &[u8] = b"Message-ID: <1@example.test>\nSubject: hello\n\nIt works.\n";

/// A backend, and the means to wait for its answers.
struct Office {
    backend: Backend,
    results: Receiver<Completion>,
    _poll: mio::Poll,
    spool: PathBuf,
    _home: TempDir,
    asked: u64,
}

impl Office {
    fn open() -> Self {
        let home = home();
        Self::open_in(home)
    }

    fn open_in(home: TempDir) -> Self {
        let spool = home.path().join("spool");
        fs::create_dir_all(&spool).unwrap();
        let file = home.path().join("restante.toml");
        let rest = format!("shared_spool = true\n{STRICT}");
        fs::write(&file, configuration(home.path(), &spool, &rest)).unwrap();
        let config = Config::load(&file).unwrap();
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(LoopWaker::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let (completions, results) = CompletionSender::new(Arc::clone(&waker));
        let accounts = Accounts::accept_all(&config.domains);
        let opens = FdInputs {
            inherited: 3,
            listeners: 1,
            watch: true,
            accounts: false,
            certificate: false,
            transcripts: false,
            reloads: false,
        };
        let budget = FdBudget::allocate(raise_fd_limit(), &config.limits, &opens).unwrap();
        let backend = Backend::open(&config, accounts, &budget, &waker, &completions, None).unwrap();
        Self { backend, results, _poll: poll, spool, _home: home, asked: 0 }
    }

    /// The same spool, and another process as far as memory goes.
    fn reopen(self) -> Self {
        let Self { _home: home, backend, .. } = self;
        drop(backend);
        Self::open_in(home)
    }

    fn maildir(&self, name: &str) -> Maildir {
        Maildir { path: self.spool.join(name) }
    }

    fn ask(&mut self, ask: Request) -> Response {
        let id = ConnId(self.asked);
        if let Some(answer) = self.backend.handle((id, [127, 0, 0, 1].into()), ask) {
            return answer;
        }
        loop {
            if let Some((to, answer)) = self.backend.next_response() {
                assert_eq!(to, id);
                return answer;
            }
            self.backend.complete(self.results.recv_timeout(Duration::from_secs(60)).unwrap());
        }
    }

    /// Delivers a message in the pieces of that size that a session would spill.
    fn deliver(
        &mut self,
        message: &[u8],
        envelope: Envelope,
        partly: bool,
        spilled: Option<usize>,
    ) -> Response {
        self.asked += 1;
        assert!(matches!(self.ask(Request::Receive(ReceiveRequest::Begin)), Response::Done));
        let (head, bytes) = message.split_at(spilled.unwrap_or(0));
        if spilled.is_some() {
            let mailboxes = envelope.to.iter().map(|to| to.mailbox.clone()).collect();
            if let Response::Failed(fault) =
                self.ask(Request::Receive(ReceiveRequest::Spill { mailboxes, bytes: head.to_vec() }))
            {
                return Response::Failed(fault);
            }
        }
        self.ask(Request::Receive(ReceiveRequest::Deliver {
            envelope,
            bytes: bytes.to_vec(),
            partial_ok: partly,
            wants_id: false,
        }))
    }
}

fn mailbox(name: &str) -> Mailbox {
    Mailbox::named(&format!("{name}@example.test")).unwrap()
}

/// `name`, or `name+folder`.
fn recipient(name: &str) -> Recipient {
    let (user, folder) = name.split_once('+').map_or((name, None), |(user, folder)| (user, Some(folder)));
    let address = Address::parse(&format!("{name}@example.test")).unwrap();
    Recipient { address, mailbox: mailbox(user), folder: folder.and_then(Folder::from_name) }
}

fn to(names: &[&str]) -> Envelope {
    let to = names.iter().map(|name| recipient(name)).collect();
    Envelope {
        id: "c1-1".into(),
        from: None,
        utf8: false,
        to,
        has_several_addresses: false,
        sent_copy_for: None,
    }
}

fn from_to(sender: &str, names: &[&str]) -> Envelope {
    Envelope { sent_copy_for: Some(mailbox(sender)), ..to(names) }
}

/// The faults in a response: none if every recipient has the message.
#[track_caller]
fn faults(answer: Response) -> Vec<Option<Failure>> {
    match answer {
        Response::Delivered(faults) if faults.iter().all(Option::is_none) => Vec::new(),
        Response::Delivered(faults) => faults,
        other => panic!("{other:?}"),
    }
}

/// The messages that lie in `new/`.
fn new(office: &Office, name: &str) -> usize {
    office.maildir(name).files("new").len()
}

const BOB: &str = "bob@example.test";
const ALICE: &str = "alice@example.test";
const CAROL: &str = "carol@example.test";

#[test]
fn a_mailbox_that_cannot_be_used_keeps_no_other_from_its_mail() {
    for spilled in [None, Some(20)] {
        for broken in ["alice", "bob", "carol"] {
            let mut office = Office::open();
            fs::write(office.spool.join(format!("{broken}@example.test")), "a file").unwrap();
            let names = ["alice", "bob", "carol"];
            let got = faults(office.deliver(MESSAGE, to(&names), true, spilled));
            let expected: Vec<_> =
                names.iter().map(|name| (*name == broken).then_some(Failure::MailboxUnusable)).collect();
            assert_eq!(got, expected, "{spilled:?}");
            for name in names.iter().filter(|name| **name != broken) {
                let maildir = office.maildir(&format!("{name}@example.test"));
                assert_eq!(maildir.only_message(), MESSAGE);
                assert!(maildir.files("tmp").is_empty());
            }
        }
    }
}

#[test]
fn where_all_or_none_must_get_it_one_bad_mailbox_is_enough() {
    for spilled in [None, Some(20)] {
        let mut office = Office::open();
        fs::write(office.spool.join(BOB), "a file").unwrap();
        let answer = office.deliver(MESSAGE, to(&["alice", "bob", "carol"]), false, spilled);
        assert!(matches!(answer, Response::Failed(Failure::MailboxUnusable)), "{answer:?}");
        for name in [ALICE, CAROL] {
            if office.spool.join(name).exists() {
                assert_eq!(new(&office, name), 0);
                eventually("tmp/ is empty", || office.maildir(name).files("tmp").is_empty().then_some(()));
            }
        }
    }
}

#[test]
fn a_message_that_nobody_can_get_fails_as_a_whole() {
    let mut office = Office::open();
    fs::write(office.spool.join(BOB), "a file").unwrap();
    let answer = office.deliver(MESSAGE, to(&["bob"]), true, None);
    assert!(matches!(answer, Response::Failed(Failure::MailboxUnusable)), "{answer:?}");
}

#[test]
fn a_mailbox_that_refuses_the_name_at_the_last_moment_fails_alone() {
    let test = "a_mailbox_that_refuses_the_name_at_the_last_moment_fails_alone";
    for (at, broken) in [ALICE, BOB, CAROL].into_iter().enumerate() {
        let mut office = Office::open();
        let names = ["alice", "bob", "carol"];
        assert!(faults(office.deliver(b"\nfirst\n", to(&names), true, None)).is_empty());
        let unchangeable = office.maildir(broken).path.join("new");
        let chattr = |how: &str| Command::new("chattr").arg(how).arg(&unchangeable).output();
        if !chattr("+i").is_ok_and(|done| done.status.success()) {
            return skip(test, "chattr +i does not work here");
        }
        let partly = office.deliver(MESSAGE, to(&names), true, None);
        let whole = office.deliver(MESSAGE, to(&names), false, None);
        chattr("-i").unwrap();
        let mut expected = vec![None; 3];
        expected[at] = Some(Failure::MailboxUnusable);
        assert_eq!(faults(partly), expected);
        assert!(matches!(whole, Response::Failed(Failure::MailboxUnusable)), "{whole:?}");
        for name in [ALICE, BOB, CAROL] {
            assert_eq!(new(&office, name), if name == broken { 1 } else { 2 }, "{name}");
            assert!(office.maildir(name).files("tmp").is_empty());
        }
    }
}

#[test]
fn mail_goes_to_the_folder_that_is_wanted_if_it_is_there() {
    for spilled in [None, Some(20)] {
        let mut office = Office::open();
        assert!(faults(office.deliver(MESSAGE, to(&["bob+lists"]), false, spilled)).is_empty());
        assert_eq!(new(&office, BOB), 1, "there is no such folder");
        let lists = office.maildir(BOB).path.join(".lists");
        ["tmp", "new", "cur"].iter().for_each(|part| fs::create_dir_all(lists.join(part)).unwrap());
        assert!(faults(office.deliver(MESSAGE, to(&["bob+lists"]), false, spilled)).is_empty());
        assert_eq!((new(&office, BOB), Maildir { path: lists.clone() }.files("new").len()), (1, 1));
        fs::remove_dir_all(&lists).unwrap();
        assert!(faults(office.deliver(MESSAGE, to(&["bob+lists"]), false, spilled)).is_empty());
        assert_eq!(new(&office, BOB), 2, "it is there no longer, and not made");
        assert!(!lists.exists());
    }
}

#[test]
fn a_folder_and_its_inbox_get_one_message_each_and_none_twice() {
    let mut office = Office::open();
    assert!(faults(office.deliver(MESSAGE, to(&["bob", "bob+lists", "bob+none"]), true, None)).is_empty());
    assert_eq!(new(&office, BOB), 1);
    let lists = Maildir { path: office.maildir(BOB).path.join(".lists") };
    ["tmp", "new", "cur"].iter().for_each(|part| fs::create_dir_all(lists.path.join(part)).unwrap());
    assert!(faults(office.deliver(MESSAGE, to(&["bob", "bob+lists", "bob+none"]), true, None)).is_empty());
    assert_eq!((new(&office, BOB), lists.files("new").len()), (2, 1));
}

#[test]
fn what_a_user_submits_is_filed_in_sent_as_seen_and_shares_its_file() {
    for spilled in [None, Some(40)] {
        let mut office = Office::open();
        assert!(faults(office.deliver(MESSAGE, from_to("alice", &["bob"]), false, spilled)).is_empty());
        let sent = Maildir { path: office.maildir(ALICE).path.join(".Sent") };
        assert!(sent.path.join("maildirfolder").is_file());
        let (copy, original) = (sent.files("cur"), office.maildir(BOB).files("new"));
        assert_eq!((copy.len(), sent.files("new").len(), sent.files("tmp").len()), (1, 0, 0));
        assert!(copy[0].to_str().unwrap().ends_with(":2,S"));
        assert_eq!(inode(&copy[0]), inode(&original[0]));
        assert_eq!((new(&office, ALICE), fs::read(&copy[0]).unwrap()), (0, MESSAGE.to_vec()));
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn a_message_id_is_filed_once_and_that_survives_a_restart() {
    let mut office = Office::open();
    let sent =
        |office: &Office| Maildir { path: office.maildir(ALICE).path.join(".Sent") }.files("cur").len();
    office.deliver(MESSAGE, from_to("alice", &["bob"]), false, None);
    office.deliver(MESSAGE, from_to("alice", &["carol"]), false, Some(40));
    assert_eq!((sent(&office), new(&office, BOB), new(&office, CAROL)), (1, 1, 1));
    let mut office = office.reopen();
    office.deliver(MESSAGE, from_to("alice", &["bob"]), false, None);
    assert_eq!((sent(&office), new(&office, BOB)), (1, 2));
    office.deliver(b"Message-ID: <2@example.test>\n\n", from_to("alice", &["bob"]), false, None);
    office.deliver(b"Subject: none\n\n", from_to("alice", &["bob"]), false, None);
    office.deliver(b"Subject: none\n\n", from_to("alice", &["bob"]), false, None);
    assert_eq!(sent(&office), 4, "what has no Message-ID is never the same");
}

#[test]
fn a_sent_folder_that_cannot_be_used_stands_in_nobodys_way() {
    let mut office = Office::open();
    assert!(faults(office.deliver(MESSAGE, to(&["alice"]), false, None)).is_empty());
    fs::write(office.maildir(ALICE).path.join(".Sent"), "a file").unwrap();
    assert!(faults(office.deliver(MESSAGE, from_to("alice", &["bob"]), false, None)).is_empty());
    assert_eq!(new(&office, BOB), 1);
}

#[test]
fn a_message_that_is_refused_leaves_no_copy_in_sent() {
    let mut office = Office::open();
    fs::write(office.spool.join(BOB), "a file").unwrap();
    let answer = office.deliver(MESSAGE, from_to("alice", &["bob", "carol"]), false, None);
    assert!(matches!(answer, Response::Failed(Failure::MailboxUnusable)), "{answer:?}");
    assert!(!office.maildir(ALICE).path.join(".Sent/cur").exists());
    fs::remove_file(office.spool.join(BOB)).unwrap();
    assert!(faults(office.deliver(MESSAGE, from_to("alice", &["bob"]), false, None)).is_empty());
    let sent = Maildir { path: office.maildir(ALICE).path.join(".Sent") };
    assert_eq!(sent.files("cur").len(), 1, "its Message-ID was not taken for filed");
}

/// Changes of files in some directories, in order, as any program may see them.
struct Eyes {
    inotify: OwnedFd,
    directories: Vec<(i32, PathBuf)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// A file that was open for writing was closed.
    Closed(PathBuf),
    /// A name came by rename or link.
    Named(PathBuf),
}

impl Eyes {
    fn on(maildirs: &[Maildir]) -> Self {
        let inotify = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let parts = ["tmp", "new", "cur"].into_iter();
        let all = maildirs.iter().flat_map(|maildir| parts.clone().map(|part| maildir.path.join(part)));
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
        let watch = |path: PathBuf| (inotify::add_watch(&inotify, &path, flags).unwrap(), path);
        let directories = all.map(watch).collect();
        Self { inotify, directories }
    }

    /// All events so far.
    fn seen(&mut self) -> Vec<Seen> {
        let (mut buffer, mut seen) = ([MaybeUninit::uninit(); 4096], Vec::new());
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return seen,
                Err(error) => panic!("{error}"),
            };
            let (_, directory) = self.directories.iter().find(|(wd, _)| *wd == event.wd()).unwrap();
            let path = directory.join(event.file_name().unwrap().to_str().unwrap());
            seen.push(match event.events() {
                ReadFlags::CLOSE_WRITE => Seen::Closed(path),
                _ => Seen::Named(path),
            });
        }
    }

    /// Every message was closed in `tmp/` before it had one of its names in a mailbox, and nothing was closed
    /// afterwards. Returns how many names there were.
    #[track_caller]
    fn names_of_closed_files(&mut self) -> usize {
        let (mut open, mut closed, mut names) = (BTreeSet::new(), BTreeSet::new(), 0);
        for event in self.seen() {
            let (Seen::Closed(path) | Seen::Named(path)) = &event;
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') {
                continue; // no message: a file of ours that is being replaced
            }
            // A name in a mailbox begins as that in tmp/ does: time, process and count.
            let begin = name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
            match &event {
                Seen::Named(_) if path.parent().unwrap().ends_with("tmp") => assert!(open.insert(begin)),
                Seen::Closed(path) => {
                    assert!(path.parent().unwrap().ends_with("tmp"), "closed: {path:?}");
                    // A file without a name is known by the number of its inode.
                    assert!(name.starts_with('#') || open.remove(&begin), "closed, and not begun: {path:?}");
                    closed.insert(begin);
                }
                Seen::Named(path) => {
                    names += 1;
                    let inode = format!("#{}", fs::metadata(path).unwrap().ino());
                    let is_closed = closed.iter().any(|begin| *begin == inode || name.starts_with(begin));
                    assert!(is_closed, "{path:?} has its name while it is open");
                }
            }
        }
        assert!(open.is_empty(), "not closed: {open:?}");
        names
    }
}

#[test]
fn r11_a_file_is_closed_before_it_appears_in_a_mailbox() {
    let memory = memory();
    for spool in [None, Some(memory.path().join("spool"))] {
        a_file_is_closed_before_it_appears(spool);
    }
}

fn a_file_is_closed_before_it_appears(spool: Option<PathBuf>) {
    // The server is a process of its own, because programs that this process starts have its files open for a
    // moment.
    let server = Setup { spool, ..Setup::default() }.start();
    let mut client = Client::smtp(&server);
    client.ask("AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWU=", "235");
    // The mailboxes are there.
    let accepted = |reply: String| assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    accepted(client.deliver(&[ALICE, BOB, CAROL], b"Subject: x\r\n\r\n"));
    let sent = Maildir { path: server.maildir(ALICE).path.join(".Sent") };
    let all = [server.maildir(ALICE), server.maildir(BOB), server.maildir(CAROL), sent];
    let mut eyes = Eyes::on(&all);
    let large = b"a line of text\r\n".repeat(100_000);
    for body in [&b"text\r\n"[..], &large] {
        for to in [&[BOB][..], &[ALICE, BOB, CAROL]] {
            accepted(client.deliver(to, &[b"Subject: x\r\n\r\n", body].concat()));
            assert_eq!(eyes.names_of_closed_files(), to.len() + 1, "{to:?}, and the copy in Sent");
        }
    }
}

#[test]
fn r11_tools_that_file_messages_close_them_before_they_appear() {
    let home = home();
    let spool = home.path().join("spool");
    let bob = Maildir { path: spool.join(BOB) };
    bob.put("1700000000.first", b"\nfirst\n");
    let mut eyes = Eyes::on(&[bob]);
    let mbox = home.path().join("mbox");
    let one = "From a@far.test Sat Jan  3 10:00:00 2026\nSubject: x\n\ntext\n\n";
    fs::write(&mbox, one.repeat(3)).unwrap();
    let run = |words: &[&str]| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
        let done = tool.args(words).args(["--to", BOB, "--spool"]).arg(&spool).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    run(&["import", mbox.to_str().unwrap()]);
    assert_eq!(eyes.names_of_closed_files(), 3);
    run(&["seed", "--nasty", "--count", "1"]);
    assert!(eyes.names_of_closed_files() > 3);
}
