//! Closes files away from the event loop. A file server may delay `close` and `unlink` for seconds, and the loop must
//! not wait. On the thread of the loop, the last owner of such a file passes it to a thread that may block. Every
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
    static DROP_QUEUE: RefCell<Option<DropQueue>> = const { RefCell::new(None) };
}

/// The way from an event loop to the thread that closes its files.
struct DropQueue {
    to_thread: Sender<Droppable>,
    /// Files that were only read, until there are `max_read_files`.
    read_files: Vec<OwnedFd>,
    max_read_files: usize,
}

impl DropQueue {
    fn send_read_files(&mut self) {
        if !self.read_files.is_empty() {
            drop(self.to_thread.send(Box::new(std::mem::take(&mut self.read_files))));
        }
    }
}

/// Drops a value: on the thread for closing if the caller is an event loop, otherwise here.
pub fn drop_deferred<T: Send + 'static>(value: T) {
    // The variable no longer exists on a thread that is ending.
    let to_thread = DROP_QUEUE.try_with(|queue| queue.borrow().as_ref().map(|queue| queue.to_thread.clone()));
    match to_thread.ok().flatten() {
        // If the thread for closing has ended, the value comes back in the error and is dropped here.
        Some(to_thread) => drop(to_thread.send(Box::new(value))),
        None => drop(value),
    }
}

/// Passes the files that the event loop of this thread has read to the thread that closes them. The loop calls it
/// every few seconds, so that the space of a deleted message is soon free.
pub fn close_read_files() {
    let _ = DROP_QUEUE.try_with(|queue| queue.borrow_mut().as_mut().map(DropQueue::send_read_files));
}

/// A file that is only read. An event loop has such files closed many at a time, because the thread that closes them has
/// to wake up for that, which takes longer than the read of a small file.
#[derive(Debug)]
pub struct ReadFile {
    /// `None` only during the drop.
    file: Option<OwnedFd>,
}

impl From<OwnedFd> for ReadFile {
    fn from(file: OwnedFd) -> Self {
        Self { file: Some(file) }
    }
}

impl Deref for ReadFile {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        match &self.file {
            Some(file) => file,
            None => unreachable!("{USED_AFTER_DROP}"),
        }
    }
}

impl Drop for ReadFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // On another thread, or on one that is ending, the closure drops the file, which closes it.
        let _ = DROP_QUEUE.try_with(move |queue| {
            let mut queue = queue.borrow_mut();
            let Some(queue) = queue.as_mut() else { return };
            queue.read_files.push(file);
            if queue.read_files.len() >= queue.max_read_files {
                queue.send_read_files();
            }
        });
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

    /// Returns the value, for a thread that may block.
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
    max_read_files: usize,
    ended: Receiver<()>,
}

impl DropThread {
    /// Starts the thread. It ends when this and its last [`LoopThreadGuard`] are dropped. Up to `max_read_files` files
    /// that the loop has read stay open until they are closed together.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(max_read_files: usize) -> io::Result<Self> {
        let (queue, items) = channel::unbounded::<Droppable>();
        let (ends, ended) = mpsc::channel();
        thread::Builder::new().name("close".into()).spawn(move || {
            for item in items {
                // A panic at the end of one value ends no other, and not the thread.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(item)));
            }
            drop(ends);
        })?;
        Ok(Self { queue, max_read_files, ended })
    }

    /// Marks this thread as that of an event loop, until the returned value is dropped.
    pub fn mark_loop_thread(self) -> LoopThreadGuard {
        let (to_thread, max_read_files) = (self.queue.clone(), self.max_read_files);
        DROP_QUEUE.with(|queue| {
            queue.replace(Some(DropQueue { to_thread, read_files: Vec::new(), max_read_files }))
        });
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
        close_read_files();
        let _ = DROP_QUEUE.try_with(|queue| queue.take());
        if let Some(DropThread { queue, ended, .. }) = self.drop_thread.take() {
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
    use std::{io::Write, thread::ThreadId};

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
        let on_loop = DropThread::start(1).unwrap().mark_loop_thread();
        drop_deferred(Teller(tells.clone()));
        assert_ne!(told.recv().unwrap(), here);
        drop(on_loop);
        drop_deferred(Teller(tells));
        assert_eq!(told.recv().unwrap(), here, "it is none any more");
    }

    #[test]
    fn an_event_loop_keeps_some_files_that_it_has_read_and_has_them_closed_together() {
        let (kept, other_end) = std::io::pipe().unwrap();
        let is_closed = || (&other_end).write(b"x").is_err(); // a pipe without a reader takes nothing
        let on_loop = DropThread::start(2).unwrap().mark_loop_thread();
        drop(ReadFile::from(OwnedFd::from(kept)));
        assert!(!is_closed(), "it waits for another");
        drop(ReadFile::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap())));
        drop(on_loop); // waits for the thread
        assert!(is_closed());
    }

    #[test]
    fn files_that_an_event_loop_has_read_are_closed_when_it_says_so() {
        let (kept, other_end) = std::io::pipe().unwrap();
        let on_loop = DropThread::start(64).unwrap().mark_loop_thread();
        drop(ReadFile::from(OwnedFd::from(kept)));
        close_read_files();
        drop(on_loop);
        assert!((&other_end).write(b"x").is_err());
    }
}
