//! A question at the terminal whose answer is not shown.
//!
//! The rule: the echo of the terminal comes back on every way out: an answer, the end of the input, an error, a panic, and
//! each signal that ends or stops the process. After SIGTSTP and `fg` the question is asked again.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
};

use crate::ending_signals::{self, Held};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};

/// Asks at the terminal of the process, and reads a line without its line end.
///
/// # Errors
/// The process has no terminal, or the input ended.
pub(crate) fn ask(question: &str) -> io::Result<Vec<u8>> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    loop {
        let held = ending_signals::hold()?;
        let hidden = HiddenEcho::begin(&terminal)?;
        (&terminal).write_all(question.as_bytes())?;
        match read_line(&terminal, &held)? {
            Input::Line(line) => return Ok(line),
            Input::Signal(signal) => {
                drop(hidden);
                let _ = (&terminal).write_all(b"\n"); // the terminal may be gone
                drop(held);
                ending_signals::take_effect(signal)?;
            }
        }
    }
}

enum Input {
    Line(Vec<u8>),
    Signal(i32),
}

fn read_line(mut terminal: &File, held: &Held) -> io::Result<Input> {
    let mut line = Vec::new();
    loop {
        if let Some(signal) = held.signal() {
            return Ok(Input::Signal(signal));
        }
        let mut waited = [PollFd::new(terminal, PollFlags::IN), PollFd::new(held, PollFlags::IN)];
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
