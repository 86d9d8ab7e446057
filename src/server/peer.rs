//! The connections of the server: those of clients, and those of proxies that have not named their client yet.
//!
//! The rule: all that the server keeps for a connection stands in one value and one allocation, because thousands of
//! connections are idle.

use std::{io, net::SocketAddr};

use super::admission::Place;
use crate::{
    config::Service,
    connection::Connection,
    listener::ListenerId,
    net::{
        proxy_protocol::{self, Header},
        socket::Stream,
        timer::Deadline,
    },
};

/// A connection with its session, and its place among the others.
pub(super) struct OpenConnection {
    pub(super) conn: Connection,
    /// The listener that accepted it. A reload may have closed that listener since.
    pub(super) listener: ListenerId,
    /// The service of that listener when it accepted the connection.
    pub(super) service: Service,
    pub(super) place: Place,
    /// The time at which the loop looks at its deadline. It may be too early.
    pub(super) deadline: Deadline,
}

/// A connection from a proxy that has not sent its whole PROXY header yet.
pub(super) struct PendingProxy {
    pub(super) stream: Stream,
    /// The listener that accepted it.
    pub(super) listener: ListenerId,
    pub(super) proxy: SocketAddr,
    pub(super) place: Place,
    pub(super) deadline: Deadline,
}

impl PendingProxy {
    /// Returns the client's address from the header, once all of the header has arrived. The inner `None` means that
    /// the proxy speaks for itself.
    pub(super) fn read_header(&mut self) -> io::Result<Option<Option<SocketAddr>>> {
        let mut octets = [0; proxy_protocol::MAX_HEADER];
        let there = match self.stream.peek(&mut octets) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            there => there?,
        };
        match proxy_protocol::parse(&octets[..there]) {
            _ if there == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Header::Partial => Ok(None),
            Header::TooLong { limit } => {
                Err(io::Error::other(format!("PROXY header too long: at most {limit} octets")))
            }
            Header::Invalid => Err(io::Error::other("no header of the PROXY protocol")),
            Header::Complete { client, length } => {
                io::Read::read_exact(&mut self.stream, &mut octets[..length])?;
                Ok(Some(client))
            }
        }
    }
}
