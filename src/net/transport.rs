//! The octets of one connection, in both directions. Everything that depends on their transport is in this
//! file and in [`super::tls`].
//!
//! The rule: a connection changes from clear text to TLS once, and never back.

use std::{
    io::{self, Read, Write},
    rc::Rc,
};

use super::{
    socket::Stream,
    tls::{DecryptOutcome, TlsConfig, TlsSession},
};
use crate::proto::{
    Encryption,
    buffer::{Inbox, Outbox},
};

/// A socket with its encryption.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    security: Security,
    session: Option<Box<TlsSession>>,
    /// True if further input is discarded, because the sending side is closed or the peer violated TLS.
    discard_input: bool,
}

/// The point at which TLS begins on the connections of a listener.
#[derive(Debug, Clone)]
pub enum Security {
    /// Never: all octets are clear text.
    None,
    /// At the request of the session.
    StartTls(Rc<TlsConfig>),
    /// Before the first octet of the session (RFC 8314 section 3).
    Implicit(Rc<TlsConfig>),
}

/// The result of [`Transport::fill`] or [`Transport::flush`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoOutcome {
    /// That many octets were moved; there may be more.
    Transferred(usize),
    /// No octet can be moved before the next event.
    Blocked,
    /// The peer has closed its side.
    Ended,
    /// Likewise, but without the close_notify of TLS, so that an attacker may have cut the rest off.
    Truncated,
    /// The peer violated TLS, or no common parameters were found; with the reason. An alert is queued for
    /// writing, and no more input will come.
    TlsError(String),
}

impl Transport {
    /// A connection in clear text, which may change to TLS.
    pub fn new(stream: Stream, security: Security) -> Self {
        Self { stream, security, session: None, discard_input: false }
    }

    /// True if TLS begins before the session.
    pub fn is_implicit(&self) -> bool {
        matches!(self.security, Security::Implicit(_))
    }

    /// Begins TLS: from here on nothing is read or written in clear text.
    ///
    /// # Errors
    /// The listener has no certificate, TLS has begun already, or the system has no random numbers.
    pub fn start_tls(&mut self) -> io::Result<()> {
        let (Security::StartTls(tls) | Security::Implicit(tls)) = &self.security else {
            return Err(io::Error::other("TLS is not configured here"));
        };
        if self.session.is_some() {
            return Err(io::Error::other("TLS inside TLS"));
        }
        self.session = Some(Box::new(tls.session().map_err(io::Error::other)?));
        Ok(())
    }

    /// The negotiated encryption, after the handshake.
    pub fn encryption(&self) -> Option<Encryption> {
        self.session.as_ref()?.encryption()
    }

    /// Reads once, at most as much as `scratch` holds. Afterwards the inbox has every octet that can be decrypted, so
    /// that these need no further event. Half a TLS record waits for its other half.
    pub fn fill(&mut self, inbox: &mut Inbox, scratch: &mut [u8]) -> io::Result<IoOutcome> {
        let octets = match retry(|| self.stream.read(scratch))? {
            Some(0) if self.discard_input => return Ok(IoOutcome::Ended),
            Some(0) => {
                return Ok(if self.session.is_some() { IoOutcome::Truncated } else { IoOutcome::Ended });
            }
            Some(octets) => octets,
            None => return Ok(IoOutcome::Blocked),
        };
        match &mut self.session {
            _ if self.discard_input => {}
            None => inbox.push(&scratch[..octets]),
            Some(session) => match session.decrypt(&mut scratch[..octets], inbox) {
                DecryptOutcome::All => {}
                DecryptOutcome::CloseNotify => return Ok(IoOutcome::Ended),
                DecryptOutcome::Error(why) => {
                    self.discard_input = true;
                    return Ok(IoOutcome::TlsError(why));
                }
            },
        }
        Ok(IoOutcome::Transferred(octets))
    }

    /// Writes once, from the outbox or from its encrypted form.
    pub fn flush(&mut self, outbox: &mut Outbox) -> io::Result<IoOutcome> {
        let stream = &mut self.stream;
        let written = match &mut self.session {
            None => retry(|| stream.write(outbox.pending()))?.inspect(|octets| outbox.consume(*octets)),
            Some(session) => {
                session.encrypt(outbox)?;
                retry(|| session.write(stream))?
            }
        };
        match written {
            Some(0) => Err(io::ErrorKind::WriteZero.into()),
            Some(octets) => Ok(IoOutcome::Transferred(octets)),
            None => Ok(IoOutcome::Blocked),
        }
    }

    /// True if [`Transport::flush`] has something to write.
    pub fn has_output(&self, outbox: &Outbox) -> bool {
        match &self.session {
            None => !outbox.is_empty(),
            Some(session) => session.has_output(outbox),
        }
    }

    /// Queues close_notify under TLS. Does nothing in clear text.
    pub fn send_close_notify(&mut self) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
    }

    /// Closes the sending direction, so that the last reply is not lost in a reset.
    pub fn shut_down(&mut self) {
        self.discard_input = true;
        self.stream.shut_down();
    }
}

/// Repeats `io` while signals interrupt it. `None` if it would block.
fn retry(mut io: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match io() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            done => return done.map(Some),
        }
    }
}
