//! FETCH: renders the responses for messages, piece by piece (RFC 9051 section 6.4.5).
//!
//! The rule: a literal has exactly the octets that were announced. A message that is gone before its response begins is left
//! out; after that, each failure is one of the whole command, and the session ends the connection.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::imap_message::{ImapMessage, SectionOctets};
use crate::{
    index::sequence::Sequence,
    maildir::{FileVersion, Maildir, MessageEntry},
    mime::envelope::Envelope,
    proto::{
        imap::{
            fetch_item::{Body, FetchItem, Section, SectionText},
            request::{Fetch, FetchPosition, FetchedPiece, MessageState},
            response::{self, fetch as fetch_response},
        },
        request::Failure,
    },
};

/// Renders the responses for the messages of `fetch` from its position on. A piece has about `max` octets: it ends within a
/// literal that is larger, between two items of a message that has too many, and else between two messages.
///
/// # Errors
/// A file cannot be read. If the position is within a message, the connection has to end.
pub fn fetch_piece(
    maildir: &Maildir,
    sequence: &Sequence,
    fetch: &Fetch,
    max: usize,
) -> Result<FetchedPiece, Failure> {
    let mut piece = Piece { maildir, sequence, fetch, max, out: Vec::new(), read: 0, whole: Vec::new() };
    let mut has_gone = false;
    let messages = &fetch.state.messages;
    for range in fetch.uids.ranges() {
        let first = *range.start().max(&fetch.position.uid);
        let start = messages.partition_point(|message| message.uid < first);
        for (at, message) in messages.iter().enumerate().skip(start) {
            let uid = message.uid;
            if uid > *range.end() {
                break;
            }
            let mut position = FetchPosition { uid, ..FetchPosition::default() };
            if uid == fetch.position.uid {
                position = fetch.position;
            }
            if !position.is_within_message() && piece.is_full(uid) {
                return Ok(piece.fetched(Some(position), has_gone));
            }
            match piece.message(u32::try_from(at + 1).unwrap_or(u32::MAX), position)? {
                Rendered::Whole => {}
                Rendered::Gone => {
                    has_gone = true;
                    piece.read += COST_OF_A_SEARCH;
                }
                Rendered::UpTo(next) => {
                    return Ok(piece.fetched(Some(next), has_gone));
                }
            }
        }
    }
    Ok(piece.fetched(None, has_gone))
}

struct Piece<'a> {
    maildir: &'a Maildir,
    sequence: &'a Sequence,
    fetch: &'a Fetch,
    max: usize,
    out: Vec<u8>,
    /// Octets read from files for this piece.
    read: u64,
    /// Octets of each message that this piece ends, if the client has its last one by it.
    whole: Vec<u64>,
}

/// The end of the work on one message.
enum Rendered {
    Whole,
    /// The message was gone before its response began.
    Gone,
    /// The piece is full.
    UpTo(FetchPosition),
}

impl Piece<'_> {
    fn fetched(self, next: Option<FetchPosition>, has_gone: bool) -> FetchedPiece {
        FetchedPiece { octets: self.out, next, has_gone, whole: self.whole }
    }

    /// Whether the response for a message belongs to the next piece.
    fn is_full(&self, uid: u32) -> bool {
        if self.out.is_empty() {
            return self.read >= MAX_READ;
        }
        let is_all = |item: &FetchItem| match item {
            FetchItem::Body(body) => {
                body.partial.is_none() && matches!(body.section.text, SectionText::Whole | SectionText::Text)
            }
            _ => false,
        };
        let mut expected = 0;
        if self.fetch.items.iter().any(is_all) {
            let octets = self.sequence.message(uid).map_or(0, |(_, entry)| entry.octets);
            expected = usize::try_from(octets).unwrap_or(usize::MAX);
        }
        self.read >= MAX_READ || self.out.len().saturating_add(expected) > self.max
    }

    /// Renders the response for the message with this number, from a position on.
    fn message(&mut self, number: u32, position: FetchPosition) -> Result<Rendered, Failure> {
        let sequence = self.sequence;
        let Some((state, entry)) = sequence.message(position.uid) else {
            return if position.is_within_message() { Err(Failure::Gone) } else { Ok(Rendered::Gone) };
        };
        let mut message = ImapMessage::new(self.maildir, entry);
        let start = self.out.len();
        let rendered = self.items(number, position, (state, entry), &mut message);
        self.read += message.octets_read();
        match rendered {
            Ok(None) => {
                if self.fetch.items.iter().any(|item| has_last_octet(item, entry.octets)) {
                    self.whole.push(entry.octets);
                }
                Ok(Rendered::Whole)
            }
            Ok(Some(next)) => Ok(Rendered::UpTo(next)),
            Err(Failure::Gone | Failure::Changed | Failure::Truncated) if !position.is_within_message() => {
                self.out.truncate(start);
                Ok(Rendered::Gone)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Renders items up to the end of the response, or up to the returned position.
    fn items(
        &mut self,
        number: u32,
        position: FetchPosition,
        (state, entry): (MessageState, &MessageEntry),
        message: &mut ImapMessage<'_>,
    ) -> Result<Option<FetchPosition>, Failure> {
        let stamp = stamp(&entry.version);
        if !position.is_within_message() {
            fetch_response::begin(&mut self.out, number);
        } else if position.stamp != stamp {
            return Err(Failure::Changed);
        }
        let fetch = self.fetch;
        for (at, item) in fetch.items.iter().enumerate().skip(position.item) {
            let is_full = self.out.len() >= self.max || self.read + message.octets_read() >= MAX_READ;
            let is_large =
                matches!(item, FetchItem::Body(_) | FetchItem::Structure { .. } | FetchItem::Envelope);
            if is_full && is_large && at > position.item {
                return Ok(Some(FetchPosition { uid: state.uid, item: at, octets: 0, stamp }));
            }
            let sent = if at == position.item { position.octets } else { 0 };
            if let FetchItem::Body(body) = item {
                if let Some(octets) = self.body(at, body, sent, message)? {
                    return Ok(Some(FetchPosition { uid: state.uid, item: at, octets, stamp }));
                }
            } else {
                self.item(at, item, (state, entry), message)?;
            }
        }
        fetch_response::end(&mut self.out);
        Ok(None)
    }

    /// Renders an item without octets of the message.
    fn item(
        &mut self,
        at: usize,
        item: &FetchItem,
        (state, entry): (MessageState, &MessageEntry),
        message: &mut ImapMessage<'_>,
    ) -> Result<(), Failure> {
        let mut items = fetch_response::items(&mut self.out, at == 0);
        match item {
            FetchItem::Envelope => {
                let envelope = Envelope::of(message.header()?);
                response::envelope::write(items.atom("ENVELOPE"), &envelope);
            }
            FetchItem::Flags => {
                let is_recent = self.fetch.recent.contains(state.uid);
                items.atom("FLAGS").flags(state.flags, is_recent, &self.sequence.state.keywords);
            }
            FetchItem::InternalDate => {
                fetch_response::internal_date(items.atom("INTERNALDATE"), entry.version.modified.0);
            }
            FetchItem::Size => {
                items.atom("RFC822.SIZE").number(entry.octets);
            }
            FetchItem::Uid => {
                items.atom("UID").number(state.uid);
            }
            FetchItem::ModSeq => {
                items.atom("MODSEQ").list(|list| {
                    list.number(state.modseq);
                });
            }
            FetchItem::Structure { extended } => {
                let (message, skeleton) = message.structure()?;
                items.atom(if *extended { "BODYSTRUCTURE" } else { "BODY" });
                response::structure::write(&mut items, &message, &skeleton, *extended);
            }
            FetchItem::Body(_) => {}
        }
        Ok(())
    }

    /// Renders octets of a message after those that have been sent. Returns their number if more are to come.
    fn body(
        &mut self,
        at: usize,
        body: &Body,
        sent: u64,
        message: &mut ImapMessage<'_>,
    ) -> Result<Option<u64>, Failure> {
        let found = message.section(&body.section)?;
        let is_first = at == 0;
        let mut items = fetch_response::items(&mut self.out, is_first);
        match found {
            SectionOctets::None => {
                fetch_response::body_name(&mut items, body);
                items.nil();
                Ok(None)
            }
            SectionOctets::Octets(octets) => {
                let (first, length) = partial(body, octets.len() as u64);
                let part = usize::try_from(first)
                    .ok()
                    .zip(usize::try_from(first + length).ok())
                    .and_then(|(from, to)| octets.get(from..to))
                    .unwrap_or_default();
                fetch_response::body_name(&mut items, body);
                fetch_response::literal_head(&mut items, part.len() as u64);
                fetch_response::literal_octets(&mut self.out, part);
                Ok(None)
            }
            SectionOctets::Span(span) => {
                let (first, length) = partial(body, span.octets());
                if sent == 0 {
                    fetch_response::body_name(&mut items, body);
                    fetch_response::literal_head(&mut items, length);
                }
                let left = length.checked_sub(sent).ok_or(Failure::Changed)?;
                let room = self.max.saturating_sub(self.out.len()).max(MIN_PART) as u64;
                let octets = message.read_wire(&span, first + sent, left.min(room))?;
                fetch_response::literal_octets(&mut self.out, &octets);
                Ok((left > room).then_some(sent + room))
            }
        }
    }
}

/// The first octet and the number of octets of a literal, of a section that has so many.
fn partial(body: &Body, octets: u64) -> (u64, u64) {
    let (first, count) = body.partial.map_or((0, octets), |(first, count)| (first.into(), count.into()));
    let first = first.min(octets);
    (first, count.min(octets - first))
}

/// Whether an item has the last octet of a message with so many: a client that reads a message in parts reads it once.
fn has_last_octet(item: &FetchItem, octets: u64) -> bool {
    let FetchItem::Body(body) = item else { return false };
    let (first, length) = partial(body, octets);
    body.section == Section::default() && first + length == octets && (length > 0 || body.partial.is_none())
}

/// A number that another content of the file would not have.
fn stamp(version: &FileVersion) -> u64 {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    hasher.finish()
}

/// The least octets of a literal in a piece, even if the piece is full.
const MIN_PART: usize = 4096;
/// Octets that one piece may read from files: a worker serves other clients too.
const MAX_READ: u64 = 16 << 20;
/// The search for a message that is gone reads both directories. It counts as that many octets.
const COST_OF_A_SEARCH: u64 = 1 << 20;

#[cfg(test)]
mod tests;
