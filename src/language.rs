//! The languages of the texts for people: the replies of POP3, the page of the web inbox, and the clients.

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English, where nothing asks for another language.
    #[default]
    English,
    /// French.
    French,
}

impl Language {
    /// The tag of RFC 5646.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }
}
