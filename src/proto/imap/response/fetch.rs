//! FETCH responses (RFC 9051 section 7.5.2): `* 7 FETCH (UID 9 FLAGS (\Seen))`.
//!
//! The rule: a literal may be too large for one piece, so a response is written item by item, and goes on in a later piece
//! after the last octet of its literal.

use std::sync::Arc;

use super::writer::{self, Items};
use crate::{
    mime::date::{Date, MONTHS},
    proto::imap::fetch_item::{Body, BodyName, Section, SectionText},
};

/// Begins the response for the message with this number.
pub fn begin(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(b"* ");
    Items::new(out).number(number).atom("FETCH");
    out.extend_from_slice(b" (");
}

/// Ends the response.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b")\r\n");
}

/// The items of a response that has begun, in this piece or in one before. `is_first`: none has been written.
pub fn items(out: &mut Vec<u8>, is_first: bool) -> Items<'_> {
    if is_first { Items::new(out) } else { Items::after_item(out) }
}

/// The name of an item with octets of a message: `BODY[1.HEADER]<0>`. All messages of a response have the same ones.
#[derive(Debug)]
pub struct ItemName(Vec<u8>);

impl ItemName {
    /// The name of that item.
    pub fn of(body: &Body) -> Self {
        Self(match body.name {
            BodyName::Rfc822 => b"RFC822".to_vec(),
            BodyName::Rfc822Header => b"RFC822.HEADER".to_vec(),
            BodyName::Rfc822Text => b"RFC822.TEXT".to_vec(),
            BodyName::Body => {
                let mut name = b"BODY[".to_vec();
                section(&mut name, &body.section);
                name.push(b']');
                if let Some((first, _)) = body.partial {
                    name.extend_from_slice(format!("<{first}>").as_bytes());
                }
                name
            }
        })
    }

    /// Writes it.
    pub fn write(&self, items: &mut Items<'_>) {
        items.raw(&self.0);
    }
}

/// A rendered value of an item, which is written for each client that asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedItem(Arc<[u8]>);

impl RenderedItem {
    /// Renders a value.
    pub fn render(value: impl FnOnce(&mut Items<'_>)) -> Self {
        let mut octets = Vec::new();
        value(&mut Items::new(&mut octets));
        Self(octets.into())
    }

    /// Its octets.
    pub fn octets(&self) -> usize {
        self.0.len()
    }

    /// Writes it.
    pub fn write(&self, items: &mut Items<'_>) {
        items.raw(&self.0);
    }
}

fn section(name: &mut Vec<u8>, section: &Section) {
    let path: Vec<String> = section.path.iter().map(u32::to_string).collect();
    name.extend_from_slice(path.join(".").as_bytes());
    let text = match &section.text {
        SectionText::Whole => return,
        SectionText::Header => "HEADER",
        SectionText::Text => "TEXT",
        SectionText::Mime => "MIME",
        SectionText::Fields { is_except: false, .. } => "HEADER.FIELDS",
        SectionText::Fields { is_except: true, .. } => "HEADER.FIELDS.NOT",
    };
    if !path.is_empty() {
        name.push(b'.');
    }
    name.extend_from_slice(text.as_bytes());
    if let SectionText::Fields { names, .. } = &section.text {
        Items::after_item(name).list(|list| {
            names.iter().for_each(|name| {
                list.astring(name);
            })
        });
    }
}

/// Announces a literal. Exactly so many octets have to follow, in this piece and in later ones.
pub fn literal_head(items: &mut Items<'_>, length: u64) {
    items.literal_head(length);
}

/// Appends octets of a message to an announced literal.
pub fn literal_octets(out: &mut Vec<u8>, octets: &[u8]) {
    let start = out.len();
    out.extend_from_slice(octets);
    writer::replace_nul(&mut out[start..]);
}

/// Appends octets of a message to an announced literal, as `append` does.
///
/// # Errors
/// Those of `append`, which may have appended some octets.
pub fn literal_part<E>(
    out: &mut Vec<u8>,
    append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    append(out)?;
    writer::replace_nul(&mut out[start..]);
    Ok(())
}

/// Writes an internal date, in UTC: `"17-Jul-1996 02:44:25 +0000"`.
pub fn internal_date(items: &mut Items<'_>, seconds: i64) {
    let Date { year, month, day, hour, minute, second, .. } = Date::from_seconds(seconds);
    let month = MONTHS.get(usize::from(month).wrapping_sub(1)).unwrap_or(&"Jan");
    items.string(format!("{day:>2}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} +0000").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_written_item_by_item() {
        let mut out = Vec::new();
        begin(&mut out, 7);
        items(&mut out, true).atom("UID").number(9_u32);
        let fields = SectionText::Fields { names: vec![b"From".to_vec(), b"x y".to_vec()], is_except: true };
        let section = Section { path: vec![1, 2], text: fields };
        let body = Body { section, partial: Some((3, 9)), marks_seen: false, name: BodyName::Body };
        let mut more = items(&mut out, false);
        ItemName::of(&body).write(&mut more);
        literal_head(&mut more, 3);
        literal_octets(&mut out, b"a\0");
        literal_octets(&mut out, b"b");
        internal_date(items(&mut out, false).atom("INTERNALDATE"), 0);
        end(&mut out);
        assert_eq!(
            out,
            b"* 7 FETCH (UID 9 BODY[1.2.HEADER.FIELDS.NOT (From \"x y\")]<3> {3}\r\na\x80b \
              INTERNALDATE \" 1-Jan-1970 00:00:00 +0000\")\r\n"
        );
    }

    #[test]
    fn each_item_has_the_name_that_was_asked_for() {
        for (path, text, name, expected) in [
            (vec![], SectionText::Whole, BodyName::Body, "BODY[]"),
            (vec![1], SectionText::Whole, BodyName::Body, "BODY[1]"),
            (vec![], SectionText::Header, BodyName::Body, "BODY[HEADER]"),
            (vec![2, 3], SectionText::Mime, BodyName::Body, "BODY[2.3.MIME]"),
            (vec![2], SectionText::Text, BodyName::Body, "BODY[2.TEXT]"),
            (vec![], SectionText::Whole, BodyName::Rfc822, "RFC822"),
            (vec![], SectionText::Header, BodyName::Rfc822Header, "RFC822.HEADER"),
            (vec![], SectionText::Text, BodyName::Rfc822Text, "RFC822.TEXT"),
        ] {
            let mut out = Vec::new();
            let section = Section { path, text };
            let body = Body { section, partial: None, marks_seen: false, name };
            ItemName::of(&body).write(&mut items(&mut out, true));
            assert_eq!(out, expected.as_bytes());
        }
    }
}
