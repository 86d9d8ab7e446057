//! The mailboxes that receive the mail for one address. An alias may have a thousand mailboxes, and a client
//! may name it a thousand times. Therefore the list is built once, when the aliases are loaded, and then
//! shared.

use std::{fmt, sync::Arc};

use super::{
    folder::Folder,
    mailbox::{Destination, Mailbox},
};

/// The mailboxes and folders that receive the mail for one address.
#[derive(Clone)]
pub struct Destinations(List);

#[derive(Clone)]
enum List {
    Each(Arc<[Destination]>),
    Group(Group, Option<Folder>),
}

/// A subset of a table of mailboxes, each once and in the order of the table.
#[derive(Clone)]
pub struct Group {
    /// All mailboxes, sorted.
    table: Arc<[Mailbox]>,
    /// Positions in the table, in order.
    places: Arc<[u32]>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.iter()).finish()
    }
}

/// Identifies a shared list as long as a clone of it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListId(usize);

impl Group {
    /// The mailboxes at `places` of `table`. Both must be sorted.
    pub fn new(table: Arc<[Mailbox]>, places: Arc<[u32]>) -> Self {
        debug_assert!(table.is_sorted() && places.is_sorted());
        Self { table, places }
    }

    /// The destinations for these mailboxes, or for the same folder in each of them.
    pub fn in_folder(self, folder: Option<Folder>) -> Destinations {
        Destinations(List::Group(self, folder))
    }
}

impl Destinations {
    /// Number of mailboxes or folders that get the mail.
    pub fn len(&self) -> usize {
        match &self.0 {
            List::Each(destinations) => destinations.len(),
            List::Group(group, _) => group.places.len(),
        }
    }

    /// True if the address has no destination.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mailboxes and folders, in the order of delivery.
    pub fn iter(&self) -> impl Iterator<Item = Destination> + '_ {
        let (each, group) = match &self.0 {
            List::Each(destinations) => (Some(destinations.iter().cloned()), None),
            List::Group(Group { table, places }, folder) => {
                let at = |place: &u32| Destination {
                    mailbox: table[*place as usize].clone(),
                    folder: folder.clone(),
                };
                (None, Some(places.iter().map(at)))
            }
        };
        each.into_iter().flatten().chain(group.into_iter().flatten())
    }

    /// True if the mailbox is a destination, with or without a folder.
    pub fn contains(&self, mailbox: &Mailbox) -> bool {
        match &self.0 {
            List::Each(destinations) => destinations.iter().any(|to| to.mailbox == *mailbox),
            List::Group(Group { table, places }, _) => {
                let place = table.binary_search(mailbox).ok().and_then(|place| u32::try_from(place).ok());
                place.is_some_and(|place| places.binary_search(&place).is_ok())
            }
        }
    }

    /// The same mailboxes without their folders.
    pub fn without_folder(self) -> Self {
        match self.0 {
            List::Group(group, _) => group.in_folder(None),
            List::Each(destinations) => {
                let whole = |to: &Destination| Destination { mailbox: to.mailbox.clone(), folder: None };
                Self(List::Each(destinations.iter().map(whole).collect()))
            }
        }
    }

    /// The id of an alias's list, the same for each of its folders. `None` if the list belongs to this
    /// address alone.
    pub fn shared(&self) -> Option<ListId> {
        match &self.0 {
            List::Each(_) => None,
            List::Group(group, _) => Some(ListId(group.places.as_ptr().addr())),
        }
    }
}

impl From<Vec<Destination>> for Destinations {
    fn from(destinations: Vec<Destination>) -> Self {
        Self(List::Each(destinations.into()))
    }
}

impl From<Destination> for Destinations {
    fn from(destination: Destination) -> Self {
        Self(List::Each([destination].into()))
    }
}

impl PartialEq for Destinations {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Destinations {}

impl fmt::Debug for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_list_is_like_one_of_its_own_and_has_a_name() {
        let mailbox = |name| Mailbox::named(name).unwrap();
        let table: Arc<[Mailbox]> = ["a", "b", "c"].map(mailbox).into();
        let group = Group::new(Arc::clone(&table), [0, 2].into());
        let folder = Folder::from_name("x");
        let [plain, tagged] = [None, folder.clone()].map(|folder| group.clone().in_folder(folder));
        let own = |folder: Option<Folder>| {
            let to = ["a", "c"].map(|name| Destination { mailbox: mailbox(name), folder: folder.clone() });
            Destinations::from(to.to_vec())
        };
        assert_eq!((&plain, &tagged), (&own(None), &own(folder)));
        assert_ne!(plain, tagged);
        assert_eq!(tagged.clone().without_folder(), plain);
        assert_eq!(own(Folder::from_name("x")).without_folder(), plain);
        for list in [&plain, &own(None)] {
            assert!(list.contains(&mailbox("c")) && !list.contains(&mailbox("b")) && list.len() == 2);
        }
        assert!(plain.shared().is_some() && plain.shared() == tagged.shared());
        assert_eq!(own(None).shared(), None);
        assert_ne!(Group::new(table, [0, 2].into()).in_folder(None).shared(), plain.shared());
    }
}
