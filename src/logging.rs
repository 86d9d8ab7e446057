//! The log: one function for each event, so that wording is stable and can be searched for.
//!
//! The rule: text from a peer or a disk is escaped and cut here, and nowhere is a password printed.

use std::{
    fmt::{Display, Write as _},
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use log::{Level, LevelFilter, SetLoggerError, debug, error, info, log};
use simplelog::{ConfigBuilder, WriteLogger};

use crate::{config::Service, proto::event::Event};

/// Starts logging to standard error: time in UTC, level, message. Works once in a process.
pub fn start(level: LevelFilter) -> Result<(), SetLoggerError> {
    let config = ConfigBuilder::new()
        .set_time_level(LevelFilter::Off) // Stamped has milliseconds
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str(env!("CARGO_PKG_NAME")) // what mio says at `trace` is not ours
        .build();
    WriteLogger::init(level, config, Stamped { line: Vec::new(), out: io::stderr() })
}

/// Puts the time in front of each line, and writes a line in one piece: where several processes log to one
/// place, lines stay whole.
struct Stamped<W> {
    line: Vec<u8>,
    out: W,
}

impl<W: Write> Write for Stamped<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.line.is_empty() {
            write!(self.line, "{} ", humantime::format_rfc3339_millis(SystemTime::now()))?;
        }
        self.line.extend_from_slice(piece);
        if piece.ends_with(b"\n") {
            self.flush()?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.line);
        self.line.clear();
        written
    }
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
            format!("opened mailbox={mailbox} messages={messages} octets={octets}")
        }
        Event::Updated { deleted, seen } => format!("updated deleted={deleted} seen={seen}"),
        Event::Ended { why } => format!("ended why=\"{why}\""),
    }
}

/// A listener is open.
pub fn listening(protocol: Service, address: SocketAddr) {
    info!("{protocol} listening address={address}");
}

/// A client came.
pub fn connected(conn: &str, protocol: &str, peer: SocketAddr) {
    debug!("{conn} {protocol} connected peer={peer}");
}

/// A client is gone.
pub fn closed(conn: &str, protocol: &str, lasted: Duration) {
    debug!("{conn} {protocol} closed after={lasted:.1?}");
}

/// A batch of deliveries is durable.
pub fn batch(messages: usize, octets: u64, took: Duration) {
    debug!("commit batch={messages} octets={octets} took={took:.1?}");
}

/// Something of ours failed, and an operator must know.
pub fn trouble(what: &str, path: Option<&Path>, error: &dyn Display) {
    let path = path.map(|path| format!(" path=\"{}\"", escape(&path.to_string_lossy()))).unwrap_or_default();
    error!("trouble what=\"{}\"{path} error=\"{}\"", escape(what), escape(&error.to_string()));
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

/// Bytes of text from outside in one value.
const LONGEST: usize = 256;
