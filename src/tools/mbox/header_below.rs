//! Header fields at the beginning of a text, by which a message is told from other text.

/// The lines after a From_ line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderBelow {
    /// No header field.
    None,
    /// Fields that any text may have, such as `Note: …`.
    Fields,
    /// At least one field that mail has.
    Mail,
}

impl HeaderBelow {
    pub(super) fn of(next: &[u8]) -> Self {
        let mut found = Self::None;
        for name in field_names(next) {
            if is_mail_field(name) {
                return Self::Mail;
            }
            found = Self::Fields;
        }
        found
    }
}

/// True if a text without a From_ line before it begins with the header of a message. Calendars and address cards have
/// fields too, so one of [`MESSAGE_FIELDS`] must be among them.
pub(super) fn begins_with_message_header(text: &[u8]) -> bool {
    let is_field = text.first().is_some_and(|first| first.is_ascii_graphic() && *first != b'>');
    let is_named = |name: &[u8], field: &&str| name.eq_ignore_ascii_case(field.as_bytes());
    is_field && field_names(text).any(|name| MESSAGE_FIELDS.iter().any(|field| is_named(name, field)))
}

/// The names of the fields at the beginning of a text.
fn field_names(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut found = false;
    let lines = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::trim_ascii_end);
    let names = lines.map_while(move |line| {
        let name = memchr::memchr(b':', line).map(|colon| line[..colon].trim_ascii_end());
        match name.filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic)) {
            Some(name) => {
                found = true;
                Some(Some(name))
            }
            // A folded line, and the second From_ line of UUCP.
            None if found && line.starts_with(b" ") || line.starts_with(b"\t") => Some(None),
            None if line.starts_with(b">From ") => Some(None),
            None => None,
        }
    });
    names.flatten()
}

fn is_mail_field(name: &[u8]) -> bool {
    let starts =
        |start: &str| name.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()));
    MAIL_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
        || MAIL_FIELD_STARTS.iter().any(|start| starts(start))
}

/// Fields that show that a header begins.
const MAIL_FIELDS: [&str; 24] = [
    "From",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Date",
    "Message-ID",
    "Received",
    "Return-Path",
    "Delivered-To",
    "Envelope-To",
    "MIME-Version",
    "Reply-To",
    "Sender",
    "References",
    "In-Reply-To",
    "Status",
    "Newsgroups",
    "Organization",
    "User-Agent",
    "DKIM-Signature",
    "Authentication-Results",
    "Precedence",
    "Lines",
];
const MAIL_FIELD_STARTS: [&str; 6] = ["Content-", "X-", "List-", "Resent-", "ARC-", "Received-"];
/// Fields of which a message has at least one, and which other texts do not have.
const MESSAGE_FIELDS: [&str; 14] = [
    "From",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Message-ID",
    "Received",
    "Return-Path",
    "Delivered-To",
    "Envelope-To",
    "MIME-Version",
    "Reply-To",
    "Sender",
    "Newsgroups",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u87_a_calendar_an_address_card_and_a_note_are_no_messages() {
        for (text, expected) in [
            ("Subject: x\n\ntext\n", true),
            ("X-Mailer: y\nreceived: from a\n by b; Sat, 3 Jan 2026 10:00:00 +0000\n\n", true),
            ("MIME-Version: 1.0\r\n\r\n", true),
            ("BEGIN:VCALENDAR\nX-WR-CALNAME:work\nSTATUS:CONFIRMED\nEND:VCALENDAR\n", false),
            ("BEGIN:VCARD\nFN:Ann\nX-ABUID:1\n", false),
            ("Note: buy milk\n\nSubject: x\n", false),
            (" Subject: x\n", false),
            ("\tSubject: x\n", false),
            (">From a@b\nSubject: x\n", false),
            ("", false),
        ] {
            assert_eq!(begins_with_message_header(text.as_bytes()), expected, "{text}");
        }
    }
}
