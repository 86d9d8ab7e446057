//! Signals that end or stop the process, held back while a terminal has other modes than its owner set, or while there is
//! an unfinished file.
//!
//! The rule: a signal that came takes effect as the kernel would have it, as soon as the terminal is restored or the file
//! is gone.

use std::{
    fs,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2},
    flag, low_level,
};

/// Holds the signals back until the result is dropped.
pub(crate) fn hold() -> io::Result<Held> {
    let mut kept = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    let signals = match &mut *kept {
        Some(signals) => signals,
        none => none.insert(Signals::register()?),
    };
    signals.caught.store(0, Ordering::SeqCst);
    let mut old = [0; 64];
    while matches!(signals.woken.read(&mut old), Ok(1..)) {}
    signals.is_default.store(false, Ordering::SeqCst);
    let woken = signals.woken.try_clone()?;
    Ok(Held { kept, woken })
}

/// Does what the signal does by default. Returns if that stopped the process, and SIGCONT came.
pub(crate) fn take_effect(signal: i32) -> io::Result<()> {
    low_level::emulate_default_handler(signal)
}

/// The time in which signals are held back.
pub(crate) struct Held {
    kept: MutexGuard<'static, Option<Signals>>,
    /// Readable after a signal.
    woken: UnixStream,
}

impl Held {
    /// The signal that came.
    pub(crate) fn signal(&self) -> Option<i32> {
        let caught = self.kept.as_ref()?.caught.load(Ordering::SeqCst);
        i32::try_from(caught).ok().filter(|signal| *signal != 0)
    }

    #[cfg(feature = "tools")]
    fn forget(&self, signal: i32) {
        if let Some(signals) = &*self.kept {
            forget(&signals.caught, signal);
        }
    }
}

/// Forgets that signal, unless another one has come after it.
#[cfg(feature = "tools")]
fn forget(caught: &AtomicUsize, signal: i32) {
    // An error is the other signal, which stays.
    let _ = usize::try_from(signal)
        .map(|signal| caught.compare_exchange(signal, 0, Ordering::SeqCst, Ordering::SeqCst));
}

/// A writer that fails after a signal that ends the process, and stops at once after one that stops it.
#[cfg(feature = "tools")]
pub(crate) struct EndedBySignal<'a, W> {
    pub(crate) to: W,
    pub(crate) held: &'a Held,
}

#[cfg(feature = "tools")]
impl<W: io::Write> io::Write for EndedBySignal<'_, W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self.held.signal() {
            Some(SIGTSTP) => {
                self.held.forget(SIGTSTP);
                take_effect(SIGTSTP)?;
            }
            // Not the kind `Interrupted`, after which callers try again.
            Some(signal) => return Err(io::Error::other(format!("ended by signal {signal}"))),
            None => {}
        }
        self.to.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(signals) = &*self.kept {
            signals.is_default.store(true, Ordering::SeqCst);
        }
    }
}

/// The handlers of the signals in [`ENDING`]. They stay installed, because a handler cannot be taken away safely; while none
/// is held back they do what the kernel would.
struct Signals {
    is_default: Arc<AtomicBool>,
    /// The last signal; 0 for none.
    caught: Arc<AtomicUsize>,
    woken: UnixStream,
}

impl Signals {
    fn register() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let signals = Self { is_default: Arc::new(AtomicBool::new(true)), caught: Arc::default(), woken };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for signal in ENDING.into_iter().filter(|signal| !is_ignored(&status, *signal)) {
            flag::register_conditional_default(signal, Arc::clone(&signals.is_default))?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&signals.caught), number)?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(signals)
    }
}

/// Whether a process with that `/proc/PID/status` ignores a signal, as nohup(1) has it ignore SIGHUP. The mask has a bit
/// for each signal, the lowest for signal 1 (proc(5)).
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

static SIGNALS: Mutex<Option<Signals>> = Mutex::new(None);

/// The signals that end or stop a process and that it can handle.
const ENDING: [i32; 8] = [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2];

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "tools")]
    #[test]
    fn n109_a_signal_that_comes_before_another_one_is_forgotten_stays() {
        // Not those of the process, because other tests send it signals.
        let come = |signal: i32| AtomicUsize::new(usize::try_from(signal).unwrap());
        let caught = come(SIGTERM);
        forget(&caught, SIGTSTP);
        assert_eq!(caught.into_inner(), usize::try_from(SIGTERM).unwrap());
        let caught = come(SIGTSTP);
        forget(&caught, SIGTSTP);
        assert_eq!(caught.into_inner(), 0);
    }

    #[test]
    fn n109_a_signal_that_is_ignored_is_known() {
        let status = "Name:\tsh\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000004001\n";
        let ignored: Vec<i32> = ENDING.into_iter().filter(|signal| is_ignored(status, *signal)).collect();
        assert_eq!(ignored, [SIGHUP, SIGTERM]);
        assert!(!is_ignored("", SIGHUP));
    }
}
