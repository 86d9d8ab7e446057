//! Who tells a client what has become of its message.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What a client is told of its message is decided once: by the committer, when the message is durable, or by
/// a desk that will not wait any longer and says no. Who comes second has to live with it: the committer takes
/// the message back.
#[derive(Debug, Clone, Default)]
pub struct Decision(Arc<AtomicBool>);

impl Decision {
    /// Decides. `None`: somebody else has.
    pub fn take(&self) -> Option<()> {
        (!self.0.swap(true, Ordering::AcqRel)).then_some(())
    }

    /// Whether it is decided.
    pub fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Whether it is about the same message.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
