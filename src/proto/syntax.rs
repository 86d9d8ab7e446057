//! The accepted syntax of commands. It is independent of the accepted line ends: forgiving commands open no way to
//! smuggle a message, so a listener does not have to give up the guard of its line ends for a careless client.

use serde::{Deserialize, Serialize};

/// The syntax of commands that a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Syntax {
    /// Also harmless departures that a client's user cannot mend: superfluous blanks, missing angle brackets, odd
    /// local parts, and names of machines that are no domains (RFC 5321 sections 4.1.1 and 4.1.4).
    #[default]
    Forgiving,
    /// Only the grammar of the RFCs. Unlike `strict`, refusals have their usual texts.
    Exact,
}

impl Syntax {
    /// True if harmless departures from the grammar are accepted.
    pub fn is_forgiving(self) -> bool {
        self == Self::Forgiving
    }

    /// A command line, or its beginning, without the blanks before the command, if this syntax accepts them. A line
    /// that begins with more of them is no command: otherwise a session would not know it by its first octets.
    pub fn command(self, line: &[u8]) -> &[u8] {
        let blanks = line.iter().take_while(|&&octet| octet == b' ').count();
        if self.is_forgiving() && blanks <= MAX_BLANKS { &line[blanks..] } else { line }
    }
}

/// The most blanks before a command.
const MAX_BLANKS: usize = 16;
