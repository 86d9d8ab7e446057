//! Workers in which one step fails or panics: no file is left in `tmp/`.

use std::{fs, time::SystemTime};

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
