//! The special uses of folders (RFC 6154): their words in `.restante.folders`, their attributes in IMAP, and the names that mail
//! programs give to such folders.

/// The special use of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// Every special use.
    pub const ALL: [Self; 5] = [Self::Archive, Self::Drafts, Self::Junk, Self::Sent, Self::Trash];

    /// The attribute of LIST and CREATE.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// The special use of an attribute, in any case.
    pub fn of_attribute(attribute: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|special| attribute.eq_ignore_ascii_case(special.attribute().as_bytes()))
    }

    /// The word in the record of the folders, which is the name of the folder that the server makes.
    pub fn word(self) -> &'static str {
        self.attribute().trim_start_matches('\\')
    }

    /// The special use of a word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|special| special.word() == word)
    }

    /// The names that mail programs give to the folder, in any case. The first one is that of the server.
    pub(crate) fn folder_names(self) -> &'static [&'static str] {
        match self {
            Self::Archive => &["Archive", "Archives"],
            Self::Drafts => &["Drafts"],
            Self::Junk => &["Junk", "Spam", "Junk E-mail"],
            Self::Sent => &["Sent", "Sent Items", "Sent Messages", "Sent Mail"],
            Self::Trash => &["Trash", "Deleted Items", "Deleted Messages"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_use_has_an_attribute_and_a_folder_of_its_word() {
        for special in SpecialUse::ALL {
            assert_eq!(
                SpecialUse::of_attribute(special.attribute().to_ascii_uppercase().as_bytes()),
                Some(special)
            );
            assert_eq!(SpecialUse::of_word(special.word()), Some(special));
            assert_eq!(special.folder_names()[0], special.word());
            assert_eq!(special.attribute(), format!("\\{}", special.word()));
        }
        assert_eq!(SpecialUse::of_attribute(b"\\All"), None);
    }
}
