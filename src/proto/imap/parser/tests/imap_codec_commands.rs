//! Any command that `imap-codec` can write is parsed, or refused for a reason that stands here.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Arbitrary, Unstructured};
use imap_codec::{
    CommandCodec,
    encode::Encoder,
    imap_types::command::{Command as Written, CommandBody},
};
use proptest::test_runner::TestRunner;

use super::*;
use crate::proto::imap::command_table::COMMANDS;

#[test]
fn y220_every_command_that_imap_codec_writes_is_parsed_or_refused_for_a_known_reason() {
    let mut runner = TestRunner::deterministic();
    let mut parsed = BTreeMap::<String, usize>::new();
    let mut refused = BTreeSet::new();
    for case in 0..CASES {
        // The first octets choose the command. Most of the others are letters and digits, because only those make atoms, or
        // short lengths.
        let begin = runner.rng().next_u32().to_le_bytes();
        let octets = (0..OCTETS).map(|_| match runner.rng().next_u32().to_le_bytes() {
            [0..=223, letter, ..] => b'0' + letter % 75,
            [224..=239, length, ..] => length % 8,
            [_, any, ..] => any,
        });
        let octets: Vec<u8> = begin.into_iter().chain(octets).collect();
        let Ok(body) = CommandBody::arbitrary(&mut Unstructured::new(&octets)) else { continue };
        let written = Written { tag: format!("a{case}").try_into().unwrap(), body };
        let wire = CommandCodec::default().encode(&written).dump();
        let name = written.body.name();
        match first(&wire) {
            Ok((tag, name)) => {
                assert_eq!(tag, written.tag.as_ref().as_bytes());
                *parsed.entry(name).or_default() += 1;
            }
            Err(reason) => {
                assert!(KNOWN.contains(&(name, reason)), "{name}, {reason}: {}", wire.escape_ascii());
                refused.insert((name, reason));
            }
        }
    }
    let lost: Vec<&str> =
        COMMANDS.iter().map(|row| row.name).filter(|name| !parsed.contains_key(*name)).collect();
    assert_eq!(lost, NOT_WRITTEN, "commands that were never parsed: {parsed:?}");
    assert_eq!(refused, BTreeSet::from(KNOWN));
}

/// The tag and the name of the command in the octets, or why it is refused.
fn first(wire: &[u8]) -> Result<(Vec<u8>, String), &'static str> {
    let (mut inbox, mut reader) = (Inbox::default(), CommandReader::default());
    inbox.push(wire);
    let raw = loop {
        match reader.read(&mut inbox, 100_000, 100_000, None) {
            Input::Literal(announcement) => {
                // The session takes the message itself.
                if let Some(head) = append_head(reader.begun(), Grammar::Exact) {
                    head.map_err(|expected| expected.text(Language::English))?;
                    return Ok((begun_tag(reader.begun()).unwrap().to_vec(), "APPEND".into()));
                }
                reader.accept_literal(announcement.octets);
            }
            Input::Command(command) => break command,
            other => panic!("{other:?}: {}", wire.escape_ascii()),
        }
    };
    let tagged = parse(&raw, Grammar::Exact).map_err(|_| "no tag")?;
    let command = tagged.command.ok_or("no such command")?;
    command.map(|_| (tagged.tag, tagged.name)).map_err(|expected| expected.text(Language::English))
}

const CASES: usize = 20_000;
/// Octets that a command is made of.
const OCTETS: usize = 300;

/// Commands of this server that `imap-codec` does not write.
const NOT_WRITTEN: [&str; 1] = ["LANGUAGE"];

/// Commands, and what this server does not take of them.
const KNOWN: [(&str, &str); 12] = [
    ("COMPRESS", "no such command"),
    ("SETQUOTA", "no such command"),
    ("SORT", "no such command"),
    ("THREAD", "no such command"),
    // Empty parentheses, which RFC 9051 has nowhere.
    ("FETCH", "an item to fetch"),
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
