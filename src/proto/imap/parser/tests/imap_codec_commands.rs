//! Any command that `imap-codec` can write is parsed, or refused for a reason that stands here.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use imap_codec::{CommandCodec, encode::Encoder, imap_types::command::Command as Written};
use proptest::test_runner::TestRunner;

use super::*;

#[test]
fn y220_every_command_that_imap_codec_writes_is_parsed_or_refused_for_a_known_reason() {
    let mut runner = TestRunner::deterministic();
    let mut parsed: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..CASES {
        // Most octets are letters and digits, because only those make atoms, or short lengths.
        let octets: Vec<u8> = (0..OCTETS)
            .map(|_| match runner.rng().next_u32().to_le_bytes() {
                [0..=191, letter, ..] => b'0' + letter % 75,
                [192..=223, length, ..] => length % 8,
                [_, any, ..] => any,
            })
            .collect();
        let Ok(written) = Written::arbitrary(&mut Unstructured::new(&octets)) else { continue };
        let wire = CommandCodec::default().encode(&written).dump();
        let name = written.body.name();
        match first(&wire) {
            Ok(tag) => {
                assert_eq!(tag, written.tag.as_ref().as_bytes());
                *parsed.entry(name).or_default() += 1;
            }
            Err(reason) => {
                let is_known = KNOWN.iter().any(|(of, known)| [name, "*"].contains(of) && *known == reason);
                assert!(is_known, "{name}, {reason}: {}", wire.escape_ascii());
            }
        }
    }
    eprintln!("{parsed:?}");
    for name in NAMES {
        assert!(parsed.get(name).is_some_and(|times| *times > 0), "no {name} is parsed: {parsed:?}");
    }
}

/// The tag of the command in the octets, or why it is refused.
fn first(wire: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (mut inbox, mut reader) = (Inbox::default(), CommandReader::default());
    inbox.push(wire);
    let raw = loop {
        match reader.read(&mut inbox, 100_000, 100_000, None) {
            Input::Literal(announcement) => {
                // The session takes the message itself.
                if let Some(head) = append_head(reader.begun(), Grammar::Exact) {
                    head.map_err(|expected| expected.text(Language::English))?;
                    return Ok(begun_tag(reader.begun()).unwrap().to_vec());
                }
                reader.accept_literal(announcement.octets);
            }
            Input::Command(command) => break command,
            other => panic!("{other:?}: {}", wire.escape_ascii()),
        }
    };
    let tagged = parse(&raw, Grammar::Exact).map_err(|_| "no tag")?;
    let command = tagged.command.ok_or("no such command")?;
    command.map(|_| tagged.tag).map_err(|expected| expected.text(Language::English))
}

const CASES: usize = 40_000;
/// Octets that a command is made of.
const OCTETS: usize = 300;

/// The commands that must be parsed at least once.
const NAMES: [&str; 1] = ["NOOP"];

/// Commands, and what this server does not take of them.
const KNOWN: [(&str, &str); 13] = [
    ("COMPRESS", "no such command"),
    ("GETMETADATA", "no such command"),
    ("SETMETADATA", "no such command"),
    ("SETQUOTA", "no such command"),
    ("SORT", "no such command"),
    ("THREAD", "no such command"),
    // Empty parentheses, which RFC 9051 has nowhere.
    ("STATUS", "an item of STATUS"),
    ("STATUS", "an item of STATUS that this server has"),
    // RFC 3516 and QRESYNC (RFC 7162 section 3.2), which are not announced.
    ("APPEND", "a message as a literal"),
    ("SELECT", "a parameter"),
    ("EXAMINE", "a parameter"),
    ("FETCH", "(CHANGEDSINCE number)"),
    // The same modifier more than once.
    ("STORE", "(UNCHANGEDSINCE number)"),
];
