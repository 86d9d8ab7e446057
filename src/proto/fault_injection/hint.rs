//! Tells a tester that a tag looks like a fault on demand and is none, or does nothing at this place.
//!
//! The rule: a tag that looks like no fault is a folder, and no word is lost about it.

use crate::{
    near_name::{is_begin, most_in_accepted, slips},
    proto::{
        injection::{InjectedFault, REFUSED},
        protocol::Protocol,
    },
};

/// The place of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// RCPT.
    Recipient,
    /// The name of a login, by IMAP, by POP3 or for sending.
    Login(Protocol),
}

impl Place {
    /// True if the fault does nothing here.
    fn loses(self, fault: InjectedFault) -> bool {
        match self {
            Self::Recipient => !fault.is_for_recipients(),
            Self::Login(Protocol::Imap) => !fault.is_for_imap(),
            Self::Login(_) => !fault.is_for_pop3(),
        }
    }
}

/// The sentences for the next reply of a session.
#[derive(Debug)]
pub(super) struct Remarks {
    /// A sentence about a tag.
    hint: Option<String>,
    /// A sentence about the form of the login name. It is no event: nothing was asked for in vain.
    note: Option<String>,
    /// Whether replies have notes.
    has_notes: bool,
}

impl Default for Remarks {
    fn default() -> Self {
        Self { hint: None, note: None, has_notes: true }
    }
}

impl Remarks {
    pub(super) fn set_notes(&mut self, has_notes: bool) {
        self.has_notes = has_notes;
    }

    /// Replaces the hint, if there is another one.
    pub(super) fn set_hint(&mut self, hint: Option<String>) {
        self.hint = hint.or(self.hint.take());
    }

    pub(super) fn set_note(&mut self, note: String) {
        self.note = Some(note);
    }

    /// Replaces both by those about the name of a login.
    pub(super) fn begin_login(&mut self, user: &str, protocol: Protocol) {
        self.hint = hint(user, Place::Login(protocol));
        self.note = note_of_name(user, protocol).map(str::to_owned);
    }

    /// Adds them to a reply, if it has text for people already; otherwise the next reply gets them. Returns the hint that was added.
    pub(super) fn append_to(&mut self, reply: &mut Vec<u8>, protocol: Protocol) -> Option<String> {
        let hint = self.hint.take_if(|hint| append(hint, protocol, reply));
        self.note.take_if(|note| !self.has_notes || append(note, protocol, reply));
        hint
    }
}

/// A sentence about a tag in the address of a recipient, for a message that comes by HTTP.
pub fn hint_for_recipient(local: &str) -> Option<String> {
    hint(local, Place::Recipient)
}

/// A sentence about the first tag of a local part or login name that is not what its writer believes.
pub(super) fn hint(name: &str, place: Place) -> Option<String> {
    let local = name.rfind('@').map_or(name, |at| &name[..at]);
    let (_, detail) = local.split_once('+')?;
    let words: Vec<String> = detail.split('+').map(str::to_ascii_lowercase).collect();
    let faults: Vec<Option<InjectedFault>> =
        words.iter().map(|word| InjectedFault::from_name(word)).collect();
    if let Some(wrong) = faults.iter().position(Option::is_none) {
        let suggested = words.iter().zip(&faults).filter(|(_, fault)| fault.is_none());
        let near = suggested.clone().find_map(|(word, _)| Some((word, suggestion(word, place)?)));
        return match near {
            Some((word, near)) => Some(format!("+{word} is no fault on demand, {near}")),
            None if faults.iter().any(Option::is_some) && is_plain(&words[wrong]) => {
                Some(format!("+{} is no fault on demand, and so the others do nothing", words[wrong]))
            }
            None => None,
        };
    }
    let (word, lost) = words.iter().zip(faults.iter().flatten()).find(|(_, fault)| place.loses(**fault))?;
    let right_place = match (lost.is_for_pop3(), lost.is_for_imap()) {
        (true, true) => "a fault for POP3 and IMAP: log in with it",
        (true, false) => "a fault for POP3: log in with it",
        (false, true) => "a fault for IMAP: log in with it",
        (false, false) => "a fault for a recipient: send to it",
    };
    Some(format!("+{word} is {right_place}"))
}

/// A sentence about a login name that is written as in SMTP, has the password in it, or is half an address. No such name is an
/// account, so it reveals nothing.
fn note_of_name(name: &str, protocol: Protocol) -> Option<&'static str> {
    if name.contains(['<', '>']) {
        Some("a login name stands without angle brackets")
    } else if protocol == Protocol::Pop3 && name.contains(' ') && !name.contains('"') {
        Some("USER takes the name alone, and PASS takes the password in a line of its own")
    } else if is_half_address(name) {
        Some("that is no mail address: a login name is one like bob@example.test")
    } else {
        None
    }
}

/// Whether a name is an address without its local part or its domain, or with a second at sign.
fn is_half_address(name: &str) -> bool {
    let half = |(local, domain): (&str, &str)| local.is_empty() || domain.is_empty() || domain.contains('@');
    !name.contains('"') && name.split_once('@').is_some_and(half)
}

/// Adds a sentence to the first line of a reply that has text for people. Returns false if the reply has no such line yet.
fn append(hint: &str, protocol: Protocol, reply: &mut Vec<u8>) -> bool {
    let mut start = 0;
    while let Some(length) = memchr::memmem::find(&reply[start..], b"\r\n") {
        let second = reply[start..start + length].split(|&b| b == b' ').nth(1);
        let end = start + length;
        if protocol != Protocol::Imap || matches!(second, Some(b"OK" | b"NO" | b"BAD")) {
            if length + hint.len() < MAX_REPLY {
                reply.splice(end..end, format!("; {hint}").into_bytes());
            }
            return true;
        }
        start = end + 2;
    }
    false
}

/// The fault that a word resembles; of several that are as near, one that does something at this place.
fn suggestion(word: &str, place: Place) -> Option<String> {
    if !is_plain(word) {
        return None;
    }
    let typed = letters(word);
    let codes = word.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 3);
    if let Some(code) = codes {
        if word == code {
            return Some("the codes from 400 to 599 are".into());
        }
        // `452-after-data`, and `after-dot-452`.
        let most = if word.starts_with(code) { 4 } else { 1 };
        if slips(&typed, "afterdot", most).is_some() {
            let code = if InjectedFault::from_name(code).is_some() { code } else { "452" };
            return Some(format!("did you mean +{code}-after-dot?"));
        }
    }
    if let Some(command) = word.strip_prefix("no-on-") {
        return Some(command_suggestion(command));
    }
    let is_long = |digits: &str| digits.len() > MAX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if word.split('-').any(is_long) && NAMES.iter().any(|name| letters(name) == typed) {
        return Some("a number has six digits at most".into());
    }
    let is_lost = |name: &str| InjectedFault::from_name(name).is_some_and(|fault| place.loses(fault));
    let near = NAMES.iter().filter_map(|&name| Some(((distance(word, name)?, is_lost(name)), name)));
    let (_, name) = near.min_by_key(|(rank, _)| *rank)?;
    Some(format!("did you mean +{}?", with_number_of(word, name).unwrap_or(name.to_owned())))
}

/// The distance between a word and the name of a fault, if that may be meant: the slips of the hand in the letters; more if its
/// parts stand in another order, or if it is a beginning.
fn distance(word: &str, name: &str) -> Option<usize> {
    let (typed, known) = (letters(word), letters(name));
    let most = match known.len() {
        0..5 => usize::from(sorted(typed.chars()) == sorted(known.chars())),
        5..8 => 1,
        _ => 2,
    };
    let reordered = || slips(&sorted(parts(word)).concat(), &sorted(parts(name)).concat(), most);
    let has_digit = |text: &str| text.contains(|c: char| c.is_ascii_digit());
    let begins = || {
        let is_cut = word.contains(|c: char| !c.is_ascii_alphabetic());
        let is_begin = typed.len() >= 3 && known.starts_with(&typed) && is_cut;
        is_begin.then(|| 2 + usize::from(has_digit(word) != has_digit(name)))
    };
    slips(&typed, &known, most).or_else(|| reordered().map(|slips| 1 + slips)).or_else(begins)
}

/// The command of IMAP that a fault can refuse and that is meant, or all of them.
fn command_suggestion(typed: &str) -> String {
    let commands = REFUSED.iter().map(|(name, _)| *name);
    let near = commands.clone().find(|name| slips(typed, name, most_in_accepted(name)).is_some());
    match near.or_else(|| commands.clone().find(|name| is_begin(typed, name))) {
        Some(name) => format!("did you mean +no-on-{name}?"),
        None => format!("these commands can be refused: {}", commands.collect::<Vec<_>>().join(", ")),
    }
}

/// The name of a fault with the number that was typed, or without one, if that makes a fault.
fn with_number_of(word: &str, name: &str) -> Option<String> {
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let (typed, known) = (digits(word), digits(name));
    let name = name.replace(&known, &typed);
    let name = name.trim_end_matches('-');
    let is_fault = !known.is_empty() && word.contains(&typed) && InjectedFault::from_name(name).is_some();
    is_fault.then(|| name.to_owned())
}

/// The characters that a reply may repeat.
fn is_plain(word: &str) -> bool {
    (1..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn letters(word: &str) -> String {
    parts(word).collect()
}

/// The runs of letters in a word.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !c.is_ascii_alphabetic()).filter(|part| !part.is_empty())
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}

/// Octets of a reply line (RFC 5321 section 4.5.3.1.5, RFC 2449 section 4).
const MAX_REPLY: usize = 500;
/// Digits of a number in the name of a fault.
const MAX_DIGITS: usize = 6;
/// The faults that have a name, as a tester writes them.
const NAMES: &[&str] = &[
    "drop-at-1000",
    "drop-after-dot",
    "drop-before-quit-answer",
    "cut-at-500",
    "slow-quit-3",
    "slow-3",
    "drip-100",
    "wrong-password",
    "wrong-size",
    "new-uidls",
    "in-use-2",
    "first-3-451",
    "no-on-select",
    "no-on-fetch",
    "no-on-store",
    "no-on-append",
    "no-on-expunge",
    "bye-at-500",
    "drop-after-append",
    "new-uidvalidity",
    "silent-idle",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h07_a_tag_that_looks_like_a_fault_and_is_none_is_told_with_the_one_that_is() {
        for (name, told) in [
            (
                "bob+452-afterdot@example.test",
                "+452-afterdot is no fault on demand, did you mean +452-after-dot?",
            ),
            ("bob+452-after-data", "+452-after-data is no fault on demand, did you mean +452-after-dot?"),
            ("bob+250", "+250 is no fault on demand, the codes from 400 to 599 are"),
            ("bob+droop-after-dot", "+droop-after-dot is no fault on demand, did you mean +drop-after-dot?"),
            ("bob+drop-1000", "+drop-1000 is no fault on demand, did you mean +drop-at-1000?"),
            ("bob+slow2", "+slow2 is no fault on demand, did you mean +slow-2?"),
            ("bob+slowquit7", "+slowquit7 is no fault on demand, did you mean +slow-quit-7?"),
            ("bob+drip-0", "+drip-0 is no fault on demand, did you mean +drip-100?"),
            ("bob+Wrong_Size", "+wrong_size is no fault on demand, did you mean +wrong-size?"),
            ("bob+452+lists", "+lists is no fault on demand, and so the others do nothing"),
        ] {
            for place in [Place::Recipient, Place::Login(Protocol::Pop3), Place::Login(Protocol::Imap)] {
                assert_eq!(hint(name, place).as_deref(), Some(told), "{name}");
            }
        }
    }

    #[test]
    fn h58_u136_a_login_name_in_brackets_or_with_the_password_in_it_is_told() {
        for name in ["<bob@example.test>", "Bob <bob@example.test>", "<bob", "bob>"] {
            for protocol in [Protocol::Pop3, Protocol::Imap, Protocol::Smtp] {
                assert!(note_of_name(name, protocol).unwrap().contains("angle brackets"), "{name}");
            }
        }
        assert!(note_of_name("bob@example.test any", Protocol::Pop3).unwrap().contains("PASS"));
        for name in ["bob@", "@example.test", "bob@@example.test", "a@b@example.test", "@"] {
            for protocol in [Protocol::Pop3, Protocol::Imap, Protocol::Smtp] {
                assert!(note_of_name(name, protocol).unwrap().contains("no mail address"), "{name}");
            }
        }
        for (name, protocol) in [
            ("bob", Protocol::Pop3),
            ("\"bob@home\"@example.test", Protocol::Pop3),
            ("bob+452@example.test", Protocol::Imap),
            ("bob@example.test", Protocol::Pop3),
            ("\"bob the builder\"@example.test", Protocol::Pop3),
            ("bob@example.test any", Protocol::Imap),
        ] {
            assert_eq!(note_of_name(name, protocol), None, "{name}");
        }
    }

    #[test]
    fn u118_a_slip_in_a_short_name_another_order_and_a_beginning_are_told() {
        let (recipient, pop3, imap) =
            (Place::Recipient, Place::Login(Protocol::Pop3), Place::Login(Protocol::Imap));
        for (word, place, meant) in [
            ("slwo", recipient, "slow"),
            ("solw-5", pop3, "slow-5"),
            ("dirp", recipient, "drip-100"),
            ("after-dot-550", recipient, "550-after-dot"),
            ("after-dto-550", recipient, "550-after-dot"),
            ("dot-after-drop", recipient, "drop-after-dot"),
            ("size-wrong", pop3, "wrong-size"),
            ("at-cut-700", imap, "cut-at-700"),
            ("quit-slow", pop3, "slow-quit"),
            ("no-on-sel", imap, "no-on-select"),
            ("no-on-serach", imap, "no-on-search"),
            ("no-on", imap, "no-on-select"),
            ("drop-after", recipient, "drop-after-dot"),
            ("drop-after", imap, "drop-after-append"),
            ("new-uid", pop3, "new-uidls"),
            ("new-uid", imap, "new-uidvalidity"),
            ("wrong-pass", imap, "wrong-password"),
        ] {
            let told = format!("+{word} is no fault on demand, did you mean +{meant}?");
            assert_eq!(hint(&format!("bob+{word}@example.test"), place), Some(told), "{word}");
        }
        let told = hint("ann+no-on-delete@example.test", imap).unwrap();
        assert!(
            told.ends_with(
                "fault on demand, these commands can be refused: select, list, status, fetch, search, \
            store, append, copy, move, expunge"
            ),
            "{told}"
        );
        for folder in
            ["owls", "lows", "flow", "new", "drop", "wrong", "silent", "cut", "2026-100", "after-2026"]
        {
            assert_eq!(hint(&format!("bob+{folder}"), recipient), None, "{folder}");
        }
    }

    #[test]
    fn h19_a_number_that_is_too_long_is_told() {
        for word in ["cut-at-1000000", "drop-at-99999999", "slow-0000003", "first-1000000-451"] {
            let told = format!("+{word} is no fault on demand, a number has six digits at most");
            assert_eq!(hint(&format!("bob+{word}@example.test"), Place::Login(Protocol::Pop3)), Some(told));
        }
        assert!(
            hint("bob+cut-at-x", Place::Login(Protocol::Pop3))
                .unwrap()
                .ends_with("did you mean +cut-at-500?")
        );
    }

    #[test]
    fn h07_a_fault_of_the_other_protocol_is_told() {
        assert_eq!(
            hint("bob+cut-at-500@example.test", Place::Recipient).as_deref(),
            Some("+cut-at-500 is a fault for POP3 and IMAP: log in with it")
        );
        assert_eq!(
            hint("bob+slow+452", Place::Login(Protocol::Pop3)).as_deref(),
            Some("+452 is a fault for a recipient: send to it")
        );
    }

    #[test]
    fn y82_a_sentence_stands_in_a_line_for_people() {
        for (protocol, reply, expected) in [
            (Protocol::Smtp, "250-a\r\n250 b\r\n", Some("250-a; !\r\n250 b\r\n")),
            (
                Protocol::Imap,
                "* LIST () \".\" a\r\na OK Done\r\n",
                Some("* LIST () \".\" a\r\na OK Done; !\r\n"),
            ),
            (Protocol::Imap, "* 3 EXISTS\r\n", None),
            (Protocol::Imap, "", None),
        ] {
            let mut octets = reply.as_bytes().to_vec();
            assert_eq!(append("!", protocol, &mut octets), expected.is_some(), "{reply}");
            assert_eq!(String::from_utf8(octets).unwrap(), expected.unwrap_or(reply));
        }
    }

    #[test]
    fn y82_a_fault_of_pop3_is_told_in_imap_and_the_other_way_round() {
        for (name, protocol, told) in [
            ("bob+new-uidls", Protocol::Imap, "+new-uidls is a fault for POP3: log in with it"),
            ("bob+slow+bye-at-5", Protocol::Pop3, "+bye-at-5 is a fault for IMAP: log in with it"),
            ("bob+452", Protocol::Imap, "+452 is a fault for a recipient: send to it"),
            (
                "bob+no-on-selct",
                Protocol::Imap,
                "+no-on-selct is no fault on demand, did you mean +no-on-select?",
            ),
        ] {
            assert_eq!(hint(name, Place::Login(protocol)).as_deref(), Some(told));
        }
        let both = "bob+cut-at-5+wrong-password+slow+drip-9";
        assert_eq!(hint(both, Place::Login(Protocol::Imap)), None);
        assert_eq!(
            hint("bob+silent-idle", Place::Recipient).as_deref(),
            Some("+silent-idle is a fault for IMAP: log in with it")
        );
    }

    #[test]
    fn h07_nothing_is_said_about_folders_and_about_faults_in_their_place() {
        for name in ["bob", "bob+", "bob+lists", "bob+Sent@example.test", "bob+show", "bob+2026", "bob+12345"]
        {
            assert_eq!(hint(name, Place::Recipient), None, "{name}");
        }
        assert_eq!(hint("bob+452+slow@example.test", Place::Recipient), None);
        assert_eq!(hint("bob+cut-at-500+drip-100", Place::Login(Protocol::Pop3)), None);
        assert_eq!(hint("bob+\u{e9}452-after-dot", Place::Recipient), None, "no reply repeats it");
    }
}
