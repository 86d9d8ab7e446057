//! One whole message in JSON, and its parts.

use std::{borrow::Cow, collections::BTreeMap};

use md5::Md5;
use ring::digest;
use serde::Serialize;

use super::{
    MessageId,
    facts::{Address, Body, addresses, content_id},
    summary::rfc3339,
};
use crate::{
    mime::{Content, Message, Role, date::Date},
    printable,
    proto::http::api::Document,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MessageID")]
    message_id: String,
    from: Option<Address>,
    to: Vec<Address>,
    cc: Vec<Address>,
    bcc: Vec<Address>,
    reply_to: Vec<Address>,
    return_path: String,
    subject: String,
    list_unsubscribe: ListUnsubscribe,
    date: String,
    tags: [String; 0],
    username: String,
    text: String,
    #[serde(rename = "HTML")]
    html: String,
    size: u64,
    inline: Vec<Attachment>,
    attachments: Vec<Attachment>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUnsubscribe {
    header: String,
    links: Vec<String>,
    errors: String,
    header_post: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment {
    #[serde(rename = "PartID")]
    part_id: String,
    file_name: String,
    content_type: String,
    #[serde(rename = "ContentID")]
    content_id: String,
    size: u64,
    checksums: Checksums,
}

#[derive(Serialize)]
struct Checksums {
    #[serde(rename = "MD5")]
    md5: String,
    #[serde(rename = "SHA1")]
    sha1: String,
    #[serde(rename = "SHA256")]
    sha256: String,
}

/// A message as a JSON object. It arrived at `created`, and its file has `size` octets.
pub fn object(message: &Message<'_>, id: MessageId, created: (u64, u32), size: u64) -> String {
    let header = message.header();
    let Body { text, html, inline, attachments } = Body::of(message);
    let from = addresses(message, "From").into_iter().next();
    let field = |name: &str| header.text(name).unwrap_or_default();
    let return_path = header.message_ids("Return-Path").into_iter().next().filter(|path| !path.is_empty());
    let return_path = return_path.or_else(|| from.as_ref().map(|from| from.address.clone()));
    let unsubscribe = |link: &String| link.starts_with("mailto:") || link.starts_with("http");
    let attachment = |number: usize| attachment(message, number);
    let object = Object {
        id: id.to_string(),
        message_id: header.message_ids("Message-ID").into_iter().next().unwrap_or_default(),
        to: addresses(message, "To"),
        cc: addresses(message, "Cc"),
        bcc: addresses(message, "Bcc"),
        reply_to: addresses(message, "Reply-To"),
        return_path: return_path.unwrap_or_default(),
        from,
        subject: field("Subject"),
        list_unsubscribe: ListUnsubscribe {
            header: field("List-Unsubscribe"),
            links: header.message_ids("List-Unsubscribe").into_iter().filter(unsubscribe).collect(),
            errors: String::new(),
            header_post: field("List-Unsubscribe-Post"),
        },
        date: header.date().map_or_else(|| rfc3339(created), |date| with_offset(&date)),
        tags: [],
        username: String::new(),
        text,
        html,
        size,
        inline: inline.into_iter().map(attachment).collect(),
        attachments: attachments.into_iter().map(attachment).collect(),
    };
    printable::json(&object, false)
}

fn attachment(message: &Message<'_>, number: usize) -> Attachment {
    let part = &message.parts()[number];
    let octets = message.octets(part);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Attachment {
        part_id: number.to_string(),
        file_name: message.save_name(part, number),
        content_type: part.media_type.value.clone(),
        content_id: content_id(message, part).unwrap_or_default(),
        size: octets.len() as u64,
        checksums: Checksums {
            md5: hex(&<Md5 as md5::Digest>::digest(&octets)),
            sha1: hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &octets).as_ref()),
            sha256: hex(digest::digest(&digest::SHA256, &octets).as_ref()),
        },
    }
}

/// The header fields as a JSON object: a list of values for each name, as it was sent.
pub fn headers(message: &Message<'_>) -> String {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in message.header().fields() {
        let name = capitalized(&String::from_utf8_lossy(field.name));
        fields.entry(name).or_default().push(String::from_utf8_lossy(&field.value).trim().to_owned());
    }
    printable::json(&fields, false)
}

/// The decoded body of a part. `None` if there is no such part. A browser saves it, and shows it only as an image.
pub fn part(message: &Message<'_>, number: usize) -> Option<Document> {
    let part = message.parts().get(number)?;
    if part.content == Content::Multipart || part.role != Role::Part {
        return None;
    }
    let kind = SHOWN.iter().find(|kind| **kind == part.media_type.value).copied().unwrap_or(OCTETS);
    let name = message.save_name(part, number);
    Some(Document {
        file_name: Some(name),
        ..Document::new(Cow::Borrowed(kind), message.octets(part).into_owned())
    })
}

/// A name of a field in the usual form: `message-id` is `Message-Id`.
fn capitalized(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + &rest.to_lowercase()
    };
    name.trim().split('-').map(word).collect::<Vec<_>>().join("-")
}

/// A date in RFC 3339, by the clock of its writer.
fn with_offset(date: &Date) -> String {
    let Date { year, month, day, hour, minute, second, offset } = *date;
    let minutes = offset.abs() / 60;
    let zone = match offset {
        0 => "Z".to_owned(),
        _ => format!("{}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}{zone}", second.min(59))
}

const OCTETS: &str = "application/octet-stream";

/// Media types that no browser runs.
const SHOWN: &[&str] =
    &["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::facts::parse;

    #[test]
    fn an_object_has_the_names_that_clients_read() {
        let text = "From: a@b.test\nDate: Sun, 06 Nov 1994 08:49:37 +0200\nList-Unsubscribe: <mailto:x@y.test>, <javascript:1>\n\
                    Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: image/svg+xml; name=\"a/b.svg\"\n\n<svg/>\n--b--\n";
        let message = parse(text.as_bytes());
        let object: serde_json::Value =
            serde_json::from_str(&object(&message, MessageId::of("1"), (1, 0), 5)).unwrap();
        assert_eq!(object["Date"], "1994-11-06T08:49:37+02:00");
        assert_eq!(object["ReturnPath"], "a@b.test");
        assert_eq!(object["ListUnsubscribe"]["Links"], serde_json::json!(["mailto:x@y.test"]));
        let attachment = &object["Attachments"][0];
        assert_eq!(attachment["ContentType"], "image/svg+xml");
        assert_eq!(attachment["Checksums"]["SHA1"].as_str().unwrap().len(), 40);
        let number: usize = attachment["PartID"].as_str().unwrap().parse().unwrap();
        let document = part(&message, number).unwrap();
        assert_eq!(document.content_type, OCTETS, "a browser would run an SVG");
        assert!(!document.file_name.unwrap().contains('/'));
        assert_eq!(part(&message, 99), None);
    }

    #[test]
    fn header_fields_are_lists_by_name() {
        let message = parse(b"Received: one\nX-b: 2\nreceived: two\n lines\n\n");
        assert_eq!(headers(&message), r#"{"Received":["one","two lines"],"X-B":["2"]}"#);
    }
}
