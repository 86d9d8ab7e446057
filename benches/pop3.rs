//! How fast mail is fetched.
//!
//! Measured: RETR after RETR, each asked for when the last one is there, of 2,000 messages of 4 KiB and of
//! 20 of 5 MiB, over and over, with one session and with eight (each in a mailbox of its own, since POP3
//! locks it). Beside it, in the same run, what the machine does for the same bytes without a mail server:
//! a thread for each connection that opens the file asked for, reads it and writes it to the socket as it
//! is. It counts nothing, converts no line ends and keeps no promises.
//!
//! `cargo bench --bench pop3 [-- --quick]`, with `BENCH_SECONDS` (5) for each measurement. The files are in
//! memory, since the server has counted them all: this measures us, not the disk. The clients are a process
//! of their own.

mod common;

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use common::{
    Loader, Scratch, Server, Settings,
    client::{self, Pop3},
    maildir, message, process, spool,
    table::{Table, size as in_words},
};

fn main() -> io::Result<()> {
    if let Some(job) = common::job() {
        return load(&job);
    }
    let settings = Settings::load();
    let mut scratch = Scratch::new()?;
    println!("pop3: {}, {} s for each measurement", scratch.describe(), settings.seconds);
    let dir = scratch.fresh()?;
    for maildrop in &MAILDROPS {
        maildrop.fill(&spool(&dir))?;
    }
    let server = Server::dev(&dir)?;
    let plain = serve_plainly(spool(&dir))?;
    let mut table = Table::new(&[
        "messages",
        "sessions",
        "MB/s",
        "messages/s",
        "server CPU ms/MB",
        "files to sockets, MB/s",
        "ratio",
    ]);
    for (number, maildrop) in MAILDROPS.iter().enumerate() {
        for sessions in SESSIONS {
            process::warn_if_busy()?;
            let job = |from| Job { from, maildrop: number, sessions, seconds: settings.seconds };
            let loader = Loader::start(&job(Source::Restante(server.pop3)))?;
            let used = process::cpu(server.pid())?;
            let ours: Fetched = loader.run()?;
            let used = process::cpu(server.pid())? - used;
            let limit: Fetched = Loader::start(&job(Source::Plain(plain)))?.run()?;
            table.row(vec![
                format!("{} x {}", maildrop.messages, in_words(maildrop.size as u64)),
                sessions.to_string(),
                format!("{:.0}", ours.rate()),
                format!("{:.0}", ours.messages as f64 / ours.seconds),
                format!("{:.3}", used.as_secs_f64() * 1e3 / ours.megabytes()),
                format!("{:.0}", limit.rate()),
                format!("{:.2}", ours.rate() / limit.rate()),
            ]);
        }
    }
    table.print();
    Ok(())
}

/// The same messages in each of the mailboxes `<name>0@example.test` and so on.
struct Maildrop {
    name: &'static str,
    messages: usize,
    size: usize,
}

impl Maildrop {
    fn user(&self, session: usize) -> String {
        format!("{}{session}@example.test", self.name)
    }

    fn file(number: usize) -> String {
        format!("{number}.bench.example.test")
    }

    fn fill(&self, spool: &Path) -> io::Result<()> {
        let text = message(self.size, "\n");
        for session in 0..SESSIONS.into_iter().max().unwrap_or(0) {
            let mailbox = spool.join(self.user(session));
            maildir(&mailbox)?;
            for number in 1..=self.messages {
                fs::write(mailbox.join("new").join(Self::file(number)), &text)?;
            }
        }
        Ok(())
    }
}

/// What the clients are to do.
#[derive(Serialize, Deserialize)]
struct Job {
    from: Source,
    /// Which of [`MAILDROPS`].
    maildrop: usize,
    sessions: usize,
    seconds: f64,
}

/// Where they fetch from.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Source {
    Restante(SocketAddr),
    Plain(SocketAddr),
}

/// What they got: octets as they travelled, without dots and status lines.
#[derive(Serialize, Deserialize)]
struct Fetched {
    messages: u64,
    octets: u64,
    seconds: f64,
}

impl Fetched {
    fn megabytes(&self) -> f64 {
        self.octets as f64 / 1e6
    }

    fn rate(&self) -> f64 {
        self.megabytes() / self.seconds
    }
}

/// The clients, a thread for each; their time begins when all are logged in.
fn load(job: &Job) -> io::Result<()> {
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
        common::ready();
        let start = Instant::now();
        go.wait();
        let mut fetched = Fetched { messages: 0, octets: 0, seconds: 0.0 };
        for session in sessions {
            let (messages, octets) = session.join().expect("a thread that does not panic")?;
            fetched.messages += messages;
            fetched.octets += octets;
        }
        fetched.seconds = start.elapsed().as_secs_f64();
        common::report(&fetched)
    })
}

/// One session with either server.
enum Client {
    Restante(Pop3),
    Plain(BufReader<TcpStream>),
}

impl Client {
    fn start(from: Source, maildrop: &Maildrop, session: usize) -> io::Result<Self> {
        let user = maildrop.user(session);
        match from {
            Source::Restante(address) => {
                let mut pop3 = Pop3::login(address, &user, "any password")?;
                let found = pop3.command("STAT")?.to_owned();
                let expected = maildrop.messages.to_string();
                match found.split(' ').next() == Some(&expected) {
                    true => Ok(Self::Restante(pop3)),
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
            Self::Restante(pop3) => pop3.retrieve(message, |_| {}),
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

/// The limit to compare with: whoever connects names a mailbox, then message after message, and gets the
/// length and the bytes of each file. Its threads end with this process.
fn serve_plainly(spool: PathBuf) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let spool = spool.clone();
            thread::spawn(move || {
                if let Err(error) = send_plainly(&spool, stream) {
                    eprintln!("the plain server: {error}");
                }
            });
        }
    });
    Ok(address)
}

fn send_plainly(spool: &Path, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let Some(user) = lines.next().transpose()? else { return Ok(()) };
    let new = spool.join(user).join("new");
    let mut buffer = vec![0; client::READ];
    for number in lines {
        let number = number?.parse().map_err(io::Error::other)?;
        let mut file = fs::File::open(new.join(Maildrop::file(number)))?;
        // The length goes out with the first bytes: a small message is one write, as it is for a good server.
        buffer[..LENGTH].copy_from_slice(&file.metadata()?.len().to_be_bytes());
        let mut kept = LENGTH;
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 && kept == 0 {
                break;
            }
            stream.write_all(&buffer[..kept + read])?;
            kept = 0;
        }
    }
    Ok(())
}

/// Octets of the length that goes before a file.
const LENGTH: usize = size_of::<u64>();
const MAILDROPS: [Maildrop; 2] = [
    Maildrop { name: "small", messages: 2000, size: 4 * 1024 },
    Maildrop { name: "large", messages: 20, size: 5 * 1024 * 1024 },
];
const SESSIONS: [usize; 2] = [1, 8];
