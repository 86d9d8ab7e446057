//! The configuration of sessions: the settings that all protocols share, and a trait for the settings of one protocol.

use std::fmt;

use super::{dot::LineEndings, syntax::Syntax};
use crate::limits::Limits;

/// The configuration shared by the sessions of a listener. `P` is the type of the protocol's own settings.
#[derive(Debug, Clone)]
pub struct SessionConfig<P> {
    /// The server's name in banners, replies and `Received:`.
    pub hostname: String,
    /// The accepted line ends. Lenient ones allow a bare LF, as telnet may send it.
    pub line_endings: LineEndings,
    /// The configured syntax of commands. Read [`SessionConfig::syntax`] instead, which overrides it for older personas.
    pub syntax: Syntax,
    /// The bounds on line length, message size, time and errors.
    pub limits: Limits,
    /// True with `strict = true`: the session enforces every rule to the letter, and each refusal names the broken
    /// rule.
    pub pedantic: bool,
    /// The settings of this protocol alone.
    pub protocol: P,
}

/// The settings of one protocol.
pub trait ProtocolConfig: fmt::Debug {
    /// True if the sessions speak the current protocol, and not an older persona.
    fn is_modern(&self) -> bool;
}

impl<P: ProtocolConfig> SessionConfig<P> {
    /// The syntax of commands that sessions accept. An older persona accepts only the grammar of its RFC, unless the
    /// line ends are lenient: then people type the commands.
    pub fn syntax(&self) -> Syntax {
        let is_old_and_exact = !self.protocol.is_modern() && self.line_endings != LineEndings::Lenient;
        if self.pedantic || is_old_and_exact { Syntax::Exact } else { self.syntax }
    }
}
