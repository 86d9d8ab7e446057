//! One listening socket, and the sessions that begin at it.

use std::{
    fs::File,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use mio::{
    Interest, Registry, Token,
    net::{TcpListener, TcpStream},
};
use rustix::io::Errno;

use crate::{
    config::{Config, Listen, Persona, Service, TlsMode},
    net::{
        certificate::{self, Pair},
        tls::Tls,
        transport::{Security, Transport},
    },
    proto::{
        Protocol,
        ask::ConnId,
        pop3::{self, Pop3},
        smtp::{self, Smtp},
    },
};

/// One listening socket.
pub struct Listener {
    socket: Option<TcpListener>,
    address: SocketAddr,
    service: Service,
    rules: Rules,
    security: Security,
    /// Whether there may be connections to accept: only an accept that would block says no.
    pub pending: bool,
    /// Given up for a moment when no descriptor is left, to say so to the next client.
    spare: Option<File>,
    /// Whether the shortage of descriptors has been told, and has not ended.
    short: bool,
}

/// What the sessions of a listener have in common.
enum Rules {
    Smtp(Rc<smtp::Rules>),
    Pop3(Rc<pop3::Rules>),
}

/// What [`Listener::accept`] found.
pub enum Accepted {
    /// A connection.
    Stream(TcpStream, SocketAddr),
    /// A connection that was told to come back later.
    TurnedAway,
    /// Nobody waits.
    Nothing,
    /// No descriptor is left: look again after a while.
    NoDescriptors,
}

/// Why nobody can be listened to.
#[derive(Debug)]
pub enum Error {
    /// An address could not be bound.
    Bind(Service, SocketAddr, io::Error),
    /// There is no certificate to begin TLS with.
    Tls(certificate::Error),
}

impl Listener {
    /// Loads the certificate, if there is one, and binds every address.
    pub fn bind_all(config: &Config) -> Result<Vec<Self>, Error> {
        let look_every = config.limits.certificate_check.0;
        let start = |pair: &Pair| Tls::start(pair.clone(), look_every).map(Rc::new).map_err(Error::Tls);
        let tls = config.tls.as_ref().map(start).transpose()?;
        let bind = |listen: &Listen| {
            Self::bind(listen, config, security(listen.tls, tls.as_ref()))
                .map_err(|error| Error::Bind(listen.protocol, listen.address, error))
        };
        config.listen.iter().map(bind).collect()
    }

    fn bind(listen: &Listen, config: &Config, security: Security) -> io::Result<Self> {
        let socket = TcpListener::bind(listen.address)?;
        let address = socket.local_addr()?;
        let (hostname, limits) = (config.hostname.clone(), config.limits.clone());
        let (line_endings, expire) = (listen.line_endings, config.pop3.expire);
        let rules = match listen.persona {
            Persona::Smtp(persona) => {
                let policy = smtp::Policy::default();
                Rules::Smtp(Rc::new(smtp::Rules { hostname, line_endings, persona, limits, policy }))
            }
            Persona::Pop3(persona) => {
                let stls = matches!(security, Security::Offered(_));
                Rules::Pop3(Rc::new(pop3::Rules { hostname, line_endings, persona, expire, stls, limits }))
            }
        };
        Ok(Self {
            socket: Some(socket),
            address,
            service: listen.protocol,
            rules,
            security,
            pending: false,
            spare: spare(),
            short: false,
        })
    }

    /// What is served here.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        match self.rules {
            Rules::Smtp(_) => "smtp",
            Rules::Pop3(_) => "pop3",
        }
    }

    /// What a client is told when something of ours broke.
    pub fn internal_error(&self) -> String {
        match self.rules {
            Rules::Smtp(_) => smtp::reply::INTERNAL.line(),
            Rules::Pop3(_) => pop3::reply::INTERNAL.line(),
        }
    }

    fn too_many_connections(&self) -> String {
        match self.rules {
            Rules::Smtp(_) => smtp::reply::TOO_MANY_CONNECTIONS.line(),
            Rules::Pop3(_) => pop3::reply::TOO_MANY_CONNECTIONS.line(),
        }
    }

    /// The address really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for events.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.as_mut().map_or(Ok(()), |socket| registry.register(socket, token, Interest::READABLE))
    }

    /// There may be somebody to accept, though no event says so.
    pub fn look_again(&mut self) {
        self.pending = self.socket.is_some();
    }

    /// Lets go of the address.
    pub fn stop(&mut self, registry: &Registry) {
        if let Some(mut socket) = self.socket.take() {
            let _ = registry.deregister(&mut socket); // dropping it does the same
        }
        self.pending = false;
    }

    /// Accepts one connection; `welcome` says whether there is room for a client from that address.
    pub fn accept(&mut self, welcome: impl Fn(IpAddr) -> bool) -> Accepted {
        let Some(socket) = &self.socket else { return Accepted::Nothing };
        loop {
            match socket.accept() {
                Ok((stream, peer)) if welcome(peer.ip().to_canonical()) => {
                    let _ = stream.set_nodelay(true); // slower, not wrong
                    return Accepted::Stream(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                Ok((stream, _)) => return self.turn_away(stream),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::WOULDBLOCK) => {
                        self.pending = false;
                        self.short = false;
                        return Accepted::Nothing;
                    }
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                        return self.out_of_descriptors(&error);
                    }
                    // The client was gone before we looked (accept(2)): the next one waits.
                    _ => log::debug!("accept: {error}"),
                },
            }
        }
    }

    fn turn_away(&self, mut stream: TcpStream) -> Accepted {
        // Where TLS comes first, clear text would be taken for broken TLS.
        if matches!(self.security, Security::Implicit(_)) {
            return Accepted::TurnedAway;
        }
        let words = format!("{}\r\n", self.too_many_connections());
        let _ = stream.write(words.as_bytes()); // a client that does not read it finds the door closed
        Accepted::TurnedAway
    }

    /// Uses the spare descriptor to tell one client why nobody answers.
    fn out_of_descriptors(&mut self, error: &io::Error) -> Accepted {
        if !std::mem::replace(&mut self.short, true) {
            log::warn!("{} accept: {error}; clients are sent away until there is room", self.name());
        }
        self.spare = None;
        if let Some(Ok((stream, _))) = self.socket.as_ref().map(TcpListener::accept) {
            self.turn_away(stream);
        }
        self.spare = spare();
        self.pending = false;
        Accepted::NoDescriptors
    }

    /// What the octets of a connection travel on.
    pub fn transport(&self, stream: TcpStream) -> Transport {
        Transport::new(stream, self.security.clone())
    }

    /// A session with a client at `peer`.
    pub fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Protocol> {
        match &self.rules {
            Rules::Smtp(rules) => Box::new(Smtp::new(Rc::clone(rules), peer, id.to_string())),
            Rules::Pop3(rules) => Box::new(Pop3::new(Rc::clone(rules))),
        }
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

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}
