//! FETCH (RFC 9051 section 6.4.5, RFC 7162 section 3.1.4).

use super::{
    arguments::{messages, modifier, non_empty},
    cursor::{Cursor, Parsed},
    expected,
};
use crate::proto::imap::{
    command::{Command, Fetch},
    fetch_item::{Body, BodyName, FetchItem, Section, SectionText},
};

pub(super) fn fetch(cursor: &mut Cursor<'_>, by_uid: bool) -> Parsed<Command> {
    let messages = messages(cursor, by_uid)?;
    cursor.blank()?;
    let items = non_empty(items(cursor)?, expected::FETCH_ITEM)?;
    let mut changed_since = None;
    if cursor.has_more() {
        if items_follow(cursor) {
            return Err(expected::ONE_LIST);
        }
        changed_since = Some(modifier(cursor, "CHANGEDSINCE", expected::CHANGEDSINCE)?);
    }
    Ok(Command::Fetch(Fetch { messages, items, changed_since }))
}

fn items(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    match cursor.peek() {
        Some(b'(') => Ok(cursor.list(expected::FETCH_ITEMS, |cursor| item(cursor, false))?.concat()),
        _ => item(cursor, true),
    }
}

/// Whether more items come after the first ones: a person has left out the parentheses, or has written too many.
fn items_follow(cursor: &Cursor<'_>) -> bool {
    items(&mut cursor.clone()).is_ok_and(|items| !items.is_empty())
}

/// An item, or a macro of several, which may only stand alone.
fn item(cursor: &mut Cursor<'_>, is_alone: bool) -> Parsed<Vec<FetchItem>> {
    // `[` is an octet of atoms too.
    let name = cursor.run(|b| b.is_ascii_alphanumeric() || b == b'.').to_ascii_uppercase();
    let fast = || vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size];
    let whole = |name, text, marks_seen| {
        let section = Section { path: Vec::new(), text };
        FetchItem::Body(Body { section, partial: None, marks_seen, name })
    };
    let one = match name.as_slice() {
        b"FAST" if is_alone => return Ok(fast()),
        b"ALL" if is_alone => return Ok([fast(), vec![FetchItem::Envelope]].concat()),
        b"FULL" if is_alone => {
            let body = FetchItem::Structure { extended: false };
            return Ok([fast(), vec![FetchItem::Envelope, body]].concat());
        }
        b"ENVELOPE" => FetchItem::Envelope,
        b"FLAGS" => FetchItem::Flags,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"RFC822.SIZE" => FetchItem::Size,
        b"UID" => FetchItem::Uid,
        b"MODSEQ" => FetchItem::ModSeq,
        b"BODYSTRUCTURE" => FetchItem::Structure { extended: true },
        b"RFC822" => whole(BodyName::Rfc822, SectionText::Whole, true),
        b"RFC822.HEADER" => whole(BodyName::Rfc822Header, SectionText::Header, false),
        b"RFC822.TEXT" => whole(BodyName::Rfc822Text, SectionText::Text, true),
        b"BODY" if cursor.peek() != Some(b'[') => FetchItem::Structure { extended: false },
        b"BODY" => body(cursor, true)?,
        b"BODY.PEEK" => body(cursor, false)?,
        _ => return Err(expected::KNOWN_FETCH_ITEM),
    };
    Ok(vec![one])
}

/// `[section]` and perhaps `<first.count>`.
fn body(cursor: &mut Cursor<'_>, marks_seen: bool) -> Parsed<FetchItem> {
    cursor.expect(b'[', expected::SECTION)?;
    let section = section(cursor)?;
    cursor.expect(b']', expected::SECTION_END)?;
    let mut partial = None;
    if cursor.take(b'<') {
        let first = cursor.number32(expected::PARTIAL)?;
        cursor.expect(b'.', expected::PARTIAL)?;
        let count = cursor.nonzero32(expected::PARTIAL_COUNT)?;
        cursor.expect(b'>', expected::PARTIAL)?;
        partial = Some((first, count));
    }
    Ok(FetchItem::Body(Body { section, partial, marks_seen, name: BodyName::Body }))
}

fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    let mut path = Vec::new();
    while cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        let number = cursor.nonzero32(expected::PART)?;
        if path.len() == MAX_DEPTH {
            return Err(expected::PART);
        }
        path.push(number);
        if !cursor.take(b'.') {
            return Ok(Section { path, text: SectionText::Whole });
        }
    }
    let name = cursor.run(|b| b.is_ascii_alphabetic() || b == b'.').to_ascii_uppercase();
    let text = match name.as_slice() {
        b"" if path.is_empty() => SectionText::Whole,
        b"HEADER" => SectionText::Header,
        b"TEXT" => SectionText::Text,
        b"MIME" if !path.is_empty() => SectionText::Mime,
        b"HEADER.FIELDS" => fields(cursor, false)?,
        b"HEADER.FIELDS.NOT" => fields(cursor, true)?,
        _ => return Err(expected::KNOWN_SECTION),
    };
    Ok(Section { path, text })
}

fn fields(cursor: &mut Cursor<'_>, is_except: bool) -> Parsed<SectionText> {
    cursor.blank()?;
    let names = cursor.list(expected::HEADER_FIELDS, |cursor| cursor.astring(expected::HEADER_FIELD))?;
    Ok(SectionText::Fields { names: non_empty(names, expected::HEADER_FIELD)?, is_except })
}

/// The deepest part that a client may name. The MIME reader finds no deeper one.
const MAX_DEPTH: usize = 50;
