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
    /// The longest name of a mailbox, in octets.
    pub const MAX_NAME: usize = 200;

    /// The mailbox with this name, if the name is safe for a directory: 1 to 200 of `a-z`, `0-9` and `@ . _ +
    /// - =`, not beginning with a dot or a dash.
    pub fn named(name: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"@._+-=".contains(&b);
        let good = (1..=Self::MAX_NAME).contains(&name.len())
            && name.bytes().all(allowed)
            && !name.starts_with(['.', '-']);
        good.then(|| Self { name: name.into(), folder: None })
    }

    /// The given folder of this mailbox.
    pub fn in_folder(self, folder: Folder) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// The mailbox that contains this folder, or the mailbox itself.
    pub fn without_folder(self) -> Self {
        Self { folder: None, ..self }
    }

    /// The name of the mailbox without the folder, safe as the name of a directory.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The folder; `None` means the mailbox itself.
    pub fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.folder.as_ref().map_or(Ok(()), |folder| write!(f, "/{folder}"))
    }
}

/// A destination of mail.
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
    use super::*;

    #[test]
    fn a_mailbox_name_is_never_a_path() {
        for good in ["bob@example.test", "a", "u+tag@b-c.d", "x_y=z"] {
            assert!(Mailbox::named(good).is_some(), "{good}");
        }
        let long = "a".repeat(201);
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
