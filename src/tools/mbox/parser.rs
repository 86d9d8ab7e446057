//! Splits an mbox into messages in one pass. Memory use depends neither on the size of the file nor on the
//! length of its lines.

use std::io::Read;

use super::{
    Beginning, DoubtfulLine, Error, Format, MessageSink, OpenedFile, OtherFormat,
    from_line::{FROM, Reading},
    window::Window,
};

/// Splits `source` to its end. Its first octet is octet `offset` of the mbox and begins a line. A file that begins with
/// the header of a message is that one message. Returns the offset of the end.
pub fn parse(
    source: impl Read,
    format: Format,
    offset: u64,
    sink: &mut impl MessageSink,
) -> Result<u64, Error> {
    let mut window = Window::new(source, offset);
    if offset == 0 {
        let opened = OpenedFile::of(window);
        if matches!(opened.beginning(), Beginning::Message(_)) {
            return opened.deliver(None, sink);
        }
        window = opened.into_window();
    }
    Parser { window, format, message: None, line: Line::Start }.run(sink)
}

struct Parser<R> {
    window: Window<R>,
    format: Format,
    message: Option<Message>,
    line: Line,
}

/// The message whose end is not reached.
struct Message {
    at: u64,
    /// True if the From_ line ends in CRLF. The CR of the other lines is then removed.
    crlf: bool,
    /// True after an empty line, which is either the end of the message or a part of it.
    empty_line: bool,
    /// True if a line followed the From_ line.
    has_line: bool,
}

/// The position within a line, across the pieces of a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    /// After `>` at the beginning. One `>` is held back until the next octets are known.
    Quotes,
    Rest,
}

impl<R: Read> Parser<R> {
    fn run(mut self, sink: &mut impl MessageSink) -> Result<u64, Error> {
        loop {
            let need = if self.line == Line::Start { MAX_FROM_LINE } else { FROM.len() };
            self.window.fill(need);
            if self.line == Line::Start && self.window.rest().starts_with(FROM) {
                self.window.fill(MAX_FROM_LINE + HEADER_BELOW);
            }
            if self.window.rest().is_empty() {
                return self.finish(sink);
            }
            match self.line {
                Line::Start => self.start(sink)?,
                Line::Quotes => self.quotes(sink)?,
                Line::Rest => self.rest(sink)?,
            }
        }
    }

    fn start(&mut self, sink: &mut impl MessageSink) -> Result<(), Error> {
        let rest = self.window.rest();
        let line = memchr::memchr(b'\n', &rest[..rest.len().min(MAX_FROM_LINE)]).map(|end| &rest[..=end]);
        if rest.starts_with(FROM) {
            let (begun, after_empty_line) =
                (self.message.is_some(), self.message.as_ref().is_none_or(|message| message.empty_line));
            let Reading { from, is_doubtful } = match line {
                Some(line) => Reading::of(line, &rest[line.len()..], after_empty_line, self.format),
                None => Reading { from: None, is_doubtful: rest.len() >= MAX_FROM_LINE },
            };
            let (at, length) = (self.window.offset, line.map_or(0, <[u8]>::len));
            if is_doubtful && (begun || from.is_some()) {
                let text = line.unwrap_or(&rest[..rest.len().min(MAX_FROM_LINE)]).trim_ascii_end();
                sink.doubt(DoubtfulLine::new(at, text, from.is_some()));
            }
            if let Some(from) = from {
                if begun {
                    sink.end(at)?;
                }
                sink.begin(&from, at)?;
                self.message = Some(Message { at, crlf: from.crlf, empty_line: false, has_line: false });
                self.window.take(length);
                return Ok(());
            }
        }
        let Some(message) = &mut self.message else {
            return match line {
                Some(empty @ (b"\n" | b"\r\n")) => {
                    let length = empty.len();
                    self.window.take(length);
                    Ok(())
                }
                _ => Err(Error::NoMbox(OtherFormat::of(&rest[..rest.len().min(MAX_FROM_LINE)]))),
            };
        };
        message.has_line = true;
        if std::mem::take(&mut message.empty_line) {
            sink.text(b"\n")?;
        }
        match line {
            Some(empty) if *empty == *b"\n" || (message.crlf && *empty == *b"\r\n") => {
                message.empty_line = true;
                let length = empty.len();
                self.window.take(length);
            }
            _ if rest[0] == b'>' => {
                self.line = Line::Quotes;
                self.window.take(1);
            }
            _ => self.line = Line::Rest,
        }
        Ok(())
    }

    fn quotes(&mut self, sink: &mut impl MessageSink) -> Result<(), Error> {
        let rest = self.window.rest();
        let more = rest.iter().take_while(|octet| **octet == b'>').count();
        if more > 0 && self.format != Format::Mboxo {
            sink.text(&rest[..more])?;
            self.window.take(more);
            return Ok(());
        }
        if !rest.starts_with(FROM) {
            sink.text(b">")?;
        }
        self.line = Line::Rest;
        Ok(())
    }

    fn rest(&mut self, sink: &mut impl MessageSink) -> Result<(), Error> {
        let crlf = self.message.as_ref().is_some_and(|message| message.crlf);
        let rest = self.window.rest();
        let Some(end) = memchr::memchr(b'\n', rest) else {
            // A CR at the end of the window may be half a line end.
            let held = usize::from(crlf && rest.ends_with(b"\r") && rest.len() > 1);
            let length = rest.len() - held;
            sink.text(&rest[..length])?;
            self.window.take(length);
            return Ok(());
        };
        match rest[..end].strip_suffix(b"\r") {
            Some(line) if crlf => {
                sink.text(line)?;
                sink.text(b"\n")?;
            }
            _ => sink.text(&rest[..=end])?,
        }
        self.window.take(end + 1);
        self.line = Line::Start;
        Ok(())
    }

    fn finish(self, sink: &mut impl MessageSink) -> Result<u64, Error> {
        let end = self.window.offset;
        if let Some(Err(error)) = self.window.ended {
            return Err(Error::Read { at: end, error });
        }
        match self.message {
            None => Ok(end),
            Some(message) if message.has_line && self.line == Line::Start => {
                sink.end(end)?;
                Ok(end)
            }
            Some(message) => Err(Error::Cut { message: message.at, end }),
        }
    }
}

/// Octets of the longest From_ line.
const MAX_FROM_LINE: usize = 4096;
/// Octets after a From_ line in which its header is looked for.
const HEADER_BELOW: usize = 4096;
