//! Prints text from outside on a terminal, in a log, or in JSON.
//!
//! The rule: no output moves a cursor, ends a line, changes the direction of the text beside it, or contains
//! an invisible character. Such characters are escaped: up to U+00FF as `\x1b`, above as `\u{202e}`.

use std::{
    fmt::{self, Display, Write as _},
    path::Path,
};

use serde::Serialize;

/// True if a character is not visible: a control character, a line or paragraph separator, a character that
/// changes the direction of text (Unicode Technical Report 36 section 2.5), or one without width.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}')
}

/// True if a character has no glyph of its own but selects that of the character before it, as in emoji.
pub fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Escapes text for one line. Line ends and tabs are escaped too.
pub fn escape_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// Escapes text of several lines, with tabs between columns. Any part from outside must already be escaped by
/// [`escape_line`].
pub fn escape_text(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// Escapes a path for one line.
pub fn escape_path(path: &Path) -> EscapedLine<std::path::Display<'_>> {
    EscapedLine(path.display())
}

/// A wrapper whose value prints as one line, with all hidden characters escaped.
#[derive(Debug, Clone, Copy)]
pub struct EscapedLine<T>(pub T);

impl<T: Display> Display for EscapedLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape_line(&self.0.to_string()))
    }
}

/// Appends a character to a text, escaped.
pub fn escape_into(text: &mut String, c: char) {
    let _ = match u32::from(c) {
        octet @ 0..=0xff => write!(text, "\\x{octet:02x}"),
        code => write!(text, "\\u{{{code:x}}}"),
    }; // writing to a String cannot fail
}

/// JSON on one line, or on several if `pretty` is true. Every hidden character is written as `\uXXXX`.
pub fn json(value: &impl Serialize, pretty: bool) -> String {
    let written = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let mut text = String::new();
    for c in written.unwrap_or_default().chars() {
        // (The server's own values always serialise. The only unescaped line ends are those of the layout,
        // because strings contain escaped ones.)
        if is_hidden(c) && c != '\n' {
            let _ = c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(text, "\\u{unit:04x}")); // cannot fail
        } else {
            text.push(c);
        }
    }
    text
}

/// Octets of a character in a string of [`json`].
pub fn json_octets(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        ' '..='~' => 1,
        c if is_hidden(c) => 6 * c.len_utf16(),
        c => c.len_utf8(),
    }
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) && !stays(c) {
            escape_into(&mut safe, c);
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A number with its noun: `1 message`, `2 messages`, `1 mailbox`, `0 mailboxes`.
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let ending = match number.as_str() {
        "1" => "",
        _ if noun.ends_with('x') || noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}

/// A size in octets, converted to a unit that is easy to read.
pub fn size(octets: u64) -> String {
    match octets {
        0..0x400 => format!("{octets} B"),
        0x400..0x10_0000 => format!("{} KiB", octets.div_ceil(0x400)),
        0x10_0000..0x4000_0000 => tenths(octets, 20, "MiB"),
        0x4000_0000..0x100_0000_0000 => tenths(octets, 30, "GiB"),
        _ => tenths(octets, 40, "TiB"),
    }
}

fn tenths(octets: u64, shift: u32, unit: &str) -> String {
    let rest = octets & ((1 << shift) - 1);
    format!("{}.{} {unit}", octets >> shift, (rest * 10) >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_escaped_and_the_rest_stays() {
        assert_eq!(escape_line("a\x1b]52;c;x\x07\u{9b}1m\n\tb"), "a\\x1b]52;c;x\\x07\\x9b1m\\x0a\\x09b");
        assert_eq!(
            escape_line("\u{202e}\u{200b}\u{feff}\u{2028}\u{e0041}"),
            "\\u{202e}\\u{200b}\\u{feff}\\u{2028}\\u{e0041}"
        );
        assert_eq!(escape_text("a\tb\n\x1b"), "a\tb\n\\x1b");
        for text in ["Zoë", "日本語", "C:\\x", "❤\u{fe0f}", "a\u{301}"] {
            assert_eq!(escape_line(text), text);
        }
        assert_eq!(escape_path(Path::new("/a\x1b/b")).to_string(), "/a\\x1b/b");
    }

    #[test]
    fn json_says_the_same_without_a_hidden_character() {
        let text = "a\x1b\u{9b}\u{202e}\u{7f}\u{e0041}\n\"é";
        for pretty in [false, true] {
            let written = json(&[text], pretty);
            assert!(written.chars().all(|c| !is_hidden(c) || (pretty && c == '\n')), "{written}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&written).unwrap(), [text]);
        }
    }

    #[test]
    fn h12_one_of_a_thing_has_no_plural() {
        let told =
            [counted(1, "message"), counted(0, "message"), counted(2.0, "address"), counted(1.0, "mailbox")];
        assert_eq!(told, ["1 message", "0 messages", "2 addresses", "1 mailbox"]);
    }

    #[test]
    fn sizes_are_for_people() {
        for (octets, told) in
            [(0, "0 B"), (1023, "1023 B"), (1025, "2 KiB"), (1 << 20, "1.0 MiB"), (2_726_298, "2.6 MiB")]
        {
            assert_eq!(size(octets), told);
        }
        assert_eq!(
            [5 << 30, (5 << 40) + (1 << 39), 5000 << 40].map(size),
            ["5.0 GiB", "5.5 TiB", "5000.0 TiB"]
        );
    }
}
