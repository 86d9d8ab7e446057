//! A maildrop that gives wrong sizes or unique ids.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::proto::request::Maildrop;

/// A maildrop with wrong sizes in STAT and LIST, or wrong ids in UIDL.
#[derive(Debug)]
pub(super) struct FaultyMaildrop {
    pub(super) inner: Arc<dyn Maildrop>,
    /// True if sizes are wrong. While a message is being sent they are right, because RETR must announce the
    /// size that it sends.
    pub(super) wrong_size: bool,
    pub(super) sending: AtomicBool,
    /// The number of this session, if unique ids must be wrong. Each id contains it, so the ids differ in
    /// every session.
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

/// Octets that STAT and LIST add to the size of each message.
const SIZE_ADDED: u64 = 100;
