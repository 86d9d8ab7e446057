//! A query as a value: read from the text that a person types, and written as one.
//!
//! The rule: there is one reading of a query, for commands, the API and the page, and a query that is written and read again is
//! the same. A word that means nothing is a mistake, and a query with a mistake is none.

use std::fmt::{self, Display};

use super::{
    mistake::{Advice, Mistake, mistyped},
    value::{cleaned, size, time},
};
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

impl Query {
    /// Reads a query. Quotation marks keep blanks together, and everything else is as it stands. `zone` is the number of seconds
    /// that the clock of the reader is ahead of UTC, for dates without a zone.
    ///
    /// # Errors
    /// As [`Query::parse_in`].
    pub fn parse(text: &str, zone: i32) -> Result<Self, Mistake> {
        Self::parse_in(text, &|_| zone)
    }

    /// The same for a reader whose clock is ahead of UTC by another number of seconds in summer: `zone` returns it for the time
    /// that the clock shows, in seconds since 1970.
    ///
    /// # Errors
    /// The first word that means nothing or looks like a mistyped keyword, or a quotation mark that is not closed. A query of
    /// blanks has no mistake, and no words.
    pub fn parse_in(text: &str, zone: &dyn Fn(i64) -> i32) -> Result<Self, Mistake> {
        let whole = |advice| Mistake { word: text.trim().to_owned(), advice };
        let written = || quoted_words(text).filter(|word| !word.is_empty());
        if text.matches('"').count() % 2 == 1 {
            return Err(whole(Advice::OpenQuotation));
        }
        if let Some(mistake) = written().take(MAX_WORDS).find_map(mistyped) {
            return Err(mistake);
        }
        if let Some(word) = written().nth(MAX_WORDS) {
            return Err(Mistake { word: word.to_owned(), advice: Advice::TooManyWords });
        }
        let mut query = Self::default();
        for word in words(text) {
            if query.terms.len() == MAX_TERMS {
                return Err(Mistake { word, advice: Advice::TooManyWords });
            }
            match Term::parse(&word, zone) {
                Ok(term) => query.terms.extend(term),
                Err(advice) => return Err(Mistake { word, advice }),
            }
        }
        // A query without terms would match everything, and its writer may have meant that with marks alone (`*`).
        if !text.trim().is_empty() && query.terms.iter().all(Term::is_of_marks) {
            return Err(whole(Advice::NoWord));
        }
        Ok(query)
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
    /// Reads one word. `None` if it is punctuation, which counts as a blank.
    fn parse(word: &str, zone: &dyn Fn(i64) -> i32) -> Result<Option<Self>, Advice> {
        let positive = word.strip_prefix(['-', '!']).filter(|rest| !rest.is_empty());
        let negated = positive.is_some();
        match Filter::parse(positive.unwrap_or(word), zone)? {
            // `--` names nothing, and nearly every message is without a hyphen.
            Some(Filter::Text(text)) if negated && text.chars().all(|c| matches!(c, '-' | '!')) => {
                Err(Advice::NoWord)
            }
            Some(filter) => Ok(Some(Self { negated, filter })),
            None if negated => Err(Advice::NoWord),
            None => Ok(None),
        }
    }

    /// True for a text without a letter, a digit or a sign beyond ASCII.
    fn is_of_marks(&self) -> bool {
        let is_mark = |c: char| c.is_ascii_punctuation() || c == ' ';
        matches!(&self.filter, Filter::Text(text) if text.chars().all(is_mark))
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negated { "-" } else { "" };
        let Filter::Text(text) = &self.filter else { return write!(f, "{sign}{}", self.filter) };
        let word = quoted(format!("{sign}{text}"));
        // Beside another word, because a mark alone is no query.
        let is_read_back = Query::parse(&format!("{word} x"), 0)
            .is_ok_and(|query| query.terms.len() == 2 && query.terms.first() == Some(self));
        // A comma counts as a blank, and keeps a word from being read as a negation or a keyword. Quotation marks keep it from
        // being read as a mistyped one.
        if is_read_back { f.write_str(&word) } else { write!(f, "\"{sign},{text}\"") }
    }
}

impl Filter {
    fn parse(word: &str, zone: &dyn Fn(i64) -> i32) -> Result<Option<Self>, Advice> {
        let as_text = || Some(Self::Text(cleaned(word))).filter(|_| !cleaned(word).is_empty());
        let Some((keyword, value)) = word.split_once(':') else { return Ok(as_text()) };
        let keyword = keyword.to_ascii_lowercase();
        let text = cleaned(value);
        let filter = match (keyword.as_str(), text.as_str()) {
            ("is", "read") => Self::IsRead(true),
            ("is", "unread") => Self::IsRead(false),
            ("is", "tagged") => Self::IsTagged,
            ("is", "seen" | "opened") => return Err(Advice::IsRead),
            ("is", "unseen" | "unopened" | "new") => return Err(Advice::IsUnread),
            ("is", _) => return Err(Advice::Is),
            ("has", "attachment" | "attachments") => Self::HasAttachment,
            ("has", "inline" | "inlines") => Self::HasInline,
            ("has", _) => return Err(Advice::Has),
            ("larger", _) => size(value).map(Self::Larger).ok_or(Advice::Size)?,
            ("smaller", _) => size(value).map(Self::Smaller).ok_or(Advice::Size)?,
            ("before", _) => time(value, zone).map(Self::Before).ok_or(Advice::Date)?,
            ("after", _) => time(value, zone).map(Self::After).ok_or(Advice::Date)?,
            _ => match Part::named(&keyword) {
                None if keyword != "tag" => return Ok(as_text()),
                _ if text.is_empty() => return Err(Advice::Value),
                Some(part) => Self::In(part, text),
                None => Self::Tag(text),
            },
        };
        Ok(Some(filter))
    }
}

impl Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text.clone())),
            Self::In(part, text) => write!(f, "{}:{}", part.name(), value(text)),
            Self::Tag(text) => write!(f, "tag:{}", value(text)),
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

/// The value of a keyword. A second colon would be a mistake.
fn value(text: &str) -> String {
    if text.starts_with(':') { format!("\"{text}\"") } else { quoted(text.to_owned()) }
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

/// Words of a query. Each may cost a search of the whole text.
const MAX_TERMS: usize = 100;
/// Words of the longest query with its punctuation.
const MAX_WORDS: usize = 10 * MAX_TERMS;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The query, written again, or the mistake.
    fn read(text: &str) -> Result<String, String> {
        Query::parse(text, 0).map(|query| query.to_string()).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn v116_a_search_of_a_mebibyte_costs_no_comparison_of_its_words() {
        assert_eq!(read(&format!("{}:x", "f".repeat(1 << 20))), Ok(format!("{}:x", "f".repeat(1 << 20))));
        assert!(read("((((from:x").is_err_and(|mistake| mistake.contains("did you mean from:")));
        // The mistake is not the one of the last word, so the words before it were not all compared.
        for many in ["from:x ".repeat(MAX_WORDS), ", ".repeat(MAX_WORDS)] {
            let mistake = Query::parse(&format!("{many}a form:x"), 0).unwrap_err();
            assert_eq!(mistake.advice, Advice::TooManyWords);
        }
        assert_eq!(read(&format!("{}a", " ".repeat(10 * MAX_WORDS))), Ok("a".to_owned()));
    }

    #[test]
    fn words_are_read_as_mailpit_reads_them() {
        for (text, expected) in [
            ("", ""),
            (" one  TWO\t", "one two"),
            ("\"one  two\" three", "\"one two\" three"),
            ("FROM:Zoe to:\"John Doe\" \"cc:a b\"", "from:zoe to:\"john doe\" cc:\"a b\""),
            ("\"from:John Doe\" -\"to:a b\"", "from:\"john doe\" -to:\"a b\""),
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
            ("http://x.test/a?b code:4711 Re: Fwd: 10:30", "http://x.test/a?b code:4711 re: fwd: 10:30"),
            ("- ,-x \"(from:y\" hello, world ,", "- \",-x\" \",from:y\" hello world"),
            ("\"form:shop\" x", "\",form:shop\" x"),
            ("-\"form:shop\"", "\"-,form:shop\""),
            ("\"a form:shop\"", "\"a form:shop\""),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn u39_a_mistyped_keyword_and_an_open_quotation_mark_are_told() {
        for (text, advice) in [
            ("form:shop", "form:shop: did you mean from:?"),
            ("x -sbject:y", "-sbject:y: did you mean subject:?"),
            ("tags:z", "did you mean tag:?"),
            ("form:\"a b\"", "did you mean from:?"),
            ("(from:y", "did you mean from:?"),
            ("\"never closed", "a quotation mark is not closed"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(advice), "{text}: {told}");
        }
    }

    #[test]
    fn v109_a_keyword_with_a_second_colon_is_a_mistake_unless_it_is_quoted() {
        for text in ["from::", "from::ann", "x -subject::y", "TAG:::", "is::read", "before::2026-11-20"] {
            let told = read(text).unwrap_err();
            assert!(told.contains("write one colon after the keyword"), "{text}: {told}");
        }
        let quoted = "from:\":ann\"";
        assert_eq!(read(quoted), Ok(quoted.to_owned()));
        assert_eq!(read("a::b std::fs ::1 http://[::1]/"), Ok("a::b std::fs ::1 http://[::1]/".to_owned()));
    }

    #[test]
    fn v80_a_word_that_means_nothing_is_a_mistake_negated_or_not() {
        for (word, advice) in [
            ("before:yesterday", Advice::Date),
            ("after:tomorrow", Advice::Date),
            ("before:30.11.2025", Advice::Date),
            ("before:2026-13-01", Advice::Date),
            ("before:", Advice::Date),
            ("is:seen", Advice::IsRead),
            ("is:unseen", Advice::IsUnread),
            ("is:flagged", Advice::Is),
            ("is:", Advice::Is),
            ("has:attachmnt", Advice::Has),
            ("larger:1x", Advice::Size),
            ("smaller:", Advice::Size),
            ("from:", Advice::Value),
            ("subject:\"\"", Advice::Value),
            ("to:<>", Advice::Value),
            ("tag:,", Advice::Value),
            ("form:a", Advice::DidYouMean("from")),
        ] {
            for sign in ["", "-", "!"] {
                let mistake = Query::parse(&format!("x {sign}{word} y"), 0).unwrap_err();
                assert_eq!(mistake.advice, advice, "{sign}{word}");
                assert_eq!(mistake.word, format!("{sign}{word}").replace('"', ""));
            }
        }
        for (text, advice) in [
            ("--from:a", Advice::Signs),
            ("!-before:yesterday", Advice::Signs),
            ("-,", Advice::NoWord),
            ("--", Advice::NoWord),
            ("x -!!", Advice::NoWord),
            ("x -()", Advice::NoWord),
            (" ,; ", Advice::NoWord),
            ("\" \"", Advice::NoWord),
        ] {
            assert_eq!(Query::parse(text, 0).unwrap_err().advice, advice, "{text}");
        }
        assert_eq!(Query::parse(&"x ".repeat(1000), 0).unwrap_err().advice, Advice::TooManyWords);
        assert_eq!(Query::parse(&"x ".repeat(100), 0).unwrap().terms.len(), 100);
        let mistake = read("x before:soon").unwrap_err();
        assert!(mistake.starts_with("before:soon: write a date like 2026-11-20"), "{mistake}");
    }

    #[test]
    fn v157_a_query_of_marks_alone_is_a_mistake() {
        for text in ["-", "!", "*", "%", "+", "* -", "\"%\"", "\"- -\"", ".", "-*", "--", "()"] {
            assert_eq!(
                Query::parse(text, 0).map_err(|mistake| mistake.advice),
                Err(Advice::NoWord),
                "{text}"
            );
        }
        for text in ["50%", "order -", "-*x", "\u{20ac}", "\u{1f389}", "* is:unread", "c++"] {
            assert!(Query::parse(text, 0).is_ok(), "{text}");
        }
    }

    /// Holds that a query, if the text is one, is written as a query that is the same.
    fn check_written(text: &str, zone: i32) -> Result<(), TestCaseError> {
        let Ok(query) = Query::parse(text, zone) else { return Ok(()) };
        let written = query.to_string();
        prop_assert_eq!(Query::parse(&written, 0), Ok(query), "{:?} -> {}", text, written);
        Ok(())
    }

    proptest! {
        #[test]
        fn a_query_that_is_written_and_read_again_is_the_same(text in "\\PC{0,60}") {
            check_written(&text, 3600)?;
        }

        #[test]
        fn a_query_of_keywords_that_is_written_and_read_again_is_the_same(
            words in prop::collection::vec(
                ("[-!,(\"]{0,3}", prop::sample::select(KEYWORDS), "[-!\"a-zÀ-ž0-9 :.,<]{0,12}"),
                0..3,
            )
        ) {
            let text: Vec<String> = words.into_iter().map(|(sign, word, value)| format!("{sign}{word}{value}")).collect();
            check_written(&text.join(" "), -7200)?;
        }

        #[test]
        fn any_octets_are_a_query_or_a_mistake(text in any::<String>(), zone in any::<i32>()) {
            check_written(&text, zone)?;
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
