//! Transcripts: any text is read to its end, a diagram contains only its grammar and words, and unescaping returns the
//! original of escaped text.

use restante::{proto::smtp::reply_codes, transcript::{ElidedData, Reader, mermaid::diagram, format::{escaped, quoted, unescaped, unquoted}}};

use super::owned;
use crate::{Target, dialogues};

/// This target.
pub const TARGET: Target = Target { name: "transcript", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    let dialogues = ["smtp", "pop3", "regress"].into_iter().flat_map(dialogues::all);
    let mut seeds: Vec<_> = dialogues.map(|dialogue| dialogue.source.into_bytes()).collect();
    seeds.extend(owned([
        "# A session of c1.\n# time: +1.5\n# state: start -> greeted\n# spool: new /s/b/new/1.x\n# tls: 1.3 AES\n\
         # cut: reset\n# dropped: 3 lines\n. pause 2s\n! failed Full\nS: 334 UGFzc3dvcmQ6\nC~ octets=9 lines=1 hops=3\n",
        "a \\x20\n|\"\\\n",
    ]));
    seeds
}

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut reader = Reader::default();
    for line in text.lines() {
        let told = reader.line(line).map_or(0, |scene| format!("{scene:?}").len());
        // Room for the escapes of Debug, and for a sentence of ours.
        assert!(told <= 16 * line.len() + 1024, "{line:?} tells {told} octets");
    }
    let drawn = diagram(&text);
    assert!(drawn.lines().count() <= text.lines().count() + 3, "a peer has drawn a line of its own");
    assert!(!drawn.chars().any(|c| c.is_control() && c != '\n'), "{drawn:?}");
    let (code, rest) = text.split_at_checked(3).unwrap_or((&text, ""));
    let (enhanced, _) = reply_codes::enhanced(rest);
    assert!(reply_codes::explain(code, enhanced).len() <= 1024 + text.len());
    written(data);
    left_out(data);
}

/// Escaped data is one printable line, and reads back.
fn written(data: &[u8]) {
    let line = escaped(data);
    assert!(!line.chars().any(char::is_control) && !line.ends_with(' '), "{line:?}");
    assert_eq!(unescaped(&line).as_deref(), Ok(data));
    let quoted = quoted(data);
    assert_eq!(unquoted(&quoted), Ok((data.to_vec(), "")), "{quoted}");
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(octets) = unescaped(text) {
            assert_eq!(unescaped(&escaped(&octets)), Ok(octets));
        }
        let _ = Some(text).filter(|text| !text.contains('*')).map(unquoted); // a count makes any length
    }
}

/// The summary of elided message data does not depend on the pieces.
fn left_out(data: &[u8]) {
    let told = |size: usize| {
        let mut left_out = ElidedData::default();
        data.chunks(size).for_each(|piece| left_out.feed(piece));
        left_out.summary()
    };
    assert_eq!(told(data.len().max(1)), told(3));
    // A chunk of BDAT may begin with the LF of a line end, and moments without octets may come at any time.
    let following = |idle: bool| {
        let mut left_out = ElidedData::following(true);
        for piece in data.chunks(3) {
            if idle {
                left_out.feed(b"");
            }
            left_out.feed(piece);
        }
        left_out.summary()
    };
    assert_eq!(following(true), following(false));
}
