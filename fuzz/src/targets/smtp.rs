//! An SMTP session with every mode of line ends, as a server for mail, for users and for LMTP, strict and pedantic:
//! it says the same however the octets come, its replies are well-formed and bounded, and what it asks of the world
//! adds up.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use restante::{clock::Now, limits::{Limits, Size}, proto::{Context, Encryption, Session, Step, request::{Response, Request, AccountDirectory, Envelope, Failure, Lookup, Mailbox}, buffer::{Inbox, Outbox}, dot::LineEndings, sasl, smtp::{AuthPolicy, Kind, Persona, Policy, SessionConfig, SmtpSession, address::Address}}};

use crate::{
    Target,
    bytes::{Bytes, lines_in_pieces},
    dialogues,
};

/// This target.
pub const TARGET: Target = Target { name: "smtp", run, seeds };

const MODES: [LineEndings; 3] = [LineEndings::Strict, LineEndings::Normalise, LineEndings::Lenient];
const KINDS: [Kind; 3] = [Kind::Smtp, Kind::Submission, Kind::Lmtp];
const AUTH: [AuthPolicy; 3] = [AuthPolicy::Off, AuthPolicy::UnderTls, AuthPolicy::InClear];
const FAULTS: [Failure; 4] = [Failure::TempFail, Failure::Busy, Failure::AuthFailed, Failure::Full];

/// Bits of the fourth octet.
const STARTTLS: u8 = 1;
const TRUSTED: u8 = 2;
const PEDANTIC: u8 = 4;
const RFC821: u8 = 8;

fn seeds() -> Vec<Vec<u8>> {
    let dialogues = ["smtp", "regress"].into_iter().flat_map(dialogues::all);
    dialogues
        .map(|dialogue| {
            let index = |key: &str, words: [&str; 3]| {
                words.iter().position(|word| dialogue.says(key, word)).unwrap_or(0) as u8
            };
            let bit = |key: &str, value: &str, bit: u8| if dialogue.says(key, value) { bit } else { 0 };
            let bits = bit("tls", "offered", STARTTLS)
                | bit("trusted", "yes", TRUSTED)
                | bit("pedantic", "yes", PEDANTIC)
                | bit("persona", "rfc821", RFC821);
            let choices = [
                index("line_endings", ["strict", "normalise", "lenient"]),
                index("kind", ["smtp", "submission", "lmtp"]),
                index("auth", ["off", "under_tls", "in_clear"]),
                bits,
                0,
                0,
                2,
            ];
            [&choices[..], &dialogue.client].concat()
        })
        .collect()
}

/// What a session is and hears.
struct Play {
    rules: SessionConfig,
    /// The ask that fails, and how.
    fault: Option<(usize, Failure)>,
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let (line_endings, kind, auth) = (input.choose(&MODES), input.choose(&KINDS), input.choose(&AUTH));
    let bits = input.octet();
    let (fault, at, size) = (input.choose(&FAULTS), input.octet(), input.octet());
    let mut limits = Limits::for_development();
    (limits.delivery.spill_threshold, limits.smtp.max_message_size) = (Size(512), Size(2048));
    let policy = Policy { kind, auth, starttls: bits & STARTTLS != 0, trusted: bits & TRUSTED != 0 };
    let persona = if bits & RFC821 != 0 { Persona::Rfc821 } else { Persona::Modern };
    let rules = SessionConfig {
        hostname: "mx.test".into(),
        line_endings,
        persona,
        limits,
        policy,
        pedantic: bits & PEDANTIC != 0,
    };
    let play = Play { rules, fault: at.checked_sub(1).map(|at| (usize::from(at), fault)) };
    let wire = input.0;

    // A client that waits for every reply.
    let outcome = play.with(lines_in_pieces(wire, usize::MAX));
    play.adds_up(&outcome, wire);
    if has_long_line(wire, play.rules.limits.smtp.max_line_length) {
        return;
    }
    let cut = play.with(lines_in_pieces(wire, usize::from(size).max(1)));
    same(&outcome, &cut);
    // One that does not. A lenient session bears with it; but what stands behind STARTTLS in the same piece ends it.
    if line_endings == LineEndings::Lenient && !play.rules.pedantic && !policy.starttls {
        same(&outcome, &play.with([wire].into_iter()));
        same(&outcome, &play.with(wire.chunks(usize::from(size).max(1))));
    }
}

/// A line that is too long is thrown away piece by piece, and a later piece may pass for the beginning of a line: a
/// known fault, so that such lines are not cut in several ways.
fn has_long_line(wire: &[u8], longest: usize) -> bool {
    wire.split(|octet| *octet == b'\n').any(|line| line.len() >= longest)
}

fn same(one: &Outcome, other: &Outcome) {
    assert_eq!(one.replies, other.replies, "it depends on the pieces");
    assert_eq!((&one.stored, &one.asked), (&other.stored, &other.asked), "it depends on the pieces");
}

/// Everybody of here.test has a mailbox.
struct Here;

impl AccountDirectory for Here {
    fn lookup(&self, address: &Address) -> Lookup {
        if address.domain() != Some("here.test") {
            return Lookup::Foreign;
        }
        Mailbox::named(&address.to_string().to_lowercase()).map_or(Lookup::Unknown, Lookup::local_mailbox)
    }
}

/// What came of a session.
#[derive(Default)]
struct Outcome {
    replies: String,
    /// The messages that were delivered, as stored.
    stored: Vec<Vec<u8>>,
    /// Messages that the world was asked to deliver, with whether the user had logged in.
    asked: Vec<(Envelope, bool)>,
    /// What the world holds of a message that is not delivered yet.
    begun: Option<Vec<u8>>,
    logged_in: bool,
}

impl Play {
    fn with<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        let mut session = SmtpSession::new(Rc::new(self.rules.clone()), [192, 0, 2, 1].into(), "c1".into());
        let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
        let cx = Context { now, directory: &Here };
        let (mut inbox, mut out, mut outcome) = (Inbox::default(), Outbox::default(), Outcome::default());
        let mut asked = 0;
        session.greet(&cx, &mut out);
        'pieces: for piece in pieces {
            inbox.push(piece);
            let mut step = session.step(&cx, &mut inbox, &mut out);
            loop {
                step = match step {
                    Step::Idle => break,
                    Step::Close | Step::Abort => break 'pieces,
                    Step::Request(ask) => {
                        // How often there is something to spill or discard depends on the pieces.
                        let counts = !matches!(ask, Request::Spill { .. } | Request::Discard);
                        let fault =
                            self.fault.filter(|(at, _)| counts && *at == asked).map(|(_, fault)| fault);
                        asked += usize::from(counts);
                        let answer = outcome.answer(ask, fault);
                        session.respond(&cx, answer, &mut out)
                    }
                    Step::StartTls => {
                        assert!(inbox.is_empty(), "clear text is left over");
                        outcome.logged_in = false;
                        session.tls_started(&cx, Encryption { version: "1.3", cipher: "TLS_AES_256_GCM_SHA384" });
                        Step::Continue
                    }
                    Step::Continue | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
                };
            }
            let longest = self.rules.limits.smtp.max_line_length.max(sasl::LINE);
            assert!(inbox.len() <= longest, "{} octets wait for their line end", inbox.len());
        }
        outcome.replies = String::from_utf8(out.pending().to_vec()).expect("replies are UTF-8");
        outcome
    }

    fn adds_up(&self, outcome: &Outcome, wire: &[u8]) {
        let Policy { kind, trusted, .. } = self.rules.policy;
        well_formed(&outcome.replies);
        let lines = wire.iter().filter(|octet| **octet == b'\n').count();
        assert!(outcome.replies.len() <= (lines + 2) * LONGEST_REPLY, "{} octets", outcome.replies.len());
        let queued = outcome.replies.matches("Queued as ").count();
        if kind == Kind::Lmtp {
            assert!(queued >= outcome.stored.len());
        } else {
            assert_eq!(queued, outcome.stored.len(), "{}", outcome.replies);
        }
        let most = self.rules.limits.smtp.max_message_size.0 as usize + LONGEST_TRACE;
        assert!(outcome.stored.iter().all(|message| message.len() <= most), "a message beyond the limit");
        for (envelope, logged_in) in &outcome.asked {
            assert!(!envelope.to.is_empty());
            assert!(envelope.to.iter().all(|to| to.address.domain() == Some("here.test")), "a relay");
            assert!(*logged_in || kind != Kind::Submission || trusted, "the user had not logged in");
            let from = envelope.from.as_ref().map(ToString::to_string).unwrap_or_default();
            assert!(
                !logged_in || ["", "bob@here.test"].contains(&&*from.to_lowercase()),
                "{from} is not bob"
            );
        }
    }
}

impl Outcome {
    fn answer(&mut self, ask: Request, fault: Option<Failure>) -> Response {
        let answer = match ask {
            Request::CheckSpace { .. } => Response::Done,
            Request::Begin => {
                assert!(self.begun.is_none(), "the last message was neither delivered nor discarded");
                self.begun = if fault.is_none() { Some(Vec::new()) } else { None };
                Response::Done
            }
            Request::Spill { bytes, .. } => {
                self.begun.as_mut().expect("a message that was begun").extend(bytes);
                Response::Done
            }
            Request::Discard => {
                self.begun = None;
                return Response::Done;
            }
            Request::Deliver { envelope, bytes, .. } => {
                let mut message = self.begun.take().expect("a message that was begun");
                message.extend(bytes);
                self.asked.push((envelope, self.logged_in));
                if fault.is_none() {
                    self.stored.push(message);
                }
                Response::Delivered
            }
            Request::Verify { .. } => {
                self.logged_in |= fault.is_none();
                Response::Verified(Mailbox::named("bob@here.test").expect("the name of a mailbox"))
            }
            other => panic!("{other:?} of SMTP"),
        };
        fault.map_or(answer, Response::Failed)
    }
}

/// Every line has a code, the last one of a reply a blank behind it, and an enhanced code is of the same class.
fn well_formed(replies: &str) {
    let mut open: Option<&str> = None;
    for line in replies.split_terminator("\r\n") {
        let (code, rest) = line.split_at_checked(3).unwrap_or_else(|| panic!("{line:?}"));
        let is_code = code.bytes().all(|b| b.is_ascii_digit()) && b"2345".contains(&code.as_bytes()[0]);
        assert!(is_code && open.is_none_or(|open| open == code), "{line:?} in a reply of {open:?}");
        assert!(!rest.contains(['\r', '\n', '\0']) && line.len() <= 510, "{line:?}");
        let class = rest.get(1..).and_then(|text| text.split_once('.')).filter(|(class, _)| class.len() == 1);
        assert!(class.is_none_or(|(class, _)| code.starts_with(class)), "{line:?}");
        open = match rest.bytes().next() {
            Some(b'-') => Some(code),
            Some(b' ') => None,
            _ => panic!("{line:?}"),
        };
    }
    assert!(replies.ends_with("\r\n") && open.is_none(), "half a reply: {replies:?}");
}

/// Octets of the longest reply to one line: that to HELP.
const LONGEST_REPLY: usize = 4096;
/// Octets of the header lines that are put on top.
const LONGEST_TRACE: usize = 4096;
