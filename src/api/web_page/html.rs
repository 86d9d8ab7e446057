//! HTML as a value: static markup, and text that is escaped when it enters.
//!
//! The rule: [`Html::text`] is the only way from text to HTML, and templates are part of the program, with every value in
//! double quotes or between tags. So no octet of a message can end its place.

use super::words::word;
use crate::language::Language;

/// HTML that is safe to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// Text as HTML, good between tags and in a quoted attribute. Control characters, which HTML cannot have, become U+FFFD.
    pub(super) fn text(text: &str) -> Self {
        let mut html = String::with_capacity(text.len() + text.len() / 8);
        for c in text.chars() {
            match c {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                '`' => html.push_str("&#96;"),
                '\n' | '\t' => html.push(c),
                '\r' => {}
                c if c.is_control() => html.push('\u{fffd}'),
                c => html.push(c),
            }
        }
        Self(html)
    }

    /// Fills a template. `{{name}}` is the slot of a value, and `{{:name}}` a word in the language.
    pub(super) fn fill(language: Language, template: &'static str, slots: &[(&str, Self)]) -> Self {
        let mut html = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            html.push_str(before);
            if let Some(name) = name.strip_prefix(':') {
                html.push_str(&Self::text(word(language, name)).0);
            } else if let Some((_, value)) = slots.iter().find(|(slot, _)| *slot == name) {
                html.push_str(&value.0);
            } else {
                debug_assert!(false, "no value for {{{{{name}}}}}");
            }
            rest = after;
        }
        html.push_str(rest);
        Self(html)
    }

    /// The pieces one after another.
    pub(super) fn join(pieces: impl IntoIterator<Item = Self>) -> Self {
        Self(pieces.into_iter().map(|piece| piece.0).collect())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// A segment of a path, or a value in a query: RFC 3986 section 2.3.
pub(super) fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@+=:".contains(&byte) && byte != b'+' {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_escaped_and_words_are_filled_in() {
        let html = Html::fill(
            Language::French,
            "<a title=\"{{a}}\">{{:inboxes}} {{a}}</a>",
            &[("a", Html::text("<\"'&{{:search}}\u{0}"))],
        );
        assert_eq!(
            html.0,
            "<a title=\"&lt;&quot;&#39;&amp;{{:search}}\u{fffd}\">Boîtes &lt;&quot;&#39;&amp;{{:search}}\u{fffd}</a>"
        );
        assert_eq!(percent("a b/é?&#\"@x"), "a%20b%2F%C3%A9%3F%26%23%22@x");
    }

    proptest! {
        #[test]
        fn no_text_ends_its_place(text in "\\PC*|[<>\"'`&\\x00-\\x1f a-z/=]{0,40}") {
            let html = Html::text(&text).0;
            prop_assert!(!html.contains(['<', '>', '"', '\'', '`', '\r', '\0']));
            let back = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            let back = back.replace("&#39;", "'").replace("&#96;", "`").replace("&amp;", "&");
            let kept = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
            let expected: String =
                text.chars().filter(|c| *c != '\r').map(|c| if kept(c) { c } else { '\u{fffd}' }).collect();
            prop_assert_eq!(back, expected);
        }
    }
}
