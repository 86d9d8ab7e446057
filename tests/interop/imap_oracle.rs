//! Dovecot's IMAP server as an oracle: both serve the same messages, and give the same answers about them.
//! Differences are listed in [`KNOWN`], each with its reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use crate::{
    awkward,
    common::{Server, home},
    dovecot::DOVECOT_IMAP,
    imap::{Imap, Response, number_after, server},
    letters::ALICE,
    programs::{Story, UNSHARE, succeeded},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new(&[DOVECOT_IMAP, UNSHARE], we_tell_of_awkward_messages_what_dovecot_tells)]
}

/// A difference from Dovecot that we want, in some messages.
struct Known {
    reason: &'static str,
    /// The beginnings of items and searches.
    items: &'static [&'static str],
    messages: &'static [&'static str],
}

const KNOWN: [Known; 16] = [
    Known {
        reason: "a line that is no field ends a header for us, because it is text; for Dovecot an empty line does",
        items: &["BODY"],
        messages: &[
            "boundary-right-after-the-header",
            "no-header-at-all",
            "part-without-a-header-end",
            "seed: one-octet",
            "text-right-after-the-header",
        ],
    },
    Known {
        reason: "a line that is no field between fields belongs to no subset of the header for us",
        items: &["BODY.PEEK[HEADER.FIELDS.NOT"],
        messages: &["line-that-is-no-field", "mbox-from-line", "seed: mbox-from-line", "seed: no-colon"],
    },
    Known {
        reason: "a subset of a header ends in an empty line for us, also if the header does not: clients read up to one. \
                 Dovecot does so for HEADER.FIELDS alone",
        items: &["BODY.PEEK[HEADER.FIELDS.NOT"],
        messages: &["header-only", "seed: empty", "seed: header-only", "seed: header-without-end"],
    },
    Known {
        reason: "the text of a multipart whose boundary is missing is its part for us, and lost for Dovecot",
        items: &["BODY"],
        messages: &[
            "boundary-missing-before-the-first-part",
            "boundary-missing-in-the-header",
            "boundary-that-never-comes",
            "seed: boundary-that-is-missing",
            "seed: boundary-that-never-comes",
        ],
    },
    Known {
        reason: "we read a name with a comma in an encoded word, and have no words MISSING_MAILBOX for what is no address",
        items: &["ENVELOPE", "FROM"],
        messages: &["addresses-of-all-kinds", "encoded-words", "header-in-iso-2022-jp-not-encoded"],
    },
    Known {
        reason: "a tab at the beginning of a folded line stays in the subject (RFC 5322 section 2.2.3)",
        items: &["ENVELOPE"],
        messages: &["folded-fields"],
    },
    Known {
        reason: "octets that are no UTF-8 stay as they are; Dovecot sends U+FFFD",
        items: &["ENVELOPE"],
        messages: &["nul-and-escapes"],
    },
    Known {
        reason: "of two fields that must be one, we tell the first, Dovecot the last",
        items: &["ENVELOPE"],
        messages: &["seed: two-subjects", "two-of-each-field"],
    },
    Known {
        reason: "parameters stand in the order in which they came, and a file name without quotation marks may have blanks; \
                 Dovecot tells encoded ones last, and the first word of such a name",
        items: &["BODYSTRUCTURE"],
        messages: &["file-names-in-pieces"],
    },
    Known {
        reason: "a message that is encoded has no envelope, so it is application/octet-stream",
        items: &["BODY"],
        messages: &["forwarded-message-in-base64"],
    },
    Known {
        reason: "a type without a subtype, or in bad form, is text/plain or what it must mean; Dovecot's subtype is empty",
        items: &["BODY"],
        messages: &["attachments-without-names", "content-type-in-bad-form", "content-type-that-is-none"],
    },
    Known {
        reason: "we believe an encoding without MIME-Version, and one with a remark; Dovecot calls them 7bit",
        items: &["BODY"],
        messages: &[
            "base64-with-remarks",
            "seed: base64-that-is-none",
            "seed: base64-without-end",
            "seed: quoted-printable-broken",
        ],
    },
    Known {
        reason: "only blanks may follow a boundary in its line, as in the grammar of RFC 2046 and in most mail programs; for \
                 Dovecot anything may",
        items: &["BODY"],
        messages: &["attached-octets-of-every-value"],
    },
    Known {
        reason: "a text without a charset that is no UTF-8 is Windows-1252 for us",
        items: &["BODY \"caf"],
        messages: &["charset-of-no-name"],
    },
    Known {
        reason: "parts below the deepest level are octets",
        items: &["BODY"],
        messages: &["seed: deep-multipart"],
    },
    Known {
        reason: "we search in the text that a person reads: not in tags of HTML, in a charset that nobody has octet by octet, \
                 and in a header that is not encoded by the charset of the text",
        items: &["BODY text", "SUBJECT"],
        messages: &["charset-nobody-has", "header-in-gb2312-not-encoded", "html-names-its-charset"],
    },
];

fn we_tell_of_awkward_messages_what_dovecot_tells() {
    let server = server();
    let names = fill(&server);
    let copy = home();
    let maildir = copy.path().join("copy");
    for sub in ["tmp", "new", "cur"] {
        fs::create_dir_all(maildir.join(sub)).unwrap();
    }
    for file in [server.maildir(ALICE).files("new"), server.maildir(ALICE).files("cur")].concat() {
        let mut content = fs::read(&file).unwrap();
        // Over IMAP as over POP3, we end the last line of a message that has none.
        if content.last().is_some_and(|&octet| octet != b'\n') {
            content.extend_from_slice(b"\r\n");
        }
        fs::write(maildir.join("cur").join(file.file_name().unwrap()), content).unwrap();
    }
    let (mut ours, mut theirs) = (Imap::ours(&server), Imap::dovecot_in(&maildir));
    let (ours_by_name, theirs_by_name) = (by_name(&mut ours, &names), by_name(&mut theirs, &names));
    assert_eq!(ours_by_name.keys().collect::<Vec<_>>(), theirs_by_name.keys().collect::<Vec<_>>());

    let mut differences = Vec::new();
    for item in ITEMS {
        let command = format!("FETCH 1:* ({item})");
        let (ours, theirs) = (told(&ours.ask(&command)), told(&theirs.ask(&command)));
        for (name, our_number) in &ours_by_name {
            let (ours, theirs) = (&ours[our_number], &theirs[&theirs_by_name[name]]);
            if !is_same(item, ours, theirs) {
                differences.push((item, name.clone(), format!("\n  ours   {ours:?}\n  theirs {theirs:?}")));
            }
        }
    }
    for search in SEARCHES {
        let ours = found(&mut ours, search, &ours_by_name);
        let theirs = found(&mut theirs, search, &theirs_by_name);
        for name in ours.symmetric_difference(&theirs) {
            let who = if ours.contains(name) { "only we" } else { "only Dovecot" };
            let (octets, _) = names.iter().find(|(_, one)| *one == name).unwrap();
            differences.push((search, name.clone(), format!(" found by {who}\n  {}", octets.escape_ascii())));
        }
    }
    judge(&differences);
}

/// Fails for each difference that is not known, and for each known one that is not there.
fn judge(differences: &[(&str, String, String)]) {
    let is_of = |known: &Known, item: &str, name: &str| {
        known.items.iter().any(|start| item.starts_with(start)) && known.messages.contains(&name)
    };
    let unknown: Vec<String> = differences
        .iter()
        .filter(|(item, name, _)| !KNOWN.iter().any(|known| is_of(known, item, name)))
        .map(|(item, name, told)| format!("{item} of {name}{told}"))
        .collect();
    assert!(unknown.is_empty(), "{} differences:\n{}", unknown.len(), unknown.join("\n"));
    for known in &KNOWN {
        for message in known.messages {
            let is_there =
                differences.iter().any(|(item, name, _)| name == message && is_of(known, item, name));
            assert!(is_there, "Dovecot agrees with us on {message}: {}", known.reason);
        }
    }
}

/// Puts all messages into alice's mailbox. Returns their names by the octets of `BODY[]`.
fn fill(server: &Server) -> BTreeMap<Vec<u8>, String> {
    let maildir = server.maildir(ALICE);
    let mut names = BTreeMap::new();
    let mut put = |name: String, content: &[u8]| {
        let number = names.len();
        if names.insert(key(content), name).is_none() {
            maildir.put(&format!("{}.M1P1.host", 1_700_000_000 + number), content);
        }
    };
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mime");
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            put(path.file_stem().unwrap().to_str().unwrap().to_owned(), &fs::read(&path).unwrap());
        }
    }
    let scratch = home();
    let mut seed = Command::new(env!("CARGO_BIN_EXE_restante"));
    seed.args(["seed", "--nasty", "--to", ALICE, "--spool"]).arg(scratch.path().join("spool"));
    for line in String::from_utf8(succeeded(seed.output().unwrap())).unwrap().lines() {
        let [_, _, label, file] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        put(format!("seed: {label}"), &fs::read(file).unwrap());
    }
    for (number, content) in awkward::messages(7, 1000).iter().enumerate() {
        put(format!("generated {number}"), content);
    }
    names
}

/// The octets of a file as IMAP sends them, all lines with an end, and with what Dovecot sends in place of a NUL, which no
/// literal may have.
fn key(file: &[u8]) -> Vec<u8> {
    let mut wire: Vec<u8> = Vec::with_capacity(file.len());
    for &octet in file {
        if octet == b'\n' && wire.last() != Some(&b'\r') {
            wire.push(b'\r');
        }
        wire.push(if octet == 0 { 0x80 } else { octet });
    }
    if wire.last().is_some_and(|&octet| octet != b'\n') {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

/// Opens the mailbox. The numbers of its messages by their names.
fn by_name(imap: &mut Imap, names: &BTreeMap<Vec<u8>, String>) -> BTreeMap<String, usize> {
    imap.ask("SELECT INBOX");
    let mut numbers = BTreeMap::new();
    for response in imap.ask("FETCH 1:* (UID BODY.PEEK[])") {
        let Some((_, values)) = response.text.split_once(" FETCH (") else { continue };
        assert!(values.starts_with("UID "), "{values}");
        let octets = response.literals.first().map(|octets| key(octets)).unwrap_or_default();
        let name =
            names.get(&octets).cloned().unwrap_or_else(|| format!("unknown: {}", octets.escape_ascii()));
        numbers.insert(name, number_after(&response.text, "* "));
    }
    numbers
}

fn found(imap: &mut Imap, search: &str, by_name: &BTreeMap<String, usize>) -> BTreeSet<String> {
    let responses = imap.ask(&format!("SEARCH {search}"));
    let text =
        responses.iter().find_map(|response| response.text.strip_prefix("* SEARCH")).unwrap_or_default();
    let numbers: BTreeSet<usize> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    by_name.iter().filter(|(_, number)| numbers.contains(number)).map(|(name, _)| name.clone()).collect()
}

/// A value of a response. A string is the same, quoted or as a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Nil,
    Atom(String),
    Text(String),
    List(Vec<Value>),
}

/// The value of the only item of each response to FETCH, by the numbers of the messages.
#[track_caller]
fn told(responses: &[Response]) -> BTreeMap<usize, Value> {
    let mut values = BTreeMap::new();
    for response in responses {
        let Some((number, text)) = response.text.split_once(" FETCH (") else { continue };
        let name = if text.starts_with("BODY[") { text.find(']').unwrap() } else { 0 };
        let (_, rest) = text[name..].split_once(' ').unwrap();
        let value = value(&mut rest.chars().peekable(), &mut response.literals.iter());
        values.insert(number_after(number, "* "), value);
    }
    values
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn value(text: &mut Characters<'_>, literals: &mut std::slice::Iter<'_, Vec<u8>>) -> Value {
    match text.peek() {
        Some('(') => {
            text.next();
            let mut list = Vec::new();
            while text.next_if_eq(&')').is_none() {
                assert!(text.peek().is_some(), "a list without an end: {list:?}");
                if text.next_if_eq(&' ').is_none() {
                    list.push(value(text, literals));
                }
            }
            Value::List(list)
        }
        Some('"') => {
            text.next();
            let mut string = String::new();
            while let Some(character) = text.next() {
                match character {
                    '"' => break,
                    '\\' => string.extend(text.next()),
                    _ => string.push(character),
                }
            }
            Value::Text(string)
        }
        Some('{') => {
            text.by_ref().take_while(|&character| character != '\n').for_each(drop);
            Value::Text(literals.next().unwrap().iter().map(|&octet| char::from(octet)).collect())
        }
        _ => {
            let mut atom = String::new();
            while let Some(character) = text.next_if(|&character| !"() \r\n".contains(character)) {
                atom.push(character);
            }
            if atom == "NIL" { Value::Nil } else { Value::Atom(atom) }
        }
    }
}

/// Whether two values are the same, except for differences of the two servers that are in every message:
///
/// - A part that is not there is `NIL` or an empty string: RFC 9051 does not say it.
/// - Dovecot finds a part 1 in a part that has no parts.
/// - Dovecot counts the line end before an outer boundary to a multipart and a message that end there. RFC 2046 section 5.1.1
///   counts it to the boundary.
fn is_same(item: &str, ours: &Value, theirs: &Value) -> bool {
    if item.starts_with("BODY.PEEK") {
        let (ours, theirs) = (text_of(ours), text_of(theirs));
        return ours == theirs
            || item.ends_with("[1.1]") && ours.is_empty()
            || item.ends_with(".1]") | item.ends_with("[1]") | item.ends_with("[2]")
                && theirs.strip_suffix("\r\n") == Some(ours);
    }
    match item {
        "BODY" | "BODYSTRUCTURE" => is_same_structure(&plain(ours), &plain(theirs)),
        _ => ours == theirs,
    }
}

fn is_same_structure(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::List(ours), Value::List(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| is_same_structure(ours, theirs))
        }
        (Value::Atom(ours), Value::Atom(theirs)) => {
            let number = |text: &str| text.parse::<u64>().ok();
            ours == theirs
                || number(ours)
                    .zip(number(theirs))
                    .is_some_and(|(ours, theirs)| [ours + 1, ours + 2].contains(&theirs))
        }
        _ => ours == theirs,
    }
}

fn text_of(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

/// A value without the case of its words, which means nothing in the names of a structure.
fn plain(value: &Value) -> Value {
    match value {
        Value::Nil => Value::Nil,
        Value::Atom(atom) => Value::Atom(atom.to_ascii_lowercase()),
        Value::Text(text) => Value::Text(text.to_ascii_lowercase()),
        Value::List(list) => Value::List(list.iter().map(plain).collect()),
    }
}

const ITEMS: [&str; 14] = [
    "ENVELOPE",
    "BODYSTRUCTURE",
    "BODY",
    "RFC822.SIZE",
    "BODY.PEEK[HEADER]",
    "BODY.PEEK[TEXT]",
    "BODY.PEEK[1]",
    "BODY.PEEK[1.MIME]",
    "BODY.PEEK[1.1]",
    "BODY.PEEK[2]",
    "BODY.PEEK[HEADER.FIELDS (SUBJECT TO X-A)]",
    "BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT TO X-A)]",
    "BODY.PEEK[TEXT]<3.10>",
    "BODY.PEEK[]<0.20>",
];

const SEARCHES: [&str; 26] = [
    "SUBJECT a",
    "SUBJECT \"folded words\"",
    "FROM a@b.test",
    "TO \"A B\"",
    "CC group",
    "BCC d@e.test",
    "HEADER X-A \"\"",
    "HEADER Message-ID b.test",
    "BODY text",
    "TEXT words",
    "BODY here",
    "LARGER 500",
    "SMALLER 200",
    "SENTSINCE 1-Jan-1990 SENTBEFORE 2-Jan-2026",
    "SENTON 1-Jan-2026",
    "SENTSINCE 2-Jan-2026",
    "BODY \"caf\u{e9}\"",
    "BODY softly",
    "TEXT hidden",
    "BODY bold",
    "BODY \"\u{20ac}5\"",
    "TO friends",
    "FROM pete@silly.test",
    "FROM \"caf\u{e9}\"",
    "OR FROM a@b.test NOT TO b.test",
    "NOT SUBJECT folded HEADER Date 2026",
];
