//! Values with parameters: `Content-Type` and `Content-Disposition` (RFC 2045 section 5.1, RFC 2183, RFC 2231).

use std::{borrow::Cow, collections::HashMap};

use super::{
    charset::{self, CharsetOfHeader},
    encoded_word,
    transfer_encoding::hex,
};

/// A value and its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameterised {
    /// The value before the first semicolon, in lower case.
    pub value: String,
    parameters: Vec<(String, Vec<u8>)>,
}

impl Parameterised {
    pub(super) fn new(value: &str) -> Self {
        Self { value: value.into(), parameters: Vec::new() }
    }

    /// Parses an unfolded value. Malformed parameters are skipped.
    pub fn parse(text: &[u8]) -> Self {
        let mut rest = skip_blanks(text);
        let (value, after) = rest.split_at(rest.iter().position(|b| ends_token(*b)).unwrap_or(rest.len()));
        // A media type has no quotation marks, but programs write them.
        let value = String::from_utf8_lossy(value).to_ascii_lowercase().replace('"', "");
        rest = after;
        let mut parameters = Vec::new();
        while !rest.is_empty() {
            let (name, after) =
                rest.split_at(rest.iter().position(|b| matches!(b, b'=' | b';')).unwrap_or(rest.len()));
            let Some((b'=', after)) = after.split_first() else {
                rest = after.get(1..).unwrap_or_default();
                continue;
            };
            // Between the value and the name there may be a comment, or other text that means nothing.
            let name = without_comments(name);
            let name = name.split(u8::is_ascii_whitespace).rfind(|word| !word.is_empty()).unwrap_or_default();
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let (value, after) = parameter_value(skip_blanks(after), &name);
            rest = after.strip_prefix(b";").unwrap_or(after);
            if !name.is_empty() {
                parameters.push((name, value));
            }
        }
        Self { value, parameters }
    }

    /// All parameters as they were sent, with their names in lower case.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The octets of a parameter. Of several with this name, the first one counts.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// All parameters, those in pieces joined: RFC 2231 section 6 asks this of IMAP servers. If a piece is encoded, the value
    /// stays so, under a name with a star at its end. If a number is missing, or comes twice, the pieces stay as they were sent.
    pub fn joined(&self) -> Vec<(Cow<'_, str>, Cow<'_, [u8]>)> {
        let mut pieces: HashMap<&str, Vec<Piece<'_>>> = HashMap::new();
        for (name, value) in self.parameters() {
            if let Some((whole, piece)) = Piece::of(name, value) {
                pieces.entry(whole).or_default().push(piece);
            }
        }
        let mut joined = Vec::with_capacity(self.parameters.len());
        for (name, value) in self.parameters() {
            match Piece::of(name, value) {
                None => joined.push((Cow::Borrowed(name), Cow::Borrowed(value))),
                // All of them stand in the place of the one that came first.
                Some((whole, _)) => {
                    if let Some(pieces) = pieces.remove(whole) {
                        Piece::join(whole, pieces, &mut joined);
                    }
                }
            }
        }
        joined
    }

    /// A parameter, decoded. It may have the form of RFC 2231, perhaps in pieces. Otherwise it may contain encoded words:
    /// RFC 2047 forbids them here, but programs write them.
    pub fn text(&self, name: &str) -> Option<String> {
        self.text_in(name, None)
    }

    /// A parameter, decoded. `charset` is the character set of a value without an encoding.
    pub fn text_in(&self, name: &str, charset: Option<CharsetOfHeader>) -> Option<String> {
        let extended = self.extended(name).filter(|text| !text.is_empty());
        let plain = || Some(encoded_word::decode(&charset::in_utf_8(self.raw(name)?.into(), charset)));
        extended.or_else(plain)
    }

    /// A parameter in the form of RFC 2231. The pieces may come in any order.
    fn extended(&self, name: &str) -> Option<String> {
        let mut pieces: Vec<(u32, bool, &[u8])> = Vec::new();
        for (known, value) in &self.parameters {
            let Some(suffix) = known.strip_prefix(name).and_then(|rest| rest.strip_prefix('*')) else {
                continue;
            };
            let (number, encoded) = match suffix.strip_suffix('*') {
                Some(number) => (number, true),
                None => (suffix, suffix.is_empty()),
            };
            if let Some(number) = if number.is_empty() { Some(0) } else { number.parse().ok() } {
                pieces.push((number, encoded, value));
            }
        }
        pieces.sort_by_key(|(number, ..)| *number);
        pieces.dedup_by_key(|(number, ..)| *number);
        let (_, encoded, first) = *pieces.first()?;
        let mut charset = None;
        if encoded {
            // The form is utf-8'en'name. Without the two quotation marks, the whole value is the name.
            let mut quotes = memchr::memchr_iter(b'\'', first);
            if let (Some(one), Some(two)) = (quotes.next(), quotes.next()) {
                charset = Some(String::from_utf8_lossy(&first[..one]).into_owned());
                pieces[0].2 = &first[two + 1..];
            }
        }
        let mut octets = Vec::new();
        for (_, encoded, piece) in pieces {
            if encoded { percent_decode(piece, &mut octets) } else { octets.extend_from_slice(piece) }
        }
        Some(charset::decode(&octets, charset.as_deref()))
    }
}

/// A piece of a parameter: `filename*1*=%20two` (RFC 2231 section 3).
struct Piece<'a> {
    number: u32,
    is_encoded: bool,
    /// Its name with its number.
    name: &'a str,
    value: &'a [u8],
}

impl<'a> Piece<'a> {
    /// The name of the whole parameter, and its piece. `None`: it is no piece.
    fn of(name: &'a str, value: &'a [u8]) -> Option<(&'a str, Self)> {
        let (whole, suffix) = name.split_once('*').filter(|(whole, _)| !whole.is_empty())?;
        let (digits, is_encoded) = match suffix.strip_suffix('*') {
            Some(digits) => (digits, true),
            None => (suffix, false),
        };
        let is_number = digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| is_number)?;
        Some((whole, Self { number, is_encoded, name, value }))
    }

    /// Joins the pieces of a parameter, if their numbers are 0, 1, 2 and so on.
    fn join(whole: &'a str, mut pieces: Vec<Self>, joined: &mut Vec<(Cow<'a, str>, Cow<'a, [u8]>)>) {
        pieces.sort_by_key(|piece| piece.number);
        if pieces.iter().zip(0_u32..).any(|(piece, number)| piece.number != number) {
            joined.extend(pieces.iter().map(|piece| (Cow::Borrowed(piece.name), Cow::Borrowed(piece.value))));
            return;
        }
        let is_encoded = pieces.iter().any(|piece| piece.is_encoded);
        let mut value = Vec::new();
        if is_encoded && pieces.first().is_some_and(|first| !first.is_encoded) {
            value.extend_from_slice(b"''"); // neither a character set nor a language
        }
        for piece in pieces {
            if is_encoded && !piece.is_encoded {
                percent_encode(piece.value, &mut value);
            } else {
                value.extend_from_slice(piece.value);
            }
        }
        let name = if is_encoded { Cow::Owned(format!("{whole}*")) } else { Cow::Borrowed(whole) };
        joined.push((name, Cow::Owned(value)));
    }
}

/// Parses a value, and returns the text after it.
fn parameter_value<'a>(text: &'a [u8], name: &str) -> (Vec<u8>, &'a [u8]) {
    if let Some((b'"', quoted)) = text.split_first() {
        let mut value = Vec::new();
        let mut rest = quoted;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'"' => return (value, skip_blanks(rest)),
                // Only these two can be escaped: a backslash before another character belongs to a Windows path.
                b'\\' if matches!(rest.first(), Some(b'"' | b'\\')) => {
                    value.push(rest[0]);
                    rest = &rest[1..];
                }
                _ => value.push(*first),
            }
        }
        return (value, rest);
    }
    // Programs forget the quotation marks of names with blanks and parentheses.
    let is_name = matches!(name.split('*').next(), Some("filename" | "name"));
    let end = text.iter().position(|b| *b == b';' || (!is_name && ends_token(*b))).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    (value.trim_ascii_end().to_owned(), skip_blanks(rest))
}

fn ends_token(b: u8) -> bool {
    b.is_ascii_whitespace() || matches!(b, b';' | b'(')
}

/// Skips blanks and nested comments in parentheses.
fn skip_blanks(text: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    let is_text = |b: &u8| {
        match b {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ => return depth == 0 && !b.is_ascii_whitespace(),
        }
        false
    };
    &text[text.iter().position(is_text).unwrap_or(text.len())..]
}

fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut depth = 0_usize;
    let mut kept = Vec::with_capacity(text.len());
    for b in text {
        match b {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ if depth == 0 => kept.push(*b),
            _ => {}
        }
    }
    kept
}

fn percent_decode(text: &[u8], octets: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match hex(rest).filter(|_| *first == b'%') {
            Some(octet) => {
                octets.push(octet);
                rest = &rest[2..];
            }
            None => octets.push(*first),
        }
    }
}

/// Encodes everything that an encoded value cannot have as it is (RFC 2231 section 7).
fn percent_encode(text: &[u8], octets: &mut Vec<u8>) {
    for b in text {
        if b.is_ascii_graphic() && !b"*'%()<>@,;:\\\"/[]?=".contains(b) {
            octets.push(*b);
        } else {
            octets.extend_from_slice(format!("%{b:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_and_its_parameters_are_found_however_they_are_written() {
        for (text, value, name, parameter) in [
            ("text/plain", "text/plain", "charset", None),
            ("TEXT/Plain; Charset=UTF-8", "text/plain", "charset", Some("UTF-8")),
            ("text/plain;charset=\"utf-8\";format=flowed", "text/plain", "format", Some("flowed")),
            ("text/plain charset=utf-8 format=flowed", "text/plain", "charset", Some("utf-8")),
            ("text/plain; charset=\"utf-8\" format=flowed", "text/plain", "format", Some("flowed")),
            (
                "text/plain (a; comment=x) ; charset (x) = (y) utf-8 (z)",
                "text/plain",
                "charset",
                Some("utf-8"),
            ),
            ("multipart/mixed; boundary=\"a b;=\\\"c\"", "multipart/mixed", "boundary", Some("a b;=\"c")),
            ("multipart/mixed; boundary=----=_x.y=z", "multipart/mixed", "boundary", Some("----=_x.y=z")),
            ("multipart/mixed; boundary=\"open; x=y", "multipart/mixed", "boundary", Some("open; x=y")),
            ("multipart/mixed; boundary=a; boundary=b", "multipart/mixed", "boundary", Some("a")),
            (
                "attachment; filename=my file (1).pdf; size=3",
                "attachment",
                "filename",
                Some("my file (1).pdf"),
            ),
            ("attachment; filename=\"C:\\new\\x.exe\"", "attachment", "filename", Some("C:\\new\\x.exe")),
            (
                "attachment; filename=\"=?utf-8?q?caf=C3?= =?utf-8?q?=A9.txt?=\"",
                "attachment",
                "filename",
                Some("café.txt"),
            ),
            ("attachment; filename=\"caf\u{e9}.txt\"", "attachment", "filename", Some("café.txt")),
            ("attachment; filename=", "attachment", "filename", Some("")),
            ("; filename=x", "", "filename", Some("x")),
            ("inline; ; =; x; filename=y", "inline", "filename", Some("y")),
            ("", "", "x", None),
        ] {
            let parsed = Parameterised::parse(text.as_bytes());
            assert_eq!((parsed.value.as_str(), parsed.text(name).as_deref()), (value, parameter), "{text}");
        }
    }

    #[test]
    fn pieces_are_joined_in_their_order_then_decoded() {
        for (parameters, name) in [
            ("filename*=utf-8''caf%C3%A9.txt", "café.txt"),
            ("filename*=UTF-8'fr'caf%c3%a9.txt; filename=cafe.txt", "café.txt"),
            ("filename=cafe.txt; filename*=iso-8859-1''caf%E9.txt", "café.txt"),
            ("filename*0*=utf-8''caf%C3; filename*1*=%A9; filename*2=\"%20.txt\"", "café%20.txt"),
            ("filename*2=c; filename*0=a; filename*1=b", "abc"),
            ("filename*10=k; filename*9=j; filename*0=a", "ajk"),
            ("filename*1*=%A9; filename*0*=utf-8''caf%C3", "café"),
            ("filename*0=a; filename*0=b; filename*1=c", "ac"),
            ("filename*=caf%C3%A9", "café"),
            ("filename*=\"utf-8''caf%C3%A9\"", "café"),
            ("filename*=utf-8''100%.txt", "100%.txt"),
            ("filename*=gb2312''%C4%E3", "你"),
            ("filename*=utf-8''; filename=x", "x"),
            ("filename*x=a; filename*99999999999=b; filename=c", "c"),
        ] {
            let parsed = Parameterised::parse(format!("attachment; {parameters}").as_bytes());
            assert_eq!(parsed.text("filename").as_deref(), Some(name), "{parameters}");
        }
    }

    #[test]
    fn y255_a_value_in_quotation_marks_is_read_without_them() {
        for (text, value) in [
            ("\"text\"/\"plain\"; charset=utf-8", "text/plain"),
            ("\"Text/HTML\";charset=utf-8", "text/html"),
            ("\"attachment\" ; charset=utf-8", "attachment"),
            ("\"\"; charset=utf-8", ""),
        ] {
            let parsed = Parameterised::parse(text.as_bytes());
            assert_eq!(
                (parsed.value.as_str(), parsed.raw("charset")),
                (value, Some(&b"utf-8"[..])),
                "{text}"
            );
        }
    }

    /// The parameters as they were sent, and joined, as `name=value; ...`.
    fn joined(parameters: &str) -> String {
        let parsed = Parameterised::parse(format!("attachment; {parameters}").as_bytes());
        let text = |(name, value): (Cow<'_, str>, Cow<'_, [u8]>)| {
            format!("{name}={}", String::from_utf8_lossy(&value))
        };
        parsed.joined().into_iter().map(text).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn y254_pieces_are_joined_and_stay_encoded() {
        for (parameters, whole) in [
            ("name*0=\"a very long \"; name*1=\"name.pdf\"; size=3", "name=a very long name.pdf; size=3"),
            ("size=3; filename*1=b; filename*0=a", "size=3; filename=ab"),
            ("filename*0*=utf-8''a%20f; filename*1*=%C3%BC.pdf", "filename*=utf-8''a%20f%C3%BC.pdf"),
            ("filename*0*=utf-8''%C3%BC; filename*1=\" 50%.pdf\"", "filename*=utf-8''%C3%BC%2050%25.pdf"),
            ("filename*0=\"it's\"; filename*1*=%20x", "filename*=''it%27s%20x"),
            ("filename*0*=utf-8''x", "filename*=utf-8''x"),
            ("filename*0=x", "filename=x"),
            // Gaps, numbers that come twice, and names that have none.
            ("filename*3=d; filename*0=a; filename*1=b", "filename*0=a; filename*1=b; filename*3=d"),
            ("filename*2*=c; filename*1=b", "filename*1=b; filename*2*=c"),
            ("filename*1=c; filename*0=a; filename*0*=b", "filename*0=a; filename*0*=b; filename*1=c"),
            ("filename*=utf-8''x; filename=x", "filename*=utf-8''x; filename=x"),
            ("*0=a; a**=b; a*x=c; a*+1=d; a*99999999999=e", "*0=a; a**=b; a*x=c; a*+1=d; a*99999999999=e"),
            ("a*0=1; b*0=2; a*1=3; b*1=4", "a=13; b=24"),
        ] {
            assert_eq!(joined(parameters), whole, "{parameters}");
        }
    }

    type Parameters = Vec<(String, Vec<u8>)>;

    /// The pieces of a parameter, in their order and in another one.
    fn pieces() -> impl Strategy<Value = (Parameters, Parameters)> {
        let piece = (any::<bool>(), "(%C3%BC|[a-z]){0,4}", "[ -~]{0,6}");
        let named = |(number, (is_encoded, encoded, plain)): (usize, (bool, String, String))| match number {
            0 => ("x*0*".to_owned(), format!("utf-8''{encoded}").into_bytes()),
            _ if is_encoded => (format!("x*{number}*"), encoded.into_bytes()),
            _ => (format!("x*{number}"), plain.into_bytes()),
        };
        let all = prop::collection::vec(piece, 1..12);
        let all =
            all.prop_map(move |pieces| pieces.into_iter().enumerate().map(named).collect::<Parameters>());
        all.prop_flat_map(|pieces| (Just(pieces.clone()), Just(pieces).prop_shuffle()))
    }

    proptest! {
        #[test]
        fn y254_pieces_in_any_order_are_joined_to_what_they_mean((sent, other) in pieces()) {
            let [sent, other] =
                [sent, other].map(|parameters| Parameterised { value: String::new(), parameters });
            prop_assert_eq!(sent.joined(), other.joined());
            let owned = |(name, value): (Cow<'_, str>, Cow<'_, [u8]>)| (name.into_owned(), value.into_owned());
            let parameters: Parameters = sent.joined().into_iter().map(owned).collect();
            prop_assert_eq!(parameters.len(), 1);
            let joined = Parameterised { value: String::new(), parameters };
            prop_assert_eq!(joined.text("x"), sent.text("x"));
        }

        #[test]
        fn y254_any_parameters_can_be_joined(text in "([ab]?\\*?[0-3]{0,2}\\*?=?[a%'\"]{0,2};?){0,12}") {
            let parsed = Parameterised::parse(format!("x; {text}").as_bytes());
            prop_assert!(parsed.joined().len() <= parsed.parameters().count());
        }
    }
}
