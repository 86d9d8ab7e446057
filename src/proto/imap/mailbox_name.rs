//! Names of mailboxes on the wire.

use crate::proto::{folder::Folder, modified_utf7};

/// The mailbox that a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxName {
    /// INBOX, in capitals or not (RFC 9051 section 5.1).
    Inbox,
    /// A folder beside it.
    Folder(Folder),
    /// A name that no mailbox can have here: it has a slash, an empty level, or is not in modified UTF-7.
    Impossible,
}

impl MailboxName {
    /// The mailbox with a name in modified UTF-7. A dot at the end says that mailboxes below will follow, and is left out
    /// (RFC 9051 section 6.3.4).
    pub(super) fn parse(name: &[u8]) -> Self {
        if name.eq_ignore_ascii_case(b"INBOX") {
            return Self::Inbox;
        }
        let name = name.strip_suffix(b".").unwrap_or(name);
        let folder = modified_utf7::decode(name).and_then(|name| Folder::from_decoded(&name));
        folder.map_or(Self::Impossible, Self::Folder)
    }

    /// The name on the wire. `None` if there is none.
    pub fn wire(&self) -> Option<&str> {
        match self {
            Self::Inbox => Some("INBOX"),
            Self::Folder(folder) => folder.directory().strip_prefix('.'),
            Self::Impossible => None,
        }
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
    fn the_inbox_has_any_case_and_other_names_are_impossible() {
        for name in ["INBOX", "inbox", "InBox"] {
            assert_eq!(MailboxName::parse(name.as_bytes()).wire(), Some("INBOX"));
        }
        for name in ["R&D", "a/b", "a..b", ".a", "..", "", ".", "a\0b", "ü", "&APw"] {
            assert_eq!(MailboxName::parse(name.as_bytes()), MailboxName::Impossible, "{name}");
        }
    }
}
