//! A query as a value: read from the text that a person types, and written as one.
//!
//! The rule: a query that is written and read again is the same. A word that means nothing is a mistake, and is reported beside
//! the query: a command refuses it, and the API does as Mailpit does.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use super::value::{cleaned, size, time};
use crate::mime::date::Date;

/// Words that a message must match, all of them. The empty query matches every message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The words.
    pub terms: Vec<Term>,
}

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// True if the message must not match it.
    pub negated: bool,
    /// The condition.
    pub filter: Filter,
}

/// A condition. Texts are in lower case, with single blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// That text anywhere in the message.
    Text(String),
    /// That text in a part of the header.
    In(Part, String),
    /// That tag, as a whole.
    Tag(String),
    /// `is:read` or `is:unread`.
    IsRead(bool),
    /// `is:tagged`.
    IsTagged,
    /// `has:attachment`.
    HasAttachment,
    /// `has:inline`.
    HasInline,
    /// Delivered at that time or earlier, in seconds since 1970.
    Before(i64),
    /// Delivered at that time or later, in seconds since 1970.
    After(i64),
    /// More octets than that.
    Larger(u64),
    /// Fewer octets than that.
    Smaller(u64),
}

/// The part of a message that a word looks into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `from:`
    From,
    /// `to:`
    To,
    /// `cc:`
    Cc,
    /// `bcc:`
    Bcc,
    /// `reply-to:`
    ReplyTo,
    /// `addressed:`, all of these.
    Addressed,
    /// `subject:`
    Subject,
    /// `message-id:`
    MessageId,
}

/// A word that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    word: String,
    advice: Cow<'static, str>,
}

impl Query {
    /// Reads a query. Quotation marks keep blanks together, and everything else is as it stands. `zone` is the number of seconds
    /// that the clock of the reader is ahead of UTC, for dates without a zone.
    ///
    /// Of the words with a mistake, a date is left out, and the others are searched as text.
    pub fn parse(text: &str, zone: i32) -> (Self, Vec<Mistake>) {
        let (mut query, mut mistakes) = (Self::default(), Vec::new());
        for word in words(text) {
            if query.terms.len() == MAX_TERMS {
                mistakes.push(Mistake { word, advice: "use at most 100 words".into() });
                break;
            }
            let (term, advice) = Term::parse(&word, zone);
            query.terms.extend(term);
            mistakes.extend(advice.map(|advice| Mistake { word, advice: advice.into() }));
        }
        (query, mistakes)
    }

    /// Reads a query in which every word must mean something.
    ///
    /// # Errors
    /// The first word that means nothing, that looks like a mistyped keyword, or that has no closing quotation mark.
    pub fn strict(text: &str, zone: i32) -> Result<Self, Mistake> {
        if text.matches('"').count() % 2 == 1 {
            return Err(Mistake { word: text.to_owned(), advice: "a quotation mark is not closed".into() });
        }
        if let Some(mistake) = quoted_words(text).find_map(mistyped) {
            return Err(mistake);
        }
        let (query, mistakes) = Self::parse(text, zone);
        match mistakes.into_iter().next() {
            Some(mistake) => Err(mistake),
            None => Ok(query),
        }
    }

    /// True if a match depends on the text of the message, and not on its summary alone.
    pub fn needs_text(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.filter, Filter::Text(_)))
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, term) in self.terms.iter().enumerate() {
            write!(f, "{}{term}", if number > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl Term {
    /// Reads one word, and returns advice if it means nothing.
    fn parse(word: &str, zone: i32) -> (Option<Self>, Option<&'static str>) {
        let positive = word.strip_prefix(['-', '!']).filter(|rest| !rest.is_empty());
        let (filter, advice) = Filter::parse(positive.unwrap_or(word), zone);
        (filter.map(|filter| Self { negated: positive.is_some(), filter }), advice)
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negated { "-" } else { "" };
        let Filter::Text(text) = &self.filter else { return write!(f, "{sign}{}", self.filter) };
        let word = format!("{sign}{text}");
        // A comma counts as a blank, and keeps a word from being read as a negation or a keyword.
        let is_read_back = Self::parse(&word, 0).0.as_ref() == Some(self);
        f.write_str(&quoted(if is_read_back { word } else { format!("{sign},{text}") }))
    }
}

impl Filter {
    fn parse(word: &str, zone: i32) -> (Option<Self>, Option<&'static str>) {
        let as_text = || Some(Self::Text(cleaned(word))).filter(|_| !cleaned(word).is_empty());
        let Some((keyword, value)) = word.split_once(':') else { return (as_text(), None) };
        let keyword = keyword.to_ascii_lowercase();
        let text = cleaned(value);
        let known = match keyword.as_str() {
            "is" => match text.as_str() {
                "read" => Ok(Self::IsRead(true)),
                "unread" => Ok(Self::IsRead(false)),
                "tagged" => Ok(Self::IsTagged),
                _ => Err("write is:read, is:unread or is:tagged"),
            },
            "has" => match text.as_str() {
                "attachment" | "attachments" => Ok(Self::HasAttachment),
                "inline" | "inlines" => Ok(Self::HasInline),
                _ => Err("write has:attachment or has:inline"),
            },
            "larger" => size(value).map(Self::Larger).ok_or(SIZE),
            "smaller" => size(value).map(Self::Smaller).ok_or(SIZE),
            "before" | "after" => match time(value, zone) {
                Some(time) => Ok(if keyword == "before" { Self::Before(time) } else { Self::After(time) }),
                None => {
                    return (
                        None,
                        Some("write a date like 2026-11-20, or \"2026-11-20 10:00\" in quotation marks"),
                    );
                }
            },
            _ if keyword == "tag" || Part::named(&keyword).is_some() => {
                if text.is_empty() {
                    return (None, Some("write a word after the colon"));
                }
                Ok(match Part::named(&keyword) {
                    Some(part) => Self::In(part, text),
                    None => Self::Tag(text),
                })
            }
            _ => return (as_text(), None),
        };
        match known {
            Ok(filter) => (Some(filter), None),
            Err(advice) => (as_text(), Some(advice)),
        }
    }
}

impl Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text.clone())),
            Self::In(part, text) => write!(f, "{}:{}", part.name(), quoted(text.clone())),
            Self::Tag(text) => write!(f, "tag:{}", quoted(text.clone())),
            Self::IsRead(true) => f.write_str("is:read"),
            Self::IsRead(false) => f.write_str("is:unread"),
            Self::IsTagged => f.write_str("is:tagged"),
            Self::HasAttachment => f.write_str("has:attachment"),
            Self::HasInline => f.write_str("has:inline"),
            Self::Before(time) => write!(f, "before:{}", Date::from_seconds(*time).rfc3339()),
            Self::After(time) => write!(f, "after:{}", Date::from_seconds(*time).rfc3339()),
            Self::Larger(size) => write!(f, "larger:{size}"),
            Self::Smaller(size) => write!(f, "smaller:{size}"),
        }
    }
}

impl Part {
    fn named(keyword: &str) -> Option<Self> {
        ALL.into_iter().find(|part| part.name() == keyword)
    }

    /// The keyword, without its colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
            Self::ReplyTo => "reply-to",
            Self::Addressed => "addressed",
            Self::Subject => "subject",
            Self::MessageId => "message-id",
        }
    }
}

impl Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.advice)
    }
}

impl std::error::Error for Mistake {}

/// A word that begins with a keyword, but for one letter. One in quotation marks is meant as it stands.
fn mistyped(word: &str) -> Option<Mistake> {
    let (keyword, _) = word.trim_start_matches(['-', '!']).split_once(':')?;
    let keyword = keyword.to_ascii_lowercase();
    let is_near = |known: &&str| {
        known.len().min(keyword.len()) > 2 && strsim::damerau_levenshtein(known, &keyword) == 1
    };
    let known = KEYWORDS.into_iter().find(is_near).filter(|_| !KEYWORDS.contains(&keyword.as_str()))?;
    let advice = format!("did you mean {known}: ? To search for the text, put it in quotation marks");
    Some(Mistake { word: word.to_owned(), advice: advice.into() })
}

/// The words of a query, without quotation marks.
fn words(text: &str) -> impl Iterator<Item = String> {
    let words = quoted_words(text).map(|word| word.replace('"', "").trim().to_owned());
    words.filter(|word| !word.is_empty())
}

/// The words of a query as they stand, with quotation marks.
fn quoted_words(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let split = move |c: char| {
        quoted ^= c == '"';
        !quoted && c.is_whitespace()
    };
    text.split(split)
}

/// A word in quotation marks, if it has blanks.
fn quoted(word: String) -> String {
    if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word }
}

const ALL: [Part; 8] = [
    Part::From,
    Part::To,
    Part::Cc,
    Part::Bcc,
    Part::ReplyTo,
    Part::Addressed,
    Part::Subject,
    Part::MessageId,
];

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

/// Advice for a size.
const SIZE: &str = "write a size like 2000, 10k or 1.5m";
/// Words of a query. Each may cost a search of the whole text.
const MAX_TERMS: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The query, written again, and the number of mistakes.
    fn read(text: &str) -> (String, usize) {
        let (query, mistakes) = Query::parse(text, 0);
        (query.to_string(), mistakes.len())
    }

    #[test]
    fn words_are_read_as_mailpit_reads_them() {
        for (text, expected) in [
            ("", ""),
            (" one  TWO\t", "one two"),
            ("\"one  two\" three", "\"one two\" three"),
            ("FROM:Zoe to:\"John Doe\" \"cc:a b\"", "from:zoe to:\"john doe\" cc:\"a b\""),
            ("-from:x !subject:\"a b\" -\"c d\" \"-e f\"", "-from:x -subject:\"a b\" \"-c d\" \"-e f\""),
            (
                "reply-to:<a@b.test> addressed:x message-id:<1@a>",
                "reply-to:a@b.test addressed:x message-id:1@a",
            ),
            ("is:READ !is:unread is:tagged tag:a", "is:read -is:unread is:tagged tag:a"),
            ("has:attachments has:inline", "has:attachment has:inline"),
            ("larger:10k smaller:1.5M", "larger:10240 smaller:1572864"),
            (
                "before:2026-11-20 after:\"2026-11-20 10:00\"",
                "before:2026-11-20T00:00:00Z after:2026-11-20T10:00:00Z",
            ),
            ("http://x.test/a?b code:4711", "http://x.test/a?b code:4711"),
            ("- -- -! ,-x (from:y", "- -- -! ,-x ,from:y"),
            ("\"never closed", "\"never closed\""),
            ("\" \" ,;", ""),
        ] {
            assert_eq!(read(text), (expected.to_owned(), 0), "{text}");
        }
    }

    #[test]
    fn u39_a_mistyped_keyword_and_an_open_quotation_mark_are_told_to_a_command() {
        for (text, advice) in [
            ("form:shop", "did you mean from: ?"),
            ("x -sbject:y", "did you mean subject: ?"),
            ("tags:z", "did you mean tag: ?"),
            ("\"never closed", "a quotation mark is not closed"),
        ] {
            let told = Query::strict(text, 0).unwrap_err().to_string();
            assert!(told.contains(advice), "{text}: {told}");
            assert_eq!(read(text).1, 0, "the API takes it as Mailpit does: {text}");
        }
        for text in
            ["\"form:shop\" x", "\"a form:shop\"", "order:4711", "http://x.test", "10:30", "to:a FROM:b"]
        {
            assert!(Query::strict(text, 0).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_word_that_means_nothing_is_told() {
        for (text, expected) in [
            ("before:soon x", "x"),
            ("is:new", "is:new"),
            ("has:it", "has:it"),
            ("larger:huge", "larger:huge"),
            ("from: x", "x"),
        ] {
            assert_eq!(read(text), (expected.to_owned(), 1), "{text}");
        }
        let mistake = Query::strict("x before:soon", 0).unwrap_err().to_string();
        assert!(mistake.starts_with("before:soon: write a date like 2026-11-20"), "{mistake}");
        let (query, mistakes) = Query::parse(&"x ".repeat(1000), 0);
        assert_eq!((query.terms.len(), mistakes.len()), (100, 1));
    }

    proptest! {
        #[test]
        fn a_query_that_is_written_and_read_again_is_the_same(text in "\\PC{0,60}") {
            let (query, _) = Query::parse(&text, 3600);
            let written = query.to_string();
            prop_assert_eq!(&Query::parse(&written, 0).0, &query, "{} -> {}", text, written);
        }

        #[test]
        fn a_query_of_keywords_that_is_written_and_read_again_is_the_same(
            words in prop::collection::vec(
                ("[-!,(\"]{0,3}", prop::sample::select(KEYWORDS), "[-!\"a-zÀ-ž0-9 :.,<]{0,12}"),
                0..8,
            )
        ) {
            let text: Vec<String> = words.into_iter().map(|(sign, word, value)| format!("{sign}{word}{value}")).collect();
            let (query, _) = Query::parse(&text.join(" "), -7200);
            let written = query.to_string();
            prop_assert_eq!(&Query::parse(&written, 0).0, &query, "{:?} -> {}", text, written);
        }

        #[test]
        fn any_octets_are_a_query(text in any::<String>(), zone in any::<i32>()) {
            let (query, _) = Query::parse(&text, zone);
            prop_assert_eq!(&Query::parse(&query.to_string(), 0).0, &query);
        }
    }

    const KEYWORDS: &[&str] = &[
        "",
        "from:",
        "to:",
        "cc:",
        "bcc:",
        "reply-to:",
        "addressed:",
        "subject:",
        "message-id:",
        "tag:",
        "is:read",
        "is:",
        "has:",
        "has:attachment",
        "before:",
        "before:2026-11-20",
        "after:2026",
        "larger:",
        "larger:10",
        "smaller:2k",
        "-",
        "!",
    ];
}
