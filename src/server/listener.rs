//! One listening socket, and the sessions that begin at it.

mod sessions;

use std::{
    fmt,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixDatagram,
    rc::Rc,
};

use mio::{Registry, Token};
use rustix::io::Errno;

use crate::{
    clock::Now,
    config::{Config, Listen, Service, TlsMode},
    metrics::METRICS,
    net::{
        certificate::{self, Loaded, Pair},
        endpoint::Endpoint,
        socket::{Socket, Stream},
        tls::Tls,
        transport::{Security, Transport},
    },
    proto::{Session, request::ConnId},
    system::socket_activation::{self, Passed},
    transcript::{self, Record, Transcripts},
};
use sessions::Sessions;

/// One listening socket.
pub struct Listener {
    socket: Option<Socket>,
    /// Where it really is.
    endpoint: Endpoint,
    listen: Listen,
    sessions: Sessions,
    security: Security,
    /// Whether there may be connections to accept: only an accept that would block says no.
    pub pending: bool,
    /// Given up for a moment when no descriptor is left, to say so to the next client.
    spare: Option<UnixDatagram>,
    /// Whether it has been told why nobody can be accepted, and that has not ended.
    told: bool,
}

/// What [`Listener::accept`] found.
pub enum Accepted {
    /// A connection.
    Stream(Stream, SocketAddr),
    /// Nobody waits.
    Nothing,
    /// Nobody that is there any more: look at the next one.
    Gone,
    /// Nobody can be accepted now: look again after a while.
    Later,
}

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// The session of a client.
    Session,
    /// A proxy, which says whose connection it hands over.
    Header,
    /// Nothing: only proxies come here, and this is none.
    Nothing,
}

/// Why nobody can be listened to.
#[derive(Debug)]
pub enum Error {
    /// An address could not be bound.
    Bind(Service, Endpoint, io::Error),
    /// The sockets of the service manager are not those that are wanted.
    Passed(socket_activation::Error),
    /// There is no certificate to begin TLS with.
    Tls(certificate::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(service, address, error) => {
                write!(f, "can't listen on {address} for {service}: {error}")
            }
            Self::Passed(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, _, error) => Some(error),
            Self::Passed(error) => Some(error),
            Self::Tls(error) => Some(error),
        }
    }
}

impl From<socket_activation::Error> for Error {
    fn from(error: socket_activation::Error) -> Self {
        Self::Passed(error)
    }
}

/// A listener of the configuration, and the socket that it has.
pub struct Bound {
    /// What is served there, and how.
    pub listen: Listen,
    /// What listens.
    pub socket: Socket,
}

/// Takes the sockets of every listener of a configuration: binds those at an address, and takes the others from
/// those that were `passed`. No thread is started and nothing is accepted: privileges may be dropped behind this.
///
/// # Errors
/// An address cannot be had, or the sockets passed are not those that are wanted. None is held then.
pub fn bind_all(config: &Config, mut passed: Passed) -> Result<Vec<Bound>, Error> {
    let mut all = Vec::new();
    for listen in &config.listen {
        all.extend(listen_at(listen, &mut passed)?);
    }
    passed.are_claimed()?;
    Ok(all)
}

/// The sockets of a listener: several, if they were passed under one name.
fn listen_at(listen: &Listen, passed: &mut Passed) -> Result<Vec<Bound>, Error> {
    let failed = |error| Error::Bind(listen.protocol, listen.address.clone(), error);
    let bound = |socket| Bound { listen: listen.clone(), socket };
    let Endpoint::Passed(name) = &listen.address else {
        return Socket::bind(&listen.address).map(|socket| vec![bound(socket)]).map_err(failed);
    };
    let sockets = passed.take(name)?;
    for socket in &sockets {
        let place = socket.endpoint().map_err(failed)?;
        if let Some((_, why)) = listen.unfit_for(&place) {
            return Err(failed(io::Error::other(format!("it is at {place}: {why}"))));
        }
    }
    Ok(sockets.into_iter().map(bound).collect())
}

/// What sessions begin TLS with, if there is a certificate. A thread is started that looks after it.
///
/// # Errors
/// There is no thread to be had.
pub fn tls(config: &Config, loaded: Option<Loaded>) -> Result<Option<Rc<Tls>>, Error> {
    let look_every = config.limits.certificate_check.0;
    let keep = |(pair, loaded): (&Pair, _)| Tls::keep(pair.clone(), loaded, look_every).map(Rc::new);
    config.tls.as_ref().zip(loaded).map(keep).transpose().map_err(Error::Tls)
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// The socket does not say where it is.
    pub fn open(bound: Bound, config: &Config, tls: Option<&Rc<Tls>>) -> Result<Self, Error> {
        let Bound { listen, socket } = bound;
        let failed = |error| Error::Bind(listen.protocol, listen.address.clone(), error);
        let endpoint = socket.endpoint().map_err(failed)?;
        let security = security(listen.tls, tls);
        Ok(Self {
            endpoint,
            socket: Some(socket),
            sessions: Sessions::new(&listen, config, offers_tls(&security)),
            security,
            listen,
            pending: false,
            spare: spare(),
            told: false,
        })
    }

    /// Serves another configuration from now on, in the same place. Sessions that run keep the rules that they
    /// began with.
    pub fn follow(&mut self, listen: Listen, config: &Config, tls: Option<&Rc<Tls>>) {
        self.security = security(listen.tls, tls);
        self.sessions.renew(&listen, config, offers_tls(&self.security));
        self.listen = listen;
    }

    /// Where the configuration has it.
    pub fn place(&self) -> &Endpoint {
        &self.listen.address
    }

    /// What is served here.
    pub fn service(&self) -> Service {
        self.listen.protocol
    }

    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        self.service().name()
    }

    /// Where it really is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks for events.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.as_mut().map_or(Ok(()), |socket| socket.register(registry, token))
    }

    /// There may be somebody to accept, though no event says so.
    pub fn look_again(&mut self) {
        self.pending = self.socket.is_some();
    }

    /// Nobody is to be accepted before [`Listener::look_again`].
    pub fn rest(&mut self) {
        self.pending = false;
    }

    /// Lets go of the address.
    pub fn stop(&mut self, registry: &Registry) {
        if let Some(socket) = self.socket.take() {
            socket.stop(registry);
        }
        self.pending = false;
    }

    /// Accepts one connection.
    pub fn accept(&mut self) -> Accepted {
        let Some(socket) = &self.socket else { return Accepted::Nothing };
        match socket.accept() {
            Ok((stream, peer)) => Accepted::Stream(stream, peer),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::WOULDBLOCK) => {
                    self.pending = false;
                    self.told = false;
                    Accepted::Nothing
                }
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.out_of_descriptors(&error)
                }
                // A socket that nobody can be accepted from, as one that somebody else has shut down.
                Some(Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP) => {
                    if !std::mem::replace(&mut self.told, true) {
                        log::error!("{} accept: {error}", self.name());
                    }
                    self.pending = false;
                    Accepted::Later
                }
                // The client was gone before we looked (accept(2)): the next one waits.
                _ => {
                    log::debug!("accept: {error}");
                    Accepted::Gone
                }
            },
        }
    }

    /// Tells a client to come back later.
    pub fn turn_away(&self, mut stream: Stream) {
        // Where TLS comes first, clear text would be taken for broken TLS.
        if !matches!(self.security, Security::Implicit(_)) {
            let words = format!("{}\r\n", self.service().protocol().too_many_connections());
            let _ = stream.write(words.as_bytes()); // a client that does not read it finds the door closed
        }
    }

    /// Uses the spare descriptor to tell one client why nobody answers.
    fn out_of_descriptors(&mut self, error: &io::Error) -> Accepted {
        if !std::mem::replace(&mut self.told, true) {
            log::warn!("{} accept: {error}; clients are sent away until there is room", self.name());
        }
        METRICS.turned_away.one("no descriptors");
        self.spare = None;
        if let Some(Ok((stream, _))) = self.socket.as_ref().map(Socket::accept) {
            self.turn_away(stream);
        }
        self.spare = spare();
        self.pending = false;
        Accepted::Later
    }

    /// What a connection from there begins with.
    pub fn beginning(&self, address: IpAddr) -> Beginning {
        let proxies = &self.listen.proxy_protocol;
        if proxies.is_empty() {
            Beginning::Session
        } else if proxies.contain(address) {
            Beginning::Header
        } else {
            Beginning::Nothing
        }
    }

    /// What the octets of a connection travel on.
    pub fn transport(&self, stream: Stream) -> Transport {
        Transport::new(stream, self.security.clone())
    }

    /// Begins the transcript of a session with a client at `peer`.
    pub fn transcript(&self, transcripts: &Transcripts, id: ConnId, peer: SocketAddr, now: Now) -> Record {
        let factory = self.sessions.factory(&self.listen, peer.ip());
        let name = self.name();
        let listener = self.endpoint.to_string();
        let implicit_tls = matches!(self.security, Security::Implicit(_));
        transcripts.begin(&transcript::Beginning { id, name, peer, listener, factory, implicit_tls }, now)
    }

    /// A session with a client at `peer`.
    pub fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session> {
        self.sessions.session(&self.listen, peer, id)
    }
}

/// When TLS begins. After the check of the configuration there is a certificate wherever one is needed.
fn security(mode: TlsMode, tls: Option<&Rc<Tls>>) -> Security {
    match (mode, tls.map(Rc::clone)) {
        (TlsMode::Starttls, Some(tls)) => Security::Offered(tls),
        (TlsMode::Implicit, Some(tls)) => Security::Implicit(tls),
        (TlsMode::None, _) | (_, None) => Security::None,
    }
}

/// Whether a client may ask for TLS.
fn offers_tls(security: &Security) -> bool {
    matches!(security, Security::Offered(_))
}

/// A descriptor that needs no path, and that nothing delays when it is opened or closed.
fn spare() -> Option<UnixDatagram> {
    UnixDatagram::unbound().ok()
}
