//! Bounds of the MIME reader, given by the caller.

/// Bounds of one message. The reader accepts a larger message too, but leaves content beyond a bound as one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MimeLimits {
    /// Parts of a message, counting multiparts and nested messages. The rest of the message becomes one last part.
    pub parts: usize,
    /// Levels of multiparts and nested messages. The reader does not parse a deeper one: it stays one part.
    pub depth: usize,
    /// Octets of one header that the reader searches for fields. It ignores fields beyond them.
    pub header: usize,
}

impl Default for MimeLimits {
    fn default() -> Self {
        Self { parts: 1000, depth: 50, header: 1 << 20 }
    }
}
