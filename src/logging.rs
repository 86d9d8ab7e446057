//! The log: one function for each event, so that wording is stable and can be searched for.
//!
//! The rules: text from a peer or a disk is escaped and cut here, and a password never gets here. Whoever
//! logs does not wait: lines go to a thread of their own, and when nobody reads what it writes they are
//! dropped and counted, for mail goes on without a log.

use std::{
    fmt::{Display, Write as _},
    io::{self, Write},
    mem,
    net::SocketAddr,
    thread,
    time::{Duration, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{Level, LevelFilter, debug, info, log};
use simplelog::{ConfigBuilder, WriteLogger};

use crate::proto::{Encryption, event::Event};

/// Starts logging to standard error: time in UTC, level, message. Works once in a process.
pub fn start(level: LevelFilter) -> io::Result<()> {
    let config = ConfigBuilder::new()
        .set_time_level(LevelFilter::Off) // Lines has milliseconds
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str(env!("CARGO_PKG_NAME")) // what mio says at `trace` is not ours
        .build();
    let (lines, queue) = Lines::new();
    thread::Builder::new().name("log".into()).spawn(move || write_out(&queue, io::stderr()))?;
    WriteLogger::init(level, config, lines).map_err(io::Error::other)
}

/// Waits until what was logged is written, for a moment at most.
pub fn finish() {
    log::logger().flush();
}

/// Something that a session did.
pub fn event(conn: &str, protocol: &str, event: &Event) {
    let level = match event {
        Event::Ended { .. } => Level::Debug,
        _ => Level::Info,
    };
    log!(level, "{conn} {protocol} {}", wording(event));
}

fn wording(event: &Event) -> String {
    match event {
        Event::Accepted { id, from, recipients, octets } => {
            format!("accepted id={} from={} rcpts={recipients} octets={octets}", value(id), value(from))
        }
        Event::Refused { what, reply } => format!("refused what=\"{}\" reply={}", escape(what), value(reply)),
        Event::Login { user, ok } => format!("login user={} ok={ok}", value(user)),
        Event::Opened { mailbox, messages, octets } => {
            format!("opened mailbox={} messages={messages} octets={octets}", value(&mailbox.to_string()))
        }
        Event::Updated { deleted, seen } => format!("updated deleted={deleted} seen={seen}"),
        Event::Ended { why } => format!("ended why=\"{why}\""),
        Event::Injected(injection) => format!("ended by a fault on demand: {injection:?}"),
    }
}

/// A listener is open.
pub fn listening(protocol: &str, address: &dyn Display) {
    info!("{protocol} listening address={address}");
}

/// A client came.
pub fn connected(conn: &str, protocol: &str, peer: SocketAddr) {
    debug!("{conn} {protocol} connected peer={peer}");
}

/// A proxy did not say whose connection it hands over.
pub fn not_announced(conn: &str, protocol: &str, proxy: SocketAddr, why: &str) {
    info!("{conn} {protocol} proxy failed peer={proxy} why=\"{}\"", escape(why));
}

/// A connection is encrypted from here on.
pub fn secured(conn: &str, protocol: &str, by: Encryption) {
    debug!("{conn} {protocol} tls version={} cipher={}", by.version, by.cipher);
}

/// TLS did not come about, or broke.
pub fn not_secured(conn: &str, protocol: &str, why: &str) {
    info!("{conn} {protocol} tls failed why=\"{}\"", escape(why));
}

/// A client is gone.
pub fn closed(conn: &str, protocol: &str, lasted: Duration) {
    debug!("{conn} {protocol} closed after={lasted:.1?}");
}

/// A batch of deliveries is durable, or has failed.
pub fn batch(messages: usize, octets: u64, took: Duration) {
    debug!("commit batch={messages} octets={octets} took={took:.1?}");
}

/// Text from outside, fit for a line of the log: control characters, `"` and `\` as `\xNN`, cut at 256 bytes.
pub fn escape(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        let length = safe.len();
        match c {
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '"' | '\\' => {
                let _ = write!(safe, "\\x{:02x}", u32::from(c)); // a String takes everything
            }
            c => safe.push(c),
        }
        if safe.len() > LONGEST {
            safe.truncate(length);
            safe.push('…');
            break;
        }
    }
    safe
}

/// The value of a `key=value`: in quotes if it could be taken for more than one.
fn value(text: &str) -> String {
    let text = escape(text);
    if text.is_empty() || text.contains([' ', '=']) { format!("\"{text}\"") } else { text }
}

/// Gathers what the logger writes into lines, puts the time in front, and queues them.
struct Lines {
    line: Vec<u8>,
    queue: Sender<Entry>,
    dropped: usize,
}

enum Entry {
    Line(Vec<u8>),
    /// Everything before this is written when it is answered.
    Flush(Sender<()>),
}

impl Lines {
    fn new() -> (Self, Receiver<Entry>) {
        let (queue, entries) = bounded(QUEUE);
        (Self { line: Vec::new(), queue, dropped: 0 }, entries)
    }

    fn send(&mut self) {
        let mut line = mem::take(&mut self.line);
        if self.dropped > 0 {
            let notice = format!("{} [WARN] log dropped={}\n", now(), self.dropped);
            line.splice(..0, notice.into_bytes());
        }
        match self.queue.try_send(Entry::Line(line)) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += 1,
        }
    }
}

impl Write for Lines {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.line.is_empty() {
            write!(self.line, "{} ", now())?;
        }
        self.line.extend_from_slice(piece);
        if piece.ends_with(b"\n") {
            self.send();
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (written, wait) = bounded(1);
        let asked = self.queue.send_timeout(Entry::Flush(written), PATIENCE);
        if asked.is_ok() && wait.recv_timeout(PATIENCE).is_ok() {
            return Ok(());
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// The thread that waits for the log's reader.
fn write_out(queue: &Receiver<Entry>, mut out: impl Write) {
    for entry in queue {
        let _ = match entry {
            Entry::Line(line) => out.write_all(&line), // nobody is left to tell that it failed
            Entry::Flush(written) => written.send(()).map_err(io::Error::other),
        };
    }
}

fn now() -> impl Display {
    humantime::format_rfc3339_millis(SystemTime::now())
}

/// Bytes of text from outside in one value.
const LONGEST: usize = 256;
/// Lines that wait for the log's reader.
const QUEUE: usize = 4096;
/// How long the end of the program waits for the log's reader.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ask::Mailbox, faults::Injection};

    #[test]
    fn every_event_has_its_wording() {
        let mailbox = Mailbox::named("u@here.test").unwrap();
        for (event, line) in [
            (
                Event::Accepted { id: "7".into(), from: "<a@far.test>".into(), recipients: 2, octets: 18233 },
                "accepted id=7 from=<a@far.test> rcpts=2 octets=18233",
            ),
            (
                Event::Refused { what: "RCPT TO:<x>".into(), reply: "550-5.1.1".into() },
                r#"refused what="RCPT TO:<x>" reply=550-5.1.1"#,
            ),
            (Event::Login { user: "u".into(), ok: false }, "login user=u ok=false"),
            (
                Event::Opened { mailbox, messages: 3, octets: 9 },
                "opened mailbox=u@here.test messages=3 octets=9",
            ),
            (Event::Updated { deleted: 1, seen: 2 }, "updated deleted=1 seen=2"),
            (Event::Ended { why: "timeout" }, r#"ended why="timeout""#),
            (Event::Injected(Injection::DropAt(1000)), "ended by a fault on demand: DropAt(1000)"),
        ] {
            assert_eq!(wording(&event), line);
        }
    }

    #[test]
    fn t22_a_peer_cannot_write_a_line_or_a_field_of_its_own() {
        let line = |user: &str| wording(&Event::Login { user: user.into(), ok: false });
        assert_eq!(line("u ok=true"), r#"login user="u ok=true" ok=false"#);
        assert_eq!(line("u\" ok=true"), r#"login user="u\x22 ok=true" ok=false"#);
        assert_eq!(line("u\r\nc4f1"), r"login user=u\x0d\x0ac4f1 ok=false");
        assert_eq!(line(""), r#"login user="" ok=false"#);
    }

    #[test]
    fn t22_control_characters_quotes_and_backslashes_are_escaped() {
        for (text, safe) in [
            ("plain <a@b>", "plain <a@b>"),
            ("\0\t\r\n\x1b[0m", r"\x00\x09\x0d\x0a\x1b[0m"),
            ("\x7f\u{80}\u{9b}\u{9f}", r"\x7f\x80\x9b\x9f"),
            (r#"say "a\b""#, r"say \x22a\x5cb\x22"),
            ("é\u{a0}%s", "é\u{a0}%s"),
        ] {
            assert_eq!(escape(text), safe, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(escape(&"a".repeat(256)), "a".repeat(256));
        assert_eq!(escape(&"a".repeat(257)), format!("{}…", "a".repeat(256)));
        assert_eq!(escape(&format!("a{}", "é".repeat(200))), format!("a{}…", "é".repeat(127)));
        assert_eq!(escape(&"\n".repeat(65)), format!("{}…", r"\x0a".repeat(64)));
    }

    #[test]
    fn a_line_is_written_in_one_piece_with_its_time() {
        let (mut lines, entries) = Lines::new();
        for piece in ["[INFO] ", "one", "\n"] {
            lines.write_all(piece.as_bytes()).unwrap();
        }
        drop(lines);
        let mut out = Vec::new();
        write_out(&entries, &mut out);
        let line = String::from_utf8(out).unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!((time.len(), &time[10..11], &time[23..]), ("2025-01-01T00:00:00.000Z".len(), "T", "Z"));
        assert_eq!(rest, "[INFO] one\n");
    }

    #[test]
    fn a_reader_who_does_not_read_costs_lines_and_no_time() {
        let (mut lines, entries) = Lines::new();
        for n in 0..QUEUE + 3 {
            writeln!(lines, "{n}").unwrap();
        }
        assert!(lines.flush().is_err());
        let waiting = entries.recv().unwrap();
        assert!(matches!(waiting, Entry::Line(line) if line.ends_with(b" 0\n")));
        writeln!(lines, "after").unwrap();
        drop(lines);
        let mut out = Vec::new();
        write_out(&entries, &mut out);
        let text = String::from_utf8(out).unwrap();
        let last: Vec<_> = text.lines().rev().take(2).map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(last, ["after", "[WARN] log dropped=3"]);
    }
}
