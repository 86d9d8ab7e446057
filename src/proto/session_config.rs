//! The configuration of sessions: the settings that every protocol has, and the type for those of one protocol.

use std::fmt;

use super::{dot::LineEndings, syntax::Syntax};
use crate::limits::Limits;

/// The configuration that the sessions of a listener share. `P` has the settings of their protocol.
#[derive(Debug, Clone)]
pub struct SessionConfig<P> {
    /// The server's name in banners, replies and `Received:`.
    pub hostname: String,
    /// The accepted line ends. Lenient listeners also accept terminal input.
    pub line_endings: LineEndings,
    /// The accepted syntax of commands, except for older personas: see [`SessionConfig::syntax`].
    pub syntax: Syntax,
    /// The bounds on lines, messages, times and errors.
    pub limits: Limits,
    /// True if every rule is enforced to the letter, and each refusal names the broken rule.
    pub pedantic: bool,
    /// The settings of the protocol.
    pub protocol: P,
}

/// The settings of one protocol.
pub trait ProtocolConfig: fmt::Debug {
    /// True if the sessions speak the current protocol, and not that of an older RFC.
    fn is_modern(&self) -> bool;
}

impl<P: ProtocolConfig> SessionConfig<P> {
    /// The accepted syntax of commands. A persona of an older protocol keeps the syntax of its time, unless its line
    /// ends are lenient too.
    pub fn syntax(&self) -> Syntax {
        let of_its_time = !self.protocol.is_modern() && self.line_endings != LineEndings::Lenient;
        if self.pedantic || of_its_time { Syntax::Exact } else { self.syntax }
    }
}
