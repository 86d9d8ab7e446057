//! The MIME parts of a message.

use serde::Serialize;

use crate::mime::{Message, MimeLimits, Part, view::View};

/// A part as a line of the explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PartInfo {
    /// Its place in the message: `2.1` is the first part of the second one. `0` is the message.
    pub section: String,
    pub media_type: String,
    pub charset: Option<String>,
    pub transfer_encoding: Option<String>,
    /// Octets without the transfer encoding.
    pub octets: usize,
    pub file_name: Option<String>,
    /// True if the mail client shows it as text of the message.
    pub shown: bool,
}

/// The parts of a message, the message first.
pub(super) fn parts(message: &[u8]) -> Vec<PartInfo> {
    let message = Message::parse(message, &MimeLimits::default());
    let view = View::of(&message);
    let mut shown = vec![false; message.parts().len()];
    view.shown.iter().for_each(|&index| shown[index] = true);
    let parts = message.parts().iter().zip(message.part_numbers()).zip(shown);
    parts.map(|((part, section), shown)| info(&message, part, section, shown)).collect()
}

fn info(message: &Message<'_>, part: &Part, section: String, shown: bool) -> PartInfo {
    let encoding = message.header_of(part).raw("Content-Transfer-Encoding");
    PartInfo {
        section,
        media_type: part.media_type.value.clone(),
        charset: part.media_type.text("charset"),
        transfer_encoding: encoding.map(|value| String::from_utf8_lossy(&value).into_owned()),
        octets: message.octets(part).len(),
        file_name: message.file_name(part),
        shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_place_and_say_what_is_shown() {
        let found = parts(
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\
              Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: QUOTED-PRINTABLE\n\ncaf=C3=A9\n--c\n\
              Content-Type: text/html\n\n<p>caf&eacute;\n--c--\n--b\nContent-Type: image/png; name=a.png\n\nx\n--b--\n",
        );
        let rows: Vec<_> = found
            .iter()
            .map(|part| (part.section.as_str(), part.media_type.as_str(), part.octets, part.shown))
            .collect();
        assert_eq!(
            rows[1..],
            [
                ("1", "multipart/alternative", rows[1].2, false),
                ("1.1", "text/plain", 5, true),
                ("1.2", "text/html", 14, false),
                ("2", "image/png", 1, false),
            ]
        );
        assert_eq!((rows[0].0, rows[0].1), ("0", "multipart/mixed"));
        assert_eq!(found[2].transfer_encoding.as_deref(), Some("QUOTED-PRINTABLE"));
        assert_eq!(
            (found[2].charset.as_deref(), found[4].file_name.as_deref()),
            (Some("utf-8"), Some("a.png"))
        );
    }
}
