//! A strict reader of XML, for tests: it takes no document that is not well-formed.

/// An element.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    elements: Vec<Element>,
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        &found.unwrap_or_else(|| panic!("{} has no {name}", self.name)).1
    }

    pub(crate) fn children(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.elements.iter().filter(move |element| element.name == name)
    }

    pub(crate) fn child(&self, name: &str) -> &Element {
        self.children(name).next().unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }
}

/// Parses a document with a declaration and one root.
pub(crate) fn parse(text: &str) -> Element {
    let rest = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n").unwrap();
    let (root, rest) = element(rest);
    assert!(rest.trim().is_empty(), "{rest:?} after the root");
    root
}

/// The element at the beginning of `text`, and the text after it.
fn element(text: &str) -> (Element, &str) {
    let (tag, mut rest) = text.strip_prefix('<').and_then(|text| text.split_once('>')).unwrap();
    let is_empty = tag.ends_with('/');
    let tag = tag.trim_end_matches('/');
    let (name, mut fields) = tag.split_once(' ').unwrap_or((tag, ""));
    assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name:?}");
    let mut attributes = Vec::new();
    while !fields.is_empty() {
        let (key, value) = fields.split_once("=\"").unwrap();
        let (value, after) = value.split_once('"').unwrap();
        attributes.push((key.to_owned(), unescaped(value)));
        fields = after.trim_start();
    }
    let (mut elements, mut content) = (Vec::new(), String::new());
    let mut is_open = !is_empty;
    while is_open {
        let at = rest.find('<').unwrap_or_else(|| panic!("{name} has no end"));
        content.push_str(&unescaped(&rest[..at]));
        rest = &rest[at..];
        if let Some(end) = rest.strip_prefix("</") {
            rest = end
                .strip_prefix(name)
                .and_then(|end| end.strip_prefix('>'))
                .unwrap_or_else(|| panic!("{name}: {end}"));
            is_open = false;
            continue;
        }
        let (child, after) = element(rest);
        elements.push(child);
        rest = after;
    }
    (Element { name: name.to_owned(), attributes, elements, text: content }, rest)
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';').unwrap_or_else(|| panic!("{text:?}"));
        plain.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => panic!("&{entity};"),
        });
        plain.push_str(after);
    }
    plain
}
