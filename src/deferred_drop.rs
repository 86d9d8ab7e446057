//! Closes files away from the event loop. A file server may delay `close` and `unlink` for seconds, and the loop
//! waits for nobody: on its thread the last owner of such a file hands it to a thread that may wait. Everywhere
//! else it is closed where it stands, so that workers pay for no hand-over and open files do not pile up.
//!
//! Memory that takes long to free goes the same way.
//!
//! The rule is kept by the types: every descriptor below the spool that may come to the loop is a [`DeferredFd`], and
//! a message is in a [`DeferredDrop`].

use std::{
    cell::RefCell,
    io,
    ops::{Deref, DerefMut},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crossbeam_channel::{self as channel, Sender};

type Droppable = Box<dyn Send>;

thread_local! {
    /// Set on the thread of an event loop alone.
    static ELSEWHERE: RefCell<Option<Sender<Droppable>>> = const { RefCell::new(None) };
}

/// Drops a value on the thread for closing if this is an event loop's, and else here.
pub fn drop_deferred<T: Send + 'static>(value: T) {
    // A thread that is at its end has no such variable any more.
    let queue = ELSEWHERE.try_with(|queue| queue.borrow().clone()).ok().flatten();
    match queue {
        // A thread that has ended takes nothing: the value comes back in the error and is dropped here.
        Some(queue) => drop(queue.send(Box::new(value))),
        None => drop(value),
    }
}

/// A value that owns files which may lie on a file server, or removes them when it is dropped. The end of this goes
/// through [`drop_deferred`].
#[derive(Debug)]
pub struct DeferredDrop<T: Send + 'static> {
    /// `None` only while it is dropped.
    value: Option<T>,
}

/// An open file or directory that may lie on a file server.
pub type DeferredFd = DeferredDrop<OwnedFd>;

impl<T: Send + 'static> DeferredDrop<T> {
    /// Keeps the end of `value` away from the loop.
    pub fn new(value: T) -> Self {
        Self { value: Some(value) }
    }

    /// The value, for a thread that may wait.
    pub fn into_inner(mut self) -> T {
        match self.value.take() {
            Some(value) => value,
            None => unreachable!("{DROPPED}"),
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
            None => unreachable!("{DROPPED}"),
        }
    }
}

impl<T: Send + 'static> DerefMut for DeferredDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("{DROPPED}"),
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

/// The thread that closes what an event loop lets go of. Its queue needs no bound of its own: nothing is in it that
/// was not an open file before.
#[derive(Debug)]
pub struct DropThread {
    queue: Sender<Droppable>,
    ended: Receiver<()>,
}

impl DropThread {
    /// Starts the thread. It ends when this and its last [`LoopGuard`] are dropped.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let (queue, items) = channel::unbounded::<Droppable>();
        let (ends, ended) = mpsc::channel();
        thread::Builder::new().name("close".into()).spawn(move || {
            items.into_iter().for_each(drop);
            drop(ends);
        })?;
        Ok(Self { queue, ended })
    }

    /// From now on this thread is that of an event loop, until the value that is returned is dropped.
    pub fn enter_loop(self) -> LoopGuard {
        ELSEWHERE.with(|queue| queue.replace(Some(self.queue.clone())));
        LoopGuard { drop_thread: Some(self) }
    }
}

/// Marks its thread as that of an event loop. At its end it waits a moment for what is still to be closed: the
/// files of sockets are to be gone when a server has ended.
#[derive(Debug)]
pub struct LoopGuard {
    drop_thread: Option<DropThread>,
}

impl Drop for LoopGuard {
    fn drop(&mut self) {
        let _ = ELSEWHERE.try_with(|queue| queue.take());
        if let Some(DropThread { queue, ended }) = self.drop_thread.take() {
            drop(queue);
            // The thread sends nothing: the other end of the channel goes when it ends.
            let end = ended.recv_timeout(SHUTDOWN_WAIT);
            if end == Err(RecvTimeoutError::Timeout) {
                log::warn!("files are still being closed: a disk or a file server is slow");
            }
        }
    }
}

const DROPPED: &str = "a value that is being dropped is not used";
/// How long the end of a server waits for files to be closed.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;

    /// Tells where it was dropped.
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
        let on_loop = DropThread::start().unwrap().enter_loop();
        drop_deferred(Teller(tells.clone()));
        assert_ne!(told.recv().unwrap(), here);
        drop(on_loop);
        drop_deferred(Teller(tells));
        assert_eq!(told.recv().unwrap(), here, "it is none any more");
    }
}
