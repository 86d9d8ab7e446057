//! A line of the log on its way to the writer.

use std::time::SystemTime;

use log::Level;

/// A line in the queue of the writer.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) time: SystemTime,
    pub(super) level: Level,
    /// Text without a line end.
    pub(super) text: String,
    /// Number of lines dropped before it.
    pub(super) dropped: u64,
}

impl Line {
    pub(super) fn new(level: Level, text: String) -> Self {
        Self { time: SystemTime::now(), level, text, dropped: 0 }
    }
}
