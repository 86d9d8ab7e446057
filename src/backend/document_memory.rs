//! The memory of documents of the web API that sessions hold until their clients have read them, and of bodies until they are
//! whole. Pure state: the time is an argument.
//!
//! The rule: below the limit no client is hurried. Above it the slowest clients lose their connections, and beyond twice the
//! limit no large document is begun beside another. A small one counts as little as the output of any other session, and is not counted.
//! Octets that several sessions send count once.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use crate::{
    capacity::Shrinker,
    proto::{HeldDocument, request::ConnId},
};

/// The documents of all sessions.
#[derive(Debug, Default)]
pub(super) struct DocumentMemory {
    /// Octets of large documents from which on slow clients are evicted.
    limit: u64,
    total: u64,
    entries: HashMap<ConnId, Entry>,
    /// Octets that sessions share, and the number of those sessions.
    shared: HashMap<u64, (usize, usize)>,
}

#[derive(Debug)]
struct Entry {
    document: HeldDocument,
    since: Duration,
}

impl DocumentMemory {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Counts a document that a worker has made. Returns `false` if there is no room for it.
    pub(super) fn reserve(&mut self, id: ConnId, document: HeldDocument, now: Duration) -> bool {
        let shared = document.shared.filter(|(number, _)| !self.shared.contains_key(number));
        let octets = document.octets + shared.map_or(0, |(_, octets)| octets);
        let is_over = self.total + octets as u64 > self.limit.saturating_mul(2);
        if octets > SMALL && is_over && !self.entries.is_empty() {
            return false;
        }
        self.record(id, Some(document), now);
        true
    }

    /// Records the document that a session holds.
    pub(super) fn record(&mut self, id: ConnId, document: Option<HeldDocument>, now: Duration) {
        let Some(document) = document.filter(|document| size(document) > SMALL) else {
            if !self.entries.is_empty()
                && let Some(entry) = self.entries.remove(&id)
            {
                self.total -= entry.document.octets as u64;
                self.unshare(entry.document.shared);
            }
            return;
        };
        let entry = self.entries.entry(id).or_insert(Entry { document: HeldDocument::default(), since: now });
        let before = std::mem::replace(&mut entry.document, document);
        self.total = self.total + document.octets as u64 - before.octets as u64;
        if before.shared != document.shared {
            self.share(document.shared);
            self.unshare(before.shared);
        }
    }

    fn share(&mut self, shared: Option<(u64, usize)>) {
        let Some((number, octets)) = shared else { return };
        let (_, sessions) = self.shared.entry(number).or_insert((octets, 0));
        *sessions += 1;
        if *sessions == 1 {
            self.total += octets as u64;
        }
    }

    fn unshare(&mut self, shared: Option<(u64, usize)>) {
        let Some((number, _)) = shared else { return };
        let Some((octets, sessions)) = self.shared.get_mut(&number) else { return };
        *sessions -= 1;
        if *sessions == 0 {
            self.total -= *octets as u64;
            self.shared.remove(&number);
        }
    }

    /// The connections to evict: the slowest clients, as many as bring the octets below the limit, but never the last one.
    /// A new one has a second to begin.
    pub(super) fn slow_clients(&self, now: Duration) -> Vec<ConnId> {
        if self.total <= self.limit {
            return Vec::new();
        }
        let old = self.entries.iter().filter(|(_, entry)| entry.since + GRACE <= now);
        let mut slowest: Vec<(u128, Reverse<usize>, ConnId)> = old
            .map(|(id, Entry { document, since })| {
                let taken = now.saturating_sub(*since).as_millis().max(1);
                (document.moved as u128 * 1_000_000 / taken, Reverse(size(document)), *id)
            })
            .collect();
        slowest.sort_unstable();
        let mut over = self.total - self.limit;
        let mut evicted = Vec::new();
        for (_, Reverse(octets), id) in slowest {
            if over == 0 || evicted.len() + 1 >= self.entries.len() {
                break;
            }
            over = over.saturating_sub(octets as u64);
            evicted.push(id);
        }
        evicted
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.entries).shrink(&mut self.shared);
    }
}

/// Octets of a document, with those that others may hold too.
fn size(document: &HeldDocument) -> usize {
    document.octets + document.shared.map_or(0, |(_, octets)| octets)
}

/// Octets of a document that is not counted: those of the output buffer of any session.
const SMALL: usize = 64 * 1024;
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held(octets: usize, moved: usize) -> Option<HeldDocument> {
        Some(HeldDocument::new(octets, moved))
    }

    fn document(octets: usize) -> HeldDocument {
        HeldDocument::new(octets, 0)
    }

    #[test]
    fn v23_the_slowest_readers_of_large_documents_make_room() {
        let mut memory = DocumentMemory::new(4 * MIB as u64);
        for id in 0..6 {
            assert!(memory.reserve(ConnId(id), document(MIB), at(0)));
        }
        assert!(memory.slow_clients(at(0)).is_empty(), "a new reader has a second");
        for (id, sent) in [(0, 900), (1, 0), (2, 500), (3, 0), (4, 800), (5, 700)] {
            memory.record(ConnId(id), held(MIB, sent), at(1));
        }
        assert_eq!(memory.slow_clients(at(2)), [1, 3].map(ConnId));
        memory.record(ConnId(1), None, at(2));
        memory.record(ConnId(3), None, at(2));
        assert!(memory.slow_clients(at(60)).is_empty(), "below the limit nobody is hurried");
    }

    #[test]
    fn v23_beyond_twice_the_limit_no_large_document_is_begun() {
        let mut memory = DocumentMemory::new(2 * MIB as u64);
        for id in 0..4 {
            assert!(memory.reserve(ConnId(id), document(MIB), at(0)));
        }
        assert!(!memory.reserve(ConnId(4), document(MIB), at(0)));
        assert!(memory.reserve(ConnId(4), document(SMALL), at(0)), "a small one always has room");
        memory.record(ConnId(0), None, at(0));
        assert!(memory.reserve(ConnId(4), document(MIB), at(0)));
        (0..5).for_each(|id| memory.record(ConnId(id), None, at(0)));
        assert_eq!((memory.total, memory.entries.len()), (0, 0));
        assert!(memory.reserve(ConnId(5), document(100 * MIB), at(0)), "one alone may be of any size");
        assert!(memory.slow_clients(at(60)).is_empty());
        assert!(!memory.reserve(ConnId(6), document(MIB), at(0)));
    }

    #[test]
    fn v96_octets_that_many_sessions_send_count_once_until_the_last_has_sent_them() {
        let mut memory = DocumentMemory::new(2 * MIB as u64);
        let shared = |number| HeldDocument { shared: Some((number, MIB)), ..HeldDocument::default() };
        for id in 0..1000 {
            assert!(memory.reserve(ConnId(id), shared(7), at(0)), "{id}");
        }
        assert_eq!(memory.total, MIB as u64);
        assert!(memory.slow_clients(at(60)).is_empty());
        (0..1000).for_each(|id| memory.record(ConnId(id), Some(shared(8)), at(1)));
        assert_eq!((memory.total, memory.shared.len()), (MIB as u64, 1));
        (0..999).for_each(|id| memory.record(ConnId(id), None, at(2)));
        assert_eq!(memory.total, MIB as u64);
        memory.record(ConnId(999), None, at(2));
        assert_eq!((memory.total, memory.shared.len(), memory.entries.len()), (0, 0, 0));
    }
}
