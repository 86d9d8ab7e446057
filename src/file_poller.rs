//! Polls files on threads of their own, because a read may wait for a disk: after a change that the kernel reports, and from
//! time to time. Where the kernel cannot report each change, it polls at a short interval.
//!
//! The rule: a read that never ends, as on a dead file server, is logged and after a while abandoned. Another thread
//! then reads the same names, which may lead elsewhere by then. The number of stuck threads is bounded.

use std::{
    io::{self, PipeReader, PipeWriter},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::file_watch::FileWatch;

/// Polls files until it is dropped.
#[derive(Debug)]
pub(crate) struct FilePoller {
    _stop_on_drop: PipeWriter,
}

/// The interval of polls, and the time that one may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollInterval {
    interval: Duration,
    warn_after: Duration,
    /// Time until the thread is abandoned.
    abandon_after: Duration,
    /// Whether to ask the kernel for reports of changes.
    use_inotify: bool,
}

impl PollInterval {
    pub(crate) const fn new(interval: Duration, use_inotify: bool) -> Self {
        Self { interval, warn_after: WARN_AFTER, abandon_after: ABANDON_AFTER, use_inotify }
    }
}

impl FilePoller {
    /// Polls the files at once and after each change; and at the interval, or seldom if the kernel reports changes. A report
    /// waits for a quarter of the interval, because another file may change too. `new_reader` creates the function that a thread calls for each poll; it
    /// shares no state with those of earlier threads. `on_result` gets each result.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(crate) fn start<T, L>(
        (what, paths): (&'static str, Vec<PathBuf>),
        timing: PollInterval,
        new_reader: impl Fn() -> L + Send + 'static,
        on_result: impl Fn(T) + Send + 'static,
    ) -> io::Result<Self>
    where
        T: Send + 'static,
        L: FnMut(SystemTime) -> Option<T> + Send + 'static,
    {
        let (stopped, stop_on_drop) = io::pipe()?;
        let mut supervisor =
            Supervisor { what, paths: paths.into(), timing, alive: Arc::default(), new_reader };
        let reader = supervisor.reader()?;
        let name = format!("{what} poller");
        thread::Builder::new().name(name).spawn(move || supervisor.run(reader, &stopped, &on_result))?;
        Ok(Self { _stop_on_drop: stop_on_drop })
    }
}

/// The thread that controls the readers. It never touches a file itself.
struct Supervisor<F> {
    what: &'static str,
    paths: Arc<[PathBuf]>,
    timing: PollInterval,
    /// Each thread that reads holds a clone.
    alive: Arc<()>,
    new_reader: F,
}

/// A thread that reads the files on request.
struct Reader<T> {
    requests: Sender<SystemTime>,
    /// The result of each poll, and the watch that began before it.
    results: Receiver<(Option<T>, Option<FileWatch>)>,
}

impl<F> Supervisor<F> {
    fn reader<T, L>(&mut self) -> io::Result<Reader<T>>
    where
        F: Fn() -> L,
        T: Send + 'static,
        L: FnMut(SystemTime) -> Option<T> + Send + 'static,
    {
        let (request_sender, requests) = mpsc::channel();
        let (result_sender, results) = mpsc::channel();
        let use_inotify = self.timing.use_inotify;
        let (mut read, alive, paths) =
            ((self.new_reader)(), Arc::clone(&self.alive), Arc::clone(&self.paths));
        thread::Builder::new().name(self.what.into()).spawn(move || {
            // An abandoned thread ends after its read, perhaps much later.
            for now in requests {
                let watch = use_inotify.then(|| FileWatch::begin(&paths)).flatten();
                if result_sender.send((read(now), watch)).is_err() {
                    break;
                }
            }
            drop(alive);
        })?;
        Ok(Reader { requests: request_sender, results })
    }

    fn run<T, L>(&mut self, mut reader: Reader<T>, stopped: &PipeReader, on_result: &impl Fn(T))
    where
        F: Fn() -> L,
        T: Send + 'static,
        L: FnMut(SystemTime) -> Option<T> + Send + 'static,
    {
        loop {
            let _ = reader.requests.send(SystemTime::now()); // a reader that has panicked is noticed below
            let (mut waited, mut watch) = (Duration::ZERO, None);
            loop {
                match reader.results.recv_timeout(self.timing.warn_after) {
                    Ok((result, begun)) => {
                        watch = begun;
                        if let Some(result) = result {
                            on_result(result);
                        }
                        break;
                    }
                    Err(RecvTimeoutError::Timeout) if is_stopped(stopped, Duration::ZERO) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        waited += self.timing.warn_after;
                        if waited == self.timing.warn_after {
                            log::warn!(
                                "{}: reading the files is slow, keeping what was read before",
                                self.what
                            );
                        }
                        let stuck = Arc::strong_count(&self.alive) - 1;
                        if waited < self.timing.abandon_after || stuck > MAX_STUCK_THREADS {
                            continue;
                        }
                        log::error!(
                            "{}: reading the files timed out, retrying: stuck_threads={stuck}",
                            self.what
                        );
                    }
                    Err(RecvTimeoutError::Disconnected) => {}
                }
                match self.reader() {
                    Ok(another) => reader = another,
                    Err(error) => log::error!("{}: no thread to read the files: {error}", self.what),
                }
                break;
            }
            if !self.wait(watch.as_ref(), stopped) {
                return;
            }
        }
    }

    /// Waits until the next poll. Returns `false` if there is none.
    fn wait(&self, watch: Option<&FileWatch>, stopped: &PipeReader) -> bool {
        let interval = self.timing.interval;
        let Some(watch) = watch else { return !is_stopped(stopped, interval) };
        let next = Instant::now() + interval.max(MAX_WATCHED_INTERVAL);
        loop {
            let left = next.saturating_duration_since(Instant::now());
            let mut ends =
                [PollFd::new(stopped, PollFlags::IN), PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
            if wait_for(&mut ends, left) == 0 && left.is_zero() {
                return true;
            }
            if !ends[0].revents().is_empty() {
                return false;
            }
            if !ends[1].revents().is_empty() && watch.take_events() {
                return !is_stopped(stopped, interval / 4);
            }
        }
    }
}

/// Whether the poller is dropped within that time.
fn is_stopped(stopped: &PipeReader, timeout: Duration) -> bool {
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if wait_for(&mut [PollFd::new(stopped, PollFlags::IN)], left) > 0 {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// Waits for one of the ends. Returns the number of those that are ready.
fn wait_for(ends: &mut [PollFd<'_>], timeout: Duration) -> usize {
    let timeout = Timespec::try_from(timeout).ok();
    poll(ends, timeout.as_ref()).unwrap_or(0) // a signal may interrupt it
}

/// Limits the log lines for the error of a file: a new error is logged at once, a lasting one now and then.
#[derive(Debug, Default)]
pub(crate) struct ErrorLogThrottle(Option<(String, SystemTime)>);

impl ErrorLogThrottle {
    /// Returns whether to log the error: because it is new, or because it was last logged long enough ago. The time
    /// is shorter for a file that has `changed`.
    pub(crate) fn should_log(&mut self, error: &str, changed: bool, now: SystemTime) -> bool {
        let again = if changed { RELOG_INTERVAL_AFTER_CHANGE } else { RELOG_INTERVAL };
        let is_known = self.0.as_ref().is_some_and(|(text, when)| {
            text == error && now.duration_since(*when).is_ok_and(|since| since < again)
        });
        if !is_known {
            self.0 = Some((error.to_owned(), now));
        }
        !is_known
    }

    /// Records success: the next error is logged at once.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    pub(crate) fn last_error(&self) -> Option<&str> {
        self.0.as_ref().map(|(text, _)| text.as_str())
    }
}

pub(crate) const WARN_AFTER: Duration = Duration::from_secs(5);
pub(crate) const ABANDON_AFTER: Duration = Duration::from_secs(30);
/// The interval of polls where the kernel reports changes: it does not report a directory above that is replaced.
const MAX_WATCHED_INTERVAL: Duration = Duration::from_secs(60);
/// Threads that may be stuck, in addition to the one that reads.
pub(crate) const MAX_STUCK_THREADS: usize = 4;
/// Time until a file that could not be read is tried again although it has not changed.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(60);
const RELOG_INTERVAL: Duration = Duration::from_secs(3600);
const RELOG_INTERVAL_AFTER_CHANGE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    const FAST: PollInterval = PollInterval {
        interval: Duration::from_millis(1),
        warn_after: Duration::from_millis(2),
        abandon_after: Duration::from_millis(4),
        use_inotify: false,
    };
    /// Far longer than any step of a test takes.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_reader_that_is_stuck_is_replaced_and_so_many_are_stuck_at_most() {
        let (mut releases, gates): (Vec<_>, Vec<_>) =
            (0..MAX_STUCK_THREADS + 2).map(|_| mpsc::channel::<()>()).unzip();
        let gates = Mutex::new(gates.into_iter().enumerate());
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let look = move || {
            let (n, gate) = gates.lock().unwrap().next().expect("one reader more than may be stuck");
            let count = Arc::clone(&count);
            move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = gate.recv(); // ends when it is released
                Some(n)
            }
        };
        let (takes, taken) = mpsc::channel();
        let take = move |n| takes.send(n).unwrap_or_default(); // the test may have ended
        let poller = FilePoller::start(("test", Vec::new()), FAST, look, take).unwrap();
        while begun.load(Ordering::SeqCst) <= MAX_STUCK_THREADS {
            thread::yield_now();
        }
        // The result of the newest reader arrives, and none from abandoned ones.
        drop(releases.remove(MAX_STUCK_THREADS));
        assert_eq!(taken.recv_timeout(LONG), Ok(MAX_STUCK_THREADS));
        drop(poller);
        drop(releases);
    }

    #[test]
    fn what_a_look_finds_is_taken_and_a_panic_is_no_end() {
        let made = AtomicUsize::new(0);
        let look = move || {
            let n = made.fetch_add(1, Ordering::SeqCst);
            let mut looks = 0;
            move |_| {
                looks += 1;
                assert!(n > 0 || looks < 3, "a bug that a test is about");
                (n > 0).then_some(n)
            }
        };
        // No reader counts as stuck, however busy the machine is.
        let pace = PollInterval { warn_after: LONG, abandon_after: LONG, ..FAST };
        let (takes, taken) = mpsc::channel();
        let take = move |n| takes.send(n).unwrap_or_default(); // the test may have ended
        let _poller = FilePoller::start(("test", Vec::new()), pace, look, take).unwrap();
        assert_eq!(taken.recv_timeout(LONG), Ok(1));
    }

    #[test]
    fn an_error_is_told_when_it_is_new_and_now_and_then() {
        let mut told = ErrorLogThrottle::default();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        assert!(told.should_log("a", true, at(0)));
        assert!(!told.should_log("a", true, at(30)) && !told.should_log("a", false, at(3599)));
        assert!(told.should_log("a", true, at(60)));
        assert!(told.should_log("b", false, at(61)));
        assert!(told.should_log("b", false, at(61 + 3600)));
        assert!(told.should_log("b", false, at(0)), "the clock was set back");
        told.clear();
        assert!(told.should_log("b", false, at(1)));
    }
}
