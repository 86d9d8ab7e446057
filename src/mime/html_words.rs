//! The words and the links of HTML, without a layout.
//!
//! The rule: the words are those that a browser shows, and the reading of a page ends as soon as the caller has enough.

use std::{collections::HashSet, ops::ControlFlow};

use html5gum::Token;

use super::html::{each_token, is_hidden, is_hint, is_joiner, link_address, separates};

/// The first words that a browser shows, with single blanks between them: at most `most` characters.
pub fn words(html: &str, most: usize) -> String {
    let (mut words, mut hidden) = (Words { text: String::new(), left: most, gap: false }, None);
    each_token(html, |token| {
        match token {
            Token::StartTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name);
                words.gap |= separates(&name) || name == "img";
                if hidden.is_none() && is_hidden(&name) && !tag.self_closing {
                    hidden = Some(name.into_owned());
                }
            }
            Token::EndTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name);
                words.gap |= separates(&name);
                hidden = hidden.take().filter(|hidden| *hidden != name);
            }
            Token::String(text) if hidden.is_none() => words.add(&String::from_utf8_lossy(&text)),
            Token::String(_) | Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
        if words.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    words.text
}

/// The addresses that the links of a page lead to, each once, in their order: at most `most`.
pub fn links(html: &str, most: usize) -> Vec<String> {
    let (mut links, mut known) = (Vec::new(), HashSet::new());
    each_token(html, |token| {
        if let Token::StartTag(tag) = token
            && matches!(&tag.name[..], b"a" | b"area")
            && let Some(address) = link_address(&tag)
            && links.len() < most
            && known.insert(address.clone())
        {
            links.push(address);
        }
        if links.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    links
}

/// Words being collected.
struct Words {
    text: String,
    /// Characters that may still follow.
    left: usize,
    /// True if a blank separates the next word from the last one.
    gap: bool,
}

impl Words {
    fn add(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                self.gap = true;
                continue;
            }
            let begins_word = self.gap || self.text.is_empty();
            // Senders fill previews with invisible characters.
            if is_hint(c) || (begins_word && is_joiner(c)) {
                continue;
            }
            if std::mem::take(&mut self.gap) && !self.text.is_empty() {
                self.push(' ');
            }
            self.push(c);
        }
    }

    fn push(&mut self, c: char) {
        if self.left > 0 {
            self.left -= 1;
            self.text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_a_browser_shows() {
        for (html, expected) in [
            ("<h1>Hello</h1><p>Click <a href=u>here</a>, <b>n</b>ow</p>", "Hello Click here, now"),
            ("one<div>two</div>three<br>four<img alt=x>five", "one two three four five"),
            ("<title>t</title><style>s{}</style><script>if (a<b) c()</script>x<!-- y -->", "x"),
            ("a&nbsp;\n &zwnj;&nbsp;&zwnj; &shy;b\u{feff}c &eacute;", "a bc é"),
            ("<table><tr><td>1<td>2</table>", "1 2"),
            ("<title>never closed", ""),
            ("", ""),
        ] {
            assert_eq!(words(html, 1000), expected, "{html}");
        }
        assert_eq!(words("<p>one<p>two", 5), "one t");
        assert_eq!(words("<p>one<p>two", 0), "");
    }

    #[test]
    fn links_stand_there_once_and_in_order() {
        let html = "<a href=' http://x.test/a?b&amp;c '>a</a><area href='mailto:a@b.test'><a href=#top>t</a>\
                    <a href='ht\ntp://y.test'>b</a><a>c</a><A HREF=http://x.test/a?b&c>d</A><script><a href=z></script>";
        assert_eq!(links(html, 9), ["http://x.test/a?b&c", "mailto:a@b.test", "http://y.test"]);
        assert_eq!(links(html, 2).len(), 2);
        assert_eq!(links(html, 0), [""; 0]);
    }
}
