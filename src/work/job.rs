//! What workers do, one function for each kind of job.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Decision, Returns, look,
    shop::{Shop, report},
};
use crate::{
    accounts::{Accounts, Credential, Scratch, UserFile, Verdict},
    closing::OffLoop,
    logging,
    mailbox::{
        Snapshot,
        registry::{self, IndexId, Load, Loaded, Looked},
    },
    maildir::{
        Draft, Error, Found, Kind, Maildir, MessageId, OpenMessage, Place, Usage, known_date,
        lock::Lock,
        message::{self, Deletion, Survivors},
        name::Unique,
        scan::{Look, Times},
        tidy, usage,
    },
    octets::Octets,
    proto::ask::{ConnId, Fault, Mailbox, Maildrop, Secret},
};

/// A job for a worker.
#[derive(Debug)]
pub struct Job {
    /// Who gets the result.
    pub to: To,
    /// What to do.
    pub task: Task,
}

/// Who gets a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// A session, as an answer.
    Session(ConnId),
    /// The index of a mailbox.
    Index(IndexId),
    /// The desk itself, or nobody.
    Desk,
}

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Check a password.
    Verify {
        /// Whose.
        credential: Box<Credential>,
        /// What the client says it is.
        password: Secret,
        /// Where an old hash is replaced, if there is a file.
        users: Option<UserFile>,
    },
    /// Lock a mailbox.
    Open {
        /// Which.
        mailbox: Mailbox,
        /// Its directories, if it was open already.
        known: Option<Arc<Maildir>>,
    },
    /// Look through a mailbox.
    Load(IndexId, Box<Load>),
    /// Look at some names in a mailbox.
    Look(Arc<Maildir>, Vec<Look>),
    /// Ask for the times of its directories.
    Check(Arc<Maildir>),
    /// Stop watching a mailbox.
    Unwatch(IndexId, Arc<Maildir>),
    /// Free the memory of accounts that hold no longer.
    Forget(Box<Accounts>),
    /// Read a piece of a message.
    Read {
        /// The mailbox.
        maildir: Arc<Maildir>,
        /// What the session knows of it.
        snapshot: Arc<Snapshot>,
        /// Which message.
        message: usize,
        /// Where in the file.
        from: u64,
        /// The message, if it is open already.
        open: Option<OpenMessage>,
    },
    /// Delete and mark messages.
    Update {
        /// The mailbox.
        maildir: Arc<Maildir>,
        /// What the session knows of it.
        snapshot: Arc<Snapshot>,
        /// Which messages to delete.
        delete: Vec<usize>,
        /// Which to mark as seen.
        seen: Vec<usize>,
        /// Its lock, which is let go of when all is done.
        lock: Lock,
    },
    /// Append to a message in `tmp/`.
    Spill {
        /// The message so far.
        to: SpillTo,
        /// The next bytes.
        bytes: Vec<u8>,
    },
    /// Append the last bytes to a message in `tmp/`, make its content durable and close it, so that no round of the
    /// committer has to wait for a big one.
    Settle {
        /// The message so far.
        spilled: Box<Spilled>,
        /// The last bytes.
        bytes: Vec<u8>,
        /// Which message it is: given back.
        decision: Decision,
    },
    /// Count what is in some mailboxes, for their quotas and before that message is delivered.
    Count(Vec<Mailbox>, Decision),
    /// Remove a message from `tmp/`.
    Discard(Box<Spilled>),
    /// Let go of a mailbox.
    Unlock(OffLoop<Box<Unlock>>),
    /// Remove what was left behind in `tmp/` so long before that date.
    Tidy(Duration, SystemTime),
    /// Note a date that is known to be good.
    NoteDate(SystemTime),
    /// Ask the file system how much room there is, and whether the spool is in its place.
    Measure,
    /// Log the figures, some of which the kernel has to be asked for.
    Status,
}

/// Where a spill goes.
#[derive(Debug)]
pub enum SpillTo {
    /// A new file in the `tmp/` of the first of these mailboxes that takes it.
    New(Vec<Mailbox>, Unique),
    /// The file begun.
    Begun(Box<Spilled>),
}

/// A message in `tmp/`, and the mailbox it lies in.
#[derive(Debug)]
pub struct Spilled {
    /// The mailbox.
    pub home: Maildir,
    /// Its name.
    pub mailbox: Mailbox,
    /// The message.
    pub draft: OffLoop<Draft>,
    /// Octets on the wire so far.
    pub octets: Octets,
    /// Its Message-ID, if that was in the first bytes.
    pub message_id: Option<MessageId>,
}

/// A result on its way to the loop.
#[derive(Debug)]
pub struct Done {
    /// Who waits for it.
    pub to: To,
    /// The result.
    pub outcome: Outcome,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// Of [`Task::Verify`].
    Verified(Verdict),
    /// Of [`Task::Open`].
    Opened(Result<Opened, Fault>),
    /// Of [`Task::Read`]; a fault comes with the message it concerns.
    Read(Result<Piece, (usize, Fault)>),
    /// Of [`Task::Load`].
    Loaded(Result<Loaded, Fault>),
    /// Of [`Task::Load`] whose turn is over: to be queued again.
    Unfinished(Box<Load>),
    /// Of [`Task::Look`].
    Looked(Result<Looked, Fault>),
    /// Of [`Task::Check`].
    Checked(Result<Times, Fault>),
    /// Of [`Task::Update`]: what was done, and whether that is all.
    Updated(registry::Done, Result<(), Fault>),
    /// Of [`Task::Spill`].
    Spilled(Result<Box<Spilled>, Fault>),
    /// Of [`Task::Settle`].
    Settled(Decision, Result<Box<Spilled>, Fault>),
    /// Of [`Task::Count`], those that could be counted.
    Counted(Decision, Vec<(Mailbox, Usage)>),
    /// Of a delivery: the committer's.
    Delivered(Decision, Result<Receipt, Fault>),
    /// Of [`Task::Measure`]: octets free, and whether the spool is in its place.
    Measured(Option<u64>, Result<(), Fault>),
    /// Of the keeper of accounts, unasked: those that hold from now on.
    Accounts(Box<Accounts>),
    /// Of [`Task::Discard`].
    Discarded,
    /// Of [`Unlock`]: the mailbox is free.
    Unlocked(Mailbox),
    /// Of jobs that nobody waits for.
    Nothing,
    /// The job panicked; it was about that message, if about one whose end has come.
    Lost(Option<Decision>),
}

/// A message that is durable in the mailboxes of its recipients, or of some of them.
#[derive(Debug)]
pub struct Receipt {
    /// Where it is.
    pub arrivals: Vec<Arrival>,
    /// For each recipient why it has not got it, if it has not.
    pub faults: Vec<Option<Fault>>,
}

/// A message that is durable in one of its mailboxes.
#[derive(Debug)]
pub struct Arrival {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Which Maildir that was then.
    pub maildir: (u64, u64),
    /// The message.
    pub found: Found,
}

/// A mailbox locked.
#[derive(Debug)]
pub struct Opened {
    /// Its directories.
    pub maildir: Arc<Maildir>,
    /// When they changed last.
    pub times: Times,
    /// Its lock.
    pub lock: Lock,
    /// A mark that was made afterwards.
    pub mark: Option<u64>,
}

/// A piece of a message.
#[derive(Debug)]
pub struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether they end the message.
    pub last: bool,
    /// The message, if there is more to be read.
    pub open: Option<OpenMessage>,
}

/// The files of a session that is over. Closes them when it is dropped, and then tells the desk that the mailbox is
/// free.
#[derive(Debug)]
pub struct Unlock {
    mailbox: Mailbox,
    files: Option<(Lock, Option<OpenMessage>)>,
    returns: Returns,
}

impl Unlock {
    /// The lock of a mailbox, and the message that was being read from it.
    pub fn new(mailbox: Mailbox, lock: Lock, reading: Option<OpenMessage>, returns: Returns) -> Self {
        Self { mailbox, files: Some((lock, reading)), returns }
    }
}

impl Drop for Unlock {
    fn drop(&mut self) {
        self.files = None;
        self.returns.send(Done { to: To::Desk, outcome: Outcome::Unlocked(self.mailbox.clone()) });
    }
}

impl Task {
    /// Which message it is about, if about one whose end has come.
    pub(super) fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Settle { decision, .. } | Self::Count(_, decision) => Some(decision),
            _ => None,
        }
    }

    /// Does it.
    pub fn run(self, shop: &Shop, scratch: &mut Scratch) -> Outcome {
        match self {
            Self::Verify { credential, password, users } => {
                Outcome::Verified(verify(users.as_ref(), &credential, &password, scratch))
            }
            Self::Open { mailbox, known } => Outcome::Opened(look::open(shop, &mailbox, known)),
            Self::Load(id, load) => match look::load(shop, id, load) {
                Ok(ControlFlow::Continue(load)) => Outcome::Unfinished(load),
                Ok(ControlFlow::Break(loaded)) => Outcome::Loaded(Ok(loaded)),
                Err(fault) => Outcome::Loaded(Err(fault)),
            },
            Self::Look(maildir, looks) => Outcome::Looked(look::look(shop, &maildir, &looks)),
            Self::Check(maildir) => Outcome::Checked(look::check(&maildir)),
            Self::Unwatch(id, maildir) => {
                shop.watcher.unwatch(id, &maildir);
                Outcome::Nothing
            }
            Self::Forget(accounts) => {
                drop(accounts);
                Outcome::Nothing
            }
            Self::Read { maildir, snapshot, message, from, open } => {
                let read = read(shop, &maildir, &snapshot, message, from, open);
                Outcome::Read(read.map_err(|fault| (message, fault)))
            }
            Self::Update { maildir, snapshot, delete, seen, lock } => {
                let (done, result) = update(&maildir, &snapshot, &delete, &seen);
                drop(lock);
                Outcome::Updated(done, result)
            }
            Self::Spill { to, bytes } => Outcome::Spilled(spill(shop, to, &bytes)),
            Self::Settle { spilled, bytes, decision } => Outcome::Settled(decision, settle(spilled, &bytes)),
            Self::Count(mailboxes, decision) => Outcome::Counted(decision, count(shop, mailboxes)),
            Self::Discard(spilled) => {
                spilled.draft.discard();
                Outcome::Discarded
            }
            Self::Unlock(unlock) => {
                drop(unlock); // which tells it
                Outcome::Nothing
            }
            Self::NoteDate(date) => {
                if let Err(error) = known_date::write(&shop.spool, date) {
                    log::debug!("the date is not noted: {}", logging::escape(&error.to_string()));
                }
                Outcome::Nothing
            }
            Self::Tidy(age, now) => {
                let (removed, errors) = tidy::tidy(&shop.spool, now, age);
                for error in &errors {
                    report(error);
                }
                if removed > 0 {
                    log::info!("{removed} files removed that were left behind in tmp/");
                }
                Outcome::Nothing
            }
            Self::Status => {
                logging::status();
                Outcome::Nothing
            }
            Self::Measure => {
                let free = shop.spool.free().map_err(|error| report(&error)).ok();
                Outcome::Measured(free, shop.in_place())
            }
        }
    }
}

/// Checks a password, and replaces a hash of an old kind while the password is at hand.
fn verify(
    users: Option<&UserFile>,
    credential: &Credential,
    password: &Secret,
    scratch: &mut Scratch,
) -> Verdict {
    let verdict = credential.verify(password.reveal(), scratch);
    if let (Verdict::RightUpgraded { user, hash, .. }, Some(users)) = (&verdict, users)
        && let Err(error) = users.replace_hash(user, credential.hash_on_file(), hash)
    {
        log::error!("password hash of {} not replaced: {error}", logging::escape(user));
    }
    verdict
}

fn read(
    shop: &Shop,
    maildir: &Maildir,
    snapshot: &Snapshot,
    message: usize,
    from: u64,
    open: Option<OpenMessage>,
) -> Result<Piece, Fault> {
    let open = match open {
        Some(open) => open,
        None => {
            let wanted = snapshot.wanted(message).ok_or(Fault::Gone)?;
            OpenMessage::open(maildir, wanted).map_err(|error| report(&error))?
        }
    };
    let (bytes, last) = open.read(from, shop.read_chunk).map_err(|error| report(&error))?;
    Ok(Piece { bytes, last, open: (!last).then_some(open) })
}

/// Does all it can, and fails if the disk let any of it fail (RFC 1939 section 6), or a message is not what the
/// session has listed and was to be deleted.
fn update(
    maildir: &Maildir,
    snapshot: &Snapshot,
    delete: &[usize],
    seen: &[usize],
) -> (registry::Done, Result<(), Fault>) {
    let mut done = registry::Done::default();
    let mut result = Ok(());
    let mut note = |error: Error| result = Err(report(&error));
    let mut deletion = Deletion::begin(maildir, Survivors::of(delete.len(), snapshot.len()));
    for wanted in delete.iter().filter_map(|message| snapshot.wanted(*message)) {
        done.gone.push((wanted.place, wanted.name.into()));
        match deletion.delete(wanted) {
            Ok(named) => done.gone.extend(named),
            Err(error) => {
                done.touched.extend(done.gone.pop());
                note(error);
            }
        }
    }
    deletion.finish().map_or_else(&mut note, |names| done.gone.extend(names));
    for wanted in seen.iter().filter_map(|message| snapshot.wanted(*message)) {
        match message::mark_seen(maildir, wanted) {
            Ok(named) => done.touched.extend(named),
            Err(error) if error.kind() == Kind::Changed => {} // nobody has read what is there now
            Err(error) => note(error),
        }
        done.touched.push((wanted.place, wanted.name.into()));
    }
    for place in Place::BOTH {
        maildir.sync(place).unwrap_or_else(&mut note);
    }
    (done, result)
}

fn spill(shop: &Shop, to: SpillTo, bytes: &[u8]) -> Result<Box<Spilled>, Fault> {
    let mut spilled = match to {
        SpillTo::Begun(spilled) => spilled,
        SpillTo::New(mailboxes, name) => {
            let mut begun = Err(Fault::Broken); // invariant: replaced, there is a mailbox
            for mailbox in mailboxes {
                begun = begin(shop, mailbox, name.clone());
                if begun.is_ok() {
                    break;
                }
            }
            begun?
        }
    };
    if spilled.draft.bytes() == 0 {
        spilled.message_id = MessageId::of(bytes);
    }
    spilled.octets.feed(bytes);
    match spilled.draft.write(bytes) {
        Ok(()) => Ok(spilled),
        Err(error) => Err(drop_draft(*spilled, &error)),
    }
}

fn begin(shop: &Shop, mailbox: Mailbox, name: Unique) -> Result<Box<Spilled>, Fault> {
    let home = shop.durable_maildir(&mailbox)?;
    let draft = Draft::begin(&home, name).map_err(|error| report(&error))?;
    Ok(Box::new(Spilled {
        home,
        mailbox,
        draft: OffLoop::new(draft),
        octets: Octets::default(),
        message_id: None,
    }))
}

/// What can't be counted is left out: it is not known to be full.
fn count(shop: &Shop, mailboxes: Vec<Mailbox>) -> Vec<(Mailbox, Usage)> {
    let count = |mailbox: Mailbox| match usage::usage(&shop.spool, mailbox.as_str()) {
        Ok(usage) => Some((mailbox, usage)),
        Err(error) => {
            report(&error);
            None
        }
    };
    mailboxes.into_iter().filter_map(count).collect()
}

fn settle(mut spilled: Box<Spilled>, bytes: &[u8]) -> Result<Box<Spilled>, Fault> {
    spilled.octets.feed(bytes);
    let settled = spilled.draft.write(bytes).and_then(|()| spilled.draft.sync());
    match settled.and_then(|()| spilled.draft.close()) {
        Ok(()) => Ok(spilled),
        Err(error) => Err(drop_draft(*spilled, &error)),
    }
}

fn drop_draft(spilled: Spilled, error: &Error) -> Fault {
    spilled.draft.discard();
    report(error)
}
