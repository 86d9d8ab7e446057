use std::{collections::HashSet, fs, path::Path};

use proptest::prelude::*;

use super::*;
use crate::{index::budget::Budget, maildir::Spool};

/// A mailbox in the file system of the tests, and both ends of a watcher. `None` from [`Fixture::watched`] if inotify cannot be
/// used here.
struct Fixture {
    home: tempfile::TempDir,
    watcher: Watcher,
    events: MailboxEvents,
}

const BOB: IndexId = IndexId(1);
const LATER: IndexId = IndexId(2);

impl Fixture {
    fn new() -> Self {
        let (watcher, events) = Watcher::start(false);
        Self { home: tempfile::tempdir().unwrap(), watcher, events }
    }

    fn maildir(&self) -> Maildir {
        Spool::open(self.home.path()).unwrap().open_or_create_maildir("bob").unwrap()
    }

    fn watched() -> Option<(Self, Maildir)> {
        let fixture = Self::new();
        let maildir = fixture.maildir();
        fixture.watcher.watch(BOB, &maildir).then_some((fixture, maildir))
    }

    /// All that is in the queue now.
    fn read(&mut self) -> Vec<WatcherReport> {
        self.events.set_readable();
        self.read_some(usize::MAX)
    }

    /// A turn of the loop with this budget.
    fn read_some(&mut self, budget: usize) -> Vec<WatcherReport> {
        let mut reports = Vec::new();
        self.events.read(&mut Budget::new(budget), |report| reports.push(report));
        reports
    }
}

fn changed(id: IndexId, subdir: Subdir, name: &str) -> WatcherReport {
    WatcherReport::Event(MailboxEvent::NameChanged(id, subdir, name.as_bytes().into()))
}

fn removed(id: IndexId, subdir: Subdir, name: &str) -> WatcherReport {
    WatcherReport::Event(MailboxEvent::NameRemoved(id, subdir, name.as_bytes().into()))
}

/// Puts a message where no event is reported, and moves it into place.
fn deliver(maildir: &Path, name: &str) {
    fs::write(maildir.join("tmp").join(name), "x").unwrap();
    fs::rename(maildir.join("tmp").join(name), maildir.join("new").join(name)).unwrap();
}

#[test]
fn each_change_of_a_name_or_its_file_is_reported_in_order() {
    let Some((mut fixture, maildir)) = Fixture::watched() else { return };
    let at = |name: &str| maildir.path().join(name);
    deliver(maildir.path(), "1");
    fs::rename(at("new/1"), at("cur/1:2,S")).unwrap();
    fs::write(at("cur/1:2,S"), "longer").unwrap();
    fs::set_permissions(at("cur/1:2,S"), fs::metadata(at("tmp")).unwrap().permissions()).unwrap();
    fs::hard_link(at("cur/1:2,S"), at("new/2")).unwrap();
    fs::remove_file(at("new/2")).unwrap();
    let (new, cur) = (|name| changed(BOB, Subdir::New, name), |name| changed(BOB, Subdir::Cur, name));
    let (written, marked) = (cur("1:2,S"), cur("1:2,S"));
    assert_eq!(
        fixture.read(),
        [new("1"), new("1"), cur("1:2,S"), written, marked, new("2"), removed(BOB, Subdir::New, "2")]
    );
}

#[test]
fn r20_a_message_that_is_read_causes_no_event() {
    let Some((mut fixture, maildir)) = Fixture::watched() else { return };
    deliver(maildir.path(), "1");
    fixture.read();
    assert_eq!(fs::read(maildir.path().join("new/1")).unwrap(), b"x");
    assert_eq!(fs::read_dir(maildir.path().join("new")).unwrap().count(), 1);
    assert_eq!(fixture.read(), []);
}

#[test]
fn a_barrier_is_reached_once_and_without_any_event() {
    let Some((mut fixture, _)) = Fixture::watched() else { return };
    fixture.read();
    assert!(!fixture.events.has_barrier());
    assert_eq!((fixture.watcher.create_barrier(), fixture.watcher.create_barrier()), (Some(1), Some(2)));
    assert!(fixture.events.has_barrier());
    assert_eq!(fixture.read_some(1), [WatcherReport::Barrier(2)]);
    assert!(!fixture.events.has_barrier());
    assert_eq!(fixture.read(), []);
}

#[test]
fn r21_a_barrier_is_reached_although_changes_never_end() {
    let Some((mut fixture, maildir)) = Fixture::watched() else { return };
    let mut made = 0;
    let mut make = |count| {
        (made..made + count).for_each(|n| deliver(maildir.path(), &n.to_string()));
        made += count;
    };
    make(600);
    assert_eq!(fixture.watcher.create_barrier(), Some(1));
    let mut reported = HashSet::new();
    // More changes come than a turn has the budget for.
    for _ in 0..100 {
        let mut is_reached = false;
        for report in fixture.read_some(30) {
            match report {
                WatcherReport::Event(MailboxEvent::NameChanged(_, _, name)) => drop(reported.insert(name)),
                WatcherReport::Barrier(1) => is_reached = true,
                other => panic!("{other:?}"),
            }
        }
        if is_reached {
            let missing = (0..600).filter(|n: &i32| !reported.contains(n.to_string().as_bytes()));
            assert_eq!(missing.count(), 0, "reported before it");
            return;
        }
        make(200);
    }
    panic!("{} changes were reported, and the barrier not", reported.len());
}

#[test]
fn a_loss_of_events_is_reported_in_its_place_and_before_the_barriers_after_it() {
    let Some((mut fixture, maildir)) = Fixture::watched() else { return };
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: usize = most.trim().parse().unwrap();
    if most > 100_000 {
        return; // it would take too long to fill
    }
    deliver(maildir.path(), "first");
    let [new, cur] = ["new/first", "cur/first:2,"].map(|name| maildir.path().join(name));
    for _ in 0..most / 4 + 1 {
        fs::rename(&new, &cur).unwrap();
        fs::rename(&cur, &new).unwrap();
    }
    fixture.watcher.create_barrier();
    let mut reports = Vec::new();
    while fixture.events.has_barrier() {
        reports.extend(fixture.read_some(1000));
    }
    assert!(matches!(&reports[..], [.., WatcherReport::Overflow, WatcherReport::Barrier(1)]), "{reports:?}");
    assert_eq!(reports.len(), most + 2);
    deliver(maildir.path(), "second");
    assert_eq!(fixture.read(), [changed(BOB, Subdir::New, "second")]);
}

#[test]
fn r22_an_event_of_a_watch_that_has_ended_is_of_no_mailbox() {
    let Some((mut fixture, maildir)) = Fixture::watched() else { return };
    deliver(maildir.path(), "1");
    fixture.watcher.unwatch(BOB);
    assert!(fixture.watcher.watch(LATER, &maildir));
    deliver(maildir.path(), "2");
    assert_eq!(fixture.read(), [changed(LATER, Subdir::New, "2")]);
}

#[test]
fn r22_a_directory_of_two_indexes_reports_to_the_later_one_until_that_ends() {
    let Some((mut fixture, maildir)) = Fixture::watched() else { return };
    assert!(fixture.watcher.watch(LATER, &fixture.maildir()));
    fixture.watcher.unwatch(BOB);
    deliver(maildir.path(), "1");
    assert_eq!(fixture.read(), [changed(LATER, Subdir::New, "1")]);
    fixture.watcher.unwatch(LATER);
    deliver(maildir.path(), "2");
    assert_eq!(fixture.read(), []);
    assert!(lock(&fixture.watcher.watched).owners.is_empty());
}

#[test]
fn r22_an_index_with_another_directory_has_no_event_of_the_earlier_one() {
    let Some((mut fixture, earlier)) = Fixture::watched() else { return };
    let moved = fixture.home.path().join("moved");
    fs::rename(earlier.path(), &moved).unwrap();
    let maildir = fixture.maildir();
    assert!(fixture.watcher.watch(BOB, &maildir));
    deliver(&moved, "1");
    deliver(maildir.path(), "2");
    assert_eq!(fixture.read(), [changed(BOB, Subdir::New, "2")]);
    assert_eq!(lock(&fixture.watcher.watched).owners.len(), 2);
}

#[test]
fn a_directory_that_is_moved_or_removed_is_reported_as_lost() {
    let Some((mut fixture, maildir)) = Fixture::watched() else { return };
    fs::rename(maildir.path().join("new"), maildir.path().join("elsewhere")).unwrap();
    assert_eq!(fixture.read(), [WatcherReport::Event(MailboxEvent::DirectoryLost(BOB))]);
    let path = maildir.path().to_owned();
    drop(maildir);
    fs::remove_dir_all(path).unwrap();
    let reports = fixture.read();
    assert!(reports.contains(&WatcherReport::Event(MailboxEvent::DirectoryLost(BOB))), "{reports:?}");
    // Its watches are over, so that nothing is left to end.
    fixture.watcher.unwatch(BOB);
    assert_eq!(fixture.read(), []);
}

#[test]
fn a_watcher_without_inotify_has_no_barriers_and_no_events() {
    let (watcher, mut events) = Watcher::disabled();
    let fixture = Fixture::new();
    assert!(!watcher.watch(BOB, &fixture.maildir()));
    watcher.unwatch(BOB);
    assert_eq!((watcher.create_barrier(), events.has_barrier()), (None, false));
    assert!(events.as_fd().is_none());
    events.set_readable();
    events.read(&mut Budget::new(1), |report| panic!("{report:?}"));
}

#[test]
fn m31_the_limits_of_the_kernel_are_named_with_the_setting_that_raises_them() {
    let watches = "fs.inotify.max_user_watches";
    assert_eq!(explain(Errno::NOSPC, watches), format!("its limit is reached (sysctl {watches})"));
    assert_eq!(explain(Errno::NOMEM, watches), Errno::NOMEM.to_string());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    /// Before a barrier is reached, every change before it is reported; and every barrier is reached after the queue has been read.
    #[test]
    fn every_barrier_is_reached_and_none_before_the_changes_before_it(
        steps in prop::collection::vec((0u8..4, 1usize..40), 0..60)
    ) {
        let Some((mut fixture, maildir)) = Fixture::watched() else { return Ok(()) };
        // The number of changes before each barrier.
        let (mut made, mut reported, mut before) = (0, 0, vec![0]);
        for (step, count) in steps.into_iter().chain([(3, usize::MAX)]) {
            match step {
                0 => for n in made..made + count {
                    deliver(maildir.path(), &n.to_string());
                },
                1 => {
                    fixture.watcher.create_barrier();
                    before.push(made);
                }
                _ => {}
            }
            made += if step == 0 { count } else { 0 };
            if step < 2 {
                continue;
            }
            fixture.events.set_readable();
            for report in fixture.read_some(count) {
                match report {
                    WatcherReport::Event(MailboxEvent::NameChanged(_, _, name)) => {
                        prop_assert_eq!(name, reported.to_string().into_bytes().into_boxed_slice());
                        reported += 1;
                    }
                    WatcherReport::Barrier(barrier) => prop_assert!(before[barrier as usize] <= reported),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
        prop_assert_eq!(reported, made);
        prop_assert!(!fixture.events.has_barrier());
    }
}
