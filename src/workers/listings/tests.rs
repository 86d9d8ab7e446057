use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::*;
use crate::{
    maildir::{
        Spool,
        fault_points::{FaultKind, PlannedFault},
    },
    proto::http::api::{ApiAction, ApiRequest, MailChange, MailEvent, MessageName, Selection},
    workers::{
        api_jobs::{changes, run},
        job::{ApiOutcome, Changes},
    },
};

/// A change of a mailbox by another program; the number selects a file, or names a new one.
#[derive(Debug, Clone, Copy)]
enum Act {
    Deliver(u8),
    /// A file in `cur/` of the identity that a delivery of this number has.
    Double(u8),
    MarkRead(u8),
    Delete(u8),
    /// Another file takes the name.
    Replace(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..8_u8).prop_map(Act::Deliver),
        (0..8_u8).prop_map(Act::Double),
        (0..8_u8).prop_map(Act::MarkRead),
        (0..8_u8).prop_map(Act::Delete),
        (0..8_u8).prop_map(Act::Replace),
    ]
}

/// The files of a mailbox, in order.
fn files(maildir: &Path) -> Vec<PathBuf> {
    let of = |part: &str| fs::read_dir(maildir.join(part)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = of("new").chain(of("cur")).collect();
    files.sort();
    files
}

impl Act {
    /// Changes the mailbox. Files that go stay open, so that no other file gets their inodes.
    fn run(self, maildir: &Path, gone: &mut Vec<fs::File>) {
        let new = |path: String, text: &str| {
            if let Ok(mut file) = fs::File::create_new(maildir.join(path)) {
                file.write_all(text.as_bytes()).unwrap();
            }
        };
        let all = files(maildir);
        let file = |n: u8| all.get(usize::from(n) % all.len().max(1));
        match self {
            Self::Deliver(n) => new(format!("new/17000000{n:02}.a"), "text\n"),
            Self::Double(n) => new(format!("cur/17000000{n:02}.a:2,F"), "2\n"),
            Self::MarkRead(n) => {
                let Some(from) = file(n) else { return };
                let name = name::with_flag(from.file_name().unwrap().as_encoded_bytes(), b'S');
                let to = maildir.join("cur").join(String::from_utf8(name).unwrap());
                // A move over another file would be a deletion too.
                if !to.exists() {
                    fs::rename(from, to).unwrap();
                }
            }
            Self::Delete(n) => {
                let Some(file) = file(n) else { return };
                gone.push(fs::File::open(file).unwrap());
                fs::remove_file(file).unwrap();
            }
            Self::Replace(n) => {
                let Some(file) = file(n) else { return };
                gone.push(fs::File::open(file).unwrap());
                fs::write(maildir.join("tmp/other"), "another text\n").unwrap();
                fs::rename(maildir.join("tmp/other"), file).unwrap();
            }
        }
    }
}

/// Each message of a listing: its name, its version, its octets and its id.
fn contents(listing: &MailboxListing) -> Vec<String> {
    let rows = listing.snapshot.iter().zip(&listing.ids);
    rows.map(|(entry, id)| format!("{entry:?} {id}")).collect()
}

struct Bench {
    home: tempfile::TempDir,
    storage: Storage,
    mailbox: Mailbox,
    path: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let storage = Storage::unwatched(Spool::open(&home.path().join("spool")).unwrap());
        let mailbox = Mailbox::named("ann@example.test").unwrap();
        let path = storage.maildir(&mailbox).unwrap().path().to_owned();
        Self { home, storage, mailbox, path }
    }

    fn maildir(&self) -> Maildir {
        self.storage.existing_maildir(&self.mailbox).unwrap().unwrap()
    }

    fn listing(&self) -> Arc<MailboxListing> {
        self.storage.listing(&self.mailbox).unwrap().unwrap()
    }

    fn row(&self, at: usize) -> Row {
        self.listing().rows().nth(at).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn r17_a_renewed_list_is_that_of_a_scan(acts in prop::collection::vec(prop::collection::vec(act(), 0..4), 1..8)) {
        let (bench, mut gone) = (Bench::new(), Vec::new());
        bench.listing();
        for acts in acts {
            acts.iter().for_each(|act| act.run(&bench.path, &mut gone));
            let known = lock(&bench.storage.catalog.lists).get(&bench.mailbox).unwrap();
            let renewed = bench.storage.renewed_listing(&bench.maildir(), &known).unwrap().unwrap();
            let scanned = bench.storage.scanned_listing(&bench.mailbox, &bench.maildir()).unwrap();
            prop_assert_eq!(contents(&renewed), contents(&scanned));
            prop_assert_eq!(contents(&bench.listing()), contents(&scanned));
        }
    }
}

#[test]
fn r17_only_the_files_of_new_names_are_looked_at() {
    let bench = Bench::new();
    Act::Deliver(1).run(&bench.path, &mut Vec::new());
    let before = bench.row(0).wanted().unwrap().version;
    // A look would see that it is longer.
    fs::write(bench.path.join("new/1700000001.a"), "longer than before\n").unwrap();
    Act::Deliver(2).run(&bench.path, &mut Vec::new());
    let rows: Vec<Row> = bench.listing().rows().collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].wanted().unwrap().version, before);
}

#[test]
fn r19_events_tell_what_differs_between_two_lists() {
    let bench = Bench::new();
    let add = |n| Act::Deliver(n).run(&bench.path, &mut Vec::new());
    (1..7).for_each(add);
    assert!(changes(&bench.storage, true).unwrap().is_empty());
    let old: Vec<Arc<str>> = bench.listing().ids.clone();
    let at = |n: u8, suffix: &str| {
        bench.path.join(format!("{}/170000000{n}.a{suffix}", if suffix.is_empty() { "new" } else { "cur" }))
    };
    fs::remove_file(at(2, "")).unwrap();
    fs::rename(at(4, ""), at(4, ":2,S")).unwrap();
    fs::rename(at(5, ""), at(5, ":2,F")).unwrap();
    add(9);
    let mut told: Vec<String> = changes(&bench.storage, false)
        .unwrap()
        .iter()
        .map(|event| {
            let json: serde_json::Value = serde_json::from_str(&event.json).unwrap();
            format!("{} {}", event.kind.name(), json["Data"]["ID"].as_str().unwrap())
        })
        .collect();
    told.sort();
    let new = bench.listing().ids.last().cloned().unwrap();
    assert_eq!(told, [format!("delete {}", old[1]), format!("new {new}"), format!("update {}", old[3])]);
    assert!(changes(&bench.storage, false).unwrap().is_empty());
}

#[test]
fn r18_a_message_that_was_changed_in_its_place_is_told_once_and_listed_anew() {
    let bench = Bench::new();
    Act::Deliver(1).run(&bench.path, &mut Vec::new());
    let row = bench.row(0);
    fs::write(bench.path.join("new/1700000001.a"), "longer than before\n").unwrap();
    assert!(matches!(bench.storage.read_row(&row), Err(Failure::Changed)));
    assert_eq!(bench.storage.read_row(&bench.row(0)).unwrap().0, b"longer than before\n");
}

#[test]
fn v86_marks_of_very_many_messages_are_one_event() {
    for (messages, told) in [(1000, vec![MailChange::Update; 1000]), (1001, vec![MailChange::Prune])] {
        let bench = Bench::new();
        let path = |n: usize| bench.path.join(format!("new/{}.a", 1_700_000_000 + n));
        (0..messages).for_each(|n| fs::write(path(n), "text\n").unwrap());
        changes(&bench.storage, true).unwrap();
        for n in 0..messages {
            let read = bench.path.join(format!("cur/{}.a:2,S", 1_700_000_000 + n));
            fs::rename(path(n), read).unwrap();
        }
        let events = changes(&bench.storage, false).unwrap();
        assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), told);
    }
}

#[test]
fn v87_no_failure_of_the_disk_hides_a_new_message() {
    let mut steps = Vec::new();
    for number in 1.. {
        let bench = Bench::new();
        changes(&bench.storage, true).unwrap();
        Act::Deliver(1).run(&bench.path, &mut Vec::new());
        let fault = PlannedFault::new(&bench.path, number, FaultKind::Error);
        let mut told = changes(&bench.storage, false).unwrap_or_default();
        let hit = fault.triggered_at();
        drop(fault);
        told.extend(changes(&bench.storage, false).unwrap());
        let is_told = |event: &MailEvent| matches!(event.kind, MailChange::New | MailChange::Prune);
        assert!(told.iter().any(is_told), "a fault at step {number}, {hit:?}: {told:?}");
        let Some(step) = hit else { break };
        steps.push(step);
    }
    assert!(steps.len() >= 2, "{steps:?}");
}

#[test]
fn v87_a_new_message_that_is_written_anew_meanwhile_is_told() {
    let bench = Bench::new();
    changes(&bench.storage, true).unwrap();
    Act::Deliver(1).run(&bench.path, &mut Vec::new());
    bench.listing();
    // No time of a directory shows it, and a listing that is young is made again.
    fs::write(bench.path.join("new/1700000001.a"), "longer than before\n").unwrap();
    let told = changes(&bench.storage, false).unwrap();
    assert!(!told.is_empty());
}

/// Runs a request for all mailboxes, and returns the changes that it has made, and whether it has failed.
fn changed_by(storage: &Storage, action: ApiAction) -> (Changes, bool) {
    match run(storage, ApiRequest::new(MailboxScope::All, action), None) {
        Ok(ApiOutcome::Document { changes, .. }) => (changes, false),
        Ok(ApiOutcome::PartlyDone { changes, .. }) => (changes, true),
        Ok(other) => panic!("{other:?}"),
        Err(_) => (Changes::None, true),
    }
}

#[test]
fn v88_a_deletion_that_fails_in_part_tells_the_mailboxes_that_have_changed() {
    let mut failures = 0;
    for number in 1.. {
        let bench = Bench::new();
        let bob = Mailbox::named("bob@example.test").unwrap();
        let paths = [bench.path.clone(), bench.storage.maildir(&bob).unwrap().path().to_owned()];
        paths.iter().for_each(|path| Act::Deliver(1).run(path, &mut Vec::new()));
        let fault = PlannedFault::new(bench.home.path(), number, FaultKind::Error);
        let (changes, has_failed) = changed_by(&bench.storage, ApiAction::Delete(Selection::All));
        let hit = fault.triggered_at();
        drop(fault);
        let told = if let Changes::Deletions(mailboxes) = changes { mailboxes } else { Vec::new() };
        for (path, mailbox) in paths.iter().zip([&bench.mailbox, &bob]) {
            let is_gone = files(path).is_empty();
            assert_eq!(told.contains(mailbox), is_gone, "{mailbox} after a fault at step {number}, {hit:?}");
        }
        failures += usize::from(has_failed && !told.is_empty());
        if hit.is_none() {
            break;
        }
    }
    assert!(failures > 2, "{failures} failures of a part");
}

#[test]
fn v89_a_mark_that_a_message_has_already_costs_no_change_and_no_sync() {
    let bench = Bench::new();
    Act::Deliver(1).run(&bench.path, &mut Vec::new());
    let set = |read| changed_by(&bench.storage, ApiAction::SetRead(Selection::All, read));
    assert_eq!([set(false), set(true)], [(Changes::None, false), (Changes::Marks, false)]);
    for number in 1.. {
        let fault = PlannedFault::new(&bench.path, number, FaultKind::Error);
        let (changes, _) = set(true);
        assert_eq!(changes, Changes::None);
        let Some(step) = fault.triggered_at() else { break };
        assert_ne!(step, "fsync directory");
    }
    assert_eq!(set(false), (Changes::Marks, false));
}

/// Marks all messages as read, with a fault at that step of the disk. Returns the result, and the step.
fn marked_with_fault(bench: &Bench, number: usize) -> ((Changes, bool), Option<&'static str>) {
    let fault = PlannedFault::new(&bench.path, number, FaultKind::Error);
    let result = changed_by(&bench.storage, ApiAction::SetRead(Selection::All, true));
    (result, fault.triggered_at())
}

#[test]
fn v104_a_mark_that_is_repeated_after_a_failed_sync_is_synced_and_is_no_second_change() {
    let delivered = || {
        let bench = Bench::new();
        Act::Deliver(1).run(&bench.path, &mut Vec::new());
        bench
    };
    let is_sync = |step: Option<&str>| step == Some("fsync directory");
    let sync = (1..).find(|number| is_sync(marked_with_fault(&delivered(), *number).1)).unwrap();
    let mut failed_syncs = 0;
    for number in 1.. {
        let bench = delivered();
        assert_eq!(marked_with_fault(&bench, sync).0, (Changes::Marks, true));
        let (again, step) = marked_with_fault(&bench, number);
        assert_eq!(again.0, Changes::None);
        if step.is_none() {
            assert_eq!(again, (Changes::None, false));
            assert!((1..20).all(|number| !is_sync(marked_with_fault(&bench, number).1)), "it is durable now");
            break;
        }
        if is_sync(step) {
            failed_syncs += 1;
            assert!(again.1, "it is not durable");
        }
    }
    assert!(failed_syncs > 0);
}

#[test]
fn v111_one_message_is_found_where_the_list_has_it() {
    let bench = Bench::new();
    let bob = Mailbox::named("bob@example.test").unwrap();
    let paths = [bench.path.clone(), bench.storage.maildir(&bob).unwrap().path().to_owned()];
    assert!(bench.storage.listings(&MailboxScope::All).unwrap().find(&MessageName::Latest).is_none());
    for (path, messages) in paths.iter().zip([[1, 2, 5], [2, 5, 4]]) {
        messages.into_iter().for_each(|n| Act::Deliver(n).run(path, &mut Vec::new()));
    }
    for scope in [MailboxScope::All, MailboxScope::One(bob)] {
        let (rows, listings) =
            (bench.storage.rows(&scope).unwrap().rows, bench.storage.listings(&scope).unwrap());
        let place = |row: &Row| (row.listing.mailbox.clone(), row.id.clone());
        let latest = listings.find(&MessageName::Latest);
        assert_eq!(latest.as_ref().map(place), rows.first().map(place));
        for row in &rows {
            let found = listings.find(&MessageName::Id(row.id.to_string()));
            assert_eq!(found.as_ref().map(place), Some(place(row)));
        }
        assert!(listings.find(&MessageName::Id("none".into())).is_none());
    }
}
