//! Signals that end or stop the process, held back while a terminal has other modes than its owner set.
//!
//! The rule: a signal that came takes effect as the kernel would have it, as soon as the terminal is restored.

use std::{
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
        for signal in ENDING {
            flag::register_conditional_default(signal, Arc::clone(&signals.is_default))?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&signals.caught), number)?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(signals)
    }
}

static SIGNALS: Mutex<Option<Signals>> = Mutex::new(None);

/// The signals that end or stop a process and that it can handle.
const ENDING: [i32; 8] = [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2];
