//! The output of the server in a transcript. Mail in it is summarised, unless message data is recorded.

use std::mem;

use super::Recorder;
use crate::{
    proto::{SessionPhase, request::Failure},
    transcript::{elided::ElidedData, format},
};

impl Recorder {
    pub(super) fn record_server(&mut self, output: &[u8], before: SessionPhase, after: SessionPhase) {
        if self.redactor.is_http() && !self.records_bodies {
            return self.record_http(output, before, after);
        }
        if self.redactor.is_imap() && !self.records_bodies {
            return self.record_imap(output);
        }
        if !mem::take(&mut self.sends_chunk) || self.records_bodies {
            return self.record_server_lines(output);
        }
        let mut text = output;
        if self.message.is_none() {
            if !output.starts_with(b"+OK") {
                // The session noticed that the file has changed since it was listed.
                if let Some(read) = self.read_request.take() {
                    self.line(&read);
                }
                self.line(&format!("! failed {}", Failure::Changed.name()));
                return self.record_server_lines(output);
            }
            let reply = memchr::memchr(b'\n', output).map_or(output.len(), |end| end + 1);
            self.record_server_lines(&output[..reply]);
            self.message = Some(ElidedData::default());
            text = &output[reply..];
        }
        let end = if after == SessionPhase::Sending { None } else { text.strip_suffix(b".\r\n") };
        let Some(message) = &mut self.message else { return };
        message.feed(end.unwrap_or(text));
        if after != SessionPhase::Sending {
            self.flush_message();
        }
        if end.is_some() {
            self.line("S: .");
        }
    }

    /// Records a response of HTTP. The content of a document is summarised, because it may be mail.
    fn record_http(&mut self, output: &[u8], before: SessionPhase, after: SessionPhase) {
        let has_content = mem::take(&mut self.sends_document) || after == SessionPhase::Sending;
        let head = match before {
            SessionPhase::Sending => 0,
            _ if has_content => memchr::memmem::find(output, b"\r\n\r\n").map_or(output.len(), |end| end + 4),
            _ => output.len(),
        };
        let (head, content) = output.split_at(head);
        self.record_server_lines(head);
        if !content.is_empty() {
            self.message.get_or_insert_default().feed(content);
        }
        if after != SessionPhase::Sending {
            self.flush_message();
        }
    }

    /// Records the responses of IMAP. Those to FETCH have lines and literals in turn.
    fn record_imap(&mut self, mut output: &[u8]) {
        while !output.is_empty() {
            let left = usize::try_from(self.imap_output.literal).unwrap_or(usize::MAX);
            let end = match left {
                0 => memchr::memchr(b'\n', output).map_or(output.len(), |end| end + 1),
                left => left.min(output.len()),
            };
            let (part, rest) = output.split_at(end);
            output = rest;
            if left > 0 {
                self.imap_output.literal -= part.len() as u64;
                self.message.get_or_insert_default().feed(part);
                if self.imap_output.literal == 0 {
                    self.flush_message();
                }
                continue;
            }
            for line in self.partial_output.feed(part) {
                let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
                let text = self.imap_output.line(&self.redactor.redact_reply(line));
                self.line(format!("S: {}", format::escaped(&text)).trim_end());
            }
        }
    }

    pub(super) fn flush_message(&mut self) {
        if let Some(message) = self.message.take() {
            self.line(&format!("S~ {}", message.summary()));
        }
    }

    fn record_server_lines(&mut self, output: &[u8]) {
        for line in self.partial_output.feed(output) {
            let text = line.strip_suffix(b"\r\n").unwrap_or(&line);
            let text = if self.redactor.is_imap() { self.redactor.redact_reply(text) } else { text.into() };
            self.line(format!("S: {}", format::escaped(&text)).trim_end());
        }
        if let Some(begun) = self.partial_output.too_long() {
            self.line(&format!("S| {}", format::escaped(&begun)));
        }
    }
}
