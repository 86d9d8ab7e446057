//! The octets of one connection, in and out. Everything that depends on how they travel is in this file and
//! in [`super::tls`].
//!
//! The rule: a connection goes from clear text to TLS once, and never back.

use std::{
    io::{self, Read, Write},
    rc::Rc,
};

use super::{
    stream::Stream,
    tls::{Session, Taken, Tls},
};
use crate::proto::{
    Encryption,
    buf::{Inbox, Outbox},
};

/// A socket, and how the octets travel on it.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    security: Security,
    session: Option<Box<Session>>,
    /// What still comes in is thrown away: we have said our last word, or the peer broke the rules of TLS.
    deaf: bool,
}

/// When TLS begins on the connections of a listener.
#[derive(Debug, Clone)]
pub enum Security {
    /// Never.
    None,
    /// When the session asks for it.
    Offered(Rc<Tls>),
    /// Before the first octet of the session (RFC 8314 section 3).
    Implicit(Rc<Tls>),
}

/// What came of a [`Transport::fill`] or [`Transport::flush`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// That many octets went over the wire; there may be more.
    Octets(usize),
    /// Nothing can move before the next event.
    Blocked,
    /// The peer sends no more.
    Ended,
    /// The same, without the close_notify that TLS asks for: somebody may have cut off the rest.
    Cut,
    /// What the peer sends is no TLS, or not TLS that can be agreed upon: this is why. An alert waits to be
    /// flushed; nothing else will ever come in.
    Broken(String),
}

impl Transport {
    /// A connection in clear text, which may change to TLS.
    pub fn new(stream: Stream, security: Security) -> Self {
        Self { stream, security, session: None, deaf: false }
    }

    /// Whether TLS is to begin before the session does.
    pub fn is_implicit(&self) -> bool {
        matches!(self.security, Security::Implicit(_))
    }

    /// Begins TLS: from here on nothing is read or written in clear text.
    ///
    /// # Errors
    /// There is no certificate for this listener, TLS has begun already, or no random numbers can be had.
    pub fn secure(&mut self) -> io::Result<()> {
        let (Security::Offered(tls) | Security::Implicit(tls)) = &self.security else {
            return Err(io::Error::other("TLS is not configured here"));
        };
        if self.session.is_some() {
            return Err(io::Error::other("TLS inside of TLS"));
        }
        self.session = Some(Box::new(tls.session().map_err(io::Error::other)?));
        Ok(())
    }

    /// What was agreed upon, once the handshake is over.
    pub fn encryption(&self) -> Option<Encryption> {
        self.session.as_ref()?.encryption()
    }

    /// Reads once, at most as much as `scratch` holds. Everything that can be decrypted is in the inbox
    /// afterwards, so that no event is needed for it; half a TLS record waits for its other half.
    pub fn fill(&mut self, inbox: &mut Inbox, scratch: &mut [u8]) -> io::Result<Moved> {
        let octets = match retry(|| self.stream.read(scratch))? {
            Some(0) if self.deaf => return Ok(Moved::Ended),
            Some(0) => return Ok(if self.session.is_some() { Moved::Cut } else { Moved::Ended }),
            Some(octets) => octets,
            None => return Ok(Moved::Blocked),
        };
        match &mut self.session {
            _ if self.deaf => {}
            None => inbox.push(&scratch[..octets]),
            Some(session) => match session.take(&scratch[..octets], inbox) {
                Taken::All => {}
                Taken::Ended => return Ok(Moved::Ended),
                Taken::Broken(why) => {
                    self.deaf = true;
                    return Ok(Moved::Broken(why));
                }
            },
        }
        Ok(Moved::Octets(octets))
    }

    /// Writes once, from the outbox or from what TLS has made of it.
    pub fn flush(&mut self, outbox: &mut Outbox) -> io::Result<Moved> {
        let stream = &mut self.stream;
        let written = match &mut self.session {
            None => retry(|| stream.write(outbox.waiting()))?.inspect(|octets| outbox.sent(*octets)),
            Some(session) => {
                session.encrypt(outbox)?;
                retry(|| session.write(stream))?
            }
        };
        match written {
            Some(0) => Err(io::ErrorKind::WriteZero.into()),
            Some(octets) => Ok(Moved::Octets(octets)),
            None => Ok(Moved::Blocked),
        }
    }

    /// Whether a [`Transport::flush`] has anything to write.
    pub fn has_output(&self, outbox: &Outbox) -> bool {
        match &self.session {
            None => !outbox.is_empty(),
            Some(session) => session.has_output(outbox),
        }
    }

    /// Queues what TLS says at an end. In clear text nothing is said.
    pub fn say_goodbye(&mut self) {
        if let Some(session) = &mut self.session {
            session.say_goodbye();
        }
    }

    /// Says to the peer that nothing more will come, so that the last reply is not lost in a reset.
    pub fn shut_down(&mut self) {
        self.deaf = true;
        self.stream.shut_down();
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
