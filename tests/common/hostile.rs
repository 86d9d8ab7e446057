//! Crowds of hostile connections, and good clients beside them. Every connection goes through a listener that reads
//! a PROXY header, so that one machine can have the addresses of a whole network.
//!
//! The rule: nothing leaves 127.0.0.0/8, and every crowd has a bound.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The behaviour of a crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Does nothing.
    Silent,
    /// Sends single octets of a line that never ends.
    DrippingOctets,
    /// Sends NOOP, again and again.
    DrippingNoops,
    /// Begins TLS, and sends single octets.
    InHandshakes,
    /// Stops at DATA, and sends single octets.
    AtData,
    /// Does the same at BDAT.
    AtBdat,
    /// Stops before the password; one of eight sends a wrong one.
    AtThePassword,
    /// Requests much, and reads nothing of it.
    ReadingNothing,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Silent,
        Self::DrippingOctets,
        Self::DrippingNoops,
        Self::InHandshakes,
        Self::AtData,
        Self::AtBdat,
        Self::AtThePassword,
        Self::ReadingNothing,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::DrippingOctets => "dripping octets",
            Self::DrippingNoops => "dripping NOOPs",
            Self::InHandshakes => "in TLS handshakes",
            Self::AtData => "at DATA",
            Self::AtBdat => "at BDAT",
            Self::AtThePassword => "at the password",
            Self::ReadingNothing => "reading nothing",
        }
    }

    /// The octets to send before any reply, and those to send after the first reply to them.
    fn beginning(self, n: usize, recipient: &str) -> (&'static [u8], Vec<u8>) {
        let message = |last: &str| {
            format!("MAIL FROM:<a@far.test>\r\nRCPT TO:<{recipient}>\r\n{last}\r\n").into_bytes()
        };
        match self {
            Self::Silent => (b"", Vec::new()),
            Self::DrippingOctets => (b"N", Vec::new()),
            Self::DrippingNoops => (b"EHLO x\r\n", b"NOOP\r\n".to_vec()),
            Self::InHandshakes => (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", Vec::new()),
            Self::AtData => (b"EHLO x\r\n", message("DATA")),
            Self::AtBdat => (b"EHLO x\r\n", message("BDAT 100000 LAST")),
            Self::AtThePassword if n.is_multiple_of(8) => (b"USER nobody\r\n", b"PASS wrong\r\n".to_vec()),
            Self::AtThePassword => (b"USER nobody\r\n", b"PASS ".to_vec()),
            Self::ReadingNothing => (b"EHLO x\r\n", b"HELP MAIL\r\n".repeat(90)),
        }
    }

    fn drip(self) -> &'static [u8] {
        match self {
            Self::Silent | Self::ReadingNothing => b"",
            Self::DrippingNoops => b"NOOP\r\n",
            _ => b"N",
        }
    }

    fn address(self, services: &Services) -> SocketAddr {
        match self {
            Self::InHandshakes => services.pop3s,
            Self::AtThePassword => services.pop3,
            _ => services.smtp,
        }
    }
}

/// The addresses of the services: all of them read a PROXY header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Services {
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
    pub(crate) pop3s: SocketAddr,
}

/// The PROXY header for a client at that address.
pub(crate) fn header(client: Ipv4Addr) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.25 4711 25\r\n").into_bytes()
}

/// The address of the `n`th hostile connection: twenty of them have the same.
fn hostile_address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xc612_0000 + (n / 20) as u32) // 198.18.0.0/15, RFC 2544
}

pub(crate) fn good_address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xc633_6400 + n as u32) // 198.51.100.0/24, RFC 5737
}

/// A crowd of connections with one behaviour.
pub(crate) struct Crowd<'a> {
    kind: Kind,
    services: Services,
    recipient: &'a str,
    connections: Vec<Option<TcpStream>>,
    /// Connections made, including those made again after the server had ended one.
    pub(crate) made: usize,
}

impl<'a> Crowd<'a> {
    /// Connects all of them, and brings each to the point where its crowd stops.
    pub(crate) fn come(kind: Kind, services: Services, recipient: &'a str, many: usize) -> Self {
        let mut crowd = Self { kind, services, recipient, connections: Vec::new(), made: 0 };
        for n in 0..many {
            let connection = crowd.begin(n);
            crowd.connections.push(connection);
        }
        for (n, slot) in crowd.connections.iter_mut().enumerate() {
            if let Some(stream) = slot.take() {
                *slot = go_on(kind, n, stream, recipient);
            }
        }
        crowd
    }

    fn begin(&mut self, n: usize) -> Option<TcpStream> {
        self.made += 1;
        let mut stream = TcpStream::connect(self.kind.address(&self.services)).ok()?;
        let first = [&header(hostile_address(n)), self.kind.beginning(n, self.recipient).0].concat();
        stream.write_all(&first).ok()?;
        Some(stream)
    }

    /// Runs one round: each connection sends a little, and at most `most` that the server ended connect again.
    pub(crate) fn drip(&mut self, most: usize) {
        let mut again = 0;
        for n in 0..self.connections.len() {
            if self.connections[n].as_mut().is_some_and(|stream| is_open(stream, self.kind)) {
                continue;
            }
            self.connections[n] = None;
            again += 1;
            if again <= most {
                let stream = self.begin(n);
                self.connections[n] = stream.and_then(|stream| go_on(self.kind, n, stream, self.recipient));
            }
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.connections.iter().flatten().count()
    }
}

/// Reads the replies that are there, and brings the connection to the point where its crowd stops.
fn go_on(kind: Kind, n: usize, mut stream: TcpStream, recipient: &str) -> Option<TcpStream> {
    let then = kind.beginning(n, recipient).1;
    if !then.is_empty() {
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        // The banner and the reply to the first command. The last line of a reply has a blank after the code.
        let mut reader = BufReader::new(&stream);
        let mut replies = 0;
        while replies < 2 {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            replies += usize::from(line.as_bytes().get(3) != Some(&b'-') || line.starts_with('-'));
        }
        stream.write_all(&then).ok()?;
    }
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Sends a little, and reads the replies unless the crowd does not read. Returns whether the connection is open.
fn is_open(stream: &mut TcpStream, kind: Kind) -> bool {
    let blocked = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
    if kind == Kind::ReadingNothing {
        return true;
    }
    match stream.read(&mut [0; 4096]) {
        Ok(0) => return false,
        Err(error) if !blocked(&error) => return false,
        _ => {}
    }
    stream.write_all(kind.drip()).or_else(|error| if blocked(&error) { Ok(()) } else { Err(error) }).is_ok()
}

/// The times and the refusals of the good clients.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) times: Vec<Duration>,
    pub(crate) refused: Vec<String>,
}

impl Seen {
    /// The time within which that share of the operations was done.
    pub(crate) fn within(&mut self, share: f64) -> Duration {
        self.times.sort_unstable();
        let at = (self.times.len() as f64 * share) as usize;
        self.times.get(at.min(self.times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Lets `many` good clients, each with its own address, deliver, log in and read until `is_over`.
pub(crate) fn good_clients(
    many: usize,
    services: Services,
    users: &[String],
    password: &str,
    is_over: &AtomicBool,
) -> Seen {
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..many)
            .map(|n| {
                let user = &users[n % users.len()];
                scope.spawn(move || {
                    let (mut seen, mut round) = (Seen::default(), 0);
                    while !is_over.load(Ordering::Relaxed) {
                        // Every third round has an address that the server has not seen before.
                        let address =
                            if round % 3 == 2 { good_address(many + n + round) } else { good_address(n) };
                        seen.note("delivery", || deliver(services.smtp, address, user));
                        seen.note("reading", || read(services.pop3, address, user, password));
                        round += 1;
                        thread::sleep(Duration::from_millis(20));
                    }
                    seen
                })
            })
            .collect();
        for client in clients {
            let Seen { times, refused } = client.join().expect("a client does not panic");
            seen.times.extend(times);
            seen.refused.extend(refused);
        }
    });
    seen
}

impl Seen {
    fn note(&mut self, what: &str, operation: impl FnOnce() -> io::Result<()>) {
        let begun = Instant::now();
        match operation() {
            Ok(()) => self.times.push(begun.elapsed()),
            Err(error) => self.refused.push(format!("{what}: {error}")),
        }
    }
}

fn connect(to: SocketAddr, from: Ipv4Addr) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)?;
    stream.write_all(&header(from))?;
    Ok(BufReader::new(stream))
}

fn deliver(to: SocketAddr, from: Ipv4Addr, recipient: &str) -> io::Result<()> {
    let mut smtp = connect(to, from)?;
    expect(&mut smtp, "", "220")?;
    expect(&mut smtp, "EHLO good.test\r\n", "250")?;
    expect(&mut smtp, "MAIL FROM:<ann@good.test>\r\n", "250")?;
    expect(&mut smtp, &format!("RCPT TO:<{recipient}>\r\n"), "250")?;
    expect(&mut smtp, "DATA\r\n", "354")?;
    expect(&mut smtp, "Subject: good\r\n\r\ngood news\r\n.\r\n", "250")?;
    expect(&mut smtp, "QUIT\r\n", "221")
}

fn read(to: SocketAddr, from: Ipv4Addr, user: &str, password: &str) -> io::Result<()> {
    let mut pop3 = connect(to, from)?;
    expect(&mut pop3, "", "+OK")?;
    expect(&mut pop3, &format!("USER {user}\r\n"), "+OK")?;
    expect(&mut pop3, &format!("PASS {password}\r\n"), "+OK")?;
    expect(&mut pop3, "RETR 1\r\n", "+OK")?;
    let mut line = String::new();
    while line != ".\r\n" {
        line.clear();
        if pop3.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    expect(&mut pop3, "DELE 1\r\n", "+OK")?;
    expect(&mut pop3, "QUIT\r\n", "+OK")
}

/// Sends a command, and reads one reply whose last line must begin with `start`.
fn expect(client: &mut BufReader<TcpStream>, command: &str, start: &str) -> io::Result<()> {
    client.get_mut().write_all(command.as_bytes())?;
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("the end after {command:?}")));
        }
        if !line.starts_with(start) {
            return Err(io::Error::other(format!("{:?} to {command:?}", line.trim_end())));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
