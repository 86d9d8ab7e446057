//! The octets of a message as they were sent, and the bound of an item of MailHog's API in octets of JSON.

use std::cell::Cell;

use crate::printable::json_octets;

/// The octets of JSON that an item may have, and those that are left.
pub(super) struct Room {
    all: usize,
    left: Cell<usize>,
}

impl Room {
    /// That for a message of this many octets. Ordinary mail stands there whole: in the message, in its body, and in its
    /// parts, as one of two or three levels.
    pub(super) fn for_message(octets: usize) -> Self {
        let all = octets.saturating_mul(5).saturating_add(SMALL_ITEM).min(MAX_ITEM);
        Self { all, left: Cell::new(all) }
    }

    pub(super) fn written(&self) -> usize {
        self.all - self.left.get()
    }

    /// Takes octets. Without room for them there is none for anything that follows.
    pub(super) fn take(&self, octets: usize) -> bool {
        let left = self.left.get().checked_sub(octets);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Octets as they were sent, as far as there is room.
    pub(super) fn text(&self, octets: &[u8]) -> String {
        // An octet of text takes an octet of JSON at least.
        let begin = &octets[..octets.len().min(self.left.get())];
        self.cut(String::from_utf8_lossy(&on_the_wire(begin)).into_owned())
    }

    /// Text, as far as there is room.
    pub(super) fn cut(&self, mut text: String) -> String {
        let end = text.char_indices().find(|(_, c)| !self.take(json_octets(*c)));
        if let Some((at, _)) = end {
            text.truncate(at);
        }
        text
    }
}

/// Octets as they were sent: every line ends in CR LF, and the last end belongs to the end of the data.
pub(super) fn on_the_wire(octets: &[u8]) -> Vec<u8> {
    let octets = without_last_end(octets);
    let mut sent = Vec::with_capacity(octets.len() + octets.len() / 32);
    let mut lines = octets.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        sent.extend_from_slice(line);
        if lines.peek().is_some() {
            sent.extend_from_slice(if line.ends_with(b"\r") { b"\n" } else { b"\r\n" });
        }
    }
    sent
}

/// The number of octets of [`on_the_wire`].
pub(super) fn size_on_the_wire(octets: &[u8]) -> usize {
    let octets = without_last_end(octets);
    let feeds = memchr::memchr_iter(b'\n', octets);
    octets.len() + feeds.filter(|at| *at == 0 || octets[*at - 1] != b'\r').count()
}

fn without_last_end(octets: &[u8]) -> &[u8] {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
}

/// Octets of JSON beside five times the message: a small one is whole, however deep it is.
const SMALL_ITEM: usize = 1 << 20;
/// Octets of JSON of the longest item: three times the longest message that is read for one.
const MAX_ITEM: usize = 48 << 20;

#[cfg(test)]
mod tests {
    use super::{
        super::{super::ObjectLimits, Message, Stored},
        *,
    };

    /// The octets of the JSON of a message, and those that it says to have.
    fn written(octets: &[u8]) -> (usize, usize) {
        let message = Message::new(octets, &Stored::default(), &ObjectLimits::default());
        (crate::printable::json(&message, false).len(), message.written())
    }

    #[test]
    fn v94_an_item_has_a_bound_in_octets_of_json() {
        let levels: String =
            (0..20).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
        let fields = "X-\u{1}: \u{1}\u{1}\u{1}\n".repeat(30_000);
        let controls = "\u{1}".repeat(400_000);
        let mut letters = vec![
            (levels.clone() + "\n" + &controls).into_bytes(),
            (levels.clone() + "\n" + &"x".repeat(800_000)).into_bytes(),
            (levels.clone() + "\n" + &"\u{e0001}\n".repeat(100_000)).into_bytes(),
            (levels + &fields + "\n" + &controls).into_bytes(),
            controls.into_bytes(),
        ];
        let parts = "--b\n\n\n".repeat(100_000);
        letters.push(format!("Content-Type: multipart/mixed; boundary=b\n\n{parts}").into_bytes());
        for letter in letters {
            let (octets, said) = written(&letter);
            let most = 5 * letter.len() + SMALL_ITEM;
            assert!(octets <= most + most / 64, "{octets} of {}", letter.len());
            assert!(octets.abs_diff(said) <= octets / 8 + 1024, "{octets}, and it says {said}");
        }
    }

    #[test]
    fn v94_ordinary_mail_is_whole_in_each_level() {
        let image = ("QUJD".repeat(19) + "\n").repeat(40_000);
        let letter = format!(
            "Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/related; boundary=r\n\n\
             --r\nContent-Type: text/html\n\n<p>\n--r\nContent-Type: image/png\n\n{image}--r--\n--m--\n"
        );
        let message = serde_json::to_value(Message::new(
            letter.as_bytes(),
            &Stored::default(),
            &ObjectLimits::default(),
        ))
        .unwrap();
        let related = &message["MIME"]["Parts"][0];
        let shown = related["MIME"]["Parts"][1]["Body"].as_str().unwrap();
        assert_eq!(shown, image.trim_end().replace('\n', "\r\n"));
        assert!(related["Body"].as_str().unwrap().contains(shown));
        assert!(message["Content"]["Body"].as_str().unwrap().contains(shown));
        assert!(message["Raw"]["Data"].as_str().unwrap().contains(shown));
    }
}
