//! Admission: the places for connections, and the choice of the connection that gives its place up when none is
//! left. Pure state: the time is an argument.
//!
//! The rule: a place is held by progress, never by octets. Strangers go before addresses that were served, these
//! before users who have logged in; and no service takes the share of another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use crate::{
    capacity::Shrinker,
    config::Service,
    connection::{EvictionPriority, Stage},
    limits::{Limits, client_prefix, client_site},
    proto::request::ConnId,
};

/// Every connection, and the places there are.
pub(super) struct Admission {
    max: usize,
    /// Places that only connections of a share may take.
    reserved: [usize; Service::ALL.len()],
    /// Places that connections of a share have.
    held: [usize; Service::ALL.len()],
    connections: HashMap<ConnId, AdmittedConnection>,
    /// The connections that may be ended, those with the oldest progress first.
    eviction_queues: BTreeMap<EvictionQueue, BTreeSet<(Duration, ConnId)>>,
    prefixes: Counts,
    sites: Counts,
    /// Connections of a prefix that count as served before.
    shielded: Counts,
    served: ServedAddresses,
    max_per_address: usize,
    max_per_site: usize,
}

/// A service that stands for the one under TLS too, since both are for the same users: each has its share of the
/// places.
type ServiceShare = Service;

/// How late a connection is ended; the first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EvictionRank {
    /// The session is over, and only its last words are left.
    Closing,
    Unknown,
    /// The address has delivered or logged in before.
    Served,
    /// A user who has logged in, a trusted client, a server of ours.
    Trusted,
}

type EvictionQueue = (ServiceShare, EvictionRank, Stage);

struct AdmittedConnection {
    share: ServiceShare,
    peer: Option<IpAddr>,
    /// Whether it is one of the connections of its prefix that count as served before.
    shielded: bool,
    queued: Option<(EvictionQueue, Duration)>,
}

/// The way in for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdmissionDecision {
    Admit,
    /// This connection has to end first.
    Evict(ConnId),
    /// One will have to end then, which has only just come.
    RetryAt(Duration),
    Refuse,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self {
            max: 0,
            reserved: [0; Service::ALL.len()],
            held: [0; Service::ALL.len()],
            connections: HashMap::new(),
            eviction_queues: BTreeMap::new(),
            prefixes: Counts::default(),
            sites: Counts::default(),
            shielded: Counts::default(),
            served: ServedAddresses::default(),
            max_per_address: 0,
            max_per_site: 0,
        }
    }

    /// Other limits and listeners are in force from now on: each service that is there has its share.
    pub(super) fn reconfigure(
        &mut self,
        most: usize,
        limits: &Limits,
        services: impl Iterator<Item = Service>,
    ) {
        (self.max, self.max_per_address, self.max_per_site) =
            (most, limits.connections_per_address, limits.connections_per_site);
        self.served.most = limits.served_addresses;
        self.reserved = [0; Service::ALL.len()];
        for service in services {
            // With few places one of them, if that leaves any to the others.
            let shares = Service::ALL.iter().filter(|share| !share.begins_with_tls()).count();
            let least = usize::from(most >= shares);
            self.reserved[service.without_tls() as usize] = (most / SHARES).max(least);
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Prefixes of addresses that have a connection now.
    pub(super) fn address_count(&self) -> usize {
        self.prefixes.0.len()
    }

    /// Whether that address, and the network around it, have not too many connections already.
    pub(super) fn is_within_address_limits(&self, peer: IpAddr) -> bool {
        let fits = |most: usize, count: usize| most == 0 || count < most;
        peer.to_canonical().is_loopback()
            || fits(self.max_per_address, self.prefixes.get(client_prefix(peer)))
                && client_site(peer).is_none_or(|site| fits(self.max_per_site, self.sites.get(site)))
    }

    /// The place of one more connection to that service.
    pub(super) fn decide(&self, service: Service, now: Duration) -> AdmissionDecision {
        let share = service.without_tls();
        let taken = |other: usize| {
            if other == share as usize {
                self.held[other]
            } else {
                self.held[other].max(self.reserved[other])
            }
        };
        if (0..Service::ALL.len()).map(taken).sum::<usize>() < self.max {
            return AdmissionDecision::Admit;
        }
        let lends =
            |other: ServiceShare| other == share || self.held[other as usize] > self.reserved[other as usize];
        let oldest = |(&(other, rank, stage), queue): (&EvictionQueue, &BTreeSet<_>)| {
            let &(progress, id) = queue.first().filter(|_| lends(other))?;
            Some((rank, progress + extra_time(stage), progress + eviction_delay(rank, stage), id))
        };
        let candidates = || self.eviction_queues.iter().filter_map(oldest);
        if let Some((_, _, _, id)) = candidates().filter(|(_, _, from, _)| *from <= now).min() {
            return AdmissionDecision::Evict(id);
        }
        let soon = candidates().map(|(_, _, from, _)| from).filter(|from| *from <= now + BODY_GRACE).min();
        soon.map_or(AdmissionDecision::Refuse, AdmissionDecision::RetryAt)
    }

    pub(super) fn admit(&mut self, id: ConnId, service: Service, peer: Option<IpAddr>, now: Duration) {
        let share = service.without_tls();
        self.held[share as usize] += 1;
        self.connections.insert(id, AdmittedConnection { share, peer: None, shielded: false, queued: None });
        if let Some(peer) = peer {
            self.set_peer(id, peer);
        }
        self.update(id, Some(EvictionPriority { stage: Stage::Unidentified, last_progress: now }));
    }

    /// The address of a connection is known.
    pub(super) fn set_peer(&mut self, id: ConnId, peer: IpAddr) {
        let Some(guest) = self.connections.get_mut(&id).filter(|guest| guest.peer.is_none()) else { return };
        guest.peer = Some(peer);
        self.prefixes.increment(client_prefix(peer));
        client_site(peer).into_iter().for_each(|site| self.sites.increment(site));
    }

    /// A connection has come that far; `None`: it may not be ended now.
    pub(super) fn update(&mut self, id: ConnId, claim: Option<EvictionPriority>) {
        let Some(guest) = self.connections.get_mut(&id) else { return };
        let wanted = claim.map(|EvictionPriority { stage, last_progress: progress }| {
            let rank = match stage {
                Stage::Closing => EvictionRank::Closing,
                Stage::Trusted => EvictionRank::Trusted,
                _ if guest.is_shielded(&self.served, &mut self.shielded) => EvictionRank::Served,
                _ => EvictionRank::Unknown,
            };
            ((guest.share, rank, stage), progress)
        });
        let is_near = |(queue, progress): (EvictionQueue, Duration)| {
            guest.queued.is_some_and(|(old, at)| old == queue && progress.abs_diff(at) < REORDER_THRESHOLD)
        };
        if wanted == guest.queued || wanted.is_some_and(is_near) {
            return;
        }
        let old = std::mem::replace(&mut guest.queued, wanted);
        self.dequeue(id, old);
        if let Some((queue, progress)) = wanted {
            self.eviction_queues.entry(queue).or_default().insert((progress, id));
        }
    }

    /// A message was accepted from there, or a user has logged in.
    pub(super) fn mark_served(&mut self, peer: IpAddr, now: Duration) {
        self.served.add(client_prefix(peer), now);
    }

    pub(super) fn remove(&mut self, id: ConnId) {
        let Some(AdmittedConnection { share, peer, shielded, queued }) = self.connections.remove(&id) else {
            return;
        };
        self.held[share as usize] -= 1;
        self.dequeue(id, queued);
        if let Some(peer) = peer {
            self.prefixes.decrement(client_prefix(peer));
            client_site(peer).into_iter().for_each(|site| self.sites.decrement(site));
            if shielded {
                self.shielded.decrement(client_prefix(peer));
            }
        }
    }

    /// Gives back room for connections that have gone.
    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.connections).shrink(&mut self.served.last);
        for counts in [&mut self.prefixes, &mut self.sites, &mut self.shielded] {
            shrinker.shrink(&mut counts.0);
        }
    }

    fn dequeue(&mut self, id: ConnId, queued: Option<(EvictionQueue, Duration)>) {
        let Some((queue, progress)) = queued else { return };
        if let Some(waiting) = self.eviction_queues.get_mut(&queue) {
            waiting.remove(&(progress, id));
            if waiting.is_empty() {
                self.eviction_queues.remove(&queue);
            }
        }
    }
}

impl AdmittedConnection {
    /// A few connections of an address count as served before: who has delivered once may not hold the house with
    /// all the connections that an address may have.
    fn is_shielded(&mut self, served: &ServedAddresses, shielded: &mut Counts) -> bool {
        let Some(prefix) = self.peer.map(client_prefix) else { return false };
        if !self.shielded && served.contains(prefix) && shielded.get(prefix) < MAX_SHIELDED {
            self.shielded = true;
            shielded.increment(prefix);
        }
        self.shielded
    }
}

/// How long a connection may be without progress before it is ended for another.
fn eviction_delay(rank: EvictionRank, stage: Stage) -> Duration {
    match (rank, stage) {
        (EvictionRank::Closing, _) => Duration::ZERO,
        (EvictionRank::Trusted, _) => Duration::from_secs(60),
        (_, Stage::ReceivingBody) => BODY_GRACE,
        (_, Stage::Idle) => BODY_GRACE / 2,
        _ => NEW_CONNECTION_GRACE,
    }
}

/// How much longer than one that has just come a connection keeps its place without progress, because it has come
/// further. Not more: with all places held at DATA, clients that have just come must not end each other.
fn extra_time(stage: Stage) -> Duration {
    match stage {
        Stage::Closing | Stage::Unidentified => Duration::ZERO,
        Stage::Idle | Stage::Trusted => Duration::from_secs(10),
        Stage::ReceivingBody => Duration::from_secs(20),
    }
}

/// Addresses that were served, the latest of them.
#[derive(Default)]
struct ServedAddresses {
    most: usize,
    last: HashMap<IpAddr, Duration>,
    order: BTreeSet<(Duration, IpAddr)>,
}

impl ServedAddresses {
    fn contains(&self, prefix: IpAddr) -> bool {
        self.last.contains_key(&prefix)
    }

    fn add(&mut self, prefix: IpAddr, now: Duration) {
        if let Some(before) = self.last.insert(prefix, now) {
            self.order.remove(&(before, prefix));
        }
        self.order.insert((now, prefix));
        while self.last.len() > self.most {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.last.remove(&oldest);
        }
    }
}

#[derive(Default)]
struct Counts(HashMap<IpAddr, usize>);

impl Counts {
    fn get(&self, network: IpAddr) -> usize {
        self.0.get(&network).copied().unwrap_or_default()
    }

    fn increment(&mut self, network: IpAddr) {
        *self.0.entry(network).or_default() += 1;
    }

    fn decrement(&mut self, network: IpAddr) {
        if let Some(count) = self.0.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&network);
            }
        }
    }
}

/// One of so many parts of the places is each service's own.
const SHARES: usize = 8;
/// Connections of one address that count as served before.
const MAX_SHIELDED: usize = 4;
/// A connection that has just come stays: else in a rush each would end the one before, and none be served. The next
/// one waits for that long before it is accepted.
const NEW_CONNECTION_GRACE: Duration = Duration::from_millis(250);
/// The same for one at message data, and the longest that the next one waits.
const BODY_GRACE: Duration = Duration::from_secs(1);
/// Progress that differs by less is not put in order again.
const REORDER_THRESHOLD: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
