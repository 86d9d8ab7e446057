//! Letters that can be told apart and compared to the last octet without being kept: everything in a letter
//! follows from its id.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::common::client::with_lf;

/// The letter of that id with CRLF line ends. Only a letter whose id ends in [`OPEN`] has no end of its last
/// line.
pub(crate) fn letter(id: &str) -> Vec<u8> {
    let mut letter = format!(
        "{MARK}{id}\r\nFrom: ann@far.test\r\nTo: {ALICE}\r\nDate: Thu, 01 Jan 2026 12:00:00 +0000\r\n\
         Message-ID: <{id}@far.test>\r\nSubject: {id}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    .into_bytes();
    let lines = if draw(id, 0, 8) == 0 { 3000 } else { draw(id, 1, 30) };
    for n in 0..lines {
        letter.extend_from_slice(&line(id, 2 + n));
        letter.extend_from_slice(b"\r\n");
    }
    if id.ends_with(OPEN) {
        letter.extend_from_slice(b"the end");
    }
    letter
}

/// The same as a file of a Unix system.
pub(crate) fn file(id: &str) -> Vec<u8> {
    with_lf(&letter(id))
}

fn line(id: &str, n: usize) -> Vec<u8> {
    match draw(id, n, 12) {
        0 => b".".to_vec(),
        1 => b"..and dots".to_vec(),
        2 => b"From here to there".to_vec(),
        3 => "d\u{e9}j\u{e0} vu \u{2014} \u{c6}\u{d8}\u{c5}".as_bytes().to_vec(),
        4 => b" \tblanks before and after ".to_vec(),
        5 => Vec::new(),
        6 => vec![b'x'; 900 + draw(id, n + 1, 90)],
        _ => format!("line {n} of {id}").into_bytes(),
    }
}

/// A number below `end` that follows from the id.
fn draw(id: &str, n: usize, end: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    (id, n).hash(&mut hasher);
    usize::try_from(hasher.finish() % end as u64).unwrap() // invariant: below a usize
}

/// The id of the letter in this text, with either kind of line ends, below lines that servers put on top. An
/// error says how it differs from the letter that was sent.
pub(crate) fn identify(text: &[u8]) -> Result<String, String> {
    let text = with_lf(text);
    let shown = |from: usize| String::from_utf8_lossy(&text[from..text.len().min(from + 200)]).into_owned();
    let marked = |at: &usize| text[*at..].starts_with(MARK.as_bytes());
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', &text).map(|at| at + 1));
    let start = starts.take(40).find(marked).ok_or_else(|| format!("no letter: {:?}", shown(0)))?;
    let trace = String::from_utf8_lossy(&text[..start]);
    if let Some(line) = trace.lines().find(|line| !TRACE.iter().any(|name| line.starts_with(name))) {
        return Err(format!("a strange line on top: {line:?}"));
    }
    let rest = &text[start + MARK.len()..];
    let id = String::from_utf8_lossy(&rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())]).into_owned();
    let mut sent = file(&id);
    let got = &text[start..];
    // On the wire every line has an end, and so it has in the files of programs that fetched the letter from
    // there.
    if id.ends_with(OPEN) && got.ends_with(b"\n") {
        sent.push(b'\n');
    }
    if *got == *sent {
        return Ok(id);
    }
    let same = got.iter().zip(&sent).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{id} differs from octet {same} of {}, {} long: {:?}",
        sent.len(),
        got.len(),
        shown(start + same)
    ))
}

/// A letter without the fields that a program adds to it.
pub(crate) fn without_fields(text: &[u8], names: &[&str]) -> Vec<u8> {
    let lines = text.split_inclusive(|&octet| octet == b'\n');
    let is_added = |line: &&[u8]| names.iter().any(|name| line.starts_with(name.as_bytes()));
    lines.filter(|line| !is_added(line)).flatten().copied().collect()
}

/// The id of a text that must be a letter.
#[track_caller]
pub(crate) fn identified(text: &[u8]) -> String {
    identify(text).unwrap_or_else(|why| panic!("{why}"))
}

/// Ids of so many letters of one sender.
pub(crate) fn ids(by: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{by}-{n}")).collect()
}

/// The owner of the letters.
pub(crate) const ALICE: &str = "alice@example.test";
/// The end of the id of a letter whose last line has no line end.
pub(crate) const OPEN: &str = "-open";
const MARK: &str = "Letter: ";
const TRACE: [&str; 6] = ["Return-Path:", "Delivered-To:", "Received:", "X-getmail-", "\t", " "];
