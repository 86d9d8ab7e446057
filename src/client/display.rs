//! Text from outside on a terminal.
//!
//! The rule: no text from a network moves the cursor, changes a colour, rings the bell or reverses the
//! direction of the text beside it. Such characters are replaced by visible ones.

use std::borrow::Cow;

use crate::printable::is_hidden;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Escapes a text of several lines: line ends and tabs stay, every other control character becomes its
/// visible picture.
pub fn printable_text(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| if matches!(c, '\n' | '\t' | JOIN | JOIN_NOT) { c } else { control_picture(c) })
        .collect()
}

/// Escapes one line: line ends and tabs become blanks.
pub fn printable_line(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { control_picture(c) }).collect()
}

fn control_picture(c: char) -> char {
    match c {
        // The block of control pictures has the order of the control characters.
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(UNKNOWN),
        '\x7f' => '\u{2421}',
        c if is_hidden(c) => UNKNOWN,
        c => c,
    }
}

/// Fits the text into that many columns: cut with an ellipsis, or padded with blanks.
pub fn pad_to_width(text: &str, columns: usize) -> String {
    let width = text.width();
    if width <= columns {
        return format!("{text}{}", " ".repeat(columns - width));
    }
    let (mut cut, mut used) = (String::new(), 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        cut.push(c);
    }
    let blanks = columns.saturating_sub(used + 1);
    format!("{cut}…{}", " ".repeat(blanks))
}

/// At most so many characters of a text, with an ellipsis where it is cut.
pub fn bounded(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Folds a text at blanks to that many columns. A longer word is cut.
pub fn fold(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.replace('\t', "    ");
        let mut rest = line.trim_end();
        while let Some(hard) = first_char_beyond(rest, columns) {
            let at = rest[..hard].rfind(' ').filter(|at| !rest[..*at].trim().is_empty()).unwrap_or(hard);
            lines.push(rest[..at].trim_end().to_owned());
            rest = rest[at..].trim_start();
        }
        if !rest.is_empty() || line.trim().is_empty() {
            lines.push(rest.to_owned());
        }
    }
    lines
}

/// The position of the first character beyond that many columns. The search stops there, because a line may
/// be as long as a message. A first character that is too wide stays.
fn first_char_beyond(text: &str, columns: usize) -> Option<usize> {
    let mut used = 0;
    let beyond = |(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used > columns
    };
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.char_indices().find(beyond).map(|(at, _)| at.max(first)).filter(|at| *at < text.len())
}

/// Wraps a sentence to that many columns at blanks only, so that a path stays in one piece.
pub fn wrap_words(sentence: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

const UNKNOWN: char = char::REPLACEMENT_CHARACTER;
/// Zero-width joiners: they change the shape of their neighbours, and Persian and emoji need them in running
/// text.
const JOIN: char = '\u{200d}';
const JOIN_NOT: char = '\u{200c}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_shown_and_does_nothing() {
        assert_eq!(
            printable_text("\x1b[31mred\x07\r\n\u{9b}1m\u{202e}x\r"),
            "␛[31mred␇\n\u{fffd}1m\u{fffd}x␍"
        );
        assert_eq!(printable_line("a\r\n b\tc\x7f"), "a   b c␡");
        assert_eq!(printable_line("a\u{200b}b\u{200d}c\u{feff}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(printable_text("a\u{200b}b\u{200d}c"), "a\u{fffd}b\u{200d}c");
    }

    #[test]
    fn a_column_is_as_wide_as_it_should_be() {
        for (text, cut) in [
            ("ab", "ab   "),
            ("abcde", "abcde"),
            ("abcdef", "abcd…"),
            ("日本語", "日本…"),
            ("é日日日", "é日… "),
        ] {
            assert_eq!(pad_to_width(text, 5), cut);
            assert_eq!(cut.width(), 5);
        }
    }

    #[test]
    fn long_lines_are_folded_at_blanks_or_cut() {
        assert_eq!(
            fold("one two three\n\nxxxxxxxxxxxx y", 8),
            ["one two", "three", "", "xxxxxxxx", "xxxx y"]
        );
        assert_eq!(fold("  indented text", 10), ["  indented", "text"]);
        assert_eq!(fold("日本語日本語", 5), ["日本", "語日", "本語"]);
        assert_eq!(fold("日", 1), ["日"]);
    }

    #[test]
    fn a_sentence_is_broken_at_blanks_only() {
        assert_eq!(
            wrap_words("Saved as /a/very/long/path here", 10),
            ["Saved as", "/a/very/long/path", "here"]
        );
        assert_eq!(wrap_words("", 10), [""]);
    }
}
