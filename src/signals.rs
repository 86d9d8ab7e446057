//! The signals that ask the server to stop, as a source of the event loop.

use std::{io, sync::Arc};

use mio::event::Source;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end in good order. A second one means: now.
    Stop,
}

/// SIGTERM and SIGINT, caught from now on.
pub struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Catches the signals, which end the process no more. So does SIGXFSZ, which comes with a write beyond
    /// the limit of a file's size: the write fails, and that is told to the client.
    pub fn new() -> io::Result<Self> {
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT]).map(Self)
    }

    /// What to register, for READABLE.
    pub fn source(&mut self) -> &mut impl Source {
        &mut self.0
    }

    /// The signals that have come since the last call. Never waits.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> {
        self.0.pending().map(|_| Signal::Stop)
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Interest, Poll, Token};

    use super::*;

    #[test]
    fn a_signal_wakes_the_loop_and_asks_for_a_stop() {
        let mut poll = Poll::new().unwrap();
        let mut signals = Signals::new().unwrap();
        poll.registry().register(signals.source(), Token(0), Interest::READABLE).unwrap();
        assert_eq!(signals.pending().count(), 0);
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::raise(signal).unwrap();
            poll.poll(&mut Events::with_capacity(1), None).unwrap();
            assert_eq!(signals.pending().collect::<Vec<_>>(), [Signal::Stop]);
        }
    }
}
