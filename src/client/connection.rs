//! One connection: lines and octets, in clear text or over TLS.
//!
//! The rule: every wait has a limit, every line has a limit, and clear text is never taken for TLS data.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConnection, StreamOwned};

use super::{
    ClientError, ConnectOptions, Security, ServerAddr, WireProtocol, connect_options::OnSilence, tls,
    tls_failure::TlsFailure,
};

/// Traffic on a connection, as its watcher sees it.
#[derive(Debug, Clone, Copy)]
pub enum WireEvent<'a> {
    /// A line of the client, with secrets masked.
    ClientLine(&'a str),
    /// A line of the server, without its line end.
    ServerLine(&'a [u8]),
    /// Octets of a message that the client sent.
    MessageSent(u64),
    /// Octets of a multi-line response of the server.
    DataReceived(u64),
    /// The connection uses TLS of that version from here on.
    TlsStarted(&'static str),
}

/// A callback for the traffic on a connection.
pub type WireObserver = Box<dyn FnMut(WireEvent<'_>)>;

/// One connection to a server.
pub(super) struct Connection {
    stream: BufReader<Stream>,
    pub(super) server: ServerAddr,
    protocol: WireProtocol,
    pub(super) timeout: Duration,
    observer: Option<WireObserver>,
    greeting: Greeting,
}

/// The reason why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    Server,
    Input,
    Time,
}

/// The first octets of the server, before which a client sends nothing but its part of a TLS handshake.
#[derive(Clone, Copy)]
enum Greeting {
    Received,
    Awaited { in_clear_text: bool, on_silence: Option<OnSilence> },
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Connects, and begins TLS at once if it is implicit.
    pub(super) fn connect(
        protocol: WireProtocol,
        route: &ConnectOptions,
        watcher: Option<WireObserver>,
    ) -> Result<Self, ClientError> {
        let place = &route.server;
        let failed = |error| ClientError::Unreachable(place.clone(), error);
        let addresses =
            find_addresses(place).map_err(|error| ClientError::UnknownHost(place.clone(), error))?;
        let socket = connect_any(&addresses).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?; // small lines, each waiting for its answer
        socket.set_write_timeout(Some(route.timeout)).map_err(failed)?;
        let stream = BufReader::with_capacity(BUFFER, Stream::Plain(socket));
        let in_clear_text = route.security != Security::Implicit;
        let greeting = Greeting::Awaited { in_clear_text, on_silence: route.on_silence };
        let (server, timeout) = (place.clone(), route.timeout);
        let wire = Self { stream, server, protocol, timeout, observer: watcher, greeting };
        if route.security == Security::Implicit { wire.start_tls(route) } else { Ok(wire) }
    }

    /// Begins TLS on a connection in clear text. Fails if octets of the server are already unread.
    pub(super) fn start_tls(mut self, route: &ConnectOptions) -> Result<Self, ClientError> {
        // Octets after the reply to STARTTLS came in clear text and may be anyone's; read later, they would
        // pass for the server's (RFC 3207 section 4.2).
        if !self.stream.buffer().is_empty() {
            return Err(ClientError::InjectedBeforeTls(self.server));
        }
        let Stream::Plain(socket) = self.stream.into_inner() else {
            return Err(ClientError::InjectedBeforeTls(self.server));
        };
        let failed = |why: TlsFailure| ClientError::Tls(self.server.clone(), why);
        let other = |why: String| failed(TlsFailure::Other(why));
        socket.set_read_timeout(Some(self.timeout)).map_err(|error| other(error.to_string()))?;
        let connection = route.tls.session(&self.server.host).map_err(other)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| {
                if route.security == Security::Implicit && tls::is_clear_text(&error) {
                    ClientError::ClearText(self.server.clone())
                } else {
                    failed(route.tls.failure(&error))
                }
            })?;
        }
        let version = match stream.conn.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        };
        self.stream = BufReader::with_capacity(BUFFER, Stream::Secure(Box::new(stream)));
        self.notify(WireEvent::TlsStarted(version));
        Ok(self)
    }

    /// The client's address of this connection.
    pub(super) fn local_ip(&self) -> Option<IpAddr> {
        self.stream.get_ref().socket().local_addr().ok().map(|address| address.ip())
    }

    /// Reads one line without its line end.
    pub(super) fn read_line(&mut self) -> Result<Vec<u8>, ClientError> {
        self.read_line_up_to(LINE)
    }

    /// Reads one line of at most so many octets.
    pub(super) fn read_line_up_to(&mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let until = Instant::now() + self.timeout;
        let mut line = Vec::new();
        loop {
            let buffer = self.fill(until)?;
            let end = memchr::memchr(b'\n', buffer);
            let taken = end.map_or(buffer.len(), |at| at + 1);
            line.extend_from_slice(&buffer[..taken]);
            self.consume(taken);
            if line.len() > limit {
                return Err(ClientError::ProtocolError(self.server.clone()));
            }
            if end.is_some() {
                line.pop();
                line.pop_if(|b| *b == b'\r');
                self.notify(WireEvent::ServerLine(&line));
                return Ok(line);
            }
        }
    }

    /// Reads so many octets, and adds them to those.
    pub(super) fn read_octets(&mut self, count: u64, octets: &mut Vec<u8>) -> Result<(), ClientError> {
        let mut left = count;
        while left > 0 {
            let until = Instant::now() + self.timeout;
            let buffer = self.fill(until)?;
            let taken = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            octets.extend_from_slice(&buffer[..taken]);
            self.consume(taken);
            left -= taken as u64;
        }
        self.notify(WireEvent::DataReceived(count));
        Ok(())
    }

    /// Waits until the server sends something, `input` has something to read, or the time is over.
    pub(super) fn wait(
        &mut self,
        input: Option<BorrowedFd<'_>>,
        until: Instant,
    ) -> Result<Woken, ClientError> {
        while self.stream.buffer().is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Woken::Time);
            }
            let socket = self.stream.get_ref().socket();
            let mut watched = vec![PollFd::new(socket, PollFlags::IN)];
            watched.extend(input.as_ref().map(|input| PollFd::new(input, PollFlags::IN)));
            let woken = poll(&mut watched, Timespec::try_from(left).ok().as_ref());
            match woken.map_err(io::Error::from) {
                Ok(0) => return Ok(Woken::Time),
                Ok(_) if watched[0].revents().is_empty() => return Ok(Woken::Input),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.io_error(&error)),
            }
            // TLS has messages without octets for us.
            let waited = socket.set_read_timeout(Some(MIN_TIMEOUT));
            match waited.and_then(|()| self.stream.fill_buf().map(<[u8]>::len)) {
                Ok(0) => return Err(self.lost()),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(self.io_error(&error)),
            }
        }
        Ok(Woken::Server)
    }

    /// Waits for octets, and returns those not consumed yet: at least one.
    pub(super) fn fill(&mut self, until: Instant) -> Result<&[u8], ClientError> {
        while self.stream.buffer().is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let wait = if self.silence_observer().is_some() { left.min(SILENCE) } else { left };
            let socket = self.stream.get_ref().socket();
            // Zero would wait without end.
            let waited = socket.set_read_timeout(Some(wait.max(MIN_TIMEOUT)));
            match waited.and_then(|()| self.stream.fill_buf().map(<[u8]>::len)) {
                Ok(0) => return Err(self.lost()),
                Ok(_) if self.is_answer_of_http() => return Err(ClientError::Http(self.server.clone())),
                Ok(_) if let Some(spoken) = self.other_protocol() => {
                    let (server, wanted) = (self.server.clone(), self.protocol);
                    let is_certain = spoken.is_named_in(self.stream.buffer());
                    return Err(ClientError::OtherProtocol { server, spoken, wanted, is_certain });
                }
                Ok(_) => self.greeting = Greeting::Received,
                Err(error) if is_timeout(&error) && wait < left => self.tell_silence(),
                Err(error) => return Err(self.io_error(&error)),
            }
        }
        Ok(self.stream.buffer())
    }

    /// A server for HTTP says nothing first, and then that the request is bad or late (RFC 9110 section 15.5).
    fn is_answer_of_http(&self) -> bool {
        matches!(self.greeting, Greeting::Awaited { .. }) && self.stream.buffer().starts_with(b"HTTP/")
    }

    /// The protocol of the greeting, if it is another one than the client's.
    fn other_protocol(&self) -> Option<WireProtocol> {
        let Greeting::Awaited { .. } = self.greeting else { return None };
        WireProtocol::of_greeting(self.stream.buffer()).filter(|spoken| *spoken != self.protocol)
    }

    fn silence_observer(&self) -> Option<OnSilence> {
        match self.greeting {
            Greeting::Awaited { on_silence, .. } => on_silence,
            Greeting::Received => None,
        }
    }

    /// Reports the silence of the server once.
    fn tell_silence(&mut self) {
        if let Greeting::Awaited { on_silence, in_clear_text } = &mut self.greeting
            && let Some(tell) = on_silence.take()
        {
            tell(&self.server, *in_clear_text);
        }
    }

    pub(super) fn consume(&mut self, octets: usize) {
        self.stream.consume(octets);
    }

    /// Sends a line, and adds its CRLF.
    pub(super) fn send_line(&mut self, line: &str) -> Result<(), ClientError> {
        self.send_line_masked(line, line)
    }

    /// Sends a line; the watcher sees `shown` instead.
    pub(super) fn send_line_masked(&mut self, line: &str, shown: &str) -> Result<(), ClientError> {
        self.notify(WireEvent::ClientLine(shown));
        // One line is one command: line ends in typed text are removed.
        let line = line.replace(['\r', '\n'], "");
        self.send(format!("{line}\r\n").as_bytes())
    }

    /// Sends octets that the watcher does not see.
    pub(super) fn send(&mut self, octets: &[u8]) -> Result<(), ClientError> {
        let stream = self.stream.get_mut();
        stream.write_all(octets).and_then(|()| stream.flush()).map_err(|error| self.io_error(&error))
    }

    pub(super) fn notify(&mut self, said: WireEvent<'_>) {
        if let Some(watcher) = &mut self.observer {
            watcher(said);
        }
    }

    fn io_error(&self, error: &io::Error) -> ClientError {
        match (error.kind(), self.greeting) {
            (io::ErrorKind::InvalidData, _) => {
                ClientError::Tls(self.server.clone(), TlsFailure::Other(error.to_string()))
            }
            (_, Greeting::Received) if is_timeout(error) => {
                ClientError::Timeout(self.server.clone(), self.timeout)
            }
            _ => self.lost(),
        }
    }

    /// The connection ended, or the server never spoke. Before its greeting, nothing can be unconfirmed.
    fn lost(&self) -> ClientError {
        match self.greeting {
            Greeting::Received => ClientError::ConnectionLost(self.server.clone()),
            Greeting::Awaited { in_clear_text, .. } => {
                ClientError::NoGreeting { server: self.server.clone(), in_clear_text }
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.server)
    }
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Secure(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Secure(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(octets),
            Self::Secure(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn find_addresses(place: &ServerAddr) -> io::Result<Vec<SocketAddr>> {
    Ok((place.host.as_str(), place.port).to_socket_addrs()?.collect())
}

/// Tries each address of a host in turn.
fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

const BUFFER: usize = 16 * 1024;
/// Octets of a server's line. RFC 5321 section 4.5.3.1.5 allows 512; some servers write more.
const LINE: usize = 8 * 1024;
/// Time limit for one address.
const CONNECT: Duration = Duration::from_secs(30);
/// Silence of a server after which its user is told, once.
const SILENCE: Duration = Duration::from_millis(1500);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u119_a_place_is_a_host_and_a_port_or_a_port_alone() {
        for (text, host, port) in
            [("mx.test:25", "mx.test", 25), ("[::1]:2525", "::1", 2525), ("127.0.0.1:1", "127.0.0.1", 1)]
        {
            let place: ServerAddr = text.parse().unwrap();
            assert_eq!((place.host.as_str(), place.port), (host, port));
            assert_eq!(place.to_string(), text);
        }
        let port_alone: ServerAddr = "4110".parse().unwrap();
        assert_eq!(port_alone.to_string(), "127.0.0.1:4110");
        for bad in [
            "",
            "70000",
            "-1",
            "mx.test",
            ":25",
            "mx.test:smtp",
            "mx.test:70000",
            "[::1:25",
            "a b:25",
            "a\r\nb:25",
        ] {
            let told = bad.parse::<ServerAddr>().unwrap_err();
            assert!(told.contains("mx.example.test:25"), "{told}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, loopback) in [
            ("127.0.0.1:25", true),
            ("[::1]:25", true),
            ("LocalHost:25", true),
            ("192.0.2.1:25", false),
            ("localhost.example.test:25", false),
        ] {
            assert_eq!(text.parse::<ServerAddr>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
