//! The signals that the server handles, as a source of the event loop.

use std::{io, sync::Arc};

use mio::event::Source;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};

/// The request that a signal stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: shut down gracefully. A second one ends the server at once.
    Stop,
    /// SIGHUP: read the configuration and the files that it names again.
    Reload,
    /// SIGUSR1: write the status to the log.
    Status,
    /// SIGCHLD, as the first process of a container: a process whose parent has ended may have ended too.
    ChildEnded,
}

/// SIGTERM, SIGINT, SIGHUP and SIGUSR1, caught from now on.
pub struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Catches the signals, so that they no longer end the process. SIGXFSZ is caught too, which the kernel sends on
    /// a write beyond the file size limit: the write then fails, and the client gets that error.
    pub fn new() -> io::Result<Self> {
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let is_init = std::process::id() == INIT;
        let signals = [SIGTERM, SIGINT, SIGHUP, SIGUSR1].into_iter().chain(is_init.then_some(SIGCHLD));
        signal_hook_mio::v1_0::Signals::new(signals).map(Self)
    }

    /// The source to register, for READABLE.
    pub fn source(&mut self) -> &mut impl Source {
        &mut self.0
    }

    /// Returns the signals that have arrived since the last call. Never waits.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> {
        self.0.pending().map(|signal| match signal {
            SIGHUP => Signal::Reload,
            SIGUSR1 => Signal::Status,
            SIGCHLD => Signal::ChildEnded,
            _ => Signal::Stop,
        })
    }
}

/// Reaps the processes that have ended. The kernel makes the first process of a container the parent of every process
/// that has lost its own. This server starts none.
pub fn reap_children() {
    while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
}

/// The number of the first process of a container.
const INIT: u32 = 1;

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
