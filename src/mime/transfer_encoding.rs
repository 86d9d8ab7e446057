//! Content transfer encodings (RFC 2045 section 6).
//!
//! The rule: every octet that can be decoded is decoded, and the others stay as they are.

use std::borrow::Cow;

/// The encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferEncoding {
    /// The octets themselves: `7bit`, `8bit`, `binary`, and every encoding that is unknown.
    #[default]
    Identity,
    /// `quoted-printable`: mostly text, with `=` before other octets.
    QuotedPrintable,
    /// `base64`, also by the names that old programs give it.
    Base64,
}

impl TransferEncoding {
    /// Parses the value of `Content-Transfer-Encoding`: a token, perhaps in quotation marks, with comments or followed by
    /// parameters that no standard knows.
    pub fn parse(value: &[u8]) -> Self {
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
        let mut depth = 0;
        let mut token = Vec::new();
        for b in value {
            match b {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                _ if depth > 0 => {}
                b if is_token(b) && token.len() <= QUOTED_PRINTABLE.len() => {
                    token.push(b.to_ascii_lowercase())
                }
                _ if token.is_empty() => {}
                _ => break,
            }
        }
        match &token[..] {
            b"base64" | b"base-64" | b"x-base64" => Self::Base64,
            QUOTED_PRINTABLE => Self::QuotedPrintable,
            _ => Self::Identity,
        }
    }

    /// Decodes a body as far as it can be decoded.
    pub fn decode(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Identity => Cow::Borrowed(body),
            Self::QuotedPrintable => Cow::Owned(quoted_printable(body)),
            Self::Base64 => match base64(body) {
                // It is something else under a wrong name.
                decoded if decoded.is_empty() => Cow::Borrowed(body),
                decoded => Cow::Owned(decoded),
            },
        }
    }
}

/// Decodes base64. Skips octets outside the alphabet (RFC 2045 section 6.8), and whole lines that are remarks of other
/// programs, because their letters would shift the text after them. After padding, another encoded text may follow, as when a
/// program joins two; a line with any other character is then a remark too.
fn base64(body: &[u8]) -> Vec<u8> {
    let mut decoder = Base64 { octets: Vec::with_capacity(body.len() / 4 * 3 + 3), ..Base64::default() };
    let mut padded = false;
    for line in body.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        let is_encoded = |b: &u8| *b == b'=' || sextet(*b).is_some();
        let has_blanks = line.iter().any(u8::is_ascii_whitespace);
        let is_noisy = !line.iter().all(|b| is_encoded(b) || b.is_ascii_whitespace());
        if !(is_noisy && (has_blanks || padded)) && !(has_blanks && padded) {
            padded |= decoder.feed(line);
        }
    }
    decoder.end();
    decoder.octets
}

/// Decodes the data of adjacent encoded words. Each is a text of its own, except that a last group that cannot be the end of
/// a text (one character, or bits beyond the last octet) is continued by the next.
pub(super) fn base64_words<'a>(words: impl Iterator<Item = &'a [u8]>, octets: &mut Vec<u8>) {
    let mut decoder = Base64 { octets: std::mem::take(octets), ..Base64::default() };
    for word in words {
        if decoder.is_whole() {
            decoder.end();
        }
        decoder.feed(word);
    }
    decoder.end();
    *octets = decoder.octets;
}

/// A group of four characters being read.
#[derive(Default)]
struct Base64 {
    octets: Vec<u8>,
    bits: u32,
    count: u32,
}

impl Base64 {
    /// Decodes a text. Returns true if it has padding.
    fn feed(&mut self, text: &[u8]) -> bool {
        let mut padded = false;
        for b in text {
            if let Some(six) = sextet(*b) {
                self.bits = self.bits << 6 | six;
                self.count += 1;
                if self.count == 4 {
                    self.octets.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                    (self.bits, self.count) = (0, 0);
                }
            } else if *b == b'=' {
                padded |= self.count > 0;
                self.end();
            }
        }
        padded
    }

    /// True if the last group could be the end of a text.
    fn is_whole(&self) -> bool {
        match self.count {
            2 => self.bits & 0b1111 == 0,
            3 => self.bits & 0b11 == 0,
            count => count == 0,
        }
    }

    /// Decodes the last group without its padding.
    fn end(&mut self) {
        let octets = self.count as usize * 6 / 8;
        let bits = self.bits << (24_u32.saturating_sub(self.count * 6));
        self.octets.extend_from_slice(&bits.to_be_bytes()[1..][..octets]);
        (self.bits, self.count) = (0, 0);
    }
}

/// The value of a character of the alphabet.
fn sextet(b: u8) -> Option<u32> {
    let value = match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Decodes quoted-printable (RFC 2045 section 6.7). An equals sign before anything else than two hexadecimal digits or the
/// end of a line stands for itself.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|b| *b == b'\n') {
        let ends = line.iter().rev().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        let (text, end) = line.split_at(line.len() - ends);
        // Blanks before the end of a line were added on the way (rule 3).
        let mut text = text.trim_ascii_end();
        let soft = text.last() == Some(&b'=');
        if soft {
            text = &text[..text.len() - 1];
        }
        hex_escapes(text, &mut decoded);
        if !soft {
            decoded.extend_from_slice(end);
        }
    }
    decoded
}

/// Decodes the data of an encoded word in the encoding Q (RFC 2047 section 4.2).
pub(super) fn quoted_printable_word(data: &[u8], octets: &mut Vec<u8>) {
    let from = octets.len();
    // An underscore is a blank, and an escaped one is an underscore.
    let blanks: Vec<u8> = data.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
    octets.reserve(data.len());
    hex_escapes(&blanks, octets);
    debug_assert!(octets.len() - from <= data.len());
}

fn hex_escapes(text: &[u8], decoded: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        decoded.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match hex(rest) {
            Some(octet) => {
                decoded.push(octet);
                rest = &rest[2..];
            }
            None => decoded.push(b'='),
        }
    }
    decoded.extend_from_slice(rest);
}

/// The octet that the first two hexadecimal digits stand for.
pub(super) fn hex(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

const QUOTED_PRINTABLE: &[u8] = b"quoted-printable";

#[cfg(test)]
mod tests {
    use super::{TransferEncoding::*, *};

    #[test]
    fn an_encoding_is_known_however_it_is_written() {
        for (value, encoding) in [
            ("base64", Base64),
            ("BASE64 ", Base64),
            ("base64 (comment)", Base64),
            ("(a (nested) comment) base64", Base64),
            ("\"base64\"", Base64),
            ("base64;", Base64),
            ("base64; x=y", Base64),
            ("x-base64", Base64),
            ("Quoted-Printable", QuotedPrintable),
            ("quoted-printable(x)", QuotedPrintable),
            ("'quoted-printable'", QuotedPrintable),
            ("7bit", Identity),
            ("base64ish", Identity),
            ("quoted-printable-not", Identity),
            ("x-uuencode", Identity),
            ("((((base64", Identity),
            ("", Identity),
        ] {
            assert_eq!(TransferEncoding::parse(value.as_bytes()), encoding, "{value}");
        }
    }

    #[test]
    fn base64_gives_what_is_there() {
        for (body, octets) in [
            ("aGFsbG8=", "hallo"),
            ("aGFs\r\nbG8=\r\n", "hallo"),
            ("aGFs\n!!!\nbG8=", "hallo"),
            ("a-G*F_sb\nG.8", "hallo"),
            ("a G F s\n b G 8", "hallo"),
            ("*** scanned by X ***\naGFs\n(no virus)\nbG8=", "hallo"),
            ("aGFsbG8", "hallo"),
            ("aGFsbG", "hall"),
            ("aGFsb", "hal"),
            ("=aGFsbG8=", "hallo"),
            ("aGFsbG8=\naGFsbG8=\n", "hallohallo"),
            ("aGFsbG8=aGFsbG8=", "hallohallo"),
            ("aGFsbG8=\n-- \nA list of mine\nhttp://list.test/\n", "hallo"),
            ("!!! *** ???\n", "!!! *** ???\n"),
            ("====", "===="),
            ("aGFsbG8=\nThe end\n", "hallo"),
            ("", ""),
        ] {
            assert_eq!(Base64.decode(body.as_bytes()), octets.as_bytes(), "{body:?}");
        }
        let all: Vec<u8> = (0..=255).collect();
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&all);
        assert_eq!(Base64.decode(text.as_bytes()), &all[..]);
    }

    #[test]
    fn quoted_printable_gives_what_is_there() {
        for (body, text) in [
            ("caf=C3=A9 =e2=82=ac", "café €"),
            ("one =\r\ntwo=\nthree", "one twothree"),
            ("one= \t\r\ntwo", "onetwo"),
            ("blanks \t \r\nend \n", "blanks\r\nend\n"),
            ("=ZZ =\n=\n=4\n", "=ZZ =4\n"),
            ("a==3D=", "a=="),
            ("=", ""),
            ("\r\r\n", "\r\r\n"),
        ] {
            assert_eq!(QuotedPrintable.decode(body.as_bytes()), text.as_bytes(), "{body:?}");
        }
        assert_eq!(Identity.decode(b"=41 \r\n"), &b"=41 \r\n"[..]);
    }
}
