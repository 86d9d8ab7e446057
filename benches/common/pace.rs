//! Work at a fixed pace, whatever the server does: a slow answer makes the next ones late, and their latency counts from
//! the time at which they were due.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The times at which one client is due.
pub(crate) struct Pace {
    next: Instant,
    every: Duration,
}

impl Pace {
    /// A client that is due `rate` times a second. The clients of one load are due one after another.
    pub(crate) fn new(rate: f64, client: usize, clients: usize) -> Self {
        let every = Duration::from_secs_f64(1.0 / rate);
        Self { next: Instant::now() + every.mul_f64(client as f64 / clients as f64), every }
    }

    /// Waits until the client is due, and returns the time that its latency counts from: now, or earlier if it is late.
    /// After a second of delay it is due now, because a machine that stood still is no latency of a server.
    pub(crate) fn wait(&mut self) -> Instant {
        let now = Instant::now();
        if now > self.next + MOST_DELAY {
            self.next = now;
        }
        let due = self.next;
        self.next += self.every;
        match due.checked_duration_since(now) {
            Some(early) => {
                thread::sleep(early);
                Instant::now()
            }
            None => due,
        }
    }
}

const MOST_DELAY: Duration = Duration::from_secs(1);
