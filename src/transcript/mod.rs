//! Transcripts: what every session said and was told, as a file that a dialogue of the tests could be.
//!
//! `record` sees what a connection and its session do, `mask` hides what may be a password, `left_out` stands
//! for message data, and `writer` waits for the disk. `read` reads a transcript back.

mod left_out;
mod lines;
mod mask;
pub mod mermaid;
mod read;
mod record;
pub mod text;
mod writer;

use std::{fmt::Write as _, io, net::SocketAddr, path::Path, time::SystemTime};

use toml::Table;

use crate::{
    clock::Now,
    limits::Limits,
    proto::{
        ask::ConnId,
        factory::{SessionFactory, Settings},
    },
};
pub use left_out::LeftOut;
use mask::Masks;
pub use read::{Reader, Scene};
pub use record::Record;
use writer::{Bounds, Desk};

/// Where the transcripts of a server go.
#[derive(Debug)]
pub struct Transcripts {
    desk: Desk,
    bodies: bool,
    /// What is configured in another way than usual, as directives.
    limits: String,
}

/// A session that begins.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// Its connection.
    pub id: ConnId,
    /// The name of its service: "smtp", "submission", …
    pub name: &'a str,
    /// The client.
    pub peer: SocketAddr,
    /// Where it came in.
    pub listener: String,
    /// Its maker, which knows the rules that hold for it.
    pub factory: &'a dyn SessionFactory,
    /// Whether TLS comes first.
    pub implicit_tls: bool,
}

impl Transcripts {
    /// Makes the directory if it is not there, and starts the thread that writes. `bodies`: message data is
    /// written down too.
    pub fn start(directory: &Path, bodies: bool, limits: &Limits) -> io::Result<Self> {
        let desk = Desk::open(directory, Bounds::of(limits))?;
        Ok(Self { desk, bodies, limits: unusual(limits) })
    }

    /// Begins the transcript of a session.
    pub fn begin(&self, session: &Beginning<'_>, now: Now) -> Record {
        let settings = session.factory.settings(session.id);
        let masks = Masks::new(session.factory.protocol(), settings.longest_line, settings.lenient);
        let head = self.head(session, &settings, now.date);
        let pen = self.desk.pen(session.id, file_name(session, now.date), head);
        Record::new(pen, masks, settings.expires, self.bodies, now.steady)
    }

    /// The lines before the first that is said: everything that it takes to play the rest.
    fn head(&self, session: &Beginning<'_>, settings: &Settings, date: SystemTime) -> String {
        let time = humantime::format_rfc3339_millis(date);
        let mut head = format!(
            "# A session of {} at {} with {}, begun at {time}, recorded by restante {}.\n",
            session.name.to_uppercase(),
            session.listener,
            session.peer,
            env!("CARGO_PKG_VERSION"),
        );
        for (key, value) in &settings.directives {
            let _ = writeln!(head, "= {key} {value}"); // a String takes everything
        }
        if session.implicit_tls {
            head.push_str("= tls implicit\n");
        }
        head.push_str(&self.limits);
        head
    }
}

impl Drop for Transcripts {
    fn drop(&mut self) {
        self.desk.finish();
    }
}

/// The limits that are not the usual ones, as directives: those of a server or of `restante dev`, whichever
/// needs fewer words.
fn unusual(limits: &Limits) -> String {
    let table = |limits: &Limits| Table::try_from(limits).unwrap_or_default();
    let unlike = |usual: &Limits| {
        let usual = table(usual);
        let other = table(limits).into_iter().filter(|(key, value)| usual.get(key) != Some(value));
        let line = |(key, value): (String, toml::Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("= limit {key} {value}\n")
        };
        other.map(line).collect::<String>()
    };
    let developed = format!("= limits development\n{}", unlike(&Limits::for_development()));
    let usual = unlike(&Limits::default());
    if developed.lines().count() < usual.lines().count() { developed } else { usual }
}

/// `20261121T180510.123Z-smtp-c1003.dlg`: in the order of time.
fn file_name(session: &Beginning<'_>, date: SystemTime) -> String {
    let date = date.max(SystemTime::UNIX_EPOCH);
    let time = humantime::format_rfc3339_millis(date).to_string().replace(['-', ':'], "");
    format!("{time}-{}-{}{SUFFIX}", session.name, session.id)
}

/// What the names of transcripts end in.
pub const SUFFIX: &str = ".dlg";
