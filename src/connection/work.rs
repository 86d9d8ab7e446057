//! The cost of a pump, so that a turn of the loop with a thousand busy connections ends in time. The cost is counted
//! and not measured: the same octets are the same work on every machine.

use crate::{
    limits::Limits,
    proto::{http, sasl},
};

/// The share of its budget that a connection gets in one pump, so that every ready connection is pumped soon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    steps: usize,
    octets: usize,
}

impl Share {
    /// The whole budget, for a connection that has the turn to itself.
    pub(crate) const WHOLE: Self = Self { steps: usize::MAX, octets: usize::MAX };

    /// The share of each connection, so that all of them fit into one [`CYCLE`].
    pub(crate) fn of_each(connections: usize) -> Self {
        let half = (CYCLE / connections.max(1)).saturating_sub(ROUND) / 2;
        Self { steps: (half / STEP).max(MIN_STEPS), octets: (half * OCTETS).max(MIN_OCTETS) }
    }

    pub(super) fn budget(self, limits: &Limits) -> Budget {
        Budget {
            steps: limits.connections.max_commands_per_turn.min(self.steps),
            octets: limits.connections.max_octets_per_turn.min(self.octets),
        }
    }
}

/// The work that a connection may still do in this turn.
pub(super) struct Budget {
    pub(super) steps: usize,
    pub(super) octets: usize,
}

impl Budget {
    /// Charges one step that has examined `work` mailboxes.
    pub(super) fn spend(&mut self, work: usize) {
        self.steps = self.steps.saturating_sub(1 + work / MAILBOXES_PER_STEP);
    }
}

/// The cost of a pump with this number of steps and octets, perhaps during a TLS handshake.
pub(super) fn pump_cost(steps: usize, octets: usize, is_handshake: bool) -> usize {
    ROUND + steps * STEP + octets / OCTETS + if is_handshake && octets > 0 { HANDSHAKE } else { 0 }
}

/// The number of octets that an inbox may hold: those of one turn, but always one more than the longest line, so that
/// the session can see that a line is too long.
pub(super) fn inbox_capacity(limits: &Limits) -> usize {
    let longest = [
        limits.smtp.max_line_length,
        limits.pop3.max_line_length,
        limits.imap.max_line_length,
        sasl::LINE,
        http::MAX_HEAD,
    ];
    let longest_line = longest.into_iter().fold(0, usize::max);
    limits.connections.max_octets_per_turn.max(longest_line + 1)
}

/// Mailboxes that a step may examine at the cost of one more step.
const MAILBOXES_PER_STEP: usize = 32;
/// Reading, writing, and finding no more input: a few system calls.
const ROUND: usize = 10;
const STEP: usize = 5;
/// Octets that are copied, encoded and sent at the cost of one unit.
const OCTETS: usize = 1000;
/// A signature and a key exchange.
const HANDSHAKE: usize = 500;
/// Work in which each ready connection is pumped once, whatever the others do: some tens of milliseconds.
const CYCLE: usize = 40_000;
/// A command and its response.
const MIN_STEPS: usize = 2;
const MIN_OCTETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_whole_budget_of_a_few_and_little_of_each_of_thousands() {
        let limits = Limits::default();
        for few in [0, 1, 64] {
            let Budget { steps, octets } = Share::of_each(few).budget(&limits);
            assert_eq!(
                (steps, octets),
                (limits.connections.max_commands_per_turn, limits.connections.max_octets_per_turn),
                "{few}"
            );
        }
        for many in [500, 1000, 2000, 10_000] {
            let Budget { steps, octets } = Share::of_each(many).budget(&limits);
            let min = pump_cost(MIN_STEPS, MIN_OCTETS, false);
            let cycle = many * pump_cost(steps, octets, false);
            assert!(cycle <= CYCLE + many * min, "{many}: {cycle}");
        }
    }
}
