//! A bounded queue whose readers sleep while it is empty. A leaf: imports no other module of the crate.
//!
//! The rule: a reader without work uses no CPU. The channel below would spin and yield for a while before it sleeps, which
//! costs more than the work of a login. Senders take no lock, because the event loop is one of them.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering, fence},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crossbeam_channel::{self as channel, SendTimeoutError, TryRecvError, TrySendError};

/// Creates a queue for at most `capacity` values, with `count` receivers, one for each thread that reads.
pub(crate) fn bounded<T>(capacity: usize, count: usize) -> (Sender<T>, Vec<Receiver<T>>) {
    let (queue, values) = channel::bounded(capacity);
    let readers: Arc<[ReaderState]> = (0..count).map(|_| ReaderState::default()).collect();
    let receiver = |number| Receiver { values: values.clone(), readers: Arc::clone(&readers), number };
    let receivers = (0..count).map(receiver).collect();
    let end = Arc::new(WakeAll(Arc::clone(&readers)));
    (Sender { queue, readers, _end: end }, receivers)
}

/// The same, for one reader.
pub(crate) fn bounded_for_one<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (queue, values) = channel::bounded(capacity);
    let readers: Arc<[ReaderState]> = [ReaderState::default()].into();
    let end = Arc::new(WakeAll(Arc::clone(&readers)));
    (Sender { queue, readers: Arc::clone(&readers), _end: end }, Receiver { values, readers, number: 0 })
}

/// The end of the senders. When the last one is dropped, the readers take what is left and end.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    // Dropped first, so that the readers that wake up see the end.
    queue: channel::Sender<T>,
    readers: Arc<[ReaderState]>,
    _end: Arc<WakeAll>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), readers: Arc::clone(&self.readers), _end: Arc::clone(&self._end) }
    }
}

/// The end of one reading thread.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    values: channel::Receiver<T>,
    readers: Arc<[ReaderState]>,
    number: usize,
}

/// The state of one reader.
#[derive(Debug, Default)]
struct ReaderState {
    thread: OnceLock<Thread>,
    /// Whether the reader sleeps, or is about to. The thread that clears it wakes the reader.
    is_parked: AtomicBool,
}

/// The reason why no value came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecvError {
    /// The time is over.
    Timeout,
    /// All senders are gone.
    Ended,
}

impl<T> Sender<T> {
    /// Queues a value, and wakes a reader if one sleeps. Never waits.
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(value)?;
        wake_one(&self.readers);
        Ok(())
    }

    /// The same, after a wait for room.
    pub(crate) fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.queue.send_timeout(value, timeout)?;
        wake_one(&self.readers);
        Ok(())
    }

    /// The number of values in the queue.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl<T> Receiver<T> {
    /// The next value. `None`: all senders are gone.
    pub(crate) fn recv(&self) -> Option<T> {
        self.next(None).ok()
    }

    /// The next value within that time.
    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.next(Some(Instant::now() + timeout))
    }

    fn next(&self, until: Option<Instant>) -> Result<T, RecvError> {
        let reader = &self.readers[self.number];
        loop {
            if let Some(result) = self.poll() {
                return result;
            }
            reader.thread.get_or_init(thread::current);
            reader.is_parked.store(true, Ordering::Release);
            // With the fence of `wake_one`: either this sees the value, or the sender sees that the reader sleeps.
            fence(Ordering::SeqCst);
            let came = self.poll();
            if came.is_none() {
                match until.map(|until| until.saturating_duration_since(Instant::now())) {
                    None => thread::park(),
                    Some(left) => thread::park_timeout(left),
                }
            }
            let was_woken = !reader.is_parked.swap(false, Ordering::AcqRel);
            if let Some(result) = came {
                // The wake was for another value, which another reader must not leave lying.
                if was_woken {
                    wake_one(&self.readers);
                }
                return result;
            }
            if !was_woken && until.is_some_and(|until| Instant::now() >= until) {
                return self.poll().unwrap_or(Err(RecvError::Timeout));
            }
        }
    }

    fn poll(&self) -> Option<Result<T, RecvError>> {
        match self.values.try_recv() {
            Ok(value) => Some(Ok(value)),
            Err(TryRecvError::Disconnected) => Some(Err(RecvError::Ended)),
            Err(TryRecvError::Empty) => None,
        }
    }
}

/// Wakes one reader that sleeps.
fn wake_one(readers: &[ReaderState]) {
    fence(Ordering::SeqCst);
    for reader in readers {
        if reader.is_parked.load(Ordering::Relaxed)
            && reader.is_parked.swap(false, Ordering::AcqRel)
            && let Some(thread) = reader.thread.get()
        {
            return thread.unpark();
        }
    }
}

/// Wakes all readers when it is dropped with the last sender.
#[derive(Debug)]
struct WakeAll(Arc<[ReaderState]>);

impl Drop for WakeAll {
    fn drop(&mut self) {
        fence(Ordering::SeqCst);
        self.0.iter().for_each(|reader| {
            if let Some(thread) = reader.thread.get() {
                thread.unpark();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn every_value_is_taken_once_and_the_readers_end_with_the_last_sender() {
        for round in 0..200 {
            let (sender, receivers) = bounded(64, 3);
            let threads: Vec<_> = receivers
                .into_iter()
                .map(|values| thread::spawn(move || std::iter::from_fn(|| values.recv()).sum::<u64>()))
                .collect();
            let senders = [sender.clone(), sender];
            for n in 0..100 {
                let mut value = n;
                while let Err(TrySendError::Full(back)) = senders[n as usize % 2].try_send(value) {
                    value = back;
                    thread::yield_now();
                }
                if n % (round + 1) == 0 {
                    thread::yield_now();
                }
            }
            drop(senders);
            let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(sum, (0..100).sum::<u64>());
        }
    }

    /// Each value waits for the one after it, so a value that lies while a reader sleeps would end the test.
    #[test]
    fn no_value_lies_while_a_reader_sleeps() {
        let (sender, receivers) = bounded::<channel::Sender<()>>(64, 2);
        let threads: Vec<_> = receivers
            .into_iter()
            .map(|values| {
                thread::spawn(move || {
                    while let Some(done) = values.recv() {
                        let _ = done.send(());
                        thread::yield_now();
                    }
                })
            })
            .collect();
        for _ in 0..5000 {
            let (done, both) = channel::bounded(2);
            sender.try_send(done.clone()).unwrap();
            sender.try_send(done).unwrap();
            both.recv_timeout(LONG).unwrap();
            both.recv_timeout(LONG).unwrap();
        }
        drop(sender);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_full_queue_takes_nothing_and_an_empty_one_gives_nothing_in_time() {
        let (sender, receivers) = bounded(1, 1);
        sender.try_send(1).unwrap();
        assert!(matches!(sender.try_send(2), Err(TrySendError::Full(2))));
        assert_eq!((sender.len(), receivers[0].recv()), (1, Some(1)));
        assert_eq!(receivers[0].recv_timeout(Duration::from_millis(1)), Err(RecvError::Timeout));
        sender.send_timeout(3, LONG).unwrap();
        assert_eq!(receivers[0].recv_timeout(LONG), Ok(3));
        drop(sender);
        assert_eq!(receivers[0].recv_timeout(LONG), Err(RecvError::Ended));
    }
}
