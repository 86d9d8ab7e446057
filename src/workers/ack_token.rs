//! The decision on the reply to a client's message.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// The reply to a message is decided once: by the committer after the message is durable, or by a backend that waits
/// no longer and refuses it. The side that is late accepts the decision: a late committer removes the message.
#[derive(Debug, Clone, Default)]
pub struct AckToken(Arc<AtomicU8>);

impl AckToken {
    /// Decides. `None` if the other side has decided before.
    pub fn claim(&self) -> Option<()> {
        (self.0.swap(CLAIMED, Ordering::AcqRel) != CLAIMED).then_some(())
    }

    /// Decides, but only while the message has no name in a mailbox; it will then never get one. `None` if it may
    /// have one already, or if the other side has decided.
    pub fn cancel_if_unpublished(&self) -> Option<()> {
        self.transition(CLAIMED)
    }

    /// Called before the committer gives the message its names. `None` if the message was cancelled.
    pub fn publish(&self) -> Option<()> {
        self.transition(PUBLISHED)
    }

    fn transition(&self, to: u8) -> Option<()> {
        self.0.compare_exchange(UNDECIDED, to, Ordering::AcqRel, Ordering::Acquire).ok().map(drop)
    }

    /// Whether the reply is decided.
    pub fn is_claimed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLAIMED
    }

    /// Whether both tokens belong to the same message.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

const UNDECIDED: u8 = 0;
const PUBLISHED: u8 = 1;
const CLAIMED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_decided_once_and_a_message_that_was_given_up_gets_no_name() {
        let stored = AckToken::default();
        assert_eq!(
            (stored.publish(), stored.cancel_if_unpublished(), stored.is_claimed()),
            (Some(()), None, false)
        );
        assert_eq!((stored.claim(), stored.claim(), stored.is_claimed()), (Some(()), None, true));
        let given_up = AckToken::default();
        assert_eq!(
            (given_up.cancel_if_unpublished(), given_up.publish(), given_up.claim()),
            (Some(()), None, None)
        );
        let late = AckToken::default();
        assert_eq!((late.publish(), late.claim(), late.claim()), (Some(()), Some(()), None));
    }
}
