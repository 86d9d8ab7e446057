//! What a round of a connection costs the loop, so that a turn of it with a thousand busy connections ends in time.
//! It is counted and not timed: the same octets are the same work on every machine.

use super::Conn;

impl Conn {
    /// What the last round cost, in units of about a microsecond.
    pub fn work(&self) -> usize {
        self.work
    }
}

/// The cost of a round of so many steps that has moved so many octets, perhaps in a TLS handshake.
pub(super) fn of_round(steps: usize, octets: usize, is_handshake: bool) -> usize {
    ROUND + steps * STEP + octets / OCTETS + if is_handshake && octets > 0 { HANDSHAKE } else { 0 }
}

/// Reading, writing and finding nothing more: some calls of the kernel.
const ROUND: usize = 10;
const STEP: usize = 5;
/// Octets that are copied, encoded and sent in one unit.
const OCTETS: usize = 1000;
/// A signature and a key exchange.
const HANDSHAKE: usize = 500;
