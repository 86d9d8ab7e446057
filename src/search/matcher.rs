//! The comparison of a query with a message.

use super::{
    query::{Filter, Part, Query},
    value::cleaned,
};
use crate::message_object::{MessageObject, NamedAddress, Summary};

/// A message and the facts about it that its octets do not tell.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its summary.
    pub summary: &'a Summary,
    /// Its octets on the wire.
    pub octets: u64,
    /// Its text; an empty one suffices unless [`Query::needs_text`].
    pub text: &'a SearchText,
    /// True if the message has been read.
    pub is_read: bool,
    /// The time of its delivery, in milliseconds since 1970.
    pub received: i64,
    /// Its tags.
    pub tags: &'a [String],
}

/// The text that words without a keyword are searched in, prepared for comparisons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// The text of a message.
    pub fn of(object: &MessageObject) -> Self {
        Self(cleaned(&object.search_text()))
    }
}

impl Query {
    /// True if the message matches all words.
    pub fn matches(&self, candidate: &Candidate<'_>) -> bool {
        self.terms.iter().all(|term| term.filter.matches(candidate) != term.negated)
    }
}

impl Filter {
    fn matches(&self, candidate: &Candidate<'_>) -> bool {
        let Candidate { summary, octets, text, is_read, received, tags } = *candidate;
        match self {
            Self::Text(wanted) => text.0.contains(wanted.as_str()),
            Self::In(part, wanted) => part.contains(summary, wanted),
            Self::Tag(wanted) => tags.iter().any(|tag| cleaned(tag) == *wanted),
            Self::IsRead(wanted) => is_read == *wanted,
            Self::IsTagged => !tags.is_empty(),
            Self::HasAttachment => summary.attachments > 0,
            Self::HasInline => summary.inline > 0,
            Self::Before(time) => received <= time.saturating_mul(1000),
            Self::After(time) => received >= time.saturating_mul(1000),
            Self::Larger(size) => octets > *size,
            Self::Smaller(size) => octets < *size,
        }
    }
}

impl Part {
    fn contains(self, summary: &Summary, wanted: &str) -> bool {
        let is_in = |people: &[NamedAddress]| people.iter().any(|one| is_person(one, wanted));
        match self {
            Self::From => is_in(&summary.from),
            Self::To => is_in(&summary.to),
            Self::Cc => is_in(&summary.cc),
            Self::Bcc => is_in(&summary.bcc),
            Self::ReplyTo => is_in(&summary.reply_to),
            Self::Addressed => summary.people().any(|one| is_person(one, wanted)),
            Self::Subject => cleaned(&summary.subject).contains(wanted),
            Self::MessageId => cleaned(&summary.message_id).contains(wanted),
        }
    }
}

fn is_person(person: &NamedAddress, wanted: &str) -> bool {
    cleaned(&format!("{} {}", person.name, person.address)).contains(wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message_object::ObjectLimits;

    const MESSAGE: &str = "Return-Path: <bounce@far.test>\nDelivered-To: blind@b.test\nFrom: \"Doe, Zoë\" <zoe@far.test>\n\
        To: Ann <ann@b.test>\nCc: carl@b.test\nReply-To: help@far.test\nSubject: Your  Order, (4711)\nMessage-ID: <Id.1@far.test>\n\
        Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\nWorld: http://x.test/a\n--b\n\
        Content-Type: application/pdf; name=bill.pdf\n\nx\n--b--\n";

    fn matches(query: &str) -> bool {
        let object = MessageObject::parse(MESSAGE.as_bytes(), &ObjectLimits::default());
        let candidate = Candidate {
            summary: &object.summary,
            octets: MESSAGE.len() as u64,
            text: &SearchText::of(&object),
            is_read: false,
            received: 1_795_168_805_000, // 2026-11-20 10:00:05
            tags: &["Two Words".to_owned()],
        };
        Query::parse(query, 0).unwrap().matches(&candidate)
    }

    #[test]
    fn v148_a_size_is_that_of_the_octets_on_the_wire() {
        let summary = Summary { size: 100, ..Summary::default() };
        let text = SearchText::default();
        let candidate =
            Candidate { summary: &summary, octets: 105, text: &text, is_read: true, received: 0, tags: &[] };
        for (query, expected) in [("larger:102", true), ("smaller:102", false), ("larger:105", false)] {
            assert_eq!(Query::parse(query, 0).unwrap().matches(&candidate), expected, "{query}");
        }
    }

    #[test]
    fn a_word_finds_its_place() {
        for query in [
            "",
            "hello",
            "\"hello world\"",
            "http://x.test/a",
            "bill.pdf",
            "bounce@far.test",
            "4711 zoë",
            "from:zoe",
            "from:\"Doe, ZOË <zoe@far.test>\"",
            "to:ann cc:CARL bcc:blind@ reply-to:help",
            "addressed:carl addressed:blind",
            "subject:\"your order\" subject:(4711)",
            "message-id:<id.1@far.test>",
            "is:unread -is:read",
            "has:attachment -has:inline",
            "before:2026-11-21 after:2026-11-20",
            "after:2026-11-20T10:00:05Z before:2026-11-20T10:00:05Z",
            "larger:100 smaller:1k",
            "tag:\"two words\" is:tagged -tag:two",
        ] {
            assert!(matches(query), "{query}");
            if !query.is_empty() {
                assert!(!matches(&format!("{query} is:read")), "{query}");
            }
        }
        for query in [
            "bye",
            "-hello",
            "to:zoe",
            "cc:ann",
            "from:bounce",
            "subject:hello",
            "before:2026-11-20",
            "larger:1m",
        ] {
            assert!(!matches(query), "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_negated_word_finds_the_others(word in "[a-z0-9:.@-]{1,8}") {
            prop_assume!(!word.starts_with('-'));
            if Query::parse(&word, 0).is_ok() {
                prop_assert_eq!(matches(&word), !matches(&format!("-{word}")));
            }
        }

        #[test]
        fn a_subject_is_found_by_itself(subject in "\\PC{1,30}") {
            let summary = Summary { subject: subject.clone(), ..Summary::default() };
            let text = SearchText::default();
            let candidate =
                Candidate { summary: &summary, octets: 0, text: &text, is_read: true, received: 0, tags: &[] };
            let query = Query::parse(&format!("subject:\"{}\"", subject.replace('"', " ")), 0);
            prop_assert!(query.as_ref().is_ok_and(|query| query.matches(&candidate)) || cleaned(&subject).is_empty());
        }
    }
}
