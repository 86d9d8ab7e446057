//! What lies between a session and the network: transports and timers.

pub mod timer;
pub mod transport;
