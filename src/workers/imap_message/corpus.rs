//! The messages of `tests/mime/`: their skeletons beside those of mail-parser, and the structures that IMAP tells.

use std::{fs, ops::Range, path::Path};

use mail_parser::{MessageParser, MimeHeaders, PartType};

use crate::{
    mime::{
        Message, MimeLimits, Skeleton,
        skeleton::{Kind, tests::skeleton},
        structure::header_end,
    },
    proto::imap::response::structure,
};

/// The messages of the corpus, each with its name.
pub(in crate::workers) fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mime");
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() > 50, "{}", found.len());
    found
}

/// Each part with its number, its type, and the places of its header and its body in the file.
fn rows(bytes: &[u8], skeleton: &Skeleton) -> Vec<String> {
    let message = Message::parse(bytes, &MimeLimits::default());
    let mut rows = Vec::new();
    let mut todo = vec![(0, "0".to_owned())];
    while let Some((index, number)) = todo.pop() {
        let part = &skeleton.parts()[index];
        let kind = part.index.map_or("", |index| &message.parts()[index].media_type.value);
        let Range { start, end } = part.body.file.clone();
        rows.push(format!("{number} {kind} {start}..{end}"));
        match &part.kind {
            Kind::Multipart(children) => todo.extend(
                children.iter().enumerate().map(|(at, child)| (*child, format!("{number}.{}", at + 1))),
            ),
            Kind::Message(child) => todo.push((*child, format!("{number}.m"))),
            Kind::Leaf | Kind::Octets => {}
        }
    }
    rows.sort();
    rows
}

/// The same by mail-parser.
fn rows_of_the_oracle(bytes: &[u8]) -> Vec<String> {
    fn add(message: &mail_parser::Message<'_>, prefix: &str, base: usize, rows: &mut Vec<String>) {
        let mut todo = vec![(0, prefix.to_owned(), "text/plain")];
        while let Some((index, number, default)) = todo.pop() {
            let part = &message.parts[index];
            let kind = part.content_type().map_or_else(
                || default.to_owned(),
                |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("")).to_ascii_lowercase(),
            );
            let (start, end) = (part.offset_body as usize + base, part.offset_end as usize + base);
            rows.push(format!("{number} {kind} {start}..{end}"));
            match &part.body {
                PartType::Multipart(children) => {
                    let default = if kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
                    todo.extend(
                        children
                            .iter()
                            .enumerate()
                            .map(|(at, child)| (*child as usize, format!("{number}.{}", at + 1), default)),
                    );
                }
                PartType::Message(inner) => {
                    add(inner, &format!("{number}.m"), base, rows);
                }
                _ => {}
            }
        }
    }
    let Some(message) = MessageParser::default().parse(bytes) else { return Vec::new() };
    let mut rows = Vec::new();
    add(&message, "0", 0, &mut rows);
    rows.sort();
    rows
}

#[test]
fn the_parts_of_the_corpus_are_those_that_mail_parser_finds() {
    let (mut same, mut different) = (0, Vec::new());
    for (name, bytes) in corpus() {
        let found = skeleton(&bytes);
        let theirs = std::panic::catch_unwind(|| rows_of_the_oracle(&bytes)).unwrap_or_default();
        let ours = rows(&bytes, &found);
        if ours == theirs {
            same += 1;
        } else {
            println!("{name}\n  {ours:?}\n  {theirs:?}");
            different.push(name);
        }
    }
    assert_eq!(different, DIFFERENT, "{same} are the same");
}

/// Messages that mail-parser reads in another way: it decodes nested messages, ends none at a boundary outside of it, fails on
/// messages in messages, and has other guesses for what is malformed.
const DIFFERENT: [&str; 17] = [
    "attached-octets-of-every-value",
    "attachments-without-names",
    "boundary-missing-in-the-header",
    "boundary-right-after-the-header",
    "boundary-that-never-comes",
    "content-type-in-bad-form",
    "content-type-that-is-none",
    "empty",
    "forwarded-message-in-base64",
    "forwarded-message-of-one-empty-line",
    "forwarded-message-without-a-body",
    "forwarded-multipart-without-an-end",
    "messages-in-messages",
    "no-header-at-all",
    "part-without-a-header-end",
    "text-right-after-the-header",
    "two-of-each-field",
];

#[test]
fn the_end_of_a_header_is_found_in_its_first_octets() {
    for (name, bytes) in corpus() {
        let root = Message::parse(&bytes, &MimeLimits::default()).parts()[0].clone();
        let expected = Some((root.header.end, root.body.start));
        assert_eq!(header_end(&bytes, true), expected, "{name}");
        for end in (0..bytes.len().min(3000)).step_by(7) {
            let found = header_end(&bytes[..end], false);
            assert!(found.is_none() || found == expected, "{name} at {end}: {found:?}, not {expected:?}");
        }
    }
}

#[test]
fn y06_the_structures_of_the_corpus_follow_the_grammar() {
    corpus().iter().for_each(|(_, bytes)| structure::tests::check(bytes));
}
