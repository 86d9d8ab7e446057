//! The addresses of a made-up world.

use restante::proto::{
    request::{Directory, Lookup, Mailbox},
    smtp::address::Address,
};

/// A directory of one domain at most.
#[derive(Debug)]
pub(crate) struct FakeDirectory {
    /// The domain in which every address has a mailbox. All others are foreign.
    pub(crate) domain: Option<&'static str>,
}

impl FakeDirectory {
    /// The directory that knows no address.
    pub(crate) const EMPTY: Self = Self { domain: None };
}

impl Directory for FakeDirectory {
    fn lookup(&self, address: &Address) -> Lookup {
        match self.domain {
            None => Lookup::Unknown,
            Some(domain) if address.domain() != Some(domain) => Lookup::Foreign,
            Some(_) => {
                Mailbox::named(&address.to_string().to_lowercase()).map_or(Lookup::Unknown, Lookup::to)
            }
        }
    }
}
