//! A listening socket, and the sessions that begin at it.

mod mail_servers;
mod sessions;

use std::{
    fmt, fs,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixDatagram,
    path::Path,
    rc::Rc,
    thread,
    time::Instant,
};

use mio::{Registry, Token};
use rustix::io::Errno;

use crate::{
    clock::Now,
    config::{ChangeDetection, Config, ListenerConfig, Service, TlsMode},
    file_rights::way_to_read,
    metrics::METRICS,
    net::{
        certificate::{self, CertificatePair, LoadedCertificate},
        endpoint::Endpoint,
        socket::{ListenSocket, Stream},
        tls::TlsConfig,
        transport::{Security, Transport},
    },
    proto::{Session, http::MailServers, request::ConnId},
    system::{
        sandbox,
        socket_activation::{self, InheritedSockets},
    },
    transcript::{self, Recorder, Transcripts},
};
pub use mail_servers::mail_servers;
use sessions::Sessions;

/// A listening socket with the settings for its connections.
pub struct Listener {
    socket: Option<ListenSocket>,
    /// The address that the socket is bound to.
    endpoint: Endpoint,
    config: ListenerConfig,
    sessions: Sessions,
    security: Security,
    /// Whether connections may be waiting: only an accept that would block clears it.
    pub may_be_pending: bool,
    /// A spare descriptor, closed for a moment when none is left, so that the next client can be accepted and
    /// rejected.
    spare_fd: Option<UnixDatagram>,
    /// Whether the current failure to accept has been logged.
    failure_logged: bool,
}

/// Identifies a listener of a server. No other listener ever gets the same id.
pub type ListenerId = u64;

/// The result of [`Listener::accept`], without an error: it has logged each failure.
pub enum Accepted {
    /// A connection, with the address of its other end.
    Stream(Stream, SocketAddr),
    /// No client waits: the listener accepts nothing until its next event.
    WouldBlock,
    /// The client has already gone: try the next one.
    Aborted,
    /// No client can be accepted now: try again after a pause.
    OutOfDescriptors,
}

/// The first event of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStart {
    /// The session of a client.
    Session,
    /// The PROXY header, in which a proxy names the client.
    ProxyHeader,
    /// None: only proxies may connect here, and this peer is not a proxy.
    Refuse,
}

/// The reason why a listener could not be opened.
#[derive(Debug)]
pub enum Error {
    /// An address could not be bound.
    Bind(Service, Endpoint, io::Error),
    /// The sockets from the service manager do not match the configuration.
    InheritedSockets(socket_activation::Error),
    /// There is no certificate for TLS.
    Tls(certificate::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(service, address, error) => {
                write!(f, "can't listen on {address} for {service}: {error}")
            }
            Self::InheritedSockets(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, _, error) => Some(error),
            Self::InheritedSockets(error) => Some(error),
            Self::Tls(error) => Some(error),
        }
    }
}

impl From<socket_activation::Error> for Error {
    fn from(error: socket_activation::Error) -> Self {
        Self::InheritedSockets(error)
    }
}

/// A configured listener and its bound socket.
pub struct BoundListener {
    /// The configuration of the listener.
    pub config: ListenerConfig,
    /// The socket, bound and listening.
    pub socket: ListenSocket,
}

/// Binds the sockets of every configured listener, or takes them from those that were `passed`. Starts no thread and
/// accepts no connection: the caller may drop privileges after this.
///
/// A killed server has its ports until the kernel has released its memory, so a taken address is tried again until
/// `limits.spool.lock_timeout` has passed since the first one. `about_wait` gets a sentence before the first pause for an address:
/// a server has no log yet.
///
/// # Errors
/// An address cannot be bound, or the passed sockets do not match the configuration. All sockets are closed then.
pub fn bind_all(
    config: &Config,
    mut passed: InheritedSockets,
    about_wait: &mut dyn FnMut(&str),
) -> Result<Vec<BoundListener>, Error> {
    let (began, timeout) = (Instant::now(), config.limits.spool.lock_timeout);
    let patience = timeout.0;
    let mut all: Vec<BoundListener> = Vec::new();
    for listen in &config.listen {
        let is_own = all.iter().any(|earlier| conflict(&earlier.config.address, &listen.address));
        let mut is_waiting = false;
        let sockets = loop {
            match bind(listen, &mut passed) {
                Err(Error::Bind(_, _, error))
                    if error.kind() == io::ErrorKind::AddrInUse && !is_own && began.elapsed() < patience =>
                {
                    if !std::mem::replace(&mut is_waiting, true) {
                        about_wait(&format!("{} is in use: waiting up to {timeout} for it", listen.address));
                    }
                    thread::sleep(patience / 20);
                }
                done => break done?,
            }
        };
        all.extend(sockets);
    }
    passed.check_all_claimed()?;
    Ok(all)
}

/// Checks that the address of a listener can be bound after those of the `earlier` ones, and binds none. Sockets of the
/// service manager are not there to be checked.
///
/// # Errors
/// The address cannot be bound.
pub fn try_bind(listen: &ListenerConfig, earlier: &[ListenerConfig]) -> io::Result<()> {
    ListenSocket::try_bind(&listen.address, listen.socket_group.as_deref())?;
    if earlier.iter().any(|earlier| conflict(&earlier.address, &listen.address)) {
        return Err(Errno::ADDRINUSE.into());
    }
    Ok(())
}

/// Whether the kernel of this machine refuses one of two addresses after it has given the other one.
fn conflict(one: &Endpoint, other: &Endpoint) -> bool {
    one.overlaps(other) || ((one.includes(other) || other.includes(one)) && !is_ipv6_alone())
}

/// Whether the unspecified IPv6 address leaves IPv4 alone on this machine (ipv6(7)).
fn is_ipv6_alone() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/bindv6only").is_ok_and(|value| value.trim() == "1")
}

/// Returns the sockets of a listener: several if they were passed under one name.
fn bind(listen: &ListenerConfig, passed: &mut InheritedSockets) -> Result<Vec<BoundListener>, Error> {
    let failed = |error| Error::Bind(listen.protocol, listen.address.clone(), error);
    let bound = |socket| BoundListener { config: listen.clone(), socket };
    let Endpoint::Inherited(name) = &listen.address else {
        return ListenSocket::bind(&listen.address, listen.socket_group.as_deref())
            .map(|socket| vec![bound(socket)])
            .map_err(failed);
    };
    let sockets = passed.take(name)?;
    for socket in &sockets {
        let place = socket.endpoint().map_err(failed)?;
        if let Some((_, why)) = listen.incompatible_with(&place) {
            return Err(failed(io::Error::other(format!("it is at {place}: {why}"))));
        }
    }
    Ok(sockets.into_iter().map(bound).collect())
}

/// Returns the TLS configuration for sessions, if there is a certificate, and starts the thread that reloads it.
///
/// # Errors
/// The thread could not be started.
pub fn start_tls(config: &Config, loaded: Option<LoadedCertificate>) -> Result<Option<Rc<TlsConfig>>, Error> {
    let pace = (config.limits.tls.reload_interval.0, config.watch == ChangeDetection::Inotify);
    let keep = |(pair, loaded): (&CertificatePair, _)| {
        let explain = |path: &Path| sandbox::why_unreadable(path).or_else(|| way_to_read(path));
        TlsConfig::watch(pair.clone(), loaded, pace, explain).map(Rc::new)
    };
    config.tls.as_ref().zip(loaded).map(keep).transpose().map_err(Error::Tls)
}

impl Listener {
    /// Starts to listen.
    ///
    /// # Errors
    /// The socket does not report its address.
    pub fn open(bound: BoundListener, config: &Config, tls: Option<&Rc<TlsConfig>>) -> Result<Self, Error> {
        let BoundListener { config: listen, socket } = bound;
        let failed = |error| Error::Bind(listen.protocol, listen.address.clone(), error);
        let endpoint = socket.endpoint().map_err(failed)?;
        let security = security(listen.tls, tls);
        Ok(Self {
            endpoint,
            socket: Some(socket),
            sessions: Sessions::new(&listen, config, offers_tls(&security)),
            security,
            config: listen,
            may_be_pending: false,
            spare_fd: open_spare_fd(),
            failure_logged: false,
        })
    }

    /// Applies another configuration to the same socket. Running sessions keep the rules that they began with.
    pub fn reconfigure(&mut self, listen: ListenerConfig, config: &Config, tls: Option<&Rc<TlsConfig>>) {
        self.security = security(listen.tls, tls);
        self.sessions.renew(&listen, config, offers_tls(&self.security));
        self.config = listen;
    }

    /// Tells the sessions of HTTP that begin from now on where the mail programs of users should connect.
    pub fn set_mail_servers(&mut self, servers: &Rc<MailServers>, config: &Config) {
        let offers_tls = offers_tls(&self.security);
        self.sessions.set_mail_servers(servers, &self.config, config, offers_tls);
    }

    /// The address in the configuration.
    pub fn configured_endpoint(&self) -> &Endpoint {
        &self.config.address
    }

    /// The service of this listener.
    pub fn service(&self) -> Service {
        self.config.protocol
    }

    /// The name of the service in the log.
    pub fn service_name(&self) -> &'static str {
        self.service().name()
    }

    /// The address that the socket is bound to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Registers the socket for events.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.as_mut().map_or(Ok(()), |socket| socket.register(registry, token))
    }

    /// Assumes that clients may be waiting, although no event says so.
    pub fn resume_accepting(&mut self) {
        self.may_be_pending = self.socket.is_some();
    }

    /// Accepts no client until [`Listener::resume_accepting`].
    pub fn pause_accepting(&mut self) {
        self.may_be_pending = false;
    }

    /// Stops listening. Accepted connections continue.
    pub fn close(&mut self, registry: &Registry) {
        if let Some(socket) = self.socket.take() {
            socket.close(registry);
        }
        self.may_be_pending = false;
    }

    /// Accepts one connection without waiting.
    pub fn accept(&mut self) -> Accepted {
        let Some(socket) = &self.socket else { return Accepted::WouldBlock };
        match socket.accept() {
            Ok((stream, peer)) => Accepted::Stream(stream, peer),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::WOULDBLOCK) => {
                    self.may_be_pending = false;
                    self.failure_logged = false;
                    Accepted::WouldBlock
                }
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.out_of_descriptors(&error)
                }
                // The socket cannot accept, for example because another process has shut it down.
                Some(Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP) => {
                    if !std::mem::replace(&mut self.failure_logged, true) {
                        log::error!("{} accept: {error}", self.service_name());
                    }
                    self.may_be_pending = false;
                    Accepted::OutOfDescriptors
                }
                // The client had gone before the accept (accept(2)): the next one waits.
                _ => {
                    log::debug!("accept: {error}");
                    Accepted::Aborted
                }
            },
        }
    }

    /// Rejects a client with a reply that it should come back later.
    pub fn reject(&self, mut stream: Stream) {
        // Under implicit TLS, the client would take clear text for broken TLS.
        if !matches!(self.security, Security::Implicit(_)) {
            let words = format!("{}\r\n", self.service().protocol().too_many_connections());
            let _ = stream.write(words.as_bytes()); // a client that does not read it sees the close
        }
    }

    /// Uses the spare descriptor to reject one client with a reply.
    fn out_of_descriptors(&mut self, error: &io::Error) -> Accepted {
        if !std::mem::replace(&mut self.failure_logged, true) {
            log::warn!(
                "{} accept: {error}; rejecting clients until descriptors are free",
                self.service_name()
            );
        }
        METRICS.rejected_connections.inc("no descriptors");
        self.spare_fd = None;
        if let Some(Ok((stream, _))) = self.socket.as_ref().map(ListenSocket::accept) {
            self.reject(stream);
        }
        self.spare_fd = open_spare_fd();
        self.may_be_pending = false;
        Accepted::OutOfDescriptors
    }

    /// Returns the first event of a connection from this address.
    pub fn connection_start(&self, address: IpAddr) -> ConnectionStart {
        let proxies = &self.config.proxy_networks;
        if proxies.is_empty() {
            ConnectionStart::Session
        } else if proxies.contain(address) {
            ConnectionStart::ProxyHeader
        } else {
            ConnectionStart::Refuse
        }
    }

    /// Wraps a socket in the transport of this listener, with or without TLS.
    pub fn new_transport(&self, stream: Stream) -> Transport {
        Transport::new(stream, self.security.clone())
    }

    /// Begins the transcript of a session with a client at `peer`, if it gets one.
    pub fn begin_transcript(
        &self,
        transcripts: &Transcripts,
        id: ConnId,
        peer: SocketAddr,
        now: Now,
    ) -> Option<Recorder> {
        let factory = self.sessions.factory(&self.config, peer.ip());
        let name = self.service_name();
        let listener = self.endpoint.to_string();
        let implicit_tls = matches!(self.security, Security::Implicit(_));
        transcripts.begin(&transcript::SessionInfo { id, name, peer, listener, factory, implicit_tls }, now)
    }

    /// Creates a session for the client at `peer`.
    pub fn new_session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session> {
        self.sessions.session(&self.config, peer, id)
    }
}

/// The TLS mode of a listener. The configuration check guarantees a certificate for every mode that needs one.
fn security(mode: TlsMode, tls: Option<&Rc<TlsConfig>>) -> Security {
    match (mode, tls.map(Rc::clone)) {
        (TlsMode::Starttls, Some(tls)) => Security::StartTls(tls),
        (TlsMode::Implicit, Some(tls)) => Security::Implicit(tls),
        (TlsMode::None, _) | (_, None) => Security::None,
    }
}

/// Whether a client may ask for TLS.
fn offers_tls(security: &Security) -> bool {
    matches!(security, Security::StartTls(_))
}

/// A descriptor that needs no path, and that opens and closes without delay.
fn open_spare_fd() -> Option<UnixDatagram> {
    UnixDatagram::unbound().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use super::*;

    #[test]
    fn n176_a_start_waits_for_the_ports_of_a_server_that_is_ending() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, anywhere) = (taken.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut config = Config::development("spool".into(), (at, anywhere), true).unwrap();
        let mut bind = |patience: &str| {
            let mut told = Vec::new();
            config.limits.spool.lock_timeout = patience.parse().unwrap();
            let bound =
                bind_all(&config, InheritedSockets::default(), &mut |line| told.push(line.to_owned()));
            (bound.map(drop), told)
        };
        let (refused, told) = bind("0s");
        assert!(
            matches!(&refused, Err(Error::Bind(_, _, error)) if error.kind() == io::ErrorKind::AddrInUse)
        );
        assert_eq!(told, [""; 0]);
        // The kernel has no event for a waiting bind: a bind that does not wait fails within this time.
        let ending = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(taken);
        });
        let (bound, told) = bind("10s");
        bound.unwrap();
        assert_eq!(told, [format!("{at} is in use: waiting up to 10s for it")]);
        ending.join().unwrap();
    }

    #[test]
    fn n185_a_start_does_not_wait_for_an_address_that_it_has_taken_itself() {
        let all = |one: &str, other: &str| [one, other].map(|at| at.parse::<Endpoint>().unwrap());
        for (one, other, is_conflict) in [
            ("0.0.0.0:25", "127.0.0.1:25", true),
            ("[::]:25", "127.0.0.1:25", !is_ipv6_alone()),
            ("[::]:25", "0.0.0.0:25", !is_ipv6_alone()),
            ("[::]:25", "[::1]:25", true),
            ("[::1]:25", "127.0.0.1:25", false),
            ("0.0.0.0:25", "127.0.0.1:26", false),
        ] {
            let [one, other] = all(one, other);
            assert_eq!(conflict(&one, &other), is_conflict, "{one} {other}");
            assert_eq!(conflict(&other, &one), is_conflict, "{other} {one}");
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let any = SocketAddr::from(([0, 0, 0, 0], free.port()));
        for [first, second] in [[free, any], [any, free]] {
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let mut config = Config::development("spool".into(), (anywhere, anywhere), true).unwrap();
            (config.listen[0].address, config.listen[1].address) = (first.into(), second.into());
            config.limits.spool.lock_timeout = "1h".parse().unwrap();
            let refused = bind_all(&config, InheritedSockets::default(), &mut |line| panic!("{line}"));
            assert!(matches!(refused, Err(Error::Bind(..))));
        }
    }
}
