//! The form in which SEARCH compares texts.

/// A text for comparisons: in lower case, with single blanks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded(String);

impl Folded {
    pub(super) fn new(text: &str) -> Self {
        let mut folded = Self(String::with_capacity(text.len()));
        folded.add(text);
        folded
    }

    fn add(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                if !self.0.ends_with(' ') {
                    self.0.push(' ');
                }
            } else {
                // One character after the other, because a final sigma would depend on its neighbours.
                self.0.extend(c.to_lowercase());
            }
        }
    }

    /// Adds a text in which no text is found that begins before it: no folded text has a line feed.
    pub(super) fn add_line(&mut self, text: &str) {
        self.0.push('\n');
        self.add(text);
    }

    pub(super) fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
