//! Writes a message into an mbox, with a `>` before each line that would be taken as a From_ line.

use std::io::{self, Write};

use super::{Format, from_line::FROM};

/// Quotes text that arrives in pieces of any length.
pub(super) struct Quoter<W> {
    to: W,
    format: Format,
    line: Line,
    last: Option<u8>,
}

#[derive(Clone, Copy)]
enum Line {
    /// At the beginning, after any `>` (mboxrd), with this many octets of `From ` held back.
    Start(usize),
    Rest,
}

impl<W: Write> Quoter<W> {
    pub(super) fn new(to: W, format: Format) -> Self {
        Self { to, format, line: Line::Start(0), last: None }
    }

    pub(super) fn write(&mut self, mut text: &[u8]) -> io::Result<()> {
        self.last = text.last().copied().or(self.last);
        while let Some(&octet) = text.first() {
            match self.line {
                Line::Start(0) if octet == b'>' && self.format != Format::Mboxo => {
                    self.to.write_all(b">")?;
                    text = &text[1..];
                }
                Line::Start(held) if octet == FROM[held] => {
                    text = &text[1..];
                    self.line = Line::Start(held + 1);
                    if held + 1 == FROM.len() {
                        self.to.write_all(b">")?;
                        self.flush_pending()?;
                    }
                }
                Line::Start(_) => self.flush_pending()?,
                Line::Rest => {
                    let end = memchr::memchr(b'\n', text).map(|end| end + 1);
                    let (line, after) = text.split_at(end.unwrap_or(text.len()));
                    self.to.write_all(line)?;
                    text = after;
                    if end.is_some() {
                        self.line = Line::Start(0);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the message: adds a line end if the last line has none, and the empty line.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let ended = matches!(self.last, None | Some(b'\n'));
        self.flush_pending()?;
        self.to.write_all(if ended { b"\n" } else { b"\n\n" })
    }

    fn flush_pending(&mut self) -> io::Result<()> {
        if let Line::Start(held) = self.line {
            self.to.write_all(&FROM[..held])?;
        }
        self.line = Line::Rest;
        Ok(())
    }
}
