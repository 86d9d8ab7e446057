//! A bound on the work of one turn of the loop. It is counted in names and messages and not in time, so that the
//! same input is split in the same way on every machine.

/// The work that this turn may still do.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    remaining: usize,
}

impl Budget {
    /// Allows `max` names a turn.
    pub fn new(max: usize) -> Self {
        Self { max, remaining: max }
    }

    /// Begins a new turn with the whole budget.
    pub fn renew(&mut self) {
        self.remaining = self.max;
    }

    /// Returns how many of the `wanted` names may be handled now. If it is not all of them, the budget is spent.
    pub fn take(&mut self, wanted: usize) -> usize {
        let granted = wanted.min(self.remaining);
        self.remaining -= granted;
        granted
    }

    /// Counts work that can't be split.
    pub fn charge(&mut self, names: usize) {
        self.remaining = self.remaining.saturating_sub(names);
    }

    /// Whether the rest of the work must wait for the next turn.
    pub fn is_spent(&self) -> bool {
        self.remaining == 0
    }
}
