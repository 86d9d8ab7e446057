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

/// Guards the deletion of old files against a clock that is wrong. Nothing is older than it is by this date: the last one
/// that was known to be good, moved on by the steady clock. The date of the machine may be ahead of that by small
/// steps, a day in all; a greater step is not believed, however long it lasts, and keeps files for longer.
#[derive(Debug, Clone, Copy)]
pub struct DateGuard {
    known: Now,
    /// How far the date may still step ahead.
    credit: Duration,
    is_ahead: bool,
    /// Since when the date is a day or more behind what is known here, which then is the wrong one.
    behind: Option<Duration>,
}

impl DateGuard {
    /// A guard that was told this date at the start, which has stood still since it was noted.
    pub fn new(steady: Duration, known: SystemTime) -> Self {
        Self { known: Now { steady, date: known }, credit: DAY, is_ahead: false, behind: None }
    }

    /// The date by which files may be deleted for their age: not later than the machine's.
    pub fn date(&self, now: Now) -> SystemTime {
        self.known_at(now.steady).min(now.date)
    }

    /// Whether the machine's date is ahead of any that is believed.
    pub fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// The machine's date is that. Returns whether it is ahead by too much for the first time.
    pub fn see(&mut self, now: Now) -> bool {
        let known = self.known_at(now.steady);
        let was_ahead = std::mem::replace(&mut self.is_ahead, false);
        match now.date.duration_since(known) {
            Ok(step) if step <= self.credit => {
                self.credit -= step;
                self.known = now;
                self.behind = None;
                false
            }
            Ok(_) => {
                (self.is_ahead, self.behind) = (true, None);
                !was_ahead
            }
            Err(behind) if behind.duration() < DAY => {
                self.behind = None;
                false
            }
            Err(_) => {
                let since = *self.behind.get_or_insert(now.steady);
                if now.steady.saturating_sub(since) >= BEHIND_FOR {
                    self.known = now;
                }
                false
            }
        }
    }

    fn known_at(&self, steady: Duration) -> SystemTime {
        self.known.date.checked_add(steady.saturating_sub(self.known.steady)).unwrap_or(self.known.date)
    }
}

const DAY: Duration = Duration::from_secs(86_400);
/// So long a date must be behind before it is believed: machines without a clock of their own begin in 1970.
const BEHIND_FOR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 86_400;
    const TODAY: u64 = 56 * YEAR;

    fn at(steady: u64, date: u64) -> Now {
        Now { steady: Duration::from_secs(steady), date: date_of(date) }
    }

    fn date_of(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn r2_a_date_that_is_years_ahead_is_not_believed_at_the_start_nor_later() {
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY));
        assert!(guard.see(at(0, TODAY + 10 * YEAR)), "told");
        for hour in 0..24 * 365 {
            let now = at(hour * 3600, TODAY + 10 * YEAR + hour * 3600);
            assert!(!guard.see(now), "told once");
            assert_eq!(guard.date(now), date_of(TODAY + hour * 3600));
        }
        let right = at(YEAR, TODAY + YEAR);
        guard.see(right);
        assert!(!guard.is_ahead());
        assert!(guard.see(at(YEAR + 1, TODAY + 11 * YEAR)), "a jump while it runs");
        assert_eq!(guard.date(at(YEAR + 1, TODAY + 11 * YEAR)), date_of(TODAY + YEAR + 1));
    }

    #[test]
    fn r2_small_steps_are_a_day_at_most_in_all() {
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY));
        let mut date = TODAY;
        for step in 0..1000 {
            date += 3600;
            guard.see(at(step, date));
        }
        assert!(guard.date(at(1000, date)) <= date_of(TODAY + 1000 + 86_400), "{guard:?}");
    }

    #[test]
    fn r2_a_date_that_is_behind_is_used_at_once_and_believed_after_an_hour() {
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY));
        guard.see(at(0, 0));
        assert_eq!(guard.date(at(0, 0)), date_of(0));
        guard.see(at(10, TODAY + 10));
        assert!(!guard.is_ahead(), "1970 was a moment's");
        // What was known was wrong.
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY + 10 * YEAR));
        guard.see(at(0, TODAY));
        guard.see(at(3600, TODAY + 3600));
        guard.see(at(3601, TODAY + 10 * YEAR + 3601));
        assert!(guard.is_ahead());
    }
}
