//! Clients that speak in lines, and the forms of a message on its way.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::{PASSWORD, PATIENCE, Server, eventually};

/// A client of either protocol, which speaks in lines and gives up after half a minute.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

/// The stream of a client: a socket, or TLS.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Client {
    /// Connects, and reads nothing yet.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(socket(address))
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    /// Connects and says EHLO.
    pub(crate) fn smtp(server: &Server) -> Self {
        Self::smtp_at(server.smtp())
    }

    pub(crate) fn smtp_at(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.expect("220");
        client.ask("EHLO client.test", "250");
        client
    }

    /// Connects and logs in.
    pub(crate) fn pop3(server: &Server, user: &str) -> Self {
        let mut client = Self::connect(server.pop3());
        client.expect("+OK");
        client.ask(&format!("USER {user}"), "+OK");
        client.ask(&format!("PASS {PASSWORD}"), "+OK");
        client
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends to a server that may have ended.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes); // then there is no reply
    }

    pub(crate) fn send(&mut self, line: &str) -> &mut Self {
        self.write(format!("{line}\r\n").as_bytes());
        self
    }

    /// Reads one line with its end, or nothing if the server closed the connection.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("no line from the server: {e}"),
            _ => line,
        }
    }

    /// Reads one reply: a line of POP3, or all lines of an SMTP reply.
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let line = String::from_utf8(self.line()).unwrap();
            reply.push_str(&line);
            if !line.starts_with(|c: char| c.is_ascii_digit()) || line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Reads one reply, which must begin with `start`.
    #[track_caller]
    pub(crate) fn expect(&mut self, start: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(start), "expected {start:?}, got {reply:?}");
        reply
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, start: &str) -> String {
        self.send(line).expect(start)
    }

    /// Reads everything until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("still connected: {e}"),
            _ => rest,
        }
    }

    /// Sends an envelope and DATA, and reads the go-ahead for the message.
    #[track_caller]
    pub(crate) fn begin_data(&mut self, from: &str, to: &[&str]) {
        self.ask(&format!("MAIL FROM:<{from}>"), "250");
        for user in to {
            self.ask(&format!("RCPT TO:<{user}>"), "250");
        }
        self.ask("DATA", "354");
    }

    /// Sends a message with its envelope, and returns the reply to the final dot.
    #[track_caller]
    pub(crate) fn deliver(&mut self, to: &[&str], message: &[u8]) -> String {
        self.begin_data("sender@far.test", to);
        self.write(&stuffed(message));
        self.reply()
    }

    /// Reads the lines of a POP3 response up to the final dot, without the stuffing.
    pub(crate) fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        loop {
            let line = self.line();
            match &line[..] {
                b".\r\n" => return text,
                [b'.', rest @ ..] => text.extend_from_slice(rest),
                _ if line.ends_with(b"\r\n") => text.extend_from_slice(&line),
                _ => panic!("not a line: {:?}", String::from_utf8_lossy(&line)),
            }
        }
    }

    /// Reads a message, which must be as long as the server announces.
    pub(crate) fn retr(&mut self, number: usize) -> Vec<u8> {
        let reply = self.ask(&format!("RETR {number}"), "+OK ");
        let text = self.text();
        assert_eq!(reply, format!("+OK {} octets\r\n", text.len()));
        text
    }

    /// The second words of the lines of LIST or UIDL, in order.
    pub(crate) fn listing(&mut self, command: &str) -> Vec<String> {
        self.ask(command, "+OK");
        let text = String::from_utf8(self.text()).unwrap();
        let second = |(i, line): (usize, &str)| {
            let (number, value) = line.split_once(' ').unwrap();
            assert_eq!(number, (i + 1).to_string());
            value.to_owned()
        };
        text.lines().enumerate().map(second).collect()
    }
}

/// Logs in until the session has so many messages, because the server may notice the change of another program
/// later.
#[track_caller]
pub(crate) fn session_with(server: &Server, user: &str, messages: usize) -> Client {
    eventually("the login sees the change", || {
        let mut client = Client::pop3(server, user);
        let stat = client.send("STAT").expect("+OK");
        stat.starts_with(&format!("+OK {messages} ")).then_some(client)
    })
}

/// A socket that gives up after half a minute.
pub(crate) fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Delivers a message on a new connection.
#[track_caller]
pub(crate) fn deliver(server: &Server, to: &str, message: &[u8]) {
    let reply = Client::smtp(server).deliver(&[to], message);
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
}

/// A message in the form after DATA: lines that begin with a dot get one more, and a dot ends it.
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + message.len() / 32);
    for line in message.split_inclusive(|&b| b == b'\n') {
        wire.extend(line.starts_with(b".").then_some(b'.'));
        wire.extend_from_slice(line);
    }
    assert!(wire.is_empty() || wire.ends_with(b"\r\n"), "the last line has an end");
    wire.extend_from_slice(b".\r\n");
    wire
}

/// A message in the form of BDAT: in chunks of those sizes, over and over.
pub(crate) fn chunked(message: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut wire, mut rest) = (Vec::new(), message);
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        let last = if after.is_empty() { " LAST" } else { "" };
        wire.extend(format!("BDAT {}{last}\r\n", chunk.len()).into_bytes());
        wire.extend_from_slice(chunk);
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    wire
}

/// A stored message without the header lines that the server put on top.
#[track_caller]
pub(crate) fn without_trace(stored: &[u8]) -> &[u8] {
    let mut rest = stored;
    let ours = |line: &[u8]| {
        [&b"Return-Path:"[..], b"Delivered-To:", b"Received:", b"\t", b" "]
            .iter()
            .any(|name| line.starts_with(name))
    };
    assert!(
        rest.starts_with(b"Return-Path: "),
        "{:?}",
        String::from_utf8_lossy(&rest[..rest.len().min(200)])
    );
    while let Some(end) = rest.iter().position(|&b| b == b'\n').filter(|&end| ours(&rest[..end])) {
        rest = &rest[end + 1..];
    }
    rest
}

/// The same text with LF line ends, as the server stores it.
pub(crate) fn with_lf(message: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|&b| b == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => file.extend_from_slice(&[text, b"\n"].concat()),
            None => file.extend_from_slice(line),
        }
    }
    file
}

/// A file in the form of POP3: every line ends in CRLF, the last one too.
pub(crate) fn with_crlf(file: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(file.len() + file.len() / 32);
    for line in file.split_inclusive(|&b| b == b'\n') {
        let text = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
        wire.extend_from_slice(text);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

/// The JSON that the web API answers.
pub(crate) fn get_json(server: &Server, path: &str) -> serde_json::Value {
    let mut http = Client::connect(server.addresses("http")[0]);
    http.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes());
    let answer = String::from_utf8(http.rest()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    serde_json::from_str(body).unwrap()
}
