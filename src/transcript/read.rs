//! A transcript, read line by line into scenes: what was said, and what it means. The words are those of the
//! tables of rules.

use crate::proto::{
    Standing,
    protocol::Protocol,
    smtp::{codes::Class, command},
};

/// Reads one transcript.
#[derive(Debug)]
pub struct Reader {
    protocol: Protocol,
    standing: Option<Standing>,
    /// The time since the session began, as it was told last.
    time: String,
    /// The last command is one whose reply lists what the server can do.
    asks_for_list: bool,
}

/// Something that happens in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scene {
    /// It begins.
    Begins(String),
    /// The client sends a line.
    Client {
        /// The line.
        line: String,
        /// What it means.
        meaning: String,
        /// Where it is ruled.
        rfc: String,
    },
    /// The server sends a line.
    Server {
        /// The line.
        line: String,
        /// What it means; nothing where a line of the same reply follows.
        meaning: String,
        /// What it asks of the client.
        class: Option<Class>,
    },
    /// Message data that is left out.
    LeftOut {
        /// Whether it is the client's.
        from_client: bool,
        /// What is told of it.
        told: String,
    },
    /// The server does something before it replies.
    Does(String),
    /// The state of the session changes.
    State(Standing, Standing),
    /// Something has changed in the spool: what, and the file.
    Spool(String, String),
    /// TLS begins: where it is ruled what that means.
    Secure(&'static str),
    /// TLS has begun with that version and cipher.
    Tls(String),
    /// Anything else worth telling.
    Note(String),
}

impl Default for Reader {
    fn default() -> Self {
        Self { protocol: Protocol::Smtp, standing: None, time: "+0.000".into(), asks_for_list: false }
    }
}

impl Reader {
    /// The time since the session began: `+1.234`, in seconds.
    pub fn time(&self) -> &str {
        &self.time
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        self.standing == Some(Standing::Over)
    }

    /// Reads the next line, without its end.
    pub fn line(&mut self, line: &str) -> Option<Scene> {
        let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match mark {
            "C:" => Some(self.client(rest)),
            "C|" => Some(self.client(rest.strip_suffix("\\r\\n").unwrap_or(rest))),
            "S:" | "S|" => Some(self.server(rest)),
            "C~" | "S~" => Some(Scene::LeftOut { from_client: mark == "C~", told: told(rest) }),
            "# " => self.comment(rest),
            "= " => {
                let named = rest.strip_prefix("protocol ").and_then(Protocol::of_directive);
                self.protocol = named.unwrap_or(self.protocol);
                None
            }
            "? " => does(rest).map(|what| Scene::Does(what.into())),
            "! " => rest.strip_prefix("failed ").map(|fault| Scene::Note(format!("It fails: {fault}"))),
            ". " if rest == "secure" => Some(Scene::Secure(self.protocol.vocabulary().begins_tls)),
            ". " => happens(rest),
            _ => None,
        }
    }

    fn comment(&mut self, text: &str) -> Option<Scene> {
        let Some((key, value)) = text.split_once(": ") else {
            return text
                .starts_with("A session of ")
                .then(|| Scene::Begins(text.trim_end_matches('.').into()));
        };
        match key {
            "time" => {
                self.time = value.into();
                None
            }
            "state" => {
                let (before, after) = value.split_once(" -> ").unwrap_or(("", value));
                let after = Standing::named(after)?;
                self.standing = Some(after);
                Standing::named(before).map(|before| Scene::State(before, after))
            }
            "spool" => {
                let (what, file) = value.split_once(' ')?;
                Some(Scene::Spool(what.into(), file.into()))
            }
            "tls" => Some(Scene::Tls(value.into())),
            "cut" => Some(Scene::Note(format!("The connection, or this transcript, is cut: {value}"))),
            "dropped" => Some(Scene::Note(format!("Left out, for the disk was too slow or full: {value}"))),
            _ => None,
        }
    }

    fn client(&mut self, line: &str) -> Scene {
        let (meaning, rfc) = self.meaning(line);
        let (verb, _) = command::split(line.as_bytes());
        self.asks_for_list = [&b"EHLO"[..], b"LHLO", b"CAPA"].iter().any(|of| verb.eq_ignore_ascii_case(of));
        Scene::Client { line: line.into(), meaning, rfc }
    }

    fn meaning(&self, line: &str) -> (String, String) {
        let standing = self.standing.unwrap_or(Standing::Start);
        match standing {
            Standing::AuthPlain | Standing::AuthUser | Standing::AuthPassword => {
                let meaning = match line {
                    "*" => "Gives the exchange up",
                    _ => "Answers the challenge, in base64; masked here",
                };
                return (meaning.into(), self.protocol.vocabulary().exchange.into());
            }
            Standing::Data if line == "." => {
                return ("Ends the message".into(), "RFC 5321 section 4.1.1.4".into());
            }
            Standing::Data | Standing::Chunk => return (String::new(), String::new()),
            _ => {}
        }
        let (verb, argument) = command::split(line.as_bytes());
        let hides = verb.eq_ignore_ascii_case(b"PASS")
            || (verb.eq_ignore_ascii_case(b"AUTH") && memchr::memchr(b' ', argument).is_some());
        let hidden = if hides { "; masked here" } else { "" };
        let found = (self.protocol.vocabulary().command)(verb);
        let (meaning, rfc) = found.unwrap_or(("Not a command", ""));
        (format!("{meaning}{hidden}"), rfc.into())
    }

    fn server(&self, line: &str) -> Scene {
        let (meaning, class) = (self.protocol.vocabulary().reply)(line);
        let listed = if meaning.is_empty() && self.asks_for_list { self.listed(line) } else { None };
        let meaning = listed.unwrap_or(meaning);
        Scene::Server { line: line.into(), meaning, class }
    }
}

impl Reader {
    /// What a line of the reply to EHLO or CAPA means.
    fn listed(&self, line: &str) -> Option<String> {
        let vocabulary = self.protocol.vocabulary();
        let keyword = line.get(vocabulary.before_keyword..)?.split(' ').next()?;
        let (_, meaning, rfc) = vocabulary.listed.iter().find(|(name, ..)| *name == keyword)?;
        Some(format!("{meaning} [{rfc}]"))
    }
}

/// What the server does when it asks that of the world.
fn does(ask: &str) -> Option<&'static str> {
    let (word, _) = ask.split_once(' ').unwrap_or((ask, ""));
    Some(match word {
        "verify" => "Checks the password",
        "open" => "Locks the mailbox, and looks what is in it",
        "deliver" | "deliver+trace" => "Makes the message durable: only then may the reply say so",
        "update" => "Deletes what was marked",
        "room" => "Asks whether there is room on the disk",
        "begin" => "Asks whether there is room for a message in memory",
        "spill" => "Puts a part of the message into a file",
        "read" => "Reads the message",
        _ => return None,
    })
}

fn happens(what: &str) -> Option<Scene> {
    let note = |text: &str| Some(Scene::Note(text.into()));
    match what.split_once(' ').unwrap_or((what, "")) {
        ("pause", span) => Some(Scene::Note(format!("The server makes the client wait for {span}"))),
        ("wait", span) => Some(Scene::Note(format!("The client is silent, {span} after it came"))),
        ("stop", _) => note("The server is stopped"),
        ("end", _) => note("The client closes"),
        ("close", _) => note("The server closes"),
        ("abort", _) => note("The server hangs up without its last words"),
        _ => None,
    }
}

/// The numbers behind `C~` and `S~`, as a sentence.
fn told(numbers: &str) -> String {
    let value = |name: &str| {
        let value = |word: &str| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        numbers.split_whitespace().find_map(value)
    };
    let (octets, lines) = (value("octets").unwrap_or_default(), value("lines").unwrap_or_default());
    let mut told = format!("{octets} octets of message data in {lines} lines");
    for (name, text) in [
        ("bare_lf", ", with an LF of its own"),
        ("bare_cr", ", with a CR of its own"),
        ("eight_bit", ", with octets above 0x7f"),
        ("longest", ", with a line of more than 1000 octets"),
        ("hops", ", with too many hops"),
    ] {
        if value(name).is_some() {
            told.push_str(text);
        }
    }
    told
}
