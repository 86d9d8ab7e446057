//! The runner of dialogues: `file` reads them, `play` plays them, `sealed` plays them over TLS, `world` answers what a session asks, and
//! `text` is how octets and asks are written down.

pub(crate) mod file;
pub(crate) mod play;
pub(crate) mod sealed;
pub(crate) mod text;
pub(crate) mod world;
