//! Reads a transcript line by line into exchanges, with the meaning of each line. The explanations come from
//! the command tables.

use std::borrow::Cow;

use super::imap_format;
use crate::{
    printable::counted,
    proto::{
        SessionPhase,
        protocol::Protocol,
        smtp::{command, reply_codes::ReplyClass},
    },
};

/// Reads the lines of one transcript in order.
#[derive(Debug)]
pub struct Reader {
    protocol: Protocol,
    phase: Option<SessionPhase>,
    /// The latest time, as seconds since the session began.
    time: String,
    /// True if the last command asked for a list of capabilities.
    expects_capabilities: bool,
}

/// One event in a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// The session begins, with this description of its service and client.
    SessionStart(String),
    /// The client sends a line.
    Client {
        /// The line, with masked secrets and escaped octets.
        line: String,
        /// The purpose of the command, for a reader who does not know it.
        meaning: String,
        /// The section that defines it.
        rfc: String,
    },
    /// The server sends a line.
    Server {
        /// The line, with escaped octets.
        line: String,
        /// Its meaning; empty if another line of the same reply follows.
        meaning: String,
        /// The class of the reply.
        class: Option<ReplyClass>,
    },
    /// A part of a message that the transcript leaves out.
    Elided {
        /// True for data of the client.
        from_client: bool,
        /// The counts of its octets and lines.
        summary: String,
    },
    /// The server acts before it replies.
    ServerAction(String),
    /// The state of the session changes.
    State(SessionPhase, SessionPhase),
    /// The mail spool changes, with the action and the file.
    Spool(String, String),
    /// TLS begins, with the section that defines its effect.
    StartTls(&'static str),
    /// TLS is established, with this version and cipher.
    TlsStarted(String),
    /// Any other remark of the transcript.
    Note(String),
}

/// Whether a text is a transcript: it has the beginning of a session, or a line of a client or a server. The first line below
/// the comments tells one from a text that quotes some lines of a dialogue.
pub fn is_transcript(text: &str) -> bool {
    let whole_lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let first = whole_lines.map(str::trim_end).find(|line| !line.is_empty() && !line.starts_with('#'));
    if first.is_some_and(|line| !MARKS.iter().any(|mark| line.starts_with(mark))) {
        return false;
    }
    let mut reader = Reader::default();
    let is_dialogue = |exchange| {
        use Exchange::{Client, Server, SessionStart};
        matches!(exchange, SessionStart(_) | Client { .. } | Server { .. })
    };
    text.lines().filter_map(|line| reader.line(line)).any(is_dialogue)
}

/// The beginnings of lines other than comments.
const MARKS: [&str; 10] = ["= ", "S:", "S|", "S~", "C:", "C|", "C~", "? ", "! ", ". "];

impl Default for Reader {
    fn default() -> Self {
        Self { protocol: Protocol::Smtp, phase: None, time: "+0.000".into(), expects_capabilities: false }
    }
}

impl Reader {
    /// The latest time, as seconds since the session began: `+1.234`.
    pub fn time(&self) -> &str {
        &self.time
    }

    /// True if the session has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Some(SessionPhase::Ended)
    }

    /// Reads the next line, without its end.
    pub fn line(&mut self, line: &str) -> Option<Exchange> {
        let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match mark {
            "C:" => Some(self.client(&with_backslashes(rest))),
            "C|" => {
                let rest = rest.trim_start_matches(r"\xff\xfd\x06"); // requests for a timing mark (RFC 860)
                Some(self.client(&with_backslashes(rest.strip_suffix("\\r\\n").unwrap_or(rest))))
            }
            // Their answers.
            "S:" | "S|" => Some(self.server(&with_backslashes(rest.trim_start_matches(r"\xff\xfc\x06")))),
            "C~" | "S~" => Some(Exchange::Elided { from_client: mark == "C~", summary: elided_text(rest) }),
            "# " => self.comment(rest),
            "= " => {
                let named = rest.strip_prefix("protocol ").and_then(Protocol::of_directive);
                self.protocol = named.unwrap_or(self.protocol);
                None
            }
            "? " => action_of(rest).map(|what| Exchange::ServerAction(what.into())),
            "! " => rest
                .strip_prefix("failed ")
                .map(|fault| Exchange::Note(format!("The request fails: {fault}"))),
            ". " if rest == "secure" => Some(Exchange::StartTls(self.protocol.vocabulary().begins_tls)),
            ". " => parse_event(rest),
            _ => None,
        }
    }

    fn comment(&mut self, text: &str) -> Option<Exchange> {
        let Some((key, value)) = text.split_once(": ") else {
            return text
                .starts_with("A session of ")
                .then(|| Exchange::SessionStart(text.trim_end_matches('.').into()));
        };
        match key {
            "time" => {
                self.time = value.into();
                None
            }
            "state" => {
                let (before, after) = value.split_once(" -> ").unwrap_or(("", value));
                let after = SessionPhase::from_name(after)?;
                self.phase = Some(after);
                SessionPhase::from_name(before).map(|before| Exchange::State(before, after))
            }
            "spool" => {
                let (what, file) = value.split_once(' ')?;
                Some(Exchange::Spool(what.into(), file.into()))
            }
            "mailbox" => {
                let messages = value.rsplit_once('=')?.1;
                Some(Exchange::Note(format!(
                    "The mailbox changed, messages in it now: {messages}. A POP3 session keeps the list of its login \
                     (RFC 1939 section 4)"
                )))
            }
            "folder" => {
                let messages = value.rsplit_once('=')?.1;
                Some(Exchange::Note(format!(
                    "The folder changed, messages in it now: {messages}. An IMAP session tells it in IDLE, and after the next \
                     command that allows it (RFC 9051 section 5.2)"
                )))
            }
            "tls" => Some(Exchange::TlsStarted(value.into())),
            "cut" => Some(Exchange::Note(format!("The connection or this transcript was cut: {value}"))),
            "dropped" => {
                Some(Exchange::Note(format!("Omitted, because the disk was too slow or full: {value}")))
            }
            _ => None,
        }
    }

    fn client(&mut self, line: &str) -> Exchange {
        let (meaning, rfc) = self.meaning(line);
        let (verb, _) = command::split(line.as_bytes());
        self.expects_capabilities =
            [&b"EHLO"[..], b"LHLO", b"CAPA"].iter().any(|of| verb.eq_ignore_ascii_case(of));
        Exchange::Client { line: line.into(), meaning, rfc }
    }

    fn meaning(&self, line: &str) -> (String, String) {
        let phase = self.phase.unwrap_or(SessionPhase::Start);
        match phase {
            SessionPhase::AuthPlain | SessionPhase::AuthUser | SessionPhase::AuthPassword => {
                let meaning = match line {
                    "*" => "Cancels the exchange",
                    _ => "Answers the challenge, in base64; masked here",
                };
                return (meaning.into(), self.protocol.vocabulary().exchange.into());
            }
            SessionPhase::Data if line == "." => {
                return ("Ends the message".into(), "RFC 5321 section 4.1.1.4".into());
            }
            SessionPhase::Data | SessionPhase::Chunk | SessionPhase::Message => {
                return (String::new(), String::new());
            }
            SessionPhase::Literal => return ("Goes on with the command".into(), String::new()),
            SessionPhase::Idling => return ("Ends the wait for updates".into(), "RFC 2177 section 3".into()),
            _ => {}
        }
        if self.protocol == Protocol::Imap {
            return self.meaning_with_tag(line);
        }
        let (verb, argument) = command::split(line.as_bytes());
        let hides = verb.eq_ignore_ascii_case(b"PASS")
            || (verb.eq_ignore_ascii_case(b"AUTH") && memchr::memchr(b' ', argument).is_some());
        let hidden = if hides { "; masked here" } else { "" };
        let found = (self.protocol.vocabulary().command)(verb);
        let (meaning, rfc) = found.unwrap_or(("Not a command", ""));
        (format!("{meaning}{hidden}"), rfc.into())
    }

    /// The meaning of a command after its tag.
    fn meaning_with_tag(&self, line: &str) -> (String, String) {
        let mut words = line.split(' ').skip(1).filter(|word| !word.is_empty());
        let mut verb = words.next().unwrap_or_default().to_owned();
        if verb.eq_ignore_ascii_case("UID") {
            verb = format!("{verb} {}", words.next().unwrap_or_default());
        }
        let is_masked = match verb.to_ascii_uppercase().as_str() {
            "LOGIN" => words.next().is_some(),
            "AUTHENTICATE" => words.nth(1).is_some(),
            _ => false,
        };
        let hidden = if is_masked { "; masked here" } else { "" };
        match (self.protocol.vocabulary().command)(verb.as_bytes()) {
            Some((meaning, rfc)) => (format!("{meaning}{hidden}"), rfc.into()),
            None => (
                "Not a command: a line begins with a tag of your choice, then the command".into(),
                String::new(),
            ),
        }
    }

    fn server(&self, line: &str) -> Exchange {
        let (meaning, class) = (self.protocol.vocabulary().reply)(line);
        let listed = if meaning.is_empty() && self.expects_capabilities { self.listed(line) } else { None };
        let meaning = listed.unwrap_or(meaning);
        Exchange::Server { line: line.into(), meaning, class }
    }
}

impl Reader {
    /// Explains a line of the reply to EHLO or CAPA.
    fn listed(&self, line: &str) -> Option<String> {
        let vocabulary = self.protocol.vocabulary();
        let keyword = line.get(vocabulary.before_keyword..)?.split(' ').next()?;
        let (_, meaning, rfc) = vocabulary.listed.iter().find(|(name, ..)| *name == keyword)?;
        Some(format!("{meaning} [{rfc}]"))
    }
}

/// A line as the peers see it: flags of IMAP begin with one backslash, which a transcript doubles.
fn with_backslashes(line: &str) -> Cow<'_, str> {
    if line.contains(r"\\") { line.replace(r"\\", r"\").into() } else { line.into() }
}

/// The action that the server takes for a request of the session.
fn action_of(ask: &str) -> Option<&'static str> {
    Some(match ask.split(' ').next()? {
        "verify" => "Checks the password",
        "open" => "Locks the mailbox and lists its messages",
        "deliver" | "deliver+trace" => "Makes the message durable; only then may it reply 250",
        "update" => "Deletes the marked messages",
        "room" => "Checks the free space on disk",
        "begin" => "Checks the memory for the message",
        "spill" => "Writes a part of the message to a file",
        "read" => "Reads the message",
        word => return imap_format::action(word),
    })
}

fn parse_event(what: &str) -> Option<Exchange> {
    let note = |text: &str| Some(Exchange::Note(text.into()));
    match what.split_once(' ').unwrap_or((what, "")) {
        ("pause", span) => Some(Exchange::Note(format!("The server delays its reply by {span}"))),
        ("wait", span) => Some(Exchange::Note(format!("The client is silent, {span} after it connected"))),
        ("stop", _) => note("The server stops"),
        ("revoke", _) => note("The login is no longer valid, because the account has changed"),
        ("end", _) => note("The client closes"),
        ("close", _) => note("The server closes"),
        ("abort", _) => note("The server closes without a final reply"),
        _ => None,
    }
}

/// The summary after `C~` or `S~` as a sentence.
fn elided_text(numbers: &str) -> String {
    let value = |name: &str| {
        let value = |word: &str| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        numbers.split_whitespace().find_map(value)
    };
    let (octets, lines) = (value("octets").unwrap_or_default(), value("lines").unwrap_or_default());
    let mut summary = format!("{} of message data in {}", counted(octets, "octet"), counted(lines, "line"));
    for (name, text) in [
        ("bare_lf", ", with a bare LF"),
        ("bare_cr", ", with a bare CR"),
        ("eight_bit", ", with octets above 0x7f"),
        ("longest", ", with a line of more than 1000 octets"),
        ("hops", ", with too many hops"),
    ] {
        if value(name).is_some() {
            summary.push_str(text);
        }
    }
    summary
}
