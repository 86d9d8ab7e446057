mod imported;

use std::{
    collections::{HashMap, HashSet},
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;

use super::*;
use crate::{
    index::{MailboxIndex, recent_marks::RecentMarks},
    maildir::{
        Change, FileVersion, Subdir,
        fault_points::{FaultKind, PlannedFault},
        index_file::power_cut,
        uid_file::tests::mailbox,
    },
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A message whose inode and size are this number.
fn entry(name: &str, subdir: Subdir, number: u64) -> MessageEntry {
    let version = FileVersion { inode: number, bytes: 1000 + number, modified: (1, 0) };
    MessageEntry { name: name.as_bytes().into(), subdir, version, octets: number }
}

/// A folder whose index a test changes, with its file on a disk.
struct Folder {
    _dir: tempfile::TempDir,
    maildir: Maildir,
    index: MailboxIndex,
    book: UidBook,
}

impl Folder {
    fn new() -> Self {
        let (dir, maildir) = mailbox();
        let book = UidBook::load(&maildir, at(100), &RecentMarks::default()).unwrap();
        Self { _dir: dir, maildir, index: MailboxIndex::default(), book }
    }

    fn add(&mut self, name: &str, subdir: Subdir, number: u64) {
        self.index.apply_present(&[Change::Present(entry(name, subdir, number))]);
    }

    fn remove(&mut self, name: &str, subdir: Subdir) {
        self.index.remove(&[(subdir, name.as_bytes().into())]);
    }

    fn rename(&mut self, (from, to): (&str, &str), subdir: Subdir, number: u64) {
        self.add(to, Subdir::Cur, number);
        self.remove(from, subdir);
    }

    fn refresh(&mut self) -> Sequence {
        self.book.refresh(&self.maildir, Arc::new(FolderSnapshot::new(&self.index))).unwrap()
    }

    fn reload(&mut self) {
        self.book = UidBook::load(&self.maildir, at(200), &RecentMarks::default()).unwrap();
    }

    /// The UID, the letters and the modification sequence of each message.
    fn messages(&mut self) -> Vec<(u32, String, u64)> {
        let sequence = self.refresh();
        let message = |message: &MessageState| {
            let flags: String = message.flags.letters().map(char::from).collect();
            (message.uid, flags, message.modseq)
        };
        sequence.state.messages.iter().map(message).collect()
    }

    #[track_caller]
    fn expect(&mut self, expected: &[(u32, &str, u64)]) {
        let expected: Vec<_> =
            expected.iter().map(|(uid, flags, modseq)| (*uid, (*flags).to_owned(), *modseq)).collect();
        assert_eq!(self.messages(), expected);
    }
}

#[test]
fn new_messages_get_uids_in_the_order_of_their_names_and_keep_them() {
    let mut folder = Folder::new();
    folder.add("20.b", Subdir::New, 1);
    folder.add("10.a:2,FS", Subdir::Cur, 2);
    folder.expect(&[(1, "FS", 2), (2, "", 2)]);
    // An old file that comes later is first for POP3 and last for IMAP.
    folder.add("5.old", Subdir::New, 3);
    folder.expect(&[(1, "FS", 2), (2, "", 2), (3, "", 3)]);
    folder.rename(("20.b", "20.b:2,S"), Subdir::New, 1);
    folder.expect(&[(1, "FS", 2), (2, "S", 4), (3, "", 3)]);
    folder.remove("10.a:2,FS", Subdir::Cur);
    folder.expect(&[(2, "S", 4), (3, "", 3)]);
    let sequence = folder.refresh();
    let (state, file) = sequence.message(3).unwrap();
    assert_eq!((state.uid, &*file.name, state.modseq), (3, &b"5.old"[..], 3));
    assert_eq!((sequence.state.uid_next, sequence.state.uid_validity), (4, 100));
    assert!(sequence.message(1).is_none());
    assert_eq!(folder.book.uid_of(b"5.old", 3), Some(3));
}

#[test]
fn a_message_keeps_its_uid_when_it_waits_for_its_removal_and_when_it_does_not_any_more() {
    let mut folder = Folder::new();
    folder.add("1.a:2,S", Subdir::Cur, 1);
    folder.add("2.b", Subdir::New, 2);
    folder.expect(&[(1, "S", 2), (2, "", 2)]);
    // For a moment the file has both names, or seems to.
    folder.add("1.a:2,ST", Subdir::Cur, 1);
    folder.expect(&[(1, "S", 2), (2, "", 2)]);
    folder.remove("1.a:2,S", Subdir::Cur);
    folder.expect(&[(1, "ST", 3), (2, "", 2)]);
    folder.rename(("1.a:2,ST", "1.a:2,S"), Subdir::Cur, 1);
    folder.expect(&[(1, "S", 4), (2, "", 2)]);
}

#[test]
fn uids_flags_and_modification_sequences_survive_a_restart() {
    let mut folder = Folder::new();
    folder.add("1.a", Subdir::New, 1);
    folder.add("2.b:2,S", Subdir::Cur, 2);
    folder.add("3.c", Subdir::New, 3);
    folder.expect(&[(1, "", 2), (2, "S", 2), (3, "", 2)]);
    folder.remove("3.c", Subdir::New);
    folder.refresh();
    folder.reload();
    folder.rename(("1.a", "1.a:2,R"), Subdir::New, 1);
    // The numbers that were reserved before are not used again.
    let messages = folder.messages();
    assert_eq!(messages[1], (2, "S".into(), 2));
    assert!(messages[0].0 == 1 && messages[0].1 == "R" && messages[0].2 > 1000, "{messages:?}");
    folder.add("3.c", Subdir::New, 3);
    let messages = folder.messages();
    assert!(messages[2].0 > 1000, "{messages:?}");
    assert_eq!(folder.refresh().state.uid_validity, 100);
}

#[test]
fn y25_a_file_with_other_content_under_the_same_name_is_another_message() {
    let mut folder = Folder::new();
    folder.add("1.a", Subdir::New, 1);
    folder.expect(&[(1, "", 2)]);
    let mut other = entry("1.a", Subdir::New, 1);
    other.version.bytes = 7;
    folder.index.apply_present(&[Change::Present(other.clone())]);
    folder.expect(&[(2, "", 3)]);
    folder.reload();
    other.version.bytes = 8;
    folder.index.apply_present(&[Change::Present(other)]);
    assert!(folder.messages()[0].0 > 2);
}

#[test]
fn y26_files_that_share_an_identity_have_a_uid_each_also_after_a_restart() {
    let mut folder = Folder::new();
    folder.add("1.a", Subdir::New, 1);
    folder.refresh();
    folder.add("1.a:2,S", Subdir::Cur, 2);
    folder.add("1.a:2,R", Subdir::Cur, 3);
    // One inode under two identities is two messages.
    folder.add("1.b", Subdir::New, 1);
    let before = folder.messages();
    assert_eq!(before.iter().map(|message| message.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    folder.reload();
    assert_eq!(folder.messages(), before);
    folder.remove("1.a:2,S", Subdir::Cur);
    folder.remove("1.a:2,R", Subdir::Cur);
    folder.reload();
    let left: Vec<u32> = folder.messages().iter().map(|message| message.0).collect();
    assert_eq!(left, [1, 4]);
}

#[test]
fn y148_the_numbers_of_a_folder_are_those_of_select_after_dovecot_and_on_a_full_disk() {
    let mut folder = Folder::new();
    folder.add("1.a", Subdir::New, 1);
    folder.refresh();
    fs::write(folder.maildir.path().join("dovecot-uidlist"), "3 V100 N5000 G1\n1 :1.a\n").unwrap();
    let book = UidBook::peek(&folder.maildir, at(200), &RecentMarks::default()).unwrap();
    let told = book.status([(Subdir::New, b"1.a".as_slice())].into_iter(), 0);
    folder.reload();
    let state = folder.refresh().state;
    assert_eq!((told.uid_next, told.highest_modseq), (5000, state.highest_modseq));
    assert_eq!((told.uid_next, told.uid_validity), (state.uid_next, state.uid_validity));

    let (_dir, maildir) = mailbox();
    let plan = PlannedFault::new(maildir.path(), 1, FaultKind::Error);
    let book = UidBook::peek(&maildir, at(100), &RecentMarks::default()).unwrap();
    assert!(plan.triggered_at().is_some(), "no file is written");
    let told = book.status(std::iter::empty(), 0);
    // No modification sequence is 0 (RFC 7162 section 7).
    assert_eq!((told.uid_validity, told.uid_next, told.highest_modseq), (100, 1, 1));
}

#[test]
fn y193_a_uid_validity_that_is_not_durable_is_never_told() {
    let (_dir, maildir) = mailbox();
    assert_eq!(uid_validity::next(&maildir, at(500)).unwrap(), 500);
    let file = maildir.path().join(uid_validity::FILE);
    type Begin = fn(&Maildir) -> Result<UidBook, Error>;
    let begin: [Begin; 2] = [
        |maildir| UidBook::load(maildir, at(100), &RecentMarks::default()),
        |maildir| UidBook::peek(maildir, at(100), &RecentMarks::default()),
    ];
    let mut last = 500;
    for begin in begin {
        // The time and the folder give no room for a second value.
        for number in 1.. {
            let plan = PlannedFault::new(maildir.path(), number, FaultKind::Outage);
            let book = begin(&maildir);
            let hit = plan.triggered_at();
            drop(plan);
            let kept: u32 = fs::read_to_string(&file).unwrap().lines().next().unwrap().parse().unwrap();
            match book {
                Ok(book) => {
                    assert!(book.uid_validity > last && book.uid_validity <= kept, "{hit:?} {last} {kept}");
                    last = book.uid_validity;
                }
                Err(_) => assert!(hit.is_some()),
            }
            let _ = fs::remove_file(maildir.path().join(uid_file::FILE));
            if hit.is_none() {
                break;
            }
        }
    }
    let plan = PlannedFault::new(maildir.path(), 1, FaultKind::Outage);
    assert!(uid_validity::next(&maildir, at(900)).is_err());
    drop(plan);
    // A file that cannot be read now may have any value.
    assert_eq!(uid_validity::next(&maildir, at(100)).unwrap(), last + 1);
}

#[test]
fn y21_a_file_that_is_none_costs_a_new_uid_validity_and_no_message() {
    let mut folder = Folder::new();
    folder.add("1.a", Subdir::New, 1);
    folder.refresh();
    fs::write(folder.maildir.path().join(uid_file::FILE), "not ours").unwrap();
    folder.reload();
    let sequence = folder.refresh();
    assert_eq!((sequence.state.messages.len(), sequence.state.uid_validity), (1, 200));
    // The file of a folder in use may go away, too.
    fs::remove_file(folder.maildir.path().join(uid_file::FILE)).unwrap();
    folder.add("2.b", Subdir::New, 2);
    folder.expect(&[(1, "", 2), (2, "", 3)]);
    folder.reload();
    folder.expect(&[(1, "", 2), (2, "", 3)]);
    assert_eq!(folder.refresh().state.uid_validity, 200);
}

#[test]
fn a_change_among_thousands_of_messages_keeps_all_other_numbers() {
    let mut folder = Folder::new();
    for number in 1..=3000 {
        folder.add(&format!("{}.m", 10_000 + number), Subdir::New, number);
    }
    let before = folder.messages();
    assert!(before.iter().map(|message| message.0).eq(1..=3000));
    for number in [1, 700, 1500, 3000] {
        let name = format!("{}.m", 10_000 + number);
        folder.rename((&name, &format!("{name}:2,S")), Subdir::New, number);
    }
    folder.remove("10002.m", Subdir::New);
    for number in 3001..=3010 {
        folder.add(&format!("{}.n", 7000 + number), Subdir::New, number);
    }
    let after = folder.messages();
    assert_eq!(after.len(), 3009);
    let seen: Vec<u32> = after.iter().filter(|message| message.1 == "S").map(|message| message.0).collect();
    assert_eq!(seen, [1, 700, 1500, 3000]);
    let sequence = folder.refresh();
    for message in &sequence.state.messages {
        let (_, file) = sequence.message(message.uid).unwrap();
        assert_eq!(file.version.inode, u64::from(message.uid));
    }
    folder.reload();
    assert_eq!(folder.messages(), after);
    // The file is written anew when most of its records are dead.
    for number in 1..=3000 {
        folder.remove(&format!("{}.m", 10_000 + number), Subdir::New);
    }
    folder.refresh();
    let length = fs::metadata(folder.maildir.path().join(uid_file::FILE)).unwrap().len();
    assert!(length < 76 * 1000, "{length}");
}

#[derive(Debug, Clone)]
enum Step {
    Deliver(u8),
    /// Gives a message these letters.
    Flag(u8, &'static str),
    Delete(u8),
    Refresh,
    Restart,
    /// A power cut that leaves so many octets of those that were not synced.
    PowerCut(usize),
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Deliver),
        3 => (any::<u8>(), prop::sample::select(&["", "S", "T", "ST", "Fa"][..])).prop_map(|(at, flags)| Step::Flag(at, flags)),
        2 => any::<u8>().prop_map(Step::Delete),
        4 => Just(Step::Refresh),
        1 => Just(Step::Restart),
        1 => (0_usize..400).prop_map(Step::PowerCut),
        1 => Just(Step::Sync),
    ]
}

/// Whether no other file has the identity of a message. If another one came before a restart, nothing tells which of them had
/// the UID.
fn is_alone(files: &[(String, Subdir, u64)], number: u64) -> bool {
    let identity = |name: &str| name.split(':').next().unwrap().to_owned();
    let own = files.iter().find(|file| file.2 == number).map(|file| identity(&file.0));
    files.iter().filter(|file| Some(identity(&file.0)) == own).count() == 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn y27_uids_ascend_and_are_never_given_twice_whatever_happens(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut folder = Folder::new();
        let mut files: Vec<(String, Subdir, u64)> = Vec::new();
        let (mut made, mut highest, mut largest, mut is_reloaded) = (0, 0, 0, false);
        let mut owners: HashMap<u32, u64> = HashMap::new();
        // The UIDs and flags that survive the next power cut, and the messages that have later records, which may survive it.
        let mut synced: HashMap<u64, (u32, Flags)> = HashMap::new();
        let mut changed: HashSet<u64> = HashSet::new();
        let mut last: HashMap<u64, (u32, Flags, u64)> = HashMap::new();
        for step in steps {
            match step {
                Step::Deliver(number) => {
                    made += 1;
                    // Some share an identity, and some come back under one that was deleted.
                    let name = format!("{}.x", number % 8);
                    let is_free = !files.iter().any(|file| file.0 == name && file.1 == Subdir::New);
                    if is_free {
                        folder.add(&name, Subdir::New, made);
                        files.push((name, Subdir::New, made));
                    }
                }
                Step::Flag(at, flags) if !files.is_empty() => {
                    let at = usize::from(at) % files.len();
                    let (name, subdir, number) = files[at].clone();
                    let new = format!("{}:2,{flags}", name.split(':').next().unwrap());
                    if !files.iter().any(|file| file.0 == new && file.1 == Subdir::Cur) {
                        folder.rename((&name, &new), subdir, number);
                        files[at] = (new, Subdir::Cur, number);
                    }
                }
                Step::Delete(at) if !files.is_empty() => {
                    let (name, subdir, number) = files.swap_remove(usize::from(at) % files.len());
                    folder.remove(&name, subdir);
                    last.remove(&number);
                }
                Step::Restart => {
                    folder.reload();
                    is_reloaded = true;
                }
                Step::PowerCut(kept) => {
                    power_cut(&folder.maildir, kept);
                    folder.reload();
                    // A flag that is the one of a record after a cut is no change any more (docs/DISK.md).
                    last.retain(|number, (uid, flags, _)| {
                        synced.get(number) == Some(&(*uid, *flags)) && !changed.contains(number)
                    });
                    is_reloaded = true;
                }
                Step::Sync => {
                    folder.book.sync(&folder.maildir).unwrap();
                    synced = last.iter().map(|(number, (uid, flags, _))| (*number, (*uid, *flags))).collect();
                    changed.clear();
                }
                _ => {}
            }
            if !matches!(step, Step::Refresh) {
                continue;
            }
            if std::mem::take(&mut is_reloaded) {
                last.retain(|number, _| is_alone(&files, *number));
            }
            let sequence = folder.refresh();
            let state = &sequence.state;
            prop_assert_eq!(state.messages.len(), files.len());
            prop_assert_eq!(state.uid_validity, 100);
            prop_assert!(state.messages.is_sorted_by(|one, next| one.uid < next.uid));
            prop_assert!(state.highest_modseq >= highest);
            highest = state.highest_modseq;
            for message in &state.messages {
                let (_, file) = sequence.message(message.uid).unwrap();
                let number = file.version.inode;
                prop_assert_eq!(FlagLetters::default().flags_of(file), message.flags);
                prop_assert!(message.uid < state.uid_next && message.modseq <= highest);
                prop_assert_eq!(*owners.entry(message.uid).or_insert(number), number, "a UID was given twice");
                if let Some((uid, flags, modseq)) = last.get(&number) {
                    prop_assert_eq!(*uid, message.uid, "a message has another UID");
                    prop_assert!(*flags == message.flags || *modseq < message.modseq);
                    if *flags != message.flags {
                        changed.insert(number);
                    }
                } else {
                    prop_assert!(owners.len() < 2 || message.uid > largest || owners[&message.uid] == number);
                }
            }
            largest = largest.max(state.messages.last().map_or(0, |message| message.uid));
            last = state.messages.iter().map(|message| {
                let (_, file) = sequence.message(message.uid).unwrap();
                (file.version.inode, (message.uid, message.flags, message.modseq))
            }).collect();
        }
    }
}

#[test]
fn y141_uids_that_another_server_has_given_in_the_folder_are_given_to_no_other_message() {
    let mut here = Folder::new();
    here.add("1.a", Subdir::New, 1);
    here.expect(&[(1, "", 2)]);
    // The proxy turns to the other server, which gives UIDs, and back.
    let mut there = UidBook::load(&here.maildir, at(150), &RecentMarks::default()).unwrap();
    here.add("2.b", Subdir::New, 2);
    let snapshot = Arc::new(FolderSnapshot::new(&here.index));
    let theirs = there.refresh(&here.maildir, snapshot).unwrap().state.messages[1].uid;
    assert!(theirs > 1000);
    here.add("3.c", Subdir::New, 3);
    here.refresh();
    let uids = here.book.number(&here.maildir, &[entry("4.d", Subdir::Cur, 4)]).unwrap_or_default();
    assert!(!uids.contains(&theirs));
    here.reload();
    here.add("4.d", Subdir::Cur, 4);
    here.add("5.e", Subdir::New, 5);
    let messages = here.messages();
    assert_eq!((messages[0].0, messages[1].0), (1, theirs), "{messages:?}");
    assert!(messages[2..].iter().all(|message| message.0 > theirs), "{messages:?}");
}
