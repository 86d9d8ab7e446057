//! XML documents.
//!
//! The rule: a document is well-formed, whatever text it holds. The writer closes every element, and escapes all text.

/// A document that is being written.
pub(super) struct Xml {
    text: String,
    /// Elements that are open.
    depth: usize,
}

impl Xml {
    /// A document with one root element, which `content` writes.
    pub(super) fn document(doctype: &'static str, content: impl FnOnce(&mut Self)) -> Vec<u8> {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n{doctype}");
        let mut xml = Self { text, depth: 0 };
        content(&mut xml);
        xml.text.into_bytes()
    }

    /// An element with other elements in it.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        content: impl FnOnce(&mut Self),
    ) {
        self.start(name, attributes);
        self.text.push_str("\r\n");
        self.depth += 1;
        content(self);
        self.depth -= 1;
        self.indent();
        self.end(name);
    }

    /// An element with text in it.
    pub(super) fn leaf(&mut self, name: &'static str, text: &str) {
        self.start(name, &[]);
        self.push_escaped(text);
        self.end(name);
    }

    /// An element with nothing in it.
    pub(super) fn empty(&mut self, name: &'static str) {
        self.indent();
        self.text.push_str(&format!("<{name}/>\r\n"));
    }

    fn start(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.text.push('<');
        self.text.push_str(name);
        for (key, value) in attributes {
            self.text.push_str(&format!(" {key}=\""));
            self.push_escaped(value);
            self.text.push('"');
        }
        self.text.push('>');
    }

    fn end(&mut self, name: &str) {
        self.text.push_str(&format!("</{name}>\r\n"));
    }

    fn indent(&mut self) {
        self.text.push_str(&"  ".repeat(self.depth));
    }

    fn push_escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&apos;"),
                c if is_character(c) => self.text.push(c),
                _ => self.text.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }
}

/// True if a document may have the character (XML 1.0 section 2.2), and readers agree on its meaning: they change line
/// ends.
fn is_character(c: char) -> bool {
    c >= ' ' && !matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let document = Xml::document("", |xml| {
            xml.element("a", &[("k", text)], |xml| {
                xml.leaf("b", text);
                xml.empty("c");
            });
        });
        String::from_utf8(document).unwrap()
    }

    #[test]
    fn elements_are_closed_and_text_is_escaped() {
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>|<a k=\"&lt;&amp;&quot;&apos;&gt;\">|  \
                        <b>&lt;&amp;&quot;&apos;&gt;</b>|  <c/>|</a>|";
        assert_eq!(written("<&\"'>").replace("\r\n", "|"), expected);
        assert!(
            written("a\u{0}\u{1b}\u{ffff}\r\n").contains("<b>a\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}</b>")
        );
    }

    proptest! {
        #[test]
        fn no_text_changes_the_elements(text in any::<String>()) {
            let marks = |text: &str| text.matches(['<', '>']).count() + text.matches('"').count();
            prop_assert_eq!(marks(&written(&text)), marks(&written("")));
        }
    }
}
