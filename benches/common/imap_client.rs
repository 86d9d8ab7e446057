//! The smallest IMAP client that can measure a server: blocking, one command at a time. It reads every response as the
//! grammar tells, literals included, and keeps their number and their octets only.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
};

use super::client;

/// An IMAP session after its login.
pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

/// The untagged responses to a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Responses {
    /// All of them.
    pub(crate) count: u64,
    /// Those to FETCH.
    pub(crate) fetched: u64,
    /// The octets of their literals.
    pub(crate) literals: u64,
    /// The message number of the last EXISTS.
    pub(crate) exists: u64,
    /// The count of the message numbers in SEARCH.
    pub(crate) found: u64,
}

impl Imap {
    /// Logs in with any password.
    pub(crate) fn login(address: SocketAddr, user: &str) -> io::Result<Self> {
        Self::login_with_buffer(address, user, client::READ)
    }

    /// The same for one of thousands of sessions that read short lines only.
    pub(crate) fn login_with_buffer(address: SocketAddr, user: &str, buffer: usize) -> io::Result<Self> {
        Self::login_with_password(address, user, "any-password", buffer)
    }

    /// The same with that password.
    pub(crate) fn login_with_password(
        address: SocketAddr,
        user: &str,
        password: &str,
        buffer: usize,
    ) -> io::Result<Self> {
        let mut imap = Self { stream: client::connect(address, buffer)?, line: Vec::new() };
        imap.next_line()?;
        imap.command(&format!("LOGIN {user} \"{password}\""))?;
        Ok(imap)
    }

    /// Sends a command, and reads its responses up to the tagged one, which has to be OK.
    pub(crate) fn command(&mut self, command: &str) -> io::Result<Responses> {
        self.send(command)?;
        self.until_done(command)
    }

    /// Sends a command.
    pub(crate) fn send(&mut self, command: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("a {command}\r\n").as_bytes())
    }

    /// Reads the responses to a command that was sent.
    pub(crate) fn until_done(&mut self, command: &str) -> io::Result<Responses> {
        let mut responses = Responses::default();
        loop {
            self.next_line()?;
            if self.line.starts_with(b"a ") {
                return if self.line.starts_with(b"a OK") { Ok(responses) } else { Err(self.odd(command)) };
            }
            if self.line.starts_with(b"* ") {
                responses.record(&self.line);
            }
            while let Some(octets) = literal(&self.line) {
                responses.literals += octets;
                client::skip(&mut self.stream, octets, &mut |_| {})?;
                self.next_line()?;
            }
        }
    }

    /// Begins to wait for news.
    pub(crate) fn idle(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(b"a IDLE\r\n")?;
        loop {
            self.next_line()?;
            match self.line.first() {
                Some(b'+') => return Ok(()),
                Some(b'*') => {}
                _ => return Err(self.odd("IDLE")),
            }
        }
    }

    /// Waits until the server tells that so many messages exist.
    pub(crate) fn until_exists(&mut self, messages: u64) -> io::Result<()> {
        loop {
            self.next_line()?;
            let mut responses = Responses::default();
            responses.record(&self.line);
            if responses.exists >= messages {
                return Ok(());
            }
        }
    }

    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        match self.stream.read_until(b'\n', &mut self.line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn odd(&self, command: &str) -> io::Error {
        io::Error::other(format!("{command}: {}", String::from_utf8_lossy(&self.line).trim_end()))
    }
}

impl Responses {
    fn record(&mut self, line: &[u8]) {
        self.count += 1;
        let mut words = line.split(|octet| matches!(octet, b' ' | b'\r' | b'\n'));
        let (first, second) = (words.nth(1).unwrap_or_default(), words.next().unwrap_or_default());
        let number = || std::str::from_utf8(first).ok()?.parse::<u64>().ok();
        match (first, second) {
            (b"SEARCH", b"") => {}
            (b"SEARCH", _) => self.found += 1 + words.filter(|word| !word.is_empty()).count() as u64,
            (_, b"FETCH") => self.fetched += 1,
            (_, b"EXISTS") => self.exists = number().unwrap_or(0),
            _ => {}
        }
    }
}

/// The octets of the literal that a line announces at its end.
fn literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}\r\n")?;
    let digits = &line[line.iter().rposition(|octet| *octet == b'{')? + 1..];
    std::str::from_utf8(digits).ok()?.parse().ok()
}
