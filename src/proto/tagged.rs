//! Addresses with a tag.

use std::sync::Arc;

use super::smtp::address::Address;

/// An address with a tag, in the form in which addresses are compared: `ann+news@example.test`. Its mailbox has the mail of
/// other addresses too, so only messages for exactly this one are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaggedAddress(Arc<str>);

impl TaggedAddress {
    /// The address, if it has a tag.
    pub fn new(address: &Address) -> Option<Self> {
        address.local().contains('+').then(|| Self(address.canonical().to_string().into()))
    }

    /// Reads the address of a recipient. `None` if it has no tag, or is no address.
    pub fn read(text: &str) -> Option<Self> {
        // Most addresses have no tag, and need no parsing.
        Address::parse(text.contains('+').then_some(text)?).ok().and_then(|address| Self::new(&address))
    }

    /// True if a recipient is this address.
    pub fn is(&self, recipient: &str) -> bool {
        Self::read(recipient).is_some_and(|recipient| recipient == *self)
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_a_tag_are_compared_as_all_addresses_are() {
        let tagged = TaggedAddress::read("Ann+News@Example.test").unwrap();
        assert_eq!(tagged.as_str(), "ann+news@example.test");
        for same in ["ann+news@example.test", "ANN+NEWS@EXAMPLE.TEST", "\"ann+news\"@example.test"] {
            assert!(tagged.is(same), "{same}");
        }
        for other in ["ann@example.test", "ann+new@example.test", "ann+news@far.test", "+", "a+b@@", ""] {
            assert!(!tagged.is(other), "{other}");
        }
    }
}
