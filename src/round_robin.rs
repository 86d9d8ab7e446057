//! Turns by number, so that an entry that always has work delays no other.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
};

/// Takes the entry whose turn it is: the least one greater than `last`, or the least of all if none is greater.
pub(crate) fn take_after<Id: Copy + Ord>(waiting: &mut BTreeSet<Id>, last: Option<Id>) -> Option<Id> {
    let after = last.and_then(|last| waiting.range((Excluded(last), Unbounded)).next());
    let id = *after.or_else(|| waiting.first())?;
    waiting.remove(&id);
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_comes_back_at_once_waits_for_all_others() {
        let mut waiting = BTreeSet::from([1, 2, 3]);
        let (mut last, mut order) = (None, Vec::new());
        for _ in 0..6 {
            last = take_after(&mut waiting, last);
            waiting.extend(last);
            order.extend(last);
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 3]);
        assert_eq!(take_after(&mut BTreeSet::<u64>::new(), None), None);
    }
}
