//! Messages that the server would delete soon, or show to no login.

use super::{super::AtRisk, Import};

impl Import<'_> {
    /// Counts the messages that the server would not keep or not show. If those that it would delete are refused,
    /// [`Self::check`] counts them, and [`Self::run`] fails at the first one.
    pub fn set_at_risk(&mut self, at_risk: AtRisk) {
        self.at_risk = at_risk;
    }

    /// The number of these messages of this run.
    pub fn at_risk(&self) -> AtRisk {
        self.at_risk
    }
}
