//! From the listening socket to the session: who may come in, whose connection it is, and who has to go when
//! there is no room.

use std::{
    cmp::Reverse,
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mio::Token;

use super::{Due, ListenerId, Server};
use crate::{
    clock::Now,
    config::Service,
    conn::Conn,
    limits::prefix,
    listen::{Accepted, Beginning, too_many_connections},
    logging::{self, Caller},
    net::{
        proxy::{self, Header},
        stream::Stream,
    },
    proto::ask::ConnId,
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

/// Who may have to make room, looked up once a turn however many come.
#[derive(Default)]
pub(super) struct Expendable {
    /// The turn.
    as_of: Option<Duration>,
    last_goes_first: Vec<ConnId>,
}

impl Server {
    /// Takes new connections, a bounded number a turn.
    pub(super) fn accept(&mut self, now: Now, ready: &mut HashSet<ConnId>) {
        let pending = self.listeners.iter().filter(|(_, listener)| listener.pending);
        for at in pending.map(|(at, _)| *at).collect::<Vec<_>>() {
            for _ in 0..ACCEPTS_A_TURN {
                let Some(listener) = self.listeners.get_mut(&at).filter(|listener| listener.pending) else {
                    break;
                };
                match listener.accept() {
                    Accepted::Stream(stream, peer) => self.arrived(at, stream, peer, now, ready),
                    Accepted::Nothing => break,
                    Accepted::Gone => {}
                    // Edge-triggered: no event will tell when there is room again, so a timer asks.
                    Accepted::Later => {
                        self.timers.set(now.steady + ACCEPT_PAUSE, Due::Accept);
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
        ready: &mut HashSet<ConnId>,
    ) {
        let id = ConnId(self.new_id());
        let listener = &self.listeners[&at];
        let beginning = listener.beginning(peer.ip());
        if beginning == Beginning::Nothing {
            return logging::not_announced(&id.to_string(), listener.name(), peer, "not a proxy");
        }
        if beginning == Beginning::Session && !self.has_room_for(peer.ip()) {
            return self.turn_away(at, stream, peer.ip(), TOO_MANY_OF_ONE);
        }
        if !(self.has_room() || self.make_room(now)) {
            return self.turn_away(at, stream, peer.ip(), "no room");
        }
        if let Err(error) = stream.register(self.poll.registry(), Token(id.0 as usize)) {
            return log::error!("{id} {} not registered: {error}", self.listeners[&at].name());
        }
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
    pub(super) fn look(&mut self, id: ConnId, now: Now, ready: &mut HashSet<ConnId>) {
        let Some(arrival) = self.arrivals.get_mut(&id) else { return };
        let header = match arrival.announced() {
            Ok(None) => return,
            Ok(Some(header)) => header,
            Err(error) => return self.not_announced(id, &error.to_string()),
        };
        let Some(Arrival { stream, at, proxy }) = self.arrivals.remove(&id) else { return };
        let peer = header.unwrap_or(proxy);
        if header.is_some() && !self.has_room_for(peer.ip()) {
            return self.turn_away(at, stream, peer.ip(), TOO_MANY_OF_ONE);
        }
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
        self.desk.enter(id, peer.ip());
        self.conns.insert(id, conn);
        self.origins.insert(id, Origin { at, service, peer });
        *self.per_address.entry(prefix(peer.ip())).or_default() += 1;
    }

    fn has_room(&self) -> bool {
        self.conns.len() + self.arrivals.len() < self.most_connections
    }

    /// Whether a client has not too many connections already.
    fn has_room_for(&self, address: IpAddr) -> bool {
        let most = self.config.limits.connections_per_address;
        address.is_loopback() || most == 0 || self.per_address.get(&prefix(address)).is_none_or(|n| *n < most)
    }

    /// Ends the connection that was idle for longest, of those that nobody has logged in to and that have no
    /// message data under way: who holds connections open must not keep out who uses theirs. Who has just come
    /// stays, else in a rush everybody would make room for the next one and nobody be served.
    fn make_room(&mut self, now: Now) -> bool {
        let idle = |conn: &Conn| conn.idle_since() + A_MOMENT <= now.steady && conn.is_expendable();
        if self.expendable.as_of != Some(now.steady) {
            let found = self.conns.iter().filter(|(_, conn)| idle(conn));
            let mut found: Vec<_> = found.map(|(id, conn)| Reverse((conn.idle_since(), *id))).collect();
            found.sort_unstable();
            let last_goes_first = found.into_iter().map(|Reverse((_, id))| id).collect();
            self.expendable = Expendable { as_of: Some(now.steady), last_goes_first };
        }
        while let Some(id) = self.expendable.last_goes_first.pop() {
            let Some(conn) = self.conns.get_mut(&id).filter(|conn| idle(conn)) else { continue };
            let last_words = self.origins.get(&id).map(|origin| too_many_connections(origin.service));
            conn.give_way(&last_words.unwrap_or_default(), now);
            self.pump(id, now);
            self.close(id, now);
            return true;
        }
        false
    }

    pub(super) fn close(&mut self, id: ConnId, now: Now) {
        self.again.remove(&id);
        self.desk.leave(id);
        let Some(mut conn) = self.conns.remove(&id) else { return };
        conn.tell_end(now);
        let Some(Origin { peer, .. }) = self.origins.remove(&id) else { return };
        let prefix = prefix(peer.ip());
        if let Some(count) = self.per_address.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&prefix);
            }
        }
    }
}

impl Arrival {
    /// What the proxy says of the client, once it has said all of it: an address, or that it is the proxy.
    fn announced(&mut self) -> io::Result<Option<Option<SocketAddr>>> {
        let mut octets = [0; proxy::LONGEST];
        let there = match self.stream.peek(&mut octets) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            there => there?,
        };
        match proxy::parse(&octets[..there]) {
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

/// How long a connection must have been idle to make room for another.
const A_MOMENT: Duration = Duration::from_secs(1);
const TOO_MANY_OF_ONE: &str = "too many from one address";
pub(super) const ACCEPTS_A_TURN: usize = 64;
/// How long accepting rests when there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
