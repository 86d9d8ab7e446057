//! The one clock. The loop asks it once a turn and hands the time on as a value, so that time-outs, delays
//! and retention can be tested without waiting. A leaf: imports nothing of ours.

use std::time::{Duration, Instant, SystemTime};

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed moment, which never jumps: for deadlines.
    pub steady: Duration,
    /// The date, which may jump: for headers and file names.
    pub date: SystemTime,
}

/// Says what time it is.
pub trait Clock: Send {
    /// The present moment.
    fn now(&self) -> Now;
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that counts its steady time from now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { steady: self.start.elapsed(), date: SystemTime::now() }
    }
}
