//! Messages that the server would delete soon, or show to no login.

use super::{super::AtRisk, Import};

impl Import<'_> {
    /// Counts the messages that the server would not keep or not show.
    pub fn set_at_risk(&mut self, at_risk: AtRisk) {
        self.at_risk = at_risk;
    }

    /// The number of these messages of this run.
    pub fn at_risk(&self) -> AtRisk {
        self.at_risk
    }

    /// The number of messages to be delivered that the server would delete, as [`Self::check`] has counted them. Those that an
    /// earlier run delivered are none of them.
    pub fn expired_to_come(&self) -> u64 {
        self.expired_to_come
    }

    /// The number of these places at which a message is still to be delivered, after [`Self::finish_previous_run`].
    pub fn count_to_come(&self, places: &[u64]) -> u64 {
        let is_to_come = |at: &&u64| **at >= self.imported.end && !self.skip_offsets.contains(*at);
        places.iter().filter(is_to_come).count() as u64
    }

    /// Whether this import has delivered messages, perhaps in an earlier run.
    pub fn has_delivered(&self) -> bool {
        self.imported.messages > 0 || !self.already_delivered.is_empty()
    }
}
