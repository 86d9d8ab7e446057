//! Reads one message for IMAP: the beginning of its file, its parts, and any range of its octets on the wire.
//!
//! The rule: only as much of the file is read as the question needs, and a file that is not the listed one, or ends too early, is
//! a failure and never an answer.

mod known;
mod recent;

use std::{borrow::Cow, ops::Range, sync::Arc};

use self::{known::known, recent::Place};
use super::{piece_files::PieceFile, storage::log_failure};
use crate::{
    maildir::{Maildir, MessageEntry, OpenMessage},
    mime::{
        Header, Message, MimeLimits, Skeleton,
        envelope::Envelope,
        header::raw_fields,
        skeleton::{Span, Tail},
        structure::header_end,
    },
    proto::{
        imap::{
            fetch_item::{Section, SectionText},
            response::{fetch::RenderedItem, writer::Items},
        },
        request::Failure,
    },
    wire_size::{WireSizeCounter, push_wire, wire_size},
};

/// A message whose file is opened when something in it is needed.
pub(super) struct ImapMessage<'a> {
    maildir: &'a Maildir,
    entry: &'a MessageEntry,
    file: Option<PieceFile>,
    /// The first octets of the file.
    start: Vec<u8>,
    /// Whether the caller has read the whole file, on a thread that must not wait for a lock.
    is_given: bool,
    skeleton: Option<Arc<Skeleton>>,
    /// Octets read or parsed so far.
    read: u64,
}

/// The octets of a section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SectionOctets {
    /// The message has no such section.
    None,
    /// Octets that are put together.
    Octets(Vec<u8>),
    /// A range of the message.
    Span(Span),
}

impl<'a> ImapMessage<'a> {
    pub(super) fn new(maildir: &'a Maildir, entry: &'a MessageEntry) -> Self {
        Self { maildir, entry, file: None, start: Vec::new(), is_given: false, skeleton: None, read: 0 }
    }

    /// A message with all octets of its file. Sections without a path need nothing else.
    pub(super) fn with_octets(maildir: &'a Maildir, entry: &'a MessageEntry, octets: Vec<u8>) -> Self {
        Self { start: octets, is_given: true, ..Self::new(maildir, entry) }
    }

    /// A message whose file an earlier piece has left open. A file that was written to since is a failure.
    pub(super) fn with_file(
        maildir: &'a Maildir,
        entry: &'a MessageEntry,
        file: PieceFile,
    ) -> Result<Self, Failure> {
        file.check_unchanged(entry.version).map_err(|error| log_failure(&error))?;
        Ok(Self { file: Some(file), ..Self::new(maildir, entry) })
    }

    /// The file, if something was read from it.
    pub(super) fn into_file(self) -> Option<PieceFile> {
        self.file
    }

    /// Octets read from the file or parsed so far: the cost of the answers.
    pub(super) fn octets_read(&self) -> u64 {
        self.read
    }

    /// Octets of the file at a place: `max` of them, or all to its end.
    fn read_file(&mut self, from: u64, max: usize) -> Result<Vec<u8>, Failure> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let opened = OpenMessage::open(self.maildir, self.entry.into());
                self.file.insert(opened.map_err(|error| log_failure(&error))?.into())
            }
        };
        let (bytes, _) = file.read(from, max).map_err(|error| log_failure(&error))?;
        self.read += bytes.len() as u64;
        Ok(bytes)
    }

    /// Reads the first octets of the file, up to `most`.
    fn load(&mut self, most: usize) -> Result<(), Failure> {
        let most = usize::try_from(self.entry.version.bytes).unwrap_or(usize::MAX).min(most);
        // The file is opened even if it is empty: it may be gone.
        if self.start.len() < most || self.file.is_none() && !self.is_given {
            let more = self.read_file(self.start.len() as u64, most - self.start.len())?;
            if self.start.is_empty() { self.start = more } else { self.start.extend_from_slice(&more) }
        }
        Ok(())
    }

    /// Whether all octets of the file are in memory.
    fn is_whole(&self) -> bool {
        self.start.len() as u64 == self.entry.version.bytes
    }

    /// The end of the fields, and the beginning of the body.
    fn header_end(&mut self) -> Result<(usize, usize), Failure> {
        let mut most = FIRST_READ;
        loop {
            self.load(most)?;
            let is_last = self.is_whole() || most >= MAX_PARSED;
            if let Some(found) = header_end(&self.start, is_last) {
                return Ok(found);
            }
            if is_last {
                return Ok((self.start.len(), self.start.len()));
            }
            most = most.saturating_mul(4).min(MAX_PARSED);
        }
    }

    /// The header.
    pub(super) fn header(&mut self) -> Result<Header<'_>, Failure> {
        let (end, _) = self.header_end()?;
        Ok(Header::new(&self.start[..end], MimeLimits::default().header))
    }

    /// The message and its skeleton.
    pub(super) fn structure(&mut self) -> Result<(Message<'_>, Arc<Skeleton>), Failure> {
        self.load(MAX_PARSED)?;
        let known = self.known_skeleton();
        let tail = if known.is_some() || self.is_whole() { None } else { Some(self.tail()?) };
        self.read += self.start.len() as u64;
        let message = Message::parse(&self.start, &MimeLimits::default());
        let skeleton = known.unwrap_or_else(|| Arc::new(Skeleton::of(&message, tail)));
        self.skeleton = Some(Arc::clone(&skeleton));
        Ok((message, skeleton))
    }

    /// The skeleton, for a section. The next command may ask for the next octets of the same part.
    fn skeleton(&mut self) -> Result<Arc<Skeleton>, Failure> {
        if let Some(known) = self.known_skeleton() {
            return Ok(known);
        }
        let (_, skeleton) = self.structure()?;
        if self.is_large() {
            recent::remember_skeleton(self.key(), &skeleton);
        }
        Ok(skeleton)
    }

    /// The skeleton if the message was parsed not long ago. Small ones are parsed again in less time.
    fn known_skeleton(&self) -> Option<Arc<Skeleton>> {
        self.skeleton.clone().or_else(|| if self.is_large() { recent::skeleton(self.key()) } else { None })
    }

    /// Whether it is worth while to remember something of the message.
    fn is_large(&self) -> bool {
        self.entry.version.bytes > FIRST_READ as u64 && !self.is_given
    }

    /// The fields of the header that lists of messages show.
    fn listed_fields(&mut self) -> Result<Arc<[u8]>, Failure> {
        if let Some(fields) = known().fields(self.key()) {
            return Ok(fields);
        }
        let fields = known::listed_fields(self.header()?).into();
        known().insert_fields(self.key(), &fields);
        Ok(fields)
    }

    /// The envelope.
    pub(super) fn envelope(&mut self) -> Result<Envelope, Failure> {
        let fields = self.listed_fields()?;
        Ok(Envelope::of(Header::new(&fields, MimeLimits::default().header)))
    }

    /// The structure, as `render` writes it. Several clients ask for it.
    pub(super) fn rendered_structure(
        &mut self,
        extended: bool,
        render: impl FnOnce(&mut Items<'_>, &Message<'_>, &Skeleton),
    ) -> Result<RenderedItem, Failure> {
        if let Some(structure) = known().structure(self.key(), extended) {
            return Ok(structure);
        }
        let (message, skeleton) = self.structure()?;
        let structure = RenderedItem::render(|items| render(items, &message, &skeleton));
        known().insert_structure(self.key(), extended, &structure);
        Ok(structure)
    }

    /// The message. Only the beginning of a very large one is parsed.
    pub(super) fn message(&mut self) -> Result<Message<'_>, Failure> {
        self.load(MAX_PARSED)?;
        self.read += self.start.len() as u64;
        Ok(Message::parse(&self.start, &MimeLimits::default()))
    }

    /// Measures the octets that are not in memory.
    fn tail(&mut self) -> Result<Tail, Failure> {
        let mut counter = WireSizeCounter::default();
        counter.feed(&self.start);
        let (before, mut lines, mut at) = (counter.so_far(), 0, self.start.len() as u64);
        while at < self.entry.version.bytes {
            let bytes = self.read_file(at, CHUNK)?;
            at += bytes.len() as u64;
            lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
            counter.feed(&bytes);
        }
        let missing_end = (counter.total() - counter.so_far()) / 2;
        let bytes = self.entry.version.bytes - self.start.len() as u64;
        Ok(Tail { bytes, octets: counter.total() - before, lines: lines + missing_end })
    }

    fn key(&self) -> recent::Key {
        (self.maildir.id().0, self.entry.version)
    }

    /// All octets of the message.
    fn whole(&mut self) -> Result<Span, Failure> {
        self.load(FIRST_READ)?;
        // The name of a small file need not be believed.
        let octets = if self.is_whole() { wire_size(&self.start) } else { self.entry.octets };
        Ok(Span { file: 0..self.entry.version.bytes, wire: 0..octets })
    }

    /// The header with the empty line, and the rest.
    fn header_and_text(&mut self) -> Result<(Span, Span), Failure> {
        let (_, body) = self.header_end()?;
        let whole = self.whole()?;
        let mut counter = WireSizeCounter::default();
        counter.feed(&self.start[..body]);
        let is_all = body as u64 == whole.file.end;
        let octets = if is_all { whole.wire.end } else { counter.so_far() };
        let header = Span { file: 0..body as u64, wire: 0..octets };
        Ok((header, Span { file: body as u64..whole.file.end, wire: octets..whole.wire.end }))
    }

    /// The octets of a section.
    pub(super) fn section(&mut self, section: &Section) -> Result<SectionOctets, Failure> {
        let Section { path, text } = section;
        if let SectionText::Fields { names, is_except: false } = text
            && path.is_empty()
            && known::are_listed(names)
        {
            return Ok(SectionOctets::Octets(chosen_fields(&self.listed_fields()?, names, false)));
        }
        let span = if path.is_empty() {
            Some(match text {
                SectionText::Whole => self.whole()?,
                SectionText::Text => self.header_and_text()?.1,
                SectionText::Header | SectionText::Mime | SectionText::Fields { .. } => {
                    self.header_and_text()?.0
                }
            })
        } else {
            let skeleton = self.skeleton()?;
            match text {
                SectionText::Whole => skeleton.at(path).map(|part| part.body.clone()),
                SectionText::Mime => skeleton.at(path).map(|part| part.header.clone()),
                SectionText::Text => skeleton.message_at(path).map(|part| part.body.clone()),
                SectionText::Header | SectionText::Fields { .. } => {
                    skeleton.message_at(path).map(|part| part.header.clone())
                }
            }
        };
        let Some(span) = span else { return Ok(SectionOctets::None) };
        Ok(match text {
            SectionText::Fields { names, is_except } => {
                let header = self.file_octets(&span.file, MimeLimits::default().header)?;
                SectionOctets::Octets(chosen_fields(&header, names, *is_except))
            }
            _ => SectionOctets::Span(span),
        })
    }

    /// The first octets of a range of the file.
    fn file_octets(&mut self, range: &Range<u64>, most: usize) -> Result<Cow<'_, [u8]>, Failure> {
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(most);
        if let Some(from) = usize::try_from(range.start).ok().filter(|from| from + length <= self.start.len())
        {
            return Ok(Cow::Borrowed(&self.start[from..from + length]));
        }
        self.read_file(range.start, length).map(Cow::Owned)
    }

    /// Appends octets of a span on the wire: `count` of them, after the first `skipped`. A file that has fewer is a failure.
    pub(super) fn read_wire(
        &mut self,
        span: &Span,
        (skipped, count): (u64, u64),
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let (from, to) = (span.wire.start + skipped, span.wire.start + skipped + count);
        let mut place = Place { file: span.file.start, wire: span.wire.start };
        if self.is_large()
            && let Some(known) = recent::place(self.key())
            && (place.wire..=from).contains(&known.wire)
            && (place.file..=span.file.end).contains(&known.file)
        {
            place = known;
        }
        let file_end = self.entry.version.bytes;
        let begin = out.len();
        out.reserve(usize::try_from(count).unwrap_or(0));
        while place.wire < to && place.file < span.file.end {
            let kept = place;
            // The octet before shows whether a line feed stands alone.
            let before = u64::from(place.file > 0);
            let end = span.file.end.min(place.file + CHUNK as u64);
            let chunk = self.file_octets(&(place.file - before..end), usize::MAX)?;
            let (previous, bytes) = chunk.split_at(usize::from(before == 1).min(chunk.len()));
            let at = out.len();
            push_wire(previous.first().copied(), bytes, out);
            // The server ends the last line of a message (RFC 5322 section 2.3).
            if end == file_end && end == span.file.end && bytes.last() != Some(&b'\n') {
                out.extend_from_slice(b"\r\n");
            }
            let octets = out.len() - at;
            place = Place { file: end, wire: place.wire + octets as u64 };
            let within =
                |wire: u64| usize::try_from(wire.saturating_sub(kept.wire)).unwrap_or(usize::MAX).min(octets);
            out.truncate(at + within(to));
            out.drain(at..at + within(from));
            if place.wire >= to && to < span.wire.end && self.is_large() {
                recent::remember_place(self.key(), kept);
            }
        }
        if (out.len() - begin) as u64 == count { Ok(()) } else { Err(Failure::Truncated) }
    }
}

/// The fields of a header with these names, or with others, as they were sent, and the empty line after them.
fn chosen_fields(header: &[u8], names: &[Vec<u8>], is_except: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in raw_fields(header) {
        let is_named = names.iter().any(|name| name.eq_ignore_ascii_case(field.name));
        if is_named != is_except {
            push_wire(None, field.lines, &mut out);
            if !out.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Octets of a file that are read first. Most headers are in them, and so are small messages.
const FIRST_READ: usize = 16 << 10;
/// Octets of a message that are parsed. What comes after them belongs to the parts that are open there.
const MAX_PARSED: usize = 64 << 20;
/// Octets of a file that are converted at a time.
const CHUNK: usize = 32 << 10;

#[cfg(test)]
pub(super) mod corpus;
#[cfg(test)]
pub(super) mod tests;
