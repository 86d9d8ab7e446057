//! Sessions that are played without a server: the octets come in pieces, and a made-up world answers. Property tests
//! and the programs below `fuzz/` share it.

pub(crate) mod directory;
pub(crate) mod pop3;
pub(crate) mod smtp;
