//! FETCH: renders the responses for messages, piece by piece (RFC 9051 section 6.4.5).
//!
//! The rule: a literal has exactly the octets that were announced. A message that is gone before its response begins is left
//! out. One that goes later is sent to its end, because its file stays open. Any other failure within a response is one of the
//! whole command, and the session ends the connection.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::RangeInclusive,
};

use super::{
    imap_message::{ImapMessage, SectionOctets},
    piece_files::{PieceFiles, UnfinishedMessage},
};
use crate::{
    index::sequence::Sequence,
    maildir::{FileVersion, Maildir, MessageEntry},
    proto::{
        imap::{
            fetch_item::{Body, FetchItem, Section, SectionText},
            request::{Fetch, FetchPosition, FetchedPiece, MessageState},
            response::{
                self,
                fetch::{self as fetch_response, ItemName},
                writer::Items,
            },
        },
        request::Failure,
    },
};

/// Renders the responses for the messages of `fetch` from its position on. A piece has about `max` octets: it ends within a
/// literal that is larger, between two items of a message that has too many, and else between two messages. The next piece
/// begins with the message that this one returns.
///
/// # Errors
/// A file cannot be read. If the position is within a message, the connection has to end.
pub fn fetch_piece(
    maildir: &Maildir,
    sequence: &Sequence,
    fetch: &Fetch,
    max: usize,
    (unfinished, files): (Option<Box<UnfinishedMessage>>, &PieceFiles),
) -> Result<(FetchedPiece, Option<Box<UnfinishedMessage>>), Failure> {
    Piece::new(maildir, sequence, fetch, max, Reads::Files(unfinished, files)).render()
}

/// Renders a piece on a thread that must not wait: the flags and other facts of messages, and the octets of a few small
/// messages, which `read_cached` reads if the kernel has them in memory. `None`: a worker has to render the piece.
pub fn fetch_cached(
    maildir: &Maildir,
    sequence: &Sequence,
    fetch: &Fetch,
    max: usize,
    read_cached: ReadCached<'_>,
) -> Option<FetchedPiece> {
    if fetch.position.is_within_message() || !fetch.items.iter().all(|item| item.is_fact() || item.is_plain())
    {
        return None;
    }
    let first = fetch.position.uid;
    let count = |range: RangeInclusive<u32>| range.end() - range.start().max(&first) + 1;
    let counts = fetch.uids.ranges_from(first).take(MAX_CACHED).map(count);
    let has_few = counts.fold(0, u32::saturating_add) as usize <= MAX_CACHED
        && fetch.uids.ranges_from(first).nth(MAX_CACHED).is_none();
    if !has_few && !fetch.items.iter().all(FetchItem::is_fact) {
        return None;
    }
    let (piece, _) = Piece::new(maildir, sequence, fetch, max, Reads::Cached(read_cached)).render().ok()?;
    (!piece.octets.is_empty() || piece.next.is_none()).then_some(piece)
}

/// Reads the file of a message without a wait, or not at all.
pub type ReadCached<'a> = &'a mut dyn FnMut(&MessageEntry) -> Option<Vec<u8>>;

struct Piece<'a> {
    maildir: &'a Maildir,
    sequence: &'a Sequence,
    fetch: &'a Fetch,
    max: usize,
    reads: Reads<'a>,
    /// The names of the items with octets of a message.
    names: Vec<Option<ItemName>>,
    /// Whether no item needs the file of a message.
    has_facts_only: bool,
    /// Whether an item has all octets of a message, so that their number is known before it is rendered.
    has_whole: bool,
    out: Vec<u8>,
    /// Octets read from files for this piece.
    read: u64,
    /// Octets of each message that this piece ends, if the client has its last one by it.
    whole: Vec<u64>,
}

/// The way to the octets of messages.
enum Reads<'a> {
    /// A thread that must not wait reads whole messages.
    Cached(ReadCached<'a>),
    /// A worker opens files. The message whose response goes on has its own.
    Files(Option<Box<UnfinishedMessage>>, &'a PieceFiles),
}

/// The end of the work on one message.
enum Rendered {
    Whole,
    /// The message was gone before its response began.
    Gone,
    /// The piece is full.
    UpTo(FetchPosition),
}

impl<'a> Piece<'a> {
    fn new(
        maildir: &'a Maildir,
        sequence: &'a Sequence,
        fetch: &'a Fetch,
        max: usize,
        reads: Reads<'a>,
    ) -> Self {
        let name = |item: &FetchItem| match item {
            FetchItem::Body(body) => Some(ItemName::of(body)),
            _ => None,
        };
        let is_whole = |item: &FetchItem| match item {
            FetchItem::Body(Body { section, partial: None, .. }) => {
                matches!(section.text, SectionText::Whole | SectionText::Text)
            }
            _ => false,
        };
        Self {
            maildir,
            sequence,
            fetch,
            max,
            reads,
            names: fetch.items.iter().map(name).collect(),
            has_facts_only: fetch.items.iter().all(FetchItem::is_fact),
            has_whole: fetch.items.iter().any(is_whole),
            out: Vec::new(),
            read: 0,
            whole: Vec::new(),
        }
    }

    fn render(mut self) -> Result<(FetchedPiece, Option<Box<UnfinishedMessage>>), Failure> {
        let mut has_gone = false;
        let (fetch, messages) = (self.fetch, &self.fetch.state.messages);
        for range in fetch.uids.ranges_from(fetch.position.uid) {
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
                let place = self.sequence.place(uid, at);
                if !position.is_within_message() && self.is_full(place) {
                    return Ok(self.fetched(Some(position), has_gone));
                }
                match self.message((at, place), *message, position)? {
                    Rendered::Whole => {}
                    Rendered::Gone => has_gone = true,
                    Rendered::UpTo(next) => {
                        return Ok(self.fetched(Some(next), has_gone));
                    }
                }
            }
        }
        Ok(self.fetched(None, has_gone))
    }

    fn fetched(
        self,
        next: Option<FetchPosition>,
        has_gone: bool,
    ) -> (FetchedPiece, Option<Box<UnfinishedMessage>>) {
        let unfinished = match self.reads {
            Reads::Cached(_) => None,
            Reads::Files(unfinished, _) => unfinished,
        };
        (FetchedPiece { octets: self.out, next, has_gone, whole: self.whole }, unfinished)
    }

    /// Whether the response for the message at that place belongs to the next piece.
    fn is_full(&self, place: Option<usize>) -> bool {
        if self.out.is_empty() {
            return self.read >= MAX_READ;
        }
        let mut expected = 0;
        if self.has_whole {
            let octets = place.and_then(|place| self.sequence.entry(place)).map_or(0, |entry| entry.octets);
            expected = usize::try_from(octets).unwrap_or(usize::MAX);
        }
        self.read >= MAX_READ || self.out.len().saturating_add(expected) > self.max
    }

    /// Renders the response for a message, from a position on. The message has its number and its state in the client's folder,
    /// and its place in the newest one.
    fn message(
        &mut self,
        (at, place): (usize, Option<usize>),
        known: MessageState,
        position: FetchPosition,
    ) -> Result<Rendered, Failure> {
        let sequence = self.sequence;
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let found = place.and_then(|place| Some((*sequence.state.messages.get(place)?, place)));
        if let Some(unfinished) = self.unfinished(position) {
            let UnfinishedMessage { entry, file, .. } = *unfinished;
            let state = found.map_or(known, |(state, _)| state);
            let message = ImapMessage::with_file(self.maildir, &entry, file.into_inner())?;
            return self.octets(number, position, (state, &entry), message);
        }
        let Some((state, place)) = found else {
            self.read += COST_OF_A_LOOK;
            return if position.is_within_message() { Err(Failure::Gone) } else { Ok(Rendered::Gone) };
        };
        if self.has_facts_only {
            return self.facts(number, (state, place));
        }
        let entry = sequence.entry(place).ok_or(Failure::Gone)?;
        let message = match &mut self.reads {
            Reads::Files(..) => ImapMessage::new(self.maildir, entry),
            Reads::Cached(read) => match read(entry) {
                Some(octets) => ImapMessage::with_octets(self.maildir, entry, octets),
                None => return Ok(Rendered::UpTo(position)),
            },
        };
        self.octets(number, position, (state, entry), message)
    }

    /// The message in whose response the position is, if its file is open.
    fn unfinished(&mut self, position: FetchPosition) -> Option<Box<UnfinishedMessage>> {
        let Reads::Files(unfinished, _) = &mut self.reads else { return None };
        unfinished.take().filter(|message| position.is_within_message() && message.uid == position.uid)
    }

    /// Renders the response for a message of which octets are wanted.
    fn octets(
        &mut self,
        number: u32,
        position: FetchPosition,
        (state, entry): (MessageState, &MessageEntry),
        mut message: ImapMessage<'_>,
    ) -> Result<Rendered, Failure> {
        self.reserve(entry.octets);
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
            Ok(Some(next)) => match &mut self.reads {
                // The worker that renders the rest would have to find the file again, and it may be gone by then.
                Reads::Cached(_) => {
                    self.out.truncate(start);
                    Ok(Rendered::UpTo(position))
                }
                Reads::Files(unfinished, files) => {
                    let kept = message.into_file().and_then(|file| files.keep(file));
                    let kept =
                        kept.map(|file| UnfinishedMessage { uid: state.uid, entry: entry.clone(), file });
                    *unfinished = kept.map(Box::new);
                    Ok(Rendered::UpTo(next))
                }
            },
            Err(Failure::Gone | Failure::Changed | Failure::Truncated) if !position.is_within_message() => {
                self.out.truncate(start);
                self.read += COST_OF_A_SEARCH;
                Ok(Rendered::Gone)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Reserves memory for a message of so many octets. A second message has others after it, which fill the piece.
    fn reserve(&mut self, octets: u64) {
        if self.has_whole {
            let octets = usize::try_from(octets).unwrap_or(usize::MAX).saturating_add(MAX_NAMES);
            let room = self.max.saturating_sub(self.out.len()).min(MAX_RESERVED);
            self.out.reserve(if self.out.is_empty() { octets.min(room) } else { room });
        }
    }

    /// Renders a response that needs no file.
    fn facts(&mut self, number: u32, found: (MessageState, usize)) -> Result<Rendered, Failure> {
        fetch_response::begin(&mut self.out, number);
        let ((state, place), sequence) = (found, self.sequence);
        let entry = || sequence.entry(place).ok_or(Failure::Gone);
        for (at, item) in self.fetch.items.iter().enumerate() {
            self.fact(at, item, state, entry)?;
        }
        fetch_response::end(&mut self.out);
        Ok(Rendered::Whole)
    }

    /// Renders items up to the end of the response, or up to the returned position.
    fn items(
        &mut self,
        number: u32,
        position: FetchPosition,
        (state, entry): (MessageState, &MessageEntry),
        message: &mut ImapMessage<'_>,
    ) -> Result<Option<FetchPosition>, Failure> {
        let stamp = || stamp(&entry.version);
        if !position.is_within_message() {
            fetch_response::begin(&mut self.out, number);
        } else if position.stamp != stamp() {
            return Err(Failure::Changed);
        }
        let fetch = self.fetch;
        for (at, item) in fetch.items.iter().enumerate().skip(position.item) {
            let is_full = self.out.len() >= self.max || self.read + message.octets_read() >= MAX_READ;
            let is_large =
                matches!(item, FetchItem::Body(_) | FetchItem::Structure { .. } | FetchItem::Envelope);
            if is_full && is_large && at > position.item {
                return Ok(Some(FetchPosition { uid: state.uid, item: at, octets: 0, stamp: stamp() }));
            }
            let sent = if at == position.item { position.octets } else { 0 };
            if let FetchItem::Body(body) = item {
                if let Some(octets) = self.body(at, body, sent, message)? {
                    return Ok(Some(FetchPosition { uid: state.uid, item: at, octets, stamp: stamp() }));
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
                response::envelope::write(items.atom("ENVELOPE"), &message.envelope()?);
            }
            FetchItem::Structure { extended } => {
                let structure = message.rendered_structure(*extended, |items, message, skeleton| {
                    response::structure::write(items, message, skeleton, *extended);
                })?;
                structure.write(items.atom(if *extended { "BODYSTRUCTURE" } else { "BODY" }));
            }
            _ => self.fact(at, item, state, || Ok(entry))?,
        }
        Ok(())
    }

    /// Renders an item that the folder knows.
    fn fact<'e>(
        &mut self,
        at: usize,
        item: &FetchItem,
        state: MessageState,
        entry: impl Fn() -> Result<&'e MessageEntry, Failure>,
    ) -> Result<(), Failure> {
        let mut items = fetch_response::items(&mut self.out, at == 0);
        match item {
            FetchItem::Flags => {
                let is_recent = self.fetch.recent.contains(state.uid);
                items.atom("FLAGS").flags(state.flags, is_recent, &self.sequence.state.keywords);
            }
            FetchItem::InternalDate => {
                fetch_response::internal_date(items.atom("INTERNALDATE"), entry()?.version.modified.0);
            }
            FetchItem::Size => {
                items.atom("RFC822.SIZE").number(entry()?.octets);
            }
            FetchItem::Uid => {
                items.atom("UID").number(state.uid);
            }
            FetchItem::ModSeq => {
                items.atom("MODSEQ").list(|list| {
                    list.number(state.modseq);
                });
            }
            // invariant: the caller renders the others
            FetchItem::Envelope | FetchItem::Structure { .. } | FetchItem::Body(_) => {}
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
        let write_name = |items: &mut Items<'_>| {
            if let Some(Some(name)) = self.names.get(at) {
                name.write(items);
            }
        };
        match found {
            SectionOctets::None => {
                write_name(&mut items);
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
                write_name(&mut items);
                fetch_response::literal_head(&mut items, part.len() as u64);
                fetch_response::literal_octets(&mut self.out, part);
                Ok(None)
            }
            SectionOctets::Span(span) => {
                let (first, length) = partial(body, span.octets());
                if sent == 0 {
                    write_name(&mut items);
                    fetch_response::literal_head(&mut items, length);
                }
                let left = length.checked_sub(sent).ok_or(Failure::Changed)?;
                let room = self.max.saturating_sub(self.out.len()).max(MIN_PART) as u64;
                let octets = (first + sent, left.min(room));
                fetch_response::literal_part(&mut self.out, |out| message.read_wire(&span, octets, out))?;
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
/// The look for one that the folder does not have any more.
const COST_OF_A_LOOK: u64 = 8 << 10;
/// Octets of memory that are reserved at a time.
const MAX_RESERVED: usize = 256 << 10;
/// Octets for the names of a few items, and for flags.
const MAX_NAMES: usize = 128;
/// Small messages that a thread reads at a time which must not wait.
const MAX_CACHED: usize = 4;

#[cfg(test)]
mod tests;
