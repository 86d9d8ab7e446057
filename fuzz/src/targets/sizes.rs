//! The size cache of a folder: after any damage it never returns a size that was not learnt for that stamp, and it
//! knows every size learnt after the damage. Its UIDs are those written with their UID validity, and none is given
//! twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use restante::maildir::{
    FileVersion, Maildir, Spool,
    index_file::{FILE, MessageKey, UidHeader, UidRecord, examine},
    size_cache::SizeCache,
    uid_file::UidFile,
};

use super::owned;
use crate::{Target, bytes::Bytes, scratch};

/// This target.
pub const TARGET: Target = Target { name: "sizes", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        // Two records, one of them damaged, and a third.
        &b"\x00\x01\x05\x00\x02\x09\x01\x22\x40\x00\x03\x01"[..],
        // A torn record, and one after it.
        b"\x00\x01\x05\x02\x07\x00\x02\x05",
        // Octets of another kind.
        b"\x03\x30############################################################",
        // UIDs, damage, and UIDs again.
        b"\x06\x03\x00\x01\x02\x20\x06\x05\x00\x02\x30\x00\x06\x01\x00",
        // So many that the file is written anew.
        b"\x04\x00\x04\x01\x04\x02\x04\x03\x04\x04\x05\x01",
    ])
}

/// All sizes ever learnt, and those that the cache must know.
#[derive(Default)]
struct Model {
    learnt: BTreeMap<u64, BTreeSet<u64>>,
    certain: BTreeMap<u64, u64>,
    /// The last UID validity and, for each, the UIDs in use.
    validity: u32,
    limits: BTreeMap<u32, u32>,
}

fn run(data: &[u8]) {
    let spool = Spool::open(&scratch::directory().join("sizes")).expect("a spool");
    let maildir = spool.open_or_create_maildir("box").expect("a mailbox");
    let file = maildir.path().join(FILE);
    let _ = fs::remove_file(&file); // the first time there is none
    let (mut input, mut model) = (Bytes(data), Model::default());
    for _ in 0..STEPS {
        if input.0.is_empty() {
            break;
        }
        let (what, at, by) = (input.octet() % 7, input.octet(), input.octet());
        let mut content = fs::read(&file).unwrap_or_default();
        match what {
            0 => learn(&maildir, &mut model, at.into()..=at.into(), by),
            1 if !content.is_empty() => {
                // By an odd number, anywhere in the file.
                let at = usize::from(at) * 7 % content.len();
                content[at] ^= by | 1;
                damage(&file, &content, &mut model);
            }
            2 => {
                content.truncate(content.len().saturating_sub(at.into()));
                damage(&file, &content, &mut model);
            }
            3 => {
                content.extend_from_slice(input.take(at.into()));
                damage(&file, &content, &mut model);
            }
            4 => learn(&maildir, &mut model, u64::from(at)..=u64::from(at) + 300, by),
            5 => {
                let live: Vec<FileVersion> = (0..u64::from(at)).map(stamp).collect();
                SizeCache::load(&maildir).save(&maildir, Some(&live));
                model.certain.retain(|inode, _| *inode < u64::from(at));
            }
            6 => number(&maildir, &mut model, at),
            _ => {}
        }
        holds(&maildir, &model);
    }
}

fn learn(maildir: &Maildir, model: &mut Model, inodes: impl Iterator<Item = u64>, by: u8) {
    let mut sizes = SizeCache::load(maildir);
    for inode in inodes {
        // A message of 200 octets has at most twice as many on the wire.
        let octets = 200 + (u64::from(by) + inode) % 200;
        sizes.insert(stamp(inode), octets);
        model.learnt.entry(inode).or_default().insert(octets);
        model.certain.insert(inode, octets);
    }
    sizes.save(maildir, None);
}

/// Gives UIDs to messages, as the server does after a start.
fn number(maildir: &Maildir, model: &mut Model, messages: u8) {
    let validity = model.validity + 1;
    let first = || Ok((UidHeader { uid_validity: validity, uid_limit: 1, modseq_limit: 1 }, Vec::new()));
    let mut file = UidFile::begin(maildir, first).expect("a directory that can be written").file;
    let header = file.header();
    model.validity = header.uid_validity.max(model.validity);
    let used = model.limits.entry(header.uid_validity).or_insert(1);
    assert!(header.uid_limit >= *used, "UIDs below {used} are in use");
    let uid_limit = header.uid_limit.saturating_add(messages.into());
    *used = uid_limit;
    let later = UidHeader { uid_limit, ..header };
    let records: Vec<UidRecord> = (header.uid_limit..uid_limit).map(record).collect();
    let is_done = file.reserve(maildir, later).expect("a reservation")
        && file.append(maildir, &records).expect("records");
    if !is_done {
        UidFile::create(maildir, later, &records).expect("a new file");
    }
}

fn record(uid: u32) -> UidRecord {
    let key = MessageKey::of(&uid.to_le_bytes(), None);
    let inode = u64::from(uid) + 1_000_000;
    UidRecord { uid, modseq: 1, key, flags: 1, version: stamp(inode), octets: 210 }
}

/// From now on nothing is certain.
fn damage(file: &std::path::Path, content: &[u8], model: &mut Model) {
    fs::write(file, content).expect("a file that can be written");
    model.certain.clear();
}

fn holds(maildir: &Maildir, model: &Model) {
    let sizes = SizeCache::load(maildir);
    for (inode, learnt) in &model.learnt {
        let told = sizes.get(&stamp(*inode));
        assert!(told.is_none_or(|told| learnt.contains(&told)), "{inode}: {told:?} was never learnt");
        if let Some(certain) = model.certain.get(inode) {
            assert_eq!(told, Some(*certain), "{inode} is forgotten");
        }
    }
    assert_eq!(sizes.get(&FileVersion { bytes: 201, ..stamp(0) }), None, "of another file");
    if let Ok(condition) = examine(maildir.root(), maildir.path()) {
        assert!(condition.broken <= condition.parts);
    }
    if let Some(loaded) = UidFile::load(maildir).expect("a file that can be read") {
        let header = loaded.file.header();
        let used = model.limits.get(&header.uid_validity).expect("a UID validity that was given");
        assert!(header.uid_limit >= *used, "UIDs below {used} are in use");
        assert!(loaded.records.iter().all(|known| *known == record(known.uid)), "a UID of another message");
    }
}

/// No file has the inode 0, which stands for an unknown file.
fn stamp(number: u64) -> FileVersion {
    let inode = number + 1;
    FileVersion { inode, bytes: 200, modified: (inode.cast_signed(), 5) }
}

/// Steps of one input: each reads the whole file.
const STEPS: usize = 12;
