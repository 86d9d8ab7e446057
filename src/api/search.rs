//! The words of a search.

use super::{
    Facts,
    facts::{Address, Body},
};
use crate::mime::{Message, date::Date};

/// The words of a search. A message must match each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    negated: bool,
    filter: Filter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Text(String),
    From(String),
    To(String),
    Cc(String),
    Bcc(String),
    ReplyTo(String),
    Addressed(String),
    Subject(String),
    MessageId(String),
    /// No message has tags.
    Tag,
    Read,
    HasAttachment,
    HasInline,
    /// In seconds since 1970.
    Before(u64),
    After(u64),
    Larger(u64),
    Smaller(u64),
}

impl Search {
    /// Parses the words. A phrase stands in quotes; `-` or `!` before a word negates it.
    pub fn parse(text: &str) -> Self {
        Self(words(text).iter().filter_map(|word| Term::parse(word)).collect())
    }

    /// True if every message matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the message matches: read or not, arrived at `created`, with these facts.
    pub fn matches(&self, message: &Message<'_>, facts: &Facts, read: bool, created: u64) -> bool {
        let mut text = None;
        self.0.iter().all(|term| {
            let matches = match &term.filter {
                Filter::Text(word) => {
                    text.get_or_insert_with(|| searched_text(message, facts)).contains(word)
                }
                Filter::From(word) => names(facts.from.as_slice(), word),
                Filter::To(word) => names(&facts.to, word),
                Filter::Cc(word) => names(&facts.cc, word),
                Filter::Bcc(word) => names(&facts.bcc, word),
                Filter::ReplyTo(word) => names(&facts.reply_to, word),
                Filter::Addressed(word) => {
                    [facts.from.as_slice(), &facts.to, &facts.cc, &facts.bcc, &facts.reply_to]
                        .iter()
                        .any(|list| names(list, word))
                }
                Filter::Subject(word) => facts.subject.to_lowercase().contains(word),
                Filter::MessageId(word) => facts.message_id.to_lowercase().contains(word),
                Filter::Tag => false,
                Filter::Read => read,
                Filter::HasAttachment => facts.attachments > 0,
                Filter::HasInline => facts.inline > 0,
                Filter::Before(time) => created <= *time,
                Filter::After(time) => created >= *time,
                Filter::Larger(size) => facts.size > *size,
                Filter::Smaller(size) => facts.size < *size,
            };
            matches != term.negated
        })
    }
}

impl Term {
    /// `None` for a word without content, or with a date or size that is none: it filters nothing.
    fn parse(word: &str) -> Option<Self> {
        let lower = word.to_lowercase();
        let (negated, lower) = match lower.strip_prefix(['-', '!']) {
            Some(rest) if !rest.is_empty() => (true, rest),
            _ => (false, lower.as_str()),
        };
        let filter = |filter| Some(Self { negated, filter });
        let value =
            |name: &str| lower.strip_prefix(name).map(|value| value.trim_matches('"').trim().to_owned());
        for (name, make) in NAMED {
            if let Some(value) = value(name) {
                return if value.is_empty() { None } else { filter(make(value)) };
            }
        }
        match lower {
            "is:read" => return filter(Filter::Read),
            "is:unread" => return Some(Self { negated: !negated, filter: Filter::Read }),
            "is:tagged" => return filter(Filter::Tag),
            "has:attachment" | "has:attachments" => return filter(Filter::HasAttachment),
            "has:inline" | "has:inlines" => return filter(Filter::HasInline),
            _ => {}
        }
        if value("tag:").is_some() {
            return filter(Filter::Tag);
        }
        if let Some(text) = value("before:") {
            return filter(Filter::Before(seconds(&text)?));
        }
        if let Some(text) = value("after:") {
            return filter(Filter::After(seconds(&text)?));
        }
        if let Some(text) = value("larger:") {
            return filter(Filter::Larger(size(&text)?));
        }
        if let Some(text) = value("smaller:") {
            return filter(Filter::Smaller(size(&text)?));
        }
        let text = lower.trim_matches('"').split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() { None } else { filter(Filter::Text(text)) }
    }
}

type Make = fn(String) -> Filter;

const NAMED: [(&str, Make); 8] = [
    ("from:", Filter::From),
    ("to:", Filter::To),
    ("cc:", Filter::Cc),
    ("bcc:", Filter::Bcc),
    ("reply-to:", Filter::ReplyTo),
    ("addressed:", Filter::Addressed),
    ("subject:", Filter::Subject),
    ("message-id:", Filter::MessageId),
];

/// The words of a text. A quotation mark keeps blanks inside a word until the next one.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        quoted ^= c == '"';
        if c.is_whitespace() && !quoted {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        } else {
            word.push(c);
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

fn names(addresses: &[Address], word: &str) -> bool {
    addresses
        .iter()
        .any(|one| one.address.to_lowercase().contains(word) || one.name.to_lowercase().contains(word))
}

/// All text of a message that a word may stand in, in lower case and with single blanks.
fn searched_text(message: &Message<'_>, facts: &Facts) -> String {
    let mut texts = vec![facts.subject.clone()];
    for list in [facts.from.as_slice(), &facts.to, &facts.cc, &facts.bcc, &facts.reply_to] {
        texts.extend(list.iter().map(|one| format!("{} {}", one.name, one.address)));
    }
    let body = Body::of(message);
    let files = body.inline.iter().chain(&body.attachments);
    texts.extend(files.filter_map(|number| message.file_name(&message.parts()[*number])));
    texts.push(body.text);
    texts.join(" ").to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A date, or a date and a time, in seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let upper = text.to_uppercase();
    let date =
        Date::parse(upper.as_bytes()).or_else(|| Date::parse(format!("{upper}T00:00:00Z").as_bytes()))?;
    u64::try_from(date.seconds()).ok()
}

/// A number of octets: `500`, `10k`, `2m`.
fn size(text: &str) -> Option<u64> {
    let text = text.trim_end_matches('b');
    let (digits, factor) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix('m').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::facts::parse;

    const LETTER: &str = "From: Ann <ann@a.test>\nTo: bob@b.test\nSubject: Your Order\nMessage-ID: <id1@a.test>\n\n\
                          The total is\n12 euros.\n";

    fn matches(search: &str) -> bool {
        let message = parse(LETTER.as_bytes());
        let facts = Facts::read(&message, 2000);
        Search::parse(search).matches(&message, &facts, false, 784_111_777)
    }

    #[test]
    fn each_word_filters() {
        for search in [
            "",
            "order",
            "ORDER total",
            "\"total is 12\"",
            "from:ann",
            "from:ann@a.test to:bob",
            "subject:\"your order\"",
            "addressed:bob",
            "-from:eve",
            "!subject:bill",
            "is:unread",
            "-is:read",
            "-has:attachment",
            "message-id:id1",
            "after:1994-11-06",
            "before:1994-11-07",
            "larger:1k",
            "smaller:2k",
            "-tag:x",
            "before:someday",
        ] {
            assert!(matches(search), "{search}");
        }
        for search in [
            "bill",
            "order bill",
            "\"12 total\"",
            "from:bob",
            "-order",
            "is:read",
            "has:attachment",
            "tag:x",
            "is:tagged",
            "after:1994-11-07",
            "before:1994-11-06",
            "larger:1m",
            "smaller:1k",
            "cc:bob",
            "bcc:bob",
            "reply-to:ann",
        ] {
            assert!(!matches(search), "{search}");
        }
    }
}
