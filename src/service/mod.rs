//! What the server is to the machine that it runs on: whom it runs as, what it may reach, and what a service
//! manager, systemd most often, does for it and is told by it.

pub mod notify;
pub mod privileges;
pub mod sandbox;
pub mod sockets;
