//! POP3 in a lesson: lists a mailbox and prints its newest message.
//!
//!     cargo run --example fetch -- 127.0.0.1:1110 you@example.test PASSWORD
//!
//! RFC 1939 is the protocol. Nothing is deleted, and the standard library is enough.

use std::{
    env,
    io::{BufRead, BufReader, Error, Result, Write},
    net::TcpStream,
    time::Duration,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, user, password] = arguments.as_slice() else {
        return Err(Error::other("write: fetch HOST:PORT USER PASSWORD"));
    };
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut session = Session { server: BufReader::new(stream) };

    // The server speaks first. Every reply is +OK or -ERR, and a text for people (section 3).
    session.status()?;
    // AUTHORIZATION: name and password, in clear text unless TLS is around it (section 7).
    session.ask(&format!("USER {user}"))?;
    session.ask(&format!("PASS {password}"))?;
    // TRANSACTION: the mailbox is ours alone, and its numbers are fixed until QUIT (section 5).
    session.ask("STAT")?;
    session.ask("LIST")?;
    // One line for each message: its number, and its size with CRLF line ends (section 5, LIST).
    let list = session.lines()?;
    // The last number is the newest message.
    if let Some(number) = list.last().and_then(|line| line.split(' ').next()) {
        session.ask(&format!("RETR {number}"))?;
        for line in session.lines()? {
            println!("   {line}");
        }
    }
    // UPDATE: now, and only now, a server deletes what DELE has marked (section 6). We marked nothing.
    session.ask("QUIT")
}

struct Session {
    server: BufReader<TcpStream>,
}

impl Session {
    fn ask(&mut self, line: &str) -> Result<()> {
        println!("C: {}", if line.starts_with("PASS ") { "PASS ***" } else { line });
        self.server.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.status()
    }

    fn status(&mut self) -> Result<()> {
        let line = self.line()?;
        println!("S: {line}");
        if line.starts_with("+OK") { Ok(()) } else { Err(Error::other(line)) }
    }

    /// One line, without the CR and LF at its end. A message may be in any character set, not only in UTF-8.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        if self.server.read_until(b'\n', &mut line)? == 0 {
            return Err(Error::other("the server is gone"));
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The lines of a long answer, up to a dot alone. If a line begins with a dot, the server has added one more, and
    /// this removes it (section 3).
    fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            match self.line()?.as_str() {
                "." => return Ok(lines),
                line => lines.push(line.strip_prefix('.').unwrap_or(line).to_owned()),
            }
        }
    }
}
