//! The parts of a message as IMAP numbers and measures them (RFC 9051 sections 6.4.5.1 and 7.5.2).
//!
//! The rule: each range is one of the file, with LF or CRLF line ends, and of the wire, where each line ends in CRLF, the last
//! one of the message too. So the ranges of a header and its body meet, and a part's size is what its section delivers.

use std::ops::Range;

use super::{Content, Message, Part, Role};
use crate::wire_size::WireSizeCounter;

/// The parts of a message. The first one is the message itself, and each comes after the one that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    parts: Vec<SkeletonPart>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkeletonPart {
    /// Its header, with the empty line after it.
    pub header: Span,
    /// Its body, without the line end that belongs to the boundary after it.
    pub body: Span,
    /// The line ends of its body.
    pub lines: u64,
    /// The kind of its body.
    pub kind: Kind,
    /// Its index in [`Message::parts`]. `None`: the body of a multipart without parts, as a text.
    pub index: Option<usize>,
}

/// The kind of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Octets of the part's media type.
    Leaf,
    /// Octets of no type that IMAP could tell: a multipart or message that is encoded, or beyond a bound.
    Octets,
    /// The parts of a multipart, at least one.
    Multipart(Vec<usize>),
    /// The message in a `message/rfc822`.
    Message(usize),
}

/// A range of octets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// In the file.
    pub file: Range<u64>,
    /// On the wire, from the beginning of the message.
    pub wire: Range<u64>,
}

impl Span {
    /// Octets on the wire.
    pub fn octets(&self) -> u64 {
        self.wire.end - self.wire.start
    }
}

/// The octets of a message after those that were parsed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tail {
    /// In the file.
    pub bytes: u64,
    /// On the wire.
    pub octets: u64,
    /// Line ends.
    pub lines: u64,
}

impl Skeleton {
    /// The skeleton of a message. `tail` has the sizes of the octets that the message has beyond those that were parsed: they
    /// belong to the parts that have not ended before them. `None` if there are none.
    pub fn of(message: &Message<'_>, tail: Option<Tail>) -> Self {
        let ruler = Ruler::new(message, tail);
        let parts = message.parts();
        let mut skeleton = Self { parts: Vec::with_capacity(parts.len()) };
        // For each part of the message, its index here.
        let mut places: Vec<Option<usize>> = vec![None; parts.len()];
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
        for (index, part) in parts.iter().enumerate() {
            if let Some(parent) = part.parent {
                children[parent].push(index);
            }
        }
        let mut shown = vec![false; parts.len()];
        if let Some(root) = shown.first_mut() {
            *root = true;
        }
        for (index, part) in parts.iter().enumerate() {
            if !shown[index] {
                continue;
            }
            let (kind, below) = kind(parts, index, &children[index]);
            below.iter().for_each(|child| shown[*child] = true);
            let place = skeleton.parts.len();
            places[index] = Some(place);
            skeleton.parts.push(SkeletonPart {
                header: ruler.header(part.header.start..part.body.start),
                body: ruler.body(&part.body),
                lines: ruler.lines(&part.body),
                kind,
                index: Some(index),
            });
            if let Some(parent) = part.parent.and_then(|parent| places[parent]) {
                match &mut skeleton.parts[parent].kind {
                    Kind::Multipart(children) => children.push(place),
                    Kind::Message(child) => *child = place,
                    Kind::Leaf | Kind::Octets => {}
                }
            }
        }
        skeleton.fill_empty_multiparts();
        skeleton
    }

    /// Gives each multipart without parts its body as a text, because IMAP has no form for a multipart without any.
    fn fill_empty_multiparts(&mut self) {
        for index in 0..self.parts.len() {
            let place = self.parts.len();
            let part = &mut self.parts[index];
            if let Kind::Multipart(children) = &mut part.kind
                && children.is_empty()
            {
                children.push(place);
                let Span { file, wire } = &part.body;
                let header = Span { file: file.start..file.start, wire: wire.start..wire.start };
                let (body, lines) = (part.body.clone(), part.lines);
                self.parts.push(SkeletonPart { header, body, lines, kind: Kind::Leaf, index: None });
            }
        }
    }

    /// The parts. The text of a multipart without any stands at the end.
    pub fn parts(&self) -> &[SkeletonPart] {
        &self.parts
    }

    /// The message itself.
    pub fn root(&self) -> &SkeletonPart {
        &self.parts[0]
    }

    /// The part at a path of numbers from 1. The body of a message that is no multipart has the number 1. `None` if there is no
    /// such part.
    pub fn at(&self, path: &[u32]) -> Option<&SkeletonPart> {
        let mut part = self.root();
        let mut is_message = true;
        for number in path {
            if let (Kind::Message(child), false) = (&part.kind, is_message) {
                (part, is_message) = (self.parts.get(*child)?, true);
            }
            part = match &part.kind {
                Kind::Multipart(children) => {
                    let child = usize::try_from(*number).ok()?.checked_sub(1)?;
                    self.parts.get(*children.get(child)?)?
                }
                _ if is_message && *number == 1 => part,
                _ => return None,
            };
            is_message = false;
        }
        Some(part)
    }

    /// The message at a path: the whole one, or the one in a `message/rfc822`. `None` if there is no message.
    pub fn message_at(&self, path: &[u32]) -> Option<&SkeletonPart> {
        match (path, &self.at(path)?.kind) {
            ([], _) => Some(self.root()),
            (_, Kind::Message(child)) => self.parts.get(*child),
            _ => None,
        }
    }
}

/// The kind of a part, without its children, and the children that IMAP sees.
fn kind(parts: &[Part], index: usize, children: &[usize]) -> (Kind, Vec<usize>) {
    let part = &parts[index];
    let is_multipart = part.media_type.value.starts_with("multipart/");
    let is_message = part.media_type.value == "message/rfc822";
    match part.content {
        Content::Message if is_message && !children.is_empty() => (Kind::Message(0), children.to_vec()),
        // Clients take `message/global` for octets, unless they have asked for UTF-8.
        Content::Message => (Kind::Leaf, Vec::new()),
        Content::Leaf | Content::Multipart if is_multipart => {
            let has_header = |child: &&usize| matches!(parts[**child].role, Role::Part | Role::Rest);
            let mut shown: Vec<usize> = children.iter().filter(has_header).copied().collect();
            if shown.is_empty() {
                // Its text, in which no boundary came.
                shown.extend(children.first());
            }
            (Kind::Multipart(Vec::new()), shown)
        }
        Content::Opaque => (Kind::Octets, Vec::new()),
        Content::Leaf | Content::Multipart if is_message => (Kind::Octets, Vec::new()),
        Content::Leaf | Content::Multipart => (Kind::Leaf, Vec::new()),
    }
}

/// The places of a file that begin or end a part, with the octets on the wire and the line ends before each.
struct Ruler {
    marks: Vec<(usize, Mark)>,
    tail: Tail,
    end: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    octets: u64,
    lines: u64,
}

impl Ruler {
    fn new(message: &Message<'_>, tail: Option<Tail>) -> Self {
        let ends = |part: &Part| [part.header.start, part.body.start, part.body.end];
        let mut places: Vec<usize> = message.parts().iter().flat_map(ends).collect();
        places.sort_unstable();
        places.dedup();
        let bytes = message.bytes;
        let mut counter = WireSizeCounter::default();
        let (mut from, mut lines) = (0, 0);
        let mut mark = |to: usize| {
            let piece = &bytes[from..to];
            counter.feed(piece);
            lines += memchr::memchr_iter(b'\n', piece).count() as u64;
            from = to;
            // The line end that the server adds is that of the message, not of a part before.
            let mark = if to == bytes.len() && tail.is_none() {
                let ends = counter.total() - counter.so_far();
                Mark { octets: counter.total(), lines: lines + ends / 2 }
            } else {
                Mark { octets: counter.so_far(), lines }
            };
            (to, mark)
        };
        let marks = places.into_iter().map(&mut mark).collect();
        Self { marks, tail: tail.unwrap_or_default(), end: bytes.len() }
    }

    fn mark(&self, at: usize) -> Mark {
        let found = self.marks.binary_search_by_key(&at, |(place, _)| *place);
        found.map_or_else(|_| Mark::default(), |found| self.marks[found].1)
    }

    fn header(&self, range: Range<usize>) -> Span {
        let wire = self.mark(range.start).octets..self.mark(range.end).octets;
        Span { file: range.start as u64..range.end as u64, wire }
    }

    /// A body. It has the tail if it has not ended before it.
    fn body(&self, range: &Range<usize>) -> Span {
        let mut span = self.header(range.clone());
        if range.end == self.end {
            span.file.end += self.tail.bytes;
            span.wire.end += self.tail.octets;
        }
        span
    }

    fn lines(&self, body: &Range<usize>) -> u64 {
        let tail = if body.end == self.end { self.tail.lines } else { 0 };
        self.mark(body.end).lines - self.mark(body.start).lines + tail
    }
}

#[cfg(test)]
pub(crate) mod tests;
