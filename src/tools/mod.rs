//! What testers do with a spool, beside a server that runs or without one: wait for messages, file some, throw
//! them away. Blocking, plain code for the command line and for [`testing`](crate::testing).

pub mod corpus;
mod dirs;
mod filing;
mod letter;
mod mark;
mod purge;
mod waiting;

pub use filing::{Filed, Filer, Letter, Placing};
pub use letter::Message;
pub use mark::{BadMark, Mark};
pub use purge::purge;
pub use waiting::{Target, Wait};
