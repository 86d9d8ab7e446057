//! The client side of SMTP (RFC 5321).
//!
//! The rule: the client uses only announced extensions, and returns every reply to its caller, who decides.

mod reply;

use std::{net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    ClientError, ConnectOptions, Security, WireProtocol,
    connection::{Connection, WireEvent, WireObserver},
};
use crate::proto::{dot::Encoder, request::Secret};
pub use reply::{Enhanced, Reply, ReplyClass};

/// The extensions in the reply to EHLO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extensions {
    /// SIZE (RFC 1870): octets of the longest message; 0 means no fixed limit.
    size: Option<u64>,
    eight_bit: bool,
    utf8: bool,
    starttls: bool,
    /// The mechanisms of AUTH (RFC 4954), in capitals.
    auth: Vec<String>,
}

impl Extensions {
    /// Parses the lines after the first, each a keyword and its parameters.
    fn parse(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '=']);
            match words.next() {
                Some("SIZE") => offers.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SMTPUTF8") => offers.utf8 = true,
                Some("STARTTLS") => offers.starttls = true,
                Some("AUTH") => offers.auth.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        offers
    }
}

/// The client side of an SMTP session.
#[derive(Debug)]
pub struct Smtp {
    connection: Connection,
    extensions: Extensions,
    /// The server's name in its reply to EHLO or HELO; empty if it gave none.
    server_name: String,
}

impl Smtp {
    /// Connects, reads the greeting, sends EHLO (HELO if the server does not know it), and begins TLS if the
    /// route asks for STARTTLS.
    ///
    /// # Errors
    /// The connection or TLS failed; [`ClientError::Refused`] if the server refuses the session.
    pub fn open(
        route: &ConnectOptions,
        helo: Option<&str>,
        watcher: Option<WireObserver>,
    ) -> Result<Self, ClientError> {
        let wire = Connection::connect(WireProtocol::Smtp, route, watcher)?;
        let helo = helo.map_or_else(|| address_literal(wire.local_ip()), str::to_owned);
        let mut smtp =
            Self { connection: wire, extensions: Extensions::default(), server_name: String::new() };
        let greeting = smtp.read_reply()?;
        if !greeting.is_done() {
            return Err(ClientError::Refused(greeting));
        }
        smtp.greet(&helo)?;
        if route.security == Security::StartTls {
            if !smtp.extensions.starttls {
                return Err(ClientError::NoTls(smtp.connection.server));
            }
            let reply = smtp.command("STARTTLS")?;
            if !reply.is_done() {
                return Err(ClientError::Refused(reply));
            }
            smtp.connection = smtp.connection.start_tls(route)?;
            // Extensions announced in clear text are discarded (RFC 3207 section 4.2).
            smtp.greet(&helo)?;
        }
        Ok(smtp)
    }

    fn greet(&mut self, helo: &str) -> Result<(), ClientError> {
        let reply = self.command(&format!("EHLO {helo}"))?;
        self.extensions = Extensions::parse(&reply);
        self.server_name = name_in(&reply);
        if reply.is_done() {
            return Ok(());
        }
        // 500 and 502: the server is older than EHLO (RFC 5321 section 3.2).
        let old = matches!(reply.code, 500 | 502);
        let reply = if old { self.command(&format!("HELO {helo}"))? } else { reply };
        self.extensions = Extensions::default();
        self.server_name = name_in(&reply);
        if reply.is_done() { Ok(()) } else { Err(ClientError::Refused(reply)) }
    }

    /// The name that the server gave itself, which may be any text.
    pub(crate) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// Whether the server would take a message from this address for this address. No message is sent.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn would_take(&mut self, address: &str) -> Result<bool, ClientError> {
        let needs = MessageRequirements { octets: 0, eight_bit: false, utf8: !address.is_ascii() };
        let is_sender = match self.mail(address, &needs) {
            Err(ClientError::MissingExtension(_)) => return Ok(false),
            reply => reply?.is_done(),
        };
        let is_recipient = is_sender && self.recipient(address)?.is_done();
        self.command("RSET")?;
        Ok(is_recipient)
    }

    /// True if the server announces PLAIN or LOGIN.
    pub fn can_log_in(&self) -> bool {
        self.extensions.auth.iter().any(|offered| ["PLAIN", "LOGIN"].contains(&offered.as_str()))
    }

    /// Logs in with AUTH PLAIN, or with LOGIN if only that is announced.
    ///
    /// # Errors
    /// Neither is announced, or the connection broke. A wrong password is a reply, not an error.
    pub fn log_in(&mut self, user: &str, password: &Secret) -> Result<Reply, ClientError> {
        let has = |mechanism: &str| self.extensions.auth.iter().any(|offered| offered == mechanism);
        if has("PLAIN") {
            let message = [b"\0", user.as_bytes(), b"\0", password.reveal()].concat();
            return self.command_masked("AUTH PLAIN ", &STANDARD.encode(message));
        }
        if !has("LOGIN") {
            return Err(ClientError::NoAuthMechanism(self.connection.server.clone()));
        }
        let mut reply = self.command("AUTH LOGIN")?;
        for secret in [user.as_bytes(), password.reveal()] {
            if reply.class() != ReplyClass::Intermediate {
                break;
            }
            reply = self.command_masked("", &STANDARD.encode(secret))?;
        }
        Ok(reply)
    }

    /// Sends MAIL with the parameters that this message needs.
    ///
    /// # Errors
    /// The server does not announce a size or an extension that the message needs, or the connection broke.
    pub fn mail(&mut self, from: &str, needs: &MessageRequirements) -> Result<Reply, ClientError> {
        let mut line = format!("MAIL FROM:<{from}>");
        if let Some(limit) = self.extensions.size {
            if limit != 0 && needs.octets > limit {
                return Err(ClientError::TooBig { octets: needs.octets, limit });
            }
            line += &format!(" SIZE={}", needs.octets);
        }
        for (needed, offered, parameter, extension) in [
            (needs.utf8, self.extensions.utf8, " SMTPUTF8", "SMTPUTF8"),
            (needs.eight_bit, self.extensions.eight_bit, " BODY=8BITMIME", "8BITMIME"),
        ] {
            match (needed, offered) {
                (true, true) => line += parameter,
                (true, false) => return Err(ClientError::MissingExtension(extension)),
                (false, _) => {}
            }
        }
        self.command(&line)
    }

    /// Sends RCPT.
    ///
    /// # Errors
    /// The connection broke.
    pub fn recipient(&mut self, to: &str) -> Result<Reply, ClientError> {
        self.command(&format!("RCPT TO:<{to}>"))
    }

    /// Sends DATA and the message; its line ends may be LF or CRLF.
    ///
    /// # Errors
    /// The connection broke.
    pub fn data(&mut self, message: &[u8]) -> Result<Reply, ClientError> {
        let reply = self.command("DATA")?;
        if reply.class() != ReplyClass::Intermediate {
            return Ok(reply);
        }
        let (mut encoder, mut wire) = (Encoder::whole(), Vec::with_capacity(2 * CHUNK));
        for chunk in message.chunks(CHUNK) {
            encoder.encode(chunk, &mut wire);
            self.connection.send(&wire)?;
            wire.clear();
        }
        let octets = encoder.finish_message(&mut wire);
        self.connection.send(&wire)?;
        self.connection.notify(WireEvent::MessageSent(octets));
        self.connection.notify(WireEvent::ClientLine("."));
        // Twice the time, because the server now makes the message durable (RFC 5321 section 4.5.3.2.6).
        self.connection.timeout *= 2;
        let reply = self.read_reply();
        self.connection.timeout /= 2;
        reply
    }

    /// Sends QUIT and ignores the result, because the work is done.
    pub fn quit(mut self) {
        self.connection.timeout = self.connection.timeout.min(QUIT_TIMEOUT);
        let _ = self.command("QUIT"); // the connection may be closed already
    }

    fn command(&mut self, line: &str) -> Result<Reply, ClientError> {
        self.connection.send_line(line)?;
        self.read_reply()
    }

    fn command_masked(&mut self, command: &str, secret: &str) -> Result<Reply, ClientError> {
        self.connection.send_line_masked(&format!("{command}{secret}"), &format!("{command}***"))?;
        self.read_reply()
    }

    fn read_reply(&mut self) -> Result<Reply, ClientError> {
        let mut lines = Vec::new();
        loop {
            let line = self.connection.read_line()?;
            let coded = line.get(..3).is_some_and(|code| code.iter().all(u8::is_ascii_digit));
            let more = coded && line.get(3) == Some(&b'-');
            lines.push(line);
            if !more || lines.len() > MAX_REPLY_LINES {
                break;
            }
        }
        Reply::parse(&lines).ok_or_else(|| ClientError::ProtocolError(self.connection.server.clone()))
    }
}

/// The extensions and the size that a message needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRequirements {
    /// Size with CRLF line ends, before dot-stuffing (RFC 1870 section 5).
    pub octets: u64,
    /// True if an octet is above 0x7f.
    pub eight_bit: bool,
    /// True if an envelope address or the header has characters beyond ASCII.
    pub utf8: bool,
}

impl MessageRequirements {
    /// Examines a message and its envelope addresses.
    pub fn for_message<'a>(message: &[u8], addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let header =
            memchr::memmem::find(message, b"\n\r\n").or_else(|| memchr::memmem::find(message, b"\n\n"));
        let header = &message[..header.unwrap_or(message.len())];
        Self {
            octets: crate::wire_size::wire_size(message),
            eight_bit: !message.is_ascii(),
            utf8: !header.is_ascii() || addresses.into_iter().any(|address| !address.is_ascii()),
        }
    }
}

/// The first word of a greeting (RFC 5321 section 4.1.1.1).
fn name_in(reply: &Reply) -> String {
    let first = reply.lines.first().and_then(|line| line.split_ascii_whitespace().next());
    first.unwrap_or_default().to_owned()
}

/// The EHLO argument of a host without a DNS name (RFC 5321 section 4.1.4).
fn address_literal(ip: Option<IpAddr>) -> String {
    match ip {
        Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Some(IpAddr::V4(ip)) => format!("[{ip}]"),
        None => "[127.0.0.1]".into(),
    }
}

const CHUNK: usize = 64 * 1024;
/// The largest number of lines in one reply.
const MAX_REPLY_LINES: usize = 1000;
const QUIT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Option<Reply> {
        Reply::parse(&text.lines().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_reply_has_a_class_an_enhanced_code_and_texts() {
        let refused = reply("550-5.1.1 No such user\n550 5.1.1 here").unwrap();
        assert_eq!(refused.class(), ReplyClass::Permanent);
        assert_eq!(refused.enhanced, Some(Enhanced(5, 1, 1)));
        assert_eq!(refused.lines, ["No such user", "here"]);
        assert_eq!(reply("354").unwrap().class(), ReplyClass::Intermediate);
        assert_eq!(reply("250 mx.test at 10.0.0.1").unwrap().enhanced, None);
        for bad in ["", "25", "abc def", "+OK", "999 too much", "199 nothing", "SSH-2.0-x"] {
            assert_eq!(reply(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn offers_are_read_in_any_case_and_in_the_old_form() {
        let offers = Extensions::parse(
            &reply("250-mx.test\n250-size 1000\n250-AUTH PLAIN login\n250-AUTH=CRAM-MD5\n250 SmtpUtf8")
                .unwrap(),
        );
        let auth = ["PLAIN", "LOGIN", "CRAM-MD5"].map(str::to_owned).to_vec();
        assert_eq!(offers, Extensions { size: Some(1000), utf8: true, auth, ..Extensions::default() });
    }

    #[test]
    fn a_message_needs_what_is_in_it() {
        let ascii = b"Subject: a\r\n\r\n\n.";
        assert_eq!(
            MessageRequirements::for_message(ascii, ["a@b"]),
            MessageRequirements { octets: 19, eight_bit: false, utf8: false }
        );
        assert!(MessageRequirements::for_message(ascii, ["é@b"]).utf8);
        let body = MessageRequirements::for_message("Subject: a\n\né".as_bytes(), ["a@b"]);
        assert!(body.eight_bit && !body.utf8);
        assert!(MessageRequirements::for_message("Subject: é\n\n".as_bytes(), ["a@b"]).utf8);
    }

    #[test]
    fn a_host_without_a_name_is_an_address_literal() {
        assert_eq!(address_literal("127.0.0.1".parse().ok()), "[127.0.0.1]");
        assert_eq!(address_literal("::1".parse().ok()), "[IPv6:::1]");
    }
}
