//! Parses commands (RFC 9051 section 9).

mod arguments;
mod cursor;
pub(super) mod expected;
mod fetch;
mod list;
mod search;

use self::{
    arguments::{argument, messages, modifier, non_empty, status_items},
    cursor::{Cursor, Parsed},
};
pub use self::{
    cursor::{Grammar, TagMistake},
    expected::Expected,
};
use super::{
    command::{Append, Command, FlagChange, Messages, Store},
    command_reader::RawCommand,
    mailbox_name::MailboxName,
};
use crate::{mime::date::Date, proto::secret::Secret};

/// A command with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The tag, which the reply repeats.
    pub tag: Vec<u8>,
    /// The name of the command in capitals. Empty if the line has none.
    pub name: String,
    /// The command, or the mistake in it. `None`: no command has this name.
    pub command: Option<Parsed<Command>>,
}

/// Parses a whole command. `Err`: the line has no tag.
pub(super) fn parse(raw: &RawCommand, grammar: Grammar) -> Result<Tagged, TagMistake> {
    let mut cursor = Cursor::new(raw, grammar);
    let tag = cursor.tag()?.to_vec();
    let name = match cursor.blank().and_then(|()| cursor.word(expected::COMMAND)) {
        Ok(name) => name,
        Err(mistake) => return Ok(Tagged { tag, name: String::new(), command: Some(Err(mistake)) }),
    };
    let (name, by_uid) = match name.as_str() {
        "UID" => match cursor.blank().and_then(|()| cursor.word(expected::COMMAND_AFTER_UID)) {
            Ok(name) => (format!("UID {name}"), true),
            Err(mistake) => return Ok(Tagged { tag, name, command: Some(Err(mistake)) }),
        },
        _ => (name, false),
    };
    let command = arguments(&name, by_uid, &mut cursor);
    let command = command.map(|command| command.and_then(|command| cursor.end().map(|()| command)));
    Ok(Tagged { tag, name, command })
}

/// Parses APPEND up to the announcement of its message. `None`: the command is another one.
pub(super) fn append_head(raw: &RawCommand, grammar: Grammar) -> Option<Parsed<Append>> {
    let mut cursor = Cursor::new(raw, grammar);
    cursor.tag().ok()?;
    cursor.blank().ok()?;
    if !cursor.keyword("APPEND") {
        return None;
    }
    // A literal may be the name of the mailbox.
    let mut name = cursor.clone();
    if name.blank().is_ok() && name.rest().starts_with(b"{") && raw.literals.is_empty() {
        return None;
    }
    Some(append(&mut cursor).and_then(|append| match cursor.peek() {
        Some(b'{') => Ok(append),
        _ => Err(expected::MESSAGE),
    }))
}

/// Parses the tag of a command that has begun.
pub(super) fn begun_tag(raw: &RawCommand) -> Result<&[u8], TagMistake> {
    Cursor::new(raw, Grammar::Exact).tag()
}

/// The arguments of a command. `None`: no command has this name.
fn arguments(name: &str, by_uid: bool, cursor: &mut Cursor<'_>) -> Option<Parsed<Command>> {
    let plain = |command| Some(Ok(command));
    match name {
        "CAPABILITY" => plain(Command::Capability),
        "NOOP" => plain(Command::Noop),
        "LOGOUT" => plain(Command::Logout),
        "STARTTLS" => plain(Command::StartTls),
        "NAMESPACE" => plain(Command::Namespace),
        "IDLE" => plain(Command::Idle),
        "CHECK" => plain(Command::Check),
        "CLOSE" => plain(Command::Close),
        "UNSELECT" => plain(Command::Unselect),
        "EXPUNGE" => plain(Command::Expunge(None)),
        "ID" => Some(id(cursor)),
        "AUTHENTICATE" => Some(authenticate(cursor)),
        "LOGIN" => Some(login(cursor)),
        "LANGUAGE" => Some(language(cursor)),
        "ENABLE" => Some(enable(cursor)),
        "SELECT" => Some(select(cursor, false)),
        "EXAMINE" => Some(select(cursor, true)),
        "CREATE" => Some(create(cursor)),
        "DELETE" => Some(mailbox(cursor).map(Command::Delete)),
        "RENAME" => Some(rename(cursor)),
        "SUBSCRIBE" => Some(mailbox(cursor).map(Command::Subscribe)),
        "UNSUBSCRIBE" => Some(mailbox(cursor).map(Command::Unsubscribe)),
        "LIST" => Some(list::list(cursor)),
        "LSUB" => Some(list::lsub(cursor)),
        "STATUS" => Some(status(cursor)),
        "APPEND" => Some(append(cursor).map(Command::Append)),
        "GETQUOTA" => Some(argument(cursor, expected::QUOTA_ROOT).map(Command::GetQuota)),
        "GETQUOTAROOT" => Some(mailbox(cursor).map(Command::GetQuotaRoot)),
        "UID EXPUNGE" => {
            Some(cursor.blank().and_then(|()| cursor.sequence_set()).map(|set| Command::Expunge(Some(set))))
        }
        "SEARCH" | "UID SEARCH" => Some(search::search(cursor, by_uid)),
        "FETCH" | "UID FETCH" => Some(fetch::fetch(cursor, by_uid)),
        "STORE" | "UID STORE" => Some(store(cursor, by_uid)),
        "COPY" | "UID COPY" => Some(to_mailbox(cursor, by_uid).map(|(from, to)| Command::Copy(from, to))),
        "MOVE" | "UID MOVE" => Some(to_mailbox(cursor, by_uid).map(|(from, to)| Command::Move(from, to))),
        _ => None,
    }
}

fn mailbox(cursor: &mut Cursor<'_>) -> Parsed<MailboxName> {
    argument(cursor, expected::MAILBOX).map(|name| MailboxName::parse(&name))
}

fn to_mailbox(cursor: &mut Cursor<'_>, by_uid: bool) -> Parsed<(Messages, MailboxName)> {
    Ok((messages(cursor, by_uid)?, mailbox(cursor)?))
}

/// ID. Clients send `()` and `NIL`.
fn id(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.blank()?;
    if cursor.keyword("NIL") {
        return Ok(Command::Id(Vec::new()));
    }
    let pairs = cursor.list(expected::ID_FIELDS, |cursor| {
        let field = cursor.string(expected::ID_FIELD)?;
        cursor.blank()?;
        Ok((field, cursor.nstring(expected::ID_VALUE)?))
    })?;
    Ok(Command::Id(pairs))
}

fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.blank()?;
    let mechanism = cursor.word(expected::MECHANISM)?;
    let initial = match cursor.has_more() {
        true => Some(cursor.run(|b| b.is_ascii_graphic()).to_vec()),
        false => None,
    };
    Ok(Command::Authenticate { mechanism, initial })
}

fn login(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let user = argument(cursor, expected::USER_NAME)?;
    let password = Secret::new(argument(cursor, expected::PASSWORD)?);
    Ok(Command::Login { user, password })
}

fn language(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut languages = Vec::new();
    while languages.len() < MAX_LANGUAGES && cursor.has_more() {
        languages.push(cursor.astring(expected::LANGUAGE_TAG)?);
    }
    Ok(Command::Language(languages))
}

fn enable(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut names = Vec::new();
    while names.is_empty() || cursor.has_more() {
        if names.is_empty() {
            cursor.blank()?;
        }
        names.push(cursor.word(expected::EXTENSION)?);
    }
    Ok(Command::Enable(names))
}

fn select(cursor: &mut Cursor<'_>, read_only: bool) -> Parsed<Command> {
    let mailbox = mailbox(cursor)?;
    let parameters = match cursor.has_more() {
        true => {
            let parameters = cursor.list(expected::PARAMETERS, |cursor| cursor.word(expected::PARAMETER))?;
            non_empty(parameters, expected::PARAMETER)?
        }
        false => Vec::new(),
    };
    if parameters.iter().any(|parameter| parameter != "CONDSTORE") {
        return Err(expected::ONLY_CONDSTORE);
    }
    Ok(Command::Select { mailbox, read_only, condstore: !parameters.is_empty() })
}

fn create(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mailbox = mailbox(cursor)?;
    if !cursor.has_more() {
        return Ok(Command::Create(mailbox, None));
    }
    cursor.expect(b'(', expected::ONE_SPECIAL_USE)?;
    if !cursor.keyword("USE") {
        return Err(expected::ONE_SPECIAL_USE);
    }
    cursor.blank()?;
    let mut uses = cursor.list(expected::ONE_SPECIAL_USE, flag)?;
    cursor.expect(b')', expected::ONE_SPECIAL_USE)?;
    match (uses.pop(), uses.is_empty()) {
        (Some(special_use), true) => Ok(Command::Create(mailbox, Some(special_use))),
        _ => Err(expected::ONE_SPECIAL_USE),
    }
}

fn rename(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    Ok(Command::Rename(mailbox(cursor)?, mailbox(cursor)?))
}

fn status(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mailbox = mailbox(cursor)?;
    cursor.blank()?;
    Ok(Command::Status(mailbox, status_items(cursor)?))
}

fn append(cursor: &mut Cursor<'_>) -> Parsed<Append> {
    let mailbox = mailbox(cursor)?;
    cursor.blank()?;
    let mut flags = Vec::new();
    if cursor.peek() == Some(b'(') {
        flags = cursor.list(expected::FLAGS, flag)?;
        cursor.blank()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date_time(cursor)?);
        cursor.blank()?;
    }
    Ok(Append { mailbox, flags, date })
}

/// The internal date of APPEND: `"17-Jul-1996 02:44:25 -0700"`.
fn date_time(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let text = cursor.string(expected::DATE_TIME)?;
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    // The day may begin with a blank in place of a digit (RFC 9051 section 9, "date-day-fixed").
    let is_fixed = text.len() == 26 && text.get(2) == Some(&b'-') && matches!(digits, 15 | 16);
    Date::parse(&text).filter(|_| is_fixed).map(|date| date.seconds()).ok_or(expected::DATE_TIME)
}

fn store(cursor: &mut Cursor<'_>, by_uid: bool) -> Parsed<Command> {
    let messages = messages(cursor, by_uid)?;
    cursor.blank()?;
    let mut unchanged_since = None;
    if cursor.peek() == Some(b'(') {
        unchanged_since = Some(modifier(cursor, "UNCHANGEDSINCE", expected::UNCHANGEDSINCE)?);
        cursor.blank()?;
    }
    let change = if cursor.take(b'+') {
        FlagChange::Add
    } else if cursor.take(b'-') {
        FlagChange::Remove
    } else {
        FlagChange::Replace
    };
    let silent = match cursor.word(expected::STORE_ITEM)?.as_str() {
        "FLAGS" => false,
        "FLAGS.SILENT" => true,
        _ => return Err(expected::STORE_ITEM),
    };
    cursor.blank()?;
    let flags = if cursor.peek() == Some(b'(') {
        cursor.list(expected::FLAGS, flag)?
    } else {
        let mut flags = vec![flag(cursor)?];
        while cursor.has_more() {
            flags.push(flag(cursor)?);
        }
        flags
    };
    Ok(Command::Store(Store { messages, change, flags, silent, unchanged_since }))
}

/// A flag: `\Seen`, or a keyword.
fn flag(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    let mut flag = if cursor.take(b'\\') { vec![b'\\'] } else { Vec::new() };
    flag.extend_from_slice(cursor.atom(expected::FLAG)?);
    Ok(flag)
}

/// The most languages that a client may name.
const MAX_LANGUAGES: usize = 20;

#[cfg(test)]
pub(crate) mod tests;
