//! BODYSTRUCTURE and BODY (RFC 9051 section 7.5.2).
//!
//! The rule: the type of a part decides its form, so the type that is written is the one that decided. A multipart has parts, a
//! `message/rfc822` an envelope and a structure, a text its lines; a part that cannot have them is `application/octet-stream`.

use super::{envelope, writer::Items};
use crate::mime::{
    Header, Message, Part, Skeleton,
    envelope::Envelope,
    parameters::Parameterised,
    skeleton::{Kind, SkeletonPart},
    transfer_encoding::TransferEncoding,
};

/// Writes the structure of a message. `extended`: with the extension data that BODYSTRUCTURE has and BODY has not.
pub fn write(items: &mut Items<'_>, message: &Message<'_>, skeleton: &Skeleton, extended: bool) {
    Writer { message, skeleton, extended }.part(items, skeleton.root());
}

struct Writer<'a> {
    message: &'a Message<'a>,
    skeleton: &'a Skeleton,
    extended: bool,
}

impl Writer<'_> {
    /// Writes a part and what it contains. The scan has bounded their depth.
    fn part(&self, items: &mut Items<'_>, skeleton: &SkeletonPart) {
        let part = skeleton.index.and_then(|index| self.message.parts().get(index));
        let header = part.map(|part| self.message.header_of(part));
        let part = &ParsedPart { parsed: part, header };
        items.list(|list| match &skeleton.kind {
            Kind::Multipart(children) => self.multipart(list, part, children),
            Kind::Message(child) => self.nested(list, part, skeleton, *child),
            Kind::Leaf => self.leaf(list, part, skeleton, part.media_type()),
            Kind::Octets => self.leaf(list, part, skeleton, ("application", "octet-stream")),
        });
    }

    fn multipart(&self, list: &mut Items<'_>, part: &ParsedPart<'_>, children: &[usize]) {
        list.joined(|all| {
            for child in children.iter().filter_map(|child| self.skeleton.parts().get(*child)) {
                self.part(all, child);
            }
        });
        list.string(part.media_type().1.as_bytes());
        if self.extended {
            parameters(list, part.parsed.map(|part| &part.media_type), false);
            part.extension(list);
        }
    }

    fn nested(&self, list: &mut Items<'_>, part: &ParsedPart<'_>, skeleton: &SkeletonPart, child: usize) {
        self.fields(list, part, skeleton, ("message", "rfc822"));
        let Some(inner) = self.skeleton.parts().get(child) else { return };
        let inner_part = inner.index.and_then(|index| self.message.parts().get(index));
        let envelope = inner_part.map(|part| Envelope::of(self.message.header_of(part))).unwrap_or_default();
        envelope::write(list, &envelope);
        self.part(list, inner);
        list.number(skeleton.lines);
        self.single_extension(list, part);
    }

    fn leaf(
        &self,
        list: &mut Items<'_>,
        part: &ParsedPart<'_>,
        skeleton: &SkeletonPart,
        media_type: (&str, &str),
    ) {
        self.fields(list, part, skeleton, media_type);
        if media_type.0 == "text" {
            list.number(skeleton.lines);
        }
        self.single_extension(list, part);
    }

    /// The values that every part but a multipart has.
    fn fields(
        &self,
        list: &mut Items<'_>,
        part: &ParsedPart<'_>,
        skeleton: &SkeletonPart,
        (kind, subtype): (&str, &str),
    ) {
        list.string(kind.as_bytes()).string(subtype.as_bytes());
        parameters(list, part.parsed.map(|part| &part.media_type), kind == "text");
        list.nstring(part.raw("Content-ID").as_deref());
        list.nstring(part.raw("Content-Description").as_deref());
        list.string(part.encoding().as_bytes()).number(skeleton.body.octets());
    }

    fn single_extension(&self, list: &mut Items<'_>, part: &ParsedPart<'_>) {
        if self.extended {
            list.nstring(part.raw("Content-MD5").as_deref());
            part.extension(list);
        }
    }
}

/// A part as the MIME reader has parsed it, and its header. The text of a multipart without parts has neither.
struct ParsedPart<'a> {
    parsed: Option<&'a Part>,
    header: Option<Header<'a>>,
}

impl ParsedPart<'_> {
    /// The type and the subtype.
    fn media_type(&self) -> (&str, &str) {
        self.parsed.and_then(|part| part.media_type.value.split_once('/')).unwrap_or(("text", "plain"))
    }

    fn raw(&self, name: &str) -> Option<Vec<u8>> {
        let value = self.header?.raw(name)?.into_owned();
        Some(value).filter(|value| !value.is_empty())
    }

    /// The transfer encoding by the name that it has in the RFC, or the one that the sender gave it.
    fn encoding(&self) -> String {
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        match self.parsed.map(|part| part.transfer_encoding) {
            Some(TransferEncoding::Base64) => return "base64".into(),
            Some(TransferEncoding::QuotedPrintable) => return "quoted-printable".into(),
            Some(TransferEncoding::Identity) | None => {}
        }
        let value = self.raw("Content-Transfer-Encoding").unwrap_or_default();
        let token: Vec<u8> = value.into_iter().take_while(is_token).collect();
        if token.is_empty() { "7bit".into() } else { String::from_utf8_lossy(&token).to_ascii_lowercase() }
    }

    /// Disposition, languages, location.
    fn extension(&self, list: &mut Items<'_>) {
        match self.parsed.map(|part| &part.disposition).filter(|disposition| !disposition.value.is_empty()) {
            Some(disposition) => {
                list.list(|list| {
                    list.string(disposition.value.as_bytes());
                    parameters(list, Some(disposition), false);
                });
            }
            None => {
                list.nil();
            }
        }
        let languages = self.raw("Content-Language").unwrap_or_default();
        let mut languages =
            languages.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty()).peekable();
        if languages.peek().is_some() {
            list.list(|list| {
                languages.for_each(|tag| {
                    list.string(tag);
                })
            });
        } else {
            list.nil();
        }
        list.nstring(self.raw("Content-Location").as_deref());
    }
}

/// Parameters. A text without a character set has the default of RFC 2045 section 5.2.
fn parameters(list: &mut Items<'_>, of: Option<&Parameterised>, is_text: bool) {
    let joined = of.map(Parameterised::joined).unwrap_or_default();
    let has_charset = joined.iter().any(|(name, _)| matches!(&**name, "charset" | "charset*"));
    let lacks_charset = is_text && !has_charset;
    if !lacks_charset && joined.is_empty() {
        list.nil();
        return;
    }
    list.list(|list| {
        for (name, value) in &joined {
            list.string(name.as_bytes()).string(value);
        }
        if lacks_charset {
            list.string(b"charset").string(b"us-ascii");
        }
    });
}

#[cfg(test)]
pub(crate) mod tests;
