use std::{
    cell::Cell,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};

use super::*;
use crate::maildir::{
    Spool,
    fault_points::{FaultKind, PlannedFault, memory_dir},
    message_move::move_messages,
    name::NameGenerator,
    scan,
    size_counter::CountSlice,
    unnamed_file::has_atomic_names,
};

struct Fixture {
    spool: Spool,
    source: Maildir,
    target: Maildir,
    listed: Vec<MessageEntry>,
    /// Requests so far, each with names of its own.
    calls: Cell<u32>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    /// Three messages in INBOX, and a folder.
    fn new() -> Self {
        Self::of(&[("new/1.a", "one\n"), ("cur/2.b:2,Sab", "two\ntwo\n"), ("cur/3.c:2,", "three")])
    }

    /// These messages in INBOX, and a folder.
    fn of(messages: &[(&str, &str)]) -> Self {
        let dir = memory_dir();
        let spool = Spool::open(&dir.path().join("spool")).unwrap();
        let source = spool.open_or_create_maildir("bob").unwrap();
        let target = spool.open_or_create_folder("bob", ".to").unwrap();
        for (name, text) in messages {
            let path = source.path().join(name);
            fs::write(&path, text).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(time()).unwrap();
        }
        let mut turn = CountSlice::unbounded(1000);
        let mut listed = scan::scan(&source, [], &mut turn).unwrap().unwrap().messages;
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Self { spool, source, target, listed, calls: Cell::new(0), _dir: dir }
    }

    fn requests(&self) -> Vec<CopyRequest<'_>> {
        let mut names = NameGenerator::new("mx", self.calls.replace(self.calls.get() + 1));
        let mut unique = |n| names.next(SystemTime::UNIX_EPOCH + Duration::from_micros(n), n);
        let requests = (0..).zip(&self.listed).map(|(n, entry)| CopyRequest {
            wanted: entry.into(),
            octets: entry.octets,
            name: unique(n),
        });
        requests.collect()
    }

    fn copy(&self) -> Result<Vec<Option<MessageEntry>>, Error> {
        Copies::make(&self.source, &self.target, &self.requests(), letters).map(Copies::into_entries)
    }

    /// MOVE by one rename.
    fn rename(&self) -> Result<Vec<Option<MessageEntry>>, Error> {
        let moved = move_messages((&self.source, &self.target), &self.requests(), letters, || true)?.unwrap();
        moved.done.map(|()| moved.made)
    }

    /// MOVE as on a file system whose renames are not atomic.
    fn relocate(&self) -> Result<Vec<Option<MessageEntry>>, Error> {
        let requests = self.requests();
        let copies = Copies::make(&self.source, &self.target, &requests, letters)?;
        let (moved, done) = copies.remove_sources(&requests);
        done.map(|()| moved)
    }

    fn texts(&self, maildir: &Maildir) -> Vec<String> {
        let paths = ["new", "cur"].map(|part| files(maildir.path().join(part)));
        let mut texts: Vec<String> =
            paths.iter().flatten().map(|path| fs::read_to_string(path).unwrap()).collect();
        texts.sort();
        texts
    }
}

fn files(directory: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// The keyword `b` of INBOX is `x` in the folder, and `a` has no letter there.
fn letters(flags: &[u8]) -> Vec<u8> {
    flags
        .iter()
        .filter_map(|flag| match flag {
            b'a' => None,
            b'b' => Some(b'x'),
            flag => Some(*flag),
        })
        .collect()
}

const ALL: [&str; 3] = ["one\n", "three", "two\ntwo\n"];

#[test]
fn y53_a_copy_is_the_same_file_with_the_flags_the_time_and_the_size() {
    let fixture = Fixture::new();
    let copies = fixture.copy().unwrap();
    for (entry, copy) in fixture.listed.iter().zip(&copies) {
        let copy = copy.as_ref().unwrap();
        assert_eq!((copy.version, copy.octets), (entry.version, entry.octets));
        assert_eq!(name::octets_field(&copy.name), None);
        let path =
            fixture.target.path().join(copy.subdir.name()).join(String::from_utf8_lossy(&copy.name).as_ref());
        let file = fs::metadata(path).unwrap();
        assert_eq!((file.nlink(), file.modified().unwrap()), (2, time()));
    }
    let flags =
        copies.iter().flatten().map(|copy| (copy.subdir, name::flags(&copy.name))).collect::<Vec<_>>();
    assert_eq!(flags, [(Subdir::New, &b""[..]), (Subdir::Cur, b"Sx"), (Subdir::Cur, b"")]);
    assert_eq!((fixture.texts(&fixture.source), fixture.texts(&fixture.target)), (texts(&ALL), texts(&ALL)));
}

#[test]
fn y225_a_copy_has_a_number_of_octets_in_its_name_only_if_dovecot_counts_the_same() {
    let open_end = "cur/2.b,S=3,W=3:2,";
    let fixture =
        Fixture::of(&[("new/1.a,S=4,W=5", "one\n"), (open_end, "two"), ("cur/3.c,S=6:2,", "three\n")]);
    let copies: Vec<MessageEntry> = fixture.copy().unwrap().into_iter().flatten().collect();
    let sizes: Vec<_> = copies.iter().map(|copy| name::sizes_in_name(&copy.name)).collect();
    assert_eq!(sizes, [Some((4, 5)), None, None]);
    // POP3 and IMAP add the end of the last line.
    assert_eq!(copies.iter().map(|copy| copy.octets).collect::<Vec<_>>(), [5, 5, 7]);
    assert!(copies.iter().all(|copy| memchr::memmem::find(&copy.name, b",S=").is_some()));
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn y53_a_message_can_be_copied_and_moved_within_its_folder() {
    let fixture = Fixture::new();
    let requests = fixture.requests();
    let copies = Copies::make(&fixture.source, &fixture.source, &requests, <[u8]>::to_vec).unwrap();
    assert_eq!(fixture.texts(&fixture.source).len(), 6);
    let mut turn = CountSlice::unbounded(1000);
    assert_eq!(scan::scan(&fixture.source, [], &mut turn).unwrap().unwrap().messages.len(), 6);
    let (moved, done) = copies.remove_sources(&requests);
    done.unwrap();
    assert_eq!((moved.iter().flatten().count(), fixture.texts(&fixture.source)), (3, texts(&ALL)));
}

#[test]
fn y54_messages_that_are_gone_or_renamed_meanwhile_harm_no_others() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.source.path().join("new/1.a")).unwrap();
    fs::rename(fixture.source.path().join("cur/2.b:2,Sab"), fixture.source.path().join("cur/2.b:2,RS"))
        .unwrap();
    let moved = fixture.relocate().unwrap();
    assert_eq!(moved.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(name::flags(&moved[1].as_ref().unwrap().name), b"RS");
    assert!(fixture.texts(&fixture.source).is_empty());
    assert_eq!(fixture.texts(&fixture.target), ["three", "two\ntwo\n"]);
}

/// Other programs that leave the third message there, and not as it was listed.
const CHANGES: [fn(PathBuf); 3] = [
    |path| fs::write(path, "another text").unwrap(),
    |path| File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap(),
    |path| {
        fs::write(path.with_extension("restored"), "three").unwrap();
        fs::rename(path.with_extension("restored"), path).unwrap();
    },
];

#[test]
fn y150_a_message_that_is_there_and_changed_fails_a_copy_and_stays_after_a_move() {
    for change in [CHANGES[0], CHANGES[2]] {
        let fixture = Fixture::new();
        change(fixture.source.path().join("cur/3.c:2,"));
        assert_eq!(fixture.copy().unwrap_err().kind(), Kind::Changed);
        assert!(fixture.texts(&fixture.target).is_empty(), "either all or none");
        assert_eq!(fixture.rename().unwrap_err().kind(), Kind::Changed);
        assert_eq!(fixture.relocate().unwrap_err().kind(), Kind::Changed);
        assert_eq!(fixture.texts(&fixture.source).len() + fixture.texts(&fixture.target).len(), 3);
        assert!(fixture.source.path().join("cur/3.c:2,").exists());
    }
    // A program writes into a message between the copy and the removal.
    let fixture = Fixture::new();
    let requests = fixture.requests();
    let copies = Copies::make(&fixture.source, &fixture.target, &requests, letters).unwrap();
    CHANGES[2](fixture.source.path().join("cur/3.c:2,"));
    let (moved, done) = copies.remove_sources(&requests);
    assert_eq!(moved.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(done.unwrap_err().kind(), Kind::Changed);
}

#[test]
fn y173_a_message_that_a_program_has_touched_is_copied_and_moved_as_it_is_now() {
    for is_link in [true, false] {
        let fixture = Fixture::new();
        let touched = fixture.source.path().join("cur/3.c:2,");
        CHANGES[1](touched.clone());
        let copies = fixture.copy().unwrap();
        assert_eq!(copies[2].as_ref().unwrap().version.modified.0, 0, "its time is the new one");
        fs::write(&touched, "th\nee").unwrap(); // as long, and of more octets on the wire
        let moved = if is_link { fixture.relocate() } else { fixture.rename() }.unwrap();
        assert_eq!(moved[2].as_ref().unwrap().octets, fixture.listed[2].octets + 1);
        assert!(!touched.exists());
        assert!(fixture.texts(&fixture.source).is_empty());
    }
}

#[test]
fn y55_a_copy_that_fails_at_any_step_leaves_none() {
    for number in 1.. {
        let fixture = Fixture::new();
        let plan = PlannedFault::new(fixture.spool.path(), number, FaultKind::Error);
        let result = fixture.copy();
        let Some(step) = plan.triggered_at() else { break };
        drop(plan);
        assert!(result.is_err(), "{step}");
        assert_eq!(fixture.texts(&fixture.target), texts(&[]), "{step}");
        assert_eq!(fixture.texts(&fixture.source), texts(&ALL), "{step}");
    }
}

#[test]
fn y56_a_moved_message_is_never_lost_and_only_a_kill_shows_it_twice() {
    let mut steps = Vec::new();
    for kind in [FaultKind::Error, FaultKind::Panic] {
        for number in 1.. {
            let fixture = Fixture::new();
            let plan = PlannedFault::new(fixture.spool.path(), number, kind);
            let result = catch_unwind(AssertUnwindSafe(|| fixture.relocate())).ok();
            let hit = plan.triggered_at();
            drop(plan);
            let Some(step) = hit else { break };
            let case = format!("{kind:?} at {number}, {step}");
            steps.push(step);
            let (here, there) = (fixture.texts(&fixture.source), fixture.texts(&fixture.target));
            for text in ALL.map(str::to_owned) {
                let places = [&here, &there].iter().filter(|texts| texts.contains(&text)).count();
                assert!(places == 1 || (places == 2 && kind == FaultKind::Panic), "{case}: {places}");
            }
            assert!(result.is_none_or(|result| result.is_err()), "{case}");
            // The client asks again, for all that is left.
            fixture.relocate().unwrap();
            assert_eq!(fixture.texts(&fixture.source), texts(&[]), "{case}");
            assert!(
                ALL.iter().all(|text| fixture.texts(&fixture.target).contains(&(*text).to_owned())),
                "{case}"
            );
        }
    }
    let first = |step| steps.iter().position(|other| *other == step).expect(step);
    assert!(
        first("link copy") < first("fsync directory") && first("fsync directory") < first("remove moved")
    );
}

#[test]
fn y57_a_message_on_another_file_system_is_copied_with_its_time() {
    let fixture = Fixture::new();
    let other = tempfile::tempdir().unwrap();
    let abroad = Spool::open(&other.path().join("spool")).unwrap().open_or_create_maildir("bob").unwrap();
    if abroad.id().0 == fixture.source.id().0 {
        return eprintln!("SKIPPED: temporary files are in memory");
    }
    let requests = fixture.requests();
    let copies = Copies::make(&fixture.source, &abroad, &requests, letters).unwrap();
    let (moved, done) = copies.remove_sources(&requests);
    done.unwrap();
    assert_eq!(fixture.texts(&abroad), texts(&ALL));
    assert_eq!((fixture.texts(&fixture.source), files(abroad.path().join("tmp"))), (texts(&[]), Vec::new()));
    for (entry, copy) in fixture.listed.iter().zip(moved) {
        let copy = copy.unwrap();
        assert_eq!(
            (copy.version.bytes, copy.version.modified),
            (entry.version.bytes, entry.version.modified)
        );
    }
}

/// Whether messages move by one rename here.
fn has_renames(fixture: &Fixture) -> bool {
    let has = has_atomic_names(fixture.target.root());
    if !has {
        eprintln!("SKIPPED: the file system of temporary files has no journal that is known");
    }
    has
}

#[test]
fn y100_a_message_that_moves_is_in_one_folder_after_a_kill_at_any_step() {
    for kind in [FaultKind::Error, FaultKind::Panic] {
        for number in 1.. {
            let fixture = Fixture::new();
            if !has_renames(&fixture) {
                return;
            }
            let plan = PlannedFault::new(fixture.spool.path(), number, kind);
            let result = catch_unwind(AssertUnwindSafe(|| fixture.rename())).ok();
            let hit = plan.triggered_at();
            drop(plan);
            let Some(step) = hit else { break };
            let case = format!("{kind:?} at {number}, {step}");
            assert!(result.is_none_or(|result| result.is_err()), "{case}");
            let mut all = [fixture.texts(&fixture.source), fixture.texts(&fixture.target)].concat();
            all.sort();
            assert_eq!(all, texts(&ALL), "{case}");
            // The client asks again, for all that is left.
            fixture.rename().unwrap();
            assert_eq!(
                (fixture.texts(&fixture.source), fixture.texts(&fixture.target)),
                (texts(&[]), texts(&ALL)),
                "{case}"
            );
        }
    }
}

#[test]
fn y100_a_move_by_rename_keeps_time_flags_and_file_and_leaves_no_other_name() {
    let fixture = Fixture::new();
    if !has_renames(&fixture) {
        return;
    }
    // A program was killed between its link and its removal of the old name.
    let cur = fixture.source.path().join("cur");
    fs::hard_link(cur.join("3.c:2,"), cur.join("3.c:2,S")).unwrap();
    fs::write(cur.join("2.b:2,Sab"), "another text").unwrap();
    let (source, target) = (&fixture.source, &fixture.target);
    let moved = move_messages((source, target), &fixture.requests(), letters, || true).unwrap().unwrap();
    assert_eq!(moved.done.unwrap_err().kind(), Kind::Changed);
    let moved = moved.made;
    assert_eq!(moved.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(fixture.texts(&fixture.source), ["another text"]);
    for (entry, copy) in fixture.listed.iter().zip(moved) {
        let Some(copy) = copy else { continue };
        assert_eq!((copy.version, copy.octets), (entry.version, entry.octets));
        let name = String::from_utf8_lossy(&copy.name).into_owned();
        let file = fs::metadata(fixture.target.path().join(copy.subdir.name()).join(name)).unwrap();
        assert_eq!((file.nlink(), file.modified().unwrap()), (1, time()));
    }
    let gone = move_messages((&fixture.source, &fixture.target), &fixture.requests(), letters, || false);
    assert!(gone.unwrap().is_none(), "a folder that has no name any more gets no message");
}
