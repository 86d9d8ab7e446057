//! Names that have changed, by the identity of their messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::maildir::{FileName, name};

/// A set of names. A lookup of an identity costs the same, however many names share it.
#[derive(Debug, Default)]
pub struct NameSet {
    by_identity: BTreeMap<Box<[u8]>, BTreeSet<FileName>>,
    length: usize,
}

impl NameSet {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a name, unless it is there already.
    pub fn insert(&mut self, name: FileName) {
        let identity = name::identity(&name.1);
        let is_new = match self.by_identity.get_mut(identity) {
            Some(names) => names.insert(name),
            None => {
                let identity = identity.into();
                self.by_identity.entry(identity).or_default().insert(name)
            }
        };
        self.length += usize::from(is_new);
    }

    /// Whether the set has a name of that identity.
    pub fn has_identity(&self, identity: &[u8]) -> bool {
        self.by_identity.contains_key(identity)
    }

    /// Removes and returns up to `max` names.
    pub fn take_up_to(&mut self, max: usize) -> Vec<FileName> {
        let mut taken = Vec::with_capacity(max.min(self.length));
        while taken.len() < max
            && let Some(mut entry) = self.by_identity.first_entry()
        {
            taken.extend(entry.get_mut().pop_first());
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        self.length -= taken.len();
        taken
    }
}

impl Extend<FileName> for NameSet {
    fn extend<T: IntoIterator<Item = FileName>>(&mut self, names: T) {
        names.into_iter().for_each(|name| self.insert(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Subdir;

    #[test]
    fn names_are_taken_once_and_known_by_identity_until_then() {
        let mut names = NameSet::default();
        let name = |n: usize| (Subdir::Cur, format!("1.same:2,a{n}").into_bytes().into());
        names.extend((0..10).chain(0..10).map(name));
        names.insert((Subdir::New, b"2.other".as_slice().into()));
        assert_eq!((names.len(), names.has_identity(b"1.same"), names.has_identity(b"1")), (11, true, false));
        assert_eq!(names.take_up_to(4).len(), 4);
        assert!(names.has_identity(b"1.same"));
        assert_eq!(names.take_up_to(6).len(), 6);
        assert_eq!(
            (names.len(), names.has_identity(b"1.same"), names.has_identity(b"2.other")),
            (1, false, true)
        );
        assert_eq!(names.take_up_to(usize::MAX).len(), 1);
        assert!(names.is_empty());
    }
}
