//! A mailbox at one moment: the messages in order, with their unique ids.

use std::borrow::Cow;

use blake2::{Blake2s, Digest, digest::consts::U16};

use super::message_list::MessageList;
use crate::{
    deferred_drop,
    maildir::{FileVersion, MessageEntry, MessageRef, name},
    proto::request::Maildrop,
};

/// The messages of a mailbox at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    list: MessageList,
    /// The number of the first message in each chunk.
    starts: Vec<usize>,
}

impl Snapshot {
    /// Copies the list as it is now.
    pub fn new(list: &MessageList) -> Self {
        Self { starts: list.chunk_starts(), list: list.read_only_copy() }
    }

    /// The messages as a list.
    pub(super) fn list(&self) -> &MessageList {
        &self.list
    }

    /// The position of a file.
    pub(super) fn position_of(&self, identity: &[u8], inode: u64) -> Option<usize> {
        let (chunk, offset) = self.list.find(identity, inode)?;
        Some(self.starts.get(chunk)? + offset)
    }

    /// A message, or `None` if no message has that position.
    pub fn entry(&self, message: usize) -> Option<&MessageEntry> {
        let chunk = self.starts.partition_point(|start| *start <= message).checked_sub(1)?;
        self.list.get((chunk, message - self.starts[chunk]))
    }

    /// The file of a message, or `None` if no message has that position.
    pub fn message_ref(&self, message: usize) -> Option<MessageRef<'_>> {
        self.entry(message).map(MessageRef::from)
    }

    /// The messages in the order of POP3 numbers.
    pub fn iter(&self) -> impl Iterator<Item = &MessageEntry> {
        self.list.iter()
    }
}

/// A session may hold the last copy of many messages, which another thread then frees.
impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.list.len() > MAX_FREED_INLINE {
            deferred_drop::drop_deferred(std::mem::take(&mut self.list));
        }
    }
}

impl Maildrop for Snapshot {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn total(&self) -> u64 {
        self.list.total()
    }

    fn octets(&self, message: usize) -> u64 {
        self.entry(message).map_or(0, |found| found.octets)
    }

    fn unique_id(&self, message: usize) -> Cow<'_, str> {
        let Some(found) = self.entry(message) else { return Cow::Borrowed("-") };
        let identity = name::identity(&found.name);
        let has_it = |at| self.entry(at).is_some_and(|other| name::identity(&other.name) == identity);
        // Files of one identity are neighbours.
        let is_double = message.checked_sub(1).is_some_and(has_it) || has_it(message + 1);
        unique_id(identity, is_double.then_some(found.version))
    }

    /// The later of the time at the start of the name and the last change of the content: a name that begins with
    /// another number must not make a message look old, and neither must a file that was saved with an old time.
    fn delivered_at(&self, message: usize) -> u64 {
        self.entry(message).map_or(u64::MAX, |found| {
            let (in_name, ..) = name::sort_key(&found.name);
            in_name.max(u64::try_from(found.version.modified.0).unwrap_or(0))
        })
    }
}

/// The unique id of an identity: itself if it is 1 to 70 characters from 0x21 to 0x7e (RFC 1939 section 7), else 32
/// digits of a hash of it. No identity has a comma in it.
///
/// Each of several files of one identity gets the suffix `,-`, its inode and its time. None of them keeps the plain
/// id: the first file, or the last one left, would bear the id of another message, and a client that leaves mail on
/// the server would take it for one that it has. To fetch a message once more is better than never.
pub fn unique_id(identity: &[u8], double: Option<FileVersion>) -> Cow<'_, str> {
    let text = |FileVersion { inode, modified: (seconds, _), .. }| format!(",-{inode:x}.{seconds:x}");
    let suffix = double.map(text).unwrap_or_default();
    let fits = (1..=70 - suffix.len()).contains(&identity.len());
    match std::str::from_utf8(identity) {
        Ok(text) if fits && identity.iter().all(u8::is_ascii_graphic) => {
            if suffix.is_empty() {
                Cow::Borrowed(text)
            } else {
                Cow::Owned(format!("{text}{suffix}"))
            }
        }
        _ => {
            let hash = Blake2s::<U16>::digest(identity);
            Cow::Owned(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + &suffix)
        }
    }
}

/// The most messages whose memory the thread that drops the snapshot frees itself.
const MAX_FREED_INLINE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Subdir;

    fn stamp(inode: u64, seconds: i64) -> FileVersion {
        FileVersion { inode, bytes: 1, modified: (seconds, 0) }
    }

    fn found(name: &str, subdir: Subdir, inode: u64) -> MessageEntry {
        MessageEntry { name: name.as_bytes().into(), subdir, version: stamp(inode, 0), octets: inode }
    }

    fn snapshot(messages: Vec<MessageEntry>) -> Snapshot {
        Snapshot::new(&MessageList::from_messages(messages))
    }

    fn ids(snapshot: &Snapshot) -> Vec<String> {
        (0..snapshot.len()).map(|message| snapshot.unique_id(message).into_owned()).collect()
    }

    #[test]
    fn messages_are_in_the_order_of_delivery_wherever_they_lie() {
        let snapshot = snapshot(vec![
            found("20.M1.h", Subdir::New, 3),
            found("10.M2.h:2,S", Subdir::Cur, 4),
            found("10.M1.h", Subdir::New, 5),
        ]);
        assert_eq!(ids(&snapshot), ["10.M1.h", "10.M2.h", "20.M1.h"]);
        assert_eq!((snapshot.len(), snapshot.total(), snapshot.octets(1)), (3, 12, 4));
    }

    #[test]
    fn positions_are_right_over_many_chunks() {
        let snapshot =
            snapshot((0..3000).map(|n| found(&format!("{}.x", 10_000 + n), Subdir::New, n)).collect());
        for message in [0, 1, 255, 256, 257, 1024, 2999] {
            assert_eq!(snapshot.octets(message), message as u64);
        }
        assert!(snapshot.message_ref(3000).is_none());
    }

    #[test]
    fn a_message_is_as_young_as_its_name_or_its_content() {
        for (name, modified, delivered) in
            [("20.M1.h", 10, 20), ("20.M1.h:2,S", 30, 30), ("letter", 30, 30), ("x", -5, 0)]
        {
            let mut found = found(name, Subdir::New, 1);
            found.version.modified.0 = modified;
            assert_eq!(snapshot(vec![found]).delivered_at(0), delivered, "{name}");
        }
        assert_eq!(snapshot(vec![]).delivered_at(0), u64::MAX);
    }

    #[test]
    fn an_id_survives_flags_and_moves() {
        for name in ["1.M1.h", "1.M1.h:2,", "1.M1.h:2,RS", "1.M1.h,S=5:2,S"] {
            assert_eq!(ids(&snapshot(vec![found(name, Subdir::Cur, 1)])), ["1.M1.h"]);
        }
    }

    #[test]
    fn messages_of_one_identity_are_told_apart() {
        let snapshot = snapshot(vec![
            found("1.x", Subdir::New, 1),
            found("1.x:2,S", Subdir::Cur, 2),
            found("1.x:2,R", Subdir::Cur, 3),
        ]);
        assert_eq!(ids(&snapshot), ["1.x,-1.0", "1.x,-2.0", "1.x,-3.0"]);
    }

    #[test]
    fn p22_no_name_is_the_id_of_another_message() {
        let all =
            [found("1.x", Subdir::New, 1), found("1.x:2,S", Subdir::Cur, 2), found("1.x-2", Subdir::New, 3)];
        assert_eq!(ids(&snapshot(all.to_vec())), ["1.x,-1.0", "1.x,-2.0", "1.x-2"]);
    }

    #[test]
    fn odd_names_have_plain_ids() {
        let long = "9".repeat(71);
        for odd in ["1.a b", "1.é", &long] {
            let id = unique_id(odd.as_bytes(), None);
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{odd}: {id}");
            assert_eq!(unique_id(odd.as_bytes(), Some(stamp(18, 255))), format!("{id},-12.ff"));
        }
        for identity in [[b'9'; 70], [b' '; 70]] {
            assert!(unique_id(&identity, Some(stamp(u64::MAX, -1))).len() <= 70);
        }
    }
}
