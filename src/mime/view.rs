//! Divides the parts of a message into those that a mail reader shows as text and those that it lists.
//!
//! The rule: no content is lost. Each part without children is shown or listed, or it lies inside a listed message. The
//! only exception is blank text.

use std::{borrow::Cow, ops::Range};

use super::{Content, Message, Part, Role, flowed, html, uuencode};

/// A message prepared for display.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The text of the shown parts. HTML is converted to plain text.
    pub text: String,
    /// Indexes in [`Message::parts`] of the parts that `text` shows.
    pub shown: Vec<usize>,
    /// The octets of `text` that each shown part has.
    pub spans: Vec<Range<usize>>,
    /// Indexes in [`Message::parts`] of the parts that a reader can save: the parts that `text` does not show, and
    /// shown parts that are files too. Attachments come first, then the alternatives that `text` does not show.
    pub listed: Vec<usize>,
    /// Uuencoded files in the plain text. `text` shows only the lines `begin` and `end` of each.
    pub embedded: Vec<uuencode::Block>,
}

/// The preference among alternatives. A terminal shows plain text best, so the order of RFC 2046 section 5.1.4, in which
/// the last alternative is the best, does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Plain,
    Html,
    Other,
}

impl View {
    /// Divides the parts of a message.
    pub fn of(message: &Message<'_>) -> Self {
        let parts = message.parts();
        let texts: Vec<Option<String>> = parts.iter().map(|part| text_of(message, part)).collect();
        let ranks: Vec<Rank> = parts.iter().map(rank).collect();
        let inline = |index: usize| is_inline(message, &parts[index], ranks[index]);
        let mut view = Self { shown: shown(parts, &texts, &ranks, &inline), ..Self::default() };
        let mut is_shown = vec![false; parts.len()];
        for index in view.shown.clone() {
            if !view.text.is_empty() {
                view.text.push_str("\n\n");
            }
            is_shown[index] = true;
            let start = view.text.len();
            let text = texts[index].as_deref().unwrap_or_default();
            if parts[index].media_type.value == "text/plain" {
                let text = view.take_embedded(text);
                let flowed = parts[index].media_type.text("format");
                if flowed.is_some_and(|format| format.eq_ignore_ascii_case("flowed")) {
                    let del_sp = parts[index].media_type.text("delsp");
                    let del_sp = del_sp.is_some_and(|value| value.eq_ignore_ascii_case("yes"));
                    view.text.push_str(flowed::unflow(&text, del_sp).trim_end());
                } else {
                    view.text.push_str(text.trim_end());
                }
            } else {
                view.text.push_str(text.trim_end());
            }
            view.spans.push(start..view.text.len());
        }
        if !view.text.is_empty() {
            view.text.push('\n');
        }
        let mut others = Vec::new();
        // The entry of a nested message in the list covers its parts.
        let mut is_nested = vec![false; parts.len()];
        for (index, part) in parts.iter().enumerate() {
            is_nested[index] = part
                .parent
                .is_some_and(|parent| is_nested[parent] || parts[parent].content == Content::Message);
            let named = message.file_name(part).is_some();
            let is_file = named || part.disposition.value == "attachment";
            let is_blank = part.is_text() && !part.is_html() && !is_file && texts[index].is_none();
            match part.content {
                _ if is_nested[index] || part.content == Content::Multipart || is_blank => {}
                _ if is_shown[index] && !is_file && ranks[index] != Rank::Other => {}
                _ if part.is_text() && !is_file && part.role == Role::Part && ranks[index] != Rank::Other => {
                    others.push(index);
                }
                _ => view.listed.push(index),
            }
        }
        view.listed.extend(others);
        view
    }

    /// Moves the uuencoded files of a text to `embedded`, and returns the text without their data.
    fn take_embedded<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let blocks = uuencode::blocks(text, MAX_EMBEDDED - self.embedded.len());
        if blocks.is_empty() {
            return text.into();
        }
        let (mut rest, mut at) = (String::new(), 0);
        for block in &blocks {
            let begin = text[block.range.clone()].lines().next().unwrap_or_default();
            rest += &format!("{}{begin}\n…\nend\n", &text[at..block.range.start]);
            at = block.range.end;
        }
        rest += &text[at..];
        self.embedded.extend(blocks);
        rest.into()
    }
}

/// The text to show for a part; `None` if the part is not text, or is blank.
fn text_of(message: &Message<'_>, part: &Part) -> Option<String> {
    let has_text = part.is_text() || (part.is_html() && part.content == Content::Leaf);
    if !has_text {
        return None;
    }
    let text = message.text(part);
    let text = if part.is_html() { html::to_text(&text) } else { text };
    (!html::is_blank(&text)).then_some(text)
}

fn rank(part: &Part) -> Rank {
    match part.media_type.value.as_str() {
        "text/plain" => Rank::Plain,
        kind if kind.starts_with("multipart/") => Rank::Plain,
        _ if part.is_html() => Rank::Html,
        _ => Rank::Other,
    }
}

/// The parts to show, in their order. If the message has no text of its own, these are its preambles and epilogues. If it
/// has none of these either, they are the text of its first nested message that has some.
fn shown(
    parts: &[Part],
    texts: &[Option<String>],
    ranks: &[Rank],
    is_inline: &dyn Fn(usize) -> bool,
) -> Vec<usize> {
    // Parents stand before their children, so a pass from the end has the children first.
    let mut shows: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
    let mut nested = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        match part.content {
            Content::Leaf if texts[index].is_some() && is_inline(index) => shows[index].push(index),
            Content::Leaf | Content::Opaque => {}
            // The text of a nested message is not text of the outer message. It is shown only if the outer message has none.
            Content::Message => {
                let inner = std::mem::take(&mut shows[index]);
                if !inner.is_empty() {
                    nested = inner;
                }
            }
            Content::Multipart => {
                // The pass from the end added the last child first.
                if part.media_type.value != "multipart/alternative" {
                    shows[index].reverse();
                }
            }
        }
        let Some(parent) = part.parent else { continue };
        let shown = std::mem::take(&mut shows[index]);
        let Some(first) = shown.first() else { continue };
        let of_parent = &mut shows[parent];
        if parts[parent].media_type.value == "multipart/alternative" {
            // Of several alternatives with the best rank, the first one wins.
            if of_parent.first().is_none_or(|best| ranks[*first] <= ranks[*best]) {
                *of_parent = shown;
            }
        } else if parts[parent].content == Content::Message {
            *of_parent = shown;
        } else {
            of_parent.extend(shown.into_iter().rev());
        }
    }
    let own = shows.swap_remove(0);
    let is_around = |index: &usize| {
        matches!(parts[*index].role, Role::Preamble | Role::Epilogue) && texts[*index].is_some()
    };
    if !own.is_empty() {
        return own;
    }
    let around: Vec<usize> = (0..parts.len()).filter(is_around).collect();
    if around.is_empty() { nested } else { around }
}

/// True if a part is text of the message, and not an attached file (RFC 2183 section 2).
fn is_inline(message: &Message<'_>, part: &Part, rank: Rank) -> bool {
    part.role == Role::Part
        && part.disposition.value != "attachment"
        && (rank != Rank::Other || (part.is_text() && message.file_name(part).is_none()))
}

/// The largest number of uuencoded files in one message. The text shows further ones as they are.
const MAX_EMBEDDED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::MimeLimits;

    /// The text, and the media types of the listed parts.
    fn view(message: &str) -> (String, Vec<String>) {
        let message = Message::parse(message.as_bytes(), &MimeLimits::default());
        let view = View::of(&message);
        (
            view.text,
            view.listed.iter().map(|index| message.parts()[*index].media_type.value.clone()).collect(),
        )
    }

    /// A multipart of parts, each a header and a body.
    fn multipart(kind: &str, boundary: &str, parts: &[&str]) -> String {
        let parts: String = parts.iter().map(|part| format!("--{boundary}\n{part}\n")).collect();
        format!("Content-Type: multipart/{kind}; boundary={boundary}\n\n{parts}--{boundary}--\n")
    }

    const PLAIN: &str = "Content-Type: text/plain\n\nplain";
    const BLANK: &str = "Content-Type: text/plain\n\n \u{a0}\u{200b}\n";
    const HTML: &str = "Content-Type: text/html\n\n<p>html</p>";
    const PNG: &str = "Content-Type: image/png\n\nx";

    #[test]
    fn an_alternative_is_shown_and_the_others_are_listed() {
        for (parts, text, listed) in [
            (&[PLAIN, HTML][..], "plain\n", &["text/html"][..]),
            (&[HTML, PLAIN], "plain\n", &["text/html"]),
            (&[BLANK, HTML], "html\n", &[]),
            (&["Content-Type: text/calendar\n\nBEGIN", HTML], "html\n", &["text/calendar"]),
            (&["Content-Type: text/calendar\n\nBEGIN"], "BEGIN\n", &["text/calendar"]),
            (&[BLANK, PNG], "", &["image/png"]),
            (&["\n\n", "Content-Type: text/html\n\n<img src=x>"], "", &["text/html"]),
        ] {
            let expected = (text.to_owned(), listed.iter().map(|kind| (*kind).to_owned()).collect());
            assert_eq!(view(&multipart("alternative", "b", parts)), expected, "{parts:?}");
        }
        let related = multipart("related", "c", &[HTML, PNG]);
        let (text, listed) = view(&multipart("alternative", "b", &[BLANK, &related]));
        assert_eq!((text.as_str(), &listed[..]), ("html\n", &["image/png".to_owned()][..]));
        let (text, listed) = view(&multipart("alternative", "b", &[PLAIN, &related]));
        assert_eq!(
            (text.as_str(), &listed[..]),
            ("plain\n", &["image/png".to_owned(), "text/html".to_owned()][..])
        );
        let mixed = multipart("mixed", "c", &[PLAIN, PNG, "\nmore"]);
        let (text, listed) = view(&multipart("alternative", "b", &[&mixed, HTML]));
        assert_eq!(
            (text.as_str(), &listed[..]),
            ("plain\n\nmore\n", &["image/png".to_owned(), "text/html".to_owned()][..])
        );
    }

    #[test]
    fn parts_that_are_not_shown_are_listed() {
        let named = "Content-Type: text/plain; name=a.txt\n\nnamed";
        let attached = "Content-Type: text/plain\nContent-Disposition: attachment\n\nattached";
        let csv = "Content-Type: text/csv; name=a.csv\n\n1,2";
        let message = "Content-Type: message/rfc822\n\nSubject: x\n\ninner";
        for (parts, text, listed) in [
            (&[PLAIN, PNG, HTML][..], "plain\n\nhtml\n", &["image/png"][..]),
            (&[PLAIN, named, attached, csv], "plain\n\nnamed\n", &["text/plain", "text/plain", "text/csv"]),
            (&[PLAIN, message, PNG], "plain\n", &["message/rfc822", "image/png"]),
            (&[BLANK, message], "inner\n", &["message/rfc822"]),
            (&["Content-Type: multipart/mixed; boundary=never\n\ntext"], "text\n", &[]),
        ] {
            let expected = (text.to_owned(), listed.iter().map(|kind| (*kind).to_owned()).collect());
            assert_eq!(view(&multipart("mixed", "b", parts)), expected, "{parts:?}");
        }
        let footer = format!("{}footer\n", multipart("mixed", "b", &[PLAIN]));
        assert_eq!(view(&footer), ("plain\n".to_owned(), vec!["text/plain".to_owned()]));
        assert_eq!(
            view("Content-Type: application/pdf\n\nx"),
            (String::new(), vec!["application/pdf".to_owned()])
        );
        assert_eq!(view(""), (String::new(), vec![]));
    }
}
