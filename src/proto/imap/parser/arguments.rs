//! Arguments that several commands have.

use super::{
    cursor::{Cursor, Parsed},
    expected::{self, Expected},
};
use crate::proto::imap::command::{Messages, StatusItem};

pub(super) fn argument(cursor: &mut Cursor<'_>, expected: Expected) -> Parsed<Vec<u8>> {
    cursor.blank()?;
    cursor.astring(expected)
}

pub(super) fn messages(cursor: &mut Cursor<'_>, by_uid: bool) -> Parsed<Messages> {
    cursor.blank()?;
    Ok(Messages { set: cursor.sequence_set()?, by_uid })
}

pub(super) fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let items = cursor.list(expected::STATUS_ITEMS, |cursor| {
        Ok(match cursor.word(expected::STATUS_ITEM)?.as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "DELETED" => StatusItem::Deleted,
            "SIZE" => StatusItem::Size,
            "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            _ => return Err(expected::KNOWN_STATUS_ITEM),
        })
    })?;
    non_empty(items, expected::STATUS_ITEM)
}

/// The items of a list that has at least one.
pub(super) fn non_empty<T>(items: Vec<T>, expected: Expected) -> Parsed<Vec<T>> {
    if items.is_empty() { Err(expected) } else { Ok(items) }
}

/// A modifier with a modification sequence, in parentheses.
pub(super) fn modifier(cursor: &mut Cursor<'_>, name: &str, expected: Expected) -> Parsed<u64> {
    cursor.open(expected)?;
    if !cursor.keyword(name) {
        return Err(expected);
    }
    cursor.blank()?;
    let number = cursor.number(expected)?;
    if cursor.close() { Ok(number) } else { Err(expected) }
}
