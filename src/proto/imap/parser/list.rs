//! LIST (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154) and LSUB.

use super::{
    arguments::{argument, status_items},
    cursor::{Cursor, Expected, Parsed},
};
use crate::proto::imap::command::{Command, List, ListReturn, ListSelect, StatusItem};

pub(super) fn list(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.blank()?;
    let mut select = Vec::new();
    if cursor.peek() == Some(b'(') {
        select = cursor.list("selection options", selection)?;
        cursor.blank()?;
    }
    let reference = cursor.astring("a reference name, often \"\"")?;
    cursor.blank()?;
    let patterns = match cursor.peek() {
        Some(b'(') => cursor.list("patterns", Cursor::list_pattern)?,
        _ => vec![cursor.list_pattern()?],
    };
    let (mut returned, mut status) = (Vec::new(), Vec::new());
    if cursor.has_more() {
        const EXPECTED: &str = "RETURN and options in parentheses";
        if !cursor.keyword("RETURN") {
            return Err(Expected(EXPECTED));
        }
        cursor.blank()?;
        for options in cursor.list(EXPECTED, return_option)? {
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
        return Err(Expected("SUBSCRIBED or SPECIAL-USE beside RECURSIVEMATCH"));
    }
    Ok(Command::List(List { is_lsub: false, select, reference, patterns, returned, status }))
}

pub(super) fn lsub(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let reference = argument(cursor, "a reference name, often \"\"")?;
    cursor.blank()?;
    let patterns = vec![cursor.list_pattern()?];
    let (select, returned, status) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Command::List(List { is_lsub: true, select, reference, patterns, returned, status }))
}

fn selection(cursor: &mut Cursor<'_>) -> Parsed<ListSelect> {
    Ok(match cursor.word("a selection option")?.as_str() {
        "SUBSCRIBED" => ListSelect::Subscribed,
        "REMOTE" => ListSelect::Remote,
        "RECURSIVEMATCH" => ListSelect::RecursiveMatch,
        "SPECIAL-USE" => ListSelect::SpecialUse,
        _ => return Err(Expected("a selection option that this server has")),
    })
}

enum ReturnOption {
    Property(ListReturn),
    Status(Vec<StatusItem>),
}

fn return_option(cursor: &mut Cursor<'_>) -> Parsed<ReturnOption> {
    Ok(match cursor.word("a return option")?.as_str() {
        "SUBSCRIBED" => ReturnOption::Property(ListReturn::Subscribed),
        "CHILDREN" => ReturnOption::Property(ListReturn::Children),
        "SPECIAL-USE" => ReturnOption::Property(ListReturn::SpecialUse),
        "STATUS" => {
            cursor.blank()?;
            ReturnOption::Status(status_items(cursor)?)
        }
        _ => return Err(Expected("a return option that this server has")),
    })
}
