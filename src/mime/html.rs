//! HTML as plain text.
//!
//! The rule: all text that a browser would show is there, in its order, and the address of each link too. html5gum reads the
//! markup as the HTML standard has it; the layout is made here from its tokens, without a tree, so that depth costs nothing.

use std::{collections::HashMap, ops::ControlFlow};

use html5gum::{StartTag, State, Token, Tokenizer};

/// Lays out HTML as text: blocks on lines of their own, lists with marks, cells of a table apart, preformatted text as it is.
/// A link has a number after it, and its address stands below the text.
pub fn to_text(html: &str) -> String {
    let mut layout = Layout::default();
    each_token(html, |token| {
        match token {
            Token::StartTag(tag) => layout.start(&tag),
            Token::EndTag(tag) => layout.end(&String::from_utf8_lossy(&tag.name)),
            Token::String(text) if layout.hidden.is_none() => layout.text(&String::from_utf8_lossy(&text)),
            Token::String(_) | Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
        ControlFlow::Continue(())
    });
    layout.finish()
}

/// Passes the tokens of a page to `take` until it breaks.
pub(super) fn each_token(html: &str, mut take: impl FnMut(Token<()>) -> ControlFlow<()>) {
    let mut tokens = Tokenizer::new(html);
    while let Some(Ok(token)) = tokens.next() {
        if let Token::StartTag(tag) = &token
            // A tag that closes itself has no content, although HTML says otherwise: its writer thought of XHTML.
            && let Some(state) = raw_content(&tag.name).filter(|_| !tag.self_closing)
        {
            tokens.set_state(state);
        }
        if take(token).is_break() {
            return;
        }
    }
}

/// The address that a link leads to: a browser takes line ends and tabs out of it.
pub(super) fn link_address(tag: &StartTag<()>) -> Option<String> {
    let address =
        String::from_utf8_lossy(tag.attributes.get(&b"href"[..])?).trim().replace(['\n', '\r', '\t'], "");
    (!address.is_empty() && !address.starts_with('#')).then_some(address)
}

/// True if a browser begins a new line, a paragraph or a cell at that element.
pub(super) fn separates(name: &str) -> bool {
    gap_around(name) > Gap::None || name == "br"
}

/// True if nothing of a text can be seen.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_hint(c) || is_joiner(c))
}

/// The separation before the next text. A larger one replaces a smaller one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Blank,
    Cell,
    Line,
    Paragraph,
}

#[derive(Default)]
struct Layout {
    /// The lines so far. The last one has no line end.
    text: String,
    gap: Gap,
    /// Line ends of preformatted text before the next text.
    line_ends: usize,
    /// The mark of a list item, which begins the next text.
    mark: Option<String>,
    /// Open lists: the number of the next item, or `None` for bullets.
    lists: Vec<Option<usize>>,
    quotes: usize,
    /// Quotations around the last line.
    last_quotes: usize,
    preformatted: usize,
    /// The element whose text is not shown.
    hidden: Option<String>,
    /// The link being read: its address, and the position of its text.
    link: Option<(String, usize)>,
    /// Addresses of links, with their numbers.
    links: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Layout {
    fn start(&mut self, tag: &StartTag<()>) {
        let name = String::from_utf8_lossy(&tag.name);
        let attribute = |name: &[u8]| {
            let value = tag.attributes.get(name);
            value.map(|value| String::from_utf8_lossy(value).trim().to_owned()).unwrap_or_default()
        };
        self.separate(gap_around(&name));
        match &*name {
            name if is_hidden(name) && !tag.self_closing => self.hidden = Some(name.to_owned()),
            "br" => self.gap = if self.gap >= Gap::Line { Gap::Paragraph } else { Gap::Line },
            "hr" => {
                self.text("---");
                self.separate(Gap::Paragraph);
            }
            "pre" | "listing" | "xmp" | "plaintext" => self.preformatted += 1,
            "blockquote" => self.quotes += 1,
            "ul" | "menu" | "dir" => self.lists.push(None),
            "ol" => self.lists.push(Some(attribute(b"start").parse().unwrap_or(1))),
            "li" => {
                self.mark = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let mark = format!("{number}. ");
                        *number = number.saturating_add(1);
                        mark
                    }
                    _ => "- ".into(),
                });
            }
            "a" => {
                self.end_link();
                self.link = link_address(tag).map(|address| (address, self.text.len()));
            }
            "img" | "area" => {
                let words = attribute(b"alt");
                if !is_blank(&words) {
                    self.text(&format!("[{words}]"));
                }
            }
            "input" if !attribute(b"type").eq_ignore_ascii_case("hidden") => self.text(&attribute(b"value")),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        if self.hidden.as_deref() == Some(name) {
            self.hidden = None;
        }
        match name {
            "pre" | "listing" | "xmp" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.line_ends = 0;
            }
            "blockquote" => self.quotes = self.quotes.saturating_sub(1),
            "ul" | "menu" | "dir" | "ol" => {
                self.lists.pop();
                self.mark = None;
            }
            "a" => self.end_link(),
            _ => {}
        }
        self.separate(gap_around(name));
    }

    fn separate(&mut self, gap: Gap) {
        // A list, or a paragraph of an item, is no paragraph in a list.
        let gap = if gap == Gap::Paragraph && !self.lists.is_empty() { Gap::Line } else { gap };
        self.gap = self.gap.max(gap);
    }

    /// Adds text; blanks are joined unless it is preformatted.
    fn text(&mut self, text: &str) {
        if self.preformatted > 0 {
            for (number, line) in text.split('\n').enumerate() {
                self.line_ends += usize::from(number > 0);
                let line = line.strip_suffix('\r').unwrap_or(line);
                if !line.is_empty() {
                    self.write_gap();
                    self.text.extend(line.chars().filter(|c| !is_hint(*c)));
                }
            }
            return;
        }
        for c in text.chars() {
            if c.is_whitespace() {
                self.separate(Gap::Blank);
                continue;
            }
            let begins_word = self.gap > Gap::None || self.text.is_empty();
            // A joiner says something between letters only; senders fill previews with them.
            if is_hint(c) || (begins_word && is_joiner(c)) {
                continue;
            }
            self.write_gap();
            self.text.push(c);
        }
    }

    /// Writes the separation before a text, and the mark of its item.
    fn write_gap(&mut self) {
        let (gap, line_ends) = (std::mem::take(&mut self.gap), std::mem::take(&mut self.line_ends));
        let begins_line = self.text.is_empty() || gap >= Gap::Line || line_ends > 0 || self.mark.is_some();
        if !begins_line {
            self.text.push_str(match gap {
                Gap::Blank => " ",
                Gap::Cell => " | ",
                _ => "",
            });
            return;
        }
        // The depth is bounded, or else each line of a deep text would cost as much as the whole.
        let quotes = "> ".repeat(self.quotes.min(MAX_INDENT));
        let between = "> ".repeat(self.quotes.min(self.last_quotes).min(MAX_INDENT));
        self.last_quotes = self.quotes;
        if !self.text.is_empty() {
            self.text.push('\n');
            for _ in 1..line_ends.max(if gap == Gap::Paragraph { 2 } else { 1 }) {
                self.text.push_str(between.trim_end());
                self.text.push('\n');
            }
        }
        self.text.push_str(&quotes);
        self.text.push_str(&"  ".repeat(self.lists.len().saturating_sub(1).min(MAX_INDENT)));
        match self.mark.take() {
            Some(mark) => self.text.push_str(&mark),
            None if !self.lists.is_empty() => self.text.push_str("  "),
            None => {}
        }
    }

    /// Writes the number of a link after its text, unless the text is its address.
    fn end_link(&mut self) {
        let Some((address, from)) = self.link.take() else { return };
        let words = self.text.get(from..).unwrap_or_default().trim();
        if is_same_address(words, &address) {
            return;
        }
        if words.is_empty() {
            self.write_gap();
        }
        let next = self.links.len() + 1;
        let number = *self.numbers.entry(address.clone()).or_insert(next);
        if number == next {
            self.links.push(address);
        }
        let blank = if self.text.is_empty() || self.text.ends_with(' ') { "" } else { " " };
        self.text.push_str(&format!("{blank}[{number}]"));
    }

    fn finish(mut self) -> String {
        self.end_link();
        if !self.links.is_empty() {
            self.text.push('\n');
        }
        for (number, address) in (1..).zip(&self.links) {
            self.text.push_str(&format!("\n[{number}] {address}"));
        }
        self.text
    }
}

/// True if the words of a link are its address, perhaps without the scheme.
fn is_same_address(words: &str, address: &str) -> bool {
    let bare = |text: &str| {
        let text = ["http://", "https://", "mailto:", "tel:"].iter().find_map(|scheme| {
            text.get(..scheme.len())
                .filter(|start| start.eq_ignore_ascii_case(scheme))
                .map(|start| text[start.len()..].to_owned())
        });
        text.map(|text| text.trim_end_matches('/').to_owned())
    };
    !words.is_empty()
        && (words == address
            || bare(address).is_some_and(|address| {
                address == words.trim_end_matches('/') || bare(words).is_some_and(|words| words == address)
            }))
}

fn gap_around(name: &str) -> Gap {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "menu" | "dir"
        | "blockquote" | "pre" | "table" | "form" | "fieldset" | "figure" | "hr" | "listing" | "xmp"
        | "plaintext" => Gap::Paragraph,
        "html" | "head" | "body" | "div" | "li" | "dt" | "dd" | "tr" | "caption" | "thead" | "tbody"
        | "tfoot" | "address" | "article" | "aside" | "center" | "section" | "header" | "footer" | "main"
        | "nav" | "option" | "legend" | "details" | "summary" | "figcaption" | "textarea" => Gap::Line,
        "td" | "th" => Gap::Cell,
        _ => Gap::None,
    }
}

/// True if a browser does not show the text of that element.
pub(super) fn is_hidden(name: &str) -> bool {
    matches!(name, "script" | "style" | "title" | "iframe" | "noembed" | "noframes")
}

/// The state of the tokenizer in an element without markup inside.
fn raw_content(name: &[u8]) -> Option<State> {
    match name {
        b"title" | b"textarea" => Some(State::RcData),
        b"script" => Some(State::ScriptData),
        b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" => Some(State::RawText),
        b"plaintext" => Some(State::PlainText),
        _ => None,
    }
}

/// Invisible characters that say where a line may break.
pub(super) fn is_hint(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Levels of quotations and of lists that are indented.
const MAX_INDENT: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_laid_out_as_text() {
        for (html, text) in [
            (
                "<h1>Hello</h1><p>Click <a href=\"https://x.test/a?b&amp;c\">here</a></p>",
                "Hello\n\nClick here [1]\n\n[1] https://x.test/a?b&c",
            ),
            ("one<div>two</div>three", "one\ntwo\nthree"),
            ("<p>one<br>two<br><br>three<br></p><p>four", "one\ntwo\n\nthree\n\nfour"),
            ("  a \n\t b&nbsp;&nbsp;c ", "a b c"),
            ("<b>a</b><i>b</i> <u>c</u>", "ab c"),
            (
                "<ul><li>one<li>two<ul><li>in</ul><li><p>three</p></ul>after",
                "- one\n- two\n  - in\n- three\n\nafter",
            ),
            ("<ol start=9><li>a</li><li></li><li>b<br>c</ol>", "9. a\n11. b\n  c"),
            ("<table><tr><th>A<th>B<tr><td>1</td><td>2</td></tr></table>x", "A | B\n1 | 2\n\nx"),
            ("<table><tr><td><p>a</p></td><td><p>b</p></td></tr></table>", "a\n\nb"),
            ("<table><tr><td></td><td>b</td></tr></table>", "b"),
            ("a<pre>\n one\n\n  two &lt;\n</pre>b", "a\n\n one\n\n  two <\n\nb"),
            ("<blockquote>a<p>b</p><blockquote>c</blockquote></blockquote>d", "> a\n>\n> b\n>\n> > c\n\nd"),
            ("<head><title>t</title><style>s{}</style></head><script>if (a<b) c()</script>x", "x"),
            ("<style/>x<script src=y />z", "xz"),
            ("<title>never closed", ""),
            ("<noscript><p>a</p></noscript><iframe>b</iframe>", "a"),
            ("<!-- a --><!DOCTYPE html>b<![CDATA[c]]>", "b"),
            ("<img alt='a cat' src=x><img src=y><img alt=' '>", "[a cat]"),
            ("a<hr>b", "a\n\n---\n\nb"),
            ("<a href=http://x.test/>x.test</a> <a href='mailto:a@b.test'>a@b.test</a>", "x.test a@b.test"),
            ("<a href=http://evil.test>http://bank.test</a>", "http://bank.test [1]\n\n[1] http://evil.test"),
            ("<a href=u>a</a> <a href=v>b</a> <a href=u>c</a>", "a [1] b [2] c [1]\n\n[1] u\n[2] v"),
            ("<a href=u><img></a><a href='#top'>top</a>", "[1]top\n\n[1] u"),
            ("<a href=u>never closed", "never closed [1]\n\n[1] u"),
            ("<a href='ht\ntp://x\t.test'>a</a>", "a [1]\n\n[1] http://x.test"),
            ("&eacute;&#233;&#xe9;&euro;&amp;lt; &unknown;", "éé\u{e9}€&lt; &unknown;"),
            ("a&shy;b\u{200b}c\u{feff} &zwnj;&nbsp;&zwnj;&nbsp;d\u{200d}e", "abc d\u{200d}e"),
            ("<input value=a><input type=hidden value=b><textarea>c <b></textarea>", "a\nc <b>"),
            ("<p <b>odd</b> < 3 & <3 </", "odd < 3 & <3 </"),
            ("<plaintext>a <b>", "a <b>"),
            ("", ""),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn depth_and_number_cost_no_more_than_their_octets() {
        let n = 100_000;
        for html in [
            "<div>",
            "<ul><li>x",
            "<blockquote>x",
            "<table><tr><td>",
            "<a href=u>",
            "<pre>\n",
            "<b",
            "</p>",
            "<!--",
            "&#",
        ] {
            let html = html.repeat(n);
            assert!(to_text(&html).len() <= 16 * html.len());
        }
    }
}
