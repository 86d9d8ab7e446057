//! A mailbox about which not everything is true.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::proto::request::Maildrop;

/// A mailbox about which STAT, LIST or UIDL do not say the truth.
#[derive(Debug)]
pub(super) struct FaultyMaildrop {
    pub(super) inner: Arc<dyn Maildrop>,
    /// Sizes are wrong, unless a message is being sent: what RETR announces must be what it sends.
    pub(super) wrong_size: bool,
    pub(super) sending: AtomicBool,
    /// Unique ids are those of this session.
    pub(super) session: Option<u64>,
}

impl FaultyMaildrop {
    fn added(&self) -> u64 {
        if self.wrong_size && !self.sending.load(Ordering::Relaxed) { SIZE_ADDED } else { 0 }
    }
}

impl Maildrop for FaultyMaildrop {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn total(&self) -> u64 {
        self.inner.total() + self.added() * self.len() as u64
    }

    fn octets(&self, message: usize) -> u64 {
        self.inner.octets(message) + self.added()
    }

    fn unique_id(&self, message: usize) -> Cow<'_, str> {
        match self.session {
            Some(session) => format!("session-{session}-message-{}", message + 1).into(),
            None => self.inner.unique_id(message),
        }
    }

    fn delivered_at(&self, message: usize) -> u64 {
        self.inner.delivered_at(message)
    }
}

/// Octets that STAT and LIST count too many for each message.
const SIZE_ADDED: u64 = 100;
