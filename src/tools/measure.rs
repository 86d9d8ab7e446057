//! Measures a message file on disk and on the wire, in all the figures that POP3 clients and other programs
//! count.

use std::io::{self, Read};

use serde::Serialize;

use crate::{proto::dot::Encoder, wire_size::WireSizeCounter};

/// The figures of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Measure {
    pub bytes: u64,
    /// Line ends without CR: each needs one more octet on the wire.
    pub bare_line_feeds: u64,
    /// True if the last line has no end: CRLF is added on the wire.
    pub lacks_last_line_end: bool,
    /// Octets that POP3 announces.
    pub octets: u64,
    /// Lines that begin with a dot: each is sent with a second dot, which POP3 does not count.
    pub stuffed_lines: u64,
    /// Octets that RETR sends after its first line, including the final dot.
    pub sent: u64,
    /// CRs not followed by LF.
    pub bare_carriage_returns: u64,
    pub nuls: u64,
    pub eight_bit: u64,
    /// Octets of the longest line, without its end.
    pub longest_line: u64,
}

impl Measure {
    /// Reads a file to its end.
    pub(crate) fn of(mut file: impl Read) -> io::Result<Self> {
        let (mut octets, mut encoder, mut wire) = (WireSizeCounter::default(), Encoder::whole(), Vec::new());
        let mut measure = Self::default();
        let (mut last, mut line) = (None, 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = &buffer[..length];
            octets.feed(piece);
            wire.clear();
            encoder.encode(piece, &mut wire);
            measure.sent += wire.len() as u64;
            for &octet in piece {
                measure.octet(octet, last, &mut line);
                last = Some(octet);
            }
            measure.bytes += length as u64;
        }
        measure.bare_carriage_returns += u64::from(last == Some(b'\r'));
        measure.longest_line = measure.longest_line.max(line);
        measure.lacks_last_line_end = last.is_some_and(|octet| octet != b'\n');
        wire.clear();
        encoder.finish_message(&mut wire);
        measure.sent += wire.len() as u64;
        measure.octets = octets.total();
        Ok(measure)
    }

    fn octet(&mut self, octet: u8, last: Option<u8>, line: &mut u64) {
        let after_cr = last == Some(b'\r');
        self.bare_carriage_returns += u64::from(after_cr && octet != b'\n');
        self.nuls += u64::from(octet == 0);
        self.eight_bit += u64::from(octet > 127);
        self.stuffed_lines += u64::from(octet == b'.' && matches!(last, None | Some(b'\n')));
        if octet == b'\n' {
            self.bare_line_feeds += u64::from(!after_cr);
            self.longest_line = self.longest_line.max(*line - u64::from(after_cr));
            *line = 0;
        } else {
            *line += 1;
        }
    }

    /// The size that Dovecot writes as `,W=`: without the line end added at the end.
    pub(crate) fn virtual_size(&self) -> u64 {
        self.octets - if self.lacks_last_line_end { 2 } else { 0 }
    }
}

const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire_size::wire_size;

    #[test]
    fn everything_is_counted_once() {
        let file = b".a\nb\rc\r\n..\0\xff\nlonger than all\r\n\r";
        let measure = Measure::of(&file[..]).unwrap();
        let expected = Measure {
            bytes: file.len() as u64,
            bare_line_feeds: 2,
            lacks_last_line_end: true,
            octets: wire_size(file),
            stuffed_lines: 2,
            sent: wire_size(file) + 2 + 3,
            bare_carriage_returns: 2,
            nuls: 1,
            eight_bit: 1,
            longest_line: 15,
        };
        assert_eq!(measure, expected);
        assert_eq!(measure.virtual_size(), measure.octets - 2);
        assert_eq!(measure.octets, measure.bytes + measure.bare_line_feeds + 2);
        assert_eq!(Measure::of(&b""[..]).unwrap(), Measure { sent: 3, ..Measure::default() });
    }
}
