//! An IMAP session with every mode of line ends, strict and pedantic, while other programs change its folders and
//! requests fail: its output is the same however the octets are split, and a client can read all of it.

#[path = "../../../tests/any_input/folders.rs"]
mod folders;
#[path = "../../../tests/any_input/imap.rs"]
mod session;

use restante::{
    limits::Limits,
    proto::{
        dot::LineEndings,
        imap::{ImapConfig, SessionConfig},
        request::Failure,
        syntax::Syntax,
    },
};
use session::{Event, Outcome, play, read};

use crate::{
    Target,
    bytes::{Bytes, lines_in_pieces},
    dialogues,
};

/// This target.
pub const TARGET: Target = Target { name: "imap", run, seeds };

const MODES: [LineEndings; 3] = [LineEndings::Strict, LineEndings::Normalise, LineEndings::Lenient];
const FAULTS: [Failure; 6] = [
    Failure::TempFail,
    Failure::Busy,
    Failure::Gone,
    Failure::Quota,
    Failure::Full,
    Failure::NoFolder,
];
const CHANGES: [&str; 6] = [
    "new INBOX - 1",
    "new INBOX S 3",
    "gone INBOX 1",
    "gone INBOX 2 3",
    "flags INBOX 2 FS",
    "keyword INBOX Later",
];

/// Bits of the second octet.
const STARTTLS: u8 = 1;
const NO_CLEAR_TEXT: u8 = 2;
const PEDANTIC: u8 = 4;

fn seeds() -> Vec<Vec<u8>> {
    let of_dialogue = |dialogue: dialogues::Dialogue| {
        let bit = |key: &str, value: &str, bit: u8| if dialogue.says(key, value) { bit } else { 0 };
        let bits = bit("tls", "offered", STARTTLS)
            | bit("auth", "under_tls", NO_CLEAR_TEXT)
            | bit("pedantic", "yes", PEDANTIC);
        let mode = if dialogue.says("line_endings", "lenient") { 2 } else { 0 };
        [&[mode, bits, 0, 0, 0, 0, 2], dialogue.client.as_slice()].concat()
    };
    dialogues::all("imap").into_iter().map(of_dialogue).collect()
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let line_endings = input.choose(&MODES);
    let bits = input.octet();
    let (fault, fails_at) = (input.choose(&FAULTS), input.octet());
    let (change, changes_at) = (input.choose(&CHANGES), input.octet());
    let size = usize::from(input.octet()).max(1);
    let config = SessionConfig {
        hostname: "mx.test".into(),
        line_endings,
        syntax: Syntax::Forgiving,
        limits: Limits::for_development(),
        pedantic: bits & PEDANTIC != 0,
        protocol: ImapConfig {
            starttls: bits & STARTTLS != 0,
            plaintext_auth: bits & NO_CLEAR_TEXT == 0,
            withheld: Vec::new(),
        },
    };
    let event = |asked: usize| match asked + 1 {
        number if number == usize::from(fails_at) => Some(Event::Failure(fault)),
        number if number == usize::from(changes_at) => Some(Event::Change(change.into())),
        _ => None,
    };
    let wire = input.0;
    let outcome = play(&config, lines_in_pieces(wire, usize::MAX), event);
    if !outcome.aborted {
        read(&outcome.said);
    }
    assert_same(&play(&config, lines_in_pieces(wire, size), event), &outcome);
    // Octets after STARTTLS in the same piece end the session.
    if !config.protocol.starttls {
        assert_same(&play(&config, [wire].into_iter(), event), &outcome);
        assert_same(&play(&config, wire.chunks(size), event), &outcome);
    }
}

fn assert_same(one: &Outcome, other: &Outcome) {
    assert_eq!(one, other, "it depends on the pieces");
}
