//! The first words of a message, for lists.

use crate::{mime::html_words, printable::is_hidden};

/// The first words: those of the HTML, which is often longer than a plain alternative, else those of the text. Blanks are
/// single, and characters that cannot be seen are blanks. A text that is cut ends in `...`.
pub fn snippet(text: &str, html: &str) -> String {
    // Some characters more, because invisible ones are dropped afterwards.
    let html = visible(html_words::words(html, 4 * MAX_LENGTH).chars());
    if html.is_empty() { visible(text.chars()) } else { html }
}

/// The characters that can be seen, with single blanks between the words.
fn visible(characters: impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    let (mut length, mut gap) = (0, false);
    for c in characters {
        if c.is_whitespace() || is_hidden(c) {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) && length > 0 {
            text.push(' ');
            length += 1;
        }
        text.push(c);
        length += 1;
        if length > MAX_LENGTH {
            let cut = text.char_indices().nth(MAX_LENGTH - ELLIPSIS.len()).map_or(0, |(at, _)| at);
            text.truncate(cut);
            return text.trim_end().to_owned() + ELLIPSIS;
        }
    }
    text
}

/// Characters of the longest snippet, the ellipsis included.
pub const MAX_LENGTH: usize = 250;
/// The end of a snippet that is cut.
const ELLIPSIS: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_has_the_first_words_and_no_more_than_its_length() {
        for (text, html, expected) in [
            ("one\n\n two\t3\u{200b}\n", "", "one two 3"),
            ("plain", "<style>x{}</style><h1>Hi</h1><p>there&nbsp;you", "Hi there you"),
            ("plain", "<img src=x>", "plain"),
            ("", "", ""),
        ] {
            assert_eq!(snippet(text, html), expected);
        }
        assert_eq!(snippet(&"é".repeat(250), ""), "é".repeat(250));
        assert_eq!(snippet(&"é".repeat(251), ""), "é".repeat(247) + "...");
        let long = snippet("", &"<p>日本 ".repeat(1000));
        assert!(long.ends_with("...") && (245..=250).contains(&long.chars().count()), "{long}");
    }
}
