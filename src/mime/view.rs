//! The parts of a message that are shown as its text, and those that are listed.
//!
//! The rule: each part is shown, or listed, or in a part that is listed. Only blank text is neither.

use std::borrow::Cow;

use super::{Content, Message, Part, Role, flowed, html, uuencode};

/// A message for a reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The text, HTML laid out.
    pub text: String,
    /// Places in [`Message::parts`] of the parts that the text shows.
    pub shown: Vec<usize>,
    /// Places in [`Message::parts`] of the parts that the text does not show, or that are files too. Attachments come first,
    /// then other forms of the text.
    pub listed: Vec<usize>,
    /// Files in the text, uuencoded. The text shows their first line and `end`.
    pub embedded: Vec<uuencode::Block>,
}

/// The order in which alternatives are preferred on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Plain,
    Html,
    Other,
}

impl View {
    /// Chooses the parts of a message.
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
        }
        if !view.text.is_empty() {
            view.text.push('\n');
        }
        let mut others = Vec::new();
        // The parts of a nested message are in the message.
        let mut inside = vec![false; parts.len()];
        for (index, part) in parts.iter().enumerate() {
            inside[index] =
                part.parent.is_some_and(|parent| inside[parent] || parts[parent].content == Content::Message);
            let named = message.file_name(part).is_some();
            let is_file = named || part.disposition.value == "attachment";
            let is_blank = part.is_text() && !part.is_html() && !is_file && texts[index].is_none();
            match part.content {
                _ if inside[index] || part.content == Content::Multipart || is_blank => {}
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

    /// Takes the uuencoded files out of a text.
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

/// The text that a part would show; `None` if there is nothing to see.
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

/// The parts to show, in their order. If the message has no text, the text around its boundaries, else that of the first nested
/// message that has some.
fn shown(
    parts: &[Part],
    texts: &[Option<String>],
    ranks: &[Rank],
    is_inline: &dyn Fn(usize) -> bool,
) -> Vec<usize> {
    // Children come after their parents, so a pass from the end meets them first.
    let mut shows: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
    let mut nested = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        match part.content {
            Content::Leaf if texts[index].is_some() && is_inline(index) => shows[index].push(index),
            Content::Leaf | Content::Opaque => {}
            // Its child is its text, but not that of the message around it.
            Content::Message => {
                let inner = std::mem::take(&mut shows[index]);
                if !inner.is_empty() {
                    nested = inner;
                }
            }
            Content::Multipart => {
                // The children were added the last one first.
                if part.media_type.value != "multipart/alternative" {
                    shows[index].reverse();
                }
            }
        }
        let Some(parent) = part.parent else { continue };
        let found = std::mem::take(&mut shows[index]);
        let Some(first) = found.first() else { continue };
        let known = &mut shows[parent];
        if parts[parent].media_type.value == "multipart/alternative" {
            // The first of the best.
            if known.first().is_none_or(|known| ranks[*first] <= ranks[*known]) {
                *known = found;
            }
        } else if parts[parent].content == Content::Message {
            *known = found;
        } else {
            known.extend(found.into_iter().rev());
        }
    }
    let own = shows.swap_remove(0);
    let between = |index: &usize| {
        matches!(parts[*index].role, Role::Preamble | Role::Epilogue) && texts[*index].is_some()
    };
    if !own.is_empty() {
        return own;
    }
    let between: Vec<usize> = (0..parts.len()).filter(between).collect();
    if between.is_empty() { nested } else { between }
}

/// True if a part is text to be read with the message, and not a file.
fn is_inline(message: &Message<'_>, part: &Part, rank: Rank) -> bool {
    part.role == Role::Part
        && part.disposition.value != "attachment"
        && (rank != Rank::Other || (part.is_text() && message.file_name(part).is_none()))
}

/// Uuencoded files of a message.
const MAX_EMBEDDED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::Limits;

    /// The text, and the media types of the listed parts.
    fn view(message: &str) -> (String, Vec<String>) {
        let message = Message::parse(message.as_bytes(), &Limits::default());
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
    fn what_is_not_shown_is_listed() {
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
