//! The names of mailboxes, and the destinations of mail in them.

use std::{fmt, sync::Arc};

use super::folder::Folder;

/// A mailbox or one of its folders, the unit that is locked and opened. A mailbox may be created when it is
/// first used; a folder never is. The names are validated; text from the wire never becomes one unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    /// Shared, because a message to many mailboxes names each of them several times.
    name: Arc<str>,
    folder: Option<Folder>,
}

impl Mailbox {
    /// The longest name of a mailbox, in octets: the longest name of a file.
    pub const MAX_NAME: usize = 255;

    /// The mailbox with this name, if the name is safe for a directory: 1 to 255 of `a-z`, `0-9` and `@ . _ +
    /// - =`, not beginning with a dot or a dash, and escapes of other octets as [`Mailbox::of_address`] writes them.
    pub fn named(name: &str) -> Option<Self> {
        let good = (1..=Self::MAX_NAME).contains(&name.len()) && is_escaped(name.as_bytes());
        good.then(|| Self { name: name.into(), folder: None })
    }

    /// The mailbox of an address, whose local part and domain are in the forms in which they are compared. Its name is
    /// `local@domain`. An octet that may not stand there is `%` and two hexadecimal digits: `o%27neil@example.test`.
    /// Two addresses never have one name. `None` if the local part is empty, or the name is too long for a file.
    pub fn of_address(local: &str, domain: &str) -> Option<Self> {
        let mut name = String::with_capacity(local.len() + 1 + domain.len());
        for (part, may_have_at) in [(local, false), ("@", true), (domain, false)] {
            for octet in part.bytes() {
                let plain = is_plain(octet, name.is_empty()) && (octet != b'@' || may_have_at);
                if plain { name.push(octet.into()) } else { name.push_str(&format!("%{octet:02x}")) }
            }
        }
        Self::named(&name).filter(|_| !local.is_empty())
    }

    /// The given folder of this mailbox.
    pub fn in_folder(self, folder: Folder) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// The mailbox that contains this folder, or the mailbox itself.
    pub fn without_folder(self) -> Self {
        Self { folder: None, ..self }
    }

    /// Whether this is a folder, and the other one is the same or stands below it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let names = self.folder.as_ref().zip(other.folder.as_ref());
        self.name == other.name
            && names.is_some_and(|(folder, other)| {
                let rest = other.directory().strip_prefix(folder.directory());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
    }

    /// The name of the mailbox without the folder, safe as the name of a directory.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The local part and the domain of its address, without escapes. A name without a domain has none.
    pub fn address_parts(&self) -> (String, Option<String>) {
        match self.name.rsplit_once('@') {
            Some((local, domain)) => (unescaped(local), Some(unescaped(domain))),
            None => (unescaped(&self.name), None),
        }
    }

    /// The folder; `None` means the mailbox itself.
    pub fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }
}

/// True if an octet stands for itself in the name of a mailbox.
fn is_plain(octet: u8, is_first: bool) -> bool {
    let may_begin = octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"@_+=".contains(&octet);
    may_begin || (!is_first && b".-".contains(&octet))
}

/// True if every octet of a name is plain, or an escape of one that is not, so that no two names mean the same. An
/// `@` may be escaped too: in a local part it is.
fn is_escaped(name: &[u8]) -> bool {
    let digit = |b: u8| char::from(b).to_digit(16).filter(|_| !b.is_ascii_uppercase());
    let mut rest = name;
    while let [octet, after @ ..] = rest {
        let is_first = rest.len() == name.len();
        rest = match (octet, after) {
            (b'%', [high, low, after @ ..]) => {
                let escaped = digit(*high).zip(digit(*low)).and_then(|(h, l)| u8::try_from(16 * h + l).ok());
                match escaped {
                    Some(b'@') => after,
                    Some(octet) if !is_plain(octet, is_first) => after,
                    _ => return false,
                }
            }
            (octet, after) if is_plain(*octet, is_first) => after,
            _ => return false,
        };
    }
    true
}

/// The text of a name without escapes.
fn unescaped(name: &str) -> String {
    let (mut octets, mut rest) = (Vec::with_capacity(name.len()), name.as_bytes());
    while let [octet, after @ ..] = rest {
        rest = after;
        let digits =
            after.get(..2).filter(|_| *octet == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                rest = &after[2..];
                octets.push(escaped);
            }
            None => octets.push(*octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.folder.as_ref().map_or(Ok(()), |folder| write!(f, "/{folder}"))
    }
}

/// A mailbox that gets mail, and the folder in it that gets the mail instead, if it exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The mailbox, without a folder.
    pub mailbox: Mailbox,
    /// The folder that the address asks for, as `bob+lists@example.test` does. It receives the mail if it
    /// exists.
    pub folder: Option<Folder>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(mailbox: &Mailbox) -> (String, String) {
        let (local, domain) = mailbox.address_parts();
        (local, domain.unwrap_or_default())
    }

    #[test]
    fn w09_an_address_has_a_mailbox_whatever_is_in_it() {
        for (local, domain, name) in [
            ("bob", "example.test", "bob@example.test"),
            ("u_v.w+x-y=z", "b-c.d", "u_v.w+x-y=z@b-c.d"),
            ("o'neil", "example.test", "o%27neil@example.test"),
            ("a/b", "example.test", "a%2fb@example.test"),
            ("jörg", "example.test", "j%c3%b6rg@example.test"),
            ("..", "example.test", "%2e.@example.test"),
            ("-rf", "example.test", "%2drf@example.test"),
            ("50%", "example.test", "50%25@example.test"),
            ("a@b", "c.test", "a%40b@c.test"),
            ("a b", "[127.0.0.1]", "a%20b@%5b127.0.0.1%5d"),
        ] {
            let mailbox = Mailbox::of_address(local, domain).unwrap();
            assert_eq!(mailbox.as_str(), name);
            assert_eq!(Mailbox::named(name), Some(mailbox));
        }
        assert_eq!(Mailbox::of_address("", "example.test"), None);
        assert_eq!(Mailbox::of_address(&"ö".repeat(42), "x.test"), None, "longer than the name of a file");
        for other in ["%61b@x", "%2Fa@x", "a%2eb@x", "a%2", "%", "a%zz@x", "a%+1@x"] {
            assert_eq!(Mailbox::named(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn w09_the_address_can_be_read_from_the_name(
            local in "[a-z%@./ \\PC-]{1,12}", domain in "([a-z-]{1,4}\\.)?[a-z]{1,4}",
        ) {
            if let Some(mailbox) = Mailbox::of_address(&local, &domain) {
                let name = mailbox.as_str();
                prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && !b.is_ascii_uppercase()));
                prop_assert!(!name.starts_with(['.', '-']));
                prop_assert_eq!(address(&mailbox), (local, domain));
            }
        }
    }

    #[test]
    fn a_mailbox_name_is_never_a_path() {
        for good in ["bob@example.test", "a", "u+tag@b-c.d", "x_y=z"] {
            assert!(Mailbox::named(good).is_some(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", ".", "..", "../bob", "a/b", ".hidden", "-rf", "Bob", "b\0b", "é", "a b", &long] {
            assert!(Mailbox::named(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_folder_is_locked_apart_from_its_mailbox() {
        let mailbox = Mailbox::named("bob").unwrap();
        let sent = mailbox.clone().in_folder(Folder::from_name("Sent").unwrap());
        assert_ne!(mailbox, sent);
        assert_eq!((sent.as_str(), sent.to_string().as_str()), ("bob", "bob/.Sent"));
    }
}
