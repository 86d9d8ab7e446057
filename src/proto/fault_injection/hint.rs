//! Tells a tester that a tag looks like a fault on demand and is none, or does nothing at this place.
//!
//! The rule: a tag that looks like no fault is a folder, and no word is lost about it.

use crate::proto::injection::InjectedFault;

/// The place of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// RCPT.
    Recipient,
    /// The name of a login, by POP3 or for sending.
    Login,
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
        let near = suggested.clone().find_map(|(word, _)| Some((word, suggestion(word)?)));
        return match near {
            Some((word, near)) => Some(format!("+{word} is no fault on demand, {near}")),
            None if faults.iter().any(Option::is_some) && is_plain(&words[wrong]) => {
                Some(format!("+{} is no fault on demand, and so the others do nothing", words[wrong]))
            }
            None => None,
        };
    }
    let is_lost = |fault: &InjectedFault| match place {
        Place::Recipient => !fault.is_for_recipients(),
        Place::Login => !fault.is_for_logins(),
    };
    let lost = faults.iter().position(|fault| fault.as_ref().is_some_and(is_lost))?;
    let right_place = match place {
        Place::Recipient => "a fault for POP3: log in with it",
        Place::Login => "a fault for a recipient: send to it",
    };
    Some(format!("+{} is {right_place}", words[lost]))
}

/// The fault that a word resembles.
fn suggestion(word: &str) -> Option<String> {
    if !is_plain(word) {
        return None;
    }
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (code, rest) = word.split_at(digits);
    if digits == 3 && rest.is_empty() {
        return Some("the codes from 400 to 599 are".into());
    }
    if digits == 3 && strsim::damerau_levenshtein(&letters(rest), "afterdot") <= 4 {
        let code = if InjectedFault::from_name(code).is_some() { code } else { "452" };
        return Some(format!("did you mean +{code}-after-dot?"));
    }
    let typed = letters(word);
    let is_near = |name: &&&str| {
        let known = letters(name);
        let most = match known.len() {
            0..5 => 0,
            5..8 => 1,
            _ => 2,
        };
        let is_begin =
            typed.len() >= 3 && known.starts_with(&typed) && word.contains(|c: char| c.is_ascii_digit());
        is_begin || strsim::damerau_levenshtein(&typed, &known) <= most
    };
    let is_long = |digits: &str| digits.len() > MAX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if word.split('-').any(is_long) && NAMES.iter().any(|name| letters(name) == typed) {
        return Some("a number has six digits at most".into());
    }
    NAMES.iter().find(is_near).map(|name| format!("did you mean +{name}?"))
}

/// The characters that a reply may repeat.
fn is_plain(word: &str) -> bool {
    (1..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn letters(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphabetic).collect()
}

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
            ("bob+drip-0", "+drip-0 is no fault on demand, did you mean +drip-100?"),
            ("bob+Wrong_Size", "+wrong_size is no fault on demand, did you mean +wrong-size?"),
            ("bob+452+lists", "+lists is no fault on demand, and so the others do nothing"),
        ] {
            for place in [Place::Recipient, Place::Login] {
                assert_eq!(hint(name, place).as_deref(), Some(told), "{name}");
            }
        }
    }

    #[test]
    fn h19_a_number_that_is_too_long_is_told() {
        for word in ["cut-at-1000000", "drop-at-99999999", "slow-0000003", "first-1000000-451"] {
            let told = format!("+{word} is no fault on demand, a number has six digits at most");
            assert_eq!(hint(&format!("bob+{word}@example.test"), Place::Login), Some(told));
        }
        assert!(hint("bob+cut-at-x", Place::Login).unwrap().ends_with("did you mean +cut-at-500?"));
    }

    #[test]
    fn h07_a_fault_of_the_other_protocol_is_told() {
        assert_eq!(
            hint("bob+cut-at-500@example.test", Place::Recipient).as_deref(),
            Some("+cut-at-500 is a fault for POP3: log in with it")
        );
        assert_eq!(
            hint("bob+slow+452", Place::Login).as_deref(),
            Some("+452 is a fault for a recipient: send to it")
        );
    }

    #[test]
    fn h07_nothing_is_said_about_folders_and_about_faults_in_their_place() {
        for name in ["bob", "bob+", "bob+lists", "bob+Sent@example.test", "bob+show", "bob+2026", "bob+12345"]
        {
            assert_eq!(hint(name, Place::Recipient), None, "{name}");
        }
        assert_eq!(hint("bob+452+slow@example.test", Place::Recipient), None);
        assert_eq!(hint("bob+cut-at-500+drip-100", Place::Login), None);
        assert_eq!(hint("bob+\u{e9}452-after-dot", Place::Recipient), None, "no reply repeats it");
    }
}
