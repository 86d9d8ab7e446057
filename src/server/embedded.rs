//! Who may end a server: signals, where the process is its own, and a [`ShutdownHandle`], where it is a guest in another
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
pub struct ShutdownHandle {
    stop_requested: Arc<AtomicBool>,
    waker: Arc<LoopWaker>,
}

impl ShutdownHandle {
    /// Stops it in good order; a second call does not wait for its sessions.
    pub fn stop(&self) {
        self.stop_requested.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Server {
    /// What stops it from another thread.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { stop_requested: Arc::clone(&self.stop_requested), waker: Arc::clone(&self.waker) }
    }

    /// Stops if a [`ShutdownHandle`] says so. To be called behind the answer to the waker: whoever says it later rings
    /// anew.
    pub(super) fn check_stop_request(&mut self, now: Now) {
        if self.stop_requested.swap(false, Ordering::AcqRel) {
            self.begin_shutdown(now);
        }
    }

    pub(super) fn catch_signals(&mut self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        self.poll.registry().register(signals.source(), SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }
}
