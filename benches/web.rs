//! The web API: lists and searches of a large mailbox, and a thousand open event streams.
//!
//! Measured: the time from a request to the last octet of its response, for a list of 50 of 10,000 messages: right after the
//! start, when a message was delivered since the last request, and when nothing has changed; and for a search of a word that
//! no message has. Then the memory of each of 1,000 streams of events, and the time from the reply to a delivery until
//! the event has reached every stream.
//!
//! `cargo bench --bench web [-- --quick]`. The messages are in memory: this measures the server, and not the disk. The
//! kernel's own memory for sockets is not in the figures.

mod common;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use common::{
    Scratch, Server, Settings,
    client::{self, Smtp},
    message, process, seed,
    table::{Table, count as in_words},
};

fn main() -> io::Result<()> {
    let settings = Settings::load();
    let mut scratch = Scratch::new()?;
    println!("web: {}", scratch.describe());
    process::warn_if_busy()?;
    let (messages, streams) = if settings.quick { (1000, 100) } else { (10_000, 1000) };
    lists(&scratch.fresh()?, messages, if settings.quick { 3 } else { 20 })?;
    event_streams(&scratch.fresh()?, streams, if settings.quick { 3 } else { 20 })
}

/// The times of lists and searches of a mailbox with this many messages.
fn lists(dir: &Path, messages: usize, times: usize) -> io::Result<()> {
    seed(dir, USER, messages)?;
    let server = Server::dev_with_http(dir)?;
    let mut web = Web::connect(http(&server)?)?;
    let mut smtp = Smtp::connect(server.smtp)?;
    let text = finished_message();
    let mut table = Table::new(&["request", "best, ms", "median, ms", "worst, ms", "CPU, ms"]);
    let mut row = |name: &str, times: usize, before: &mut dyn FnMut() -> io::Result<()>, path: &str| {
        let mut taken = Vec::new();
        let mut used = Duration::ZERO;
        for _ in 0..times {
            before()?;
            let cpu = process::cpu_of_tree(server.pid())?;
            let start = Instant::now();
            web.get(path)?;
            taken.push(start.elapsed());
            used += process::cpu_of_tree(server.pid())?.saturating_sub(cpu);
        }
        taken.sort_unstable();
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        let (first, middle, last) = (taken[0], taken[times / 2], taken[times - 1]);
        table.row(vec![name.to_owned(), ms(first), ms(middle), ms(last), ms(used / times as u32)]);
        Ok::<_, io::Error>(())
    };
    let total = in_words(messages);
    let mut nothing = || Ok(());
    row(&format!("first list of {total} after the start"), 1, &mut nothing, LIST)?;
    // A directory that has changed in the last seconds may change again without a new time, so it is read at each request.
    thread::sleep(SETTLED);
    row("list, nothing has changed", times, &mut nothing, LIST)?;
    let mut deliver = || match smtp.deliver(USER, &text)? {
        true => Ok(()),
        false => Err(io::Error::other("a message was refused")),
    };
    row("list after a delivery", times, &mut deliver, LIST)?;
    row("first search of a word", 1, &mut nothing, SEARCH)?;
    row("search of a word", times.div_ceil(4), &mut nothing, SEARCH)?;
    table.print();
    Ok(())
}

/// The memory of open event streams, and the time until an event has reached all of them.
fn event_streams(dir: &Path, count: usize, times: usize) -> io::Result<()> {
    process::raise_descriptor_limit()?;
    let server = Server::dev_with_http(dir)?;
    let address = http(&server)?;
    let mut smtp = Smtp::connect(server.smtp)?;
    let text = finished_message();
    smtp.deliver(USER, &text)?;
    // Memory allocated at the first use is not a stream's.
    let first = (0..FIRST).map(|_| Web::connect(address)?.events()).collect::<io::Result<Vec<_>>>()?;
    let before = process::memory(server.pid())?;
    let mut streams = (0..count).map(|_| Web::connect(address)?.events()).collect::<io::Result<Vec<_>>>()?;
    let after = process::memory(server.pid())?;
    let each = (after.private_dirty.saturating_sub(before.private_dirty)) / count as u64;
    let mut taken = Vec::new();
    for _ in 0..times {
        thread::sleep(Duration::from_millis(200));
        smtp.deliver(USER, &text)?;
        let start = Instant::now();
        streams.iter_mut().try_for_each(Web::next_event)?;
        taken.push(start.elapsed());
    }
    drop(first);
    taken.sort_unstable();
    let mut table = Table::new(&["event streams", "octets each", "event to all, median ms", "worst ms"]);
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    table.row(vec![in_words(count), each.to_string(), ms(taken[times / 2]), ms(taken[times - 1])]);
    table.print();
    Ok(())
}

/// A client of the API.
struct Web {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Web {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: client::connect(address, 1024)?, line: String::new() })
    }

    fn request(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Reads the document at a path.
    fn get(&mut self, path: &str) -> io::Result<()> {
        self.request(path)?;
        let mut length = 0;
        loop {
            match self.next_line()? {
                "" => break,
                line if line.starts_with("HTTP/1.1 ") && !line.contains(" 200 ") => {
                    return Err(io::Error::other(line));
                }
                line => {
                    let value = line.strip_prefix("Content-Length: ");
                    length = value.and_then(|value| value.parse().ok()).unwrap_or(length);
                }
            }
        }
        self.stream.read_exact(&mut vec![0; length])
    }

    /// Begins a stream of events.
    fn events(mut self) -> io::Result<Self> {
        self.request("/api/events")?;
        while self.next_line()? != ": restante" {}
        Ok(self)
    }

    /// Reads to the end of the next event.
    fn next_event(&mut self) -> io::Result<()> {
        while !self.next_line()?.starts_with("data: ") {}
        Ok(())
    }

    fn next_line(&mut self) -> io::Result<&str> {
        self.line.clear();
        match self.stream.read_line(&mut self.line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(self.line.trim_end()),
        }
    }
}

fn http(server: &Server) -> io::Result<SocketAddr> {
    server.http.ok_or_else(|| io::Error::other("no port for HTTP"))
}

/// A small message with the final dot.
fn finished_message() -> Vec<u8> {
    let mut text = message(1024, "\r\n");
    text.extend_from_slice(b".\r\n");
    text
}

const USER: &str = "you@example.test";
const LIST: &str = "/api/v1/messages?limit=50";
const SEARCH: &str = "/api/v1/search?query=xylophone&limit=50";
/// The time after which a directory counts as settled, with a margin.
const SETTLED: Duration = Duration::from_secs(4);
/// Streams that stand before the count begins.
const FIRST: usize = 50;
