//! Who may end a server: signals, where the process is its own, and a [`Stopper`], where it is a guest in another
//! program's.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::Interest;

use super::{SIGNALS, Server};
use crate::{clock::Now, server::signals::Signals, workers::LoopWaker};

/// Stops a server from another thread, as a signal would.
#[derive(Debug)]
pub struct Stopper {
    is_to_stop: Arc<AtomicBool>,
    waker: Arc<LoopWaker>,
}

impl Stopper {
    /// Stops it in good order; a second call does not wait for its sessions.
    pub fn stop(&self) {
        self.is_to_stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Server {
    /// What stops it from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { is_to_stop: Arc::clone(&self.is_to_stop), waker: Arc::clone(&self.waker) }
    }

    /// Stops if a [`Stopper`] says so. To be called behind the answer to the waker: whoever says it later rings
    /// anew.
    pub(super) fn look_for_stopper(&mut self, now: Now) {
        if self.is_to_stop.swap(false, Ordering::AcqRel) {
            self.stop(now);
        }
    }

    pub(super) fn catch_signals(&mut self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        self.poll.registry().register(signals.source(), SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }
}
