//! The unread part of a source, of bounded size.

use std::io::{self, Read};

use super::SkippedStart;

/// The unread part of the source's last read.
pub(super) struct Window<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// The octet of the source at `at`.
    pub(super) offset: u64,
    /// The source has ended or failed. The octets read before are still good.
    pub(super) ended: Option<io::Result<()>>,
}

impl<R: Read> Window<R> {
    /// The first octet of the source is octet `offset` of its file.
    pub(super) fn new(source: R, offset: u64) -> Self {
        Self { source, buffer: vec![0; WINDOW], at: 0, end: 0, offset, ended: None }
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    pub(super) fn take(&mut self, length: usize) {
        self.at += length;
        self.offset += length as u64;
    }

    /// Reads until `need` octets are available or the source ends.
    pub(super) fn fill(&mut self, need: usize) {
        while self.end - self.at < need && self.ended.is_none() {
            if self.at + need > self.buffer.len() {
                self.buffer.copy_within(self.at..self.end, 0);
                (self.at, self.end) = (0, self.end - self.at);
            }
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = Some(Ok(())),
                Ok(length) => self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.ended = Some(Err(error)),
            }
        }
    }

    /// Skips a byte order mark at the beginning of the file, and empty lines.
    pub(super) fn skip_start(&mut self) -> SkippedStart {
        let mut skipped = SkippedStart::default();
        self.fill(BYTE_ORDER_MARK.len());
        if self.offset == 0 && self.rest().starts_with(BYTE_ORDER_MARK) {
            self.take(BYTE_ORDER_MARK.len());
            skipped.byte_order_mark = true;
        }
        let (mut lf, mut cr) = (0, 0);
        loop {
            self.fill(1);
            match self.rest().first() {
                Some(b'\n') => lf += 1,
                Some(b'\r') => cr += 1,
                _ => break,
            }
            self.take(1);
        }
        skipped.empty_lines = if lf > 0 { lf } else { cr };
        skipped
    }
}

/// Windows puts it before the text of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const WINDOW: usize = 128 * 1024;
