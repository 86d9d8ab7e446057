//! The client side of POP3 (RFC 1939).
//!
//! The rule: a message without its final dot is discarded, and deletions only count after the reply to QUIT.

mod err_reply;

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    ClientError, ConnectOptions, Security, WireProtocol,
    connection::{Connection, WireEvent, WireObserver},
    reply_help::remark_in,
};
use crate::proto::{
    dot::{Decoder, LineEndings},
    request::Secret,
};
pub use err_reply::ErrReply;

/// The capabilities in the reply to CAPA (RFC 2449).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Capabilities {
    stls: bool,
    user: bool,
    plain: bool,
    lang: bool,
    implementation: Option<String>,
}

impl Capabilities {
    fn parse(lines: &[String]) -> Self {
        let mut found = Self::default();
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("STLS") => found.stls = true,
                Some("USER") => found.user = true,
                Some("LANG") => found.lang = true,
                Some("SASL") => found.plain = words.any(|word| word.eq_ignore_ascii_case("PLAIN")),
                Some("IMPLEMENTATION") => found.implementation = words.next().map(str::to_owned),
                _ => {}
            }
        }
        found
    }
}

/// A message as LIST shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry {
    /// Message number, valid in this session.
    pub number: u32,
    /// Size in octets on the wire.
    pub octets: u64,
}

/// The client side of a POP3 session.
#[derive(Debug)]
pub struct Pop3 {
    connection: Connection,
    capabilities: Capabilities,
    remark: Option<String>,
}

impl Pop3 {
    /// Connects, reads the greeting, and begins TLS if the route asks for STLS.
    ///
    /// # Errors
    /// The connection or TLS failed; [`ClientError::Denied`] if the server refuses the session.
    pub fn open(route: &ConnectOptions, watcher: Option<WireObserver>) -> Result<Self, ClientError> {
        let wire = Connection::connect(WireProtocol::Pop3, route, watcher)?;
        let mut pop3 = Self { connection: wire, capabilities: Capabilities::default(), remark: None };
        pop3.read_status()?;
        pop3.fetch_capabilities()?;
        if route.security == Security::StartTls {
            if !pop3.capabilities.stls {
                return Err(ClientError::NoTls(pop3.connection.server));
            }
            pop3.command("STLS")?;
            pop3.connection = pop3.connection.start_tls(route)?;
            // Capabilities announced in clear text are discarded (RFC 2595 section 4).
            pop3.fetch_capabilities()?;
        }
        Ok(pop3)
    }

    /// Asks for replies in that language if the server announces LANG (RFC 6856 section 3).
    ///
    /// # Errors
    /// The connection broke.
    pub fn set_language(&mut self, tag: &str) -> Result<(), ClientError> {
        if !self.capabilities.lang {
            return Ok(());
        }
        match self.command(&format!("LANG {tag}")) {
            Err(ClientError::Denied(_)) => Ok(()), // the server keeps its own language
            done => done.map(|_| ()),
        }
    }

    /// Logs in with USER and PASS, or with AUTH PLAIN if the server does not announce USER.
    ///
    /// # Errors
    /// [`ClientError::Denied`] if the server refuses the login.
    pub fn log_in(&mut self, user: &str, password: &Secret) -> Result<(), ClientError> {
        if self.capabilities.plain && !self.capabilities.user {
            let message = [b"\0", user.as_bytes(), b"\0", password.reveal()].concat();
            self.connection.send_line("AUTH PLAIN")?;
            let line = String::from_utf8_lossy(&self.connection.read_line()?).into_owned();
            if !line.starts_with('+') || line.starts_with("+OK") {
                return self.parse_status(&line).map(|_| ());
            }
            self.connection.send_line_masked(&STANDARD.encode(message), "***")?;
        } else {
            self.command(&format!("USER {user}"))?;
            let password = String::from_utf8_lossy(password.reveal());
            self.connection.send_line_masked(&format!("PASS {password}"), "PASS ***")?;
        }
        self.remark = remark_in(&self.read_status()?).map(str::to_owned);
        // Some capabilities are announced only after the login (RFC 2449 section 6.9).
        self.fetch_capabilities()
    }

    /// The remark of the server about a fault in the login name, once.
    pub(crate) fn take_remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    /// The server's program name, from IMPLEMENTATION in CAPA.
    pub fn implementation(&self) -> Option<&str> {
        self.capabilities.implementation.as_deref()
    }

    fn fetch_capabilities(&mut self) -> Result<(), ClientError> {
        self.capabilities = match self.multiline_command("CAPA") {
            Ok(lines) => Capabilities::parse(&lines),
            Err(ClientError::Denied(_)) => Capabilities { user: true, ..Capabilities::default() }, // RFC 1939 only
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// LIST: every message not marked as deleted.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn list(&mut self) -> Result<Vec<ListEntry>, ClientError> {
        self.numbered("LIST", |text| text.parse().ok())
            .map(|lines| lines.into_iter().map(|(number, octets)| ListEntry { number, octets }).collect())
    }

    /// UIDL: number and unique id of every message. Empty if the server lacks the command.
    ///
    /// # Errors
    /// The connection broke.
    pub fn unique_ids(&mut self) -> Result<Vec<(u32, String)>, ClientError> {
        match self.numbered("UIDL", |text| Some(text.to_owned())) {
            Err(ClientError::Denied(_)) => Ok(Vec::new()),
            done => done,
        }
    }

    fn numbered<T>(
        &mut self,
        command: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<(u32, T)>, ClientError> {
        let lines = self.multiline_command(command)?;
        let parsed = lines.iter().map(|line| {
            let mut words = line.split_ascii_whitespace();
            Some((words.next()?.parse().ok()?, parse(words.next()?)?))
        });
        parsed
            .collect::<Option<_>>()
            .ok_or_else(|| ClientError::ProtocolError(self.connection.server.clone()))
    }

    /// TOP: the header and that many lines of the body. `None` if the server refuses the command.
    ///
    /// # Errors
    /// The connection broke.
    pub fn top(&mut self, number: u32, lines: u32) -> Result<Option<Vec<u8>>, ClientError> {
        match self.multiline_octets(&format!("TOP {number} {lines}"), MAX_HEADER) {
            Err(ClientError::Denied(_)) => Ok(None),
            done => done.map(Some),
        }
    }

    /// RETR: a whole message, with LF line ends.
    ///
    /// # Errors
    /// The server refused, or the connection broke before the final dot.
    pub fn retrieve(&mut self, number: u32) -> Result<Vec<u8>, ClientError> {
        self.multiline_octets(&format!("RETR {number}"), MAX_MESSAGE)
    }

    /// DELE: marks a message as deleted.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn delete(&mut self, number: u32) -> Result<(), ClientError> {
        self.command(&format!("DELE {number}")).map(|_| ())
    }

    /// RSET: removes all marks.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn reset(&mut self) -> Result<(), ClientError> {
        self.command("RSET").map(|_| ())
    }

    /// QUIT: deletes the marked messages.
    ///
    /// # Errors
    /// The server deleted only some of them, or the connection broke and their fate is unknown.
    pub fn quit(mut self) -> Result<(), ClientError> {
        self.command("QUIT").map(|_| ())
    }

    fn command(&mut self, line: &str) -> Result<String, ClientError> {
        self.connection.send_line(line)?;
        self.read_status()
    }

    /// Returns the text after `+OK`.
    fn read_status(&mut self) -> Result<String, ClientError> {
        let line = String::from_utf8_lossy(&self.connection.read_line()?).into_owned();
        self.parse_status(&line)
    }

    fn parse_status(&self, line: &str) -> Result<String, ClientError> {
        let rest = |status: &str| {
            line.strip_prefix(status).filter(|rest| rest.is_empty() || rest.starts_with(' ')).map(str::trim)
        };
        match (rest("+OK"), rest("-ERR")) {
            (Some(text), _) => Ok(text.to_owned()),
            (_, Some(text)) => Err(ClientError::Denied(ErrReply::parse(text))),
            _ => Err(ClientError::ProtocolError(self.connection.server.clone())),
        }
    }

    fn multiline_command(&mut self, command: &str) -> Result<Vec<String>, ClientError> {
        let octets = self.multiline_octets(command, MAX_LIST)?;
        Ok(String::from_utf8_lossy(&octets).lines().map(str::to_owned).collect())
    }

    /// Returns the lines between `+OK` and the lone dot, without dot-stuffing, with LF line ends.
    fn multiline_octets(&mut self, command: &str, limit: usize) -> Result<Vec<u8>, ClientError> {
        self.command(command)?;
        // Only CRLF.CRLF is the end: bare line ends inside a message are its own (RFC 1939 section 3).
        let (mut decoder, mut octets) = (Decoder::new(LineEndings::Strict), Vec::new());
        while !decoder.ended() {
            let until = Instant::now() + self.connection.timeout;
            let taken = decoder.decode(self.connection.fill(until)?, &mut octets);
            self.connection.consume(taken);
            if octets.len() > limit {
                return Err(ClientError::TooBig { octets: octets.len() as u64, limit: limit as u64 });
            }
        }
        self.connection.notify(WireEvent::DataReceived(octets.len() as u64));
        Ok(octets)
    }

    /// Sends QUIT in a session without marks, and ignores the result.
    pub fn quit_quietly(mut self) {
        self.connection.timeout = self.connection.timeout.min(QUIT_TIMEOUT);
        let _ = self.quit(); // there was nothing to delete
    }
}

/// Octets of the longest message held in memory.
const MAX_MESSAGE: usize = 256 << 20;
/// Octets of the longest header.
const MAX_HEADER: usize = 4 << 20;
/// Octets of the longest LIST, UIDL or CAPA.
const MAX_LIST: usize = 64 << 20;
const QUIT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_has_a_code_in_brackets_or_none() {
        let denial =
            |code: Option<&str>, text: &str| ErrReply { code: code.map(str::to_owned), text: text.into() };
        assert_eq!(ErrReply::parse("[in-use] Try later"), denial(Some("IN-USE"), "Try later"));
        assert_eq!(ErrReply::parse("no"), denial(None, "no"));
        assert_eq!(ErrReply::parse("[half"), denial(None, "[half"));
    }

    #[test]
    fn capabilities_are_read_in_any_case() {
        let lines = ["user", "Sasl CRAM-MD5 plain", "STLS", "IMPLEMENTATION restante", ""].map(str::to_owned);
        let found = Capabilities::parse(&lines);
        assert!(found.user && found.plain && found.stls && !found.lang);
        assert_eq!(found.implementation.as_deref(), Some("restante"));
    }
}
