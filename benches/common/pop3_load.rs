//! RETR after RETR, each after the last one is there, over and over, by one session or several.

use std::{
    fs,
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    client::{self, Pop3},
    maildir, message,
    plain_server::LENGTH,
};

/// The same messages in each of the mailboxes `<name>0@example.test` and so on.
pub(crate) struct Maildrop {
    pub(crate) name: &'static str,
    pub(crate) messages: usize,
    pub(crate) size: usize,
}

impl Maildrop {
    pub(crate) fn user(&self, session: usize) -> String {
        format!("{}{session}@example.test", self.name)
    }

    pub(crate) fn file(number: usize) -> String {
        format!("{number}.bench.example.test")
    }

    /// Makes the mailboxes of so many sessions.
    pub(crate) fn fill(&self, maildirs: &Path, sessions: usize) -> io::Result<()> {
        let text = message(self.size, "\n");
        for session in 0..sessions {
            let mailbox = maildirs.join(self.user(session));
            maildir(&mailbox)?;
            for number in 1..=self.messages {
                fs::write(mailbox.join("new").join(Self::file(number)), &text)?;
            }
        }
        Ok(())
    }
}

/// The work of the clients.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) from: Source,
    /// An index into [`MAILDROPS`].
    pub(crate) maildrop: usize,
    pub(crate) sessions: usize,
    pub(crate) seconds: f64,
}

/// The server that they fetch from.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Source {
    Pop3(SocketAddr),
    Plain(SocketAddr),
}

/// The messages that they got, and their octets on the wire without dots and status lines.
#[derive(Serialize, Deserialize)]
pub(crate) struct Fetched {
    pub(crate) messages: u64,
    pub(crate) octets: u64,
    pub(crate) seconds: f64,
}

impl Fetched {
    pub(crate) fn megabytes(&self) -> f64 {
        self.octets as f64 / 1e6
    }

    pub(crate) fn rate(&self) -> f64 {
        self.megabytes() / self.seconds
    }
}

/// The clients, a thread for each; their time begins when all are logged in.
pub(crate) fn load(job: &Job) -> io::Result<()> {
    let maildrop = &MAILDROPS[job.maildrop];
    let (ready, go) = (Barrier::new(job.sessions + 1), Barrier::new(job.sessions + 1));
    thread::scope(|scope| {
        let session = |number: usize| -> io::Result<(u64, u64)> {
            let client = Client::start(job.from, maildrop, number);
            ready.wait();
            go.wait();
            let (mut client, start, time) = (client?, Instant::now(), Duration::from_secs_f64(job.seconds));
            let (mut messages, mut octets) = (0, 0);
            for message in (1..=maildrop.messages).cycle() {
                octets += client.fetch(message)?;
                messages += 1;
                if start.elapsed() >= time {
                    break;
                }
            }
            Ok((messages, octets))
        };
        let sessions: Vec<_> = (0..job.sessions).map(|number| scope.spawn(move || session(number))).collect();
        ready.wait();
        super::ready();
        let start = Instant::now();
        go.wait();
        let mut fetched = Fetched { messages: 0, octets: 0, seconds: 0.0 };
        for session in sessions {
            let (messages, octets) = session.join().expect("a thread that does not panic")?;
            fetched.messages += messages;
            fetched.octets += octets;
        }
        fetched.seconds = start.elapsed().as_secs_f64();
        super::report(&fetched)
    })
}

/// One session with either server.
enum Client {
    Pop3(Pop3),
    Plain(BufReader<TcpStream>),
}

impl Client {
    fn start(from: Source, maildrop: &Maildrop, session: usize) -> io::Result<Self> {
        let user = maildrop.user(session);
        match from {
            Source::Pop3(address) => {
                let mut pop3 = Pop3::login(address, &user, "any password")?;
                let found = pop3.command("STAT")?.to_owned();
                let expected = maildrop.messages.to_string();
                match found.split(' ').next() == Some(&expected) {
                    true => Ok(Self::Pop3(pop3)),
                    false => Err(io::Error::other(format!("{user} has {found}, not {expected} messages"))),
                }
            }
            Source::Plain(address) => {
                let mut stream = client::connect(address, client::READ)?;
                stream.get_mut().write_all(format!("{user}\n").as_bytes())?;
                Ok(Self::Plain(stream))
            }
        }
    }

    /// Fetches one message and returns its octets.
    fn fetch(&mut self, message: usize) -> io::Result<u64> {
        match self {
            Self::Pop3(pop3) => pop3.retrieve(message, |_| {}),
            Self::Plain(stream) => {
                stream.get_mut().write_all(format!("{message}\n").as_bytes())?;
                let mut octets = [0; LENGTH];
                stream.read_exact(&mut octets)?;
                let octets = u64::from_be_bytes(octets);
                client::skip(stream, octets, &mut |_| {})?;
                Ok(octets)
            }
        }
    }
}

pub(crate) const SMALL: usize = 0;
pub(crate) const LARGE: usize = 1;
pub(crate) const MAILDROPS: [Maildrop; 2] = [
    Maildrop { name: "small", messages: 2000, size: 4 * 1024 },
    Maildrop { name: "large", messages: 20, size: 5 * 1024 * 1024 },
];
