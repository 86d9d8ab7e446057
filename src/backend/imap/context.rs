//! The other parts of the backend, for a request about folders.

use super::super::{effects::Effects, maildrop::Maildrops};
use crate::index::Registry;

/// The parts of the backend that a request about folders uses.
pub(in super::super) struct Context<'a> {
    pub(in super::super) maildrops: &'a mut Maildrops,
    pub(in super::super) index: &'a mut Registry,
    pub(in super::super) effects: &'a mut Effects,
}
