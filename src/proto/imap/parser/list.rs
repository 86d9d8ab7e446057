//! LIST (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154) and LSUB.

use super::{
    arguments::{argument, non_empty, status_items},
    cursor::{Cursor, Parsed},
    expected,
};
use crate::proto::imap::command::{Command, List, ListReturn, ListSelect, StatusItem};

pub(super) fn list(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.blank()?;
    let mut select = Vec::new();
    if cursor.peek() == Some(b'(') {
        select = cursor.list(expected::SELECTION_OPTIONS, selection)?;
        cursor.blank()?;
    }
    let reference = cursor.astring(expected::REFERENCE)?;
    cursor.blank()?;
    let patterns = match cursor.peek() {
        Some(b'(') => cursor.list(expected::PATTERNS, Cursor::list_pattern)?,
        _ => vec![cursor.list_pattern()?],
    };
    let patterns = non_empty(patterns, expected::PATTERN)?;
    let (mut returned, mut status) = (Vec::new(), Vec::new());
    if cursor.has_more() {
        if !cursor.keyword("RETURN") {
            return Err(expected::RETURN);
        }
        cursor.blank()?;
        for options in cursor.list(expected::RETURN, return_option)? {
            match options {
                ReturnOption::Property(property) => returned.push(property),
                ReturnOption::Status(items) => status = items,
            }
        }
    }
    // RECURSIVEMATCH says nothing alone (RFC 5258 section 3.1).
    if select.contains(&ListSelect::RecursiveMatch)
        && !select.iter().any(|option| matches!(option, ListSelect::Subscribed | ListSelect::SpecialUse))
    {
        return Err(expected::BESIDE_RECURSIVEMATCH);
    }
    Ok(Command::List(List { is_lsub: false, select, reference, patterns, returned, status }))
}

pub(super) fn lsub(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let reference = argument(cursor, expected::REFERENCE)?;
    cursor.blank()?;
    let patterns = vec![cursor.list_pattern()?];
    let (select, returned, status) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Command::List(List { is_lsub: true, select, reference, patterns, returned, status }))
}

fn selection(cursor: &mut Cursor<'_>) -> Parsed<ListSelect> {
    Ok(match cursor.word(expected::SELECTION_OPTION)?.as_str() {
        "SUBSCRIBED" => ListSelect::Subscribed,
        "REMOTE" => ListSelect::Remote,
        "RECURSIVEMATCH" => ListSelect::RecursiveMatch,
        "SPECIAL-USE" => ListSelect::SpecialUse,
        _ => return Err(expected::KNOWN_SELECTION_OPTION),
    })
}

enum ReturnOption {
    Property(ListReturn),
    Status(Vec<StatusItem>),
}

fn return_option(cursor: &mut Cursor<'_>) -> Parsed<ReturnOption> {
    Ok(match cursor.word(expected::RETURN_OPTION)?.as_str() {
        "SUBSCRIBED" => ReturnOption::Property(ListReturn::Subscribed),
        "CHILDREN" => ReturnOption::Property(ListReturn::Children),
        "SPECIAL-USE" => ReturnOption::Property(ListReturn::SpecialUse),
        "STATUS" => {
            cursor.blank()?;
            ReturnOption::Status(status_items(cursor)?)
        }
        _ => return Err(expected::KNOWN_RETURN_OPTION),
    })
}
