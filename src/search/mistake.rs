//! Mistakes in a query: a word that means nothing, or something else than its writer can have meant.
//!
//! The rule: a query with a mistake selects nothing. A condition that is left out, or searched as text, would let `-has:attachmnt`
//! match all mail, and a deletion take it.

use std::fmt::{self, Display};

use crate::near_name::slips;

/// A word with a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The word as it was written, or the whole query.
    pub word: String,
    /// The remedy.
    pub advice: Advice,
}

/// The remedy of a [`Mistake`]. Its text is for people who read English.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// A word after `is:` that it does not have.
    Is,
    /// A word of other programs for `is:read`.
    IsRead,
    /// A word of other programs for `is:unread`.
    IsUnread,
    /// A word after `has:` that it does not have.
    Has,
    /// No size after `larger:` or `smaller:`.
    Size,
    /// No date after `before:` or `after:`.
    Date,
    /// Nothing after the colon of a keyword.
    Value,
    /// The word before the colon is a keyword but for one letter: this one.
    DidYouMean(&'static str),
    /// More than one sign before a keyword.
    Signs,
    /// More than one colon after a keyword.
    Colons,
    /// A sign before nothing, or a query of punctuation alone.
    NoWord,
    /// An odd number of quotation marks.
    OpenQuotation,
    /// More words than a query may have.
    TooManyWords,
}

impl Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Is => "write is:read or is:unread (no message has a tag, so is:tagged finds none)",
            Self::IsRead => "did you mean is:read?",
            Self::IsUnread => "did you mean is:unread?",
            Self::Has => "write has:attachment or has:inline",
            Self::Size => "write a size like 2000, 10k or 1.5m",
            Self::Date => "write a date like 2026-11-20, or \"2026-11-20 10:00\" in quotation marks",
            Self::Value => "write a word after the colon",
            Self::DidYouMean(keyword) => {
                return write!(
                    f,
                    "did you mean {keyword}:? To search for the text, put it in quotation marks"
                );
            }
            Self::Signs => "write one - or ! before a word that must not match",
            Self::Colons => {
                "write one colon after the keyword; to search for a colon, put it in quotation marks"
            }
            Self::NoWord => "write a word of letters or digits",
            Self::OpenQuotation => "a quotation mark is not closed",
            Self::TooManyWords => "use at most 100 words",
        })
    }
}

impl Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.advice)
    }
}

impl std::error::Error for Mistake {}

/// A word that begins with a keyword, but for one letter, a bracket, or a second sign. One in quotation marks is meant as it
/// stands.
pub(super) fn mistyped(word: &str) -> Option<Mistake> {
    let positive = word.trim_start_matches(['-', '!']);
    let (written, value) = positive.split_once(':').filter(|_| !positive.starts_with('"'))?;
    let keyword = written.trim_start_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    let mistake = |advice| Some(Mistake { word: word.to_owned(), advice });
    if let Some(known) = KEYWORDS.into_iter().find(|known| *known == keyword) {
        return match () {
            () if written.len() > keyword.len() => mistake(Advice::DidYouMean(known)),
            () if word.len() - positive.len() > 1 => mistake(Advice::Signs),
            () if value.starts_with(':') => mistake(Advice::Colons),
            () => None,
        };
    }
    let is_near = |known: &&str| known.len().min(keyword.len()) > 2 && slips(&keyword, known, 1).is_some();
    mistake(Advice::DidYouMean(KEYWORDS.into_iter().find(is_near)?))
}

/// The words that stand before a colon.
const KEYWORDS: [&str; 15] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "addressed",
    "subject",
    "message-id",
    "tag",
    "is",
    "has",
    "before",
    "after",
    "larger",
    "smaller",
];
