//! The one function that computes the octets of a stored message on the wire.
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
        for at in memchr::memchr_iter(b'\n', bytes) {
            let before = if at == 0 { self.last } else { Some(bytes[at - 1]) };
            self.bare_line_feeds += u64::from(before != Some(b'\r'));
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
        }
    }
}
