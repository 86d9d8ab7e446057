//! An SMTP session with every mode of line ends, as a server for mail, for users and for LMTP, strict and pedantic:
//! its replies are the same however the octets are split, they are well-formed and bounded, and its requests to the
//! backend are consistent.

#[path = "../../../tests/any_input/smtp.rs"]
mod session;

use std::time::Duration;

use restante::{limits::{Limits, Size}, proto::{request::Failure, dot::LineEndings, smtp::{AuthPolicy, Kind, Persona, Policy, SessionConfig, SmtpConfig}, syntax::Syntax}};
use session::{Outcome, play, well_formed};

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
const FAULTS: [Failure; 4] =
    [Failure::TempFail, Failure::Busy, Failure::AuthFailed { delay: Duration::ZERO }, Failure::Full];

/// Bits of the fourth octet.
const STARTTLS: u8 = 1;
const TRUSTED: u8 = 2;
const PEDANTIC: u8 = 4;
const RFC821: u8 = 8;
const EXACT: u8 = 16;

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
                | bit("syntax", "exact", EXACT)
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

/// The rules of a session, and its fault.
struct Play {
    rules: SessionConfig,
    /// The number of the request that fails, and its failure.
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
        syntax: if bits & EXACT != 0 { Syntax::Exact } else { Syntax::Forgiving },
        limits,
        pedantic: bits & PEDANTIC != 0,
        protocol: SmtpConfig { persona, policy },
    };
    let play = Play { rules, fault: at.checked_sub(1).map(|at| (usize::from(at), fault)) };
    let wire = input.0;

    // A client that waits for every reply.
    let outcome = play.with(lines_in_pieces(wire, usize::MAX));
    play.adds_up(&outcome, wire);
    let cut = play.with(lines_in_pieces(wire, usize::from(size).max(1)));
    same(&outcome, &cut);
    // A client that does not wait. A lenient session accepts that, but octets after STARTTLS in the same piece end
    // it.
    if line_endings == LineEndings::Lenient && !play.rules.pedantic && !policy.starttls {
        same(&outcome, &play.with([wire].into_iter()));
        same(&outcome, &play.with(wire.chunks(usize::from(size).max(1))));
    }
}

fn same(one: &Outcome, other: &Outcome) {
    assert_eq!(one.replies, other.replies, "it depends on the pieces");
    assert_eq!((&one.stored, &one.asked), (&other.stored, &other.asked), "it depends on the pieces");
}

impl Play {
    fn with<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        play(&self.rules, pieces, |asked| self.fault.filter(|(at, _)| *at == asked).map(|(_, fault)| fault))
    }

    fn adds_up(&self, outcome: &Outcome, wire: &[u8]) {
        let Policy { kind, trusted, .. } = self.rules.protocol.policy;
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

/// Octets of the longest reply to one line: that to HELP.
const LONGEST_REPLY: usize = 4096;
/// Octets of the header lines that are put on top.
const LONGEST_TRACE: usize = 4096;
