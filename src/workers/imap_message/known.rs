//! The fields that lists of messages show, and the rendered structures, of the messages that clients have listed last.
//!
//! The rule: the cache holds a bounded number of octets, and a file with another content is another one. Several devices of a
//! user list the same messages, and each list would otherwise open every file again.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::recent::Key;
use crate::{mime::Header, proto::imap::response::fetch::RenderedItem};

/// The parts of a message that are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Its fields with [`LISTED_FIELDS`], as they stand in the file.
    pub(super) fields: Option<Arc<[u8]>>,
    /// Its structure, without and with extension data.
    pub(super) structures: [Option<RenderedItem>; 2],
}

/// Messages by their files. Those of the last round are dropped if none has asked for them during the present one.
#[derive(Debug)]
pub(super) struct KnownMessages {
    round: Option<HashMap<Key, Known>>,
    last_round: Option<HashMap<Key, Known>>,
    /// Octets of the present round, and of the largest one.
    octets: usize,
    max: usize,
}

static KNOWN: Mutex<KnownMessages> = Mutex::new(KnownMessages::new(MAX_OCTETS / 2));

/// The messages that are known.
pub(super) fn known() -> MutexGuard<'static, KnownMessages> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KnownMessages {
    const fn new(max: usize) -> Self {
        Self { round: None, last_round: None, octets: 0, max }
    }

    pub(super) fn fields(&mut self, key: Key) -> Option<Arc<[u8]>> {
        self.get(key)?.fields.clone()
    }

    pub(super) fn structure(&mut self, key: Key, extended: bool) -> Option<RenderedItem> {
        self.get(key)?.structures[usize::from(extended)].clone()
    }

    pub(super) fn insert_fields(&mut self, key: Key, fields: &Arc<[u8]>) {
        if fields.len() <= MAX_VALUE {
            self.change(key, fields.len(), |known| known.fields = Some(Arc::clone(fields)));
        }
    }

    pub(super) fn insert_structure(&mut self, key: Key, extended: bool, structure: &RenderedItem) {
        if structure.octets() <= MAX_VALUE {
            self.change(key, structure.octets(), |known| {
                known.structures[usize::from(extended)] = Some(structure.clone());
            });
        }
    }

    /// A message. One of the last round belongs to the present one from now on.
    fn get(&mut self, key: Key) -> Option<&Known> {
        if let Some(known) = self.last_round.as_mut().and_then(|last| last.remove(&key)) {
            self.change(key, known.octets(), |new| *new = known);
        }
        self.round.as_ref()?.get(&key)
    }

    fn change(&mut self, key: Key, octets: usize, change: impl FnOnce(&mut Known)) {
        if self.octets > self.max {
            self.last_round = mem::take(&mut self.round);
            self.octets = 0;
        }
        let round = self.round.get_or_insert_default();
        if !round.contains_key(&key) {
            self.octets += OCTETS_PER_MESSAGE;
        }
        self.octets += octets;
        change(round.entry(key).or_default());
    }
}

impl Known {
    fn octets(&self) -> usize {
        let structures = self.structures.iter().flatten().map(RenderedItem::octets).sum::<usize>();
        self.fields.as_ref().map_or(0, |fields| fields.len()) + structures
    }
}

/// Whether the cache has all fields of these names.
pub(super) fn are_listed(names: &[Vec<u8>]) -> bool {
    names.iter().all(|name| is_listed(name))
}

/// The fields of a header that the cache keeps, each with an end of its last line.
pub(super) fn listed_fields(header: Header<'_>) -> Vec<u8> {
    let mut fields = Vec::new();
    for field in header.raw_fields().filter(|field| is_listed(field.name)) {
        fields.extend_from_slice(field.lines);
        if !field.lines.ends_with(b"\n") {
            fields.push(b'\n');
        }
    }
    fields
}

fn is_listed(name: &[u8]) -> bool {
    LISTED_FIELDS
        .iter()
        .any(|listed| listed.len() == name.len() && listed.as_bytes().eq_ignore_ascii_case(name))
}

/// The fields of envelopes, and those that mail programs ask for in their lists.
const LISTED_FIELDS: [&str; 30] = [
    "From",
    "To",
    "Cc",
    "Bcc",
    "Date",
    "Subject",
    "Message-ID",
    "Reply-To",
    "Sender",
    "In-Reply-To",
    "References",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Description",
    "Disposition-Notification-To",
    "Importance",
    "Lines",
    "List-Id",
    "List-Post",
    "List-Subscribe",
    "List-Unsubscribe",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Newsgroups",
    "Priority",
    "Thread-Topic",
    "X-Draft-Info",
    "X-Label",
    "X-Original-To",
    "X-Priority",
];
/// Octets of both rounds: the lists of some ten thousand messages.
const MAX_OCTETS: usize = 16 << 20;
/// Octets that a message costs beside its values.
const OCTETS_PER_MESSAGE: usize = 200;
/// A longer value is not kept.
const MAX_VALUE: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::FileVersion;

    fn key(inode: u64, bytes: u64, second: i64) -> Key {
        (1, FileVersion { inode, bytes, modified: (second, 0) })
    }

    fn fields(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn y111_a_file_with_another_content_is_not_known() {
        let mut known = KnownMessages::new(1000);
        known.insert_fields(key(1, 20, 5), &fields("Subject: a\n"));
        assert_eq!(known.fields(key(1, 20, 5)), Some(fields("Subject: a\n")));
        assert_eq!(known.structure(key(1, 20, 5), false), None);
        for other in [key(2, 20, 5), key(1, 21, 5), key(1, 20, 6), (2, key(1, 20, 5).1)] {
            assert_eq!(known.fields(other), None);
        }
    }

    #[test]
    fn y111_values_of_one_message_add_up_and_survive_a_round_in_which_they_are_used() {
        let mut known = KnownMessages::new(1000);
        let structure = RenderedItem::render(|items| {
            items.atom("x");
        });
        known.insert_fields(key(0, 1, 1), &fields("To: b\n"));
        known.insert_structure(key(0, 1, 1), true, &structure);
        for inode in 1..100 {
            known.insert_fields(key(inode, 1, 1), &fields("To: a\n"));
            assert_eq!(known.fields(key(0, 1, 1)), Some(fields("To: b\n")), "{inode}");
            assert_eq!(known.structure(key(0, 1, 1), true), Some(structure.clone()), "{inode}");
        }
        assert_eq!(known.fields(key(1, 1, 1)), None, "nobody has asked for it");
    }

    #[test]
    fn y111_the_octets_in_memory_are_bounded() {
        let mut known = KnownMessages::new(10_000);
        for inode in 0..1000 {
            known.insert_fields(key(inode, 1, 1), &fields(&"x".repeat(500)));
            let rounds = [&known.round, &known.last_round];
            let octets: usize = rounds
                .iter()
                .flat_map(|round| round.iter().flat_map(HashMap::values))
                .map(Known::octets)
                .sum();
            assert!(octets < 25_000, "{octets}");
        }
        known.insert_fields(key(5000, 1, 1), &fields(&"x".repeat(MAX_VALUE + 1)));
        assert_eq!(known.fields(key(5000, 1, 1)), None, "one value is not all of it");
    }

    #[test]
    fn the_fields_of_a_list_are_kept_as_they_are() {
        let header = b"Received: x\nsubject: a\n b\nno field\nX-Other: y\nTo : c\r\nDate: d";
        assert_eq!(listed_fields(Header::new(header, 1000)), b"subject: a\n b\nTo : c\r\nDate: d\n");
        assert!(are_listed(&[b"DATE".to_vec(), b"x-priority".to_vec()]));
        assert!(!are_listed(&[b"Date".to_vec(), b"Received".to_vec()]));
    }
}
