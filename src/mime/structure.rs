//! The scan that finds the parts of a message (RFC 2046 section 5).
//!
//! The rule: one pass over the lines with a stack of open multiparts, so time is linear and nothing recurses. A boundary of
//! an outer multipart ends all that is inside it, also a header.

use std::ops::Range;

use super::{
    header::{self, Header},
    limits::MimeLimits,
    parameters::Parameterised,
    transfer_encoding::TransferEncoding,
};

/// The contents of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Octets: text or a file, or a multipart in which no boundary came.
    Leaf,
    /// A multipart or a message beyond a bound, not taken apart.
    Opaque,
    /// A multipart: its parts stand between boundaries.
    Multipart,
    /// One message, the part's only child.
    Message,
}

/// The origin of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The message, or a part with a header of its own.
    Part,
    /// Text of a multipart before its first boundary, unless it is the usual notice for readers without MIME.
    Preamble,
    /// Text of a multipart after its last boundary. Most programs hide it.
    Epilogue,
    /// The rest of a message that has more parts than the bound.
    Rest,
}

/// A part of a message, as ranges of octets of that message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The multipart or message that it is in; `None` for the whole message.
    pub parent: Option<usize>,
    /// The number of parts that it is in: 0 for the whole message.
    pub depth: usize,
    /// Its header, without the empty line.
    pub header: Range<usize>,
    /// Its body, as it was sent.
    pub body: Range<usize>,
    /// The kind of its body.
    pub content: Content,
    /// The reason why it is a part.
    pub role: Role,
    /// The media type in lower case, with its parameters. It has the default of RFC 2045 section 5.2 if the header has none.
    pub media_type: Parameterised,
    /// `attachment`, `inline` or another word, with its parameters.
    pub disposition: Parameterised,
    /// Encoding of its body; identity for multiparts.
    pub transfer_encoding: TransferEncoding,
}

/// Finds the parts of a message. The first one is the message itself, and each comes after the one that it is in. The number
/// is that of the steps taken: lines looked at, and boundaries compared.
pub(super) fn scan(bytes: &[u8], limits: &MimeLimits) -> (Vec<Part>, u64) {
    let mut scan =
        Scan { bytes, limits: *limits, parts: Vec::new(), open: Vec::new(), state: State::Body, steps: 0 };
    scan.begin(None, 0, Role::Part);
    let mut at = 0;
    while at < bytes.len() {
        let line = Line::at(bytes, at);
        scan.steps += 1;
        at = scan.take_line(&line);
    }
    scan.end_of_message();
    (scan.parts, scan.steps)
}

struct Scan<'a> {
    bytes: &'a [u8],
    limits: MimeLimits,
    parts: Vec<Part>,
    /// The parts around the current line that have children, the outermost first.
    open: Vec<Open>,
    state: State,
    steps: u64,
}

/// A multipart or a message whose end is not reached.
struct Open {
    part: usize,
    delimiter: Delimiter,
    /// True after its last boundary.
    closed: bool,
}

/// The text that separates the children of a part.
enum Delimiter {
    /// A message has one child only.
    None,
    /// Its header names no boundary: the first line that could be one is taken as one.
    Unknown,
    /// The boundary, without the hyphens before it.
    Boundary(Vec<u8>),
}

/// The meaning of the next line.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The header of the last part. Fields end at `fields_end`; the lines from there to the current one are no fields.
    Header { fields_end: usize },
    /// The body of the last part, which is a leaf.
    Body,
    /// The text of a multipart before its first boundary.
    Preamble,
    /// The text of a multipart after its last boundary, from here.
    Epilogue { from: usize },
    /// The rest of the message, which is the last part.
    Rest,
}

/// A line, with and without its end.
struct Line {
    start: usize,
    /// Position of its line end.
    end: usize,
    next: usize,
}

impl Line {
    fn at(bytes: &[u8], start: usize) -> Self {
        let feed = memchr::memchr(b'\n', &bytes[start..]).map(|at| start + at);
        let next = feed.map_or(bytes.len(), |feed| feed + 1);
        let end =
            feed.map_or(
                bytes.len(),
                |feed| if feed > start && bytes[feed - 1] == b'\r' { feed - 1 } else { feed },
            );
        Self { start, end, next }
    }
}

impl<'a> Scan<'a> {
    /// Takes one line, and returns the position of the next one to take.
    fn take_line(&mut self, line: &Line) -> usize {
        let text = &self.bytes[line.start..line.end];
        if matches!(self.state, State::Rest) {
            return self.bytes.len();
        }
        if text.starts_with(b"--")
            && let Some((level, closes)) = self.boundary(text)
        {
            self.cut(level, line.start);
            return self.next_part(level, closes, line);
        }
        if let State::Header { fields_end } = self.state {
            return self.header_line(line, text, fields_end);
        }
        line.next
    }

    /// One line of a header. A line that is no field is skipped if another field follows; else the body begins with it.
    fn header_line(&mut self, line: &Line, text: &[u8], fields_end: usize) -> usize {
        let is_folded = text.starts_with(b" ") || text.starts_with(b"\t");
        if text.is_empty() {
            let body = if fields_end < line.start { fields_end } else { line.next };
            self.end_of_header(fields_end, body);
            return body;
        }
        if text.starts_with(b"--") && header::name(text).is_none() {
            // A boundary right after the header that names it.
            self.end_of_header(fields_end, fields_end);
            return fields_end;
        }
        let continues = is_folded && fields_end == line.start && !self.is_empty_header(fields_end);
        if continues || (!is_folded && (header::name(text).is_some() || self.is_from_line(line, text))) {
            self.state = State::Header { fields_end: line.next };
        }
        line.next
    }

    fn is_empty_header(&self, fields_end: usize) -> bool {
        self.parts.last().is_some_and(|part| part.header.start == fields_end)
    }

    /// The line that separates messages of an mbox file, in front of a message's header.
    fn is_from_line(&self, line: &Line, text: &[u8]) -> bool {
        let is_first = self.parts.last().is_some_and(|part| {
            let in_multipart =
                part.parent.is_some_and(|parent| self.parts[parent].content == Content::Multipart);
            part.header.start == line.start && !in_multipart
        });
        is_first && text.contains(&b':') && (text.starts_with(b"From ") || text.starts_with(b">From "))
    }

    /// Begins a part at that octet, and makes it the current one.
    fn begin(&mut self, parent: Option<usize>, at: usize, role: Role) {
        let (state, kind) = match role {
            Role::Part => (State::Header { fields_end: at }, ""),
            Role::Preamble | Role::Epilogue => (State::Body, "text/plain"),
            Role::Rest => (State::Rest, "application/octet-stream"),
        };
        self.state = state;
        self.parts.push(Part {
            parent,
            depth: parent.map_or(0, |parent| self.parts[parent].depth + 1),
            header: at..at,
            body: at..self.bytes.len(),
            content: Content::Leaf,
            role,
            media_type: Parameterised::new(kind),
            disposition: Parameterised::default(),
            transfer_encoding: TransferEncoding::Identity,
        });
    }

    /// Ends the header of the last part, and opens what it contains.
    fn end_of_header(&mut self, fields_end: usize, body: usize) {
        let index = self.parts.len() - 1;
        let start = self.parts[index].header.start;
        let header = Header::new(&self.bytes[start..fields_end], self.limits.header);
        // The last place is that of the rest of the message.
        let is_full = index + 2 >= self.limits.parts;
        let default = self.default_type(index);
        let part = &mut self.parts[index];
        (part.header.end, part.body.start) = (fields_end, body);
        part.media_type =
            header.raw("Content-Type").map(|value| Parameterised::parse(&value)).unwrap_or_default();
        part.disposition =
            header.raw("Content-Disposition").map(|value| Parameterised::parse(&value)).unwrap_or_default();
        part.transfer_encoding = header
            .raw("Content-Transfer-Encoding")
            .map(|value| TransferEncoding::parse(&value))
            .unwrap_or_default();
        // RFC 2045 section 5.2: the default also replaces a value that is no media type.
        let kind = part
            .media_type
            .value
            .split_once('/')
            .filter(|(kind, subtype)| !kind.is_empty() && !subtype.is_empty());
        let kind = kind.map(|(kind, _)| kind.to_owned());
        if kind.is_none() {
            part.media_type.value = default.into();
        }
        self.state = State::Body;
        let is_multipart = kind.as_deref() == Some("multipart");
        // An encoded message cannot be searched for boundaries; RFC 2046 section 5.2.1 forbids it.
        let is_message = part.transfer_encoding == TransferEncoding::Identity
            && matches!(part.media_type.value.as_str(), "message/rfc822" | "message/global" | "message/news");
        if (is_multipart || is_message) && (is_full || part.depth + 1 >= self.limits.depth) {
            part.content = Content::Opaque;
            return;
        }
        if is_multipart {
            part.content = Content::Multipart;
            self.state = State::Preamble;
            let named = part.media_type.raw("boundary").map(<[u8]>::to_vec);
            let named = named
                .or_else(|| part.media_type.text("boundary").map(String::into_bytes))
                .unwrap_or_default();
            let delimiter = match named.trim_ascii_end() {
                [] => Delimiter::Unknown,
                boundary => Delimiter::Boundary(boundary.to_owned()),
            };
            self.open.push(Open { part: index, delimiter, closed: false });
        } else if is_message {
            part.content = Content::Message;
            self.open.push(Open { part: index, delimiter: Delimiter::None, closed: false });
            self.begin(Some(index), body, Role::Part);
        }
    }

    /// The media type of a part whose header has none: RFC 2045 section 5.2, RFC 2046 section 5.1.5.
    fn default_type(&self, index: usize) -> &'static str {
        let parent = self.parts[index].parent.map(|parent| self.parts[parent].media_type.value.as_str());
        if parent == Some("multipart/digest") { "message/rfc822" } else { "text/plain" }
    }

    /// The open multipart that the line is a boundary of, and whether it is the last one. An exact match counts before one
    /// with other text after it (RFC 2046 section 5.1.1), and a multipart that is not closed before one that is.
    fn boundary(&mut self, text: &[u8]) -> Option<(usize, bool)> {
        let text = text[2..].trim_ascii_end();
        let mut best: Option<(u8, usize, bool)> = None;
        for (level, open) in self.open.iter_mut().enumerate().rev() {
            self.steps += 1;
            let (rank, closes) = match &open.delimiter {
                Delimiter::None => continue,
                Delimiter::Unknown if !text.is_empty() && !text.iter().any(u8::is_ascii_whitespace) => {
                    (1, false)
                }
                Delimiter::Unknown => continue,
                Delimiter::Boundary(boundary) => match text.strip_prefix(boundary.as_slice()) {
                    Some(b"") => (0, false),
                    Some(b"--") => (0, true),
                    Some([b'-', b'-', b' ' | b'\t', ..]) => (2, true),
                    Some([b' ' | b'\t', ..]) => (2, false),
                    _ => continue,
                },
            };
            let rank = rank * 2 + u8::from(open.closed);
            if best.is_none_or(|(known, ..)| rank < known) {
                best = Some((rank, level, closes));
            }
        }
        let (_, level, closes) = best?;
        if matches!(self.open[level].delimiter, Delimiter::Unknown) {
            self.open[level].delimiter = Delimiter::Boundary(text.to_owned());
        }
        Some((level, closes))
    }

    /// Begins the part after a boundary, or the text after the last one.
    fn next_part(&mut self, level: usize, closes: bool, line: &Line) -> usize {
        let open = &mut self.open[level];
        (open.closed, self.state) = (closes, State::Epilogue { from: line.next });
        let parent = open.part;
        let is_last = self.parts.len() + 1 >= self.limits.parts;
        let more = || !self.bytes[line.next..].trim_ascii().is_empty();
        if is_last && (!closes || more()) {
            self.begin(Some(parent), line.next, Role::Rest);
        } else if !closes {
            self.begin(Some(parent), line.next, Role::Part);
        }
        line.next
    }

    /// Ends all that is inside the open part of that level before the line that begins at `at`. The line end before a boundary
    /// belongs to the boundary (RFC 2046 section 5.1.1).
    fn cut(&mut self, level: usize, at: usize) {
        let end = match &self.bytes[..at] {
            [.., b'\r', b'\n'] => at - 2,
            [.., b'\n'] => at - 1,
            _ => at,
        };
        self.close(level + 1, end);
    }

    fn end_of_message(&mut self) {
        self.close(0, self.bytes.len());
    }

    /// Ends the current part and the open ones from that level on.
    fn close(&mut self, level: usize, end: usize) {
        // The end of a header may begin a nested message.
        while let State::Header { fields_end } = self.state {
            self.end_of_header(fields_end, fields_end);
        }
        match self.state {
            State::Body | State::Rest => self.end_part(self.parts.len() - 1, end),
            State::Epilogue { from } => self.add_text_part(from, end, Role::Epilogue),
            // If the multipart itself ends here, no boundary came, and all of it is a text.
            State::Preamble if self.open.len() == level => {
                let from = self.open.last().map_or(end, |open| self.parts[open.part].body.start);
                self.add_text_part(from, end, Role::Preamble);
            }
            State::Header { .. } | State::Preamble => {}
        }
        while self.open.len() > level {
            let Some(open) = self.open.pop() else { break };
            self.end_part(open.part, end);
            // A multipart in which no boundary came is a text.
            if self.parts.len() == open.part + 1 {
                self.parts[open.part].content = Content::Leaf;
            }
        }
        self.state = State::Body;
    }

    /// Ends a part. An empty one would end before its start, because the line end between belongs to the boundary.
    fn end_part(&mut self, index: usize, end: usize) {
        let Part { header, body, .. } = &mut self.parts[index];
        *header = header.start.min(end)..header.end.min(end);
        *body = body.start.min(end)..end;
    }

    /// Makes a part of text before the first boundary or after the last one, if there is any.
    fn add_text_part(&mut self, from: usize, end: usize, role: Role) {
        let Some(open) = self.open.last() else { return };
        let parent = open.part;
        let text = self.bytes.get(from..end).unwrap_or_default().trim_ascii();
        let notice = &text[..text.len().min(MAX_NOTICE)];
        let is_notice =
            role == Role::Preamble && notice.to_ascii_uppercase().windows(4).any(|word| word == b"MIME");
        // No bound check: if the parts are full, `next_part` has begun the rest of the message, and no text comes after it.
        if !text.is_empty() && !is_notice {
            self.begin(Some(parent), from, role);
            self.end_part(self.parts.len() - 1, end);
        }
    }
}

/// Octets searched for the notice "This is a multi-part message in MIME format".
const MAX_NOTICE: usize = 1000;

#[cfg(test)]
mod tests;
