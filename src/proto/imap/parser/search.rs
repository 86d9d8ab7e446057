//! SEARCH (RFC 9051 section 6.4.4).

use super::{
    arguments::argument,
    cursor::{Cursor, Parsed},
    expected,
};
use crate::{
    mime::date::MONTHS,
    proto::imap::{
        command::{Command, Search, SearchReturn},
        search_key::{Day, SearchKey},
    },
};

pub(super) fn search(cursor: &mut Cursor<'_>, by_uid: bool) -> Parsed<Command> {
    cursor.blank()?;
    let mut returned = None;
    if cursor.keyword("RETURN") {
        cursor.blank()?;
        let mut options = cursor.list(expected::RESULTS, result)?;
        if options.is_empty() {
            options.push(SearchReturn::All);
        }
        returned = Some(options);
        cursor.blank()?;
    }
    let mut charset = None;
    if cursor.keyword("CHARSET") {
        cursor.blank()?;
        let name = cursor.astring(expected::CHARSET)?;
        charset = Some(String::from_utf8_lossy(&name).to_ascii_uppercase());
        cursor.blank()?;
    }
    let mut bounds = Bounds { depth: 0, keys: 0 };
    let key = keys(cursor, &mut bounds)?;
    Ok(Command::Search(Search { by_uid, returned, charset, key }))
}

fn result(cursor: &mut Cursor<'_>) -> Parsed<SearchReturn> {
    Ok(match cursor.word(expected::RESULT)?.as_str() {
        "MIN" => SearchReturn::Min,
        "MAX" => SearchReturn::Max,
        "ALL" => SearchReturn::All,
        "COUNT" => SearchReturn::Count,
        _ => return Err(expected::KNOWN_RESULT),
    })
}

/// The size of a condition so far.
struct Bounds {
    depth: usize,
    keys: usize,
}

/// Conditions with blanks between them: all must be true.
fn keys(cursor: &mut Cursor<'_>, bounds: &mut Bounds) -> Parsed<SearchKey> {
    let mut keys = vec![key(cursor, bounds)?];
    while !cursor.clone().close() && cursor.has_more() {
        let is_after_text =
            matches!(keys.last(), Some(SearchKey::Header(..) | SearchKey::Body(_) | SearchKey::Text(_)));
        keys.push(match key(cursor, bounds) {
            // `SUBJECT hello world`
            Err(mistake) if is_after_text && mistake == expected::KNOWN_CONDITION => {
                return Err(expected::QUOTED_TEXT);
            }
            key => key?,
        });
    }
    Ok(match keys.pop() {
        Some(only) if keys.is_empty() => only,
        last => SearchKey::And(keys.into_iter().chain(last).collect()),
    })
}

fn key(cursor: &mut Cursor<'_>, bounds: &mut Bounds) -> Parsed<SearchKey> {
    bounds.keys += 1;
    if bounds.keys > MAX_KEYS || bounds.depth == MAX_DEPTH {
        return Err(expected::SMALLER_CONDITION);
    }
    match cursor.peek() {
        Some(b'(') => {
            cursor.open(expected::CONDITION)?;
            bounds.depth += 1;
            let inner = keys(cursor, bounds)?;
            bounds.depth -= 1;
            return if cursor.close() { Ok(inner) } else { Err(expected::CLOSING_PARENTHESIS) };
        }
        Some(b'0'..=b'9' | b'*') => return cursor.sequence_set().map(SearchKey::Numbers),
        _ => {}
    }
    let name = cursor.word(expected::CONDITION)?;
    Ok(match name.as_str() {
        "ALL" => SearchKey::All,
        "ANSWERED" => SearchKey::Flag(b"\\Answered".to_vec()),
        "DELETED" => SearchKey::Flag(b"\\Deleted".to_vec()),
        "DRAFT" => SearchKey::Flag(b"\\Draft".to_vec()),
        "FLAGGED" => SearchKey::Flag(b"\\Flagged".to_vec()),
        "SEEN" => SearchKey::Flag(b"\\Seen".to_vec()),
        "UNANSWERED" => SearchKey::without_flag(b"\\Answered"),
        "UNDELETED" => SearchKey::without_flag(b"\\Deleted"),
        "UNDRAFT" => SearchKey::without_flag(b"\\Draft"),
        "UNFLAGGED" => SearchKey::without_flag(b"\\Flagged"),
        "UNSEEN" => SearchKey::without_flag(b"\\Seen"),
        "RECENT" => SearchKey::Recent,
        "OLD" => SearchKey::Not(Box::new(SearchKey::Recent)),
        "NEW" => SearchKey::And(vec![SearchKey::Recent, SearchKey::without_flag(b"\\Seen")]),
        "KEYWORD" => SearchKey::Flag(keyword(cursor)?),
        "UNKEYWORD" => SearchKey::Not(Box::new(SearchKey::Flag(keyword(cursor)?))),
        "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => SearchKey::Header(name.into_bytes(), text(cursor)?),
        "HEADER" => SearchKey::Header(text(cursor)?, text(cursor)?),
        "BODY" => SearchKey::Body(text(cursor)?),
        "TEXT" => SearchKey::Text(text(cursor)?),
        "LARGER" => SearchKey::Larger(number(cursor)?),
        "SMALLER" => SearchKey::Smaller(number(cursor)?),
        "BEFORE" => SearchKey::Before(day(cursor)?),
        "ON" => SearchKey::On(day(cursor)?),
        "SINCE" => SearchKey::Since(day(cursor)?),
        "SENTBEFORE" => SearchKey::SentBefore(day(cursor)?),
        "SENTON" => SearchKey::SentOn(day(cursor)?),
        "SENTSINCE" => SearchKey::SentSince(day(cursor)?),
        "UID" => {
            cursor.blank()?;
            SearchKey::Uids(cursor.sequence_set()?)
        }
        "MODSEQ" => modseq(cursor)?,
        "NOT" => SearchKey::Not(Box::new(nested(cursor, bounds)?)),
        "OR" => SearchKey::Or(Box::new(nested(cursor, bounds)?), Box::new(nested(cursor, bounds)?)),
        _ => return Err(expected::KNOWN_CONDITION),
    })
}

fn nested(cursor: &mut Cursor<'_>, bounds: &mut Bounds) -> Parsed<SearchKey> {
    cursor.blank()?;
    bounds.depth += 1;
    let inner = key(cursor, bounds)?;
    bounds.depth -= 1;
    Ok(inner)
}

fn text(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    argument(cursor, expected::SEARCH_TEXT)
}

fn keyword(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    cursor.blank()?;
    cursor.atom(expected::KEYWORD).map(<[u8]>::to_vec)
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    cursor.blank()?;
    cursor.number(expected::OCTETS)
}

/// MODSEQ, perhaps with the name of a flag, which changes nothing here: a message has one sequence for all flags.
fn modseq(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    cursor.blank()?;
    if cursor.peek() == Some(b'"') {
        cursor.string(expected::FLAG_NAME)?;
        cursor.blank()?;
        if !matches!(cursor.word(expected::FLAG_SCOPE)?.as_str(), "PRIV" | "SHARED" | "ALL") {
            return Err(expected::FLAG_SCOPE);
        }
        cursor.blank()?;
    }
    cursor.number(expected::MODSEQ).map(SearchKey::ModSeq)
}

/// A day: `1-Feb-1994`, in quotes or not.
fn day(cursor: &mut Cursor<'_>) -> Parsed<Day> {
    let text = argument(cursor, expected::DAY)?;
    let parse = || {
        let text = std::str::from_utf8(&text).ok()?;
        let mut parts = text.split('-');
        let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let good =
            parts.next().is_none() && is_number(day) && day.len() <= 2 && is_number(year) && year.len() == 4;
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? as u8 + 1;
        let (day, year) = (day.parse().ok()?, year.parse().ok()?);
        (good && (1..=31).contains(&day)).then_some(Day { year, month, day })
    };
    parse().ok_or(expected::DAY)
}

/// The most conditions of one command.
const MAX_KEYS: usize = 1000;
/// The deepest condition. A parser and a search that call themselves need a bound.
const MAX_DEPTH: usize = 50;
