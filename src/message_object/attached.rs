//! The files of a message: attachments, and inline parts that belong to its text.
//!
//! The rule: each part that is neither text nor HTML of the message is in one of the two lists, under a name that is safe as a
//! file name, or lies inside a forwarded message that is.

use md5::{Digest, Md5};
use ring::digest;

use super::body;
use crate::mime::{Message, Part, Role, file_name, uuencode::Block, view::View};

/// A file of a message, without its octets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachedPart {
    /// Its number: `2.1` is the first part of the second one. `u1` is the first uuencoded file in the text.
    pub part_id: String,
    /// Its name, safe as a file name; made from its type if the sender gave none.
    pub file_name: String,
    /// Its media type in lower case, without parameters.
    pub content_type: String,
    /// The id that the HTML calls it by, `cid:…`; empty if it has none.
    pub content_id: String,
    /// Octets without the transfer encoding.
    pub size: u64,
    /// Hashes of those octets.
    pub checksums: Checksums,
}

/// Hashes of a file in hexadecimal, as other programs print them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums {
    /// 32 digits.
    pub md5: String,
    /// 40 digits.
    pub sha1: String,
    /// 64 digits.
    pub sha256: String,
}

/// A part with its octets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartContent {
    /// Its name, safe as a file name.
    pub file_name: String,
    /// Its media type in lower case, without parameters: two tokens and a slash.
    pub content_type: String,
    /// The id that the HTML calls it by; empty if it has none.
    pub content_id: String,
    /// Its octets without the transfer encoding.
    pub octets: Vec<u8>,
}

/// The list that a part belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Inline,
    Attachment,
    /// None: its text is in the HTML of the message.
    Html,
}

/// The inline parts and the attachments, each in the order of the message.
pub(super) fn parts(message: &Message<'_>, view: &View) -> (Vec<AttachedPart>, Vec<AttachedPart>) {
    let (mut inline, mut attachments) = (Vec::new(), Vec::new());
    let numbers = message.part_numbers();
    for (index, place) in places(message, view) {
        let list = match place {
            Place::Inline => &mut inline,
            Place::Attachment => &mut attachments,
            Place::Html => continue,
        };
        list.push(AttachedPart::new(&numbers[index], content_of(message, view, index)));
    }
    let embedded = (1..).zip(&view.embedded);
    attachments.extend(
        embedded
            .map(|(number, block)| AttachedPart::new(&format!("u{number}"), embedded_file(block, number))),
    );
    (inline, attachments)
}

/// The numbers of inline parts and of attachments.
pub(super) fn count(message: &Message<'_>, view: &View) -> (usize, usize) {
    let places = places(message, view);
    let count = |wanted| places.iter().filter(|(_, place)| *place == wanted).count();
    (count(Place::Inline), count(Place::Attachment) + view.embedded.len())
}

/// The content of a part by its number, or of a uuencoded file by its own.
pub(super) fn content(message: &Message<'_>, part_id: &str) -> Option<PartContent> {
    let view = View::of(message);
    if let Some(number) = part_id.strip_prefix('u') {
        let number: usize = number.parse().ok()?;
        return Some(embedded_file(view.embedded.get(number.checked_sub(1)?)?, number));
    }
    let index = message.part_numbers().iter().position(|number| number == part_id)?;
    Some(content_of(message, &view, index))
}

/// The listed parts, in the order of the message.
fn places(message: &Message<'_>, view: &View) -> Vec<(usize, Place)> {
    let mut listed = view.listed.clone();
    listed.sort_unstable();
    listed.into_iter().map(|index| (index, place(message, view, index))).collect()
}

fn place(message: &Message<'_>, view: &View, index: usize) -> Place {
    let part = &message.parts()[index];
    let is_file = message.file_name(part).is_some() || part.disposition.value == "attachment";
    if part.disposition.value == "attachment" {
        Place::Attachment
    } else if body::is_html_text(part) && !is_file {
        Place::Html
    } else if part.disposition.value == "inline"
        || matches!(part.role, Role::Preamble | Role::Epilogue)
        || view.shown.contains(&index)
        || (part.is_text() && !is_file && part.media_type.value == "text/plain")
        || !content_id(message, part).is_empty()
    {
        Place::Inline
    } else {
        Place::Attachment
    }
}

fn content_of(message: &Message<'_>, view: &View, index: usize) -> PartContent {
    let part = &message.parts()[index];
    let number = view.listed.iter().position(|listed| *listed == index).unwrap_or(index) + 1;
    PartContent {
        file_name: message.save_name(part, number),
        content_type: media_type(&part.media_type.value),
        content_id: content_id(message, part),
        octets: message.octets(part).into_owned(),
    }
}

/// A uuencoded file. Its name tells its type.
fn embedded_file(block: &Block, number: usize) -> PartContent {
    let name = file_name::clean(&block.name);
    let kind = mime_guess::from_path(name.as_deref().unwrap_or_default()).first_or_octet_stream();
    PartContent {
        file_name: name.unwrap_or_else(|| format!("attachment-u{number}.bin")),
        content_type: kind.essence_str().to_owned(),
        content_id: String::new(),
        octets: block.octets.clone(),
    }
}

fn content_id(message: &Message<'_>, part: &Part) -> String {
    message.header_of(part).message_ids("Content-ID").into_iter().next().unwrap_or_default()
}

/// A media type that may stand in a header: anything but two tokens (RFC 2045 section 5.1) is octets.
fn media_type(value: &str) -> String {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let is_type = value.len() <= MAX_TYPE
        && value.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    if is_type { value.to_owned() } else { "application/octet-stream".to_owned() }
}

impl AttachedPart {
    fn new(part_id: &str, content: PartContent) -> Self {
        let PartContent { file_name, content_type, content_id, octets } = content;
        Self {
            part_id: part_id.to_owned(),
            file_name,
            content_type,
            content_id,
            size: octets.len() as u64,
            checksums: Checksums::of(&octets),
        }
    }
}

impl Checksums {
    fn of(octets: &[u8]) -> Self {
        let ring = |algorithm| hexadecimal(digest::digest(algorithm, octets).as_ref());
        Self {
            md5: hexadecimal(&Md5::digest(octets)),
            sha1: ring(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            sha256: ring(&digest::SHA256),
        }
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Octets of the longest media type: those of RFC 6838 section 4.2.
const MAX_TYPE: usize = 255;
