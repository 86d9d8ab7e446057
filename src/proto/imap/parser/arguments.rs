//! Arguments that several commands have.

use super::cursor::{Cursor, Expected, Parsed};
use crate::proto::imap::command::{Messages, StatusItem};

pub(super) fn argument(cursor: &mut Cursor<'_>, expected: &'static str) -> Parsed<Vec<u8>> {
    cursor.blank()?;
    cursor.astring(expected)
}

pub(super) fn messages(cursor: &mut Cursor<'_>, by_uid: bool) -> Parsed<Messages> {
    cursor.blank()?;
    Ok(Messages { set: cursor.sequence_set()?, by_uid })
}

pub(super) fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let items = cursor.list("items of STATUS in parentheses", |cursor| {
        Ok(match cursor.word("an item of STATUS")?.as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "DELETED" => StatusItem::Deleted,
            "SIZE" => StatusItem::Size,
            "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            _ => return Err(Expected("an item of STATUS that this server has")),
        })
    })?;
    if items.is_empty() { Err(Expected("an item of STATUS")) } else { Ok(items) }
}

/// A modifier with a modification sequence, in parentheses.
pub(super) fn modifier(cursor: &mut Cursor<'_>, name: &str, expected: &'static str) -> Parsed<u64> {
    cursor.open(expected)?;
    if !cursor.keyword(name) {
        return Err(Expected(expected));
    }
    cursor.blank()?;
    let number = cursor.number(expected)?;
    if cursor.close() { Ok(number) } else { Err(Expected(expected)) }
}
