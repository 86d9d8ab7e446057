//! The receiver of the messages of an mbox, or of a file with one message.

use super::{DoubtfulLine, Error, FromLine, SkippedStart};

/// The receiver of the messages.
pub trait MessageSink {
    /// A message begins at octet `at` of the file.
    fn begin(&mut self, from: &FromLine, at: u64) -> Result<(), Error>;
    /// The one message of a file without a From_ line begins at octet `at`, or is message `at` of its directory.
    fn begin_message_file(&mut self, at: u64, skipped: SkippedStart) -> Result<(), Error> {
        let _ = skipped; // no part of the message
        self.begin(&FromLine { date: None, crlf: false }, at)
    }
    /// The next octets of the message, unquoted and with LF line ends.
    fn text(&mut self, text: &[u8]) -> Result<(), Error>;
    /// The message ends; the next one, or the end of the file, is at octet `next`.
    fn end(&mut self, next: u64) -> Result<(), Error>;
    /// A line that may be a From_ line or text.
    fn doubt(&mut self, line: DoubtfulLine) {
        drop(line);
    }
}
