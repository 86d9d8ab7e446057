//! Message data that became too large for memory: a file in `tmp/` that grows until the message ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use super::{
    LoopWaker,
    storage::{Storage, log_failure},
};
use crate::{
    deferred_drop::DeferredDrop,
    maildir::{Error, Maildir, MessageId, TmpFile, name::UniqueName},
    proto::request::{Failure, Mailbox},
    wire_size::WireSizeCounter,
};

/// The destination of a spill.
#[derive(Debug)]
pub enum SpillTarget {
    /// A new file in the `tmp/` of the first of these mailboxes that accepts it.
    New(Vec<Mailbox>, UniqueName, SpillPermit),
    /// The file that an earlier spill has begun.
    Existing(Box<SpilledMessage>),
}

/// A message in `tmp/`, and its mailbox. The file is removed when this is dropped.
#[derive(Debug)]
pub struct SpilledMessage {
    /// The mailbox in whose `tmp/` the file is.
    pub maildir: Maildir,
    /// The name of the mailbox.
    pub mailbox: Mailbox,
    /// Octets on the wire so far.
    pub octets: WireSizeCounter,
    /// Its Message-ID, if the first bytes contain it.
    pub message_id: Option<MessageId>,
    /// The time that the complete file gets, if that is not the present time.
    pub date: Option<SystemTime>,
    file: DeferredDrop<SpillFile>,
}

/// The file of an inbound message. Dropping this removes the file and then returns the permit.
#[derive(Debug)]
struct SpillFile {
    /// `None` after the committer has taken the file.
    tmp_file: Option<TmpFile>,
    permit: Option<SpillPermit>,
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if let Some(tmp_file) = self.tmp_file.take() {
            tmp_file.discard();
        }
    }
}

/// The permission for one file of message data, returned when this is dropped.
#[derive(Debug)]
pub struct SpillPermit {
    permits: SpillPermits,
}

/// Counts the files of inbound messages, including those that are being removed.
#[derive(Debug, Clone)]
pub struct SpillPermits {
    files: Arc<AtomicUsize>,
    /// `None` if there is no loop to wake.
    waker: Option<Arc<LoopWaker>>,
}

impl SpillPermits {
    /// Starts with no file. The removal of each file wakes the loop, which may wait for room or for its own end.
    pub fn new(waker: &Arc<LoopWaker>) -> Self {
        Self { files: Arc::default(), waker: Some(Arc::clone(waker)) }
    }

    /// For a test without a loop.
    #[cfg(test)]
    pub(crate) fn without_waker() -> Self {
        Self { files: Arc::default(), waker: None }
    }

    /// The number of files that exist, or are being removed.
    pub fn in_use(&self) -> usize {
        self.files.load(Ordering::Acquire)
    }

    /// Counts one more file. The caller has checked that there is room for it.
    pub fn grant(&self) -> SpillPermit {
        self.files.fetch_add(1, Ordering::AcqRel);
        SpillPermit { permits: self.clone() }
    }
}

impl Drop for SpillPermit {
    fn drop(&mut self) {
        self.permits.files.fetch_sub(1, Ordering::AcqRel);
        if let Some(waker) = &self.permits.waker {
            waker.wake();
        }
    }
}

impl SpilledMessage {
    /// Octets written to the file so far, as stored.
    pub fn bytes(&self) -> u64 {
        self.file.tmp_file.as_ref().map_or(0, TmpFile::bytes)
    }

    /// Takes the file once, to publish or remove it. The caller keeps the permit until then.
    pub fn take_file(&mut self) -> Option<(TmpFile, SpillPermit)> {
        Some((self.file.tmp_file.take()?, self.file.permit.take()?))
    }

    /// Whether the file is durable and closed.
    #[cfg(test)]
    pub(super) fn is_sealed(&self) -> bool {
        self.file.tmp_file.as_ref().is_some_and(TmpFile::is_closed)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes() == 0 {
            self.message_id = MessageId::of(bytes);
        }
        self.octets.feed(bytes);
        self.file.tmp_file.as_mut().map_or(Ok(()), |tmp_file| tmp_file.write(bytes))
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(tmp_file) = &mut self.file.tmp_file else { return Ok(()) };
        if let Some(date) = self.date {
            tmp_file.set_modified(date)?;
        }
        tmp_file.sync()?;
        tmp_file.close()
    }
}

/// Appends to a message, or begins its file. After the last bytes, makes the content durable and closes the file.
pub(crate) fn spill(
    storage: &Storage,
    to: SpillTarget,
    bytes: &[u8],
    is_last: bool,
) -> Result<Box<SpilledMessage>, Failure> {
    let mut spilled = match to {
        SpillTarget::Existing(spilled) => spilled,
        SpillTarget::New(mailboxes, name, permit) => begin_spill(storage, mailboxes, &name, permit)?,
    };
    let appended = spilled.append(bytes);
    let done = if is_last { appended.and_then(|()| spilled.close()) } else { appended };
    done.map_err(|error| log_failure(&error))?;
    Ok(spilled)
}

/// Creates a file in the first of the mailboxes that accepts it. A missing mailbox is created, if that is allowed.
fn begin_spill(
    storage: &Storage,
    mailboxes: Vec<Mailbox>,
    name: &UniqueName,
    permit: SpillPermit,
) -> Result<Box<SpilledMessage>, Failure> {
    let mut failure = Failure::TempFail; // invariant: replaced, there is a mailbox
    for mailbox in mailboxes {
        let begun = storage.durable_maildir(&mailbox).and_then(|home| {
            let tmp_file = TmpFile::create(&home, name.clone()).map_err(|error| log_failure(&error))?;
            Ok((home, tmp_file))
        });
        match begun {
            Ok((home, tmp_file)) => {
                let file = DeferredDrop::new(SpillFile { tmp_file: Some(tmp_file), permit: Some(permit) });
                let octets = WireSizeCounter::default();
                return Ok(Box::new(SpilledMessage {
                    maildir: home,
                    mailbox,
                    octets,
                    message_id: None,
                    date: None,
                    file,
                }));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
