//! One listening socket, and the sessions that begin at it.

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
    config::{Config, Listen, Persona, Service, TlsMode, Unknown},
    metrics::METRICS,
    net::{
        certificate::{self, Loaded, Pair},
        endpoint::Endpoint,
        stream::{Socket, Stream},
        tls::Tls,
        transport::{Security, Transport},
    },
    proto::{
        Session,
        ask::ConnId,
        faults::{Counts, Faulty},
        pop3::{self, Pop3},
        smtp::{self, AuthRule, Kind, Policy, Smtp},
    },
    service::sockets::{self, Passed},
    transcript::{self, Record, Transcripts},
};

/// One listening socket.
pub struct Listener {
    socket: Option<Socket>,
    /// Where it really is.
    endpoint: Endpoint,
    listen: Listen,
    /// What sessions have in common, for each [`Standing`] of their clients.
    rules: [Rules; 4],
    security: Security,
    /// What is counted of faults on demand; `None`: there are none.
    faults: Option<Rc<Counts>>,
    /// Whether there may be connections to accept: only an accept that would block says no.
    pub pending: bool,
    /// Given up for a moment when no descriptor is left, to say so to the next client.
    spare: Option<UnixDatagram>,
    /// Whether it has been told why nobody can be accepted, and that has not ended.
    told: bool,
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
    Passed(sockets::Error),
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

impl From<sockets::Error> for Error {
    fn from(error: sockets::Error) -> Self {
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
            rules: all_rules(&listen, config, &security),
            security,
            listen,
            faults: config.faults_on_demand.then(Rc::<Counts>::default),
            pending: false,
            spare: spare(),
            told: false,
        })
    }

    /// Serves another configuration from now on, in the same place. Sessions that run keep the rules that they
    /// began with.
    pub fn follow(&mut self, listen: Listen, config: &Config, tls: Option<&Rc<Tls>>) {
        self.security = security(listen.tls, tls);
        self.rules = all_rules(&listen, config, &self.security);
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
            let words = format!("{}\r\n", too_many_connections(self.service()));
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
        let rules = match self.rules_for(peer.ip()) {
            Rules::Smtp(rules) => transcript::Rules::Smtp(rules),
            Rules::Pop3(rules) => transcript::Rules::Pop3(rules),
        };
        let (name, listener) = (self.name(), self.endpoint.to_string());
        let implicit_tls = matches!(self.security, Security::Implicit(_));
        transcripts.begin(&transcript::Beginning { id, name, peer, listener, rules, implicit_tls }, now)
    }

    fn rules_for(&self, peer: IpAddr) -> &Rules {
        let standing = Standing { local: peer.is_loopback(), trusted: self.listen.trusted.contain(peer) };
        &self.rules[standing.place()]
    }

    /// A session with a client at `peer`.
    pub fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session> {
        let session: Box<dyn Session> = match self.rules_for(peer) {
            Rules::Smtp(rules) => Box::new(Smtp::new(Rc::clone(rules), peer, id.to_string())),
            Rules::Pop3(rules) => Box::new(Pop3::new(Rc::clone(rules))),
        };
        match &self.faults {
            Some(counts) => Box::new(Faulty::new(session, Rc::clone(counts))),
            None => session,
        }
    }
}

/// The name of a service in the log.
pub fn name(service: Service) -> &'static str {
    match service.smtp() {
        Some(Kind::Lmtp) => "lmtp",
        Some(_) => "smtp",
        None => "pop3",
    }
}

/// What a client is told when something of ours broke.
pub fn internal_error(service: Service) -> String {
    match service.smtp() {
        Some(_) => smtp::reply::INTERNAL.line(),
        None => pop3::reply::INTERNAL.line(),
    }
}

/// What a client is told when there is no room for its connection.
pub fn too_many_connections(service: Service) -> String {
    match service.smtp() {
        Some(_) => smtp::reply::TOO_MANY_CONNECTIONS.line(),
        None => pop3::reply::TOO_MANY_CONNECTIONS.line(),
    }
}

fn all_rules(listen: &Listen, config: &Config, security: &Security) -> [Rules; 4] {
    Standing::ALL.map(|standing| rules(listen, config, security, standing))
}

/// What holds for the clients of a listener that have that standing.
fn rules(listen: &Listen, config: &Config, security: &Security, standing: Standing) -> Rules {
    let (hostname, line_endings, limits) =
        (config.hostname.clone(), listen.line_endings, config.limits.clone());
    let pedantic = listen.pedantic;
    let begins_tls = matches!(security, Security::Offered(_));
    let plaintext_auth = listen.plaintext_auth || standing.local;
    match listen.persona {
        Persona::Smtp(persona) => {
            let kind = listen.protocol.smtp().unwrap_or_default();
            // In an open house a program that insists on a login finds one, wherever it sends.
            let open_house = config.unknown == Unknown::Create;
            let auth = match kind {
                Kind::Lmtp => AuthRule::Off,
                Kind::Smtp if !open_house => AuthRule::Off,
                Kind::Smtp | Kind::Submission if plaintext_auth => AuthRule::InClear,
                Kind::Smtp | Kind::Submission => AuthRule::UnderTls,
            };
            let policy = Policy { kind, auth, starttls: begins_tls, trusted: standing.trusted };
            Rules::Smtp(Rc::new(smtp::Rules { hostname, line_endings, persona, limits, policy, pedantic }))
        }
        Persona::Pop3(persona) => {
            let (expire, stls) = (config.pop3.expire, begins_tls);
            let rules = pop3::Rules {
                hostname,
                line_endings,
                persona,
                expire,
                stls,
                plaintext_auth,
                limits,
                pedantic,
            };
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

/// A descriptor that needs no path, and that nothing delays when it is opened or closed.
fn spare() -> Option<UnixDatagram> {
    UnixDatagram::unbound().ok()
}
