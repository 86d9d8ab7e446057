//! The layer between sessions and the network: transports, TLS with its certificate, and timers.

pub mod certificate;
pub mod endpoint;
mod issuer;
pub mod pem_content;
pub mod proxy_protocol;
pub mod socket;
pub mod timer;
pub mod tls;
mod tls_error;
pub mod transport;
