//! Workers in which one step fails or panics: no file is left in `tmp/`.

use std::{
    fs,
    path::Path,
    sync::{Weak, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    accounts::{HashMemory, Sources, UserFile, Verdict},
    maildir::{
        FileVersion, MessageEntry, Spool, Subdir,
        fault_points::{FaultKind, PlannedFault},
        name::NameGenerator,
    },
    proto::{
        http::api::{ApiAction, ApiRequest, MailboxScope, Selection},
        request::{ConnId, Mailbox, Secret},
    },
    workers::{
        folder_job::{FolderId, FolderJob, FolderOutcome, FolderWork},
        job::Release,
        spill::{SpillPermits, SpillTarget},
    },
};

/// Runs a job as a worker does, and returns its completion.
fn work(storage: &Storage, job: Job) -> Option<Completion> {
    catch_unwind(AssertUnwindSafe(|| job.run(storage, &mut HashMemory::default()))).ok().flatten()
}

/// Spills a message in two pieces and seals it, as far as no fault stops it, and drops it.
fn take_in(storage: &Storage, name_generator: &mut NameGenerator) {
    let conn = ConnId(1);
    let permits = SpillPermits::without_waker();
    let mailboxes = ["bob", "carol"].map(|user| Mailbox::named(&format!("{user}@example.test")).unwrap());
    let mut to =
        SpillTarget::New(mailboxes.to_vec(), name_generator.next(SystemTime::now(), 1), permits.grant());
    for bytes in [&b"Subject: x\n\n"[..], b"text\n"] {
        let spill = Job::Spill { conn, to, bytes: bytes.to_vec(), last: None };
        let Some(Completion::Spilled(_, _, Ok(spilled))) = work(storage, spill) else {
            return assert_eq!(permits.in_use(), 0);
        };
        to = SpillTarget::Existing(spilled);
    }
    let token = AckToken::default();
    let last = Job::Spill { conn, to, bytes: b"end\n".to_vec(), last: Some(token.clone()) };
    if let Some(Completion::Spilled(_, _, Ok(spilled))) = work(storage, last) {
        assert!(spilled.is_sealed());
        work(storage, Job::CountUsage { conn, token, mailboxes: mailboxes.to_vec() });
        assert_eq!(permits.in_use(), 1);
        work(storage, Release::job(spilled));
    }
    assert_eq!(permits.in_use(), 0);
}

#[test]
fn a_worker_that_fails_or_panics_leaves_no_file_in_tmp() {
    let home = tempfile::tempdir().unwrap();
    let storage = Storage::unwatched(Spool::open(&home.path().join("spool")).unwrap());
    let mut name_generator = NameGenerator::new("mx.example.test", 1);
    take_in(&storage, &mut name_generator);
    for error in [FaultKind::Error, FaultKind::Panic] {
        for number in 1.. {
            let plan = PlannedFault::new(&home.path().join("spool"), number, error);
            take_in(&storage, &mut name_generator);
            let hit = plan.triggered_at();
            for user in ["bob", "carol"] {
                let tmp = home.path().join("spool").join(format!("{user}@example.test/tmp"));
                let left = fs::read_dir(tmp).into_iter().flatten().count();
                assert_eq!(left, 0, "{error:?} at step {number}, {hit:?}");
            }
            if hit.is_none() {
                assert!(number > 5, "{number}");
                break;
            }
        }
    }
}

/// A lost wake leaves the loop without an event although a number was stored that it has not seen.
#[test]
fn no_wake_is_lost_however_wake_and_reset_meet() {
    const NUMBERS: u64 = 100_000;
    let mut poll = mio::Poll::new().unwrap();
    let waker = Arc::new(LoopWaker::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
    let told = Arc::new(AtomicU64::new(0));
    let teller = thread::spawn({
        let (waker, told) = (Arc::clone(&waker), Arc::clone(&told));
        move || {
            for number in 1..=NUMBERS {
                told.store(number, Ordering::Release);
                waker.wake();
            }
        }
    });
    let mut events = mio::Events::with_capacity(8);
    let mut seen = 0;
    while seen < NUMBERS {
        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert!(!events.is_empty(), "{seen} seen, {} told", told.load(Ordering::Acquire));
        waker.reset();
        seen = told.load(Ordering::Acquire);
    }
    teller.join().unwrap();
}

#[test]
fn v95_a_request_whose_client_has_gone_is_not_served_unless_it_changes_mail() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::unwatched(Spool::open(dir.path()).unwrap());
    let waiting = Arc::new(());
    let serve = |action: &ApiAction, client: Weak<()>| {
        let request = ApiRequest::new(MailboxScope::All, action.clone());
        let job = Job::Api { conn: ConnId(1), request, reading: None, client };
        matches!(work(&storage, job), Some(Completion::Api(_, Ok(_))))
    };
    for (action, changes_mail) in [(ApiAction::Info, false), (ApiAction::Delete(Selection::All), true)] {
        assert!(serve(&action, Arc::downgrade(&waiting)));
        assert_eq!(serve(&action, Weak::new()), changes_mail, "{action:?}");
    }
}

#[test]
fn y141_a_folder_in_which_another_server_has_given_uids_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::unwatched(Spool::open(dir.path()).unwrap());
    let maildir = Arc::new(storage.spool.open_or_create_maildir("bob").unwrap());
    // Each server has a book in memory, and the proxy turns to one and the other.
    let mut books = [None, None];
    let mut numbers = Vec::new();
    for (inode, server) in [(1, 0), (2, 1), (3, 0), (4, 0), (5, 1), (6, 0)] {
        let version = FileVersion { inode, bytes: 2, modified: (1, 0) };
        let name = format!("{inode}.M1.host").into_bytes().into();
        let message = Box::new(MessageEntry { name, subdir: Subdir::Cur, version, octets: 3 });
        let key = (Mailbox::named("bob").unwrap(), FolderId(1));
        let book = books[server].take();
        let (maildir, work) = (Some(Arc::clone(&maildir)), FolderWork::Number(message));
        let (_, result) = folder_jobs::run(&storage, FolderJob { key, maildir, book, work });
        let FolderOutcome::Numbered(Some((_, uid))) = result.outcome else { panic!("{:?}", result.outcome) };
        books[server] = result.book;
        numbers.push(uid);
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "each number once, in the order of the messages");
}

#[test]
fn n179_memory_gets_a_new_hash_only_if_the_file_has_it() {
    const MD5: &str = "c8dae1c50e092f3d877192fc555b1dcf"; // of "sesame"
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::unwatched(Spool::open(&dir.path().join("spool")).unwrap());
    let users = dir.path().join("users.json");
    let write = |hash: &str| {
        fs::write(&users, format!("{{\"ann@a.test\": {{\"password_hash\": \"{hash}\"}}}}")).unwrap();
    };
    write(MD5);
    let sources = Sources { users: users.clone(), domains: vec!["a.test".into()], ..Sources::default() };
    let accounts = sources.load().unwrap();
    let verdict = |users: &Path| {
        let job = Job::Verify {
            conn: ConnId(1),
            credential: Box::new(accounts.credential("ann")),
            password: Secret::new("sesame"),
            users: Some(UserFile::at(users)),
        };
        let Some(Completion::Verified(_, Ok(verdict))) = work(&storage, job) else { panic!("not checked") };
        verdict
    };
    let ann = Mailbox::named("ann@a.test").unwrap();
    assert_eq!(verdict(&dir.path().join("none/users.json")), Verdict::Right(ann), "not replaced");
    write("!");
    assert_eq!(verdict(&users), Verdict::Wrong, "another password by now");
    write(MD5);
    let first = verdict(&users);
    let Verdict::RightUpgraded { hash, .. } = &first else { panic!("{first:?}") };
    assert!(hash.starts_with("$argon2id$") && fs::read_to_string(&users).unwrap().contains(hash));
    assert_eq!(verdict(&users), first, "as of a second server, which has not read the new hash yet");
}
