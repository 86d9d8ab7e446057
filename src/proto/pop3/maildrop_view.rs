//! A session's view of its mailbox: the message numbers, and the session's marks.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    command_table::Verb,
    reply::{self, ReplyText},
};
use crate::proto::{buffer::Outbox, dot::Encoder, request::Maildrop};

/// A session's view of its mailbox. It is fixed at login, except for the session's own marks.
pub(super) struct MaildropView {
    pub(super) maildrop: Arc<dyn Maildrop>,
    pub(super) deleted: BTreeSet<usize>,
    deleted_octets: u64,
    pub(super) retrieved: BTreeSet<usize>,
    /// The highest message number accessed, for LAST. It starts at 0.
    pub(super) highest: usize,
    /// True for a folder: POP3 cannot change folders.
    pub(super) read_only: bool,
}

/// The column that a listing shows: LIST has octets, UIDL has unique ids.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Octets,
    UniqueId,
}

/// A message that is being sent.
pub(super) struct Transfer {
    pub(super) message: usize,
    pub(super) encoder: Encoder,
    /// Bytes of the file read so far.
    pub(super) from: u64,
    pub(super) whole: bool,
}

impl MaildropView {
    /// A view of a mailbox without marks.
    pub(super) fn new(maildrop: Arc<dyn Maildrop>, read_only: bool) -> Self {
        let (deleted, retrieved) = (BTreeSet::new(), BTreeSet::new());
        Self { maildrop, deleted, deleted_octets: 0, retrieved, highest: 0, read_only }
    }

    /// Converts a message number, which begins at 1, to a position. `None` if it is not a number.
    pub(super) fn find(&self, number: &[u8]) -> Option<Result<usize, ReplyText>> {
        let number = decimal(number)?;
        let message = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        Some(match message.filter(|message| *message < self.maildrop.len()) {
            None => Err(reply::NO_SUCH_MESSAGE),
            Some(message) if self.deleted.contains(&message) => Err(reply::ALREADY_DELETED),
            Some(message) => Ok(message),
        })
    }

    /// Parses the arguments of TOP: message and lines. `None` if they are not two numbers.
    pub(super) fn find_top(&self, arguments: &[u8]) -> Option<Result<(usize, u64), ReplyText>> {
        let space = memchr::memchr(b' ', arguments)?;
        let lines = decimal(&arguments[space + 1..])?;
        Some(self.find(&arguments[..space])?.map(|message| (message, lines)))
    }

    pub(super) fn remaining(&self) -> (usize, u64) {
        (self.maildrop.len() - self.deleted.len(), self.maildrop.total() - self.deleted_octets)
    }

    pub(super) fn delete(&mut self, message: usize) {
        self.deleted.insert(message);
        self.deleted_octets += self.maildrop.octets(message);
        self.highest = self.highest.max(message + 1);
    }

    pub(super) fn reset(&mut self) {
        self.deleted.clear();
        self.deleted_octets = 0;
        self.highest = 0;
    }

    pub(super) fn write_line(&self, message: usize, column: Column, out: &mut Outbox) {
        let number = message + 1;
        match column {
            Column::Octets => out.line(&format!("{number} {}", self.maildrop.octets(message))),
            Column::UniqueId => out.line(&format!("{number} {}", self.maildrop.unique_id(message))),
        }
    }
}

impl Column {
    pub(super) fn for_verb(verb: Verb) -> Self {
        if verb == Verb::Uidl { Self::UniqueId } else { Self::Octets }
    }
}

impl Transfer {
    pub(super) fn whole(message: usize) -> Self {
        Self { message, encoder: Encoder::whole(), from: 0, whole: true }
    }

    pub(super) fn top(message: usize, lines: u64) -> Self {
        Self { message, encoder: Encoder::top(lines), from: 0, whole: false }
    }
}

/// Parses a number of decimal digits. A number that is too large saturates, and then exceeds any mailbox.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        text.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}
