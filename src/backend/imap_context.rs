//! The other parts of the backend, for a request about folders.

use super::{effects::Effects, maildrop::Maildrops};
use crate::index::Registry;

/// The parts of the backend that a request about folders uses.
pub(super) struct FolderContext<'a> {
    pub(super) maildrops: &'a mut Maildrops,
    pub(super) index: &'a mut Registry,
    pub(super) effects: &'a mut Effects,
}
