//! Counts the attempts at faults that occur by sequence, such as `first-3-451`.

use std::{cell::RefCell, collections::HashMap};

use crate::proto::injection::InjectedFault;

/// The attempts at such faults, over all sessions of a listener.
#[derive(Debug, Default)]
pub struct SequenceCounts(RefCell<HashMap<(String, InjectedFault), u64>>);

impl SequenceCounts {
    /// The number of this attempt, from 1, counted for each address separately. When the number of addresses
    /// reaches [`MAX_COUNTS`], all counts are reset.
    pub(super) fn next(&self, address: &str, injection: InjectedFault) -> u64 {
        let mut counts = self.0.borrow_mut();
        if counts.len() >= MAX_COUNTS {
            counts.clear();
        }
        let count = counts.entry((address.to_ascii_lowercase(), injection)).or_default();
        *count += 1;
        *count
    }
}

const MAX_COUNTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::injection::InjectedFault::{InUse, NewUidls};

    #[test]
    fn tries_are_counted_by_address_and_fault_and_not_without_end() {
        let counts = SequenceCounts::default();
        assert_eq!([counts.next("bob", InUse(2)), counts.next("Bob", InUse(2))], [1, 2]);
        assert_eq!([counts.next("bob", InUse(3)), counts.next("eve", InUse(2))], [1, 1]);
        for n in 0..2 * MAX_COUNTS {
            counts.next(&n.to_string(), NewUidls);
        }
        assert!(counts.0.borrow().len() <= MAX_COUNTS);
    }
}
