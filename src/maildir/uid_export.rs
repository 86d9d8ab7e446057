//! The UIDs of a folder for Dovecot: `dovecot-uidlist` in version 3 of its format.
//!
//! The rule: no UID that a client may know is given to another message. So the next UID is above every reserved one, and a list
//! that Dovecot has written since is not replaced. Messages without a UID are left out, because no client knows them: Dovecot
//! gives them the next ones.

use std::collections::{HashMap, HashSet};

use rustix::fs::{self, AtFlags};

use super::{
    Error, Maildir, Subdir, cache_file, folders, name,
    uid_file::{LoadedUids, MessageKey, UidFile, UidRecord},
    uid_import::{self, DovecotList},
    uid_validity,
};
use crate::safe_file::Durability;

/// The result of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UidExport {
    /// Dovecot's list has these UIDs.
    Written {
        /// The value with which the UIDs stay valid.
        uid_validity: u32,
        /// Messages with a UID.
        messages: usize,
        /// Messages that Dovecot gives the next UIDs.
        others: usize,
    },
    /// No IMAP client has seen the folder here, so that it has no UIDs.
    NoUids,
    /// There is a list of Dovecot that is no earlier one of these UIDs, for this reason.
    Newer(&'static str),
    /// Dovecot has the list open.
    Locked,
}

/// Writes the UIDs of a folder into Dovecot's list, durably. A list that is no earlier one of these UIDs is only replaced
/// with `force`. `guid` names the folder if Dovecot had no list with a name.
///
/// # Errors
/// The disk failed. The earlier list is there still.
pub fn write(maildir: &Maildir, guid: u128, force: bool) -> Result<UidExport, Error> {
    let Some(LoadedUids { file, records, .. }) = UidFile::load(maildir)? else {
        return Ok(UidExport::NoUids);
    };
    let header = file.header();
    match fs::statat(maildir.root(), LOCK, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => return Ok(UidExport::Locked),
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(Error::at(maildir.path().join(LOCK), "stat", error)),
    }
    let earlier = uid_import::dovecot_list(maildir)?;
    let by_key: HashMap<MessageKey, &UidRecord> = records.iter().map(|record| (record.key, record)).collect();
    if let Some(why) =
        earlier.as_ref().and_then(|earlier| newer(earlier, (header.uid_validity, header.uid_limit), &by_key))
        && !force
    {
        return Ok(UidExport::Newer(why));
    }
    let (numbered, others) = numbered(maildir, &by_key)?;
    let guid = earlier.and_then(|earlier| earlier.guid).unwrap_or_else(|| format!("{guid:032x}"));
    let mut text = format!("3 V{} N{} G{guid}\n", header.uid_validity, header.uid_limit).into_bytes();
    for (uid, name) in &numbered {
        text.extend_from_slice(format!("{uid} :").as_bytes());
        text.extend_from_slice(name);
        text.push(b'\n');
    }
    // After a loss of our UIDs, this list would lack those that were given here since.
    uid_validity::record(maildir, header.uid_validity)?;
    cache_file::replace(maildir, uid_import::DOVECOT, &text, Durability::Durable)?;
    Ok(UidExport::Written { uid_validity: header.uid_validity, messages: numbered.len(), others })
}

/// The reason why a list of Dovecot is no earlier one of these UIDs.
fn newer(
    earlier: &DovecotList,
    (uid_validity, uid_limit): (u32, u32),
    by_key: &HashMap<MessageKey, &UidRecord>,
) -> Option<&'static str> {
    let Some(uids) = &earlier.uids else { return Some("it cannot be read") };
    let differs = |record: &UidRecord| by_key.get(&record.key).is_some_and(|ours| ours.uid != record.uid);
    if uids.uid_validity != uid_validity {
        Some("it has another UIDVALIDITY")
    } else if uids.uid_next > uid_limit {
        Some("Dovecot has given UIDs since")
    } else if uids.records.iter().any(differs) {
        Some("it has other UIDs for some messages")
    } else {
        None
    }
}

/// Names of files, each with its UID.
type Numbered = Vec<(u32, Box<[u8]>)>;

/// The names of the files with a UID, in the order of their UIDs, and the number of other files.
fn numbered(maildir: &Maildir, by_key: &HashMap<MessageKey, &UidRecord>) -> Result<(Numbered, usize), Error> {
    let files = folders::message_names(maildir)?;
    let all = files.len();
    let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
    for (_, name) in &files {
        let identity = name::identity(name);
        if !seen.insert(identity) {
            shared.insert(identity);
        }
    }
    let mut numbered = Vec::new();
    for (subdir, name) in &files {
        let identity = name::identity(name);
        let inode = if shared.contains(identity) { inode(maildir, *subdir, name) } else { None };
        let known = by_key.get(&MessageKey::of(identity, inode));
        // A line of the list ends at the first line end.
        if let Some(record) = known.filter(|_| !name.contains(&b'\n')) {
            numbered.push((record.uid, name.to_vec().into_boxed_slice()));
        }
    }
    numbered.sort_by_key(|(uid, _)| *uid);
    numbered.dedup_by_key(|(uid, _)| *uid);
    let others = all - numbered.len();
    Ok((numbered, others))
}

fn inode(maildir: &Maildir, subdir: Subdir, name: &[u8]) -> Option<u64> {
    fs::statat(maildir.dir(subdir), name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino)
}

/// Dovecot makes this file while it changes the list.
const LOCK: &str = "dovecot-uidlist.lock";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::uid_file::{UidHeader, tests::mailbox};

    fn record(uid: u32, name: &str) -> UidRecord {
        let key = MessageKey::of(name::identity(name.as_bytes()), None);
        UidRecord { modseq: 3, key, ..UidRecord::gone(uid) }
    }

    fn list(maildir: &Maildir) -> String {
        std::fs::read_to_string(maildir.path().join(uid_import::DOVECOT)).unwrap()
    }

    #[test]
    fn y117_the_list_has_the_uids_that_clients_know_and_no_other() {
        let (_dir, maildir) = mailbox();
        assert_eq!(write(&maildir, 5, false).unwrap(), UidExport::NoUids);
        let header = UidHeader { uid_validity: 7, uid_limit: 1001, modseq_limit: 9 };
        let records = [record(12, "2.b.h"), record(3, "1.a.h"), record(4, "gone")];
        UidFile::create(&maildir, header, &records).unwrap();
        for name in ["cur/1.a.h,S=3:2,FS", "new/2.b.h", "new/3.c.h", "new/.hidden"] {
            std::fs::write(maildir.path().join(name), "x").unwrap();
        }
        let written = UidExport::Written { uid_validity: 7, messages: 2, others: 1 };
        assert_eq!(write(&maildir, 0xab, false).unwrap(), written);
        let guid = "000000000000000000000000000000ab";
        let expected = format!("3 V7 N1001 G{guid}\n3 :1.a.h,S=3:2,FS\n12 :2.b.h\n");
        assert_eq!(list(&maildir), expected);
        assert_eq!(write(&maildir, 9, false).unwrap(), written, "an earlier list of these UIDs");
        assert_eq!(list(&maildir), expected, "the folder keeps its name for Dovecot");
        assert!(uid_validity::is_used(&maildir, 7).unwrap(), "no loss of our UIDs brings this list back");
    }

    #[test]
    fn y118_a_list_that_dovecot_has_written_since_stays_unless_it_is_forced() {
        let (_dir, maildir) = mailbox();
        let header = UidHeader { uid_validity: 7, uid_limit: 1001, modseq_limit: 9 };
        UidFile::create(&maildir, header, &[record(3, "1.a.h")]).unwrap();
        std::fs::write(maildir.path().join("new/1.a.h"), "x").unwrap();
        for (theirs, why) in [
            ("3 V8 N4 G1\n3 :1.a.h\n", "it has another UIDVALIDITY"),
            ("3 V7 N1002 G1\n3 :1.a.h\n", "Dovecot has given UIDs since"),
            ("3 V7 N9 G1\n5 :1.a.h\n", "it has other UIDs for some messages"),
            ("nonsense", "it cannot be read"),
        ] {
            std::fs::write(maildir.path().join(uid_import::DOVECOT), theirs).unwrap();
            assert_eq!(write(&maildir, 5, false).unwrap(), UidExport::Newer(why));
            assert_eq!(list(&maildir), theirs);
        }
        std::fs::write(maildir.path().join(LOCK), "").unwrap();
        assert_eq!(write(&maildir, 5, true).unwrap(), UidExport::Locked);
        std::fs::remove_file(maildir.path().join(LOCK)).unwrap();
        assert!(matches!(write(&maildir, 5, true).unwrap(), UidExport::Written { messages: 1, .. }));
    }
}
