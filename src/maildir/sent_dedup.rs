//! `.restante.sent`: the Message-IDs recently filed in a folder, so that a message that is submitted twice is filed
//! once, also after a restart.
//!
//! Digests of fixed size, appended. It is a cache: if the file is removed, or a crash loses its end, a message may be
//! filed once more. It never prevents the first filing of a message.

use std::{
    collections::VecDeque,
    io::{Read, Seek, SeekFrom, Write},
};

use blake2::{Blake2s, Digest, digest::consts::U16};

use super::{
    Error, Kind, Maildir,
    cache_file::{open, open_to_append, replace},
    fault_points::fault_point,
};
use crate::safe_file::Durability;

/// The file, beside the messages.
pub const FILE: &str = ".restante.sent";

/// The identity of a message over several submissions: a digest of its Message-ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId([u8; SIZE]);

impl MessageId {
    /// That of a message, as stored, which begins with `head`; `None` if it has none there.
    pub fn of(head: &[u8]) -> Option<Self> {
        let mut lines = head.split(|b| *b == b'\n').take_while(|line| !line.is_empty());
        let first = lines.by_ref().find_map(|line| {
            let (name, value) = line.split_at_checked(FIELD.len())?;
            name.eq_ignore_ascii_case(FIELD).then_some(value)
        })?;
        let folded = lines.take_while(|line| line.starts_with(b" ") || line.starts_with(b"\t"));
        let mut value: Vec<u8> = first.to_vec();
        folded.for_each(|line| value.extend_from_slice(line));
        let value = value.trim_ascii();
        (!value.is_empty()).then(|| Self(Blake2s::<U16>::digest(value).into()))
    }
}

/// The messages recently filed in a folder.
#[derive(Debug, Default)]
pub struct SentDedup {
    recent: VecDeque<MessageId>,
    /// Records in the file, among them those that `recent` no longer has.
    records: usize,
}

impl SentDedup {
    /// The content of the file in a folder.
    pub fn load(maildir: &Maildir) -> Self {
        Self::read(maildir).unwrap_or_else(|error| {
            if error.kind() != Kind::Gone {
                log::warn!("{error}: duplicates in Sent are not detected");
            }
            Self::default()
        })
    }

    fn read(maildir: &Maildir) -> Result<Self, Error> {
        let failed = |step| move |e: std::io::Error| Error::at(maildir.path().join(FILE), step, e);
        let mut file = open(maildir, FILE)?;
        let records = file.metadata().map_err(failed("stat"))?.len().div_ceil(SIZE as u64);
        let begin = records.saturating_sub(MAX_RECENT as u64) * SIZE as u64;
        file.seek(SeekFrom::Start(begin)).map_err(failed("seek"))?;
        let mut bytes = Vec::new();
        file.take((SIZE * MAX_RECENT) as u64).read_to_end(&mut bytes).map_err(failed("read"))?;
        let lately = bytes.chunks_exact(SIZE).filter_map(|id| Some(MessageId(id.try_into().ok()?))).collect();
        Ok(Self { recent: lately, records: usize::try_from(records).unwrap_or(usize::MAX) })
    }

    /// Whether that message was filed recently.
    pub fn contains(&self, id: MessageId) -> bool {
        self.recent.contains(&id)
    }

    /// That message has been filed.
    pub fn insert(&mut self, maildir: &Maildir, id: MessageId) {
        self.recent.push_back(id);
        self.evict_oldest();
        let kept = if self.records >= MAX_RECORDS { self.compact(maildir) } else { self.append(maildir, id) };
        if let Err(error) = kept {
            log::debug!("{error}: duplicates in Sent are not detected after a restart");
        }
    }

    fn evict_oldest(&mut self) {
        self.recent.drain(..self.recent.len().saturating_sub(MAX_RECENT));
    }

    fn append(&mut self, maildir: &Maildir, id: MessageId) -> Result<(), Error> {
        fault_point(maildir.path(), "record")?;
        let failed = |step| move |e: std::io::Error| Error::at(maildir.path().join(FILE), step, e);
        let mut file = open_to_append(maildir, FILE)?;
        // Fills up a record that a crash has torn.
        let length = file.metadata().map_err(failed("stat"))?.len();
        let filling = length.next_multiple_of(SIZE as u64) - length;
        let record = [&[0; SIZE][..filling as usize], &id.0].concat();
        self.records += 1;
        file.write_all(&record).map_err(failed("write"))
    }

    fn compact(&mut self, maildir: &Maildir) -> Result<(), Error> {
        let all: Vec<u8> = self.recent.iter().flat_map(|id| id.0).collect();
        replace(maildir, FILE, &all, Durability::Cached)?;
        self.records = self.recent.len();
        Ok(())
    }
}

const FIELD: &[u8] = b"message-id:";
/// Bytes of a Blake2s digest, cut to 128 bits.
const SIZE: usize = 16;
/// Messages remembered for each folder.
const MAX_RECENT: usize = 1000;
/// Records in a file before it is written anew.
const MAX_RECORDS: usize = 2 * MAX_RECENT;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Spool;

    fn id(number: usize) -> MessageId {
        MessageId::of(format!("Message-ID: <{number}@here.test>\n\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_message_id_is_found_in_the_header_folded_or_not_in_any_case() {
        let same = MessageId::of(b"Message-ID: <a@b>\n\nbody\n");
        for text in
            ["Subject: x\nmessage-id:<a@b>\nTo: c\n\n", "MESSAGE-ID:\n <a@b>\n\n", "Message-Id: <a@b> "]
        {
            assert_eq!(MessageId::of(text.as_bytes()), same, "{text:?}");
        }
        assert_ne!(MessageId::of(b"Message-ID: <a@c>\n"), same);
        for none in ["", "Message-ID:\n\n", "Subject: x\n\nMessage-ID: <a@b>\n", "X-Message-ID: <a@b>\n"] {
            assert_eq!(MessageId::of(none.as_bytes()), None, "{none:?}");
        }
    }

    #[test]
    fn what_was_filed_is_known_after_a_restart_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
        let mut filed = SentDedup::load(&maildir);
        let all = 2 * MAX_RECORDS + 5;
        (0..all).for_each(|number| filed.insert(&maildir, id(number)));
        let path = maildir.path().join(FILE);
        assert!(std::fs::metadata(&path).unwrap().len() <= (MAX_RECORDS * SIZE) as u64);
        for filed in [filed, SentDedup::load(&maildir)] {
            assert!(
                filed.contains(id(all - 1))
                    && filed.contains(id(all - MAX_RECENT))
                    && !filed.contains(id(all - MAX_RECENT - 1))
            );
        }
    }

    #[test]
    fn a_torn_record_costs_nothing_but_itself() {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
        let path = maildir.path().join(FILE);
        SentDedup::load(&maildir).insert(&maildir, id(1));
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"torn").unwrap();
        SentDedup::load(&maildir).insert(&maildir, id(2));
        let filed = SentDedup::load(&maildir);
        assert!(filed.contains(id(1)) && filed.contains(id(2)) && !filed.contains(id(3)));
    }
}
