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

/// A text in each language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalizedText {
    english: &'static str,
    french: &'static str,
}

impl LocalizedText {
    /// A text in English and in French.
    pub(crate) const fn new(english: &'static str, french: &'static str) -> Self {
        Self { english, french }
    }

    /// The text in one language.
    pub(crate) const fn text(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::French => self.french,
        }
    }
}
