//! A POP3 session with every mode of line ends, strict and pedantic: it says the same however the octets come, every
//! line has one reply that is well-formed, a message comes whole or without its final dot, and QUIT changes what the
//! client has marked and nothing else.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use restante::{clock::Now, limits::Limits, wire_size::wire_size, proto::{Context, Encryption, Session, Step, request::{Response, Request, AccountDirectory, Failure, Lookup, Mailbox, Maildrop}, buffer::{Inbox, Outbox}, dot::LineEndings, pop3::{Expire, Persona, Pop3Session, SessionConfig}, sasl, smtp::address::Address}};

use crate::{
    Target,
    bytes::{Bytes, lines_in_pieces},
    dialogues,
};

/// This target.
pub const TARGET: Target = Target { name: "pop3", run, seeds };

const MODES: [LineEndings; 3] = [LineEndings::Strict, LineEndings::Normalise, LineEndings::Lenient];
const EXPIRE: [Option<Expire>; 4] =
    [None, Some(Expire::Never), Some(Expire::Retrieved), Some(Expire::Days(30))];
const PERSONAS: [Persona; 4] = [Persona::Modern, Persona::Rfc1939, Persona::Rfc1460, Persona::Rfc1081];
const FAULTS: [Failure; 10] = [
    Failure::TempFail,
    Failure::Busy,
    Failure::Changed,
    Failure::TooManyOpen,
    Failure::Truncated,
    Failure::AuthFailed,
    Failure::Gone,
    Failure::NoFolder,
    Failure::LoginDelay,
    Failure::MailboxUnusable,
];

/// Bits of the fourth octet.
const STLS: u8 = 1;
const NO_CLEAR_TEXT: u8 = 2;
const PEDANTIC: u8 = 4;

fn seeds() -> Vec<Vec<u8>> {
    let dialogues = ["pop3", "regress"].into_iter().flat_map(dialogues::all);
    let of_dialogue = |dialogue: dialogues::Dialogue| {
        let bit = |key: &str, value: &str, bit: u8| if dialogue.says(key, value) { bit } else { 0 };
        let bits = bit("tls", "offered", STLS)
            | bit("auth", "under_tls", NO_CLEAR_TEXT)
            | bit("pedantic", "yes", PEDANTIC);
        let expire = ["never", "0", "30 days"].iter().position(|expire| dialogue.says("expire", expire));
        let personas = ["rfc1939", "rfc1460", "rfc1081"];
        let persona = personas.iter().position(|persona| dialogue.says("persona", persona));
        let choices = [
            if dialogue.says("line_endings", "lenient") { 2 } else { 0 },
            expire.map_or(0, |at| at as u8 + 1),
            persona.map_or(0, |at| at as u8 + 1),
            bits,
            0,
            0,
            2,
        ];
        [&choices[..], &dialogue.client].concat()
    };
    dialogues.map(of_dialogue).collect()
}

/// What is in the mailbox.
const MESSAGES: [&str; 4] =
    ["A: 1\n\none\n.two\n", "", ".\n..\n\n.\nno end", "B: 2\n\n\n\nthree lines\nand\nmore\n"];

#[derive(Debug)]
struct Messages;

impl Maildrop for Messages {
    fn len(&self) -> usize {
        MESSAGES.len()
    }

    fn total(&self) -> u64 {
        (0..self.len()).map(|message| self.octets(message)).sum()
    }

    fn octets(&self, message: usize) -> u64 {
        wire_size(MESSAGES[message].as_bytes())
    }

    fn unique_id(&self, message: usize) -> Cow<'_, str> {
        format!("uid-{message}").into()
    }

    fn delivered_at(&self, _: usize) -> u64 {
        0
    }
}

struct Nobody;

impl AccountDirectory for Nobody {
    fn lookup(&self, _: &Address) -> Lookup {
        Lookup::Foreign
    }
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let (line_endings, expire, persona) =
        (input.choose(&MODES), input.choose(&EXPIRE), input.choose(&PERSONAS));
    let bits = input.octet();
    let (fault, at, size) = (input.choose(&FAULTS), input.octet(), usize::from(input.octet()).max(1));
    // The clock stands still: no wait for a mailbox that is locked.
    let mut limits = Limits::for_development();
    limits.pop3.lock_timeout = "0s".parse().expect("a span");
    let rules = SessionConfig {
        hostname: "mx.test".into(),
        line_endings,
        persona,
        expire,
        stls: bits & STLS != 0,
        plaintext_auth: bits & NO_CLEAR_TEXT == 0,
        limits,
        pedantic: bits & PEDANTIC != 0,
    };
    let play = Play { rules, fault: at.checked_sub(1).map(|at| (usize::from(at), fault)) };
    let wire = input.0;
    let outcome = play.with(lines_in_pieces(wire, usize::MAX));
    play.adds_up(&outcome, wire);
    // Of a line that is too long, a later piece may pass for the beginning of one: a known fault, so that such lines
    // are not cut in several ways.
    if wire.split(|octet| *octet == b'\n').any(|line| line.len() >= play.rules.limits.pop3.max_line_length) {
        return;
    }
    assert_eq!(play.with(lines_in_pieces(wire, size)), outcome, "it depends on the pieces");
    // What stands behind STLS in the same piece ends the session.
    if !play.rules.stls {
        assert_eq!(play.with([wire].into_iter()), outcome, "it depends on the pieces");
        assert_eq!(play.with(wire.chunks(size)), outcome, "it depends on the pieces");
    }
}

/// What came of a session.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    said: Vec<u8>,
    /// What QUIT asked for.
    update: Option<(Vec<usize>, Vec<usize>)>,
    over: bool,
    aborted: bool,
    /// Whether a message could not be read on in its midst.
    cut: bool,
}

struct Play {
    rules: SessionConfig,
    /// The ask that fails, and how.
    fault: Option<(usize, Failure)>,
}

impl Play {
    fn with<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
        let cx = Context { now, directory: &Nobody };
        let (mut inbox, mut out) = (Inbox::default(), Outbox::default());
        let mut session = Pop3Session::new(Rc::new(self.rules.clone()));
        let (mut outcome, mut asked) = (Outcome::default(), 0);
        session.greet(&cx, &mut out);
        outcome.said.extend_from_slice(out.pending());
        out.consume(out.pending().len());
        for piece in pieces {
            inbox.push(piece);
            let mut step = session.step(&cx, &mut inbox, &mut out);
            loop {
                if matches!(step, Step::Abort) {
                    (outcome.over, outcome.aborted) = (true, true);
                    return outcome;
                }
                outcome.said.extend_from_slice(out.pending());
                out.consume(out.pending().len());
                step = match step {
                    Step::Continue | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
                    Step::Request(ask) => {
                        let fault = self.fault.filter(|(at, _)| *at == asked).map(|(_, fault)| fault);
                        asked += 1;
                        outcome.cut |= fault.is_some() && matches!(ask, Request::Read { from: 1.., .. });
                        let answer = answer(ask, &mut outcome);
                        session.respond(&cx, fault.map_or(answer, Response::Failed), &mut out)
                    }
                    Step::Idle => break,
                    Step::StartTls => {
                        assert!(self.rules.stls && inbox.is_empty(), "clear text is left over");
                        session.tls_started(&cx, Encryption { version: "1.3", cipher: "TLS_AES_256_GCM_SHA384" });
                        Step::Continue
                    }
                    Step::Close | Step::Abort => {
                        outcome.over = true;
                        return outcome;
                    }
                };
            }
            let longest = self.rules.limits.pop3.max_line_length.max(sasl::LINE);
            assert!(inbox.len() <= longest, "{} octets wait for their line end", inbox.len());
        }
        outcome
    }

    fn adds_up(&self, outcome: &Outcome, wire: &[u8]) {
        let mut reader = Reader { said: &outcome.said, deleted: BTreeSet::new(), retrieved: BTreeSet::new() };
        let banner = reader.line().expect("a banner");
        assert!(banner.starts_with(b"+OK "));
        let mut answered = 0;
        let lines: Vec<&[u8]> =
            wire.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n")).collect();
        for line in &lines {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            // A client on a terminal may have corrected itself: its replies are read without its commands.
            let plain = self.rules.line_endings != LineEndings::Lenient
                || line.iter().all(|b| b.is_ascii_graphic() || *b == b' ' || *b == b'\r');
            if !plain || reader.reply(line.strip_suffix(b"\r").unwrap_or(line)).is_none() {
                break;
            }
            answered += 1;
        }
        let corrected = answered < lines.len() && !outcome.over;
        assert_eq!(outcome.aborted, outcome.cut);
        if outcome.aborted {
            assert_eq!(outcome.update, None);
        } else if answered == lines.len() {
            let (deleted, retrieved) = (reader.deleted, reader.retrieved);
            // A client that is shut out is told so at any time, also where its line has no end.
            let rest = reader.said;
            assert!(
                rest.is_empty() || (outcome.over && rest.starts_with(b"-ERR ")),
                "more replies than lines"
            );
            if let Some((delete, seen)) = &outcome.update {
                // What is expired goes beside what was marked.
                assert!(deleted.iter().all(|message| delete.contains(message)));
                let keeps = matches!(self.rules.expire, None | Some(Expire::Never));
                assert!(!keeps || deleted.iter().eq(delete), "another message is deleted");
                assert!(seen.iter().all(|message| retrieved.contains(message) && !delete.contains(message)));
            }
        } else {
            assert!(corrected || outcome.over, "a line without a reply");
        }
    }
}

fn answer(ask: Request, outcome: &mut Outcome) -> Response {
    match ask {
        Request::Verify { .. } => Response::Verified(Mailbox::named("bob").expect("the name of a mailbox")),
        Request::Open { .. } => Response::Opened(Arc::new(Messages)),
        Request::Read { message, from } => {
            let rest = &MESSAGES[message].as_bytes()[from as usize..];
            let (bytes, after) = rest.split_at(rest.len().min(5));
            Response::Chunk { bytes: bytes.to_vec(), last: after.is_empty() }
        }
        Request::Update { delete, seen } => {
            assert_eq!(outcome.update, None, "one update ends a session");
            outcome.update = Some((delete, seen));
            Response::Updated
        }
        other => panic!("a POP3 session has no use for {other:?}"),
    }
}

/// Reads what a session said as a client does, and keeps its own account of the marks.
struct Reader<'a> {
    said: &'a [u8],
    deleted: BTreeSet<usize>,
    retrieved: BTreeSet<usize>,
}

impl Reader<'_> {
    /// The next line without its CRLF; `None` at the end of what was said.
    fn line(&mut self) -> Option<&[u8]> {
        let end = self.said.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, rest) = self.said.split_at(end + 2);
        self.said = rest;
        Some(&line[..end])
    }

    /// The lines up to the final dot, without the stuffing. `None`: it never came.
    fn text(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            match self.line()? {
                b"." => return Some(text),
                line => text.extend_from_slice(&[line.strip_prefix(b".").unwrap_or(line), b"\r\n"].concat()),
            }
        }
    }

    /// The reply to a command. `None`: the session ended in its midst.
    fn reply(&mut self, command: &[u8]) -> Option<()> {
        let status = String::from_utf8(self.line()?.to_vec()).expect("replies are UTF-8");
        assert!(status.len() <= 510 && !status.contains('\0'), "{status:?}");
        // A challenge makes the next line its response.
        if status.starts_with("-ERR ") || status == "+ " {
            return Some(());
        }
        let told = status.strip_prefix("+OK ").expect(&status);
        let command = String::from_utf8_lossy(command).into_owned();
        let (verb, argument) = command.split_once(' ').map_or((&*command, None), |(verb, a)| (verb, Some(a)));
        let message = || {
            let number =
                argument.and_then(|argument| argument.trim().split(' ').next()?.parse::<usize>().ok());
            number.expect("what was accepted has a number") - 1
        };
        match (&*verb.to_ascii_uppercase(), argument.filter(|argument| !argument.trim().is_empty())) {
            ("STAT", _) => {
                let left = (0..MESSAGES.len()).filter(|message| !self.deleted.contains(message));
                let octets: u64 = left.clone().map(|message| Messages.octets(message)).sum();
                assert_eq!(told, format!("{} {octets}", left.count()));
            }
            ("LIST" | "UIDL", None) => {
                let lines = self.text()?.iter().filter(|b| **b == b'\n').count();
                assert_eq!(lines, MESSAGES.len() - self.deleted.len());
            }
            ("RETR", _) => {
                let message = message();
                let text = self.text()?;
                assert_eq!(told, format!("{} octets", text.len()));
                assert_eq!(text.len() as u64, Messages.octets(message));
                self.retrieved.insert(message);
            }
            ("TOP", _) | ("CAPA" | "LANG" | "AUTH", None) => drop(self.text()?),
            ("DELE", _) => assert!(self.deleted.insert(message()), "deleted twice"),
            ("RSET", _) => self.deleted.clear(),
            _ => {}
        }
        Some(())
    }
}
