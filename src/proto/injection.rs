//! A fault on demand as a value, parsed from an address. `fault_injection` causes the fault, and the log
//! records it.

use std::time::Duration;

/// One fault on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InjectedFault {
    /// `452`: the reply to RCPT.
    Rcpt(u16),
    /// `first-3-451`: the reply to the first three RCPTs with this address. Later ones are accepted.
    FirstRcpts(u64, u16),
    /// `452-after-dot`: the reply to the end of the message. The message is discarded.
    AfterDot(u16),
    /// `drop-after-dot`: the message is stored, and the connection ends without a reply.
    DropAfterDot,
    /// `drop-at-1000`: the connection ends when 1,000 octets have arrived after the reply 354.
    DropAt(u64),
    /// `slow`, `slow-3`: every reply is delayed by this time.
    Slow(Duration),
    /// `drip-100`: replies and messages are sent at 100 octets a second.
    Drip(u64),
    /// `wrong-password`: every password is refused.
    WrongPassword,
    /// `in-use-2`: the first two logins find the mailbox in use.
    InUse(u64),
    /// `cut-at-500`: the connection ends when 500 octets of a message have been sent.
    CutAt(u64),
    /// `wrong-size`: STAT and LIST add `SIZE_ADDED` octets to the size of each message; RETR does not.
    WrongSize,
    /// `new-uidls`: UIDL gives other ids in every session.
    NewUidls,
    /// `slow-quit`, `slow-quit-3`: the reply to QUIT is delayed by this time after the deletions are done.
    SlowQuit(Duration),
    /// `drop-before-quit-answer`: the deletions are done, and the connection ends without a reply.
    DropBeforeQuitAnswer,
}

impl InjectedFault {
    /// The faults that a local part asks for: the words after its first `+`, separated by further ones. If
    /// one word is not a fault, none of them counts: `bob+lists` and `bob+lists+452` name a folder.
    pub fn all_in(local: &str) -> Vec<Self> {
        let Some((_, detail)) = local.split_once('+') else { return Vec::new() };
        detail.split('+').map(Self::from_name).collect::<Option<_>>().unwrap_or_default()
    }

    /// Splits a login name or an address into the name without its faults, and the faults.
    pub fn split(name: &str) -> (String, Vec<Self>) {
        let (local, domain) = name.rfind('@').map_or((name, ""), |at| name.split_at(at));
        let injections = Self::all_in(local);
        let user = if injections.is_empty() { local } else { local.split('+').next().unwrap_or(local) };
        (format!("{user}{domain}"), injections)
    }

    /// A remark about a recipient whose words after the `+` look like faults and cause none.
    pub fn remark_on_recipient(local: &str) -> Option<String> {
        let other_protocol = |injection: &Self| !injection.applies_to_mail();
        match Self::all_in(local).iter().find(|injection| other_protocol(injection)) {
            Some(_) => {
                let words = local.split('+').skip(1);
                let word = words
                    .filter_map(|word| Some((word, Self::from_name(word)?)))
                    .find(|(_, injection)| other_protocol(injection));
                word.map(|(word, _)| format!("+{word} is a fault of the POP3 login, and does nothing here"))
            }
            None => Self::remark_on_name(local),
        }
    }

    /// A remark about a login name or an address with a word that looks like a fault and is none.
    pub fn remark_on_name(name: &str) -> Option<String> {
        let local = name.rsplit_once('@').map_or(name, |(local, _)| local);
        let words = || local.split('+').skip(1).filter(|word| !word.is_empty());
        if !Self::all_in(local).is_empty() {
            return None;
        }
        let near = words().filter(|word| Self::from_name(word).is_none()).find_map(|word| {
            let shape = shape_of(&word.to_ascii_lowercase());
            let distance = |shown: &str| strsim::damerau_levenshtein(&shape_of(shown), &shape);
            let (distance, shown) = EXAMPLES.iter().map(|shown| (distance(shown), shown)).min()?;
            let most = if shape.len() > 5 { 2 } else { usize::from(shape.len() > 3) };
            (distance <= most).then(|| format!("+{word} is no fault, but a folder: like +{shown}?"))
        });
        let other = || {
            let fault = words().find(|word| Self::from_name(word).is_some())?;
            let word = words().find(|word| Self::from_name(word).is_none())?;
            Some(format!("+{fault} does nothing beside +{word}, which is no fault"))
        };
        near.or_else(other)
    }

    /// Whether the fault happens to the mail for a recipient, and not to the session of a user.
    fn applies_to_mail(&self) -> bool {
        match self {
            Self::Rcpt(_)
            | Self::FirstRcpts(..)
            | Self::AfterDot(_)
            | Self::DropAfterDot
            | Self::DropAt(_)
            | Self::Slow(_)
            | Self::Drip(_) => true,
            Self::WrongPassword
            | Self::InUse(_)
            | Self::CutAt(_)
            | Self::WrongSize
            | Self::NewUidls
            | Self::SlowQuit(_)
            | Self::DropBeforeQuitAnswer => false,
        }
    }

    fn from_name(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let count = |prefix| word.strip_prefix(prefix).and_then(decimal);
        let seconds = |prefix| count(prefix).map(Duration::from_secs);
        Some(match word.as_str() {
            "drop-after-dot" => Self::DropAfterDot,
            "slow" => Self::Slow(SLOW),
            "wrong-password" => Self::WrongPassword,
            "wrong-size" => Self::WrongSize,
            "new-uidls" => Self::NewUidls,
            "slow-quit" => Self::SlowQuit(SLOW),
            "drop-before-quit-answer" => Self::DropBeforeQuitAnswer,
            _ => {
                let first = || {
                    let (tries, code) = word.strip_prefix("first-")?.split_once('-')?;
                    Some(Self::FirstRcpts(decimal(tries)?, self::code(code)?))
                };
                self::code(&word)
                    .map(Self::Rcpt)
                    .or_else(|| word.strip_suffix("-after-dot").and_then(self::code).map(Self::AfterDot))
                    .or_else(first)
                    .or_else(|| count("drop-at-").map(Self::DropAt))
                    .or_else(|| seconds("slow-quit-").map(Self::SlowQuit))
                    .or_else(|| seconds("slow-").map(Self::Slow))
                    .or_else(|| count("drip-").filter(|rate| *rate > 0).map(Self::Drip))
                    .or_else(|| count("in-use-").map(Self::InUse))
                    .or_else(|| count("cut-at-").map(Self::CutAt))?
            }
        })
    }
}

/// A word with a digit for each of its numbers, because any number may be meant.
fn shape_of(word: &str) -> String {
    let mut shape = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' if shape.ends_with('0') => {}
            '0'..='9' => shape.push('0'),
            c => shape.push(c),
        }
    }
    shape
}

/// A word for each kind of fault.
const EXAMPLES: [&str; 16] = [
    "452",
    "first-3-451",
    "452-after-dot",
    "drop-after-dot",
    "drop-at-1000",
    "slow",
    "slow-3",
    "drip-100",
    "wrong-password",
    "in-use-2",
    "cut-at-500",
    "wrong-size",
    "new-uidls",
    "slow-quit",
    "slow-quit-3",
    "drop-before-quit-answer",
];

/// The code of a refusal: 4xx or 5xx.
fn code(text: &str) -> Option<u16> {
    decimal(text)
        .filter(|_| text.len() == 3)
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (400..600).contains(code))
}

/// A number of at most six digits, for octets, seconds or attempts.
fn decimal(text: &str) -> Option<u64> {
    let digits = (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Delay of a slow reply if the address gives none.
const SLOW: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::{InjectedFault::*, *};

    #[test]
    fn an_address_says_what_shall_go_wrong() {
        for (local, injections) in [
            ("bob+452", vec![Rcpt(452)]),
            ("bob+550", vec![Rcpt(550)]),
            ("bob+421-after-dot", vec![AfterDot(421)]),
            ("BOB+First-3-451", vec![FirstRcpts(3, 451)]),
            ("bob+slow-3+drip-100", vec![Slow(Duration::from_secs(3)), Drip(100)]),
            ("bob+slow-quit-1", vec![SlowQuit(Duration::from_secs(1))]),
        ] {
            assert_eq!(InjectedFault::all_in(local), injections, "{local}");
        }
    }

    #[test]
    fn n19_a_word_that_looks_like_a_fault_and_is_none_is_remarked_on() {
        for (local, remark) in [
            ("bob+452-afterdot", "+452-afterdot is no fault, but a folder: like +452-after-dot?"),
            ("bob+600", "+600 is no fault, but a folder: like +452?"),
            ("bob+Drop-at1000", "+Drop-at1000 is no fault, but a folder: like +drop-at-1000?"),
            ("bob+sloww-3", "like +slow-3?"),
            ("bob+in-use2", "like +in-use-2?"),
            ("bob+452+lists", "+452 does nothing beside +lists, which is no fault"),
            ("bob+cut-at-500", "+cut-at-500 is a fault of the POP3 login, and does nothing here"),
        ] {
            let said = InjectedFault::remark_on_recipient(local).unwrap_or_default();
            assert!(said.contains(remark), "{local}: {said}");
        }
        for local in
            ["bob", "bob+", "bob+lists", "bob+452", "bob+Sent", "bob+slow+drip-100", "bob+2026", "bob+a.b"]
        {
            let is_code = local == "bob+2026"; // a year looks like a code
            assert_eq!(InjectedFault::remark_on_recipient(local).is_some(), is_code, "{local}");
        }
        assert_eq!(InjectedFault::remark_on_name("bob+cut-at-500@example.test"), None);
        assert!(InjectedFault::remark_on_name("bob+cutat-500@example.test").is_some());
        assert!(EXAMPLES.iter().all(|shown| InjectedFault::from_name(shown).is_some()));
    }

    #[test]
    fn what_is_no_fault_is_a_folder() {
        for local in [
            "bob",
            "bob+",
            "bob+lists",
            "bob+lists+452",
            "bob+452+lists",
            "bob+250",
            "bob+600",
            "bob+4521",
            "bob+0452",
            "bob+drip-0",
            "bob+drip-",
            "bob+drop-at-1e3",
            "bob+drop-at-1234567",
            "bob+first-3",
            "bob+first--3-451",
        ] {
            assert_eq!(InjectedFault::all_in(local), [], "{local}");
        }
    }

    #[test]
    fn a_login_name_without_its_faults_is_the_users() {
        for (name, user) in [
            ("bob+in-use-2@example.test", "bob@example.test"),
            ("bob+in-use-2", "bob"),
            ("bob+Sent@example.test", "bob+Sent@example.test"),
            ("bob@example.test", "bob@example.test"),
        ] {
            assert_eq!(InjectedFault::split(name).0, user);
        }
    }

    #[test]
    fn the_manual_lists_every_fault_and_no_other() {
        let page = include_str!("../../docs/manual/faults.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `bob+")?.split_once("@`"));
        let mut kinds: Vec<_> = rows
            .map(|(word, _)| {
                std::mem::discriminant(&InjectedFault::from_name(word).unwrap_or_else(|| panic!("{word}")))
            })
            .collect();
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        kinds.dedup();
        assert_eq!(kinds.len(), 14, "kinds of faults in the table");
    }
}
