//! The id of a connection.

use std::fmt;

/// Identifies a connection. An id is never reused, so a late response for a closed connection reaches no
/// other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// Parses the text that an id is written as.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(u64::from_str_radix(text.strip_prefix('c')?, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        assert_eq!(ConnId::parse("c1003"), Some(ConnId(0x1003)));
        for wrong in ["", "c", "1003", "c01003", "C1003", "c+1", "c1003 ", "cABC", "c11111111111111111"] {
            assert_eq!(ConnId::parse(wrong), None, "{wrong}");
        }
    }
}
