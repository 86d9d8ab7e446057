//! From the listening socket to the session: accepting, the PROXY header, and the eviction of a connection when there
//! is no room.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mio::Token;

use super::{
    admission::{AdmissionDecision, Place},
    peer::{OpenConnection, PendingProxy},
    state::{Server, Timer},
};
use crate::{
    backend::MemoryRelief,
    capacity::Shrinker,
    clock::Now,
    config::Service,
    connection::Connection,
    listener::{Accepted, ConnectionStart, ListenerId},
    logging::{self, PeerInfo},
    net::{socket::Stream, timer::Deadline},
    proto::{EndReason, request::ConnId},
};

impl Server {
    /// Accepts new connections, at most `MAX_ACCEPTS_PER_TURN` per listener in one turn.
    pub(super) fn accept(&mut self, now: Now, ready: &mut BTreeSet<ConnId>) {
        let pending = self.listeners.iter().filter(|(_, listener)| listener.may_be_pending);
        for at in pending.map(|(at, _)| *at).collect::<Vec<_>>() {
            for _ in 0..MAX_ACCEPTS_PER_TURN {
                let Some(listener) = self.listeners.get_mut(&at).filter(|listener| listener.may_be_pending)
                else {
                    break;
                };
                let service = listener.service();
                if let AdmissionDecision::RetryAt(then) = self.admission.decide(service, now.monotonic) {
                    listener.pause_accepting();
                    self.timers.set_no_later(then, Timer::Accept);
                    break;
                }
                match listener.accept() {
                    Accepted::Stream(stream, peer) => self.on_accepted(at, stream, peer, now, ready),
                    Accepted::WouldBlock => break,
                    Accepted::Aborted => {}
                    // Polling is edge-triggered: no event follows when descriptors are free again, so a timer
                    // retries.
                    Accepted::OutOfDescriptors => {
                        self.timers.set_no_later(now.monotonic + ACCEPT_PAUSE, Timer::Accept);
                        break;
                    }
                }
            }
        }
    }

    fn on_accepted(
        &mut self,
        at: ListenerId,
        mut stream: Stream,
        peer: SocketAddr,
        now: Now,
        ready: &mut BTreeSet<ConnId>,
    ) {
        let id = ConnId(self.allocate_id());
        let listener = &self.listeners[&at];
        let beginning = listener.connection_start(peer.ip());
        if beginning == ConnectionStart::Refuse {
            return logging::proxy_failed(&id.to_string(), listener.service_name(), peer, "not a proxy");
        }
        let client = (beginning == ConnectionStart::Session).then(|| peer.ip());
        if client.is_some_and(|client| !self.admission.is_within_address_limits(client)) {
            return self.reject(at, stream, peer.ip(), TOO_MANY_FROM_ADDRESS);
        }
        let service = listener.service();
        if !self.ensure_capacity(service, now) {
            return self.reject(at, stream, peer.ip(), "connection limit reached");
        }
        if let Err(error) = stream.register(self.poll.registry(), Token(id.0 as usize)) {
            return log::error!("{id} {} not registered: {error}", self.listeners[&at].service_name());
        }
        let place = self.admission.admit(id, service, client, now.monotonic);
        if beginning == ConnectionStart::ProxyHeader {
            let mut deadline = Deadline::default();
            let end = now.monotonic + self.config.limits.connections.proxy_timeout.0;
            self.deadlines.set_no_later(&mut deadline, end, id);
            self.pending_proxies
                .insert(id, PendingProxy { stream, listener: at, proxy: peer, place, deadline });
            self.read_proxy_header(id, now, ready);
        } else {
            self.open_connection((id, at, place), stream, peer, now);
            ready.insert(id);
        }
    }

    /// Reads the PROXY header if all of it has arrived. The octets after it stay in the socket, for the session or
    /// for TLS.
    pub(super) fn read_proxy_header(&mut self, id: ConnId, now: Now, ready: &mut BTreeSet<ConnId>) {
        let Some(arrival) = self.pending_proxies.get_mut(&id) else { return };
        let header = match arrival.read_header() {
            Ok(None) => return,
            Ok(Some(header)) => header,
            Err(error) => return self.proxy_failed(id, &error.to_string()),
        };
        let Some(arrival) = self.pending_proxies.remove(&id) else { return };
        let PendingProxy { stream, listener: at, proxy, mut place, mut deadline } = arrival;
        self.deadlines.remove(&mut deadline, id);
        let peer = header.unwrap_or(proxy);
        if header.is_some() && !self.admission.is_within_address_limits(peer.ip()) {
            self.admission.remove(id, place);
            return self.reject(at, stream, peer.ip(), TOO_MANY_FROM_ADDRESS);
        }
        self.admission.set_peer(&mut place, peer.ip());
        self.open_connection((id, at, place), stream, peer, now);
        ready.insert(id);
    }

    /// Ends the connection of a proxy that took too long to send its header.
    pub(super) fn proxy_timeout(&mut self, id: ConnId) {
        if self.pending_proxies.contains_key(&id) {
            self.proxy_failed(id, "too slow");
        }
    }

    fn proxy_failed(&mut self, id: ConnId, why: &str) {
        let Some(arrival) = self.pending_proxies.remove(&id) else { return };
        let PendingProxy { listener: at, proxy, place, deadline, .. } = arrival;
        self.release_place(id, place, deadline);
        logging::proxy_failed(&id.to_string(), self.listeners[&at].service_name(), proxy, why);
    }

    fn reject(&self, at: ListenerId, stream: Stream, peer: IpAddr, why: &'static str) {
        logging::rejected(self.listeners[&at].service_name(), peer, why);
        self.listeners[&at].reject(stream);
    }

    fn open_connection(
        &mut self,
        (id, at, place): (ConnId, ListenerId, Place),
        stream: Stream,
        peer: SocketAddr,
        now: Now,
    ) {
        let listener = &self.listeners[&at];
        let service = listener.service();
        let caller = PeerInfo { id, service: listener.service_name(), peer: peer.ip() };
        let mut conn =
            Connection::new(caller, listener.new_transport(stream), listener.new_session(peer.ip(), id), now);
        logging::connected(&caller, peer);
        let transcripts = self.transcripts.as_ref();
        if let Some(record) =
            transcripts.and_then(|transcripts| listener.begin_transcript(transcripts, id, peer, now))
        {
            conn.set_transcript(record);
        }
        let open = OpenConnection { conn, listener: at, service, place, deadline: Deadline::default() };
        self.connections.insert(id, Box::new(open));
    }

    /// Returns whether there is room for one more connection. If there is none, evicts the connection with the
    /// weakest claim.
    fn ensure_capacity(&mut self, service: Service, now: Now) -> bool {
        match self.admission.decide(service, now.monotonic) {
            AdmissionDecision::Admit => true,
            AdmissionDecision::RetryAt(_) | AdmissionDecision::Refuse => false,
            AdmissionDecision::Evict(id) => {
                self.proxy_failed(id, "connection limit reached");
                self.evict(id, "evicted at the connection limit, least progress", now);
                true
            }
        }
    }

    /// Ends a connection to make room for another.
    pub(super) fn evict(&mut self, id: ConnId, why: &'static str, now: Now) {
        let Some(open) = self.connections.get_mut(&id) else { return };
        open.conn.evict(&open.service.protocol().too_many_connections(), why, now);
        self.pump(id, now);
        self.close(id, now);
    }

    /// Reports the progress of a connection to admission and to the backend.
    pub(super) fn update_admission_of(&mut self, id: ConnId, now: Now) {
        let Some(open) = self.connections.get_mut(&id) else { return };
        if open.conn.take_served() {
            self.admission.mark_served(open.conn.peer(), now.monotonic);
        }
        if let Some((is_known, body)) = open.conn.body_progress() {
            self.backend.record_body_progress(id, is_known, body);
        }
        self.backend.record_held_document(id, open.conn.held_document());
        self.admission.update(id, &mut open.place, open.conn.eviction_priority());
    }

    /// Relieves a shortage of memory for inbound messages: spills some of them to files, and evicts the slowest.
    pub(super) fn relieve_memory(&mut self, now: Now) {
        let MemoryRelief { spill, evict: end } = self.backend.memory_relief();
        for id in spill {
            self.call_and_pump(id, now, |conn, _| conn.request_spill());
        }
        for id in end {
            self.evict(id, "evicted at the memory limit, slowest message", now);
        }
        for id in self.backend.slow_clients() {
            self.evict(id, "evicted at the memory limit, slowest client", now);
        }
        let backend = &self.backend;
        self.pump_next_turn.extend(self.read_paused.extract_if(|id| !backend.is_under_memory_pressure(*id)));
    }

    /// Ends the sessions whose login is no longer valid after a reload of the accounts.
    pub(super) fn end_revoked(&mut self, now: Now) {
        for id in self.backend.take_revoked() {
            self.call_and_pump(id, now, |conn, _| conn.end_session(EndReason::LoginRevoked, now));
        }
    }

    pub(super) fn close(&mut self, id: ConnId, now: Now) {
        self.pump_next_turn.remove(&id);
        self.read_paused.remove(&id);
        self.backend.connection_closed(id);
        let Some(open) = self.connections.remove(&id) else { return };
        let OpenConnection { mut conn, place, deadline, .. } = *open;
        conn.log_closed(now);
        self.release_place(id, place, deadline);
    }

    /// Returns the memory of closed connections to the allocator. Returns whether more may be left.
    pub(super) fn shrink(&mut self) -> bool {
        let mut shrinker = Shrinker::default();
        shrinker.shrink(&mut self.connections).shrink(&mut self.pending_proxies);
        shrinker.shrink(&mut self.read_paused);
        self.admission.shrink(&mut shrinker);
        self.backend.shrink(&mut shrinker);
        shrinker.has_moved()
    }

    /// Releases the place and the deadline of a connection.
    pub(super) fn release_place(&mut self, id: ConnId, place: Place, mut deadline: Deadline) {
        self.admission.remove(id, place);
        self.deadlines.remove(&mut deadline, id);
    }
}

const TOO_MANY_FROM_ADDRESS: &str = "too many from one address";
pub(super) const MAX_ACCEPTS_PER_TURN: usize = 64;
/// Time that accepting pauses after the descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
