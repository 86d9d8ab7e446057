//! Files in a text, as programs without MIME send them: uuencode (POSIX), with its older and its base64 form.
//!
//! The rule: a block counts only if it is whole. A search that fails has not passed the next `begin`, so time is linear.

use std::ops::Range;

use super::transfer_encoding::TransferEncoding;

/// A file in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its place in the text, from `begin` to the line end after `end`.
    pub range: Range<usize>,
    /// Its name, as the sender gave it.
    pub name: String,
    /// Its content.
    pub octets: Vec<u8>,
}

/// Finds at most so many blocks in a text.
pub fn blocks(text: &str, most: usize) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = Lines { text, at: 0 };
    while found.len() < most {
        let start = lines.at;
        let Some(line) = lines.next() else { break };
        let begun = match (named(line, "begin "), named(line, "begin-base64 ")) {
            (Some(name), _) => Some((name, false)),
            (None, Some(name)) => Some((name, true)),
            (None, None) => None,
        };
        let Some((name, is_base64)) = begun else { continue };
        let body = lines.at;
        let octets = if is_base64 { base64(&mut lines) } else { classic(&mut lines) };
        match octets {
            Some(octets) => found.push(Block { range: start..lines.at, name: name.to_owned(), octets }),
            None => lines.at = body,
        }
    }
    found
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    /// A line without its end.
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        self.at += length;
        let line = &rest[..length];
        let line = line.strip_suffix('\n').unwrap_or(line);
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

/// The name in `begin 644 NAME`.
fn named<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let (mode, name) = line.strip_prefix(word)?.trim_start().split_once(' ')?;
    let is_mode = (3..=5).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
    Some(name.trim()).filter(|name| is_mode && !name.is_empty())
}

/// Lines of up to 63 octets, until one of none, and `end`.
fn classic(lines: &mut Lines<'_>) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    loop {
        let line = lines.next()?.as_bytes();
        // Programs on the way may have removed the blanks at the end, which are zeros.
        let (first, data) = line.split_first().unwrap_or((&b' ', &[]));
        let length = usize::from(value(*first)?);
        if length == 0 {
            break;
        }
        let mut values = data.iter().map(|b| value(*b)).chain(std::iter::repeat(Some(0)));
        let before = octets.len();
        while octets.len() < before + length {
            let group = [values.next()??, values.next()??, values.next()??, values.next()??];
            let bits = group.iter().fold(0_u32, |bits, value| bits << 6 | u32::from(*value));
            octets.extend_from_slice(&bits.to_be_bytes()[1..]);
        }
        octets.truncate(before + length);
    }
    (lines.next()?.trim_end() == "end").then_some(octets)
}

/// The six bits of a character; both the blank and the backquote are zero.
fn value(b: u8) -> Option<u8> {
    (b' '..=b'`').contains(&b).then(|| (b - b' ') & 0x3f)
}

/// Lines of base64 until `====`.
fn base64(lines: &mut Lines<'_>) -> Option<Vec<u8>> {
    let start = lines.at;
    loop {
        let end = lines.at;
        match lines.next()? {
            "====" => {
                return Some(
                    TransferEncoding::Base64.decode(&lines.text.as_bytes()[start..end]).into_owned(),
                );
            }
            line if line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAT: &str = "begin 644 cat.txt\n#0V%T\n`\nend\n";

    #[test]
    fn u16_a_whole_block_is_found_with_its_name_and_octets() {
        let text = format!("Hello,\nbegin reading at once\n{CAT}bye\n");
        let [block] = &blocks(&text, 9)[..] else { panic!() };
        assert_eq!(
            (&text[block.range.clone()], block.name.as_str(), &block.octets[..]),
            (CAT, "cat.txt", &b"Cat"[..])
        );
        for (text, octets) in [
            ("begin 0644 a b\r\n#0V%T\r\n \r\nend\r\n", &b"Cat"[..]),
            ("begin 644 x\n$0V%TP\n\nend", b"Cat\xc0"),
            ("begin 644 x\n`\nend\n", b""),
            ("begin-base64 644 x\nQ2F0\nQ2F0\n====\n", b"CatCat"),
        ] {
            let found = blocks(text, 9);
            assert_eq!(found.len(), 1, "{text:?}");
            assert_eq!((found[0].octets.as_slice(), found[0].range.end), (octets, text.len()), "{text:?}");
        }
    }

    #[test]
    fn u16_text_that_only_looks_like_a_block_stays_text() {
        for text in [
            "begin 644 x\nprose in lower case\n`\nend\n",
            "begin 644 x\n#0V%T\n",
            "begin 644 x\n#0V%T\n`\n",
            "begin 999 x\n`\nend\n",
            "begin 644\n`\nend\n",
            "begin-base64 644 x\nnot base64!\n====\n",
            " begin 644 x\n`\nend\n",
        ] {
            assert_eq!(blocks(text, 9), [], "{text:?}");
        }
        // The first is cut, the second is whole.
        assert_eq!(blocks(&format!("begin 644 x\n#0V%T\n{CAT}"), 9).len(), 1);
    }

    #[test]
    fn u16_the_number_and_the_time_are_bounded() {
        assert_eq!(blocks(&CAT.repeat(100), 9).len(), 9);
        assert_eq!(blocks(&"begin 644 x\n".repeat(200_000), 9), []);
        assert_eq!(blocks(&format!("begin 644 x\n{}", "#0V%T\n".repeat(200_000)).repeat(2), 9), []);
    }
}
