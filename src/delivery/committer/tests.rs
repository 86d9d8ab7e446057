//! Batches in which one step fails or panics, at every step: each message is in all of its mailboxes and
//! acknowledged, or in none and refused; no file is left in `tmp/`, and the next batch works.

mod append;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use super::*;
use crate::{
    maildir::{
        Spool,
        fault_points::{FaultKind, PlannedFault},
        name::{NameGenerator, UniqueName},
    },
    proto::{
        request::{ConnId, Mailbox, Recipient},
        smtp::address::Address,
    },
    workers::{
        AckToken, DeliveryReceipt, SpilledMessage,
        spill::{self, SpillPermits, SpillTarget},
    },
};

/// A kind of batch.
#[derive(Debug, Clone, Copy)]
struct BatchKind {
    mailboxes: usize,
    messages: usize,
    spilled: bool,
    sent: bool,
    partly: bool,
    helpers: usize,
    /// Whether the spool is on the disk of the build, whose file system syncfs may cover, and not in memory.
    disk: bool,
    /// Whether the last mailbox is on another file system.
    abroad: bool,
    /// Whether the second mailbox is unusable.
    broken: bool,
    /// Whether messages from memory have a name in `tmp/`, as on file systems without files that have none.
    named: bool,
}

const SIMPLE: BatchKind = BatchKind {
    mailboxes: 1,
    messages: 1,
    spilled: false,
    sent: false,
    partly: false,
    helpers: 2,
    disk: false,
    abroad: false,
    broken: false,
    named: false,
};

/// The parts of a committer on a spool of its own, without its thread.
struct Fixture {
    kind: BatchKind,
    storage: Storage,
    maildirs: MaildirCache,
    syncer: Syncer,
    name_generator: NameGenerator,
    spool: PathBuf,
    mounted: Option<PathBuf>,
    _home: tempfile::TempDir,
}

/// The result of a message, and its text.
type Told = (Result<DeliveryReceipt, Failure>, Vec<u8>);

impl Fixture {
    /// `None` if this process may not mount.
    fn new(kind: BatchKind) -> Option<Self> {
        let disk = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target"));
        let memory = Path::new("/dev/shm");
        let home = if kind.disk || !memory.is_dir() { disk } else { memory };
        let home = tempfile::tempdir_in(home).unwrap();
        let spool = home.path().join("spool");
        let opened = Spool::open(&spool).unwrap();
        let mut syncer = Syncer::start(&opened, kind.helpers);
        syncer.unnamed_files = !kind.named;
        let mut bench = Self {
            kind,
            storage: Storage::unwatched(opened),
            maildirs: MaildirCache::new(8),
            syncer,
            name_generator: NameGenerator::new("mx.example.test", 1),
            spool,
            mounted: None,
            _home: home,
        };
        if kind.abroad {
            let last = bench.spool.join(mailbox(kind.mailboxes - 1).as_str());
            fs::create_dir(&last).unwrap();
            let mount = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&last).output().ok()?;
            mount.status.success().then_some(())?;
            bench.mounted = Some(last.clone());
            assert_ne!(last.metadata().unwrap().dev(), bench.spool.metadata().unwrap().dev());
        }
        Some(bench)
    }

    /// Runs a batch of this kind, and returns the result of each message.
    fn round(&mut self) -> Vec<Told> {
        let batch: Vec<(Delivery, Vec<u8>)> =
            (0..self.kind.messages).filter_map(|n| self.delivery(n)).collect();
        let (batch, texts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let decisions: Vec<_> = batch.iter().map(|delivery| delivery.ack_token.clone()).collect();
        let all = run_batch(&self.storage, &mut self.maildirs, &mut self.syncer, batch);
        let told = all.into_iter().zip(decisions).map(|(done, decision)| match done {
            Completion::Delivered(_, _, result) => {
                assert!(result.is_err() || decision.is_claimed());
                result
            }
            other => panic!("{other:?}"),
        });
        told.zip(texts).collect()
    }

    /// `None` if the fault has occurred before the committer.
    fn delivery(&mut self, number: usize) -> Option<(Delivery, Vec<u8>)> {
        let text = format!("Message-ID: <{number}@far.test>\n\nMessage {number}.\n").into_bytes();
        let name = self.name_generator.next(SystemTime::now(), number as u64);
        let content = if self.kind.spilled {
            Content::SyncedFile(self.spill(name, &text)?)
        } else {
            Content::Memory(name, text.clone())
        };
        let to = (0..self.kind.mailboxes).map(|n| {
            let address = Address::parse(mailbox(n).as_str()).unwrap();
            Ok(Recipient { address, mailbox: mailbox(n), folder: None })
        });
        let delivery = Delivery {
            from: ConnId(number as u64),
            to: to.collect(),
            partial_ok: self.kind.partly,
            sent_copy_for: self.kind.sent.then(sender),
            append: None,
            content,
            ack_token: AckToken::default(),
        };
        Some((delivery, text))
    }

    fn message_to(&mut self, numbers: &[usize]) -> Delivery {
        let (mut delivery, _) = self.delivery(0).unwrap();
        let recipient = |n: &usize| {
            let address = Address::parse(mailbox(*n).as_str()).unwrap();
            Ok(Recipient { address, mailbox: mailbox(*n), folder: None })
        };
        delivery.to = numbers.iter().map(recipient).collect();
        delivery
    }

    /// Spills and seals a message, as a worker does.
    fn spill(&self, name: UniqueName, text: &[u8]) -> Option<Box<SpilledMessage>> {
        let to = SpillTarget::New(vec![mailbox(0)], name, SpillPermits::without_waker().grant());
        catch_panic(|| spill::spill(&self.storage, to, text, true).ok())?
    }

    fn files(&self, mailbox: &str, directory: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.spool.join(mailbox).join(directory)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn count(&self, mailbox: &str, directory: &str, text: &[u8]) -> usize {
        let files = self.files(mailbox, directory);
        files.iter().filter(|file| fs::read(file).unwrap() == text).count()
    }

    /// Checks that every message is in the mailboxes that its result names, once, and that no other file exists.
    /// Returns the number of acknowledged messages.
    fn check(&self, told: &[Told], case: &str) -> usize {
        for (n, (result, text)) in told.iter().enumerate() {
            for at in 0..self.kind.mailboxes {
                let got = match result {
                    Ok(receipt) => receipt.failures[at].is_none(),
                    Err(_) => false,
                };
                assert!(self.kind.partly || got == result.is_ok(), "{case}: message {n}: {result:?}");
                let there = self.count(mailbox(at).as_str(), "new", text);
                assert_eq!(there, usize::from(got), "{case}: message {n} in mailbox {at}: {result:?}");
            }
            let copies = self.count(sender().as_str(), ".Sent/cur", text);
            assert!(copies <= usize::from(result.is_ok()), "{case}: copies of message {n}: {copies}");
            if let Ok(receipt) = result {
                let got = receipt.failures.iter().filter(|failure| failure.is_none()).count();
                assert_eq!(receipt.arrivals.len(), got + copies, "{case}: message {n}");
            }
        }
        let names: Vec<String> = (0..self.kind.mailboxes).map(|n| mailbox(n).to_string()).collect();
        for name in names.iter().cloned().chain([sender().to_string(), format!("{}/.Sent", sender())]) {
            assert_eq!(self.files(&name, "tmp"), Vec::<PathBuf>::new(), "{case}");
            let known =
                told.iter().map(|(_, text)| self.count(&name, "new", text) + self.count(&name, "cur", text));
            let all = self.files(&name, "new").len() + self.files(&name, "cur").len();
            assert_eq!(all, known.sum::<usize>(), "{case}: files of nobody in {name}");
        }
        told.iter().filter(|(result, _)| result.is_ok()).count()
    }

    fn empty(&mut self) {
        let names: Vec<String> = (0..self.kind.mailboxes).map(|n| mailbox(n).to_string()).collect();
        for name in names.into_iter().chain([format!("{}/.Sent", sender())]) {
            for directory in ["new", "cur", "tmp"] {
                self.files(&name, directory).iter().for_each(|file| fs::remove_file(file).unwrap());
            }
        }
        let _ = fs::remove_file(self.spool.join(sender().as_str()).join(".Sent/.restante.sent"));
        self.maildirs.clear();
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(mounted) = &self.mounted {
            let _ = Command::new("umount").arg("-l").arg(mounted).status(); // a failure here changes no result
        }
    }
}

fn mailbox(number: usize) -> Mailbox {
    Mailbox::named(&format!("user{number}@example.test")).unwrap()
}

fn sender() -> Mailbox {
    Mailbox::named("sender@example.test").unwrap()
}

/// Injects a fault into every step of a batch of that kind, one step after the other, until a batch does not reach
/// it.
fn trouble_at_every_step(kind: BatchKind) {
    let Some(mut bench) = Fixture::new(kind) else {
        return eprintln!("SKIPPED {kind:?}: only root may mount");
    };
    let all = kind.messages;
    let told = bench.round();
    assert_eq!(bench.check(&told, "without trouble"), all);
    if kind.broken {
        let broken = bench.spool.join(mailbox(1).as_str());
        fs::rename(broken.join("new"), broken.join("new is away")).unwrap();
    }
    for error in [FaultKind::Error, FaultKind::Panic] {
        let (mut number, mut refused) = (0, 0);
        loop {
            number += 1;
            bench.empty();
            let plan = PlannedFault::new(&bench.spool, number, error);
            let told = bench.round();
            let hit = plan.triggered_at();
            drop(plan);
            let case = format!("{error:?} at step {number}, {hit:?}, of {kind:?}");
            let good = bench.check(&told, &case);
            refused += usize::from(good < all);
            bench.empty();
            let later = bench.round();
            assert_eq!(bench.check(&later, &format!("a round after {case}")), all, "{case}");
            if hit.is_none() {
                assert_eq!(good, all, "{case}");
                break;
            }
        }
        assert!(number > 5 && refused > 3, "{kind:?}: {number} steps, {refused} rounds with a refusal");
    }
}

#[test]
fn a_message_for_one_mailbox_is_acknowledged_and_there_or_refused_and_not_there() {
    for spilled in [false, true] {
        trouble_at_every_step(BatchKind { spilled, disk: !spilled, ..SIMPLE });
        trouble_at_every_step(BatchKind { spilled, sent: true, ..SIMPLE });
    }
    trouble_at_every_step(BatchKind { named: true, disk: true, ..SIMPLE });
    trouble_at_every_step(BatchKind { named: true, sent: true, ..SIMPLE });
}

#[test]
fn a_message_for_three_mailboxes_is_in_all_of_them_or_in_none() {
    for (spilled, helpers, named) in
        [(false, 2, false), (true, 2, false), (false, 0, false), (false, 2, true)]
    {
        let kind = BatchKind { mailboxes: 3, spilled, helpers, named, ..SIMPLE };
        trouble_at_every_step(kind);
        trouble_at_every_step(BatchKind { sent: true, ..kind });
    }
}

#[test]
fn messages_of_one_round_fail_alone_or_all_of_them() {
    for (spilled, partly, disk) in [(false, false, true), (true, true, true), (false, true, false)] {
        let kind = BatchKind { mailboxes: 2, messages: 3, spilled, partly, disk, ..SIMPLE };
        trouble_at_every_step(BatchKind { sent: !spilled, ..kind });
        if !spilled {
            trouble_at_every_step(BatchKind { named: true, ..kind });
        }
    }
}

#[test]
fn a_recipient_of_lmtp_who_is_refused_has_nothing_and_the_others_have_it() {
    for (spilled, broken) in [(false, false), (true, false), (false, true), (true, true)] {
        trouble_at_every_step(BatchKind { mailboxes: 3, partly: true, spilled, broken, ..SIMPLE });
    }
}

#[test]
fn a_mailbox_on_another_file_system_is_no_exception() {
    for (spilled, messages, named) in
        [(false, 1, false), (true, 1, false), (false, 2, false), (false, 2, true)]
    {
        trouble_at_every_step(BatchKind { mailboxes: 3, spilled, messages, named, abroad: true, ..SIMPLE });
    }
}

#[test]
fn a_round_takes_as_many_messages_as_it_may_open_mailboxes_for() {
    let mut bench = Fixture::new(SIMPLE).unwrap();
    bench.maildirs = MaildirCache::new(2);
    let mut mailboxes = Mailboxes::default();
    mailboxes.add(&bench.message_to(&[0]));
    assert!(mailboxes.add_if_fits(&bench.message_to(&[0, 0]), 2), "one mailbox is opened once");
    assert!(!mailboxes.add_if_fits(&bench.message_to(&[1, 2]), 2));
    assert!(mailboxes.add_if_fits(&bench.message_to(&[1]), 2), "the one that did not fit counts no more");
    assert!(!mailboxes.add_if_fits(&bench.message_to(&[2]), 2));

    // Each batch has room in addition to the mailboxes that earlier batches left open. A message to more is refused
    // whole.
    for (number, good) in [([0, 1, 1], true), ([2, 3, 3], true), ([3, 4, 4], true), ([5, 6, 7], false)] {
        let delivery = bench.message_to(&number);
        let mut mailboxes = Mailboxes::default();
        mailboxes.add(&delivery);
        bench.maildirs.make_room_for(&mailboxes);
        let told = run_batch(&bench.storage, &mut bench.maildirs, &mut bench.syncer, vec![delivery]);
        assert!(matches!(&told[0], Completion::Delivered(_, _, result) if result.is_ok() == good));
        let there = number.iter().filter(|n| !bench.files(mailbox(**n).as_str(), "new").is_empty()).count();
        assert_eq!(there > 0, good, "{number:?}");
        assert!(number.iter().all(|n| bench.files(mailbox(*n).as_str(), "tmp").is_empty()));
    }
}

#[test]
fn m26_a_mailbox_on_another_file_system_gets_files_with_names() {
    for (abroad, expected) in [(false, "create unnamed"), (true, "create")] {
        let Some(mut bench) = Fixture::new(BatchKind { abroad, ..SIMPLE }) else { return };
        if !bench.syncer.unnamed_files {
            return; // a test of the build disk, which may be any
        }
        let below = bench.spool.join(mailbox(0).as_str());
        bench.round(); // opens the mailbox
        // A fault at each step until the file is created.
        let created = (1..100).find_map(|step| {
            let fault = PlannedFault::new(&below, step, FaultKind::Error);
            bench.round();
            fault.triggered_at().filter(|step| step.starts_with("create"))
        });
        assert_eq!(created, Some(expected));
    }
}
