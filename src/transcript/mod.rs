//! Transcripts: the dialogue of every session, in a file with the format of the tests' dialogues.
//!
//! `recorder` observes a connection and its session, `redaction` hides passwords, `elided` summarises message
//! data, and `writer` waits for the disk. `archive` has the last sessions in memory, and `reader` reads a transcript back.

mod archive;
mod elided;
mod file_name;
pub mod format;
mod imap_format;
mod imap_output;
mod line_splitter;
pub mod mermaid;
mod octets;
mod reader;
mod recorder;
mod redaction;
mod writer;

use std::{fmt::Write as _, io, net::SocketAddr, path::Path, sync::Arc, time::SystemTime};

use toml::{Table, Value};

use crate::{
    clock::Now,
    limits::Limits,
    proto::{
        factory::{SessionFactory, Settings},
        protocol::Protocol,
        request::ConnId,
    },
};
pub use archive::{Archive, SessionEntry};
pub use elided::ElidedData;
pub use file_name::SUFFIX;
use file_name::file_name;
pub use reader::{Exchange, Reader, is_transcript};
pub use recorder::Recorder;
use redaction::Redactor;
use writer::{Beginning, Bounds, WriterHandle};

/// The transcripts of a server.
#[derive(Debug)]
pub struct Transcripts {
    writer: WriterHandle,
    archive: Arc<Archive>,
    /// True if the lines go to files, and not to memory alone.
    has_files: bool,
    bodies: bool,
    /// Directives for limits that differ from the defaults.
    limits: String,
}

/// A session that begins, with the settings that its replay needs.
#[derive(Debug)]
pub struct SessionInfo<'a> {
    /// The id of its connection.
    pub id: ConnId,
    /// The name of its service: "smtp", "submission", …
    pub name: &'a str,
    /// The address of the client.
    pub peer: SocketAddr,
    /// The endpoint of the listener.
    pub listener: String,
    /// The factory of the session, which knows its rules.
    pub factory: &'a dyn SessionFactory,
    /// True if TLS begins with the first octet.
    pub implicit_tls: bool,
}

impl Transcripts {
    /// Starts the writer thread, which keeps at most `open` files open. Creates the directory if it does not exist; without
    /// one, the transcripts are in memory only. If `bodies` is true, message data is recorded too. The thread calls
    /// `changed` after sessions in memory have changed, while somebody watches them.
    pub fn start(
        directory: Option<&Path>,
        bodies: bool,
        limits: &Limits,
        open: usize,
        changed: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let archive = Arc::new(Archive::new(directory));
        let writer =
            WriterHandle::open(directory, Bounds::of(limits, open), Arc::clone(&archive), Box::new(changed))?;
        let has_files = directory.is_some();
        Ok(Self { writer, archive, has_files, bodies, limits: non_default_limits(limits) })
    }

    /// The last sessions, and the directory of earlier ones.
    pub fn archive(&self) -> Arc<Archive> {
        Arc::clone(&self.archive)
    }

    /// Begins the transcript of a session. `None` if there is no place for it: memory has no sessions of HTTP, because each
    /// look at the web inbox is one.
    pub fn begin(&self, session: &SessionInfo<'_>, now: Now) -> Option<Recorder> {
        let is_shown = session.factory.protocol() != Protocol::Http;
        if !is_shown && !self.has_files {
            return None;
        }
        let settings = session.factory.settings(session.id);
        let redactor = Redactor::new(session.factory.protocol(), settings.max_line, settings.lenient);
        let head = self.head(session, &settings, now.wall);
        let shown = is_shown.then(|| SessionEntry::new(session.id, session.name, session.peer, now.wall));
        let file_name = file_name(session.name, session.id, now.wall);
        let pen = self.writer.begin(Beginning { id: session.id, file_name, head, shown });
        Some(Recorder::new(pen, redactor, settings.expires, self.bodies, now.monotonic))
    }

    /// The lines before the dialogue, with everything needed to replay it.
    fn head(&self, session: &SessionInfo<'_>, settings: &Settings, date: SystemTime) -> String {
        let time = humantime::format_rfc3339_millis(date);
        let mut head = format!(
            "# A session of {} at {} with {}, begun at {time}, recorded by restante {}.\n",
            session.name.to_uppercase(),
            session.listener,
            session.peer,
            env!("CARGO_PKG_VERSION"),
        );
        for (key, value) in &settings.directives {
            let _ = writeln!(head, "= {key} {value}"); // writing to a String cannot fail
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
        self.writer.flush();
    }
}

/// Directives for the limits that differ from the defaults of the server, or from those of `restante dev` if
/// that needs fewer lines.
fn non_default_limits(limits: &Limits) -> String {
    let values = |limits: &Limits| -> Vec<(String, String)> {
        let sections = Table::try_from(limits).unwrap_or_default().into_iter();
        let in_section = |(section, keys): (String, Value)| {
            let Value::Table(keys) = keys else { return Vec::new() };
            let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), text(value))).collect()
        };
        sections.flat_map(in_section).collect()
    };
    let unlike = |usual: &Limits| {
        let both = values(usual).into_iter().zip(values(limits));
        let other = both.filter_map(|(usual, value)| (value != usual).then_some(value));
        other.map(|(key, value)| format!("= limit {key} {value}\n")).collect::<String>()
    };
    let developed = format!("= limits development\n{}", unlike(&Limits::for_development()));
    let usual = unlike(&Limits::default());
    if developed.lines().count() < usual.lines().count() { developed } else { usual }
}
