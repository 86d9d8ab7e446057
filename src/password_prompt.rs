//! A question at the terminal whose answer is not shown.
//!
//! The rule: the echo of the terminal comes back on every way out: an answer, the end of the input, an error, a panic, and
//! each signal that ends or stops the process. After SIGTSTP and `fg` the question is asked again.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2},
    flag, low_level,
};

/// Asks at the terminal of the process, and reads a line without its line end.
///
/// # Errors
/// The process has no terminal, or the input ended.
pub(crate) fn ask(question: &str) -> io::Result<Vec<u8>> {
    let mut kept = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    let signals = match &mut *kept {
        Some(signals) => signals,
        none => none.insert(Signals::register()?),
    };
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    loop {
        let pending = signals.hold()?;
        let hidden = HiddenEcho::begin(&terminal)?;
        (&terminal).write_all(question.as_bytes())?;
        match read_line(&terminal, &pending)? {
            Input::Line(line) => return Ok(line),
            Input::Signal(signal) => {
                drop(hidden);
                let _ = (&terminal).write_all(b"\n"); // the terminal may be gone
                drop(pending);
                low_level::emulate_default_handler(signal)?; // it returns after SIGTSTP and SIGCONT
            }
        }
    }
}

enum Input {
    Line(Vec<u8>),
    Signal(i32),
}

fn read_line(mut terminal: &File, pending: &Pending<'_>) -> io::Result<Input> {
    let mut line = Vec::new();
    loop {
        if let Some(signal) = pending.signal() {
            return Ok(Input::Signal(signal));
        }
        let mut waited = [PollFd::new(terminal, PollFlags::IN), PollFd::new(&pending.0.woken, PollFlags::IN)];
        match poll(&mut waited, None) {
            Ok(_) if !waited[1].revents().is_empty() => continue,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut octets = [0; 4096];
        let length = match terminal.read(&mut octets) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        line.extend_from_slice(&octets[..length]);
        if line.ends_with(b"\n") {
            line.pop();
            return Ok(Input::Line(line));
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A terminal without echo until this is dropped.
struct HiddenEcho<'a, F: AsFd> {
    terminal: &'a F,
    before: Termios,
}

impl<'a, F: AsFd> HiddenEcho<'a, F> {
    fn begin(terminal: &'a F) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Now, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl<F: AsFd> Drop for HiddenEcho<'_, F> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before); // the terminal may be gone
    }
}

/// The handlers of the signals in [`ENDING`]. They stay installed, because a handler cannot be taken away safely; outside of
/// a question they do what the kernel would.
struct Signals {
    /// True outside of a question.
    is_default: Arc<AtomicBool>,
    /// The signal that came during a question; 0 for none.
    caught: Arc<AtomicUsize>,
    /// Readable after a signal.
    woken: UnixStream,
}

impl Signals {
    fn register() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let signals = Self { is_default: Arc::new(AtomicBool::new(true)), caught: Arc::default(), woken };
        for signal in ENDING {
            flag::register_conditional_default(signal, Arc::clone(&signals.is_default))?;
            flag::register_usize(
                signal,
                Arc::clone(&signals.caught),
                usize::try_from(signal).unwrap_or_default(),
            )?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Holds signals back until the result is dropped.
    fn hold(&mut self) -> io::Result<Pending<'_>> {
        self.caught.store(0, Ordering::SeqCst);
        let mut old = [0; 64];
        while matches!(self.woken.read(&mut old), Ok(1..)) {}
        self.is_default.store(false, Ordering::SeqCst);
        Ok(Pending(self))
    }
}

/// The time in which signals are held back.
struct Pending<'a>(&'a Signals);

impl Pending<'_> {
    fn signal(&self) -> Option<i32> {
        i32::try_from(self.0.caught.load(Ordering::SeqCst)).ok().filter(|signal| *signal != 0)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.is_default.store(true, Ordering::SeqCst);
    }
}

static SIGNALS: Mutex<Option<Signals>> = Mutex::new(None);

/// The signals that end or stop a process and that it can handle.
const ENDING: [i32; 8] = [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u06_a_panic_gives_the_terminal_its_echo_back() {
        // The modes of a pseudo-terminal can be read and set at its master, too.
        let Ok(terminal) = File::options().read(true).write(true).open("/dev/ptmx") else { return };
        let echoes = || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO);
        assert!(echoes());
        let result = std::panic::catch_unwind(|| {
            let _hidden = HiddenEcho::begin(&terminal).unwrap();
            assert!(!tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO));
            panic!("in the middle of a question");
        });
        assert!(result.is_err() && echoes());
    }
}
