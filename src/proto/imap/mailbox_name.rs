//! Names of mailboxes on the wire.

use crate::proto::{folder::Folder, modified_utf7};

/// The mailbox that a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxName {
    /// INBOX, in capitals or not (RFC 9051 section 5.1).
    Inbox,
    /// A folder beside it.
    Folder(Folder),
    /// A name that no mailbox can have here.
    Impossible(NameMistake),
}

/// The mistake in a name that no mailbox can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameMistake {
    /// The rule that the name breaks.
    pub rule: NameRule,
    /// The name as the client most likely means it, in modified UTF-7. `None` if its letters do not tell that, or if no mailbox
    /// can have that name either.
    pub written: Option<String>,
}

/// A rule for names of mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// A name is in ASCII: modified UTF-7 encodes everything else.
    Ascii,
    /// An ampersand begins base64 that ends with `-`. Alone it is `&-`.
    Ampersand,
    /// The base64 after an ampersand is UTF-16.
    Base64,
    /// Each name has one spelling: ASCII is not in base64, and two runs of base64 do not stand beside each other.
    OneSpelling,
    /// A name has a bound, in octets.
    Length,
    /// Dots stand between levels, and no slash.
    Slash,
    /// No level is empty.
    Level,
    /// A name has no control characters.
    Control,
    /// A name belongs to a user, who has logged in.
    Login,
}

impl MailboxName {
    /// The mailbox with a name in modified UTF-7. A dot at the end says that mailboxes below will follow, and is left out
    /// (RFC 9051 section 6.3.4).
    pub(super) fn parse(name: &[u8]) -> Self {
        if name.eq_ignore_ascii_case(b"INBOX") {
            return Self::Inbox;
        }
        let name = name.strip_suffix(b".").unwrap_or(name);
        let decoded = modified_utf7::decode(name);
        let folder = decoded.as_deref().and_then(Folder::from_decoded);
        folder.map_or_else(|| Self::Impossible(NameMistake::new(name, decoded.as_deref())), Self::Folder)
    }

    /// The name on the wire. `None` if there is none.
    pub fn wire(&self) -> Option<&str> {
        match self {
            Self::Inbox => Some("INBOX"),
            Self::Folder(folder) => folder.directory().strip_prefix('.'),
            Self::Impossible(_) => None,
        }
    }
}

impl NameMistake {
    /// The mistake in a name, which modified UTF-7 decodes to a text, or not.
    fn new(name: &[u8], decoded: Option<&str>) -> Self {
        if let Some(decoded) = decoded {
            let rule = if decoded.contains('/') {
                NameRule::Slash
            } else if decoded.contains(char::is_control) {
                NameRule::Control
            } else if decoded.split('.').any(str::is_empty) {
                NameRule::Level
            } else {
                NameRule::Length
            };
            return Self { rule, written: None };
        }
        let guess = modified_utf7::guess(name);
        let rule = if !name.is_ascii() {
            NameRule::Ascii
        } else if !modified_utf7::has_whole_runs(name) {
            NameRule::Ampersand
        } else if guess.is_none() {
            NameRule::Base64
        } else {
            NameRule::OneSpelling
        };
        let folder = guess.and_then(|guess| Folder::from_decoded(&guess));
        Self { rule, written: folder.map(|folder| folder.directory()[1..].to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_decoded_and_encoded_once() {
        for (name, directory) in [
            ("Sent", ".Sent"),
            ("R&-D", ".R&-D"),
            ("Entw&APw-rfe.2026", ".Entw&APw-rfe.2026"),
            ("Archive.", ".Archive"),
        ] {
            let MailboxName::Folder(folder) = MailboxName::parse(name.as_bytes()) else { panic!("{name}") };
            assert_eq!(folder.directory(), directory);
            assert_eq!(MailboxName::Folder(folder).wire(), Some(name.trim_end_matches('.')));
        }
    }

    #[test]
    fn the_inbox_has_any_case() {
        for name in ["INBOX", "inbox", "InBox"] {
            assert_eq!(MailboxName::parse(name.as_bytes()).wire(), Some("INBOX"));
        }
    }

    #[test]
    fn y202_the_mistake_in_a_name_is_known_and_often_the_name_that_is_meant() {
        for (name, rule, written) in [
            ("café".as_bytes(), NameRule::Ascii, Some("caf&AOk-")),
            ("R&D é".as_bytes(), NameRule::Ascii, Some("R&-D &AOk-")),
            ("&AOk-é".as_bytes(), NameRule::Ascii, Some("&AOkA6Q-")),
            (b"caf\xe9", NameRule::Ascii, None),
            ("é/x".as_bytes(), NameRule::Ascii, None),
            (b"caf&AOk", NameRule::Ampersand, Some("caf&AOk-")),
            (b"R&D", NameRule::Ampersand, Some("R&-D")),
            (b"R&D.2026&", NameRule::Ampersand, Some("R&-D.2026&-")),
            (b"a & b", NameRule::Ampersand, Some("a &- b")),
            (b"R&Development", NameRule::Ampersand, Some("R&-Development")),
            (b"R&D-x", NameRule::Ampersand, Some("R&-D-x")),
            (b"&2D0-", NameRule::Base64, None),
            (b"&APx-", NameRule::Base64, None),
            (b"&AGE-", NameRule::OneSpelling, Some("a")),
            (b"&U,BTFw-&ZeVnLIqe-", NameRule::OneSpelling, Some("&U,BTF2XlZyyKng-")),
            (b"&AC8-", NameRule::OneSpelling, None),
            (b"a/b", NameRule::Slash, None),
            (b"a..b", NameRule::Level, None),
            (b".a", NameRule::Level, None),
            (b"..", NameRule::Level, None),
            (b"", NameRule::Level, None),
            (b".", NameRule::Level, None),
            (b"a\tb", NameRule::Control, None),
            (&[b'a'; 200], NameRule::Length, None),
        ] {
            let mistake = NameMistake { rule, written: written.map(str::to_owned) };
            let parsed = MailboxName::parse(name);
            assert_eq!(parsed, MailboxName::Impossible(mistake), "{}", String::from_utf8_lossy(name));
            if let Some(written) = written {
                assert_eq!(MailboxName::parse(written.as_bytes()).wire(), Some(written));
            }
        }
    }
}
