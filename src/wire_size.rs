//! The octets of a stored message on the wire: the one function that counts them, and one that writes them.
//!
//! A message file has LF or CRLF line ends, perhaps both; on the wire every line ends in CRLF, the last one too.
//! STAT, LIST, the size in a file's name and the `+OK n octets` of RETR all come from here, and the encoder that
//! sends a message checks itself against it. A leaf: imports no other module of the crate.

/// Counts the octets of a message on the wire, from the file's bytes in pieces of any length.
///
/// Every line end counts two (RFC 1939 section 11), and so does the line end that the server adds if the file's last
/// line lacks one. Dot-stuffing and the final dot are not part of a message and do not count. A CR without an LF
/// after it is one octet like any other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WireSizeCounter {
    bytes: u64,
    bare_line_feeds: u64,
    last: Option<u8>,
}

impl WireSizeCounter {
    /// Counts the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        // Most files have no CR. Two searches of all octets then take less time than a look at each line.
        if self.last != Some(b'\r') && memchr::memchr(b'\r', bytes).is_none() {
            self.bare_line_feeds += memchr::memchr_iter(b'\n', bytes).count() as u64;
        } else {
            for at in memchr::memchr_iter(b'\n', bytes) {
                let before = if at == 0 { self.last } else { Some(bytes[at - 1]) };
                self.bare_line_feeds += u64::from(before != Some(b'\r'));
            }
        }
        self.bytes += bytes.len() as u64;
        self.last = Some(last);
    }

    /// The octets on the wire, if the file ends here.
    pub fn total(&self) -> u64 {
        let missing_end = if matches!(self.last, None | Some(b'\n')) { 0 } else { 2 };
        self.so_far() + missing_end
    }

    /// The octets on the wire, if the file goes on.
    pub fn so_far(&self) -> u64 {
        self.bytes + self.bare_line_feeds
    }
}

/// Writes a message as it is on the wire, from the file's bytes in pieces of any length: as many octets as
/// [`WireSizeCounter`] counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireEncoder {
    last: Option<u8>,
}

impl WireEncoder {
    /// Writes the next bytes of the file.
    pub fn encode(&mut self, bytes: &[u8], wire: &mut Vec<u8>) {
        push_wire(self.last, bytes, wire);
        self.last = bytes.last().copied().or(self.last);
    }

    /// Writes the line end that the file's last line lacks.
    pub fn finish(self, wire: &mut Vec<u8>) {
        if !matches!(self.last, None | Some(b'\n')) {
            wire.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends octets of a file with the line ends of the wire. `before` is the octet of the file before them.
pub(crate) fn push_wire(before: Option<u8>, bytes: &[u8], wire: &mut Vec<u8>) {
    let mut written = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        let before = if at == 0 { before } else { Some(bytes[at - 1]) };
        if before != Some(b'\r') {
            wire.extend_from_slice(&bytes[written..at]);
            wire.push(b'\r');
            written = at;
        }
    }
    wire.extend_from_slice(&bytes[written..]);
}

/// A message in memory as it is on the wire.
pub fn on_the_wire(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + message.len() / 32 + 2);
    let mut encoder = WireEncoder::default();
    encoder.encode(message, &mut wire);
    encoder.finish(&mut wire);
    wire
}

/// The text of a message with the line ends of the wire.
pub fn text_on_the_wire(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// The octets on the wire of a message in memory.
pub fn wire_size(message: &[u8]) -> u64 {
    let mut octets = WireSizeCounter::default();
    octets.feed(message);
    octets.total()
}

/// Whether a file of this many bytes can have that many octets on the wire: line ends add at most one octet for each
/// byte, and two at the end.
pub fn is_plausible(octets: u64, bytes: u64) -> bool {
    octets >= bytes && octets <= bytes.saturating_mul(2).saturating_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_counts_two() {
        for (file, wire) in [
            ("", 0),
            ("a", 3),
            ("a\n", 3),
            ("a\r\n", 3),
            ("\n\n", 4),
            ("a\nb", 6),
            ("a\r", 4),
            ("a\rb\n", 5),
            ("\r\r\n", 3),
            ("\0\n", 3),
        ] {
            assert_eq!(wire_size(file.as_bytes()), wire, "{file:?}");
            assert_eq!(on_the_wire(file.as_bytes()).len() as u64, wire, "{file:?}");
        }
    }

    #[test]
    fn the_count_does_not_depend_on_the_pieces() {
        let file = b"a\r\n\nb\r\rc\n.\n\r\n";
        for cut in 0..=file.len() {
            let mut pieces = WireSizeCounter::default();
            pieces.feed(&file[..cut]);
            pieces.feed(&file[cut..]);
            assert_eq!(pieces.total(), wire_size(file), "cut at {cut}");
            let (mut encoder, mut wire) = (WireEncoder::default(), Vec::new());
            encoder.encode(&file[..cut], &mut wire);
            encoder.encode(&file[cut..], &mut wire);
            encoder.finish(&mut wire);
            assert_eq!(wire, b"a\r\n\r\nb\r\rc\r\n.\r\n\r\n", "cut at {cut}");
        }
    }
}
