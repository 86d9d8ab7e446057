//! What a service manager, systemd most often, does for a server, and what it is told by it.

pub mod notify;
pub mod sockets;
