//! The ids of messages in URLs.

use std::fmt;

use blake2::{Blake2s, Digest, digest::consts::U16};

/// The id of a message: digits of a hash of its unique id, so it is the same after its flags change, in each mailbox that
/// the message was delivered to, and tells nothing of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId([u8; OCTETS]);

impl MessageId {
    /// The id of the message with that unique id of POP3.
    pub fn of(unique_id: &str) -> Self {
        let hash = Blake2s::<U16>::digest(unique_id.as_bytes());
        let mut octets = [0; OCTETS];
        octets.copy_from_slice(&hash[..OCTETS]);
        Self(octets)
    }

    /// Parses an id. `None` if no message has such a one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * OCTETS
            || digits.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        {
            return None;
        }
        let mut octets = [0; OCTETS];
        for (at, octet) in octets.iter_mut().enumerate() {
            *octet = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(octets))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// 22 digits, as long as the ids of Mailpit.
const OCTETS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = MessageId::of("1.M1.h");
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        assert_eq!(id.to_string().len(), 22);
        for bad in
            ["", "latest", "../../../../etc/passwd", &id.to_string().to_uppercase(), "é0000000000000000000"]
        {
            assert_eq!(MessageId::parse(bad), None, "{bad}");
        }
    }
}
