//! Closes files away from the event loop. A file server may delay `close` and `unlink` for seconds, and the loop must
//! not wait. On the thread of the loop, the last owner of such a file passes it to a thread that may wait. Every
//! other thread closes it directly, so that workers pay for no hand-over and open files do not pile up.
//!
//! Memory that takes long to free is passed on in the same way.
//!
//! Types enforce the rule: every descriptor inside the spool that may reach the loop is a [`DeferredFd`], and a
//! message is in a [`DeferredDrop`].

use std::{
    cell::RefCell,
    io,
    ops::{Deref, DerefMut},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crossbeam_channel::{self as channel, Sender};

type Droppable = Box<dyn Send>;

thread_local! {
    /// Set only on the thread of an event loop.
    static DROP_QUEUE: RefCell<Option<Sender<Droppable>>> = const { RefCell::new(None) };
}

/// Drops a value: on the thread for closing if the caller is an event loop, otherwise here.
pub fn drop_deferred<T: Send + 'static>(value: T) {
    // The variable no longer exists on a thread that is ending.
    let queue = DROP_QUEUE.try_with(|queue| queue.borrow().clone()).ok().flatten();
    match queue {
        // If the thread for closing has ended, the value comes back in the error and is dropped here.
        Some(queue) => drop(queue.send(Box::new(value))),
        None => drop(value),
    }
}

/// A value that owns files on a possible file server, or removes them when it is dropped. Its drop goes through
/// [`drop_deferred`].
#[derive(Debug)]
pub struct DeferredDrop<T: Send + 'static> {
    /// `None` only during the drop.
    value: Option<T>,
}

/// An open file or directory that may be on a file server.
pub type DeferredFd = DeferredDrop<OwnedFd>;

impl<T: Send + 'static> DeferredDrop<T> {
    /// Makes the loop drop `value` on another thread.
    pub fn new(value: T) -> Self {
        Self { value: Some(value) }
    }

    /// Returns the value, for a thread that may wait.
    pub fn into_inner(mut self) -> T {
        match self.value.take() {
            Some(value) => value,
            None => unreachable!("{USED_AFTER_DROP}"),
        }
    }
}

impl From<OwnedFd> for DeferredFd {
    fn from(file: OwnedFd) -> Self {
        Self::new(file)
    }
}

impl<T: Send + 'static> Deref for DeferredDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("{USED_AFTER_DROP}"),
        }
    }
}

impl<T: Send + 'static> DerefMut for DeferredDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("{USED_AFTER_DROP}"),
        }
    }
}

impl AsFd for DeferredFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl<T: Send + 'static> Drop for DeferredDrop<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            drop_deferred(value);
        }
    }
}

/// The thread that closes files for an event loop. Its queue needs no bound, because each file in it was already
/// open.
#[derive(Debug)]
pub struct DropThread {
    queue: Sender<Droppable>,
    ended: Receiver<()>,
}

impl DropThread {
    /// Starts the thread. It ends when this and its last [`LoopThreadGuard`] are dropped.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start() -> io::Result<Self> {
        let (queue, items) = channel::unbounded::<Droppable>();
        let (ends, ended) = mpsc::channel();
        thread::Builder::new().name("close".into()).spawn(move || {
            for item in items {
                // A panic at the end of one value ends no other, and not the thread.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(item)));
            }
            drop(ends);
        })?;
        Ok(Self { queue, ended })
    }

    /// Marks this thread as that of an event loop, until the returned value is dropped.
    pub fn mark_loop_thread(self) -> LoopThreadGuard {
        DROP_QUEUE.with(|queue| queue.replace(Some(self.queue.clone())));
        LoopThreadGuard { drop_thread: Some(self) }
    }
}

/// Marks its thread as that of an event loop. Its drop waits a moment until the files are closed, because the files
/// of sockets must be gone when a server has ended.
#[derive(Debug)]
pub struct LoopThreadGuard {
    drop_thread: Option<DropThread>,
}

impl Drop for LoopThreadGuard {
    fn drop(&mut self) {
        let _ = DROP_QUEUE.try_with(|queue| queue.take());
        if let Some(DropThread { queue, ended }) = self.drop_thread.take() {
            drop(queue);
            // The thread sends nothing: its end of the channel closes when it ends.
            let end = ended.recv_timeout(SHUTDOWN_WAIT);
            if end == Err(RecvTimeoutError::Timeout) {
                log::warn!("timed out closing files: slow disk or file server");
            }
        }
    }
}

const USED_AFTER_DROP: &str = "a value that is being dropped is not used";
/// Time that the end of a server waits for files to be closed.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;

    /// Reports the thread on which it was dropped.
    struct Teller(mpsc::Sender<ThreadId>);

    impl Drop for Teller {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    #[test]
    fn what_an_event_loop_lets_go_of_is_dropped_on_another_thread() {
        let (tells, told) = mpsc::channel();
        let here = thread::current().id();
        drop_deferred(Teller(tells.clone()));
        assert_eq!(told.recv().unwrap(), here, "this is no loop yet");
        let on_loop = DropThread::start().unwrap().mark_loop_thread();
        drop_deferred(Teller(tells.clone()));
        assert_ne!(told.recv().unwrap(), here);
        drop(on_loop);
        drop_deferred(Teller(tells));
        assert_eq!(told.recv().unwrap(), here, "it is none any more");
    }
}
