//! All programs at once on one mailbox: some send, some deliver beside us, some fetch over POP3, mutt and
//! Dovecot flag, move and delete. A ledger knows of each letter whether it may, must or must not be there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{
        Server,
        client::deliver,
        eventually, home,
        mutt::{self, mutt_in},
    },
    deliverers::Deliverer,
    dovecot::{DOVECOT_IMAP, DOVECOT_LDA},
    fetchers::{Fetcher, Keep, Kind, curl},
    imap::{self, Imap, View},
    ledger::{Change, Ledger},
    letters::{ALICE, OPEN, identified, identify, letter},
    programs::{Story, UNSHARE, in_time, said},
    senders::Sender,
    visit::{Visit, look},
};

pub(crate) fn stories() -> Vec<Story> {
    let mut needs = vec!["procmail", "maildrop", DOVECOT_LDA, DOVECOT_IMAP, UNSHARE, "sh", "cp", "mv"];
    needs.extend(mutt::NEEDS);
    needs.extend(Sender::ALL.map(Sender::program));
    needs.extend(Kind::ALL.map(Kind::program));
    vec![Story::new(&needs, all_at_once_lose_nothing_and_double_nothing)]
}

fn all_at_once_lose_nothing_and_double_nothing() {
    let server = imap::server();
    deliver(&server, ALICE, &letter("first"));
    let stage = &Stage::new(&server);
    stage.ledger().send("first");
    Imap::dovecot(&server).ask("CREATE Archive");
    let fetchers = Kind::ALL.map(Fetcher::new);
    let [mut view, mut archive] = thread::scope(|scope| {
        for sender in Sender::ALL {
            scope.spawn(move || stage.send(sender));
        }
        for deliverer in Deliverer::ALL {
            scope.spawn(move || stage.deliver(deliverer));
        }
        for (fetcher, kind) in fetchers.iter().zip(Kind::ALL) {
            scope.spawn(move || stage.fetch(fetcher, kind));
        }
        scope.spawn(|| stage.visit());
        scope.spawn(|| stage.curl());
        scope.spawn(|| stage.mutt());
        scope.spawn(|| stage.dovecot());
        scope.spawn(|| stage.imap());
        scope.spawn(|| stage.watch()).join().unwrap()
    });
    let maildir = server.maildir(ALICE);
    let files = maildir.files("new").len() + maildir.files("cur").len();
    eventually("a session that was open all the time knows all that is on the disk", || {
        (view.news().len() == files).then_some(())
    });
    let uids: Vec<usize> = Imap::ours(&server).read_all("INBOX").into_iter().map(|(uid, _)| uid).collect();
    assert_eq!(view.news(), uids);
    let archived = Imap::ours(&server).read_all("Archive");
    let uids: Vec<usize> = archived.into_iter().map(|(uid, _)| uid).collect();
    assert!(!uids.is_empty());
    eventually("so does one in the folder that messages are moved to", || {
        (archive.news() == uids).then_some(())
    });
    let left: BTreeSet<String> = look(&server).into_keys().collect();
    let archived = Imap::dovecot(&server).read_all("Archive").into_iter().map(|(_, id)| id).collect();
    let ledger = stage.ledger();
    let mut wrong = ledger.judge(&left, archived);
    let hidden = on_disk(&server).into_iter().filter(|id| !left.contains(id));
    wrong.extend(hidden.map(|id| format!("{id} is on the disk, and not listed")));
    println!("{}", ledger.summary(left.len()));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert_eq!(ledger.idle(&EVERYBODY), None);
}

/// The letters that lie there, but for those that wait for the program that has flagged them as trashed.
fn on_disk(server: &Server) -> Vec<String> {
    let maildir = server.maildir(ALICE);
    let files = [maildir.files("new"), maildir.files("cur")].concat();
    let trashed = |file: &PathBuf| {
        let name = file.to_string_lossy();
        name.rsplit_once(":2,").is_some_and(|(_, flags)| flags.contains('T'))
    };
    let kept = files.iter().filter(|file| !trashed(file));
    kept.map(|file| identified(&fs::read(file).unwrap())).collect()
}

/// The state that all programs share.
struct Stage<'a> {
    server: &'a Server,
    ledger: Mutex<Ledger>,
    removed: Condvar,
    end: Instant,
}

impl<'a> Stage<'a> {
    fn new(server: &'a Server) -> Self {
        let seconds =
            std::env::var("RESTANTE_INTEROP_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
        let end = Instant::now() + Duration::from_secs(seconds);
        Self { server, ledger: Mutex::default(), removed: Condvar::new(), end }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// The numbers of the turns until the time is over, and every program has done something.
    fn turns(&self) -> impl Iterator<Item = usize> {
        (0..).take_while(|_| !self.over(&self.ledger()))
    }

    fn over(&self, ledger: &Ledger) -> bool {
        let late = Instant::now().saturating_duration_since(self.end);
        !late.is_zero() && (late > OVERTIME || ledger.idle(&EVERYBODY).is_none())
    }

    /// Notes a letter that is about to be sent, when there is room for it: programs fetch more slowly than they
    /// send.
    fn announce(&self, id: &str) {
        let mut ledger = self.ledger();
        while ledger.there() > FULL && !self.over(&ledger) {
            ledger = self.removed.wait_timeout(ledger, Duration::from_secs(1)).unwrap().0;
        }
        ledger.send(id);
    }

    fn remove(&self, by: &str, id: &str, change: Change) {
        self.ledger().removed(by, id, change);
        self.removed.notify_all();
    }

    fn send(&self, sender: Sender) {
        for turn in self.turns() {
            let id = format!("{}-{turn}", sender.program());
            self.announce(&id);
            let output = sender.send(self.server, &id);
            self.ledger().done(sender.program(), output.status.success(), || said(&output));
        }
    }

    fn deliver(&self, deliverer: Deliverer) {
        for turn in self.turns() {
            // maildrop adds the end of the last line after it has counted: Dovecot believes its `,S=` and stumbles.
            let open = turn % 3 == 0 && deliverer != Deliverer::Maildrop;
            let id = format!("{}-{turn}{}", deliverer.name(), if open { OPEN } else { "" });
            self.announce(&id);
            let output = deliverer.deliver(self.server, &id);
            self.ledger().done(deliverer.name(), output.status.success(), || said(&output));
        }
    }

    /// Fetches new mail, and now and then everything. A client that finds the mailbox in use, or a letter gone,
    /// ends its session as it likes: its deletions are then uncertain.
    fn fetch(&self, fetcher: &Fetcher, kind: Kind) {
        let mut known = BTreeSet::new();
        for turn in self.turns() {
            let keep = if turn % 4 == 3 { Keep::Nothing } else { Keep::OnServer };
            let fetched = fetcher.fetch(self.server, keep);
            let by = kind.program();
            if fetched.content {
                self.ledger().did(by);
            }
            for letter in fetched.letters {
                let Some(id) = self.ledger().read(by, letter) else { continue };
                match (keep, fetched.content) {
                    (Keep::Nothing, true) => self.remove(by, &id, Change::Yes),
                    (Keep::Nothing, false) => self.remove(by, &id, Change::Perhaps),
                    (Keep::OnServer, true) if !known.insert(id.clone()) => {
                        self.ledger().wrong(format!("{by}: {id} is new twice"));
                    }
                    (Keep::OnServer, _) => {}
                }
            }
        }
    }

    /// Reads everything; deletes two letters, or leaves without QUIT.
    fn visit(&self) {
        for turn in self.turns() {
            let Some(mut visit) = Visit::try_begin(self.server) else { continue };
            let letters = visit.read_all();
            {
                let mut ledger = self.ledger();
                letters.iter().for_each(|(id, uid)| ledger.uid(id, uid));
                letters.keys().for_each(|id| drop(ledger.read(VISITOR, Ok(id.clone()))));
            }
            if turn % 2 == 0 {
                visit.drop();
                continue;
            }
            let deleted: Vec<&String> = letters.keys().take(2).collect();
            let numbers = 1..=visit.count();
            let uids: BTreeSet<&str> = deleted.iter().map(|id| &*letters[*id]).collect();
            let numbers: Vec<usize> = numbers.filter(|number| uids.contains(visit.uid(*number))).collect();
            numbers.into_iter().for_each(|number| visit.delete(number));
            visit.quit();
            deleted.into_iter().for_each(|id| self.remove(VISITOR, id, Change::Yes));
            self.ledger().did(VISITOR);
        }
    }

    /// Reads one letter.
    fn curl(&self) {
        for _ in self.turns() {
            let output = in_time(curl(self.server, "1").output().unwrap());
            if output.status.success() {
                let mut ledger = self.ledger();
                ledger.read(CURL, identify(&output.stdout));
                ledger.did(CURL);
            }
        }
    }

    /// Moves two letters to a Maildir of its own, and deletes only those that it could read; flags everything
    /// else.
    fn mutt(&self) {
        let home = home();
        let got = ["tmp", "new", "cur"].map(|sub| home.path().join("got").join(sub));
        got.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
        let keys = "<tag-pattern>~m 1-2<enter><tag-prefix><save-message>got<enter><untag-pattern>~A<enter>\
                    <tag-pattern>~A<enter><tag-prefix><flag-message><quit>";
        for turn in self.turns() {
            // mutt may also find nothing to do, and wait until it is ended. Each turn gives it more time, since
            // a machine may be slow.
            let seconds = 3 + u32::try_from(turn).unwrap_or(0).min(7);
            let _ = mutt_in(home.path(), &self.server.maildir(ALICE).path, "", keys, seconds);
            let [_, new, cur] = &got;
            let saved = [new, cur].into_iter().flat_map(|dir| fs::read_dir(dir).unwrap());
            for file in saved.map(|entry| entry.unwrap().path()) {
                let text = fs::read(&file).unwrap();
                fs::remove_file(&file).unwrap();
                let read = self.ledger().read(MUTT, identify(&without_length(&text)));
                if let Some(id) = read {
                    self.remove(MUTT, &id, Change::Perhaps);
                    self.ledger().did(MUTT);
                }
            }
        }
    }

    /// Adds a letter, flags everything, moves one away and deletes one that it has read.
    fn dovecot(&self) {
        let mut imap = Imap::dovecot(self.server);
        for turn in self.turns() {
            if turn % 10 == 9 {
                std::mem::replace(&mut imap, Imap::dovecot(self.server)).logout();
            }
            let id = format!("{IMAP}-{turn}");
            self.announce(&id);
            imap.append("INBOX", &letter(&id));
            let letters = imap.read_all("INBOX");
            letters.iter().for_each(|(_, id)| drop(self.ledger().read(IMAP, Ok(id.clone()))));
            if let [(first, moved), .., (last, deleted)] = &letters[..] {
                for id in [moved, deleted] {
                    self.remove(IMAP, id, Change::Perhaps);
                }
                self.ledger().moves(IMAP, moved);
                imap.try_ask("STORE 1:* +FLAGS.SILENT (\\Answered)");
                imap.try_ask(&format!("UID MOVE {first} Archive"));
                imap.try_ask(&format!("UID STORE {last} +FLAGS.SILENT (\\Deleted)"));
                imap.try_ask("EXPUNGE");
            }
            self.ledger().did(IMAP);
        }
        imap.logout();
    }

    /// Adds a letter over our IMAP, flags everything, and deletes or moves two that it has read.
    fn imap(&self) {
        let mut imap = Imap::ours(self.server);
        let mut known = BTreeMap::new();
        for turn in self.turns() {
            if turn % 10 == 9 {
                std::mem::replace(&mut imap, Imap::ours(self.server)).logout();
            }
            let id = format!("{OURS}-{turn}");
            self.announce(&id);
            imap.append("INBOX", &letter(&id));
            let letters = imap.read_all("INBOX");
            for (uid, id) in &letters {
                self.ledger().read(OURS, Ok(id.clone()));
                if known.insert(*uid, id.clone()).is_some_and(|before| before != *id) {
                    self.ledger().wrong(format!("{OURS}: UID {uid} was another letter than {id}"));
                }
            }
            if let [(first, one), .., (last, other)] = &letters[..] {
                for id in [one, other] {
                    self.remove(OURS, id, Change::Perhaps);
                }
                imap.try_ask("STORE 1:* +FLAGS.SILENT (\\Seen)");
                if turn % 3 == 0 {
                    [one, other].into_iter().for_each(|id| self.ledger().moves(OURS, id));
                    imap.try_ask(&format!("UID MOVE {first},{last} Archive"));
                } else {
                    imap.try_ask(&format!("UID STORE {first},{last} +FLAGS.SILENT (\\Deleted)"));
                    imap.try_ask(&format!("UID EXPUNGE {first},{last}"));
                }
            }
            self.ledger().did(OURS);
        }
        imap.logout();
    }

    /// Has both mailboxes open over our IMAP, and gets all their changes.
    fn watch(&self) -> [View; 2] {
        let mut views = ["INBOX", "Archive"].map(|mailbox| View::open(self.server, mailbox));
        for _ in self.turns() {
            views.iter_mut().for_each(|view| drop(view.news()));
            let ledger = self.ledger();
            drop(self.removed.wait_timeout(ledger, Duration::from_millis(100)).unwrap());
        }
        views
    }
}

/// A letter that mutt saved, without the line that it adds at the end of the header.
fn without_length(saved: &[u8]) -> Vec<u8> {
    let header = memchr::memmem::find(saved, b"\n\n").expect("a letter has a body");
    let line = memchr::memmem::rfind(&saved[..header], b"\nContent-Length: ").expect("mutt adds the length");
    [&saved[..line], &saved[header..]].concat()
}

/// The additional time of a slow machine until every program has done something.
const OVERTIME: Duration = Duration::from_secs(300);
/// Letters in the mailbox at which the senders wait for the fetching programs.
const FULL: usize = 60;
/// A POP3 client of our own.
const VISITOR: &str = "visitor";
const MUTT: &str = "mutt";
const CURL: &str = "curl over POP3";
const IMAP: &str = "imap";
const OURS: &str = "ours";
const EVERYBODY: [&str; 16] = [
    "swaks",
    "msmtp",
    "curl",
    "procmail",
    "maildrop",
    "dovecot-lda",
    "cp",
    "mv",
    "fetchmail",
    "mpop",
    "getmail",
    "mutt",
    VISITOR,
    CURL,
    IMAP,
    OURS,
];
