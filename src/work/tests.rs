//! Workers in which one step fails or panics: no file is left in `tmp/`. The bell that wakes the loop.

use std::{
    fs,
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    accounts::Scratch,
    maildir::{
        Spool,
        name::Namer,
        steps::{Plan, Trouble},
    },
    proto::ask::Mailbox,
    work::job::{SpillTo, Task},
};

/// What a worker does with a task.
fn work(shop: &Shop, task: Task) -> Option<Outcome> {
    catch_unwind(AssertUnwindSafe(|| task.run(shop, &mut Scratch::default()))).ok()
}

/// Spills a message in two pieces and settles it, as far as it goes; removes it then, as the loop has it done.
fn take_in(shop: &Shop, namer: &mut Namer) {
    let mailboxes = ["bob", "carol"].map(|user| Mailbox::named(&format!("{user}@example.test")).unwrap());
    let mut to = SpillTo::New(mailboxes.to_vec(), namer.next(SystemTime::now(), 1));
    for bytes in [&b"Subject: x\n\n"[..], b"text\n"] {
        let Some(Outcome::Spilled(Ok(spilled))) = work(shop, Task::Spill { to, bytes: bytes.to_vec() })
        else {
            return;
        };
        to = SpillTo::Begun(spilled);
    }
    let SpillTo::Begun(spilled) = to else { unreachable!() };
    let decision = Decision::default();
    let settle = Task::Settle { spilled, bytes: b"end\n".to_vec(), decision: decision.clone() };
    if let Some(Outcome::Settled(_, Ok(spilled))) = work(shop, settle) {
        assert!(spilled.draft.is_closed());
        work(shop, Task::Count(mailboxes.to_vec(), decision));
        work(shop, Task::Discard(spilled));
    }
}

#[test]
fn a_worker_that_fails_or_panics_leaves_no_file_in_tmp() {
    let home = tempfile::tempdir().unwrap();
    let shop = Shop::unwatched(Spool::open(&home.path().join("spool")).unwrap());
    let mut namer = Namer::new("mx.example.test", 1);
    take_in(&shop, &mut namer);
    for trouble in [Trouble::Error, Trouble::Panic] {
        for number in 1.. {
            let plan = Plan::new(&home.path().join("spool"), number, trouble);
            take_in(&shop, &mut namer);
            let hit = plan.hit();
            for user in ["bob", "carol"] {
                let tmp = home.path().join("spool").join(format!("{user}@example.test/tmp"));
                let left = fs::read_dir(tmp).into_iter().flatten().count();
                assert_eq!(left, 0, "{trouble:?} at step {number}, {hit:?}");
            }
            if hit.is_none() {
                assert!(number > 5, "{number}");
                break;
            }
        }
    }
}

/// Each number is told only when the one before was seen, so that a ring that is lost ends the test.
#[test]
fn no_ring_is_lost_however_ring_and_answer_meet() {
    const NUMBERS: u64 = 100_000;
    let mut poll = mio::Poll::new().unwrap();
    let bell = Arc::new(Bell::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
    let told = Arc::new(AtomicU64::new(0));
    let teller = thread::spawn({
        let (bell, told) = (Arc::clone(&bell), Arc::clone(&told));
        move || {
            for number in 1..=NUMBERS {
                told.store(number, Ordering::Release);
                bell.ring();
            }
        }
    });
    let mut events = mio::Events::with_capacity(8);
    let mut seen = 0;
    while seen < NUMBERS {
        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert!(!events.is_empty(), "{seen} seen, {} told", told.load(Ordering::Acquire));
        bell.answer();
        seen = told.load(Ordering::Acquire);
    }
    teller.join().unwrap();
}
