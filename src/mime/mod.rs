//! The MIME reader: a received message as parts, texts and names (RFC 5322, RFC 2045 to 2047, RFC 2231).
//!
//! The rule: any octet of a message may come from an attacker. The reader reads every message as far as possible, loses no part,
//! and takes time in proportion to the octets: depth, parts and headers are bounded, and nothing here recurses.
//!
//! The reader uses the tables of `encoding_rs` and the tokenizer of html5gum, but not mail-parser. That crate builds nested
//! messages as a tree that overflows the stack when it is dropped, takes time by the square of the parts, lets a part without a
//! body swallow the boundary after it, and converts the text of attachments. A scan could avoid all of this in advance, but such
//! a scan ([`structure`]) has already found the parts.
//!
//! | module | contents |
//! |---|---|
//! | [`structure`] | the scan that finds the parts |
//! | [`header`], [`parameters`], [`encoded_word`] | fields, their parameters, their encoded words |
//! | [`address`], [`date`] | address lists and dates |
//! | [`transfer_encoding`], [`charset`] | a body's octets, and its text |
//! | [`html`], [`html_words`] | HTML as text, as words, and its links |
//! | [`flowed`], [`uuencode`] | paragraphs of `format=flowed`, and files in a text |
//! | [`view`] | the parts to show, and those to list |
//! | [`file_name`] | names for saved files |
//! | [`limits`] | the bounds |

pub mod address;
pub mod charset;
pub mod date;
pub mod encoded_word;
pub mod file_name;
pub mod flowed;
pub mod header;
pub mod html;
pub mod html_words;
pub mod limits;
pub mod parameters;
pub mod structure;
pub mod transfer_encoding;
pub mod uuencode;
pub mod view;

use std::{borrow::Cow, ops::Range};

use charset::CharsetOfHeader;
pub use header::Header;
pub use limits::MimeLimits;
pub use structure::{Content, Part, Role};

/// A message and its parts.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    bytes: &'a [u8],
    parts: Vec<Part>,
    limits: MimeLimits,
    /// The character set of the first text part, for header values that are not encoded.
    charset: Option<CharsetOfHeader>,
}

impl<'a> Message<'a> {
    /// Finds the parts of a message. Accepts any octets.
    pub fn parse(bytes: &'a [u8], limits: &MimeLimits) -> Self {
        let (parts, _) = structure::scan(bytes, limits);
        let texts = parts.iter().filter(|part| part.is_text());
        let charset = texts
            .filter_map(|part| part.media_type.text("charset"))
            .find_map(|name| CharsetOfHeader::named(&name));
        Self { bytes, parts, limits: *limits, charset }
    }

    /// The header of the message.
    pub fn header(&self) -> Header<'a> {
        self.header_of(&self.parts[0])
    }

    /// Octets of the message.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The parts. The first one is the message itself, and each comes after the one that it is in.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The number of each part: `2.1` is the first part of the second one. `0` is the message.
    pub fn part_numbers(&self) -> Vec<String> {
        let mut numbers: Vec<String> = Vec::with_capacity(self.parts.len());
        let mut children = vec![0; self.parts.len()];
        for part in &self.parts {
            let number = match part.parent {
                None => "0".into(),
                Some(parent) => {
                    children[parent] += 1;
                    let number = children[parent];
                    if parent == 0 { number.to_string() } else { format!("{}.{number}", numbers[parent]) }
                }
            };
            numbers.push(number);
        }
        numbers
    }

    /// The header of a part.
    pub fn header_of(&self, part: &Part) -> Header<'a> {
        Header::new(&self.bytes[part.header.clone()], self.limits.header).with_charset(self.charset)
    }

    /// The octets between two places of the message, as they were sent. Empty if the range is none.
    pub fn as_sent(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The body of a part without its transfer encoding, octet for octet.
    pub fn octets(&self, part: &Part) -> Cow<'a, [u8]> {
        part.transfer_encoding.decode(&self.bytes[part.body.clone()])
    }

    /// The body of a part as text, in its character set. HTML stays HTML.
    pub fn text(&self, part: &Part) -> String {
        let octets = self.octets(part);
        let named = part.media_type.text("charset");
        let named = named.or_else(|| if part.is_html() { charset_in_html(&octets) } else { None });
        charset::decode(&octets, named.as_deref())
    }

    /// The texts of all text parts without a file name, those of nested messages too.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        let texts = self.parts.iter().filter(|part| part.is_text() && self.file_name(part).is_none());
        texts.map(|part| self.text(part))
    }

    /// The file name that the sender gave a part, decoded. It is not safe: [`file_name::clean`] makes it so.
    pub fn file_name(&self, part: &Part) -> Option<String> {
        let named = part.disposition.text_in("filename", self.charset);
        let named = named.or_else(|| part.media_type.text_in("name", self.charset));
        named.filter(|name| !name.trim().is_empty())
    }

    /// A name to save a part as. `number` makes one for a part without a name.
    pub fn save_name(&self, part: &Part, number: usize) -> String {
        let name = self.file_name(part).and_then(|name| file_name::clean(&name));
        name.unwrap_or_else(|| format!("attachment-{number}.{}", file_name::ending(&part.media_type.value)))
    }
}

impl Part {
    /// True if its body is text.
    pub fn is_text(&self) -> bool {
        self.content == Content::Leaf
            && self.role != Role::Rest
            && (self.media_type.value.starts_with("text/") || self.media_type.value.starts_with("multipart/"))
    }

    /// True if its body is HTML.
    pub fn is_html(&self) -> bool {
        matches!(self.media_type.value.as_str(), "text/html" | "application/xhtml+xml")
    }
}

/// The character set that an HTML page names itself.
fn charset_in_html(page: &[u8]) -> Option<String> {
    let start = &page[..page.len().min(HTML_SEARCHED)];
    let at = memchr::memmem::find(&start.to_ascii_lowercase(), b"charset=")? + b"charset=".len();
    let name = start[at..].trim_ascii_start();
    let name = name.strip_prefix(b"\"").or(name.strip_prefix(b"'")).unwrap_or(name);
    let is_end = |b: &u8| !b.is_ascii_alphanumeric() && !b"-_.:".contains(b);
    let name = &name[..name.iter().position(is_end).unwrap_or(name.len())];
    // The name UTF-16 is wrong here: this search finds nothing in a page in UTF-16.
    let is_wide = |name: &str| name.to_ascii_lowercase().starts_with("utf-16");
    Some(String::from_utf8_lossy(name).into_owned()).filter(|name| !name.is_empty() && !is_wide(name))
}

/// Octets of an HTML page that are searched for its character set.
const HTML_SEARCHED: usize = 1024;
