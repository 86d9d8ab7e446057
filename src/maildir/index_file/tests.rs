use std::{
    fs::{self, File, FileTimes},
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{writing::append_files, *};
use crate::maildir::{
    Maildir, MessageEntry, Scan,
    fault_points::memory_dir,
    scan::{dir_times, keep, scan_with_sizes},
    size_cache::{self, SizeCache},
    size_counter::CountSlice,
    uid_file::{UidFile, tests::mailbox},
};

fn stamp(inode: u64) -> FileVersion {
    FileVersion { inode, bytes: 100, modified: (-7, 8) }
}

fn record(uid: u32) -> UidRecord {
    let key = MessageKey::of(&uid.to_le_bytes(), None);
    UidRecord { uid, modseq: 3, key, flags: 5, version: stamp(uid.into()), octets: 120 }
}

const HEADER: UidHeader = UidHeader { uid_validity: 7, uid_limit: 1001, modseq_limit: 5000 };

fn times() -> KeptTimes {
    let dir = |inode| DirState { inode, changed: (-1, 5) };
    KeptTimes { dirs: [dir(8), dir(9)], at_rest_before: 50 }
}

/// Three messages, two files and the state of the directories, and then another file.
fn filled() -> (tempfile::TempDir, Maildir) {
    let (dir, maildir) = mailbox();
    UidFile::create(&maildir, HEADER, &[record(1), record(2), record(1000)]).unwrap();
    let files = [(stamp(11), 130), (stamp(12), 140)];
    append_files(&maildir, KeptFiles { files: &files, times: Some(times()) }).unwrap();
    size_cache::append(&maildir, &[(stamp(13), 150)]).unwrap();
    (dir, maildir)
}

const FILES: [(u64, u64); 6] = [(1, 120), (2, 120), (1000, 120), (11, 130), (12, 140), (13, 150)];

fn content(maildir: &Maildir) -> Content {
    Content::read(&mut File::open(maildir.path().join(FILE)).unwrap()).unwrap()
}

/// Whatever is in the file, nothing that is told is wrong.
#[track_caller]
fn tells_nothing_wrong(maildir: &Maildir) {
    let sizes = SizeCache::load(maildir);
    for (inode, octets) in FILES {
        assert!(sizes.get(&stamp(inode)).is_none_or(|told| told == octets), "{inode}");
    }
    if let Some(loaded) = UidFile::load(maildir).unwrap() {
        assert!(loaded.file.header().uid_limit >= HEADER.uid_limit && loaded.file.header().uid_validity == 7);
        assert!(loaded.records.iter().all(|known| *known == record(known.uid)), "{:?}", loaded.records);
    }
}

#[test]
fn every_part_is_read_as_it_was_written() {
    let (_dir, maildir) = filled();
    let content = content(&maildir);
    assert_eq!(content.kept_times(), Some(times()));
    let headers = Headers { header: HEADER, number: 2, is_torn: false };
    assert_eq!(content.headers(), Some(headers));
    let parts = content.parse();
    assert_eq!((parts.count, parts.broken, parts.latest().len(), parts.files.len()), (7, 0, 3, 3));
    let sizes = SizeCache::load(&maildir);
    assert!(FILES.into_iter().all(|(inode, octets)| sizes.get(&stamp(inode)) == Some(octets)));
    let condition = examine(maildir.root(), maildir.path()).unwrap();
    assert_eq!(condition, Condition { parts: 9, broken: 0, has_uids: true });
}

#[test]
fn of_two_counts_of_a_file_the_later_one_stays_when_the_folder_gets_uids() {
    let (_dir, maildir) = mailbox();
    for octets in [130, 140] {
        size_cache::append(&maildir, &[(stamp(11), octets)]).unwrap();
    }
    for validity in [7, 8] {
        UidFile::create(&maildir, UidHeader { uid_validity: validity, ..HEADER }, &[record(1)]).unwrap();
        assert_eq!(SizeCache::load(&maildir).get(&stamp(11)), Some(140));
    }
}

#[test]
fn y87_a_file_that_is_cut_anywhere_tells_nothing_wrong_and_goes_on() {
    let (_dir, maildir) = filled();
    let path = maildir.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        tells_nothing_wrong(&maildir);
        let parts = length.saturating_sub(HEADERS) / PART;
        assert_eq!(content(&maildir).kept_times().is_some(), parts >= 6, "cut at {length}");
        // Parts appended after a torn one count, and the state of the directories does too.
        append_files(&maildir, KeptFiles { files: &[(stamp(14), 160)], times: Some(times()) }).unwrap();
        assert_eq!(SizeCache::load(&maildir).get(&stamp(14)), Some(160), "cut at {length}");
        assert!(content(&maildir).kept_times().is_some(), "cut at {length}");
        tells_nothing_wrong(&maildir);
    }
}

#[test]
fn y87_the_state_of_directories_counts_only_with_every_octet_before_it() {
    let (_dir, maildir) = filled();
    let path = maildir.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    for at in HEADERS..whole.len() {
        let mut octets = whole.clone();
        octets[at] ^= 0x40;
        fs::write(&path, &octets).unwrap();
        tells_nothing_wrong(&maildir);
        let is_before = at < HEADERS + 6 * PART;
        assert_eq!(content(&maildir).kept_times().is_none(), is_before, "octet {at}");
    }
}

proptest! {
    #[test]
    fn y87_bits_that_flip_and_octets_of_others_make_nothing_wrong(
        flips in proptest::collection::vec((0_usize..9 * PART, 1_u8..), 0..20),
        (at, other) in (0_usize..9 * PART, proptest::collection::vec(any::<u8>(), 0..300)),
    ) {
        let (_dir, maildir) = filled();
        let path = maildir.path().join(FILE);
        let mut octets = fs::read(&path).unwrap();
        flips.into_iter().for_each(|(at, by)| octets[at] ^= by);
        let length = octets.len();
        octets.splice(at..length.min(at + other.len() / 2), other);
        fs::write(&path, octets).unwrap();
        tells_nothing_wrong(&maildir);
        let validity = UidFile::load(&maildir).unwrap().map(|loaded| loaded.file.header().uid_validity);
        // A folder whose UIDs are void begins anew, and the others go on.
        let begun = UidFile::begin(&maildir, || Ok((UidHeader { uid_validity: 8, ..HEADER }, Vec::new()))).unwrap();
        prop_assert_eq!(begun.file.header().uid_validity, validity.unwrap_or(8));
        let mut sizes = SizeCache::load(&maildir);
        sizes.insert(stamp(14), 160);
        sizes.save(&maildir, None);
        prop_assert_eq!(SizeCache::load(&maildir).get(&stamp(14)), Some(160));
    }
}

#[test]
fn y90_files_of_earlier_versions_go_and_a_copy_by_links_keeps_what_it_has() {
    let (_dir, maildir) = mailbox();
    let at = |name: &str| maildir.path().join(name);
    for name in [".restante.sizes", ".restante.uids"] {
        fs::write(at(name), "of an earlier version").unwrap();
    }
    size_cache::append(&maildir, &[(stamp(1), 110)]).unwrap();
    assert!(!at(".restante.sizes").exists() && !at(".restante.uids").exists());
    UidFile::create(&maildir, HEADER, &[record(2)]).unwrap();
    fs::hard_link(at(FILE), at("copy")).unwrap();
    let copied = fs::read(at("copy")).unwrap();
    append_files(&maildir, KeptFiles { files: &[(stamp(3), 130)], times: Some(times()) }).unwrap();
    assert_eq!(fs::read(at("copy")).unwrap(), copied);
    assert_eq!(UidFile::load(&maildir).unwrap().unwrap().records, [record(2)]);
    assert_eq!(content(&maildir).kept_times(), Some(times()));
    let sizes = SizeCache::load(&maildir);
    assert_eq!([1, 2, 3].map(|inode| sizes.get(&stamp(inode))), [Some(110), Some(120), Some(130)]);
}

#[test]
fn y88_workers_that_write_sizes_and_uids_at_the_same_time_lose_neither() {
    let (_dir, maildir) = mailbox();
    let mut file = UidFile::create(&maildir, HEADER, &[]).unwrap();
    std::thread::scope(|scope| {
        let maildir = &maildir;
        scope.spawn(move || {
            for uid in 1..=300 {
                assert!(file.append(maildir, &[record(uid)]).unwrap());
                if uid % 50 == 0 {
                    let header = UidHeader { uid_limit: 1001 + uid, ..HEADER };
                    assert!(file.reserve(maildir, header).unwrap() && file.sync(maildir).unwrap());
                }
            }
        });
        for server in 0..2 {
            scope.spawn(move || {
                for turn in 0..20 {
                    let from = 10_000 + 2000 * server + 100 * turn;
                    let files: Vec<_> = (from..from + 100).map(|inode| (stamp(inode), 110)).collect();
                    size_cache::append(maildir, &files).unwrap();
                    let live: Vec<_> = files.iter().map(|(version, _)| *version).collect();
                    let mut sizes = SizeCache::load(maildir);
                    sizes.rewrite_uids();
                    sizes.save(maildir, Some(&live));
                }
            });
        }
    });
    let loaded = UidFile::load(&maildir).unwrap().unwrap();
    assert!(!loaded.is_damaged && loaded.file.header().uid_limit == 1301);
    assert_eq!(loaded.records, (1..=300).map(record).collect::<Vec<_>>());
}

/// A mailbox so large that it is worth keeping its files, with names that tell sizes and names that do not.
fn large() -> (tempfile::TempDir, Maildir) {
    let dir = memory_dir();
    let maildir = crate::maildir::Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
    let mut names = crate::maildir::name::NameGenerator::new("mx", 1);
    for n in 0..600_u32 {
        let ours = names.next(std::time::UNIX_EPOCH, n.into()).final_name(6, Some(7));
        fs::write(maildir.path().join("new").join(ours), "hello\n").unwrap();
        fs::write(maildir.path().join("cur").join(format!("{n}.other:2,S")), "hello\n").unwrap();
    }
    (dir, maildir)
}

/// A scan after a start, some seconds after the last change.
fn scan_at_start(maildir: &Maildir, trusts: bool) -> Scan {
    let mut sizes = SizeCache::load(maildir);
    if trusts {
        sizes.trust_times();
    }
    let began = Some(SystemTime::now() + Duration::from_secs(10));
    let turn = &mut CountSlice::unbounded(1000);
    let mut scan = scan_with_sizes(maildir, (sizes, began), [], turn).unwrap().unwrap();
    scan.messages.sort_by(|a, b| a.name.cmp(&b.name));
    scan
}

/// A message that the scan would not look at for a sample.
fn unsampled(scan: &Scan) -> MessageEntry {
    let mut in_cur: Vec<_> = scan.messages.iter().filter(|found| found.subdir == Subdir::Cur).collect();
    in_cur.sort_by_key(|found| found.version.inode);
    in_cur[1].clone()
}

#[test]
fn y91_after_a_start_files_are_not_looked_at_while_their_directories_are_as_they_were() {
    let (_dir, maildir) = large();
    let first = scan_at_start(&maildir, true);
    assert_eq!(first.messages.len(), 1200);
    assert!(content(&maildir).kept_times().is_some());
    let before = fs::read(maildir.path().join(FILE)).unwrap();
    let next = scan_at_start(&maildir, true);
    assert_eq!(next.messages, first.messages);
    assert_eq!(fs::read(maildir.path().join(FILE)).unwrap(), before, "nothing to write");
    // Another program writes into a file that was at rest. Nothing but a look shows that.
    let changed = unsampled(&first);
    let path = maildir.path().join("cur").join(std::str::from_utf8(&changed.name).unwrap());
    fs::write(&path, "hello again\n").unwrap();
    assert_eq!(scan_at_start(&maildir, true).messages, first.messages);
    let version =
        |scan: &Scan| scan.messages.iter().find(|found| found.name == changed.name).unwrap().version;
    // A scan of a mailbox in use looks at it, and from then on it is known.
    assert_eq!(version(&scan_at_start(&maildir, false)).bytes, 12);
    assert_eq!(version(&scan_at_start(&maildir, true)).bytes, 12);
    // So does one whose directory has changed.
    fs::write(&path, "hello again and again\n").unwrap();
    fs::rename(&path, path.with_extension("moved")).unwrap();
    assert!(scan_at_start(&maildir, true).messages.iter().any(|found| found.version.bytes == 22));
}

#[test]
fn y91_times_of_all_files_that_another_program_has_changed_are_noticed() {
    let (_dir, maildir) = large();
    scan_at_start(&maildir, true);
    for file in fs::read_dir(maildir.path().join("cur")).unwrap() {
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        File::options().write(true).open(file.unwrap().path()).unwrap().set_times(times).unwrap();
    }
    let scan = scan_at_start(&maildir, true);
    let is_old = |found: &&MessageEntry| found.version.modified == (0, 0);
    assert_eq!(scan.messages.iter().filter(is_old).count(), 600);
}

#[test]
fn y91_a_directory_that_was_restored_with_its_times_is_looked_through() {
    let (_dir, maildir) = large();
    let first = scan_at_start(&maildir, true);
    let restored = unsampled(&first);
    let cur = maildir.path().join("cur");
    let modified = fs::metadata(&cur).unwrap().modified().unwrap();
    let path = cur.join(std::str::from_utf8(&restored.name).unwrap());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "from the backup\n").unwrap();
    File::open(&cur).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
    assert_eq!(fs::metadata(&cur).unwrap().modified().unwrap(), modified);
    assert!(scan_at_start(&maildir, true).messages.iter().any(|found| found.version.bytes == 16));
}

#[test]
fn y92_what_changed_within_the_last_seconds_is_not_believed_at_the_next_start() {
    let (_dir, maildir) = large();
    let scan_now = || {
        let sizes = SizeCache::load(&maildir);
        let turn = &mut CountSlice::unbounded(1000);
        scan_with_sizes(&maildir, (sizes, Some(SystemTime::now())), [], turn).unwrap().unwrap()
    };
    scan_now();
    assert!(content(&maildir).kept_times().is_none(), "a further change might leave the same times");
    // A copy that is still written is in a directory that has been at rest for longer.
    let scan = scan_at_start(&maildir, true);
    let growing = unsampled(&scan);
    let path = maildir.path().join("cur").join(std::str::from_utf8(&growing.name).unwrap());
    let ahead = SystemTime::now() + Duration::from_secs(9);
    File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(ahead)).unwrap();
    fs::remove_file(maildir.path().join(FILE)).unwrap();
    scan_at_start(&maildir, true);
    fs::write(&path, "hello and more\n").unwrap();
    let scan = scan_at_start(&maildir, true);
    assert!(scan.messages.iter().any(|found| found.version.bytes == 15));
}

#[test]
fn y93_a_mailbox_in_use_is_written_down_as_its_index_has_it() {
    let (_dir, maildir) = large();
    let mut scan = scan_at_start(&maildir, true);
    let moved = unsampled(&scan);
    let cur = maildir.path().join("cur");
    let from = cur.join(std::str::from_utf8(&moved.name).unwrap());
    fs::rename(&from, from.with_extension("moved")).unwrap();
    fs::write(cur.join("9999.new:2,"), "hello\n").unwrap();
    scan = Scan { times: scan.times, ..scan_at_start(&maildir, false) };
    fs::remove_file(maildir.path().join(FILE)).unwrap();
    let later = Some(SystemTime::now() + Duration::from_secs(10));
    let keep = |times, began| keep(&maildir, scan.messages.iter(), (times, began)).unwrap();
    keep(scan.times, later);
    assert!(!maildir.path().join(FILE).exists(), "the directories have changed since");
    let times = dir_times(&maildir).unwrap();
    keep(times, Some(SystemTime::now()));
    keep(times, None);
    assert!(!maildir.path().join(FILE).exists(), "they may change in the same moment");
    keep(times, later);
    assert!(content(&maildir).kept_times().is_some());
    let kept = fs::read(maildir.path().join(FILE)).unwrap();
    assert_eq!(scan_at_start(&maildir, true).messages, scan.messages);
    assert_eq!(fs::read(maildir.path().join(FILE)).unwrap(), kept);
}

#[test]
fn a_small_mailbox_has_no_file_unless_a_message_was_counted() {
    let (_dir, maildir) = mailbox();
    let mut names = crate::maildir::name::NameGenerator::new("mx", 1);
    let ours = names.next(std::time::UNIX_EPOCH, 1).final_name(6, Some(7));
    fs::write(maildir.path().join("new").join(ours), "hello\n").unwrap();
    scan_at_start(&maildir, true);
    assert!(!maildir.path().join(FILE).exists());
    fs::write(maildir.path().join("new/1.other"), "hello\n").unwrap();
    scan_at_start(&maildir, true);
    assert!(content(&maildir).kept_times().is_none());
    assert_eq!(content(&maildir).parse().files.len(), 1);
}
