//! SEARCH: finds the messages that match a condition (RFC 9051 section 6.4.4).
//!
//! The rule: a message is asked the cheapest questions first. Flags, numbers, dates and sizes come from memory, then the header
//! is read, and the text only if nothing else has decided. A search is cut into slices between two messages, so that no worker is
//! held by one. Within a message the work grows with its octets alone, and ends when nobody waits for it.

mod condition;
mod finder;
mod folded;

use self::{
    condition::{Condition, Facts, SearchedHeader, Wanted},
    finder::{Control, Hits, TextSet},
    folded::Folded,
};
use super::imap_message::ImapMessage;
use crate::{
    index::sequence::Sequence,
    maildir::Maildir,
    mime::{Content, Header, Message, Role, html},
    proto::{
        imap::{request::Search, sequence_set::NumberSet},
        request::Failure,
    },
};

/// The result of one slice of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchSlice {
    /// The search is at its end.
    Done {
        /// The UIDs of all messages that match.
        uids: NumberSet,
        /// Whether a message was gone.
        has_gone: bool,
    },
    /// The rest of the search is to do. Dropping it ends the search.
    Unfinished(SearchProgress),
}

/// The place between two slices of a search. The default is the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchProgress {
    /// The index of the next message in the state by which the client numbers them.
    next: usize,
    /// The UIDs found so far.
    found: NumberSet,
    /// Whether a message was gone.
    has_gone: bool,
}

/// Searches from a place on, until about `budget` octets have been read and compared. A message that is gone matches nothing.
///
/// # Errors
/// A file cannot be read: a message that may match is never left out in silence. Or the search is cancelled.
pub fn search(
    maildir: &Maildir,
    sequence: &Sequence,
    search: &Search,
    progress: SearchProgress,
    (budget, is_cancelled): (u64, &dyn Fn() -> bool),
) -> Result<SearchSlice, Failure> {
    let SearchProgress { next, mut found, mut has_gone } = progress;
    let mut wanted = Wanted::default();
    let condition = Condition::compile(&search.key, search, &sequence.state.keywords, &mut wanted);
    let cost_of_facts = condition.size().saturating_mul(COST_OF_A_CONDITION);
    let control = Control::new(is_cancelled);
    let mut spent = 0_u64;
    for (at, listed) in search.state.messages.iter().enumerate().skip(next) {
        if spent.saturating_add(control.compared()) >= budget {
            return Ok(SearchSlice::Unfinished(SearchProgress { next: at, found, has_gone }));
        }
        control.check()?;
        spent = spent.saturating_add(cost_of_facts);
        let Some((state, entry)) = sequence.message(listed.uid) else {
            has_gone = true;
            continue;
        };
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let mut candidate = Candidate {
            message: ImapMessage::new(maildir, entry),
            condition: &condition,
            wanted: &wanted,
            facts: Facts { number, state, entry, hits: vec![None; wanted.texts] },
        };
        match candidate.matches(&control) {
            Ok(true) => found.push(listed.uid),
            Ok(false) => {}
            Err(Failure::Gone | Failure::Changed | Failure::Truncated) => has_gone = true,
            Err(failure) => return Err(failure),
        }
        spent = spent.saturating_add(candidate.message.octets_read());
    }
    Ok(SearchSlice::Done { uids: found, has_gone })
}

/// A message that is compared with a condition.
struct Candidate<'a> {
    message: ImapMessage<'a>,
    condition: &'a Condition,
    wanted: &'a Wanted,
    facts: Facts<'a>,
}

impl Candidate<'_> {
    fn matches(&mut self, control: &Control<'_>) -> Result<bool, Failure> {
        if let Some(known) = self.condition.matches(&self.facts, None) {
            return Ok(known);
        }
        let header = self.message.header()?;
        find(|| all_fields(header), &self.wanted.in_header, &mut self.facts.hits, control)?;
        let header = SearchedHeader::new(header, self.wanted, control)?;
        if let Some(known) = self.condition.matches(&self.facts, Some(&header)) {
            return Ok(known);
        }
        search_texts(&self.message.message()?, self.wanted, &mut self.facts.hits, control)?;
        self.facts.hits.iter_mut().for_each(|hit| *hit = Some(hit.unwrap_or(false)));
        Ok(self.condition.matches(&self.facts, Some(&header)).unwrap_or(false))
    }
}

/// Marks the texts that are found, if there are any to find.
fn find(
    text: impl FnOnce() -> Folded,
    wanted: &TextSet,
    hits: &mut Hits,
    control: &Control<'_>,
) -> Result<(), Failure> {
    if wanted.is_empty() { Ok(()) } else { wanted.find(&text(), hits, control) }
}

/// All fields of a header, each as a line.
fn all_fields(header: Header<'_>) -> Folded {
    let mut text = Folded::default();
    for field in header.fields() {
        text.add_line(&format!("{}: {}", String::from_utf8_lossy(field.name), header.decoded(&field)));
    }
    text
}

/// Searches the texts of a message, one part after the other. TEXT also finds what stands in the header of a part, such as the
/// name of a file, or the subject of a message that is forwarded. BODY does not: every other message has the word "text" there.
fn search_texts(
    message: &Message<'_>,
    wanted: &Wanted,
    hits: &mut Hits,
    control: &Control<'_>,
) -> Result<(), Failure> {
    for part in message.parts() {
        control.check()?;
        if hits.iter().all(Option::is_some) {
            return Ok(());
        }
        if part.parent.is_some() {
            find(|| all_fields(message.header_of(part)), &wanted.in_header, hits, control)?;
        }
        if part.content != Content::Leaf || part.role == Role::Rest {
            continue;
        }
        if part.is_html() {
            find(|| Folded::new(&html::to_text(&message.text(part))), &wanted.in_body, hits, control)?;
        } else if part.is_text() {
            find(|| Folded::new(&message.text(part)), &wanted.in_body, hits, control)?;
        }
    }
    Ok(())
}

/// The evaluation of one condition counts as that many octets.
const COST_OF_A_CONDITION: u64 = 8;

#[cfg(test)]
mod tests;
