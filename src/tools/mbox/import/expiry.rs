//! Messages that are older than the server keeps mail, so that it would delete them soon.

use std::time::SystemTime;

use super::Import;

impl Import<'_> {
    /// Counts the messages from before that time, and delivers them.
    pub fn count_older_than(&mut self, time: Option<SystemTime>) {
        (self.expires_before, self.refuses_expired) = (time, false);
    }

    /// Refuses messages from before that time: [`Self::check`] counts them, and [`Self::run`] fails at the first one.
    pub fn refuse_older_than(&mut self, time: Option<SystemTime>) {
        (self.expires_before, self.refuses_expired) = (time, true);
    }

    /// Messages of this run that are older than that time.
    pub fn expired(&self) -> u64 {
        self.expired
    }
}
