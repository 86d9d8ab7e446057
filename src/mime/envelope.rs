//! The envelope of a message as IMAP has it (RFC 9051 section 7.5.2): values as they were sent, with nothing decoded.
//!
//! The rule: one pass over the header, and a value that is malformed is there all the same.

use super::{
    Header,
    address::{self, Item, RawAddress},
};

/// The fields of a header that a list of messages shows, unfolded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `Date`
    pub date: Option<Vec<u8>>,
    /// `Subject`
    pub subject: Option<Vec<u8>>,
    /// `From`
    pub from: Vec<Mailbox>,
    /// `Sender`, or `From` if it has none.
    pub sender: Vec<Mailbox>,
    /// `Reply-To`, or `From` if it has none.
    pub reply_to: Vec<Mailbox>,
    /// `To`
    pub to: Vec<Mailbox>,
    /// `Cc`
    pub cc: Vec<Mailbox>,
    /// `Bcc`
    pub bcc: Vec<Mailbox>,
    /// `In-Reply-To`
    pub in_reply_to: Option<Vec<u8>>,
    /// `Message-ID`
    pub message_id: Option<Vec<u8>>,
}

/// An address, or the beginning or end of a group: the first has a mailbox and no host, the second neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name.
    pub name: Option<Vec<u8>>,
    /// The obsolete route of servers.
    pub route: Option<Vec<u8>>,
    /// Local part without quotation marks, or the name of a group.
    pub mailbox: Option<Vec<u8>>,
    /// Domain.
    pub host: Option<Vec<u8>>,
}

impl Envelope {
    /// The envelope of a header. Of several fields without addresses, the first one counts; addresses add up.
    pub fn of(header: Header<'_>) -> Self {
        let mut envelope = Self::default();
        for field in header.fields() {
            let mut name = [0; MAX_NAME];
            let Some(lower) = name.get_mut(..field.name.len()) else { continue };
            lower.copy_from_slice(field.name);
            lower.make_ascii_lowercase();
            let (text, list) = match &*lower {
                b"date" => (Some(&mut envelope.date), None),
                b"subject" => (Some(&mut envelope.subject), None),
                b"in-reply-to" => (Some(&mut envelope.in_reply_to), None),
                b"message-id" => (Some(&mut envelope.message_id), None),
                b"from" => (None, Some(&mut envelope.from)),
                b"sender" => (None, Some(&mut envelope.sender)),
                b"reply-to" => (None, Some(&mut envelope.reply_to)),
                b"to" => (None, Some(&mut envelope.to)),
                b"cc" => (None, Some(&mut envelope.cc)),
                b"bcc" => (None, Some(&mut envelope.bcc)),
                _ => continue,
            };
            if let Some(text) = text {
                text.get_or_insert_with(|| field.value.clone().into_owned());
            }
            if let Some(list) = list {
                list.extend(address::items(&field.value).into_iter().filter_map(Mailbox::of));
            }
        }
        for list in [&mut envelope.sender, &mut envelope.reply_to] {
            if list.is_empty() {
                list.clone_from(&envelope.from);
            }
        }
        envelope
    }
}

impl Mailbox {
    fn of(item: Item) -> Option<Self> {
        match item {
            Item::GroupStart(name) => Some(Self { mailbox: Some(name), ..Self::default() }),
            Item::GroupEnd => Some(Self::default()),
            Item::Address(raw) => Self::of_address(raw),
        }
    }

    /// `None` if the entry has neither a name nor an address, or is a group that stands there already.
    fn of_address(raw: RawAddress) -> Option<Self> {
        let text = |octets: &[u8]| Some(octets.trim_ascii().to_owned()).filter(|text| !text.is_empty());
        let mut name = text(&raw.phrase).or_else(|| text(&raw.comment));
        let route = text(&raw.route);
        // Nor if it is a remark and nothing else, as in `friends: (nobody);`.
        if raw.is_empty_group
            || raw.address.is_none() && (name.is_none() || raw.phrase.trim_ascii().is_empty())
        {
            return None;
        }
        let (mailbox, host) = match raw.address {
            Some(address) => match memchr::memrchr(b'@', &address) {
                Some(at) => (text(&address[..at]), text(&address[at + 1..])),
                None => (text(&address), None),
            },
            // One word alone is a local part.
            None if !raw.phrase.trim_ascii().contains(&b' ') => {
                name = text(&raw.comment);
                (text(&raw.phrase), None)
            }
            None => (None, None),
        };
        // Neither may be missing, because that would be a group. The words are those of Dovecot.
        let mailbox = mailbox.map_or_else(|| b"MISSING_MAILBOX".to_vec(), |mailbox| unquoted(&mailbox));
        let host = host.unwrap_or_else(|| b"MISSING_DOMAIN".to_vec());
        Some(Self { name, route, mailbox: Some(mailbox), host: Some(host) })
    }
}

/// A local part without its quotation marks and backslashes.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let Some(inner) = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) else {
        return text.to_owned();
    };
    let mut octets = inner.iter().copied();
    std::iter::from_fn(|| match octets.next()? {
        b'\\' => octets.next(),
        octet => Some(octet),
    })
    .collect()
}

/// Octets of the longest name of these fields.
const MAX_NAME: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(header: &str) -> Envelope {
        Envelope::of(Header::new(header.as_bytes(), usize::MAX))
    }

    /// Each mailbox as `name|route|mailbox|host`, with a hyphen for nothing.
    fn mailboxes(list: &[Mailbox]) -> Vec<String> {
        let text = |part: &Option<Vec<u8>>| {
            part.as_ref().map_or("-".to_owned(), |part| String::from_utf8_lossy(part).into_owned())
        };
        let row = |one: &Mailbox| [&one.name, &one.route, &one.mailbox, &one.host].map(text).join("|");
        list.iter().map(row).collect()
    }

    #[test]
    fn y02_an_address_keeps_its_encoded_words_and_is_never_taken_for_a_group() {
        for (list, expected) in [
            ("a@b.test", &["-|-|a|b.test"][..]),
            ("=?utf-8?q?Zo=C3=AB?= Q <z@b.test>", &["=?utf-8?q?Zo=C3=AB?= Q|-|z|b.test"]),
            ("\"Doe, \\\"J\\\"\" <j@b.test>, c@d.test (Carl)", &["Doe, \"J\"|-|j|b.test", "Carl|-|c|d.test"]),
            ("\"a b\"@c.test", &["-|-|a b|c.test"]),
            ("<@r.test,@s.test:u@c.test>", &["-|@r.test,@s.test|u|c.test"]),
            (
                "Friends: a@b.test, C <c@d.test>;",
                &["-|-|Friends|-", "-|-|a|b.test", "C|-|c|d.test", "-|-|-|-"],
            ),
            ("undisclosed-recipients:;", &["-|-|undisclosed-recipients|-", "-|-|-|-"]),
            ("A: B: c@d.test", &["-|-|A|-", "-|-|-|-", "-|-|B|-", "-|-|c|d.test", "-|-|-|-"]),
            ("root", &["-|-|root|MISSING_DOMAIN"]),
            ("two words", &["two words|-|MISSING_MAILBOX|MISSING_DOMAIN"]),
            ("Bob <>", &["-|-|Bob|MISSING_DOMAIN"]),
            ("bob <bob@b.test>", &["bob|-|bob|b.test"]),
            ("<@b.test>, <a@>", &["-|-|MISSING_MAILBOX|b.test", "-|-|a|MISSING_DOMAIN"]),
            ("<>", &[]),
            ("", &[]),
        ] {
            assert_eq!(mailboxes(&envelope(&format!("To: {list}\n")).to), expected, "{list}");
        }
    }

    #[test]
    fn y129_comments_are_no_part_of_an_address() {
        for (list, expected) in [
            ("friends: (nobody) ;", &["-|-|friends|-", "-|-|-|-"][..]),
            ("(nobody)", &[]),
            ("<a (b)@ (c) d.test>", &["-|-|a|d.test"]),
            ("Pete(A nice chap) <pete(his account)@silly.test(his host)>", &["Pete|-|pete|silly.test"]),
            ("ann (x) @ (y) b.test", &["x y|-|ann|b.test"]),
        ] {
            assert_eq!(mailboxes(&envelope(&format!("To: {list}\n")).to), expected, "{list}");
        }
    }

    #[test]
    fn y03_a_missing_or_empty_sender_and_reply_to_are_those_of_from() {
        let found = envelope("FROM: a@b.test\nReply-To: \nSubject: x\n =?utf-8?q?y?=\nSubject: z\nDate:\n");
        assert_eq!((&found.sender, &found.reply_to), (&found.from, &found.from));
        assert_eq!(found.from.len(), 1);
        assert_eq!(found.subject.as_deref(), Some(&b"x =?utf-8?q?y?="[..]));
        assert_eq!(found.date.as_deref(), Some(&b""[..]));
        assert_eq!((found.message_id, found.to.len()), (None, 0));
        let own = envelope("From: a@b.test\nSender: c@d.test\nTo: e@f.test\nTo: g@h.test\n");
        assert_eq!(mailboxes(&own.sender), ["-|-|c|d.test"]);
        assert_eq!(own.to.len(), 2);
    }
}
