//! The one clock. The loop reads it once a turn and passes the time on as a value, so that time-outs, delays and
//! retention can be tested without waiting. A leaf: imports no other module of the crate.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed moment, which never jumps: for deadlines.
    pub monotonic: Duration,
    /// The date, which may jump: for headers and file names.
    pub wall: SystemTime,
}

/// A source of the time.
pub trait Clock: Send {
    /// The present time by both clocks, read together.
    fn now(&self) -> Now;
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts a clock whose steady time begins at zero.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { monotonic: self.start.elapsed(), wall: SystemTime::now() }
    }
}

/// The CPU time that the calling thread has used.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Fails if ten times the input takes more than 40 times the CPU time. Linear work takes ten times as long, quadratic
/// work a hundred times, and other programs on the machine change neither. `work` takes the size of the input and
/// returns the CPU time of what is measured. The least time of several counts, because caches have no part in the rule.
#[cfg(test)]
pub(crate) fn assert_linear(name: &str, size: usize, work: impl Fn(usize) -> Duration) {
    let least = |size| (0..3).map(|_| work(size)).min().unwrap_or_default();
    let (few, many) = (least(size), least(10 * size));
    assert!(many <= few * 40, "{name}: {few:?} for {size}, and {many:?} for ten times as much");
}

/// The CPU time that this takes.
#[cfg(test)]
pub(crate) fn cpu_time_of<T>(work: impl FnOnce() -> T) -> Duration {
    let start = thread_cpu_time();
    let result = work();
    let time = thread_cpu_time() - start;
    drop(result);
    time
}

/// The steady time of the loop, which stops while the process is suspended: after SIGSTOP, or a pause of the whole
/// machine, each deadline is as far away as before. A reading that is later than the last one by more than
/// `SUSPENSION_THRESHOLD`, beyond the time that a poll was asked to sleep, counts as a suspension.
pub struct LoopClock {
    clock: Box<dyn Clock>,
    /// The last reading; `None` before the first.
    last_reading: Option<Duration>,
    /// The total time of all suspensions.
    suspended: Duration,
    /// The part of it that has not been reported yet.
    unreported_suspension: Duration,
}

impl LoopClock {
    /// Wraps a clock for the loop.
    pub fn new(clock: Box<dyn Clock>) -> Self {
        Self { clock, last_reading: None, suspended: Duration::ZERO, unreported_suspension: Duration::ZERO }
    }

    /// The present moment, after work that does not wait.
    pub fn now(&mut self) -> Now {
        self.now_after_sleep(Some(Duration::ZERO))
    }

    /// The present moment, after a sleep of at most `sleep`. `None` means no limit.
    pub fn now_after_sleep(&mut self, sleep: Option<Duration>) -> Now {
        let Now { monotonic: steady, wall: date } = self.clock.now();
        let passed = steady.saturating_sub(self.last_reading.replace(steady).unwrap_or(steady));
        let beyond = passed.saturating_sub(sleep.unwrap_or(Duration::MAX));
        if beyond > SUSPENSION_THRESHOLD {
            self.suspended += beyond;
            self.unreported_suspension += beyond;
        }
        Now { monotonic: steady.saturating_sub(self.suspended), wall: date }
    }

    /// The same moment, with the time of suspensions included: for the age of files.
    pub fn including_suspensions(&self, now: Now) -> Now {
        Now { monotonic: now.monotonic + self.suspended, ..now }
    }

    /// The time of suspension since the last call; `None` if there was none.
    pub fn take_suspension(&mut self) -> Option<Duration> {
        Some(std::mem::take(&mut self.unreported_suspension)).filter(|stop| !stop.is_zero())
    }
}

/// Guards the deletion of old files against a wrong clock. The age of a file is computed from a trusted date: the
/// last date known to be good, advanced by the steady clock. The date of the machine may run ahead of it by small
/// steps, a day in all. A larger step is not trusted, however long it lasts; its only effect is that files are kept
/// for longer.
#[derive(Debug, Clone, Copy)]
pub struct DateGuard {
    trusted: Now,
    /// The time by which the date may still step ahead.
    forward_allowance: Duration,
    is_ahead: bool,
    /// The time since which the machine's date has been a day or more earlier than the trusted one. If that lasts,
    /// the trusted date is the wrong one.
    behind_since: Option<Duration>,
}

impl DateGuard {
    /// Creates a guard with the date stored by an earlier run, which has not advanced since.
    pub fn new(steady: Duration, known: SystemTime) -> Self {
        Self {
            trusted: Now { monotonic: steady, wall: known },
            forward_allowance: DAY,
            is_ahead: false,
            behind_since: None,
        }
    }

    /// The date for the expiry of files: never later than the machine's date.
    pub fn date(&self, now: Now) -> SystemTime {
        self.trusted_date(now.monotonic).min(now.wall)
    }

    /// Whether the machine's date is further ahead than is trusted.
    pub fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Records the machine's date. Returns whether it has just become too far ahead.
    pub fn observe(&mut self, now: Now) -> bool {
        let known = self.trusted_date(now.monotonic);
        let was_ahead = std::mem::replace(&mut self.is_ahead, false);
        match now.wall.duration_since(known) {
            Ok(step) if step <= self.forward_allowance => {
                self.forward_allowance -= step;
                self.trusted = now;
                self.behind_since = None;
                false
            }
            Ok(_) => {
                (self.is_ahead, self.behind_since) = (true, None);
                !was_ahead
            }
            Err(behind) if behind.duration() < DAY => {
                self.behind_since = None;
                false
            }
            Err(_) => {
                let since = *self.behind_since.get_or_insert(now.monotonic);
                if now.monotonic.saturating_sub(since) >= BACKWARD_STEP_CONFIRMATION {
                    self.trusted = now;
                }
                false
            }
        }
    }

    fn trusted_date(&self, steady: Duration) -> SystemTime {
        self.trusted
            .wall
            .checked_add(steady.saturating_sub(self.trusted.monotonic))
            .unwrap_or(self.trusted.wall)
    }
}

/// A turn may be delayed for this long on a busy machine.
const SUSPENSION_THRESHOLD: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// An earlier date is trusted only after this long, because machines without a hardware clock start in 1970.
const BACKWARD_STEP_CONFIRMATION: Duration = Duration::from_secs(3600);

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
        assert_eq!(clock.now().monotonic, secs(1100), "before the first turn");
        pass(5);
        assert_eq!(clock.now_after_sleep(Some(secs(5))).monotonic, secs(1105));
        pass(125);
        assert_eq!(clock.now_after_sleep(Some(secs(5))).monotonic, secs(1110), "120 s beyond the timer");
        assert_eq!((clock.take_suspension(), clock.take_suspension()), (Some(secs(120)), None));
        pass(40);
        assert_eq!(clock.now().monotonic, secs(1110), "in the midst of a turn");
        pass(3);
        assert_eq!(clock.now_after_sleep(Some(secs(5))).monotonic, secs(1113));
        assert_eq!(clock.take_suspension(), Some(secs(40)));
        let now = clock.now();
        assert_eq!(clock.including_suspensions(now).monotonic, secs(1273));
    }

    #[test]
    fn r10_a_turn_that_is_a_little_late_and_a_sleep_without_limit_are_no_stops() {
        let (mut clock, pass) = loop_clock();
        clock.now();
        pass(1);
        assert_eq!(clock.now().monotonic, Duration::from_secs(1001));
        pass(500);
        assert_eq!(clock.now_after_sleep(None).monotonic, Duration::from_secs(1501));
        assert_eq!(clock.take_suspension(), None);
    }

    const YEAR: u64 = 365 * 86_400;
    const TODAY: u64 = 56 * YEAR;

    fn at(steady: u64, date: u64) -> Now {
        Now { monotonic: Duration::from_secs(steady), wall: date_of(date) }
    }

    fn date_of(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn r2_a_date_that_is_years_ahead_is_not_believed_at_the_start_nor_later() {
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY));
        assert!(guard.observe(at(0, TODAY + 10 * YEAR)), "told");
        for hour in 0..24 * 365 {
            let now = at(hour * 3600, TODAY + 10 * YEAR + hour * 3600);
            assert!(!guard.observe(now), "told once");
            assert_eq!(guard.date(now), date_of(TODAY + hour * 3600));
        }
        let right = at(YEAR, TODAY + YEAR);
        guard.observe(right);
        assert!(!guard.is_ahead());
        assert!(guard.observe(at(YEAR + 1, TODAY + 11 * YEAR)), "a jump while it runs");
        assert_eq!(guard.date(at(YEAR + 1, TODAY + 11 * YEAR)), date_of(TODAY + YEAR + 1));
    }

    #[test]
    fn r2_small_steps_are_a_day_at_most_in_all() {
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY));
        let mut date = TODAY;
        for step in 0..1000 {
            date += 3600;
            guard.observe(at(step, date));
        }
        assert!(guard.date(at(1000, date)) <= date_of(TODAY + 1000 + 86_400), "{guard:?}");
    }

    #[test]
    fn r2_a_date_that_is_behind_is_used_at_once_and_believed_after_an_hour() {
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY));
        guard.observe(at(0, 0));
        assert_eq!(guard.date(at(0, 0)), date_of(0));
        guard.observe(at(10, TODAY + 10));
        assert!(!guard.is_ahead(), "1970 was a moment's");
        // The stored date was wrong.
        let mut guard = DateGuard::new(Duration::ZERO, date_of(TODAY + 10 * YEAR));
        guard.observe(at(0, TODAY));
        guard.observe(at(3600, TODAY + 3600));
        guard.observe(at(3601, TODAY + 10 * YEAR + 3601));
        assert!(guard.is_ahead());
    }
}
