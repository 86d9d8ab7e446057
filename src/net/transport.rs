//! The octets of one connection, in and out. Everything that depends on how they travel is in this file.

use std::io::{self, Read, Write};

use mio::{Interest, Registry, Token, event::Source, net::TcpStream};

use crate::proto::buf::{Inbox, Outbox};

/// How the octets travel.
#[derive(Debug)]
pub enum Transport {
    /// As they are.
    Plain(TcpStream),
}

/// What came of a [`Transport::fill`] or [`Transport::flush`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// That many octets; there may be more.
    Octets(usize),
    /// Nothing can move before the next event.
    Blocked,
    /// The peer sends no more.
    Ended,
}

impl Transport {
    /// Reads once, at most as much as `scratch` holds, into the inbox.
    pub fn fill(&mut self, inbox: &mut Inbox, scratch: &mut [u8]) -> io::Result<Moved> {
        let Self::Plain(stream) = self;
        match retry(|| stream.read(scratch))? {
            Some(0) => Ok(Moved::Ended),
            Some(n) => {
                inbox.push(&scratch[..n]);
                Ok(Moved::Octets(n))
            }
            None => Ok(Moved::Blocked),
        }
    }

    /// Writes once, from the outbox.
    pub fn flush(&mut self, outbox: &mut Outbox) -> io::Result<Moved> {
        let Self::Plain(stream) = self;
        match retry(|| stream.write(outbox.waiting()))? {
            Some(0) => Err(io::ErrorKind::WriteZero.into()),
            Some(n) => {
                outbox.sent(n);
                Ok(Moved::Octets(n))
            }
            None => Ok(Moved::Blocked),
        }
    }

    /// Asks for events of both kinds, once: the connection keeps track of what they said.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let Self::Plain(stream) = self;
        stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Says to the peer that nothing more will come, so that the last reply is not lost in a reset.
    pub fn shut_down(&mut self) {
        let Self::Plain(stream) = self;
        let _ = stream.shutdown(std::net::Shutdown::Write); // a peer that is gone already does not mind
    }
}

/// Does `io` until a signal does not interrupt it. `None`: it would block.
fn retry(mut io: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match io() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            done => return done.map(Some),
        }
    }
}
