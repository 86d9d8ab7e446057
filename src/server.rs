//! The event loop: one thread that owns every socket, session and timer, and never waits for a disk.

mod accept;
mod admission;
mod due;
mod embedded;
mod error;
mod event_loop;
mod fd_budget;
mod peer;
mod pumping;
mod reload;
mod reload_job;
mod shutdown;
pub mod signals;
mod start;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub use embedded::ShutdownHandle;
pub use error::Error;
pub(crate) use fd_budget::fd_inputs;
pub use state::Server;
