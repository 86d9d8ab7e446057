//! The responses of a server, as data (RFC 9051 section 7).

use super::value::{Cursor, Value};

/// One response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// The server waits for the rest of a command.
    Continue,
    /// The end of the command with that tag.
    Tagged(String, Status),
    /// A remark of the server, its greeting or its goodbye.
    Status(Status),
    Capability(Vec<String>),
    /// The name of the server program, from ID.
    Id(Option<String>),
    List(ListedFolder),
    /// The numbers of a folder.
    FolderStatus(Vec<u8>, FolderCounts),
    Search(Vec<u32>),
    Exists(u32),
    Expunge(u32),
    Fetch(u32, FetchedMessage),
    /// Anything else that the client has no use for.
    Other,
}

/// The condition, the code and the text of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// OK, NO, BAD, BYE or PREAUTH.
    pub condition: Condition,
    /// The response code without its brackets, such as `AUTHENTICATIONFAILED` (RFC 5530).
    pub code: Option<String>,
    /// The text for a person.
    pub text: String,
}

impl Status {
    /// Whether the name or the password may be wrong. The codes of the server's own troubles say otherwise (RFC 5530).
    pub(crate) fn is_about_login(&self) -> bool {
        let others = ["UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CONTACTADMIN", "PRIVACYREQUIRED"];
        let code = self.code.as_deref().unwrap_or_default();
        self.condition == Condition::No && !others.iter().any(|other| code.eq_ignore_ascii_case(other))
    }
}

/// The condition of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Success, or a remark.
    Ok,
    /// A failure.
    No,
    /// A mistake in the command.
    Bad,
    /// The server ends the connection.
    Bye,
    /// The server regards the client as logged in.
    PreAuth,
}

impl Condition {
    fn of(word: &[u8]) -> Option<Self> {
        let known = [
            (Self::Ok, "OK"),
            (Self::No, "NO"),
            (Self::Bad, "BAD"),
            (Self::Bye, "BYE"),
            (Self::PreAuth, "PREAUTH"),
        ];
        known.into_iter().find(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(found, _)| found)
    }

    /// The word on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
            Self::PreAuth => "PREAUTH",
        }
    }
}

/// A folder as LIST tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedFolder {
    /// `\Noselect`, `\Trash` and the like.
    pub(super) attributes: Vec<String>,
    /// The name, in modified UTF-7.
    pub(super) name: Vec<u8>,
}

/// The numbers of a folder, as far as the server tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderCounts {
    /// Messages in the folder.
    pub messages: Option<u64>,
    /// Messages without `\Seen`.
    pub unseen: Option<u64>,
}

/// The items of a message that a server tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FetchedMessage {
    pub(super) uid: Option<u32>,
    pub(super) flags: Option<MessageFlags>,
    pub(super) octets: Option<u64>,
    /// The time of its arrival, as the server writes it.
    pub(super) internal_date: Option<Vec<u8>>,
    /// The octets of a section: a header or the whole message.
    pub(super) section: Option<Vec<u8>>,
}

/// The flags of a message that this client shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageFlags {
    /// `\Seen`
    pub seen: bool,
    /// `\Answered`
    pub answered: bool,
    /// `\Flagged`
    pub flagged: bool,
    /// `\Deleted`
    pub deleted: bool,
}

impl MessageFlags {
    fn of(values: &[Value]) -> Self {
        let has =
            |name: &str| values.iter().filter_map(Value::atom).any(|flag| flag.eq_ignore_ascii_case(name));
        Self {
            seen: has("\\Seen"),
            answered: has("\\Answered"),
            flagged: has("\\Flagged"),
            deleted: has("\\Deleted"),
        }
    }
}

impl Response {
    /// Parses a response without its last line end. `None`: it is none, or one that the client needs is malformed, so that
    /// the client must not go on as if it were missing.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(octets);
        match cursor.word() {
            b"+" => Some(Self::Continue),
            b"*" => Self::untagged(cursor),
            tag if !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric) => {
                let condition = Condition::of(cursor.word())?;
                let tag = String::from_utf8_lossy(tag).into_owned();
                Some(Self::Tagged(tag, status(condition, cursor.rest())))
            }
            _ => None,
        }
    }

    fn untagged(mut cursor: Cursor<'_>) -> Option<Self> {
        let word = cursor.word();
        if let Some(condition) = Condition::of(word) {
            return Some(Self::Status(status(condition, cursor.rest())));
        }
        if word.first().is_some_and(u8::is_ascii_digit) {
            let number = std::str::from_utf8(word).ok()?.parse().ok()?;
            return Self::numbered(number, cursor);
        }
        match word.to_ascii_uppercase().as_slice() {
            b"CAPABILITY" => Some(Self::Capability(words(cursor.rest()))),
            b"ID" => Some(Self::Id(program_name(&cursor.values()?))),
            b"LIST" => match cursor.values()?.as_slice() {
                [attributes, _, name, ..] => {
                    let attributes = attributes.list()?.iter().filter_map(Value::atom).map(str::to_owned);
                    let name = name.octets()?.to_vec();
                    Some(Self::List(ListedFolder { attributes: attributes.collect(), name }))
                }
                _ => None,
            },
            b"STATUS" => match cursor.values()?.as_slice() {
                [name, items] => Some(Self::FolderStatus(name.octets()?.to_vec(), counts(items.list()?))),
                _ => None,
            },
            b"SEARCH" => {
                let numbers = words(cursor.rest()).into_iter().take_while(|word| !word.starts_with('('));
                numbers.map(|word| word.parse().ok()).collect::<Option<_>>().map(Self::Search)
            }
            _ => Some(Self::Other),
        }
    }

    /// A response that begins with the number of a message, or of messages.
    fn numbered(number: u32, mut cursor: Cursor<'_>) -> Option<Self> {
        match cursor.word().to_ascii_uppercase().as_slice() {
            b"EXISTS" => Some(Self::Exists(number)),
            b"EXPUNGE" => Some(Self::Expunge(number)),
            b"FETCH" => match cursor.values()?.as_slice() {
                [Value::List(items)] => Some(Self::Fetch(number, fetched(items)?)),
                _ => None,
            },
            _ => Some(Self::Other),
        }
    }
}

fn status(condition: Condition, rest: &[u8]) -> Status {
    let text = String::from_utf8_lossy(rest);
    let coded = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    match coded {
        Some((code, text)) => Status { condition, code: Some(code.to_owned()), text: text.trim().to_owned() },
        None => Status { condition, code: None, text: text.trim().to_owned() },
    }
}

/// Words between blanks.
pub(super) fn words(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text).split_ascii_whitespace().map(str::to_owned).collect()
}

/// Pairs of a name and a value.
fn pairs(values: &[Value]) -> impl Iterator<Item = (String, &Value)> {
    let name =
        |pair: &[Value]| pair[0].octets().map(|name| String::from_utf8_lossy(name).to_ascii_uppercase());
    values.chunks_exact(2).filter_map(move |pair| Some((name(pair)?, &pair[1])))
}

fn program_name(values: &[Value]) -> Option<String> {
    let fields = values.first()?.list()?;
    let (_, name) = pairs(fields).find(|(key, _)| key == "NAME")?;
    Some(String::from_utf8_lossy(name.octets()?).into_owned())
}

fn counts(items: &[Value]) -> FolderCounts {
    let number = |wanted: &str| pairs(items).find(|(name, _)| name == wanted)?.1.number();
    FolderCounts { messages: number("MESSAGES"), unseen: number("UNSEEN") }
}

fn fetched(items: &[Value]) -> Option<FetchedMessage> {
    let mut message = FetchedMessage::default();
    for (name, value) in pairs(items) {
        match name.as_str() {
            "UID" => message.uid = Some(u32::try_from(value.number()?).ok()?),
            "FLAGS" => message.flags = Some(MessageFlags::of(value.list()?)),
            "RFC822.SIZE" => message.octets = Some(value.number()?),
            "INTERNALDATE" => message.internal_date = value.octets().map(<[u8]>::to_vec),
            name if name.starts_with("BODY[") => message.section = Some(value.octets()?.to_vec()),
            _ => {}
        }
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Response> {
        Response::parse(text.as_bytes())
    }

    fn status(condition: Condition, code: Option<&str>, text: &str) -> Status {
        Status { condition, code: code.map(str::to_owned), text: text.into() }
    }

    #[test]
    fn the_responses_of_servers_are_understood() {
        let listed = |attributes: &[&str], name: &str| {
            let attributes = attributes.iter().map(|name| (*name).to_owned()).collect();
            Some(Response::List(ListedFolder { attributes, name: name.into() }))
        };
        let message = FetchedMessage {
            uid: Some(7),
            flags: Some(MessageFlags { seen: true, flagged: true, ..MessageFlags::default() }),
            octets: Some(208),
            internal_date: Some(b" 1-Nov-2026 02:44:25 +0100".to_vec()),
            section: Some(b"Subject: x\r\n\r\n".to_vec()),
        };
        for (text, expected) in [
            (
                "* OK [CAPABILITY IMAP4rev1] hi",
                Some(Response::Status(status(Condition::Ok, Some("CAPABILITY IMAP4rev1"), "hi"))),
            ),
            (
                "a1 NO [AUTHENTICATIONFAILED] no",
                Some(Response::Tagged(
                    "a1".into(),
                    status(Condition::No, Some("AUTHENTICATIONFAILED"), "no"),
                )),
            ),
            ("a1 OK", Some(Response::Tagged("a1".into(), status(Condition::Ok, None, "")))),
            ("+", Some(Response::Continue)),
            (
                "* LIST (\\HasNoChildren \\Trash) \".\" Trash",
                listed(&["\\HasNoChildren", "\\Trash"], "Trash"),
            ),
            ("* LIST () NIL \"a b\"", listed(&[], "a b")),
            (
                "* LIST (\\Noselect) \"/\" {3}\r\nx\"y (\"CHILDINFO\" (\"SUBSCRIBED\"))",
                listed(&["\\Noselect"], "x\"y"),
            ),
            (
                "* STATUS INBOX (MESSAGES 3 UNSEEN 2 )",
                Some(Response::FolderStatus(
                    b"INBOX".to_vec(),
                    FolderCounts { messages: Some(3), unseen: Some(2) },
                )),
            ),
            ("* SEARCH", Some(Response::Search(Vec::new()))),
            ("* SEARCH 2 5 (MODSEQ 917162500)", Some(Response::Search(vec![2, 5]))),
            ("* 18 exists", Some(Response::Exists(18))),
            ("* 3 EXPUNGE", Some(Response::Expunge(3))),
            (
                "* 2 FETCH (UID 7 FLAGS (\\Seen \\flagged $x) RFC822.SIZE 208 INTERNALDATE \" 1-Nov-2026 02:44:25 +0100\" MODSEQ (5) BODY[HEADER] {14}\r\nSubject: x\r\n\r\n)",
                Some(Response::Fetch(2, message)),
            ),
            ("* ID (\"name\" \"restante\" \"version\" NIL)", Some(Response::Id(Some("restante".into())))),
            ("* ID NIL", Some(Response::Id(None))),
            ("* 0 RECENT", Some(Response::Other)),
            ("* FLAGS (x)", Some(Response::Other)),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn y115_a_response_that_is_none_is_no_empty_one() {
        for text in [
            "",
            "*",
            "OK",
            "-ERR x",
            "220 mx ESMTP",
            "+OK ready",
            "* SEARCH 1 x",
            "* SEARCH 99999999999",
            "* 1 FETCH (UID x)",
            "* 1 FETCH (FLAGS 5)",
            "* 1 FETCH",
            "* 99999999999 EXISTS",
            "* LIST () \"/\"",
            "* STATUS x",
            "a1 MAYBE",
        ] {
            let parsed = parse(text);
            assert!(matches!(parsed, None | Some(Response::Other)), "{text}: {parsed:?}");
            assert!(text == "*" || parsed.is_none(), "{text}: {parsed:?}");
        }
    }

    proptest! {
        #[test]
        fn y115_any_octets_are_a_response_or_none(
            begin in prop::sample::select(vec!["* ", "a1 ", "+ ", "* 1 FETCH (", "* LIST ", "* STATUS ", "* SEARCH "]),
            rest in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            Response::parse(&[begin.as_bytes(), &rest].concat());
        }
    }
}
