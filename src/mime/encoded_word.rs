//! Encoded words in header fields (RFC 2047).
//!
//! The rule: the octets of adjacent words in one character set are joined before they are decoded, because senders
//! divide characters between words.

use super::{
    charset,
    transfer_encoding::{base64_words, quoted_printable_word},
};

/// Decodes the encoded words of an unfolded value, also within quotation marks and next to other text, where RFC 2047
/// section 5 forbids them and programs write them.
pub fn decode(value: &[u8]) -> String {
    let mut decoded = String::with_capacity(value.len());
    let mut run: Option<Run<'_>> = None;
    // Text that is not decoded yet: blanks between two encoded words are no text.
    let mut plain = 0;
    let mut at = 0;
    while let Some(start) = memchr::memmem::find(&value[at..], b"=?").map(|found| at + found) {
        let Some((word, end)) = Word::parse(value, start) else {
            at = start + 2;
            continue;
        };
        let between = &value[plain..start];
        let adjacent = run.is_some() && between.iter().all(u8::is_ascii_whitespace);
        match &mut run {
            Some(run) if adjacent && run.charset.eq_ignore_ascii_case(word.charset) => run.words.push(word),
            _ => {
                if let Some(run) = run.take() {
                    run.decode_into(&mut decoded);
                }
                if !adjacent {
                    decoded.push_str(&charset::guess(between));
                }
                run = Some(Run { charset: word.charset, words: vec![word] });
            }
        }
        (plain, at) = (end, end);
    }
    if let Some(run) = run {
        run.decode_into(&mut decoded);
    }
    decoded.push_str(&charset::guess(&value[plain..]));
    decoded
}

/// The length of the encoded word that the text begins with.
pub(super) fn length(text: &[u8]) -> Option<usize> {
    text.starts_with(b"=?").then(|| Word::parse(text, 0).map(|(_, end)| end))?
}

/// Adjacent words in one character set.
struct Run<'a> {
    charset: &'a [u8],
    words: Vec<Word<'a>>,
}

impl Run<'_> {
    fn decode_into(self, text: &mut String) {
        let mut octets = Vec::new();
        let mut words = &self.words[..];
        while let Some(first) = words.first() {
            let alike = words.iter().take_while(|word| word.base64 == first.base64).count();
            let (same, rest) = words.split_at(alike);
            if first.base64 {
                base64_words(same.iter().map(|word| word.data), &mut octets);
            } else {
                same.iter().for_each(|word| quoted_printable_word(word.data, &mut octets));
            }
            words = rest;
        }
        text.push_str(&charset::decode(&octets, Some(&String::from_utf8_lossy(self.charset))));
    }
}

/// An encoded word of RFC 2047: `=?charset*language?encoding?data?=`.
struct Word<'a> {
    charset: &'a [u8],
    base64: bool,
    data: &'a [u8],
}

impl<'a> Word<'a> {
    /// Parses the word that begins at `start`, and returns its end too.
    fn parse(value: &'a [u8], start: usize) -> Option<(Self, usize)> {
        let inner = &value[start + 2..];
        let charset_end = inner.iter().take(MAX_CHARSET).position(|b| !b.is_ascii_graphic() || *b == b'?')?;
        let (charset, [b'?', encoding, b'?', data @ ..]) = inner.split_at(charset_end) else { return None };
        let base64 = match encoding {
            b'b' | b'B' => true,
            b'q' | b'Q' => false,
            _ => return None,
        };
        let length = end_of(data)?;
        // RFC 2231 section 5: the language after an asterisk.
        let charset = charset.split(|b| *b == b'*').next().filter(|charset| !charset.is_empty())?;
        let end = start + 2 + charset_end + 3 + length + 2;
        Some((Self { charset, base64, data: &data[..length] }, end))
    }
}

/// The length of a word's data. The search stops at the begin of the next word, so that it never passes the same octets
/// twice; an equals sign before the end is padding.
fn end_of(data: &[u8]) -> Option<usize> {
    for at in memchr::memchr_iter(b'?', data) {
        if data.get(at + 1) == Some(&b'=') {
            return Some(at);
        }
        if at > 0 && data[at - 1] == b'=' {
            return None;
        }
    }
    None
}

/// Octets of a character set's name and its language.
const MAX_CHARSET: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_then_decoded() {
        for (value, text) in [
            ("=?utf-8?b?Y2Fmw6k?=", "café"),
            ("=?utf-8?q?caf=C3?= =?UTF-8?Q?=A9?=", "café"),
            ("=?utf-8?b?Y2Fmww==?=\t =?utf-8?q?=A9?= x", "café x"),
            ("=?utf-8?b?w6k?= =?utf-8?b?w6k=?=", "éé"),
            // A sender that divides the text of base64, not its octets.
            ("=?utf-8?b?Y2Fmw?= =?utf-8?b?6k=?=", "café"),
            ("=?utf-8?b?Y2FmwzE?= =?utf-8?b?IQ?=", "caf\u{fffd}1!"),
            ("=?iso-8859-1?q?a?= =?utf-8?q?=C3=A9?= =?iso-8859-1?q?=E9?=", "aéé"),
            ("=?iso-8859-1*fr?Q?caf=E9_cr=E8me?=", "café crème"),
            ("=?iso-8859-1?q?with blanks?= in it", "with blanks in it"),
            ("before=?utf-8?q?=C3=A9?=after", "beforeéafter"),
            ("(=?utf-8?q?a?=)", "(a)"),
            ("a =?utf-8?q?b?= c =?utf-8?q?d?=", "a b c d"),
            ("=?utf-8?q?Really=3F=21?=", "Really?!"),
            ("=?utf-8?q?Really??=", "Really?"),
            ("=?utf-8?q??=", ""),
            ("=?utf-8?b?!!?= =?utf-8?b?w6k=?=", "é"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?iso-2022-jp?B?GyRCOGwbKEI=?=", "日本語"),
            ("=?gb2312?B?xOO6ww==?=", "你好"),
            ("=?x-unknown?q?=C3=A9?=", "é"),
            ("=?utf-8?q?=ZZ=4?=", "=ZZ=4"),
            // No words.
            ("=?utf-8?B?w6k", "=?utf-8?B?w6k"),
            ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
            ("=??q?a?=", "=??q?a?="),
            ("=?a b?q?a?=", "=?a b?q?a?="),
            ("=?", "=?"),
            ("=?=?utf-8?q?a?=", "=?a"),
            ("", ""),
        ] {
            assert_eq!(decode(value.as_bytes()), text, "{value}");
        }
        assert_eq!(decode(b"caf\xe9"), "café");
        assert_eq!(decode("é =?utf-8?q?=C3=A9?= é".as_bytes()), "é é é");
    }
}
