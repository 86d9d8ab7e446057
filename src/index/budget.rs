//! Bounds on the work of one turn of the loop. It is counted in names and messages and not in time, so that the same
//! input is split in the same way on every machine.

/// The work that may still be done in this turn.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    left: usize,
}

impl Budget {
    /// Of so many names a turn.
    pub fn new(most: usize) -> Self {
        Self { most, left: most }
    }

    /// A new turn begins.
    pub fn renew(&mut self) {
        self.left = self.most;
    }

    /// How many of these names may be handled now. If they are not all, the budget is spent.
    pub fn take(&mut self, wanted: usize) -> usize {
        let granted = wanted.min(self.left);
        self.left -= granted;
        granted
    }

    /// Counts work that can't be split.
    pub fn charge(&mut self, names: usize) {
        self.left = self.left.saturating_sub(names);
    }

    /// Whether the rest of the work is for the next turn.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }
}
