//! SMTP, POP3 and IMAP clients: `restante client` and `restante send`, for any server.
//!
//! Blocking, one connection at a time, with a time limit on every wait. The rule: a server's text is shown
//! and never obeyed: none of it reaches the terminal, a path or another command unescaped.

mod connect_options;
mod connection;
pub mod display;
mod error;
pub mod imap;
mod os_words;
pub(crate) mod outgoing;
pub(crate) mod own_address;
pub mod pop3;
pub(crate) mod reply_help;
mod server_addr;
pub mod smtp;
pub mod strings;
pub(crate) mod submit;
mod tls;
mod tls_failure;
mod trust_error;
mod wire_protocol;

pub use connect_options::{ConnectOptions, Security};
pub use connection::{WireEvent, WireObserver};
pub use error::ClientError;
pub use server_addr::ServerAddr;
pub use tls::{Tls, Trust};
pub use tls_failure::TlsFailure;
pub use trust_error::{TrustCause, TrustError};
pub use wire_protocol::WireProtocol;
