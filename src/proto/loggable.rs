//! The argument of a command as a log or a transcript may have it.
//!
//! The rule: an argument is shown as far as it consists of the words that its command takes. Any other word may be a
//! password that a mistaken client has put there, as in `NOOP AUTH PLAIN …`, so it is masked with all that follow it. The
//! session reacts to the mask as to the original.

use std::borrow::Cow;

use super::{
    protocol::Protocol,
    smtp::{address, command_table},
    syntax::Syntax,
};

/// Returns the argument of a known command, masked where it may be a secret. AUTH, and POP3's USER, PASS and APOP, have
/// rules of their own.
pub fn argument<'a>(protocol: Protocol, verb: &[u8], argument: &'a [u8]) -> Cow<'a, [u8]> {
    let name = verb.to_ascii_uppercase();
    let is_shown: fn(usize, &[u8]) -> bool = match (protocol, name.as_slice()) {
        (Protocol::Pop3, b"LIST" | b"RETR" | b"DELE" | b"UIDL" | b"TOP") => |_, word| is_number(word),
        (Protocol::Pop3, b"LANG" | b"RPOP") => |n, word| n == 0 && is_name(word),
        (Protocol::Pop3, _) => |_, _| false,
        (_, b"MAIL") => return envelope(argument, b"FROM"),
        (_, b"RCPT") => return envelope(argument, b"TO"),
        (_, b"BDAT") => |_, word| is_number(word) || word.eq_ignore_ascii_case(b"LAST"),
        (_, b"HELP") => |n, word| n == 0 && command_table::find_command(word).is_some(),
        (_, b"DATA" | b"RSET" | b"NOOP" | b"QUIT" | b"STARTTLS" | b"TURN") => |_, _| false,
        // The name of a client, a user or a list.
        _ => |n, word| n == 0 && is_name(word),
    };
    match words(argument, 0).enumerate().find(|(n, (_, word))| !is_shown(*n, word)) {
        // TOP looks for a message of that name if a number follows, and refuses its form if not.
        Some((0, (0, word))) if name == b"TOP" && is_lines(&argument[word.len()..]) => {
            Cow::Owned(b"*** 0".to_vec())
        }
        Some((_, (at, _))) => [&argument[..at], MASK].concat().into(),
        None => argument.into(),
    }
}

/// The argument of MAIL and RCPT: a path and parameters.
fn envelope<'a>(argument: &'a [u8], keyword: &[u8]) -> Cow<'a, [u8]> {
    let end = path_end(argument, keyword);
    let mut shown = argument[..end].to_vec();
    for (at, word) in words(argument, end) {
        shown.extend_from_slice(&argument[argument[..at].trim_ascii_end().len().max(end)..at]);
        match parameter(word) {
            Parameter::Shown => shown.extend_from_slice(word),
            Parameter::Masked { value_at, mask } => {
                shown.extend_from_slice(&word[..value_at]);
                shown.extend_from_slice(mask);
            }
            Parameter::HidesRest { value_at } => {
                return [&shown, &word[..value_at], MASK].concat().into();
            }
        }
    }
    if shown == argument { argument.into() } else { shown.into() }
}

/// The octets up to the end of the path. Without a path there, these are the keyword and one word.
fn path_end(argument: &[u8], keyword: &[u8]) -> usize {
    let word_end = |from: usize| {
        let start = argument.len() - argument[from..].trim_ascii_start().len();
        start + memchr::memchr(b' ', &argument[start..]).unwrap_or(argument.len() - start)
    };
    let Some((start, rest)) = argument.split_at_checked(keyword.len()) else { return word_end(0) };
    if !start.eq_ignore_ascii_case(keyword) {
        return word_end(0);
    }
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b":").unwrap_or(rest).trim_ascii_start();
    match address::path(rest, Syntax::Forgiving) {
        Ok((_, rest)) => argument.len() - rest.len(),
        Err(_) => word_end(argument.len() - rest.len()),
    }
}

/// A word after the path.
enum Parameter {
    Shown,
    /// The value may be a secret, and the session goes on to the next word.
    Masked {
        value_at: usize,
        mask: &'static [u8],
    },
    /// The session refuses the command because of this word.
    HidesRest {
        value_at: usize,
    },
}

fn parameter(word: &[u8]) -> Parameter {
    let end = memchr::memchr(b'=', word).unwrap_or(word.len());
    let (name, value) = (word[..end].to_ascii_uppercase(), word.get(end + 1..));
    let is_shown = match (name.as_slice(), value) {
        (b"SIZE", Some(value)) => is_number(value),
        (b"BODY", Some(value)) => {
            [&b"7BIT"[..], b"8BITMIME", b"BINARYMIME"].iter().any(|known| known.eq_ignore_ascii_case(value))
        }
        // A mailbox (RFC 4954 section 5). Anything else may belong to a mistaken login.
        (b"AUTH", Some(value)) if value != b"<>" && !value.contains(&b'@') => {
            let is_xtext = value.iter().all(|b| b.is_ascii_graphic() && *b != b'=') && !value.is_empty();
            return Parameter::Masked { value_at: end + 1, mask: if is_xtext { MASK } else { b"***=" } };
        }
        (b"AUTH" | b"RET" | b"ENVID" | b"NOTIFY" | b"ORCPT", _) | (b"SIZE" | b"BODY" | b"SMTPUTF8", None) => {
            true
        }
        (b"SMTPUTF8", Some(_)) => false,
        _ => return Parameter::HidesRest { value_at: 0 },
    };
    if is_shown { Parameter::Shown } else { Parameter::HidesRest { value_at: end + 1 } }
}

/// The words from that octet on, each with its place.
fn words(argument: &[u8], from: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = from;
    argument[from..].split(|&b| b == b' ').filter_map(move |word| {
        let place = at;
        at += word.len() + 1;
        (!word.is_empty()).then_some((place, word))
    })
}

fn is_number(word: &[u8]) -> bool {
    word.iter().all(|b| b.is_ascii_digit() || b"+-".contains(b))
}

/// The lines of TOP, after a blank.
fn is_lines(rest: &[u8]) -> bool {
    rest.strip_prefix(b" ").is_some_and(|lines| !lines.is_empty() && lines.iter().all(u8::is_ascii_digit))
}

/// A name may be anything but base64 with its padding, or a word and its value.
fn is_name(word: &[u8]) -> bool {
    !word.iter().any(|b| b.is_ascii_control() || *b == b'=')
}

/// The mask of a word, and of all that follow it.
const MASK: &[u8] = b"***";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(protocol: Protocol, line: &str) -> String {
        let (verb, rest) = line.split_once(' ').unwrap();
        let shown = argument(protocol, verb.as_bytes(), rest.as_bytes());
        format!("{verb} {}", String::from_utf8_lossy(&shown))
    }

    #[test]
    fn t24_an_argument_is_shown_as_far_as_its_command_takes_it() {
        for (line, expected) in [
            ("HELP AUTH PLAIN AGJvYg==", "HELP AUTH ***"),
            ("HELP hunter2", "HELP ***"),
            ("NOOP AUTH PLAIN x", "NOOP ***"),
            ("EHLO AUTH LOGIN", "EHLO AUTH ***"),
            ("EHLO client.test", "EHLO client.test"),
            ("EHLO PASS=x", "EHLO ***"),
            ("VRFY bob hunter2", "VRFY bob ***"),
            ("QUIT hunter2", "QUIT ***"),
            ("BDAT 10 LAST", "BDAT 10 LAST"),
            ("BDAT 10 hunter2", "BDAT 10 ***"),
            ("MAIL FROM:<bob> PASS=x", "MAIL FROM:<bob> ***"),
            ("MAIL FROM:<bob> hunter2 SIZE=5", "MAIL FROM:<bob> ***"),
            ("MAIL FROM:bob hunter2", "MAIL FROM:bob ***"),
            ("MAIL FROM bob hunter2", "MAIL FROM bob ***"),
            ("MAIL bob hunter2", "MAIL bob ***"),
            ("MAIL FROM:<bob hunter2>", "MAIL FROM:<bob ***"),
            ("MAIL FROM:<bob>PASS=x", "MAIL FROM:<bob>***"),
            (
                "MAIL FROM:<a@b.test>  SIZE=5 BODY=8BITMIME SMTPUTF8",
                "MAIL FROM:<a@b.test>  SIZE=5 BODY=8BITMIME SMTPUTF8",
            ),
            ("MAIL FROM:<a@b.test> AUTH=<> RET=HDRS", "MAIL FROM:<a@b.test> AUTH=<> RET=HDRS"),
            ("MAIL FROM:<a@b.test> AUTH=a@b.test", "MAIL FROM:<a@b.test> AUTH=a@b.test"),
            ("MAIL FROM:<a@b.test> AUTH=x SIZE=5", "MAIL FROM:<a@b.test> AUTH=*** SIZE=5"),
            ("MAIL FROM:<a@b.test> AUTH=PLAIN AGJvYg==", "MAIL FROM:<a@b.test> AUTH=*** ***"),
            ("MAIL FROM:<a@b.test> AUTH PLAIN x", "MAIL FROM:<a@b.test> AUTH ***"),
            ("MAIL FROM:<a@b.test> SIZE=x", "MAIL FROM:<a@b.test> SIZE=***"),
            ("RCPT TO:<\"a b\"@c.test>", "RCPT TO:<\"a b\"@c.test>"),
            ("RCPT TO : a@b.test", "RCPT TO : a@b.test"),
            ("RCPT TO:<a@b.test> PASSWORD x", "RCPT TO:<a@b.test> ***"),
        ] {
            assert_eq!(shown(Protocol::Smtp, line), expected, "{line}");
        }
        for (line, expected) in [
            ("STAT PASS hunter2", "STAT ***"),
            ("NOOP AUTH PLAIN x", "NOOP ***"),
            ("LIST 1 pass hunter2", "LIST 1 ***"),
            ("TOP 1 0", "TOP 1 0"),
            ("TOP hunter2 12", "TOP *** 0"),
            ("TOP hunter2 x", "TOP ***"),
            ("RETR -1", "RETR -1"),
            ("LANG fr-CA", "LANG fr-CA"),
            ("LANG fr hunter2", "LANG fr ***"),
        ] {
            assert_eq!(shown(Protocol::Pop3, line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn t24_no_known_command_brings_a_word_after_its_own_to_light(
            row in 0..command_table::COMMANDS.len(), before in "( ?(AUTH|PASS|PLAIN|LOGIN|=|:|FROM:|TO:|<bob>|bob|<|SIZE=1|AUTH=)){0,5}",
            joint in "[ ]{1,2}", after in "[ -~]{0,20}", first in "(x|FROM:<bob>|TO:<bob>|FROM:bob|FROM bob) ",
        ) {
            let verb = command_table::COMMANDS[row].name;
            // The first word is the name of a client or a user, or a path.
            let line = [first.as_bytes(), before.as_bytes(), joint.as_bytes(), b"hunter2", after.as_bytes()].concat();
            let shown = argument(Protocol::Smtp, verb.as_bytes(), &line);
            let is_hidden = memchr::memmem::find(&shown, b"hunter2").is_none();
            prop_assert!(is_hidden, "{verb} {}: {}", line.escape_ascii(), shown.escape_ascii());
        }
    }
}
