//! The JSON of Mailpit's API, version 1, and of `restante wait --json`.
//!
//! The rule: names, order and types are those of Mailpit, because the clients of others read them: lists are never `null`, and
//! times are those of RFC 3339. Our own fields come after those of Mailpit.

use std::collections::BTreeMap;

use blake2::{Blake2s, Digest, digest::consts::U16};
use serde::Serialize;

use super::{AttachedPart, MessageObject, NamedAddress, Summary};
use crate::mime::date::Date;

/// Facts about a stored message that its octets do not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its id in the API, letters and digits only: see [`id`].
    pub id: &'a str,
    /// True if the message has been read.
    pub is_read: bool,
    /// The time of its delivery, in milliseconds since 1970.
    pub received: i64,
    /// The name that its sender logged in with; empty if it did not.
    pub username: &'a str,
    /// Its tags.
    pub tags: &'a [String],
    /// The path of its file, where the caller may know it.
    pub path: Option<&'a str>,
    /// Its octets on the wire; `None` if they are those of its file.
    pub octets: Option<u64>,
}

/// A message in a list of the API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListItem<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "MessageID")]
    message_id: &'a str,
    read: bool,
    from: NamedAddress,
    to: &'a [NamedAddress],
    cc: &'a [NamedAddress],
    bcc: &'a [NamedAddress],
    reply_to: &'a [NamedAddress],
    subject: &'a str,
    created: String,
    username: &'a str,
    tags: &'a [String],
    size: u64,
    attachments: usize,
    snippet: &'a str,
}

/// A message of the API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "MessageID")]
    message_id: &'a str,
    from: NamedAddress,
    to: &'a [NamedAddress],
    cc: &'a [NamedAddress],
    bcc: &'a [NamedAddress],
    reply_to: &'a [NamedAddress],
    return_path: &'a str,
    subject: &'a str,
    list_unsubscribe: ListUnsubscribe<'a>,
    date: String,
    tags: &'a [String],
    username: &'a str,
    text: &'a str,
    #[serde(rename = "HTML")]
    html: &'a str,
    size: u64,
    inline: Vec<File<'a>>,
    attachments: Vec<File<'a>>,
    // Ours:
    read: bool,
    created: String,
    snippet: &'a str,
    links: &'a [String],
    envelope: Envelope<'a>,
    headers: Vec<Field<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
}

/// The envelope; `null` where the header does not tell it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
    queued: Option<&'a str>,
}

/// A field of the header in its place.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Field<'a> {
    name: &'a str,
    value: &'a str,
    raw: &'a str,
}

/// A file of a message.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct File<'a> {
    #[serde(rename = "PartID")]
    part_id: &'a str,
    file_name: &'a str,
    content_type: &'a str,
    #[serde(rename = "ContentID")]
    content_id: &'a str,
    size: u64,
    checksums: Checksums<'a>,
}

#[derive(Debug, Clone, Serialize)]
struct Checksums<'a> {
    #[serde(rename = "MD5")]
    md5: &'a str,
    #[serde(rename = "SHA1")]
    sha1: &'a str,
    #[serde(rename = "SHA256")]
    sha256: &'a str,
}

/// The fields of RFC 2369 and RFC 8058.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUnsubscribe<'a> {
    header: &'a str,
    links: Vec<&'a str>,
    errors: &'static str,
    header_post: &'a str,
}

impl<'a> ListItem<'a> {
    /// A message in a list.
    pub fn new(summary: &'a Summary, stored: &Stored<'a>) -> Self {
        let Stored { id, is_read, received, username, tags, path: _, octets } = *stored;
        Self {
            id,
            message_id: &summary.message_id,
            read: is_read,
            from: summary.from.first().cloned().unwrap_or_default(),
            to: &summary.to,
            cc: &summary.cc,
            bcc: &summary.bcc,
            reply_to: &summary.reply_to,
            subject: &summary.subject,
            created: time(received),
            username,
            tags,
            size: octets.unwrap_or(summary.size),
            attachments: summary.attachments,
            snippet: &summary.snippet,
        }
    }
}

impl<'a> Message<'a> {
    /// A message with all that it contains.
    pub fn new(object: &'a MessageObject, stored: &Stored<'a>) -> Self {
        let Stored { id, is_read, received, username, tags, path, octets } = *stored;
        let summary = &object.summary;
        let sender = summary.from.first();
        // A bounce has an empty one, and a message that came another way has none.
        let return_path = summary.envelope.from.as_deref().filter(|from| !from.is_empty());
        Self {
            id,
            message_id: &summary.message_id,
            from: sender.cloned().unwrap_or_default(),
            to: &summary.to,
            cc: &summary.cc,
            bcc: &summary.bcc,
            reply_to: &summary.reply_to,
            return_path: return_path.or(sender.map(|from| from.address.as_str())).unwrap_or_default(),
            subject: &summary.subject,
            list_unsubscribe: ListUnsubscribe::of(object),
            date: summary.date.map_or_else(|| time(received), |date| date.rfc3339()),
            tags,
            username,
            text: text(object),
            html: &object.html,
            size: octets.unwrap_or(summary.size),
            inline: object.inline.iter().map(File::of).collect(),
            attachments: object.attachments.iter().map(File::of).collect(),
            read: is_read,
            created: time(received),
            snippet: &summary.snippet,
            links: &object.links,
            envelope: Envelope {
                from: summary.envelope.from.as_deref(),
                to: summary.envelope.to.as_deref(),
                queued: summary.envelope.queued.as_deref(),
            },
            headers: object
                .headers
                .iter()
                .map(|field| Field { name: &field.name, value: &field.value, raw: &field.raw })
                .collect(),
            path,
        }
    }
}

impl<'a> File<'a> {
    fn of(part: &'a AttachedPart) -> Self {
        let AttachedPart { part_id, file_name, content_type, content_id, size, checksums } = part;
        let super::Checksums { md5, sha1, sha256 } = checksums;
        Self {
            part_id,
            file_name,
            content_type,
            content_id,
            size: *size,
            checksums: Checksums { md5, sha1, sha256 },
        }
    }
}

impl<'a> ListUnsubscribe<'a> {
    fn of(object: &'a MessageObject) -> Self {
        let header = object.header("List-Unsubscribe").unwrap_or_default();
        let links = header.split('<').skip(1).filter_map(|rest| Some(rest.split_once('>')?.0.trim()));
        Self {
            header,
            links: links.filter(|link| !link.is_empty()).collect(),
            errors: "",
            header_post: object.header("List-Unsubscribe-Post").unwrap_or_default(),
        }
    }
}

/// The text. The line end before a boundary belongs to the boundary (RFC 2046 section 5.1.1), and clients compare texts.
pub fn text(object: &MessageObject) -> &str {
    let is_multipart = object.header("Content-Type").is_some_and(|kind| {
        kind.trim_start().get(..MULTIPART.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(MULTIPART))
    });
    let without_end = object.text.strip_suffix('\n').filter(|_| is_multipart);
    without_end.map_or(&object.text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// The header as `GET …/headers` has it: the raw values of each name, the names in alphabetical order, each word with a capital.
pub fn headers(object: &MessageObject) -> BTreeMap<String, Vec<&str>> {
    let mut headers = BTreeMap::<String, Vec<&str>>::new();
    for field in &object.headers {
        headers.entry(canonical(&field.name)).or_default().push(&field.raw);
    }
    headers
}

/// The id of a stored message in the API: a hash of its unique id of POP3. So it is the same after the flags change, and in each
/// mailbox that the message was delivered to, and tells nothing of the path.
pub fn id(unique_id: &str) -> String {
    let hash = Blake2s::<U16>::digest(unique_id.as_bytes());
    let digits = hash.iter().take(ID_OCTETS).flat_map(|octet| [octet >> 4, octet & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// A name of a field as Go writes it: `message-ID` is `Message-Id`.
fn canonical(name: &str) -> String {
    let mut begins_word = true;
    let letter = |c: char| {
        let begins = std::mem::replace(&mut begins_word, c == '-');
        if begins { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
    };
    name.chars().map(letter).collect()
}

/// A time of RFC 3339 in UTC, from milliseconds since 1970. Whole seconds have no fraction.
pub(super) fn time(milliseconds: i64) -> String {
    let date = Date::from_seconds(milliseconds.div_euclid(1000)).rfc3339();
    match milliseconds.rem_euclid(1000) {
        0 => date,
        fraction => format!("{}.{fraction:03}Z", date.trim_end_matches('Z')),
    }
}

const MULTIPART: &str = "multipart/";
/// 22 digits, as long as the ids of Mailpit.
const ID_OCTETS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_are_as_mailpit_writes_them() {
        assert_eq!(time(1_795_168_805_000), "2026-11-20T10:00:05Z");
        assert_eq!(time(1_795_168_805_007), "2026-11-20T10:00:05.007Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59.999Z");
        for (name, expected) in [("message-ID", "Message-Id"), ("x--yZ", "X--Yz"), ("DATE", "Date")] {
            assert_eq!(canonical(name), expected);
        }
    }

    #[test]
    fn an_id_has_letters_and_digits_only() {
        let id = id("1700000000.M1.host,-1f.2e");
        assert!(id.len() == 22 && id.bytes().all(|b| b.is_ascii_alphanumeric()), "{id}");
    }

    #[test]
    fn nothing_is_null_in_a_list() {
        let summary = Summary::default();
        let item = ListItem::new(&summary, &Stored::default());
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            "{\"ID\":\"\",\"MessageID\":\"\",\"Read\":false,\"From\":{\"Name\":\"\",\"Address\":\"\"},\"To\":[],\"Cc\":[],\"Bcc\":[],\
             \"ReplyTo\":[],\"Subject\":\"\",\"Created\":\"1970-01-01T00:00:00Z\",\"Username\":\"\",\"Tags\":[],\"Size\":0,\
             \"Attachments\":0,\"Snippet\":\"\"}"
        );
    }
}
