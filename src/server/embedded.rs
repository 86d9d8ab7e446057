//! The two ways to stop a server: signals if the process is its own, and a [`ShutdownHandle`] if it is embedded in
//! another program.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::Interest;

use super::{
    signals::Signals,
    state::{SIGNALS, Server},
};
use crate::{clock::Now, workers::LoopWaker};

/// Stops a server from another thread, as a signal would.
#[derive(Debug)]
pub struct ShutdownHandle {
    stop_requested: Arc<AtomicBool>,
    waker: Arc<LoopWaker>,
}

impl ShutdownHandle {
    /// Starts a graceful shutdown. A second call ends the server without waiting for its sessions.
    pub fn stop(&self) {
        self.stop_requested.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Server {
    /// Returns a handle that stops the server from another thread.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { stop_requested: Arc::clone(&self.stop_requested), waker: Arc::clone(&self.waker) }
    }

    /// Stops if a [`ShutdownHandle`] has asked for it. Call this after the waker is reset: a later request wakes the
    /// loop again.
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
