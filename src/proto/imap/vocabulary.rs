//! The vocabulary of IMAP, for readers of transcripts.

use super::{capabilities, command_table};
use crate::proto::{smtp::reply_codes::ReplyClass, vocabulary::Vocabulary};

/// The meaning of commands and replies.
pub const VOCABULARY: Vocabulary = Vocabulary {
    begins_tls: "RFC 9051 section 6.2.1",
    exchange: "RFC 9051 section 6.2.2",
    command,
    reply,
    listed: capabilities::MEANINGS,
    before_keyword: 0,
};

fn command(name: &[u8]) -> Option<(&'static str, &'static str)> {
    let row = command_table::COMMANDS.iter().find(|row| row.is_named(name));
    row.map(|row| (row.meaning, row.rfc))
}

/// A line that begins with `*` is an update or data, one with `+` lets the client go on, and any other ends the command with
/// that tag.
fn reply(line: &str) -> (String, Option<ReplyClass>) {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (second, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = || coded(text);
    match (first, second) {
        ("+", _) => ("go on, more is wanted".into(), Some(ReplyClass::Intermediate)),
        ("*", "OK") => (format!("information{}", code()), Some(ReplyClass::Success)),
        ("*", "NO") => (format!("a warning{}", code()), Some(ReplyClass::Transient)),
        ("*", "BAD") => (format!("not understood{}", code()), Some(ReplyClass::Permanent)),
        ("*", "PREAUTH") => ("logged in already".into(), Some(ReplyClass::Success)),
        ("*", "BYE") => (format!("the server closes the connection{}", code()), Some(ReplyClass::Transient)),
        ("*", number) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
            (numbered(number, text), None)
        }
        ("*", kind) => {
            let known = DATA.iter().find(|(known, _)| kind.eq_ignore_ascii_case(known));
            (known.map(|(_, meaning)| (*meaning).into()).unwrap_or_default(), None)
        }
        (_, "OK") => (format!("done{}", code()), Some(ReplyClass::Success)),
        (_, "NO") => (format!("no{}", code()), Some(ReplyClass::Permanent)),
        (_, "BAD") => {
            (format!("no such command, or not in this form{}", code()), Some(ReplyClass::Permanent))
        }
        _ => (String::new(), None),
    }
}

/// The meaning of a line about one message, or about their number.
fn numbered(number: &str, text: &str) -> String {
    match text.split(' ').next().unwrap_or_default() {
        "EXISTS" => format!("messages in the folder: {number}"),
        "RECENT" => "messages that no session has seen before".into(),
        "EXPUNGE" => format!("message {number} is gone, and each later one has the number before it now"),
        "FETCH" => format!("of message {number}"),
        _ => String::new(),
    }
}

/// The meaning of the code in brackets at the begin of a text, after a colon.
fn coded(text: &str) -> String {
    let code = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(code, _)| code);
    let Some(code) = code else { return String::new() };
    let name = code.split(' ').next().unwrap_or_default();
    match CODES.iter().find(|(known, _)| *known == name) {
        Some((_, meaning)) => format!("; {name}: {meaning}"),
        None => String::new(),
    }
}

/// The data of the server, by its first word.
const DATA: &[(&str, &str)] = &[
    ("CAPABILITY", "the extensions that this server has now"),
    ("ENABLED", "the extensions that this session uses from now on"),
    ("ESEARCH", "the messages found, in short"),
    ("FLAGS", "the flags that messages of the folder may have"),
    ("ID", "the name of the server"),
    ("LANGUAGE", "the languages of replies, or the one from now on"),
    ("LIST", "a folder: its properties, the separator of levels, its name"),
    ("LSUB", "a subscribed folder: its properties, the separator of levels, its name"),
    ("NAMESPACE", "the place of one's own folders, of other users' and of shared ones"),
    ("QUOTA", "use and limit; sizes in units of 1,024 octets"),
    ("QUOTAROOT", "the quota that holds for a folder"),
    ("SEARCH", "the messages found"),
    ("STATUS", "the numbers of a folder"),
];

/// The codes of replies (RFC 9051 section 7.1, RFC 5530 and the extensions).
const CODES: &[(&str, &str)] = &[
    ("ALERT", "for the user to read"),
    ("ALREADYEXISTS", "there is one of that name"),
    ("APPENDUID", "validity and UID of the message that was stored"),
    ("AUTHENTICATIONFAILED", "name or password are wrong"),
    ("AUTHORIZATIONFAILED", "the user may not do that"),
    ("BADCHARSET", "no search in that character set"),
    ("CANNOT", "the server never does that"),
    ("CAPABILITY", "the extensions that this server has now"),
    ("CLIENTBUG", "the client breaks a rule"),
    ("CLOSED", "the folder before this one is closed"),
    ("CONTACTADMIN", "the operator has to do something"),
    ("COPYUID", "validity, old UIDs and UIDs of the copies"),
    ("EXPUNGEISSUED", "a message is gone, and EXPUNGE will follow"),
    ("HASCHILDREN", "there are folders below it"),
    ("HIGHESTMODSEQ", "the number of the last change"),
    ("INUSE", "another session has it"),
    ("LIMIT", "that would be too many"),
    ("MODIFIED", "these have changed meanwhile, and stay as they are"),
    ("NOMODSEQ", "changes have no numbers here"),
    ("NONEXISTENT", "there is none of that name"),
    ("NOPERM", "the user may not do that"),
    ("OVERQUOTA", "the mailbox is full"),
    ("PERMANENTFLAGS", "the flags that the client may set"),
    ("PRIVACYREQUIRED", "TLS first"),
    ("READ-ONLY", "the client changes nothing"),
    ("READ-WRITE", "the client may change flags and remove messages"),
    ("SERVERBUG", "a mistake of the server"),
    ("TOOBIG", "the message is too large"),
    ("TRYCREATE", "there is no such folder; CREATE makes it"),
    ("UIDNEXT", "the UID that the next message gets, or a later one"),
    ("UIDNOTSTICKY", "UIDs do not last"),
    ("UIDVALIDITY", "while this number stays, a UID names the same message"),
    ("UNAVAILABLE", "not now, later perhaps"),
    ("UNSEEN", "the number of the first message that nobody has read"),
    ("USEATTR", "there is no such special use"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y84_every_line_of_the_server_is_explained() {
        use ReplyClass::{Intermediate, Permanent, Success, Transient};
        for (line, meaning, class) in [
            (
                "* OK [CAPABILITY IMAP4rev1] mx.test",
                "information; CAPABILITY: the extensions that this server has now",
                Some(Success),
            ),
            ("* 3 EXISTS", "messages in the folder: 3", None),
            ("* 2 EXPUNGE", "message 2 is gone, and each later one has the number before it now", None),
            ("* 2 FETCH (FLAGS ())", "of message 2", None),
            ("* LIST () \".\" INBOX", "a folder: its properties, the separator of levels, its name", None),
            ("* SEARCH", "the messages found", None),
            ("+ idling", "go on, more is wanted", Some(Intermediate)),
            ("a OK Done", "done", Some(Success)),
            (
                "a NO [TRYCREATE] No",
                "no; TRYCREATE: there is no such folder; CREATE makes it",
                Some(Permanent),
            ),
            ("a BAD Expected", "no such command, or not in this form", Some(Permanent)),
            ("* BYE Too slow", "the server closes the connection", Some(Transient)),
            (" FLAGS (\\Seen))", "", None),
            ("", "", None),
        ] {
            assert_eq!(reply(line), (meaning.to_owned(), class), "{line}");
        }
    }

    #[test]
    fn y84_the_explanations_are_sorted_and_short() {
        for names in [DATA, CODES] {
            assert!(names.is_sorted_by_key(|(name, _)| *name));
            assert!(names.iter().all(|(_, meaning)| meaning.len() < 80));
        }
    }
}
