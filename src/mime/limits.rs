//! Bounds of the MIME reader, given by the caller.

/// Bounds of one message. A message beyond them is read all the same: content beyond a bound stays one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Parts, multiparts and nested messages included. The rest of the message becomes the last part.
    pub parts: usize,
    /// Levels of multiparts and nested messages. A deeper one stays one part.
    pub depth: usize,
    /// Octets of one header that are searched for fields.
    pub header: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parts: 1000, depth: 50, header: 1 << 20 }
    }
}
