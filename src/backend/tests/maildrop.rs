use std::path::PathBuf;

use super::{
    super::{
        clients::Clients,
        effects::{Effect, Effects},
        maildrop::Maildrops,
        quota::QuotaCache,
    },
    *,
};
use crate::{
    accounts::HashMemory,
    index::Registry,
    limits::{Limits, Size, Span},
    proto::request::Access,
    workers::Job,
};

/// The maildrops, an index, and jobs that a test runs one by one.
struct Bench {
    fixture: Fixture,
    maildrops: Maildrops,
    clients: Clients,
    index: Registry,
    quotas: QuotaCache,
    effects: Effects,
}

impl Bench {
    fn new() -> Self {
        let fixture = Fixture::new();
        let mut limits = Limits::default();
        limits.pop3.login_delay = Span(Duration::ZERO);
        limits.disk.read_size = Size(4096);
        let mut maildrops = Maildrops::new(&limits, &fixture.fd_budget(), fixture.completions.clone());
        maildrops.cached_reads().ignore_durations();
        let clients = Clients::default();
        let quotas = QuotaCache::new(10, SECOND);
        let index = Registry::new(&Limits::default(), 10);
        Self { fixture, maildrops, clients, index, quotas, effects: Effects::default() }
    }

    /// With a message of that many octets, which the client has listed.
    fn with_message(octets: usize) -> Self {
        let mut bench = Self::new();
        bench.deliver_by_hand("1.one.host");
        std::fs::write(bench.message(), vec![b'x'; octets]).unwrap();
        bench.open(CLIENT);
        bench.work();
        bench.expect_effects(&["c1 opened 1"]);
        bench
    }

    fn message(&self) -> PathBuf {
        self.fixture.storage.maildir(&mailbox("ann")).unwrap().path().join("new/1.one.host")
    }

    /// Whether the file system of the tests lets the loop read from memory.
    fn reads_from_memory(&mut self) -> bool {
        self.read(0);
        matches!(self.effects.next(), Some(Effect::Respond(..)))
    }

    /// Asks for a piece of the first message.
    fn read(&mut self, from: u64) {
        let client = self.clients.get_mut(CLIENT).unwrap();
        self.maildrops.read((CLIENT, client), (0, from), SECOND, &mut self.effects);
    }

    /// The length of the piece that was read, and whether it is the last.
    #[track_caller]
    fn next_chunk(&mut self) -> (usize, bool) {
        match self.effects.next() {
            Some(Effect::Respond(CLIENT, Response::Chunk { bytes, last })) => (bytes.len(), last),
            other => panic!("no chunk: {other:?}"),
        }
    }

    fn open(&mut self, id: ConnId) {
        self.open_for(id, Access::Exclusive);
    }

    fn open_for(&mut self, id: ConnId, access: Access) {
        self.clients.request(id);
        let client = self.clients.get_mut(id).unwrap();
        let login = (mailbox("ann"), access, SECOND);
        self.maildrops.open((id, client), login, &mut self.index, &mut self.effects);
    }

    fn run(&self, job: Job) -> Option<Completion> {
        job.run(&self.fixture.storage, &mut HashMemory::default())
    }

    /// Runs the next job and dispatches its completion.
    #[track_caller]
    fn work(&mut self) {
        let Some(Effect::Run(job)) = self.effects.next() else { panic!("no job") };
        if let Some(completion) = self.run(job) {
            self.take(completion);
        }
        while let Ok(completion) = self.fixture.sent.try_recv() {
            self.take(completion);
        }
    }

    fn take(&mut self, completion: Completion) {
        let Self { maildrops, clients, index, quotas, effects, .. } = self;
        match completion {
            Completion::Unlocked(mailbox) => maildrops.lock_released(&mailbox, clients, index, effects),
            Completion::Opened(id, result) => {
                maildrops.open_finished((id, clients.get_mut(id).unwrap()), result, index, effects);
                self.scan();
            }
            Completion::Updated(id, done, result) => {
                maildrops.update_finished(
                    (id, clients.get_mut(id).unwrap()),
                    done,
                    result,
                    index,
                    quotas,
                    effects,
                );
            }
            Completion::Read(id, message, result) => {
                Maildrops::read_finished((id, clients.get_mut(id).unwrap()), message, result, index, effects);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Scans the mailbox for the index, which opens it.
    fn scan(&mut self) {
        for (id, job) in self.index.take_jobs() {
            if let Some(Completion::Index(id, result)) = self.run(Job::Index(id, job)) {
                self.index.complete(id, result);
            }
        }
        for (id, result) in self.index.take_login_results() {
            let client = (id, self.clients.get_mut(id).unwrap());
            self.maildrops.index_ready(client, result, &mut self.index, &mut self.effects);
        }
    }

    fn quit(&mut self, id: ConnId, delete: &[usize]) {
        self.clients.request(id);
        let client = self.clients.get_mut(id).unwrap();
        let changes = (delete.to_vec(), Vec::new());
        self.maildrops.update((id, client), changes, &mut self.index, &mut self.effects);
    }

    fn deliver_by_hand(&self, name: &str) {
        let maildir = self.fixture.storage.maildir(&mailbox("ann")).unwrap();
        std::fs::write(maildir.path().join("new").join(name), "x\n").unwrap();
    }

    #[track_caller]
    fn expect_effects(&mut self, expected: &[&str]) {
        assert_eq!(effect_texts(&mut self.effects), expected);
    }
}

#[test]
fn a_mailbox_is_one_sessions_and_free_when_its_lock_is_closed() {
    let mut bench = Bench::new();
    bench.deliver_by_hand("1.one.host");
    bench.open(CLIENT);
    bench.work();
    bench.expect_effects(&["c1 opened 1"]);
    bench.open(OTHER);
    bench.expect_effects(&["c2 failed InUse"]);
    bench.quit(CLIENT, &[]);
    bench.open(OTHER); // waits, because the lock is about to be closed
    bench.work();
    let Some(Effect::Respond(CLIENT, Response::Done)) = bench.effects.next() else {
        panic!("no reply to QUIT")
    };
    bench.work();
    bench.expect_effects(&["c2 opened 1"]);
    assert_eq!(bench.maildrops.len(), 1);
}

#[test]
fn readers_open_a_mailbox_beside_the_session_that_has_locked_it_and_hear_what_it_deletes() {
    let mut bench = Bench::new();
    bench.deliver_by_hand("1.one.host");
    bench.open(CLIENT);
    bench.work();
    bench.expect_effects(&["c1 opened 1"]);
    bench.open_for(OTHER, Access::Shared);
    bench.work();
    bench.expect_effects(&["c2 opened 1"]);
    assert_eq!(bench.maildrops.len(), 2);
    bench.quit(CLIENT, &[0]);
    bench.work();
    let changes = bench.index.take_changes();
    let [change] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((change.messages, &change.sessions[..]), (0, &[OTHER][..]));
    // A mailbox that is only read is free for the next exclusive login.
    while bench.maildrops.len() > 1 {
        bench.work();
    }
    bench.open(CLIENT);
    bench.work();
    assert_eq!(bench.maildrops.len(), 2);
}

#[test]
fn the_reply_to_a_quit_that_deletes_finds_the_mailbox_free() {
    let mut bench = Bench::new();
    bench.deliver_by_hand("1.one.host");
    bench.open(CLIENT);
    bench.work();
    bench.expect_effects(&["c1 opened 1"]);
    bench.quit(CLIENT, &[0]);
    bench.work();
    assert_eq!(bench.maildrops.len(), 0);
    let Some(Effect::Run(Job::Release(_))) = bench.effects.next() else { panic!("no release") };
    bench.expect_effects(&["c1 done"]);
}

#[test]
fn a_login_that_can_not_have_the_lock_leaves_the_mailbox_free() {
    let mut bench = Bench::new();
    let maildir = bench.fixture.storage.maildir(&mailbox("ann")).unwrap();
    let lock = crate::maildir::lock::Lock::acquire(&maildir).unwrap();
    bench.open(CLIENT);
    bench.work();
    bench.expect_effects(&["c1 failed InUse"]);
    assert_eq!(bench.maildrops.len(), 0);
    drop(lock);
    bench.open(CLIENT);
    bench.work();
    bench.expect_effects(&["c1 opened 0"]);
}

#[test]
fn a_job_that_is_never_done_gives_the_mailbox_back_all_the_same() {
    let mut bench = Bench::new();
    bench.open(CLIENT);
    let Some(Effect::Run(job)) = bench.effects.next() else { panic!("no job") };
    bench.take(job.failure_completion(Failure::TempFail).unwrap());
    bench.expect_effects(&["c1 failed TempFail"]);
    assert_eq!(bench.maildrops.len(), 0);

    bench.deliver_by_hand("1.one.host");
    bench.open(CLIENT);
    bench.work();
    bench.expect_effects(&["c1 opened 1"]);
    bench.quit(CLIENT, &[0]);
    let Some(Effect::Run(job)) = bench.effects.next() else { panic!("no job") };
    let lost = job.failure_completion(Failure::TempFail).unwrap();
    drop(job);
    bench.take(bench.fixture.sent.try_recv().unwrap());
    bench.take(lost);
    assert_eq!(bench.maildrops.len(), 0);
    assert_eq!(effect_texts(&mut bench.effects).last().unwrap(), "c1 failed TempFail");
}

#[test]
fn logins_whose_clients_have_gone_do_not_get_the_mailbox() {
    let mut bench = Bench::new();
    bench.open(CLIENT);
    bench.work();
    bench.expect_effects(&["c1 opened 0"]);
    bench.quit(CLIENT, &[]);
    bench.open(OTHER);
    assert!(bench.clients.close(OTHER).is_none());
    bench.work();
    bench.expect_effects(&["c1 done", "c2 failed InUse"]);
    assert_eq!(bench.maildrops.len(), 0);
}

#[test]
fn a_large_message_is_read_by_workers_in_pieces_from_a_file_that_stays_open() {
    let mut bench = Bench::with_message(21_000);
    for (from, length, is_last) in [(0, 4096, false), (4096, 16_384, false), (20_480, 520, true)] {
        bench.read(from);
        bench.work();
        if from == 0 {
            std::fs::remove_file(bench.message()).unwrap();
        }
        assert_eq!(bench.next_chunk(), (length, is_last));
    }
}

#[test]
fn the_later_pieces_of_a_message_are_no_larger_than_the_first_beside_many_sessions() {
    let mut bench = Bench::with_message(21_000);
    bench.maildrops.add_readers(4096);
    for (from, length) in [(0, 4096), (4096, 4096), (8192, 4096)] {
        bench.read(from);
        bench.work();
        assert_eq!(bench.next_chunk(), (length, false));
    }
}

#[test]
fn a_small_message_in_memory_is_read_without_a_worker_until_the_reads_of_the_turn_are_spent() {
    let mut bench = Bench::with_message(4096);
    if !bench.reads_from_memory() {
        return;
    }
    let read = (0..).find(|_| {
        bench.read(0);
        match bench.effects.next() {
            Some(Effect::Respond(CLIENT, Response::Chunk { bytes, last: true })) => bytes.len() != 4096,
            other => matches!(other, Some(Effect::Run(Job::Read { .. }))),
        }
    });
    assert_eq!(read, Some(1023), "one was read before");
    bench.maildrops.begin_turn();
    bench.read(0);
    assert_eq!(bench.next_chunk(), (4096, true));
}

#[test]
fn a_message_that_was_moved_or_changed_is_left_to_a_worker() {
    let mut bench = Bench::with_message(100);
    let moved = bench.message().with_file_name("../cur/1.one.host:2,S");
    std::fs::rename(bench.message(), &moved).unwrap();
    bench.read(0);
    bench.work();
    assert_eq!(bench.next_chunk(), (100, true));
    std::fs::write(&moved, "another").unwrap();
    bench.read(0);
    bench.work();
    bench.expect_effects(&["c1 failed Changed"]);
}
