//! The cache of sizes: whatever has happened to its file, it never tells a size that was not learnt for that stamp,
//! and what is learnt after the damage is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use restante::maildir::{Maildir, Spool, FileVersion, size_cache::{FILE, SizeCache, count_records}};

use super::owned;
use crate::{Target, bytes::Bytes, scratch};

/// This target.
pub const TARGET: Target = Target { name: "sizes", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        // Two records, one of them damaged, and a third.
        &b"\x00\x01\x05\x00\x02\x09\x01\x22\x40\x00\x03\x01"[..],
        // A torn record, and one behind it.
        b"\x00\x01\x05\x02\x07\x00\x02\x05",
        // Octets of another kind.
        b"\x03\x30############################################################",
        // So many that the file is written anew.
        b"\x04\x00\x04\x01\x04\x02\x04\x03\x04\x04\x05\x01",
    ])
}

/// All that was ever learnt, and what is known for certain.
#[derive(Default)]
struct Model {
    learnt: BTreeMap<u64, BTreeSet<u64>>,
    certain: BTreeMap<u64, u64>,
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
        let (what, at, by) = (input.octet() % 6, input.octet(), input.octet());
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
            _ => {}
        }
        holds(&maildir, &model);
    }
}

fn learn(maildir: &Maildir, model: &mut Model, inodes: impl Iterator<Item = u64>, by: u8) {
    let mut sizes = SizeCache::load(maildir);
    for inode in inodes {
        // What is possible of 200 bytes: up to twice as many.
        let octets = 200 + (u64::from(by) + inode) % 200;
        sizes.insert(stamp(inode), octets);
        model.learnt.entry(inode).or_default().insert(octets);
        model.certain.insert(inode, octets);
    }
    sizes.save(maildir, None);
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
    if let Ok((records, broken)) = count_records(maildir.root(), maildir.path()) {
        assert!(broken <= records);
    }
}

fn stamp(inode: u64) -> FileVersion {
    FileVersion { inode, bytes: 200, modified: (inode.cast_signed(), 5) }
}

/// Steps of one input: each reads the whole file.
const STEPS: usize = 12;
