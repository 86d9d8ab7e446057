use super::*;
use crate::maildir::{
    Spool,
    size_cache::{self, SizeCache},
};

pub(crate) fn mailbox() -> (tempfile::TempDir, Maildir) {
    let dir = tempfile::tempdir().unwrap();
    let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
    (dir, maildir)
}

const HEADER: UidHeader = UidHeader { uid_validity: 7, uid_limit: 1001, modseq_limit: 5000 };

fn stamp(inode: u64) -> FileVersion {
    FileVersion { inode, bytes: 100, modified: (7, 8) }
}

fn record(uid: u32) -> UidRecord {
    let key = MessageKey::of(uid.to_string().as_bytes(), None);
    UidRecord { uid, modseq: 3, key, flags: 1 << 31, version: stamp(uid.into()), octets: 150 }
}

#[track_caller]
fn load(maildir: &Maildir) -> LoadedUids {
    UidFile::load(maildir).unwrap().expect("a whole header")
}

#[test]
fn what_was_appended_and_reserved_is_known_again() {
    let (_dir, maildir) = mailbox();
    assert!(UidFile::load(&maildir).unwrap().is_none());
    let mut file = UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
    assert!(file.append(&maildir, &[record(2), record(3)]).unwrap());
    let later = UidHeader { uid_limit: 2001, ..HEADER };
    assert!(file.reserve(&maildir, later).unwrap());
    let changed = UidRecord { flags: 5, modseq: 9, ..record(2) };
    assert!(file.append(&maildir, &[changed, UidRecord::gone(3)]).unwrap());
    let loaded = load(&maildir);
    assert_eq!((loaded.file.header(), loaded.is_damaged), (later, false));
    assert_eq!(loaded.records, [record(1), changed]);
    assert_eq!(loaded.file.records(), 5);
}

#[test]
fn y20_a_file_that_is_cut_or_changed_at_any_octet_keeps_its_limit_or_has_no_header() {
    let (_dir, maildir) = mailbox();
    let mut file = UidFile::create(&maildir, HEADER, &[record(1), record(2)]).unwrap();
    file.append(&maildir, &[record(1000)]).unwrap();
    let path = maildir.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        match UidFile::load(&maildir).unwrap() {
            Some(loaded) => {
                assert!(loaded.file.header().uid_limit >= HEADER.uid_limit, "cut at {length}");
                let records = length.saturating_sub(HEADERS) / PART;
                assert_eq!(loaded.records.len(), records, "cut at {length}");
                assert_eq!(loaded.is_damaged, length < HEADERS || length % PART != 0);
            }
            None => assert!(length < PART),
        }
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
        let loaded = load(&maildir);
        assert!(loaded.is_damaged && loaded.file.header().uid_limit >= HEADER.uid_limit, "octet {at}");
        assert_eq!(loaded.records.len(), if at < HEADERS { 3 } else { 2 });
    }
}

#[test]
fn y20_a_header_that_a_power_cut_has_torn_leaves_the_one_before() {
    let (_dir, maildir) = mailbox();
    let mut file = UidFile::create(&maildir, HEADER, &[]).unwrap();
    let before = std::fs::read(maildir.path().join(FILE)).unwrap();
    file.reserve(&maildir, UidHeader { uid_limit: 2001, ..HEADER }).unwrap();
    let after = std::fs::read(maildir.path().join(FILE)).unwrap();
    for torn in 0..PART {
        let mut bytes = before.clone();
        bytes[..torn].copy_from_slice(&after[..torn]);
        std::fs::write(maildir.path().join(FILE), &bytes).unwrap();
        assert_eq!(load(&maildir).file.header().uid_validity, 7, "torn at {torn}");
    }
}

#[test]
fn y20_headers_that_are_torn_one_after_the_other_bring_no_uid_back() {
    let (_dir, maildir) = mailbox();
    UidFile::create(&maildir, HEADER, &[]).unwrap();
    let path = maildir.path().join(FILE);
    let mut limit = 0;
    for slot in [0, 1, 0, 1] {
        let mut octets = std::fs::read(&path).unwrap();
        octets[slot * PART] ^= 1;
        std::fs::write(&path, octets).unwrap();
        let mut file = load(&maildir).file;
        assert!(file.header().uid_limit >= limit, "{limit} and lower are in use");
        limit = file.header().uid_limit + 6;
        let later = UidHeader { uid_limit: limit, ..file.header() };
        if !file.reserve(&maildir, later).unwrap() {
            UidFile::create(&maildir, later, &[]).unwrap();
        }
    }
}

#[test]
fn y21_foreign_content_is_never_trusted_and_never_fatal() {
    let (_dir, maildir) = mailbox();
    let path = maildir.path().join(FILE);
    for content in [vec![0; 4000], vec![0xff; 41], b"hello".to_vec(), Vec::new()] {
        std::fs::write(&path, &content).unwrap();
        assert!(UidFile::load(&maildir).unwrap().is_none());
    }
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(UidFile::load(&maildir).unwrap().is_none());
    UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
    assert_eq!(load(&maildir).records, [record(1)]);
}

#[test]
fn y88_a_scan_that_writes_the_file_anew_and_one_that_appends_keep_every_uid() {
    let (_dir, maildir) = mailbox();
    let mut file = UidFile::create(&maildir, HEADER, &[record(1), record(2)]).unwrap();
    file.append(&maildir, &[UidRecord::gone(1)]).unwrap();
    let many: Vec<(FileVersion, u64)> = (0..5000).map(|inode| (stamp(10_000 + inode), 150)).collect();
    size_cache::append(&maildir, &many).unwrap();
    assert_eq!(load(&maildir).records, [record(2)]);
    let live = [stamp(2), stamp(7), stamp(10_001)];
    let scan = |is_alone: bool| {
        let mut sizes = SizeCache::load(&maildir);
        assert_eq!(sizes.get(&stamp(2)), Some(150), "of a file with a UID");
        if is_alone {
            sizes.rewrite_uids();
        }
        sizes.insert(stamp(7), 180);
        sizes.save(&maildir, Some(&live));
    };
    // Another process may be the one that gives UIDs.
    let length = std::fs::metadata(maildir.path().join(FILE)).unwrap().len();
    scan(false);
    let after = std::fs::metadata(maildir.path().join(FILE)).unwrap().len();
    assert_eq!(after, length + PART as u64);
    scan(true);
    let length = std::fs::metadata(maildir.path().join(FILE)).unwrap().len();
    assert_eq!(length, (HEADERS + 3 * PART) as u64);
    // The file goes on as if nothing had happened.
    assert!(file.append(&maildir, &[record(3)]).unwrap());
    let later = UidHeader { uid_limit: 2001, ..HEADER };
    assert!(file.reserve(&maildir, later).unwrap() && file.sync(&maildir).unwrap());
    let loaded = load(&maildir);
    assert_eq!((loaded.file.header(), loaded.records), (later, vec![record(2), record(3)]));
    let sizes = SizeCache::load(&maildir);
    let sizes = [2, 3, 7, 10_001, 10_002].map(|inode| sizes.get(&stamp(inode)));
    assert_eq!(sizes, [Some(150), Some(150), Some(180), Some(150), None]);
}

#[test]
fn y89_uids_begin_in_a_file_of_sizes_and_leave_sizes_when_they_are_void() {
    let (_dir, maildir) = mailbox();
    size_cache::append(&maildir, &[(stamp(1), 110), (stamp(2), 120)]).unwrap();
    assert!(UidFile::load(&maildir).unwrap().is_none(), "no client has asked for UIDs");
    let first = || Ok((HEADER, vec![record(2)]));
    assert_eq!(UidFile::begin(&maildir, first).unwrap().records, [record(2)]);
    let again = UidFile::begin(&maildir, || panic!("it has UIDs")).unwrap();
    assert_eq!((again.records, again.file.header()), (vec![record(2)], HEADER));
    // Both headers are gone.
    let path = maildir.path().join(FILE);
    let mut octets = std::fs::read(&path).unwrap();
    octets[..HEADERS].fill(0);
    std::fs::write(&path, octets).unwrap();
    assert!(UidFile::load(&maildir).unwrap().is_none());
    UidFile::create(&maildir, UidHeader { uid_validity: 8, ..HEADER }, &[]).unwrap();
    assert!(load(&maildir).records.is_empty());
    let sizes = SizeCache::load(&maildir);
    assert_eq!((sizes.get(&stamp(1)), sizes.get(&stamp(2))), (Some(110), Some(150)));
}

#[test]
fn y21_a_file_that_another_program_has_changed_removed_or_linked_is_left_to_be_written_anew() {
    let (_dir, maildir) = mailbox();
    let path = maildir.path().join(FILE);
    let mut file = UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
    std::fs::hard_link(&path, path.with_extension("copy")).unwrap();
    assert!(!file.append(&maildir, &[record(2)]).unwrap());
    let mut file = UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
    std::fs::write(&path, b"short").unwrap();
    assert!(!file.append(&maildir, &[record(2)]).unwrap());
    assert!(!file.reserve(&maildir, HEADER).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert!(!file.sync(&maildir).unwrap());
}
