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

/// The steady time of the loop, which stands still while the process does: after SIGSTOP, or a pause of the whole
/// machine, each deadline is as far away as before. More than `GRACE` between two readings, or beyond what a poll
/// was asked to sleep, is taken for such a stop.
pub struct LoopClock {
    clock: Box<dyn Clock>,
    /// What the clock said last; `None`: it was not read yet.
    last: Option<Duration>,
    /// The time of all stops.
    stopped: Duration,
    /// The part of it that has not been taken.
    untold: Duration,
}

impl LoopClock {
    /// The loop's reading of this clock.
    pub fn new(clock: Box<dyn Clock>) -> Self {
        Self { clock, last: None, stopped: Duration::ZERO, untold: Duration::ZERO }
    }

    /// The present moment, after work that waits for nothing.
    pub fn now(&mut self) -> Now {
        self.after(Some(Duration::ZERO))
    }

    /// The present moment, after a sleep of so long at most. `None`: without a limit.
    pub fn after(&mut self, sleep: Option<Duration>) -> Now {
        let Now { steady, date } = self.clock.now();
        let passed = steady.saturating_sub(self.last.replace(steady).unwrap_or(steady));
        let beyond = passed.saturating_sub(sleep.unwrap_or(Duration::MAX));
        if beyond > GRACE {
            self.stopped += beyond;
            self.untold += beyond;
        }
        Now { steady: steady.saturating_sub(self.stopped), date }
    }

    /// The same moment, by a steady clock that runs on in a stop: for the age of files.
    pub fn with_stops(&self, now: Now) -> Now {
        Now { steady: now.steady + self.stopped, ..now }
    }

    /// How long the process stood still since this was asked last; `None`: it did not.
    pub fn take_stop(&mut self) -> Option<Duration> {
        Some(std::mem::take(&mut self.untold)).filter(|stop| !stop.is_zero())
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

/// A busy machine lets a turn wait for so long.
const GRACE: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// So long a date must be behind before it is believed: machines without a clock of their own begin in 1970.
const BEHIND_FOR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use super::*;

    /// A clock that is set by hand.
    struct Virtual(Arc<AtomicU64>);

    impl Clock for Virtual {
        fn now(&self) -> Now {
            at(self.0.load(Relaxed), TODAY)
        }
    }

    fn loop_clock() -> (LoopClock, impl Fn(u64)) {
        let seconds = Arc::new(AtomicU64::new(1000));
        let clock = LoopClock::new(Box::new(Virtual(Arc::clone(&seconds))));
        let pass = move |later| _ = seconds.fetch_add(later, Relaxed);
        (clock, pass)
    }

    #[test]
    fn r10_the_time_of_the_loop_stands_still_while_the_process_does() {
        let (mut clock, pass) = loop_clock();
        let secs = Duration::from_secs;
        pass(100);
        assert_eq!(clock.now().steady, secs(1100), "before the first turn");
        pass(5);
        assert_eq!(clock.after(Some(secs(5))).steady, secs(1105));
        pass(125);
        assert_eq!(clock.after(Some(secs(5))).steady, secs(1110), "120 s beyond the timer");
        assert_eq!((clock.take_stop(), clock.take_stop()), (Some(secs(120)), None));
        pass(40);
        assert_eq!(clock.now().steady, secs(1110), "in the midst of a turn");
        pass(3);
        assert_eq!(clock.after(Some(secs(5))).steady, secs(1113));
        assert_eq!(clock.take_stop(), Some(secs(40)));
        let now = clock.now();
        assert_eq!(clock.with_stops(now).steady, secs(1273));
    }

    #[test]
    fn r10_a_turn_that_is_a_little_late_and_a_sleep_without_limit_are_no_stops() {
        let (mut clock, pass) = loop_clock();
        clock.now();
        pass(1);
        assert_eq!(clock.now().steady, Duration::from_secs(1001));
        pass(500);
        assert_eq!(clock.after(None).steady, Duration::from_secs(1501));
        assert_eq!(clock.take_stop(), None);
    }

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
