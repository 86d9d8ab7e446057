//! Transcripts: the dialogue of every session, in a file with the format of the tests' dialogues.
//!
//! `record` observes a connection and its session, `mask` hides passwords, `left_out` summarises message
//! data, and `writer` waits for the disk. `read` reads a transcript back.

mod left_out;
mod lines;
mod mask;
pub mod mermaid;
mod read;
mod record;
pub mod text;
mod writer;

use std::{fmt::Write as _, io, net::SocketAddr, path::Path, time::SystemTime};

use serde::Serialize;
use toml::Table;

use crate::{
    clock::Now,
    limits::Limits,
    proto::{ask::ConnId, dot::LineEndings, pop3, smtp},
};
pub use left_out::LeftOut;
use mask::{Masks, Spoken};
pub use read::{Reader, Scene};
pub use record::Record;
use writer::{Bounds, Desk};

/// The transcripts of a server.
#[derive(Debug)]
pub struct Transcripts {
    desk: Desk,
    bodies: bool,
    /// Settings that differ from the defaults, as directives.
    limits: String,
}

/// The rules of a session, shared with others of its listener.
#[derive(Debug, Clone, Copy)]
pub enum Rules<'a> {
    /// SMTP and LMTP.
    Smtp(&'a smtp::Rules),
    /// POP3.
    Pop3(&'a pop3::Rules),
}

/// A session that begins.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// Id of its connection.
    pub id: ConnId,
    /// "smtp", "lmtp" or "pop3".
    pub name: &'a str,
    /// Address of the client.
    pub peer: SocketAddr,
    /// Endpoint of the listener.
    pub listener: String,
    /// Rules of the session.
    pub rules: Rules<'a>,
    /// True if TLS begins with the first octet.
    pub implicit_tls: bool,
}

impl Transcripts {
    /// Creates the directory if it does not exist, and starts the writer thread, which keeps at most `open` files open.
    /// `bodies`: message data is written too.
    pub fn start(directory: &Path, bodies: bool, limits: &Limits, open: usize) -> io::Result<Self> {
        let desk = Desk::open(directory, Bounds::of(limits, open))?;
        Ok(Self { desk, bodies, limits: unusual(limits) })
    }

    /// Begins the transcript of a session.
    pub fn begin(&self, session: &Beginning<'_>, now: Now) -> Record {
        let (spoken, longest, line_endings) = match session.rules {
            Rules::Smtp(rules) => (Spoken::Smtp, rules.limits.smtp_line, rules.line_endings),
            Rules::Pop3(rules) => (Spoken::Pop3, rules.limits.pop3_line, rules.line_endings),
        };
        let masks = Masks::new(spoken, longest, line_endings == LineEndings::Lenient);
        let pen = self.desk.pen(session.id, file_name(session, now.date), self.head(session, now.date));
        Record::new(pen, masks, session.rules, self.bodies, now.steady)
    }

    /// The lines before the dialogue, with everything needed to replay it.
    fn head(&self, session: &Beginning<'_>, date: SystemTime) -> String {
        let time = humantime::format_rfc3339_millis(date);
        let mut head = format!(
            "# A session of {} at {} with {}, begun at {time}, recorded by restante {}.\n",
            session.name.to_uppercase(),
            session.listener,
            session.peer,
            env!("CARGO_PKG_VERSION"),
        );
        let mut direct = |key: &str, value: &str| {
            let _ = writeln!(head, "= {key} {value}"); // writing to a String cannot fail
        };
        match session.rules {
            Rules::Smtp(rules) => {
                let policy = &rules.policy;
                direct("protocol", "smtp");
                direct("hostname", &rules.hostname);
                direct("label", &session.id.to_string());
                unless_usual(rules.line_endings, |word| direct("line_endings", word));
                unless_usual(rules.persona, |word| direct("persona", word));
                unless_usual(policy.kind, |word| direct("kind", word));
                unless_usual(policy.auth, |word| direct("auth", word));
                if policy.trusted {
                    direct("trusted", "yes");
                }
                if policy.starttls {
                    direct("tls", "offered");
                }
            }
            Rules::Pop3(rules) => {
                direct("protocol", "pop3");
                direct("hostname", &rules.hostname);
                unless_usual(rules.line_endings, |word| direct("line_endings", word));
                unless_usual(rules.persona, |word| direct("persona", word));
                if !rules.plaintext_auth {
                    direct("auth", "under_tls");
                }
                rules.expire.iter().for_each(|expire| direct("expire", &expire.to_string()));
                if rules.stls {
                    direct("tls", "offered");
                }
            }
        }
        let pedantic = match session.rules {
            Rules::Smtp(rules) => rules.pedantic,
            Rules::Pop3(rules) => rules.pedantic,
        };
        if pedantic {
            direct("pedantic", "yes");
        }
        if session.implicit_tls {
            direct("tls", "implicit");
        }
        head.push_str(&self.limits);
        head
    }
}

/// Reports the configuration word of a value that differs from the default.
fn unless_usual<T: Default + PartialEq + Serialize>(value: T, tell: impl FnOnce(&str)) {
    if value != T::default()
        && let Ok(toml::Value::String(word)) = toml::Value::try_from(value)
    {
        tell(&word);
    }
}

impl Drop for Transcripts {
    fn drop(&mut self) {
        self.desk.finish();
    }
}

/// Limits that differ from the defaults, as directives: relative to the server's defaults or to those of
/// `restante dev`, whichever needs fewer lines.
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

/// The file name, which sorts by time: `20261121T180510.123Z-smtp-c1003.dlg`.
fn file_name(session: &Beginning<'_>, date: SystemTime) -> String {
    let date = date.max(SystemTime::UNIX_EPOCH);
    let time = humantime::format_rfc3339_millis(date).to_string().replace(['-', ':'], "");
    format!("{time}-{}-{}{SUFFIX}", session.name, session.id)
}

/// The suffix of transcript files.
pub const SUFFIX: &str = ".dlg";
