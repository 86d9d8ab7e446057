//! A client of IMAP whose server may vanish at any moment.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
};

use super::super::wire::Wire;

pub(crate) struct ImapWire {
    wire: Wire,
    tag: u32,
    /// The last commands, and the tagged lines that end them.
    history: VecDeque<String>,
}

/// A line of the server that has no tag, with its literals.
pub(crate) struct Untagged {
    pub(crate) text: String,
    literals: Vec<Vec<u8>>,
}

/// All that the server said to a command.
pub(crate) struct Reply {
    pub(crate) untagged: Vec<Untagged>,
    /// The text of OK.
    text: String,
}

/// A message in a response to FETCH.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) uid: u32,
    pub(crate) flags: BTreeSet<String>,
    pub(crate) date: String,
    pub(crate) octets: Vec<u8>,
}

/// The folder that SELECT has opened.
pub(crate) struct Selected {
    pub(crate) validity: u32,
    pub(crate) uid_next: u32,
    pub(crate) modseq: u64,
}

impl ImapWire {
    /// Connects and logs in; with any password, since everybody may.
    pub(crate) fn login(address: SocketAddr, user: &str) -> io::Result<Self> {
        let mut wire = Self { wire: Wire::connect(address)?, tag: 0, history: VecDeque::new() };
        wire.wire.line()?;
        wire.command(&format!("LOGIN {user} sesame"))?;
        Ok(wire)
    }

    /// A command. NO and BAD are errors of kind `Other`.
    pub(crate) fn command(&mut self, command: &str) -> io::Result<Reply> {
        self.send(command)?;
        self.reply()
    }

    /// APPEND: a command with a message after it.
    pub(crate) fn append(&mut self, command: &str, message: &[u8]) -> io::Result<Reply> {
        self.send(&format!("{command} {{{}}}", message.len()))?;
        let line = self.whole_line()?.text;
        if !line.starts_with('+') {
            return Err(io::Error::other(line));
        }
        self.wire.write(&[message, b"\r\n"].concat())?;
        self.reply()
    }

    pub(crate) fn select(&mut self, folder: &str) -> io::Result<Selected> {
        let reply = self.command(&format!("SELECT {folder}"))?;
        let number = |name: &str| {
            let number = reply.code(name).and_then(|number| number.parse::<u64>().ok());
            number.ok_or_else(|| io::Error::other(format!("SELECT {folder} tells no {name}")))
        };
        let short = |name| number(name).and_then(|n| u32::try_from(n).map_err(io::Error::other));
        let (validity, uid_next) = (short("UIDVALIDITY")?, short("UIDNEXT")?);
        Ok(Selected { validity, uid_next, modseq: number("HIGHESTMODSEQ")? })
    }

    /// The last commands, and the tagged lines that end them.
    pub(crate) fn history(&self) -> Vec<String> {
        self.history.iter().cloned().collect()
    }

    fn remember(&mut self, line: String) {
        if self.history.len() == REMEMBERED {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        self.tag += 1;
        self.remember(format!("a{} {command}", self.tag));
        self.wire.write(format!("a{} {command}\r\n", self.tag).as_bytes())
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let tag = format!("a{} ", self.tag);
        let mut untagged = Vec::new();
        loop {
            let line = self.whole_line()?;
            if let Some(text) = line.text.strip_prefix("* ") {
                untagged.push(Untagged { text: text.to_owned(), literals: line.literals });
            } else if let Some(status) = line.text.strip_prefix(&tag) {
                self.remember(line.text.clone());
                let text = status.strip_prefix("OK ").map(str::to_owned);
                let text = text.ok_or_else(|| io::Error::other(status.to_owned()))?;
                return Ok(Reply { untagged, text });
            } else {
                return Err(io::Error::other(format!("no reply: {}", line.text)));
            }
        }
    }

    /// A line and the literals in it.
    fn whole_line(&mut self) -> io::Result<Untagged> {
        let (mut text, mut literals) = (String::new(), Vec::new());
        loop {
            text.push_str(&String::from_utf8_lossy(&self.wire.line()?));
            let Some(octets) = announced(&text) else { return Ok(Untagged { text, literals }) };
            literals.push(self.wire.octets(octets)?);
        }
    }
}

/// Lines of the history of a session.
const REMEMBERED: usize = 16;

/// The octets of the literal that a line announces at its end.
fn announced(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

impl Reply {
    /// The argument of the response code with this name, from any line.
    pub(crate) fn code(&self, name: &str) -> Option<&str> {
        let lines = self.untagged.iter().map(|line| line.text.as_str()).chain([self.text.as_str()]);
        lines.filter_map(|line| line.split_once('[')?.1.split_once(']')).find_map(|(code, _)| {
            let (first, rest) = code.split_once(' ')?;
            (first == name).then_some(rest)
        })
    }

    /// The pairs of old and new UIDs in COPYUID, and the UID validity.
    pub(crate) fn copy_uids(&self) -> Option<(u32, Vec<(u32, u32)>)> {
        let words: Vec<&str> = self.code("COPYUID")?.split(' ').collect();
        let [validity, from, to] = words[..] else { return None };
        let (from, to) = (numbers(from)?, numbers(to)?);
        (from.len() == to.len()).then_some((validity.parse().ok()?, from.into_iter().zip(to).collect()))
    }

    /// The UID validity and the UID in APPENDUID.
    pub(crate) fn append_uid(&self) -> Option<(u32, u32)> {
        let (validity, uid) = self.code("APPENDUID")?.split_once(' ')?;
        Some((validity.parse().ok()?, uid.parse().ok()?))
    }

    /// The messages in responses to FETCH that have a literal.
    pub(crate) fn fetched(self) -> impl Iterator<Item = Fetched> {
        self.untagged.into_iter().filter_map(|mut line| {
            let octets = line.literals.pop()?;
            let date =
                line.after("INTERNALDATE \"").and_then(|rest| rest.split_once('"')).map(|(date, _)| date);
            let date = date.unwrap_or_default().to_owned();
            Some(Fetched { uid: line.uid()?, flags: line.flags()?, date, octets })
        })
    }

    /// The flags that responses to FETCH tell last, by the UID.
    pub(crate) fn flags(&self) -> BTreeMap<u32, BTreeSet<String>> {
        self.untagged.iter().filter_map(|line| Some((line.uid()?, line.flags()?))).collect()
    }
}

impl Untagged {
    fn after(&self, name: &str) -> Option<&str> {
        self.text.split_once(name).map(|(_, rest)| rest)
    }

    fn uid(&self) -> Option<u32> {
        self.after("UID ")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// The flags without `\Recent`, which belongs to the session and not to the message.
    fn flags(&self) -> Option<BTreeSet<String>> {
        let flags = self.after("FLAGS (")?.split_once(')')?.0.split_whitespace();
        Some(flags.filter(|flag| *flag != "\\Recent").map(str::to_owned).collect())
    }
}

/// The numbers of a set, as `2:4,7`.
fn numbers(set: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in set.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        numbers.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}
