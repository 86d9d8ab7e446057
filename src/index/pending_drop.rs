//! Memory that another thread frees instead of the loop, because a mailbox of 100,000 messages takes milliseconds.

use std::{any::Any, fmt};

/// A value that only needs to be dropped, on a thread that may take its time.
pub struct PendingDrop(Box<dyn Any + Send>);

impl PendingDrop {
    pub(super) fn of(value: impl Any + Send) -> Self {
        Self(Box::new(value))
    }
}

impl fmt::Debug for PendingDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingDrop").field(&self.0).finish()
    }
}
