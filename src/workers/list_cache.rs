//! The lists of mailboxes that the web API has read, in bounded memory.
//!
//! The rule: the lists that no request has used for a while make room first, the least recently used before the others. If
//! every list is in use, because requests for all mailboxes go through more messages than there is room for, the larger lists
//! stay: they cost the most to read again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::proto::request::Mailbox;

/// Lists by their mailboxes.
#[derive(Debug)]
pub(super) struct ListCache<T> {
    /// Messages in all lists.
    capacity: usize,
    listed: usize,
    lists: HashMap<Mailbox, Cached<T>>,
    by_use: BTreeSet<(u64, Mailbox)>,
    by_len: BTreeSet<(usize, Mailbox)>,
    /// The number of the request that runs.
    request: u64,
}

#[derive(Debug)]
struct Cached<T> {
    listing: Arc<T>,
    /// Messages in it.
    len: usize,
    /// The last request that used it.
    used: u64,
}

impl<T> ListCache<T> {
    /// An empty cache for that number of messages.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            listed: 0,
            lists: HashMap::new(),
            by_use: BTreeSet::new(),
            by_len: BTreeSet::new(),
            request: 0,
        }
    }

    /// A request begins.
    pub(super) fn begin_request(&mut self) {
        self.request += 1;
    }

    /// The list of a mailbox, which is used by this.
    pub(super) fn get(&mut self, mailbox: &Mailbox) -> Option<Arc<T>> {
        let cached = self.lists.get_mut(mailbox)?;
        if cached.used != self.request {
            self.by_use.remove(&(cached.used, mailbox.clone()));
            cached.used = self.request;
            self.by_use.insert((cached.used, mailbox.clone()));
        }
        Some(Arc::clone(&cached.listing))
    }

    /// Keeps the list of a mailbox, which has `len` messages, if others make room for it.
    pub(super) fn insert(&mut self, mailbox: Mailbox, len: usize, listing: Arc<T>) {
        self.remove(&mailbox);
        while self.listed + len > self.capacity {
            let Some(victim) = self.victim(len) else { break };
            self.remove(&victim);
        }
        // One list alone may be of any length.
        if self.listed + len > self.capacity && !self.lists.is_empty() {
            return;
        }
        self.listed += len;
        self.by_use.insert((self.request, mailbox.clone()));
        self.by_len.insert((len, mailbox.clone()));
        self.lists.insert(mailbox, Cached { listing, len, used: self.request });
    }

    pub(super) fn remove(&mut self, mailbox: &Mailbox) {
        let Some(Cached { len, used, .. }) = self.lists.remove(mailbox) else { return };
        self.listed -= len;
        self.by_use.remove(&(used, mailbox.clone()));
        self.by_len.remove(&(len, mailbox.clone()));
    }

    /// The list that makes room for one of `len` messages.
    fn victim(&self, len: usize) -> Option<Mailbox> {
        let (used, oldest) = self.by_use.first()?;
        if used + RECENT < self.request {
            return Some(oldest.clone());
        }
        self.by_len.first().filter(|(shortest, _)| *shortest < len).map(|(_, mailbox)| mailbox.clone())
    }
}

/// Requests within which a list counts as in use.
const RECENT: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// A mailbox with that many messages.
    type List = (&'static str, usize);

    /// Reads the lists in that order, as one request does. Returns the mailboxes that are not in memory.
    fn request(cache: &mut ListCache<()>, lists: &[List]) -> Vec<&'static str> {
        cache.begin_request();
        let mut missed = Vec::new();
        for (name, len) in lists {
            let mailbox = Mailbox::named(&format!("{name}@x.test")).unwrap();
            if cache.get(&mailbox).is_none() {
                missed.push(*name);
                cache.insert(mailbox, *len, Arc::new(()));
            }
            let listed: usize = cache.lists.values().map(|cached| cached.len).sum();
            let lists = cache.lists.len();
            assert_eq!((cache.listed, cache.by_use.len(), cache.by_len.len()), (listed, lists, lists));
            assert!(listed <= cache.capacity || lists == 1);
        }
        missed
    }

    #[test]
    fn v102_lists_that_no_request_uses_make_room_and_the_others_stay() {
        let mut cache = ListCache::new(10);
        request(&mut cache, &[("a", 4)]);
        for _ in 0..=RECENT {
            request(&mut cache, &[("b", 4)]);
        }
        assert_eq!(request(&mut cache, &[("c", 4)]), ["c"]);
        assert!(request(&mut cache, &[("b", 4), ("c", 4)]).is_empty());
        assert_eq!(request(&mut cache, &[("a", 4)]), ["a"]);
    }

    #[test]
    fn v102_requests_for_more_than_there_is_room_for_read_the_rest_again_and_not_all() {
        let mut cache = ListCache::new(50);
        let lists = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].iter().zip(1..);
        let lists: Vec<List> = lists.map(|(name, len)| (*name, len)).collect();
        request(&mut cache, &lists);
        for _ in 0..3 {
            let missed = request(&mut cache, &lists);
            assert!((1..=3).contains(&missed.len()), "{missed:?}: they have 55 messages");
        }
        assert_eq!(request(&mut cache, &[("long", 60)]), ["long"]);
        assert!(request(&mut cache, &[("long", 60)]).is_empty(), "it is kept alone");
    }
}
