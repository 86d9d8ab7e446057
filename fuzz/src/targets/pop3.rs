//! A POP3 session with every mode of line ends, strict and pedantic: its output is the same however the octets are
//! split, every line has one reply that is well-formed, a message comes whole or without its final dot, and QUIT
//! changes only messages that the client has marked or that have expired.

#[path = "../../../tests/any_input/pop3.rs"]
mod session;

use std::{collections::BTreeSet, time::Duration};

use restante::{limits::Limits, proto::{request::Failure, dot::LineEndings, pop3::{Expire, Persona, Pop3Config, SessionConfig}, syntax::Syntax}};
use session::{Outcome, Reader, play};

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
    Failure::AuthFailed { delay: Duration::ZERO },
    Failure::Gone,
    Failure::NoFolder,
    Failure::LoginDelay,
    Failure::MailboxUnusable,
];

/// Bits of the fourth octet.
const STLS: u8 = 1;
const NO_CLEAR_TEXT: u8 = 2;
const PEDANTIC: u8 = 4;
const EXACT: u8 = 8;

fn seeds() -> Vec<Vec<u8>> {
    let dialogues = ["pop3", "regress"].into_iter().flat_map(dialogues::all);
    let of_dialogue = |dialogue: dialogues::Dialogue| {
        let bit = |key: &str, value: &str, bit: u8| if dialogue.says(key, value) { bit } else { 0 };
        let bits = bit("tls", "offered", STLS)
            | bit("auth", "under_tls", NO_CLEAR_TEXT)
            | bit("pedantic", "yes", PEDANTIC)
                | bit("syntax", "exact", EXACT);
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

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let (line_endings, expire, persona) =
        (input.choose(&MODES), input.choose(&EXPIRE), input.choose(&PERSONAS));
    let bits = input.octet();
    let (fault, at, size) = (input.choose(&FAULTS), input.octet(), usize::from(input.octet()).max(1));
    // The clock stands still: no wait for a mailbox that is locked.
    let wait = "0s".parse().expect("a span");
    let mut limits = Limits::for_development();
    limits.pop3.lock_timeout = wait;
    let rules = SessionConfig {
        hostname: "mx.test".into(),
        line_endings,
        syntax: if bits & EXACT != 0 { Syntax::Exact } else { Syntax::Forgiving },
        limits,
        pedantic: bits & PEDANTIC != 0,
        protocol: Pop3Config {
            persona,
            expire,
            stls: bits & STLS != 0,
            plaintext_auth: bits & NO_CLEAR_TEXT == 0,
        },
    };
    let play = Play { rules, fault: at.checked_sub(1).map(|at| (usize::from(at), fault)) };
    let wire = input.0;
    let outcome = play.with(lines_in_pieces(wire, usize::MAX));
    play.adds_up(&outcome, wire);
    assert_eq!(play.with(lines_in_pieces(wire, size)), outcome, "it depends on the pieces");
    // Octets after STLS in the same piece end the session.
    if !play.rules.protocol.stls {
        assert_eq!(play.with([wire].into_iter()), outcome, "it depends on the pieces");
        assert_eq!(play.with(wire.chunks(size)), outcome, "it depends on the pieces");
    }
}

struct Play {
    rules: SessionConfig,
    /// The number of the request that fails, and its failure.
    fault: Option<(usize, Failure)>,
}

impl Play {
    fn with<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        play(&self.rules, pieces, |asked| self.fault.filter(|(at, _)| *at == asked).map(|(_, fault)| fault))
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
            // A client on a terminal may correct its line, so its replies are not compared with the commands.
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
                // QUIT deletes the expired messages together with the marked ones.
                assert!(deleted.iter().all(|message| delete.contains(message)));
                let keeps = matches!(self.rules.protocol.expire, None | Some(Expire::Never));
                assert!(!keeps || deleted.iter().eq(delete), "another message is deleted");
                assert!(seen.iter().all(|message| retrieved.contains(message) && !delete.contains(message)));
            }
        } else {
            assert!(corrected || outcome.over, "a line without a reply");
        }
    }
}
