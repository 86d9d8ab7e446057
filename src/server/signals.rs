//! The signals that ask the server for something, as a source of the event loop.

use std::{io, sync::Arc};

use mio::event::Source;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end in good order. A second one means: now.
    Stop,
    /// SIGHUP: read the configuration and all that it leads to again.
    Reload,
    /// SIGUSR1: say in the log how things are.
    Status,
}

/// SIGTERM, SIGINT, SIGHUP and SIGUSR1, caught from now on.
pub struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Catches the signals, which end the process no more. So does SIGXFSZ, which comes with a write beyond
    /// the limit of a file's size: the write fails, and that is told to the client.
    pub fn new() -> io::Result<Self> {
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map(Self)
    }

    /// What to register, for READABLE.
    pub fn source(&mut self) -> &mut impl Source {
        &mut self.0
    }

    /// The signals that have come since the last call. Never waits.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> {
        self.0.pending().map(|signal| match signal {
            SIGHUP => Signal::Reload,
            SIGUSR1 => Signal::Status,
            _ => Signal::Stop,
        })
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Interest, Poll, Token};

    use super::*;

    #[test]
    fn a_signal_wakes_the_loop_and_says_what_it_asks_for() {
        let mut poll = Poll::new().unwrap();
        let mut signals = Signals::new().unwrap();
        poll.registry().register(signals.source(), Token(0), Interest::READABLE).unwrap();
        assert_eq!(signals.pending().count(), 0);
        for (signal, asks_for) in [
            (SIGTERM, Signal::Stop),
            (SIGINT, Signal::Stop),
            (SIGHUP, Signal::Reload),
            (SIGUSR1, Signal::Status),
        ] {
            signal_hook::low_level::raise(signal).unwrap();
            poll.poll(&mut Events::with_capacity(1), None).unwrap();
            assert_eq!(signals.pending().collect::<Vec<_>>(), [asks_for]);
        }
    }
}
