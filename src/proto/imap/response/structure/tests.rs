//! Structures as they are written, and read back by a parser of the grammar.

use proptest::prelude::*;

use super::*;
use crate::{
    mime::{MimeLimits, skeleton},
    proto::imap::response::writer::untagged,
};

fn written(message: &[u8], extended: bool) -> Vec<u8> {
    let message = Message::parse(message, &MimeLimits::default());
    let mut out = Vec::new();
    untagged(&mut out, |line| write(line, &message, &Skeleton::of(&message, None), extended));
    out
}

fn structure(message: &str, extended: bool) -> String {
    let line = written(message.as_bytes(), extended);
    let line = String::from_utf8_lossy(&line).into_owned();
    line["* ".len()..].trim_end().to_owned()
}

#[test]
fn the_structure_of_a_text_has_its_lines_in_octets_of_the_wire() {
    let message = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8BIT\nContent-ID: <1@a>\n\
        Content-Description: a \"b\"\nContent-MD5: xyz==\nContent-Disposition: inline; filename=\"a b\"\n\
        Content-Language: en, fr\nContent-Location: http://a.test/\n\none\ntwo";
    let body = "(\"text\" \"plain\" (\"charset\" \"utf-8\") \"<1@a>\" \"a \\\"b\\\"\" \"8bit\" 10 2";
    assert_eq!(structure(message, false), format!("{body})"));
    let extension = "\"xyz==\" (\"inline\" (\"filename\" \"a b\")) (\"en\" \"fr\") \"http://a.test/\"";
    assert_eq!(structure(message, true), format!("{body} {extension})"));
    assert_eq!(
        structure("\n", true),
        "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)"
    );
}

#[test]
fn y254_parameters_in_pieces_are_joined() {
    let message = "Content-Type: application/pdf; name*0=\"a very long file name that mailers split over \";\n\
        \tname*1=\"two lines.pdf\"\n\
        Content-Disposition: attachment; filename*0*=utf-8''a%20very%20long%20f; filename*1*=ile%20%C3%BC.pdf\n\n";
    let body = "(\"application\" \"pdf\" \
        (\"name\" \"a very long file name that mailers split over two lines.pdf\") NIL NIL \"7bit\" 0";
    assert_eq!(structure(message, false), format!("{body})"));
    let disposition = "(\"attachment\" (\"filename*\" \"utf-8''a%20very%20long%20file%20%C3%BC.pdf\"))";
    assert_eq!(structure(message, true), format!("{body} NIL {disposition} NIL NIL)"));
    for charset in ["charset*0=utf; charset*1=-8", "charset*=''utf-8"] {
        let line = structure(&format!("Content-Type: text/plain; {charset}\n\n"), false);
        assert!(line.contains("utf-8\") NIL") && !line.contains("us-ascii"), "{line}");
    }
}

#[test]
fn y255_a_media_type_in_quotation_marks_is_the_one_between_them() {
    let plain = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";
    for media_type in ["\"text\"/\"plain\"", "\"text/plain\"", "\"\"/\"\""] {
        assert_eq!(structure(&format!("Content-Type: {media_type}\n\n"), false), plain, "{media_type}");
    }
}

#[test]
fn y04_every_multipart_has_a_part_and_every_message_an_envelope() {
    let plain = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";
    for (message, expected) in [
        ("Content-Type: multipart/mixed; boundary=b\n\n", format!("({plain} \"mixed\")")),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n--b--\n",
            format!("({plain}{plain} \"mixed\")"),
        ),
        (
            "Content-Type: message/rfc822\n\n",
            format!(
                "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 \
                 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) {plain} 0)"
            ),
        ),
        (
            "Content-Type: message/rfc822; name=x\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAo=\n",
            "(\"application\" \"octet-stream\" (\"name\" \"x\") NIL NIL \"base64\" 18)".into(),
        ),
        (
            "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b--",
            "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 15 (NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 2) \"digest\")"
                .into(),
        ),
        (
            "Content-Type: message/delivery-status\n\n",
            "(\"message\" \"delivery-status\" NIL NIL NIL \"7bit\" 0)".into(),
        ),
    ] {
        assert_eq!(structure(message, false), expected, "{message:?}");
    }
    assert_eq!(
        structure("Content-Type: multipart/related; boundary=\"a b\"; type=x\n\n--a b\n\n", true),
        "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"related\" \
         (\"boundary\" \"a b\" \"type\" \"x\") NIL NIL NIL)"
    );
}

/// A value of a response: the grammar of all responses with parentheses.
#[derive(Debug, PartialEq)]
enum Value {
    Nil,
    Number(u64),
    Text(Vec<u8>),
    List(Vec<Value>),
}

/// Reads a value, and panics if it is malformed. In a list, blanks stand between all items but lists that are alike.
fn read(rest: &mut &[u8]) -> Value {
    match rest[0] {
        b'(' => {
            *rest = &rest[1..];
            let mut items = Vec::new();
            while rest[0] != b')' {
                if let Some(last) = items.last() {
                    if rest[0] == b' ' {
                        *rest = &rest[1..];
                    } else {
                        assert!(matches!(last, Value::List(_)) && rest[0] == b'(', "{items:?}");
                    }
                }
                items.push(read(rest));
            }
            *rest = &rest[1..];
            Value::List(items)
        }
        b'"' => {
            let mut text = Vec::new();
            *rest = &rest[1..];
            while rest[0] != b'"' {
                *rest = &rest[usize::from(rest[0] == b'\\')..];
                assert!(rest[0].is_ascii() && !matches!(rest[0], b'\r' | b'\n' | 0));
                text.push(rest[0]);
                *rest = &rest[1..];
            }
            *rest = &rest[1..];
            Value::Text(text)
        }
        b'{' => {
            let end = rest.iter().position(|b| *b == b'}').unwrap();
            let length: usize = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
            *rest = rest[end + 1..].strip_prefix(b"\r\n").unwrap();
            let (text, after) = rest.split_at(length);
            *rest = after;
            assert!(!text.contains(&0));
            Value::Text(text.to_vec())
        }
        _ => {
            let end = rest.iter().position(|b| matches!(b, b' ' | b')' | b'\r')).unwrap();
            let (word, after) = rest.split_at(end);
            *rest = after;
            match word {
                b"NIL" => Value::Nil,
                _ => Value::Number(std::str::from_utf8(word).unwrap().parse().unwrap()),
            }
        }
    }
}

/// Panics unless the value is a body (RFC 9051 section 9).
fn check_body(body: &Value, extended: bool) {
    use Value::{List, Nil, Number, Text};
    let List(items) = body else { panic!("{body:?}") };
    let is_nstring = |value: &Value| matches!(value, Nil | Text(_));
    let is_params = |value: &Value| match value {
        Nil => true,
        List(items) => {
            !items.is_empty()
                && items.len().is_multiple_of(2)
                && items.iter().all(|item| matches!(item, Text(_)))
        }
        _ => false,
    };
    let check_extension = |items: &[Value]| {
        let [disposition, language, location] = items else { panic!("{items:?}") };
        let is_disposition = match disposition {
            Nil => true,
            List(items) => matches!(&items[..], [Text(_), params] if is_params(params)),
            _ => false,
        };
        let is_language = match language {
            Nil => true,
            List(tags) => !tags.is_empty() && tags.iter().all(|tag| matches!(tag, Text(_))),
            _ => false,
        };
        assert!(is_disposition && is_language && is_nstring(location), "{items:?}");
    };
    if let Some(List(_)) = items.first() {
        let count = items.iter().take_while(|item| matches!(item, List(_))).count();
        items[..count].iter().for_each(|part| check_body(part, extended));
        assert!(matches!(items[count], Text(_)), "{items:?}");
        match &items[count + 1..] {
            [] if !extended => {}
            [params, rest @ ..] if extended && is_params(params) => check_extension(rest),
            rest => panic!("{rest:?}"),
        }
        return;
    }
    let [Text(kind), Text(subtype), params, id, description, Text(_), Number(_), rest @ ..] = &items[..]
    else {
        panic!("{items:?}")
    };
    assert!(is_params(params) && is_nstring(id) && is_nstring(description), "{items:?}");
    assert_ne!(kind, b"multipart");
    let rest = match (&kind[..], &subtype[..], rest) {
        (b"text", _, [Number(_), rest @ ..]) => rest,
        (b"message", b"rfc822", [List(envelope), inner, Number(_), rest @ ..]) => {
            assert_eq!(envelope.len(), 10);
            check_body(inner, extended);
            rest
        }
        (b"text", ..) | (b"message", b"rfc822", _) => panic!("{items:?}"),
        (_, _, rest) => rest,
    };
    match rest {
        [] if !extended => {}
        [md5, rest @ ..] if extended && is_nstring(md5) => check_extension(rest),
        rest => panic!("{rest:?}"),
    }
}

/// Panics unless the structure and the envelope of a message follow the grammar.
pub(crate) fn check(message: &[u8]) {
    for extended in [false, true] {
        let line = written(message, extended);
        let mut rest = &line[2..];
        check_body(&read(&mut rest), extended);
        assert_eq!(rest, b"\r\n");
    }
    let message = Message::parse(message, &MimeLimits::default());
    let mut out = Vec::new();
    untagged(&mut out, |line| envelope::write(line, &Envelope::of(message.header())));
    let mut rest = &out[2..];
    let Value::List(values) = read(&mut rest) else { panic!("{out:?}") };
    assert_eq!((values.len(), rest), (10, &b"\r\n"[..]));
    for list in &values[2..8] {
        let Value::List(addresses) = list else {
            assert_eq!(*list, Value::Nil);
            continue;
        };
        assert!(!addresses.is_empty());
        for one in addresses {
            assert!(matches!(one, Value::List(parts) if parts.len() == 4), "{one:?}");
        }
    }
}

#[test]
fn a_part_that_stands_for_none_is_in_no_message() {
    let message = Message::parse(b"Content-Type: multipart/mixed; boundary=b\n\n", &MimeLimits::default());
    let skeleton = Skeleton::of(&message, None);
    assert_eq!(skeleton.parts()[1].index, None);
    assert_eq!(skeleton.parts()[1].kind, skeleton::Kind::Leaf);
}

/// Pieces of headers and bodies, many of them malformed.
pub(crate) const PIECES: [&[u8]; 20] = [
    b"Content-Type: multipart/mixed; boundary=b\n",
    b"Content-Type: multipart/; boundary=b\n",
    b"Content-Type: message/rfc822; name=\"\xff\"\n",
    b"Content-Type: text/\"x; =; y=\n",
    b"Content-Type: MULTIPART/Digest; boundary=\"b\"\n",
    b"Content-Type: text\n",
    b"Content-Type: application/pdf; name*0*=utf-8''%C3; name*1=\"a\\\"b\"\n",
    b"Content-Transfer-Encoding: \"base64\" (x)\n",
    b"Content-Transfer-Encoding: 8bit\0\n",
    b"Content-Disposition: ; filename=x\n",
    b"Content-Disposition: attachment; a; b=\0\n",
    b"Content-Language: , en ,\n",
    b"From: a: b@c, \"d\0\" <e>;\n",
    b"To: <>, <@a:b>, (c), =?x?q?d?= f@g\n",
    b"Subject: \0\xc3\n",
    b"\n",
    b"--b\n",
    b"--b--\n",
    b"text\n",
    b" folded",
];

proptest! {
    #[test]
    fn y06_every_structure_follows_the_grammar(pieces in proptest::collection::vec(0..PIECES.len(), 0..30)) {
        check(&pieces.iter().flat_map(|piece| PIECES[*piece]).copied().collect::<Vec<u8>>());
    }

    #[test]
    fn any_octets_have_a_structure_and_an_envelope(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }
}
