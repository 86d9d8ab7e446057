//! SMTP in a lesson: sends one message, from the greeting to QUIT.
//!
//!     cargo run --example send -- 127.0.0.1:2525 me@example.test you@example.test < text
//!
//! RFC 5321 is the protocol, RFC 5322 the message. The standard library is enough for both.

use std::{
    env,
    io::{self, BufRead, BufReader, Error, Read, Result, Write},
    net::TcpStream,
    time::Duration,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, from, to] = arguments.as_slice() else {
        return Err(Error::other("write: send HOST:PORT FROM TO < text"));
    };
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;

    let stream = TcpStream::connect(server)?;
    // A server may be slow, but not for ever (RFC 5321 section 4.5.3.2).
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    let mut session = Session { server: BufReader::new(stream) };

    // The server speaks first: 220 and its name (section 3.1).
    session.expect("220")?;
    // We give our name; the server lists its extensions (section 4.1.1.1). Without a name of our
    // own we are an address in brackets (section 4.1.3).
    session.ask("EHLO [127.0.0.1]", "250")?;
    // The envelope: one sender, and a RCPT for each recipient (sections 4.1.1.2 and 4.1.1.3). It need not agree
    // with the header below, as a letter need not agree with its envelope: that is how Bcc works.
    session.ask(&format!("MAIL FROM:<{from}>"), "250")?;
    session.ask(&format!("RCPT TO:<{to}>"), "250")?;
    // 354 is neither yes nor no: go on (section 4.2.1). From here on every line is part of the message.
    session.ask("DATA", "354")?;
    // A header, an empty line, a body (RFC 5322 section 2.1).
    session.line(&format!("From: <{from}>"))?;
    session.line(&format!("To: <{to}>"))?;
    session.line("Subject: a lesson in SMTP")?;
    session.line("")?;
    for line in text.lines() {
        // A dot alone would end the message, so a line that begins with a dot gets one more. The server
        // removes it again (RFC 5321 section 4.5.2).
        let dot = if line.starts_with('.') { "." } else { "" };
        session.line(&format!("{dot}{line}"))?;
    }
    // The end: a dot alone. After its 250 the server is responsible for the message (section 6.1); before that
    // we are, and would have to try again.
    session.ask(".", "250")?;
    session.ask("QUIT", "221")
}

struct Session {
    server: BufReader<TcpStream>,
}

impl Session {
    /// Lines end with CR and LF, and with nothing else (section 2.3.8).
    fn line(&mut self, line: &str) -> Result<()> {
        self.server.get_mut().write_all(format!("{line}\r\n").as_bytes())
    }

    fn ask(&mut self, line: &str, code: &str) -> Result<()> {
        println!("C: {line}");
        self.line(line)?;
        self.expect(code)
    }

    /// A reply is three digits and a text. After a hyphen instead of a blank, another line follows (section 4.2).
    fn expect(&mut self, code: &str) -> Result<()> {
        loop {
            let mut line = String::new();
            self.server.read_line(&mut line)?;
            println!("S: {}", line.trim_end());
            if !line.starts_with(code) {
                return Err(Error::other(format!("expected {code}, and the server said {line:?}")));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}
