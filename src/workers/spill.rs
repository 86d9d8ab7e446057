//! Message data that became too much for memory: a file in `tmp/` which grows until the message ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    LoopWaker,
    storage::{Storage, report},
};
use crate::{
    deferred_drop::OffLoop,
    maildir::{Draft, Error, Maildir, MessageId, name::Unique},
    proto::request::{Fault, Mailbox},
    wire_size::Octets,
};

/// The file of a spill.
#[derive(Debug)]
pub enum SpillTo {
    /// A new file in the `tmp/` of the first of these mailboxes that takes it.
    New(Vec<Mailbox>, Unique, SpillPermit),
    /// The file begun.
    Begun(Box<Spilled>),
}

/// A message in `tmp/`, and the mailbox in which it lies. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Spilled {
    /// The mailbox.
    pub home: Maildir,
    /// Its name.
    pub mailbox: Mailbox,
    /// Octets on the wire so far.
    pub octets: Octets,
    /// Its Message-ID, if that was in the first bytes.
    pub message_id: Option<MessageId>,
    file: OffLoop<SpillFile>,
}

/// The file of a message on its way in. It is removed when this is dropped, and the permit is given back after that.
#[derive(Debug)]
struct SpillFile {
    /// `None`: the committer has taken the file over.
    draft: Option<Draft>,
    permit: Option<SpillPermit>,
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            draft.discard();
        }
    }
}

/// The permission to have one file for message data; given back when it is dropped.
#[derive(Debug)]
pub struct SpillPermit {
    permits: SpillPermits,
}

/// Counts the files that messages on their way in have, those included that are being removed.
#[derive(Debug, Clone)]
pub struct SpillPermits {
    files: Arc<AtomicUsize>,
    /// `None`: no loop waits.
    waker: Option<Arc<LoopWaker>>,
}

impl SpillPermits {
    /// No file yet. The end of each wakes the loop, which may wait for room or for its own end.
    pub fn new(waker: &Arc<LoopWaker>) -> Self {
        Self { files: Arc::default(), waker: Some(Arc::clone(waker)) }
    }

    /// For a test without a loop.
    #[cfg(test)]
    pub(crate) fn unwatched() -> Self {
        Self { files: Arc::default(), waker: None }
    }

    /// How many files there are.
    pub fn in_use(&self) -> usize {
        self.files.load(Ordering::Acquire)
    }

    /// Counts one more file.
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

impl Spilled {
    /// Octets in the file.
    pub fn bytes(&self) -> u64 {
        self.file.draft.as_ref().map_or(0, Draft::bytes)
    }

    /// Hands the file over, once: to be published or removed. The permit is to be kept until then.
    pub fn take_file(&mut self) -> Option<(Draft, SpillPermit)> {
        Some((self.file.draft.take()?, self.file.permit.take()?))
    }

    /// Whether the file is durable and closed.
    #[cfg(test)]
    pub(super) fn is_sealed(&self) -> bool {
        self.file.draft.as_ref().is_some_and(Draft::is_closed)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes() == 0 {
            self.message_id = MessageId::of(bytes);
        }
        self.octets.feed(bytes);
        self.file.draft.as_mut().map_or(Ok(()), |draft| draft.write(bytes))
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(draft) = &mut self.file.draft else { return Ok(()) };
        draft.sync()?;
        draft.close()
    }
}

/// Appends to a message.
pub(crate) fn spill(storage: &Storage, to: SpillTo, bytes: &[u8]) -> Result<Box<Spilled>, Fault> {
    let mut spilled = match to {
        SpillTo::Begun(spilled) => spilled,
        SpillTo::New(mailboxes, name, permit) => begin(storage, mailboxes, &name, permit)?,
    };
    spilled.append(bytes).map_err(|error| report(&error))?;
    Ok(spilled)
}

/// Appends the last bytes, makes the content durable and closes the file.
pub(crate) fn seal(mut spilled: Box<Spilled>, bytes: &[u8]) -> Result<Box<Spilled>, Fault> {
    spilled.append(bytes).and_then(|()| spilled.close()).map_err(|error| report(&error))?;
    Ok(spilled)
}

/// Begins a file in the first of the mailboxes that takes it; a mailbox that is not there is made if it may be.
fn begin(
    storage: &Storage,
    mailboxes: Vec<Mailbox>,
    name: &Unique,
    permit: SpillPermit,
) -> Result<Box<Spilled>, Fault> {
    let mut failure = Fault::Broken; // invariant: replaced, there is a mailbox
    for mailbox in mailboxes {
        let begun = storage.durable_maildir(&mailbox).and_then(|home| {
            let draft = Draft::begin(&home, name.clone()).map_err(|error| report(&error))?;
            Ok((home, draft))
        });
        match begun {
            Ok((home, draft)) => {
                let file = OffLoop::new(SpillFile { draft: Some(draft), permit: Some(permit) });
                let octets = Octets::default();
                return Ok(Box::new(Spilled { home, mailbox, octets, message_id: None, file }));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
