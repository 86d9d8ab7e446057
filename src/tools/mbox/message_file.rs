//! A file with one message and no From_ line, as `.eml` files and the files of MH are.
//!
//! Nothing in it is unquoted, and the message ends where the file ends, also in the middle of a line.

use std::{io::Read, time::SystemTime};

use super::{
    Beginning, Error, LineEnds, MessageSink, SkippedStart, beginning::BEGINNING, delivery_date::DateReader,
    window::Window,
};

/// A file whose beginning is known.
pub struct OpenedFile<R> {
    window: Window<R>,
    beginning: Beginning,
    skipped: SkippedStart,
}

impl<R: Read> OpenedFile<R> {
    /// Reads the beginning of a file.
    pub fn open(source: R) -> Result<Self, Error> {
        let opened = Self::of(Window::new(source, 0));
        match opened.window.ended {
            Some(Err(error)) => Err(Error::Read { at: opened.window.offset, error }),
            _ => Ok(opened),
        }
    }

    /// A failure of the source is left to those who read on.
    pub(super) fn of(mut window: Window<R>) -> Self {
        let skipped = window.skip_start();
        window.fill(BEGINNING);
        let beginning = Beginning::of(window.rest());
        Self { window, beginning, skipped }
    }

    /// The content of the file.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// The octets before the header of a message, which are no part of it.
    pub fn skipped(&self) -> SkippedStart {
        self.skipped
    }

    /// Reads a message to its end. Returns the date that an import gives it, which is `fallback` if its header has none.
    pub fn check(self, fallback: SystemTime) -> Result<SystemTime, Error> {
        let mut dates = DateReader::new(fallback);
        self.deliver(None, &mut dates)?;
        Ok(dates.date())
    }

    /// The rest of the file, after the octets before its header.
    pub(super) fn into_window(self) -> Window<R> {
        self.window
    }

    /// Delivers the message of the file. In a directory it is the message of that number, and its place is that number
    /// and not an octet. Returns the offset of the end of the file.
    ///
    /// # Errors
    /// [`Error::Changed`] if the file is not one message.
    pub(super) fn deliver(self, number: Option<u64>, sink: &mut impl MessageSink) -> Result<u64, Error> {
        let Beginning::Message(line_ends) = self.beginning else { return Err(Error::Changed) };
        let mut window = self.window;
        sink.begin_message_file(number.unwrap_or(window.offset), self.skipped)?;
        let mut text = Vec::new();
        loop {
            window.fill(2);
            let rest = window.rest();
            if rest.is_empty() {
                break;
            }
            // A CR at the end of the window may be half a line end.
            let held = usize::from(line_ends != LineEnds::Lf && rest.ends_with(b"\r") && rest.len() > 1);
            let length = rest.len() - held;
            line_ends.normalize(&rest[..length], &mut text);
            sink.text(&text)?;
            window.take(length);
        }
        let end = window.offset;
        if let Some(Err(error)) = window.ended {
            return Err(Error::Read { at: end, error });
        }
        sink.end(number.map_or(end, |number| number + 1))?;
        Ok(end)
    }
}

impl LineEnds {
    /// Writes the lines of a message with LF into `to`, in the place of what is in it.
    fn normalize(self, text: &[u8], to: &mut Vec<u8>) {
        to.clear();
        let mut from = 0;
        if self != Self::Lf {
            for at in memchr::memchr_iter(b'\r', text) {
                let is_crlf = text.get(at + 1) == Some(&b'\n');
                if is_crlf || self == Self::Cr {
                    to.extend_from_slice(&text[from..at]);
                    to.extend((!is_crlf).then_some(b'\n'));
                    from = at + 1;
                }
            }
        }
        to.extend_from_slice(&text[from..]);
    }
}
