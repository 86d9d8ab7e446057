//! Escapes text from outside for a log line.

use crate::printable;

/// Escapes text from outside for a log line: `"`, `\`, [invisible characters](printable::is_hidden) and every blank
/// but the plain one are escaped, and the text is cut at 256 bytes.
pub fn escape(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        let length = safe.len();
        match c {
            '"' | '\\' => printable::escape_into(&mut safe, c),
            // A program that reads the log ends a word at any of these blanks, and would miss the rest of the line.
            c if printable::is_hidden(c) || (c.is_whitespace() && c != ' ') => {
                printable::escape_into(&mut safe, c)
            }
            c => safe.push(c),
        }
        if safe.len() > MAX_VALUE {
            safe.truncate(length);
            safe.push('…');
            break;
        }
    }
    safe
}

/// The value of a `key=value`, in quotes if it could be taken for several.
pub(super) fn value(text: &str) -> String {
    let text = escape(text);
    if text.is_empty() || text.contains([' ', '=']) { format!("\"{text}\"") } else { text }
}

/// Bytes of text from outside in one value.
const MAX_VALUE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t22_control_characters_quotes_and_backslashes_are_escaped() {
        for (text, safe) in [
            ("plain <a@b>", "plain <a@b>"),
            ("\0\t\r\n\x1b[0m", r"\x00\x09\x0d\x0a\x1b[0m"),
            ("\x7f\u{80}\u{9b}\u{9f}", r"\x7f\x80\x9b\x9f"),
            (r#"say "a\b""#, r"say \x22a\x5cb\x22"),
            ("é%s", "é%s"),
            ("é\u{a0}%s\u{3000}\u{2003}", r"é\xa0%s\u{3000}\u{2003}"),
        ] {
            assert_eq!(escape(text), safe, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(escape(&"a".repeat(256)), "a".repeat(256));
        assert_eq!(escape(&"a".repeat(257)), format!("{}…", "a".repeat(256)));
        assert_eq!(escape(&format!("a{}", "é".repeat(200))), format!("a{}…", "é".repeat(127)));
        assert_eq!(escape(&"\n".repeat(65)), format!("{}…", r"\x0a".repeat(64)));
    }
}
