//! Maildir++ folder names. A folder is a directory beside `new/` and `cur/`. Its name begins with a dot,
//! separates levels by dots, and is in IMAP's modified UTF-7 (RFC 3501 section 5.1.3).

use std::{fmt, sync::Arc};

use base64::{
    Engine,
    alphabet::IMAP_MUTF7,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

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
        let allowed = |c: char| {
            if c.is_ascii() { c.is_ascii_alphanumeric() || ALLOWED.contains(c) } else { !c.is_control() }
        };
        let good = name.chars().all(allowed) && name.split('.').all(|part| !part.is_empty());
        let directory = format!(".{}", modified_utf7(name));
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

/// Encodes each run of characters beyond ASCII as `&`, its UTF-16 in base64, and `-`.
fn modified_utf7(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, other) = rest.split_at(rest.find(|c: char| !c.is_ascii()).unwrap_or(rest.len()));
        let (run, after) = other.split_at(other.find(|c: char| c.is_ascii()).unwrap_or(other.len()));
        encoded.push_str(plain);
        if !run.is_empty() {
            let utf16: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            encoded.push('&');
            BASE64.encode_string(utf16, &mut encoded);
            encoded.push('-');
        }
        rest = after;
    }
    encoded
}

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);
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

    /// Decodes modified UTF-7. `None` if the text is not modified UTF-7.
    fn decoded(text: &str) -> Option<String> {
        let Some((plain, rest)) = text.split_once('&') else { return Some(text.to_owned()) };
        let (run, rest) = rest.split_once('-')?;
        let units: Vec<u16> = BASE64
            .decode(run)
            .ok()?
            .chunks(2)
            .map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
            .collect::<Option<_>>()?;
        Some(format!("{plain}{}{}", String::from_utf16(&units).ok()?, decoded(rest)?))
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

    proptest! {
        #[test]
        fn what_is_encoded_can_be_decoded(name in "[a-zA-Z .é日\u{1f4ec}\u{ffff}-]{0,40}") {
            prop_assert_eq!(decoded(&modified_utf7(&name)), Some(name));
        }

        #[test]
        fn any_name_is_one_component_of_plain_ascii(name in "\\PC*") {
            if let Some(directory) = directory(&name) {
                prop_assert!(directory.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{}", directory);
                prop_assert!(!directory.contains('/') && directory.len() > 1 && directory != "..");
            }
        }
    }
}
