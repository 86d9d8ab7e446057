//! From the listening socket to the session: who may come in, whose connection it is, and who has to go when
//! there is no room.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mio::Token;

use super::{Due, ListenerId, Server, admission::Entry};
use crate::{
    backend::Relief,
    capacity::Shrinker,
    clock::Now,
    config::Service,
    logging::{self, Caller},
    net::{
        proxy_protocol::{self, Header},
        socket::Stream,
    },
    proto::request::ConnId,
    server::{
        connection::Conn,
        listener::{Accepted, Beginning},
    },
};

/// A connection of a proxy that has not said yet whose it is.
pub(super) struct Arrival {
    stream: Stream,
    /// The listener it came through.
    pub(super) at: ListenerId,
    proxy: SocketAddr,
}

/// Where a connection comes from.
pub(super) struct Origin {
    /// The listener it came through, which may be gone.
    pub(super) at: ListenerId,
    /// What was served there.
    pub(super) service: Service,
    pub(super) peer: SocketAddr,
}

impl Server {
    /// Takes new connections, a bounded number a turn.
    pub(super) fn accept(&mut self, now: Now, ready: &mut BTreeSet<ConnId>) {
        let pending = self.listeners.iter().filter(|(_, listener)| listener.pending);
        for at in pending.map(|(at, _)| *at).collect::<Vec<_>>() {
            for _ in 0..ACCEPTS_A_TURN {
                let Some(listener) = self.listeners.get_mut(&at).filter(|listener| listener.pending) else {
                    break;
                };
                let service = listener.service();
                if let Entry::At(then) = self.admission.entry(service, now.steady) {
                    listener.rest();
                    self.timers.set_by(then, Due::Accept);
                    break;
                }
                match listener.accept() {
                    Accepted::Stream(stream, peer) => self.arrived(at, stream, peer, now, ready),
                    Accepted::Nothing => break,
                    Accepted::Gone => {}
                    // Edge-triggered: no event will tell when there is room again, so a timer asks.
                    Accepted::Later => {
                        self.timers.set_by(now.steady + ACCEPT_PAUSE, Due::Accept);
                        break;
                    }
                }
            }
        }
    }

    fn arrived(
        &mut self,
        at: ListenerId,
        mut stream: Stream,
        peer: SocketAddr,
        now: Now,
        ready: &mut BTreeSet<ConnId>,
    ) {
        let id = ConnId(self.new_id());
        let listener = &self.listeners[&at];
        let beginning = listener.beginning(peer.ip());
        if beginning == Beginning::Nothing {
            return logging::not_announced(&id.to_string(), listener.name(), peer, "not a proxy");
        }
        let client = (beginning == Beginning::Session).then(|| peer.ip());
        if client.is_some_and(|client| !self.admission.has_room_for(client)) {
            return self.turn_away(at, stream, peer.ip(), TOO_MANY_OF_ONE);
        }
        let service = listener.service();
        if !self.make_room(service, now) {
            return self.turn_away(at, stream, peer.ip(), "no room");
        }
        if let Err(error) = stream.register(self.poll.registry(), Token(id.0 as usize)) {
            return log::error!("{id} {} not registered: {error}", self.listeners[&at].name());
        }
        self.admission.enter(id, service, client, now.steady);
        if beginning == Beginning::Header {
            self.timers.set(now.steady + self.config.limits.proxy_header.0, Due::Conn(id));
            self.arrivals.insert(id, Arrival { stream, at, proxy: peer });
            self.look(id, now, ready);
        } else {
            self.welcome(id, at, stream, peer, now);
            ready.insert(id);
        }
    }

    /// Reads the header of a proxy, if all of it is there. What stands behind it stays in the socket, for the
    /// session or for TLS.
    pub(super) fn look(&mut self, id: ConnId, now: Now, ready: &mut BTreeSet<ConnId>) {
        let Some(arrival) = self.arrivals.get_mut(&id) else { return };
        let header = match arrival.announced() {
            Ok(None) => return,
            Ok(Some(header)) => header,
            Err(error) => return self.not_announced(id, &error.to_string()),
        };
        let Some(Arrival { stream, at, proxy }) = self.arrivals.remove(&id) else { return };
        self.timers.remove(Due::Conn(id));
        let peer = header.unwrap_or(proxy);
        if header.is_some() && !self.admission.has_room_for(peer.ip()) {
            self.admission.leave(id);
            return self.turn_away(at, stream, peer.ip(), TOO_MANY_OF_ONE);
        }
        self.admission.name(id, peer.ip());
        self.welcome(id, at, stream, peer, now);
        ready.insert(id);
    }

    /// A proxy took too long.
    pub(super) fn lose_patience(&mut self, id: ConnId) {
        if self.arrivals.contains_key(&id) {
            self.not_announced(id, "too slow");
        }
    }

    fn not_announced(&mut self, id: ConnId, why: &str) {
        if let Some(arrival) = self.arrivals.remove(&id) {
            self.forget(id);
            logging::not_announced(&id.to_string(), self.listeners[&arrival.at].name(), arrival.proxy, why);
        }
    }

    fn turn_away(&self, at: ListenerId, stream: Stream, peer: IpAddr, why: &'static str) {
        logging::turned_away(self.listeners[&at].name(), peer, why);
        self.listeners[&at].turn_away(stream);
    }

    fn welcome(&mut self, id: ConnId, at: ListenerId, stream: Stream, peer: SocketAddr, now: Now) {
        let listener = &self.listeners[&at];
        let service = listener.service();
        let caller = Caller { id, service: listener.name(), peer: peer.ip() };
        let mut conn = Conn::new(caller, listener.transport(stream), listener.session(peer.ip(), id), now);
        logging::connected(&caller, peer);
        if let Some(transcripts) = &self.transcripts {
            conn.write_down(listener.transcript(transcripts, id, peer, now));
        }
        self.backend.enter(id, peer.ip());
        self.conns.insert(id, conn);
        self.origins.insert(id, Origin { at, service, peer });
    }

    /// Whether there is a place for one more. Where there is none, the connection with the weakest claim ends for
    /// it.
    fn make_room(&mut self, service: Service, now: Now) -> bool {
        match self.admission.entry(service, now.steady) {
            Entry::Free => true,
            Entry::At(_) | Entry::NoRoom => false,
            Entry::InPlaceOf(id) => {
                self.not_announced(id, "no room");
                self.give_way(id, "least progress when there was no room", now);
                true
            }
        }
    }

    /// Ends a connection for another.
    pub(super) fn give_way(&mut self, id: ConnId, why: &'static str, now: Now) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let last_words = self.origins.get(&id).map(|origin| origin.service.protocol().too_many_connections());
        conn.give_way(&last_words.unwrap_or_default(), why, now);
        self.pump(id, now);
        self.close(id, now);
    }

    /// Notes how far a connection has come.
    pub(super) fn note(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.has_served()
            && let Some(origin) = self.origins.get(&id)
        {
            self.admission.served(origin.peer.ip(), now.steady);
        }
        if let Some((is_known, body)) = conn.body() {
            self.backend.note_body(id, is_known, body);
        }
        self.admission.update(id, conn.claim());
    }

    /// Puts messages into files and ends the slowest, where there is too little memory for those on their way in.
    pub(super) fn relieve(&mut self, now: Now) {
        let Relief { spill, end } = self.backend.relief();
        for id in spill {
            self.pump_after(id, now, |conn, _| conn.spill());
        }
        for id in end {
            self.give_way(id, "slowest message when there was no memory", now);
        }
        let backend = &self.backend;
        self.again.extend(self.held_back.extract_if(|id| !backend.is_pressed(*id)));
    }

    pub(super) fn close(&mut self, id: ConnId, now: Now) {
        self.again.remove(&id);
        self.held_back.remove(&id);
        self.backend.leave(id);
        let Some(mut conn) = self.conns.remove(&id) else { return };
        conn.tell_end(now);
        self.origins.remove(&id);
        self.forget(id);
    }

    /// Gives back the memory of connections that have gone.
    pub(super) fn shrink(&mut self) {
        let mut shrinker = Shrinker::default();
        shrinker.shrink(&mut self.conns).shrink(&mut self.arrivals).shrink(&mut self.origins);
        shrinker.shrink(&mut self.held_back);
        self.admission.shrink(&mut shrinker);
        self.timers.shrink(&mut shrinker);
        self.backend.shrink(&mut shrinker);
    }

    /// Gives back the place of a connection, and its deadline.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.admission.leave(id);
        self.timers.remove(Due::Conn(id));
    }
}

impl Arrival {
    /// What the proxy says of the client, once it has said all of it: an address, or that it is the proxy.
    fn announced(&mut self) -> io::Result<Option<Option<SocketAddr>>> {
        let mut octets = [0; proxy_protocol::LONGEST];
        let there = match self.stream.peek(&mut octets) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            there => there?,
        };
        match proxy_protocol::parse(&octets[..there]) {
            _ if there == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Header::Partial => Ok(None),
            Header::Wrong => Err(io::Error::other("no header of the PROXY protocol")),
            Header::Whole { client, length } => {
                io::Read::read_exact(&mut self.stream, &mut octets[..length])?;
                Ok(Some(client))
            }
        }
    }
}

const TOO_MANY_OF_ONE: &str = "too many from one address";
pub(super) const ACCEPTS_A_TURN: usize = 64;
/// How long accepting rests when there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
