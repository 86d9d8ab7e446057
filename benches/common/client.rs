//! The smallest SMTP and POP3 clients that can measure a server: blocking, one message at a time, with as
//! few writes and reads as the protocols allow, so that two processors go to the server and not to us.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// The protocol that a server takes mail in by.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Protocol {
    Smtp,
    Lmtp,
}

/// A session of SMTP after EHLO, or of LMTP after LHLO.
pub(crate) struct Smtp {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Smtp {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_for(address, Protocol::Smtp)
    }

    pub(crate) fn connect_for(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        // Replies are short; ten thousand sessions should not fill our own memory.
        let mut smtp = Self { stream: connect(address, 1024)?, line: String::new() };
        smtp.expect(220)?;
        let hello = match protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        smtp.send(format!("{hello} client.example.test\r\n").as_bytes())?;
        smtp.expect(250)?;
        Ok(smtp)
    }

    /// Sends one message; `body` has CRLF line ends, no line that begins with a dot, and ends with the
    /// final dot (RFC 2920 lets MAIL, RCPT and DATA share a write). Returns whether it was accepted; a
    /// session that the server wants to end is an error.
    pub(crate) fn deliver(&mut self, recipient: &str, body: &[u8]) -> io::Result<bool> {
        if !self.begin(recipient)? {
            return Ok(false);
        }
        self.send(body)?;
        Ok(self.reply()? == 250)
    }

    /// The envelope and DATA. When this returns `true` the server waits for the message.
    pub(crate) fn begin(&mut self, recipient: &str) -> io::Result<bool> {
        self.send(format!("MAIL FROM:<a@example.test>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").as_bytes())?;
        let replies = (self.reply()?, self.reply()?, self.reply()?);
        match replies {
            (250, 250, 354) => Ok(true),
            (_, _, 354) => Err(io::Error::other(format!("go ahead after {replies:?}"))),
            _ => {
                self.send(b"RSET\r\n")?;
                self.expect(250)?;
                Ok(false)
            }
        }
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }

    pub(crate) fn expect(&mut self, code: u16) -> io::Result<()> {
        if self.reply()? == code { Ok(()) } else { Err(io::Error::other(self.line.trim_end())) }
    }

    /// The code of the next reply, however many lines it has; 421 and the end of the stream are errors.
    fn reply(&mut self) -> io::Result<u16> {
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            return match self.line.get(..3).and_then(|code| code.parse().ok()) {
                Some(421) | None => Err(io::Error::other(self.line.trim_end())),
                Some(code) => Ok(code),
            };
        }
    }
}

/// A POP3 session after login.
pub(crate) struct Pop3 {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Pop3 {
    pub(crate) fn login(address: SocketAddr, user: &str, password: &str) -> io::Result<Self> {
        let mut pop3 = Self { stream: connect(address, READ)?, line: String::new() };
        pop3.ok()?;
        pop3.command(&format!("USER {user}"))?;
        pop3.command(&format!("PASS {password}"))?;
        Ok(pop3)
    }

    /// Sends a command and returns the rest of the `+OK` line.
    pub(crate) fn command(&mut self, command: &str) -> io::Result<&str> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.ok()
    }

    /// Fetches a message of which no line begins with a dot, and returns its octets; `pace` is called with
    /// the octets of each read, and may take its time.
    pub(crate) fn retrieve(&mut self, number: usize, mut pace: impl FnMut(usize)) -> io::Result<u64> {
        let announced = self.command(&format!("RETR {number}"))?;
        let octets = announced.split_whitespace().next().and_then(|word| word.parse().ok());
        let octets: u64 = octets.ok_or_else(|| io::Error::other(format!("no size: {}", self.line)))?;
        skip(&mut self.stream, octets, &mut pace)?;
        self.next_line()?;
        if self.line == ".\r\n" {
            Ok(octets)
        } else {
            Err(io::Error::other(format!("{:?} where the dot should be", self.line)))
        }
    }

    fn ok(&mut self) -> io::Result<&str> {
        self.next_line()?;
        let error = || io::Error::other(self.line.trim_end());
        self.line.strip_prefix("+OK").map(str::trim).ok_or_else(error)
    }

    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        match self.stream.read_line(&mut self.line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The first number of a reply.
pub(crate) fn number(reply: &str) -> io::Result<usize> {
    let word = reply.split_whitespace().next().unwrap_or_default();
    word.parse().map_err(|_| io::Error::other(format!("no number in {reply:?}")))
}

/// Reads so many octets and forgets them.
pub(crate) fn skip(
    stream: &mut BufReader<TcpStream>,
    octets: u64,
    pace: &mut impl FnMut(usize),
) -> io::Result<()> {
    let mut left = octets;
    while left > 0 {
        let there = stream.fill_buf()?.len();
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = there.min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.consume(taken);
        left -= taken as u64;
        pace(taken);
    }
    Ok(())
}

/// Connects, with a buffer for what will be read.
pub(crate) fn connect(address: SocketAddr, buffer: usize) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::with_capacity(buffer, stream))
}

/// Octets that a fetching client reads from a socket at a time.
pub(crate) const READ: usize = 256 * 1024;
