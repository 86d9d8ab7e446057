//! Maildir++ folder names. A folder is a directory beside `new/` and `cur/`. Its name begins with a dot,
//! separates levels by dots, and is in IMAP's modified UTF-7 (RFC 3501 section 5.1.3).

use std::{fmt, sync::Arc};

use super::modified_utf7;

/// The name of a folder, safe as the name of a directory. Text from the wire never becomes one unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder(Arc<str>);

impl Folder {
    /// The longest name of a folder's directory, in octets.
    pub const MAX_NAME: usize = 200;

    /// The folder with this name, such as `Sent`, `Archive.2026` or `Entwürfe`. Each part between dots has at
    /// least one character. ASCII characters must be on an allow-list and are stored unchanged, so that a
    /// client without UTF-8 can write `Entw&APw-rfe`. All other characters are encoded.
    pub fn from_name(name: &str) -> Option<Self> {
        let is_allowed = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || ALLOWED.contains(c);
        if !name.chars().all(is_allowed) {
            return None;
        }
        Self::checked(name, modified_utf7::encode_keeping_ampersands(name))
    }

    /// The folder whose name, decoded, is this one. Here `R&D` has a plain ampersand, and other programs may have made a
    /// folder of any name that can be one directory.
    pub fn from_decoded(name: &str) -> Option<Self> {
        Self::checked(name, modified_utf7::encode(name))
    }

    fn checked(name: &str, encoded: String) -> Option<Self> {
        let is_allowed = |c: char| c != '/' && !c.is_control();
        let good = name.chars().all(is_allowed) && name.split('.').all(|part| !part.is_empty());
        let directory = match encoded.split_once('.') {
            // The case of INBOX does not count, nor as the first level of a name (RFC 3501 section 5.1).
            Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => format!(".INBOX.{rest}"),
            _ => format!(".{encoded}"),
        };
        (good && directory.len() <= Self::MAX_NAME).then(|| Self(directory.into()))
    }

    /// The folder for copies of messages that the user submits.
    pub fn sent() -> Self {
        Self(".Sent".into())
    }

    /// The name of its directory, with the leading dot.
    pub fn directory(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// ASCII characters allowed beside letters and digits. There is no slash, no backslash and no control
/// character.
const ALLOWED: &str = " &'()+,-._=[]";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn directory(name: &str) -> Option<String> {
        Folder::from_name(name).map(|folder| folder.directory().to_owned())
    }

    #[test]
    fn a_folder_is_named_as_maildir_plus_plus_names_it() {
        for (name, on_disk) in [
            ("Sent", ".Sent"),
            ("Archive.2026.Q1", ".Archive.2026.Q1"),
            ("Sent Items", ".Sent Items"),
            ("[Gmail].All Mail", ".[Gmail].All Mail"),
            ("Entwürfe", ".Entw&APw-rfe"),
            ("Entw&APw-rfe", ".Entw&APw-rfe"),
            ("日本語", ".&ZeVnLIqe-"),
            ("\u{1f4ec}.é", ".&2D3c7A-.&AOk-"),
            ("R&-D", ".R&-D"),
        ] {
            assert_eq!(directory(name).as_deref(), Some(on_disk), "{name}");
        }
    }

    #[test]
    fn a_folder_name_is_never_a_path() {
        let long = "a".repeat(200);
        for bad in [
            "", ".", "..", ".Sent", "Sent.", "a..b", "../bob", "a/b", "a\\b", "a\0b", "a\nb", "a\u{85}b",
            &long,
        ] {
            assert_eq!(directory(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn y40_a_folder_of_any_name_that_is_one_directory_can_be_named_decoded() {
        let directory = |name| Folder::from_decoded(name).map(|folder| folder.directory().to_owned());
        for (name, on_disk) in [
            ("R&D", ".R&-D"),
            ("50% off!", ".50% off!"),
            ("~me.a\\b", ".~me.a\\b"),
            ("Entwürfe", ".Entw&APw-rfe"),
        ] {
            assert_eq!(directory(name).as_deref(), Some(on_disk), "{name}");
        }
        for bad in ["", ".", "a..b", ".a", "a/b", "a\0", "a\nb", "a\u{7f}", "a\u{85}b"] {
            assert_eq!(directory(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn y194_the_case_of_inbox_does_not_count_as_the_first_level_either() {
        for (name, on_disk) in [
            ("inbox.below", ".INBOX.below"),
            ("InBox.Inbox.x", ".INBOX.Inbox.x"),
            ("inbox", ".inbox"),
            ("inboxes.x", ".inboxes.x"),
            ("up.inbox.x", ".up.inbox.x"),
        ] {
            let decoded = Folder::from_decoded(name).map(|folder| folder.directory().to_owned());
            assert_eq!((directory(name).as_deref(), decoded.as_deref()), (Some(on_disk), Some(on_disk)));
        }
    }

    proptest! {
        #[test]
        fn any_name_is_one_component_of_plain_ascii(name in "\\PC*") {
            if let Some(directory) = directory(&name) {
                prop_assert!(directory.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{}", directory);
                prop_assert!(!directory.contains('/') && directory.len() > 1 && directory != "..");
            }
        }
    }
}
