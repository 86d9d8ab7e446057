//! A fault on demand as a value, parsed from an address. `fault_injection` causes the fault, and the log
//! records it.

use std::time::Duration;

/// A fault that the user part of an address or user name asks for.
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
    /// `cut-at-500`: the connection ends when 500 octets of a message, or of the responses to a FETCH, have been sent.
    CutAt(u64),
    /// `wrong-size`: STAT and LIST add `SIZE_ADDED` octets to the size of each message; RETR does not.
    WrongSize,
    /// `new-uidls`: UIDL gives other ids in every session.
    NewUidls,
    /// `slow-quit`, `slow-quit-3`: the reply to QUIT is delayed by this time after the deletions are done.
    SlowQuit(Duration),
    /// `drop-before-quit-answer`: the deletions are done, and the connection ends without a reply.
    DropBeforeQuitAnswer,
    /// `no-on-select`: the command of IMAP is answered with NO.
    NoOn(ImapVerb),
    /// `bye-at-500`: when 500 octets have been sent after the login, the server says BYE after the response in hand.
    ByeAt(u64),
    /// `drop-after-append`: the message is stored, and the connection ends without a reply.
    DropAfterAppend,
    /// `new-uidvalidity`: the folders have other values in every session.
    NewUidValidity,
    /// `silent-idle`: IDLE sends no updates.
    SilentIdle,
}

/// A command of IMAP that a fault refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is a word of the RFC")]
pub enum ImapVerb {
    Select,
    List,
    Status,
    Fetch,
    Search,
    Store,
    Append,
    Copy,
    Move,
    Expunge,
}

/// The commands that a fault refuses, by the end of its name. EXAMINE counts as SELECT, LSUB as LIST.
pub(super) const REFUSED: &[(&str, ImapVerb)] = &[
    ("select", ImapVerb::Select),
    ("list", ImapVerb::List),
    ("status", ImapVerb::Status),
    ("fetch", ImapVerb::Fetch),
    ("search", ImapVerb::Search),
    ("store", ImapVerb::Store),
    ("append", ImapVerb::Append),
    ("copy", ImapVerb::Copy),
    ("move", ImapVerb::Move),
    ("expunge", ImapVerb::Expunge),
];

impl InjectedFault {
    /// The faults that a local part asks for: the words after its first `+`, separated by further ones. If
    /// one word is not a fault, none of them counts: `bob+lists` and `bob+lists+452` name a folder.
    pub fn all_in(local: &str) -> Vec<Self> {
        let Some((_, detail)) = local.split_once('+') else { return Vec::new() };
        detail.split('+').map(Self::from_name).collect::<Option<_>>().unwrap_or_default()
    }

    /// True if an address asks for a refusal with this code, of the recipient or of its message.
    #[cfg(feature = "tools")]
    pub(crate) fn is_asked_for(address: &str, code: u16) -> bool {
        let (_, injections) = Self::split(address);
        injections.iter().any(|injection| match *injection {
            Self::Rcpt(asked) | Self::FirstRcpts(_, asked) | Self::AfterDot(asked) => asked == code,
            _ => false,
        })
    }

    /// The code with which a message is refused that a client sends in one request, if one of these faults refuses it.
    pub(super) fn refusal(injections: &[Self]) -> Option<u16> {
        injections.iter().find_map(|injection| match *injection {
            Self::Rcpt(code) | Self::AfterDot(code) => Some(code),
            _ => None,
        })
    }

    /// Splits a login name or an address into the name without its faults, and the faults.
    pub fn split(name: &str) -> (String, Vec<Self>) {
        let (local, domain) = name.rfind('@').map_or((name, ""), |at| name.split_at(at));
        let injections = Self::all_in(local);
        let user = if injections.is_empty() { local } else { local.split('+').next().unwrap_or(local) };
        (format!("{user}{domain}"), injections)
    }

    /// True if it does something at a recipient.
    pub(super) fn is_for_recipients(self) -> bool {
        use InjectedFault::{AfterDot, Drip, DropAfterDot, DropAt, FirstRcpts, Rcpt, Slow};
        matches!(self, Rcpt(_) | FirstRcpts(..) | AfterDot(_) | DropAfterDot | DropAt(_) | Slow(_) | Drip(_))
    }

    /// True if it does something at a login by IMAP.
    pub(super) fn is_for_imap(self) -> bool {
        use InjectedFault::{DropBeforeQuitAnswer, InUse, NewUidls, SlowQuit, WrongSize};
        let is_for_pop3 =
            matches!(self, InUse(_) | WrongSize | NewUidls | SlowQuit(_) | DropBeforeQuitAnswer);
        self.is_for_logins() && !is_for_pop3
    }

    /// True if it does something at a login by POP3, or for sending.
    pub(super) fn is_for_pop3(self) -> bool {
        use InjectedFault::{ByeAt, DropAfterAppend, NewUidValidity, NoOn, SilentIdle};
        let is_for_imap = matches!(self, NoOn(_) | ByeAt(_) | DropAfterAppend | NewUidValidity | SilentIdle);
        self.is_for_logins() && !is_for_imap
    }

    fn is_for_logins(self) -> bool {
        matches!(self, Self::Slow(_) | Self::Drip(_)) || !self.is_for_recipients()
    }

    /// The fault of this name.
    pub(super) fn from_name(word: &str) -> Option<Self> {
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
            "drop-after-append" => Self::DropAfterAppend,
            "new-uidvalidity" => Self::NewUidValidity,
            "silent-idle" => Self::SilentIdle,
            _ => {
                let first = || {
                    let (tries, code) = word.strip_prefix("first-")?.split_once('-')?;
                    Some(Self::FirstRcpts(decimal(tries)?, self::code(code)?))
                };
                let no = || {
                    let command = word.strip_prefix("no-on-")?;
                    REFUSED.iter().find(|(name, _)| *name == command).map(|(_, verb)| Self::NoOn(*verb))
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
                    .or_else(|| count("cut-at-").map(Self::CutAt))
                    .or_else(|| count("bye-at-").map(Self::ByeAt))
                    .or_else(no)?
            }
        })
    }
}

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
            ("bob+no-on-select+bye-at-500", vec![NoOn(ImapVerb::Select), ByeAt(500)]),
        ] {
            assert_eq!(InjectedFault::all_in(local), injections, "{local}");
        }
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
            "bob+no-on-noop",
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
    fn y82_the_manual_lists_every_command_that_a_fault_refuses() {
        let page = include_str!("../../docs/manual/faults.md");
        let row = page.lines().find(|line| line.starts_with("| `bob+no-on-select@`")).unwrap();
        for (name, _) in REFUSED {
            assert!(row.contains(&format!("`{name}`")) || *name == "select", "{name}");
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
        assert_eq!(kinds.len(), 19, "kinds of faults in the table");
    }
}
