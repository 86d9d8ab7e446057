//! Who tells a client what has become of its message.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// What a client is told of its message is decided once: by the committer, when the message is durable, or by
/// a desk that will not wait any longer and says no. Who comes second has to live with it: the committer takes
/// the message back.
#[derive(Debug, Clone, Default)]
pub struct Decision(Arc<AtomicU8>);

impl Decision {
    /// Decides. `None`: somebody else has.
    pub fn take(&self) -> Option<()> {
        (self.0.swap(TAKEN, Ordering::AcqRel) != TAKEN).then_some(())
    }

    /// Decides while the message has no name in a mailbox, for it will never get one then. `None`: it may have
    /// one already, or somebody else has decided.
    pub fn take_unpublished(&self) -> Option<()> {
        self.step(TAKEN)
    }

    /// The committer is about to give the message its names. `None`: it is decided that it gets none.
    pub fn publish(&self) -> Option<()> {
        self.step(PUBLISHED)
    }

    fn step(&self, to: u8) -> Option<()> {
        self.0.compare_exchange(OPEN, to, Ordering::AcqRel, Ordering::Acquire).ok().map(drop)
    }

    /// Whether it is decided.
    pub fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire) == TAKEN
    }

    /// Whether it is about the same message.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

const OPEN: u8 = 0;
const PUBLISHED: u8 = 1;
const TAKEN: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_decided_once_and_a_message_that_was_given_up_gets_no_name() {
        let stored = Decision::default();
        assert_eq!((stored.publish(), stored.take_unpublished(), stored.is_taken()), (Some(()), None, false));
        assert_eq!((stored.take(), stored.take(), stored.is_taken()), (Some(()), None, true));
        let given_up = Decision::default();
        assert_eq!(
            (given_up.take_unpublished(), given_up.publish(), given_up.take()),
            (Some(()), None, None)
        );
        let late = Decision::default();
        assert_eq!((late.publish(), late.take(), late.take()), (Some(()), Some(()), None));
    }
}
