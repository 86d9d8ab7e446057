//! Admission: the places for connections, and the choice of the connection to evict when none is left. Pure state:
//! the time is an argument.
//!
//! The rule: a connection keeps its place by progress, never by octets. Unknown clients are evicted before addresses
//! that were served, and these before users who have logged in. No service takes the reserved places of another.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    capacity::{GradualMap, Shrinker},
    config::Service,
    connection::{EvictionPriority, EvictionStage},
    limits::{Limits, client_prefix, client_site},
    proto::request::ConnId,
};

/// The places for connections. Each admitted connection holds its own [`Place`].
pub(super) struct Admission {
    max: usize,
    /// Places reserved for the connections of each group.
    reserved: [usize; Service::ALL.len()],
    /// Places that the connections of each group occupy.
    occupied: [usize; Service::ALL.len()],
    /// The connections that may be evicted, the oldest progress first.
    eviction_queues: BTreeMap<EvictionQueue, BTreeSet<(Duration, ConnId)>>,
    prefixes: Counts,
    sites: Counts,
    /// Connections of a prefix that count as served before.
    protected: Counts,
    known_addresses: KnownAddresses,
    max_per_address: usize,
    max_per_site: usize,
}

/// The service without implicit TLS, which stands for both variants because they have the same users. Each group has
/// reserved places.
type ServiceGroup = Service;

/// The order of eviction: the lowest rank is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EvictionRank {
    /// The session is over, and only its last reply is left to send.
    Closing,
    Unknown,
    /// The address has delivered or logged in before.
    Served,
    /// The user has logged in, the client is trusted, or the peer is a server of this site.
    Trusted,
}

type EvictionQueue = (ServiceGroup, EvictionRank, EvictionStage);

/// The place of one connection, which gives it back by [`Admission::remove`].
#[must_use]
pub(super) struct Place {
    group: ServiceGroup,
    peer: Option<IpAddr>,
    /// Whether the address counts this connection. It does not after a login by IMAP: the sessions of a user are bounded by
    /// themselves, and an office may have one address.
    counted: bool,
    /// Whether this connection is counted in [`Admission::protected`].
    protected: bool,
    queued: Option<(EvictionQueue, Duration)>,
}

/// The decision about a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdmissionDecision {
    Admit,
    /// Admit the new connection after evicting this one.
    Evict(ConnId),
    /// Ask again at this time, when a connection that has only just been accepted may be evicted.
    RetryAt(Duration),
    Refuse,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self {
            max: 0,
            reserved: [0; Service::ALL.len()],
            occupied: [0; Service::ALL.len()],
            eviction_queues: BTreeMap::new(),
            prefixes: Counts::default(),
            sites: Counts::default(),
            protected: Counts::default(),
            known_addresses: KnownAddresses::default(),
            max_per_address: 0,
            max_per_site: 0,
        }
    }

    /// Applies other limits and another set of listeners: each service in the set gets its reserved places.
    pub(super) fn reconfigure(
        &mut self,
        max: usize,
        limits: &Limits,
        services: impl Iterator<Item = Service>,
    ) {
        (self.max, self.max_per_address, self.max_per_site) =
            (max, limits.connections.max_per_address, limits.connections.max_per_network);
        self.known_addresses.capacity = limits.connections.max_known_addresses;
        self.reserved = [0; Service::ALL.len()];
        for service in services {
            // If places are few, each group gets one, provided that there is one for every group.
            let groups = Service::ALL.iter().filter(|group| !group.begins_with_tls()).count();
            let min = usize::from(max >= groups);
            self.reserved[service.without_tls() as usize] = (max / RESERVED_ONE_IN).max(min);
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// The number of address prefixes that have a connection now.
    pub(super) fn address_count(&self) -> usize {
        self.prefixes.0.len()
    }

    /// Whether the address, and the network around it, have room for one more connection.
    pub(super) fn is_within_address_limits(&self, peer: IpAddr) -> bool {
        let fits = |max: usize, count: usize| max == 0 || count < max;
        peer.to_canonical().is_loopback()
            || fits(self.max_per_address, self.prefixes.get(client_prefix(peer)))
                && client_site(peer).is_none_or(|site| fits(self.max_per_site, self.sites.get(site)))
    }

    /// Decides whether one more connection to that service is admitted.
    pub(super) fn decide(&self, service: Service, now: Duration) -> AdmissionDecision {
        let group = service.without_tls();
        let taken = |other: usize| {
            if other == group as usize {
                self.occupied[other]
            } else {
                self.occupied[other].max(self.reserved[other])
            }
        };
        if (0..Service::ALL.len()).map(taken).sum::<usize>() < self.max {
            return AdmissionDecision::Admit;
        }
        let lends = |other: ServiceGroup| {
            other == group || self.occupied[other as usize] > self.reserved[other as usize]
        };
        let oldest = |(&(other, rank, stage), queue): (&EvictionQueue, &BTreeSet<_>)| {
            let &(progress, id) = queue.first().filter(|_| lends(other))?;
            Some((rank, progress + stage_bonus(stage), progress + eviction_delay(rank, stage), id))
        };
        let candidates = || self.eviction_queues.iter().filter_map(oldest);
        if let Some((_, _, _, id)) = candidates().filter(|(_, _, from, _)| *from <= now).min() {
            return AdmissionDecision::Evict(id);
        }
        let soon = candidates().map(|(_, _, from, _)| from).filter(|from| *from <= now + BODY_GRACE).min();
        soon.map_or(AdmissionDecision::Refuse, AdmissionDecision::RetryAt)
    }

    pub(super) fn admit(
        &mut self,
        id: ConnId,
        service: Service,
        peer: Option<IpAddr>,
        now: Duration,
    ) -> Place {
        let group = service.without_tls();
        self.occupied[group as usize] += 1;
        let mut place = Place { group, peer: None, counted: false, protected: false, queued: None };
        if let Some(peer) = peer {
            self.set_peer(&mut place, peer);
        }
        let new = EvictionPriority { stage: EvictionStage::Unidentified, last_progress: now };
        self.update(id, &mut place, Some(new));
        place
    }

    /// Records the address of a connection, which a PROXY header may supply after admission.
    pub(super) fn set_peer(&mut self, place: &mut Place, peer: IpAddr) {
        (place.peer, place.counted) = (Some(peer), true);
        self.prefixes.increment(client_prefix(peer));
        client_site(peer).into_iter().for_each(|site| self.sites.increment(site));
    }

    /// The address counts a connection no more.
    fn uncount(&mut self, place: &mut Place) {
        if let Some(peer) = place.peer.filter(|_| std::mem::take(&mut place.counted)) {
            self.prefixes.decrement(client_prefix(peer));
            client_site(peer).into_iter().for_each(|site| self.sites.decrement(site));
        }
    }

    /// Records the progress of a connection. `None` means that it must not be evicted now.
    pub(super) fn update(&mut self, id: ConnId, place: &mut Place, priority: Option<EvictionPriority>) {
        if place.group == Service::Imap && priority.is_some_and(|at| at.stage == EvictionStage::Trusted) {
            self.uncount(place);
        }
        let wanted = priority.map(|EvictionPriority { stage, last_progress: progress }| {
            let rank = match stage {
                EvictionStage::Closing => EvictionRank::Closing,
                EvictionStage::Trusted => EvictionRank::Trusted,
                _ if place.protect_if_served(&self.known_addresses, &mut self.protected) => {
                    EvictionRank::Served
                }
                _ => EvictionRank::Unknown,
            };
            ((place.group, rank, stage), progress)
        });
        let is_near = |(queue, progress): (EvictionQueue, Duration)| {
            place.queued.is_some_and(|(old, at)| old == queue && progress.abs_diff(at) < REORDER_THRESHOLD)
        };
        if wanted == place.queued || wanted.is_some_and(is_near) {
            return;
        }
        let old = std::mem::replace(&mut place.queued, wanted);
        self.dequeue(id, old);
        if let Some((queue, progress)) = wanted {
            self.eviction_queues.entry(queue).or_default().insert((progress, id));
        }
    }

    /// Records that a client at this address has delivered a message or logged in.
    pub(super) fn mark_served(&mut self, peer: IpAddr, now: Duration) {
        self.known_addresses.add(client_prefix(peer), now);
    }

    pub(super) fn remove(&mut self, id: ConnId, mut place: Place) {
        self.occupied[place.group as usize] -= 1;
        self.dequeue(id, place.queued);
        self.uncount(&mut place);
        if let Some(peer) = place.peer.filter(|_| place.protected) {
            self.protected.decrement(client_prefix(peer));
        }
    }

    /// Returns the memory of closed connections to the allocator.
    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.known_addresses.last_served_at);
        for counts in [&mut self.prefixes, &mut self.sites, &mut self.protected] {
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

impl Place {
    /// Whether this connection counts as served before. Only a few connections of an address do: a client that has
    /// delivered once must not hold the server with all the connections that its address may have.
    fn protect_if_served(&mut self, known: &KnownAddresses, protected: &mut Counts) -> bool {
        let Some(prefix) = self.peer.map(client_prefix) else { return false };
        if !self.protected && known.contains(prefix) && protected.get(prefix) < MAX_PROTECTED {
            self.protected = true;
            protected.increment(prefix);
        }
        self.protected
    }
}

/// Time without progress after which a connection may be evicted.
fn eviction_delay(rank: EvictionRank, stage: EvictionStage) -> Duration {
    match (rank, stage) {
        (EvictionRank::Closing, _) => Duration::ZERO,
        (EvictionRank::Trusted, _) => Duration::from_secs(60),
        (_, EvictionStage::ReceivingBody) => BODY_GRACE,
        (_, EvictionStage::Idle) => BODY_GRACE / 2,
        _ => NEW_CONNECTION_GRACE,
    }
}

/// Extra time that a connection keeps its place compared with a new one, because it has come further. The bound is
/// needed: with all places held at DATA, new clients must not evict each other.
fn stage_bonus(stage: EvictionStage) -> Duration {
    match stage {
        EvictionStage::Closing | EvictionStage::Unidentified => Duration::ZERO,
        EvictionStage::Idle | EvictionStage::Trusted => Duration::from_secs(10),
        EvictionStage::ReceivingBody => Duration::from_secs(20),
    }
}

/// The addresses from which a message was accepted or a user logged in most recently.
#[derive(Default)]
struct KnownAddresses {
    capacity: usize,
    last_served_at: GradualMap<IpAddr, Duration>,
    order: BTreeSet<(Duration, IpAddr)>,
}

impl KnownAddresses {
    fn contains(&self, prefix: IpAddr) -> bool {
        self.last_served_at.contains_key(&prefix)
    }

    fn add(&mut self, prefix: IpAddr, now: Duration) {
        if let Some(before) = self.last_served_at.insert(prefix, now) {
            self.order.remove(&(before, prefix));
        }
        self.order.insert((now, prefix));
        while self.last_served_at.len() > self.capacity {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.last_served_at.remove(&oldest);
        }
    }
}

#[derive(Default)]
struct Counts(GradualMap<IpAddr, usize>);

impl Counts {
    fn get(&self, network: IpAddr) -> usize {
        self.0.get(&network).copied().unwrap_or_default()
    }

    fn increment(&mut self, network: IpAddr) {
        *self.0.get_or_default(network) += 1;
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

/// One place in so many is reserved for each group.
const RESERVED_ONE_IN: usize = 8;
/// Connections of one prefix that count as served before.
const MAX_PROTECTED: usize = 4;
/// A new connection stays for this long. Otherwise each connection in a rush would evict the one before, and none
/// would be served. The next client waits for that long before it is accepted.
const NEW_CONNECTION_GRACE: Duration = Duration::from_millis(250);
/// The same grace for a connection at message data, and the longest time that the next client waits.
const BODY_GRACE: Duration = Duration::from_secs(1);
/// A change of progress by less than this does not move a connection in its queue.
const REORDER_THRESHOLD: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
