//! A client whose server may vanish at any moment: everything is a `Result`, nothing panics.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::common::PATIENCE;

pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// One line without its end.
    pub(crate) fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    /// Octets that a line has announced.
    pub(crate) fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; count];
        self.stream.read_exact(&mut octets)?;
        Ok(octets)
    }

    /// One SMTP reply: its code and its last line.
    pub(crate) fn reply(&mut self) -> io::Result<(u16, String)> {
        loop {
            let line = String::from_utf8_lossy(&self.line()?).into_owned();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.ok_or_else(|| io::Error::other(format!("no reply: {line}")))?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, line));
            }
        }
    }

    pub(crate) fn expect(&mut self, wanted: u16) -> io::Result<()> {
        let (code, line) = self.reply()?;
        if code == wanted { Ok(()) } else { Err(io::Error::other(line)) }
    }

    /// One POP3 command; what follows `+OK`. `-ERR` is an error of kind `Other`.
    pub(crate) fn command(&mut self, command: &str) -> io::Result<String> {
        self.write(format!("{command}\r\n").as_bytes())?;
        self.ok()
    }

    pub(crate) fn ok(&mut self) -> io::Result<String> {
        let line = String::from_utf8_lossy(&self.line()?).into_owned();
        let rest = line.strip_prefix("+OK").map(|rest| rest.trim_start().to_owned());
        rest.ok_or_else(|| io::Error::other(line))
    }

    /// Connects and logs in; with any password, since everybody may.
    pub(crate) fn login(address: SocketAddr, user: &str) -> io::Result<Self> {
        let mut wire = Self::connect(address)?;
        wire.ok()?;
        wire.command(&format!("USER {user}"))?;
        wire.command("PASS sesame")?;
        Ok(wire)
    }

    /// The lines of a POP3 answer up to the final dot, without the stuffing.
    pub(crate) fn text(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let line = self.line()?;
            match &line[..] {
                b"." => return Ok(text),
                [b'.', rest @ ..] => text.extend_from_slice(rest),
                line => text.extend_from_slice(line),
            }
            text.extend_from_slice(b"\r\n");
        }
    }

    /// A message, and the octets announced for it.
    pub(crate) fn retrieve(&mut self, number: usize) -> io::Result<(String, Vec<u8>)> {
        let announced = self.command(&format!("RETR {number}"))?;
        Ok((announced, self.text()?))
    }

    /// The second words of LIST or UIDL.
    pub(crate) fn listing(&mut self, command: &str) -> io::Result<Vec<String>> {
        self.command(command)?;
        let text = String::from_utf8_lossy(&self.text()?).into_owned();
        Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(_, word)| word.to_owned()).collect())
    }
}
