//! One listening socket, and the sessions that begin at it.

use std::{
    fs::File,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use mio::{Registry, Token};
use rustix::io::Errno;

use crate::{
    config::{Config, Listen, Networks, Persona, Service, TlsMode},
    net::{
        certificate::{self, Pair},
        endpoint::Endpoint,
        stream::{Socket, Stream},
        tls::Tls,
        transport::{Security, Transport},
    },
    proto::{
        Protocol,
        ask::ConnId,
        pop3::{self, Pop3},
        smtp::{self, AuthRule, Kind, Policy, Smtp},
    },
};

/// One listening socket.
pub struct Listener {
    socket: Option<Socket>,
    endpoint: Endpoint,
    service: Service,
    trusted: Networks,
    proxies: Networks,
    /// What sessions have in common, for each [`Standing`] of their clients.
    rules: [Rules; 4],
    security: Security,
    /// Whether there may be connections to accept: only an accept that would block says no.
    pub pending: bool,
    /// Given up for a moment when no descriptor is left, to say so to the next client.
    spare: Option<File>,
    /// Whether the shortage of descriptors has been told, and has not ended.
    short: bool,
}

enum Rules {
    Smtp(Rc<smtp::Rules>),
    Pop3(Rc<pop3::Rules>),
}

/// What a client may do because of its address.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// It is on this machine: nobody listens in.
    local: bool,
    /// It is in a network that may send without a login.
    trusted: bool,
}

impl Standing {
    const ALL: [Self; 4] = [
        Self { local: false, trusted: false },
        Self { local: true, trusted: false },
        Self { local: false, trusted: true },
        Self { local: true, trusted: true },
    ];

    /// Its place in [`Standing::ALL`].
    fn place(self) -> usize {
        usize::from(self.local) + 2 * usize::from(self.trusted)
    }
}

/// What [`Listener::accept`] found.
pub enum Accepted {
    /// A connection.
    Stream(Stream, SocketAddr),
    /// Nobody waits.
    Nothing,
    /// No descriptor is left: look again after a while.
    NoDescriptors,
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
    /// There is no certificate to begin TLS with.
    Tls(certificate::Error),
}

/// A listener of the configuration, and the socket that it has.
pub struct Bound {
    /// What is served there, and how.
    pub listen: Listen,
    /// What listens.
    pub socket: Socket,
}

/// Binds every address of a configuration. No thread is started and nothing is accepted: privileges may be
/// dropped behind this.
///
/// # Errors
/// An address cannot be had. None is held then.
pub fn bind_all(config: &Config) -> Result<Vec<Bound>, Error> {
    let bind = |listen: &Listen| match Socket::bind(&listen.address) {
        Ok(socket) => Ok(Bound { listen: listen.clone(), socket }),
        Err(error) => Err(Error::Bind(listen.protocol, listen.address.clone(), error)),
    };
    config.listen.iter().map(bind).collect()
}

impl Listener {
    /// Loads the certificate, if there is one, and begins to listen.
    ///
    /// # Errors
    /// The certificate cannot be used, or a socket does not say where it is.
    pub fn open_all(config: &Config, sockets: Vec<Bound>) -> Result<Vec<Self>, Error> {
        let look_every = config.limits.certificate_check.0;
        let start = |pair: &Pair| Tls::start(pair.clone(), look_every).map(Rc::new).map_err(Error::Tls);
        let tls = config.tls.as_ref().map(start).transpose()?;
        let open = |Bound { listen, socket }: Bound| {
            Self::open(&listen, socket, config, security(listen.tls, tls.as_ref()))
                .map_err(|error| Error::Bind(listen.protocol, listen.address, error))
        };
        sockets.into_iter().map(open).collect()
    }

    fn open(listen: &Listen, socket: Socket, config: &Config, security: Security) -> io::Result<Self> {
        Ok(Self {
            endpoint: socket.endpoint()?,
            socket: Some(socket),
            service: listen.protocol,
            trusted: listen.trusted.clone(),
            proxies: listen.proxy_protocol.clone(),
            rules: Standing::ALL.map(|standing| rules(listen, config, &security, standing)),
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
        match self.service.smtp() {
            Some(smtp::Kind::Lmtp) => "lmtp",
            Some(_) => "smtp",
            None => "pop3",
        }
    }

    /// What a client is told when something of ours broke.
    pub fn internal_error(&self) -> String {
        match self.service.smtp() {
            Some(_) => smtp::reply::INTERNAL.line(),
            None => pop3::reply::INTERNAL.line(),
        }
    }

    /// What a client is told when there is no room for its connection.
    pub fn too_many_connections(&self) -> String {
        match self.service.smtp() {
            Some(_) => smtp::reply::TOO_MANY_CONNECTIONS.line(),
            None => pop3::reply::TOO_MANY_CONNECTIONS.line(),
        }
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
        loop {
            match socket.accept() {
                Ok((stream, peer)) => return Accepted::Stream(stream, peer),
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

    /// Tells a client to come back later.
    pub fn turn_away(&self, mut stream: Stream) {
        // Where TLS comes first, clear text would be taken for broken TLS.
        if !matches!(self.security, Security::Implicit(_)) {
            let words = format!("{}\r\n", self.too_many_connections());
            let _ = stream.write(words.as_bytes()); // a client that does not read it finds the door closed
        }
    }

    /// Uses the spare descriptor to tell one client why nobody answers.
    fn out_of_descriptors(&mut self, error: &io::Error) -> Accepted {
        if !std::mem::replace(&mut self.short, true) {
            log::warn!("{} accept: {error}; clients are sent away until there is room", self.name());
        }
        self.spare = None;
        if let Some(Ok((stream, _))) = self.socket.as_ref().map(Socket::accept) {
            self.turn_away(stream);
        }
        self.spare = spare();
        self.pending = false;
        Accepted::NoDescriptors
    }

    /// What a connection from there begins with.
    pub fn beginning(&self, address: IpAddr) -> Beginning {
        if self.proxies.is_empty() {
            Beginning::Session
        } else if self.proxies.contain(address) {
            Beginning::Header
        } else {
            Beginning::Nothing
        }
    }

    /// What the octets of a connection travel on.
    pub fn transport(&self, stream: Stream) -> Transport {
        Transport::new(stream, self.security.clone())
    }

    /// A session with a client at `peer`.
    pub fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Protocol> {
        let standing = Standing { local: peer.is_loopback(), trusted: self.trusted.contain(peer) };
        match &self.rules[standing.place()] {
            Rules::Smtp(rules) => Box::new(Smtp::new(Rc::clone(rules), peer, id.to_string())),
            Rules::Pop3(rules) => Box::new(Pop3::new(Rc::clone(rules))),
        }
    }
}

/// What holds for the clients of a listener that have that standing.
fn rules(listen: &Listen, config: &Config, security: &Security, standing: Standing) -> Rules {
    let (hostname, line_endings, limits) =
        (config.hostname.clone(), listen.line_endings, config.limits.clone());
    let begins_tls = matches!(security, Security::Offered(_));
    let plaintext_auth = listen.plaintext_auth || standing.local;
    match listen.persona {
        Persona::Smtp(persona) => {
            let kind = listen.protocol.smtp().unwrap_or_default();
            let auth = match kind {
                Kind::Smtp | Kind::Lmtp => AuthRule::Off,
                Kind::Submission if plaintext_auth => AuthRule::InClear,
                Kind::Submission => AuthRule::UnderTls,
            };
            let policy = Policy { kind, auth, starttls: begins_tls, trusted: standing.trusted };
            Rules::Smtp(Rc::new(smtp::Rules { hostname, line_endings, persona, limits, policy }))
        }
        Persona::Pop3(persona) => {
            let (expire, stls) = (config.pop3.expire, begins_tls);
            let rules = pop3::Rules { hostname, line_endings, persona, expire, stls, plaintext_auth, limits };
            Rules::Pop3(Rc::new(rules))
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
