//! Requests that wait for their turn, fair to each client. Plain data.
//!
//! The rules: clients take turns, however many requests each has waiting, and the requests of one keep their order. If the
//! queue is full, the client with the most requests loses its newest, which may be the new one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use crate::{
    accounts::Accounts,
    capacity::{GradualMap, Shrinker},
    proto::request::ConnId,
};

/// The client of a request: turns go round among clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ClientKey {
    /// An account, from any number of addresses.
    User(String),
    /// An address, without a login.
    Address(IpAddr),
}

impl ClientKey {
    /// The client of a request of this user, or from this address.
    pub(super) fn of(user: Option<&str>, peer: IpAddr, accounts: &Accounts) -> Self {
        user.map_or(Self::Address(peer), |user| Self::User(accounts.credential(user).user))
    }
}

#[derive(Debug)]
pub(super) struct FairQueue<T> {
    capacity: usize,
    by_client: HashMap<ClientKey, ClientQueue<T>>,
    /// The clients, the next one first.
    round_robin: BTreeMap<u64, ClientKey>,
    /// The clients by their number of requests.
    by_len: BTreeSet<(usize, ClientKey)>,
    /// The client and the number of each request.
    positions: GradualMap<ConnId, (ClientKey, u64)>,
    /// The last number given to a request or a turn.
    last_number: u64,
}

/// The requests of one client, the oldest first.
#[derive(Debug)]
struct ClientQueue<T> {
    round_robin_key: u64,
    requests: BTreeMap<u64, (ConnId, T)>,
}

impl<T> FairQueue<T> {
    /// An empty queue with room for `capacity`.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            by_client: HashMap::new(),
            round_robin: BTreeMap::new(),
            by_len: BTreeSet::new(),
            positions: GradualMap::default(),
            last_number: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Queues a request, and returns the one that loses its place. A connection has one request at a time.
    pub(super) fn push(&mut self, client: &ClientKey, id: ConnId, request: T) -> Option<(ConnId, T)> {
        self.last_number += 1;
        let number = self.last_number;
        let new = || ClientQueue { round_robin_key: number, requests: BTreeMap::new() };
        let queue = self.by_client.entry(client.clone()).or_insert_with(new);
        if queue.requests.is_empty() {
            self.round_robin.insert(number, client.clone());
        }
        self.by_len.remove(&(queue.requests.len(), client.clone()));
        queue.requests.insert(number, (id, request));
        let len = queue.requests.len();
        self.by_len.insert((len, client.clone()));
        self.positions.insert(id, (client.clone(), number));
        if self.positions.len() <= self.capacity {
            return None;
        }
        let (most, fullest) = self.by_len.last()?;
        let loser = if *most == len { client } else { fullest }.clone();
        let newest = *self.by_client.get(&loser)?.requests.last_key_value()?.0;
        self.take(&loser, newest)
    }

    /// The request that [`FairQueue::next`] returns next.
    pub(super) fn first(&self) -> Option<&T> {
        let (_, client) = self.round_robin.first_key_value()?;
        let (_, (_, request)) = self.by_client.get(client)?.requests.first_key_value()?;
        Some(request)
    }

    /// Takes the oldest request of the next client that `may_begin`.
    pub(super) fn next(
        &mut self,
        mut may_begin: impl FnMut(&ClientKey) -> bool,
    ) -> Option<(ConnId, ClientKey, T)> {
        let client = self.round_robin.values().find(|client| may_begin(client))?.clone();
        let oldest = *self.by_client.get(&client)?.requests.first_key_value()?.0;
        let (id, request) = self.take(&client, oldest)?;
        if let Some(queue) = self.by_client.get_mut(&client) {
            self.last_number += 1;
            self.round_robin.remove(&queue.round_robin_key);
            queue.round_robin_key = self.last_number;
            self.round_robin.insert(self.last_number, client.clone());
        }
        Some((id, client, request))
    }

    /// Removes the request of a closed connection.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        let (client, number) = self.positions.get(&id)?.clone();
        self.take(&client, number).map(|(_, request)| request)
    }

    /// The request of a connection.
    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        let (client, number) = self.positions.get(&id)?;
        self.by_client.get(client)?.requests.get(number).map(|(_, request)| request)
    }

    /// The connections whose requests match.
    pub(super) fn matching(&self, mut matches: impl FnMut(&T) -> bool) -> Vec<ConnId> {
        let requests = self.by_client.values().flat_map(|queue| queue.requests.values());
        requests.filter(|(_, request)| matches(request)).map(|(id, _)| *id).collect()
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.by_client).shrink(&mut self.positions);
    }

    fn take(&mut self, client: &ClientKey, number: u64) -> Option<(ConnId, T)> {
        let queue = self.by_client.get_mut(client)?;
        let len = queue.requests.len();
        let (id, request) = queue.requests.remove(&number)?;
        self.by_len.remove(&(len, client.clone()));
        self.positions.remove(&id);
        if queue.requests.is_empty() {
            self.round_robin.remove(&queue.round_robin_key);
            self.by_client.remove(client);
        } else {
            self.by_len.insert((len - 1, client.clone()));
        }
        Some((id, request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> ClientKey {
        ClientKey::Address([192, 0, 2, n].into())
    }

    /// Pushes a request that is identified by number.
    fn push(queue: &mut FairQueue<u64>, client: u8, n: u64) -> Option<u64> {
        queue.push(&ip(client), ConnId(n), n).map(|(_, n)| n)
    }

    fn drain(queue: &mut FairQueue<u64>) -> Vec<u64> {
        std::iter::from_fn(|| queue.next(|_| true).map(|(_, _, n)| n)).collect()
    }

    #[track_caller]
    fn assert_is_empty(queue: &FairQueue<u64>) {
        let is_empty = queue.by_client.is_empty()
            && queue.round_robin.is_empty()
            && queue.by_len.is_empty()
            && queue.positions.is_empty();
        assert!(is_empty, "{queue:?}");
    }

    #[test]
    fn clients_take_turns_and_each_keeps_its_order() {
        let mut queue = FairQueue::new(100);
        for (client, n) in [(1, 10), (1, 11), (2, 20), (1, 12), (3, 30), (2, 21)] {
            assert_eq!(push(&mut queue, client, n), None);
        }
        assert_eq!(queue.first(), Some(&10));
        assert_eq!(drain(&mut queue), [10, 20, 30, 11, 21, 12]);
        assert_is_empty(&queue);
    }

    #[test]
    fn a_client_that_may_not_begin_holds_up_no_other() {
        let mut queue = FairQueue::new(100);
        for (client, n) in [(1, 10), (1, 11), (2, 20)] {
            push(&mut queue, client, n);
        }
        assert_eq!(queue.next(|client| *client != ip(1)).map(|(_, _, n)| n), Some(20));
        assert_eq!(queue.next(|client| *client != ip(1)), None);
        assert_eq!(drain(&mut queue), [10, 11]);
    }

    #[test]
    fn a_full_queue_takes_from_the_client_with_the_most() {
        let mut queue = FairQueue::new(3);
        (10..13).for_each(|n| assert_eq!(push(&mut queue, 1, n), None));
        assert_eq!(push(&mut queue, 2, 20), Some(12));
        assert_eq!(push(&mut queue, 1, 13), Some(13), "its own newest");
        assert_eq!(push(&mut queue, 3, 30), Some(11));
        assert_eq!(push(&mut queue, 4, 40), Some(40), "all have one");
        assert_eq!(drain(&mut queue), [10, 20, 30]);
        assert_is_empty(&queue);
    }

    #[test]
    fn a_connection_that_goes_takes_its_request_along() {
        let mut queue = FairQueue::new(10);
        for (client, n) in [(1, 10), (1, 11), (2, 20)] {
            push(&mut queue, client, n);
        }
        assert_eq!(queue.get(ConnId(20)), Some(&20));
        assert_eq!([10, 20, 99].map(|id| queue.remove(ConnId(id))), [Some(10), Some(20), None]);
        assert_eq!(queue.matching(|n| *n > 0), [ConnId(11)]);
        assert_eq!(drain(&mut queue), [11]);
        assert_is_empty(&queue);
    }
}
