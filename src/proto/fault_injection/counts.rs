//! Counts attempts for the faults that depend on the number of the attempt: `first-3-451` refuses the first three.

use std::{cell::RefCell, collections::HashMap};

use crate::proto::injection::InjectedFault;

/// The number of attempts for each address and fault, over all sessions of a listener.
#[derive(Debug, Default)]
pub struct SequenceCounts(RefCell<HashMap<(String, InjectedFault), u64>>);

impl SequenceCounts {
    /// Counts one more attempt, and returns its number, from 1. At [`MAX_COUNTS`] entries all counts begin again, so
    /// that clients cannot fill the memory with addresses.
    pub(super) fn next(&self, address: &str, fault: InjectedFault) -> u64 {
        let mut counts = self.0.borrow_mut();
        if counts.len() >= MAX_COUNTS {
            counts.clear();
        }
        let count = counts.entry((address.to_ascii_lowercase(), fault)).or_default();
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
    fn attempts_are_counted_for_each_address_and_fault_up_to_a_bound() {
        let counts = SequenceCounts::default();
        assert_eq!([counts.next("bob", InUse(2)), counts.next("Bob", InUse(2))], [1, 2]);
        assert_eq!([counts.next("bob", InUse(3)), counts.next("eve", InUse(2))], [1, 1]);
        for n in 0..2 * MAX_COUNTS {
            counts.next(&n.to_string(), NewUidls);
        }
        assert!(counts.0.borrow().len() <= MAX_COUNTS);
    }
}
