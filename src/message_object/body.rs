//! The text and the HTML of a message itself, without those of its files.

use crate::mime::{Content, Message, Part, Role, view::View};

/// The HTML parts of the message itself; those of a forwarded message belong to that one.
pub(super) fn html(message: &Message<'_>) -> String {
    let parts = message.parts();
    let mut is_nested = vec![false; parts.len()];
    let mut html = String::new();
    for (index, part) in parts.iter().enumerate() {
        let parent = part.parent.filter(|parent| *parent < index);
        is_nested[index] =
            parent.is_some_and(|parent| is_nested[parent] || parts[parent].content == Content::Message);
        if !is_nested[index] && is_html_text(part) {
            if !html.is_empty() {
                html.push('\n');
            }
            html += &message.text(part);
        }
    }
    html
}

/// True if a part is HTML and text of the message, and not an attached file.
pub(super) fn is_html_text(part: &Part) -> bool {
    part.is_html()
        && part.content == Content::Leaf
        && part.role == Role::Part
        && part.disposition.value != "attachment"
}

/// The shown text without that of HTML parts.
pub(super) fn plain_text(message: &Message<'_>, view: &View) -> String {
    let shown = view.shown.iter().zip(&view.spans);
    let plain = shown.filter(|(index, _)| !message.parts()[**index].is_html());
    plain.filter_map(|(_, span)| view.text.get(span.clone())).collect::<Vec<_>>().join("\n")
}
