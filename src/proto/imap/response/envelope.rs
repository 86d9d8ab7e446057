//! ENVELOPE (RFC 9051 section 7.5.2).

use super::writer::Items;
use crate::mime::envelope::{Envelope, Mailbox};

/// Writes an envelope: ten values in parentheses.
pub fn write(items: &mut Items<'_>, envelope: &Envelope) {
    items.list(|list| {
        list.nstring(envelope.date.as_deref()).nstring(envelope.subject.as_deref());
        for mailboxes in
            [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc]
        {
            write_mailboxes(list, mailboxes);
        }
        list.nstring(envelope.in_reply_to.as_deref()).nstring(envelope.message_id.as_deref());
    });
}

/// A list of addresses. An empty one has no form but `NIL`.
fn write_mailboxes(items: &mut Items<'_>, mailboxes: &[Mailbox]) {
    if mailboxes.is_empty() {
        items.nil();
        return;
    }
    items.list(|list| {
        list.joined(|all| {
            for one in mailboxes {
                all.list(|parts| {
                    for part in [&one.name, &one.route, &one.mailbox, &one.host] {
                        parts.nstring(part.as_deref());
                    }
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mime::Header, proto::imap::response::writer::untagged};

    fn written(header: &str) -> String {
        let mut out = Vec::new();
        untagged(&mut out, |line| write(line, &Envelope::of(Header::new(header.as_bytes(), usize::MAX))));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn an_envelope_has_ten_values_whatever_the_header_is() {
        assert_eq!(written(""), "* (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)\r\n");
        assert_eq!(written("To: \nSubject:\n"), "* (NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)\r\n");
        assert_eq!(
            written(
                "Date: Mon, 7 Feb 1994 21:52:25 -0800\nFrom: Terry <gray@cac.test>\nSubject: a \"b\"\n c\n\
                 To: \"X\" <imap@cac.test>, u@v.test\nBcc: G:;\nMessage-ID: <1@a>\nIn-Reply-To: <0@a>\n"
            ),
            "* (\"Mon, 7 Feb 1994 21:52:25 -0800\" \"a \\\"b\\\" c\" ((\"Terry\" NIL \"gray\" \"cac.test\")) \
             ((\"Terry\" NIL \"gray\" \"cac.test\")) ((\"Terry\" NIL \"gray\" \"cac.test\")) \
             ((\"X\" NIL \"imap\" \"cac.test\")(NIL NIL \"u\" \"v.test\")) NIL \
             ((NIL NIL \"G\" NIL)(NIL NIL NIL NIL)) \"<0@a>\" \"<1@a>\")\r\n"
        );
        assert!(written("Subject: caf\u{e9}\n").contains("NIL {5}\r\ncaf\u{e9} NIL"));
    }
}
