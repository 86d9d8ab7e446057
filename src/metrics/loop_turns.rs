//! The turns of the loop, without their sleep. One thread serves every connection, so the longest turn is the
//! time that any of them may have to wait.

use std::time::Duration;

use super::instruments::{Counter, Gauge, Histogram, TIMES};

/// The times of the loop's turns.
#[derive(Debug)]
pub struct LoopTurns {
    pub(super) times: Histogram,
    /// The longest turn since the start, in nanoseconds.
    pub(super) max_time: Gauge,
    /// The most CPU time of a turn since the start, in nanoseconds. It does not grow while the machine is busy with
    /// other programs.
    pub(super) max_cpu_time: Gauge,
    /// Turns that took longer than [`LONG`].
    pub(super) long: Counter,
}

impl LoopTurns {
    pub(super) const fn new() -> Self {
        Self {
            times: Histogram::seconds(TIMES),
            max_time: Gauge::new(),
            max_cpu_time: Gauge::new(),
            long: Counter::new(),
        }
    }

    /// Records the time of a turn, and the CPU time that the loop's thread used in it.
    pub fn observe(&self, time: Duration, cpu_time: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.times.observe_duration(time);
        self.max_time.raise(nanos(time));
        self.max_cpu_time.raise(nanos(cpu_time));
        if time > LONG {
            self.long.inc();
        }
    }
}

/// Turns above this time delay every connection: their work should be split.
const LONG: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_stays_and_long_ones_are_counted() {
        let turns = LoopTurns::new();
        for millis in [1, 20, 21, 300, 2] {
            turns.observe(Duration::from_millis(millis), Duration::from_millis(millis / 2));
        }
        assert_eq!((turns.max_time.get(), turns.long.get()), (300_000_000, 2));
        assert_eq!(turns.max_cpu_time.get(), 150_000_000);
        let (_, count, _) = turns.times.snapshot();
        assert_eq!(count, 5);
    }
}
