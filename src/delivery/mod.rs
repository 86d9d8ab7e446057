//! The committer: one thread that makes deliveries durable. A batch takes the deliveries that arrived during the one
//! before, up to a limit.
//!
//! A batch is: write every message to `tmp/`; make the contents durable; close the files; rename into `new/`; make
//! the names durable; complete all. A message that is refused, after an error or a panic at any step, is removed: no
//! client is asked to send a visible message again. The states of a message on the way, and the result of a power cut
//! in each, are in `docs/DISK.md`.

mod batch;
mod committer;
mod filed_copies;
mod message;
mod queued_delivery;
mod sync;

pub use committer::Committer;
pub use queued_delivery::{Append, Content, Delivery};
