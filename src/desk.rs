//! The desk: takes what sessions ask, answers at once what it knows, and hands the rest to those who may
//! wait. It knows what every connection has with it: a mailbox, a message begun, an answer to come.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::SystemTime,
};

use crate::{
    accounts::{Accounts, Verdict},
    commit::{Committer, Content, Delivery},
    conn::World,
    limits::Limits,
    mailbox::Snapshot,
    maildir::{Maildir, OpenMessage, lock::Lock, name::Namer},
    proto::ask::{Answer, Ask, ConnId, Directory, Envelope, Fault, Mailbox, Secret},
    work::{
        Done, Job, Outcome, Pool, Returns, Shop, Spilled,
        job::{Opened, Piece, SpillTo, Task},
    },
};

/// The desk.
pub struct Desk {
    limits: Limits,
    accounts: Accounts,
    namer: Namer,
    disk: Pool,
    passwords: Pool,
    committer: Committer,
    /// Connections whose answer is on its way.
    awaited: HashSet<ConnId>,
    /// Those of them that have closed meanwhile.
    left: HashSet<ConnId>,
    /// Who has which mailbox open, or is about to.
    holders: HashMap<Mailbox, ConnId>,
    leases: HashMap<ConnId, Lease>,
    drafts: HashMap<ConnId, Incoming>,
    deliveries: usize,
    /// Octets free on the spool's file system when it was last asked.
    free: Option<u64>,
}

/// A mailbox in the hands of a session.
struct Lease {
    mailbox: Mailbox,
    /// There once the mailbox is open.
    open: Option<Open>,
}

struct Open {
    maildir: Arc<Maildir>,
    snapshot: Arc<Snapshot>,
    /// The message that is being read, between two pieces of it.
    reading: Option<OpenMessage>,
    _lock: Lock,
}

/// A message on its way in: it has a share of the memory for bodies, and perhaps a file.
#[derive(Default)]
struct Incoming {
    spilled: Option<Box<Spilled>>,
    /// The mailboxes, while a spilled message is settled.
    to: Vec<Mailbox>,
}

impl Desk {
    /// A desk in front of that shop.
    pub fn new(
        limits: Limits,
        accounts: Accounts,
        hostname: &str,
        shop: &Arc<Shop>,
        returns: &Returns,
    ) -> io::Result<Self> {
        Ok(Self {
            disk: Pool::start("disk", limits.disk_workers, limits.work_queue, shop, returns)?,
            passwords: Pool::start(
                "password",
                limits.password_workers,
                limits.password_queue,
                shop,
                returns,
            )?,
            committer: Committer::start(shop, returns, &limits)?,
            limits,
            accounts,
            namer: Namer::new(hostname, std::process::id()),
            awaited: HashSet::new(),
            left: HashSet::new(),
            holders: HashMap::new(),
            leases: HashMap::new(),
            drafts: HashMap::new(),
            deliveries: 0,
            free: None,
        })
    }

    /// Takes a result, and says whom to answer.
    pub fn take(&mut self, Done { to, outcome }: Done) -> Option<(ConnId, Answer)> {
        let answer = match outcome {
            Outcome::Nothing => return None,
            Outcome::Measured(free) => {
                self.free = free;
                return None;
            }
            Outcome::Settled(Ok(spilled)) => self.hand_over(to, spilled)?,
            Outcome::Settled(Err(fault)) => self.delivered(to, Err(fault)),
            Outcome::Delivered(result) => {
                self.deliveries -= 1;
                self.delivered(to, result)
            }
            Outcome::Verified(verdict) => self.verified(verdict),
            Outcome::Opened(result) => self.opened(to, result),
            Outcome::Read(result) => self.read(to, result),
            Outcome::Updated(result) => {
                // Clients come back at once: the mailbox is free before the reply to QUIT leaves.
                self.give_back(to);
                result.map_or_else(Answer::Failed, |()| Answer::Updated)
            }
            Outcome::Spilled(Ok(spilled)) => {
                self.drafts.entry(to).or_default().spilled = Some(spilled);
                Answer::Ready
            }
            Outcome::Spilled(Err(fault)) => Answer::Failed(fault),
            Outcome::Lost => Answer::Failed(Fault::Broken),
        };
        self.awaited.remove(&to);
        if self.left.remove(&to) {
            self.release(to);
            return None;
        }
        Some((to, answer))
    }

    /// The connection is closed. What is under way for it goes on to its end.
    pub fn leave(&mut self, id: ConnId) {
        if self.awaited.contains(&id) {
            self.left.insert(id);
        } else {
            self.release(id);
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Asks how much room the disk has; the answer is kept for MAIL.
    pub fn measure(&self) {
        let nobody = ConnId(0);
        let _ = self.disk.submit(Job { from: nobody, task: Task::Measure }); // a full queue: next time
    }

    fn release(&mut self, id: ConnId) {
        self.give_back(id);
        self.discard(id);
    }

    fn give_back(&mut self, id: ConnId) {
        if let Some(lease) = self.leases.remove(&id) {
            self.holders.remove(&lease.mailbox);
        }
    }

    /// Gives the body's share of memory back, and removes its file.
    fn discard(&mut self, id: ConnId) {
        let spilled = self.drafts.remove(&id).and_then(|incoming| incoming.spilled);
        if let Some(spilled) = spilled
            && let Err(Job { task: Task::Discard(spilled), .. }) =
                self.disk.submit(Job { from: id, task: Task::Discard(spilled) })
        {
            spilled.draft.discard(&spilled.home); // the queue is full: one unlink on the loop is the lesser evil
        }
    }

    /// Sends a job whose result answers `from`.
    fn submit(&mut self, pool: Which, from: ConnId, task: Task, if_full: Fault) -> Option<Answer> {
        let pool = match pool {
            Which::Disk => &self.disk,
            Which::Passwords => &self.passwords,
        };
        match pool.submit(Job { from, task }) {
            Ok(()) => {
                self.awaited.insert(from);
                None
            }
            Err(_) => Some(Answer::Failed(if_full)),
        }
    }

    // Mail in

    fn room(&self, size: u64) -> Answer {
        let wanted = size.saturating_add(size / 2);
        if self.free.is_some_and(|free| free < wanted) { Answer::Failed(Fault::Full) } else { Answer::Ready }
    }

    fn begin(&mut self, from: ConnId) -> Answer {
        let share = self.limits.body_in_memory.0;
        if self.deliveries >= self.limits.delivery_queue {
            return Answer::Failed(Fault::Broken);
        }
        if (self.drafts.len() as u64 + 1) * share > self.limits.bodies_in_memory.0 {
            return Answer::Failed(Fault::Full);
        }
        self.drafts.insert(from, Incoming::default());
        Answer::Ready
    }

    fn spill(&mut self, from: ConnId, mailbox: Mailbox, bytes: Vec<u8>) -> Option<Answer> {
        let begun = self.drafts.get_mut(&from).and_then(|incoming| incoming.spilled.take());
        let to = match begun {
            Some(spilled) => SpillTo::Begun(spilled),
            None => match self.unique() {
                Ok(name) => SpillTo::New(mailbox, name),
                Err(fault) => return Some(Answer::Failed(fault)),
            },
        };
        self.submit(Which::Disk, from, Task::Spill { to, bytes }, Fault::Broken)
    }

    fn deliver(&mut self, from: ConnId, envelope: Envelope, bytes: Vec<u8>) -> Option<Answer> {
        let to: Vec<Mailbox> = envelope.to.into_iter().map(|recipient| recipient.mailbox).collect();
        let incoming = self.drafts.entry(from).or_default();
        if let Some(spilled) = incoming.spilled.take() {
            incoming.to = to;
            return self.submit(Which::Disk, from, Task::Settle { spilled, bytes }, Fault::Broken);
        }
        match self.unique() {
            Ok(name) => self.commit(from, to, Content::Memory(name, bytes)),
            Err(fault) => Some(Answer::Failed(fault)),
        }
    }

    fn hand_over(&mut self, from: ConnId, spilled: Box<Spilled>) -> Option<Answer> {
        let to =
            self.drafts.get_mut(&from).map(|incoming| std::mem::take(&mut incoming.to)).unwrap_or_default();
        self.commit(from, to, Content::Settled(spilled))
    }

    fn commit(&mut self, from: ConnId, to: Vec<Mailbox>, content: Content) -> Option<Answer> {
        match self.committer.submit(Delivery { from, to, content }) {
            Ok(()) => {
                self.deliveries += 1;
                self.awaited.insert(from);
                None
            }
            Err(delivery) => {
                if let Content::Settled(spilled) = delivery.content {
                    self.drafts.entry(from).or_default().spilled = Some(spilled);
                }
                Some(self.delivered(from, Err(Fault::Broken)))
            }
        }
    }

    fn delivered(&mut self, from: ConnId, result: Result<(), Fault>) -> Answer {
        self.discard(from);
        result.map_or_else(Answer::Failed, |()| Answer::Delivered)
    }

    fn unique(&mut self) -> Result<crate::maildir::name::Unique, Fault> {
        let random = getrandom::u64().map_err(|error| {
            log::error!("no random numbers: {error}");
            Fault::Broken
        })?;
        Ok(self.namer.next(SystemTime::now(), random))
    }

    // Mail out

    fn verify(&mut self, from: ConnId, user: &str, password: Secret) -> Option<Answer> {
        let credential = self.accounts.credential(user);
        self.submit(Which::Passwords, from, Task::Verify { credential, password }, Fault::Busy)
    }

    fn verified(&mut self, verdict: Verdict) -> Answer {
        match verdict {
            Verdict::Wrong => Answer::Failed(Fault::Denied),
            Verdict::Right(mailbox) => Answer::Welcome(mailbox),
            Verdict::RightUpgraded { mailbox, user, hash } => {
                self.accounts.learn(&user, hash);
                Answer::Welcome(mailbox)
            }
        }
    }

    fn open(&mut self, from: ConnId, mailbox: Mailbox) -> Option<Answer> {
        if self.holders.contains_key(&mailbox) {
            return Some(Answer::Failed(Fault::InUse));
        }
        self.holders.insert(mailbox.clone(), from);
        self.leases.insert(from, Lease { mailbox: mailbox.clone(), open: None });
        let full = self.submit(Which::Disk, from, Task::Open { mailbox }, Fault::Broken);
        if full.is_some() {
            self.give_back(from);
        }
        full
    }

    fn opened(&mut self, from: ConnId, result: Result<Opened, Fault>) -> Answer {
        match (result, self.leases.get_mut(&from)) {
            (Ok(Opened { maildir, lock, snapshot }), Some(lease)) => {
                let open = Open { maildir, snapshot: Arc::clone(&snapshot), reading: None, _lock: lock };
                lease.open = Some(open);
                Answer::Opened(snapshot)
            }
            (result, _) => {
                self.give_back(from);
                Answer::Failed(result.err().unwrap_or(Fault::Broken))
            }
        }
    }

    fn fetch(&mut self, id: ConnId, message: usize, from: u64) -> Option<Answer> {
        let Some(open) = self.open_of(id) else { return Some(Answer::Failed(Fault::Broken)) };
        // An open message is of use only to the RETR that opened it.
        let reading = open.reading.take().filter(|_| from > 0);
        let (maildir, snapshot) = (Arc::clone(&open.maildir), Arc::clone(&open.snapshot));
        self.submit(
            Which::Disk,
            id,
            Task::Read { maildir, snapshot, message, from, open: reading },
            Fault::Broken,
        )
    }

    fn read(&mut self, to: ConnId, result: Result<Piece, Fault>) -> Answer {
        match result {
            Ok(Piece { bytes, last, open: message }) => {
                if let Some(open) = self.open_of(to).filter(|_| !last) {
                    open.reading = Some(message);
                }
                Answer::Chunk { bytes, last }
            }
            Err(fault) => Answer::Failed(fault),
        }
    }

    fn update(&mut self, from: ConnId, delete: Vec<usize>, seen: Vec<usize>) -> Option<Answer> {
        let Some(open) = self.open_of(from) else { return Some(Answer::Failed(Fault::Broken)) };
        let (maildir, snapshot) = (Arc::clone(&open.maildir), Arc::clone(&open.snapshot));
        if delete.is_empty() && seen.is_empty() {
            self.give_back(from);
            return Some(Answer::Updated);
        }
        self.submit(Which::Disk, from, Task::Update { maildir, snapshot, delete, seen }, Fault::Broken)
    }

    fn open_of(&mut self, id: ConnId) -> Option<&mut Open> {
        self.leases.get_mut(&id)?.open.as_mut()
    }
}

impl World for Desk {
    fn directory(&self) -> &dyn Directory {
        &self.accounts
    }

    fn ask(&mut self, from: ConnId, ask: Ask) -> Option<Answer> {
        match ask {
            Ask::Room { size } => Some(self.room(size)),
            Ask::Begin => Some(self.begin(from)),
            Ask::Spill { mailbox, bytes } => self.spill(from, mailbox, bytes),
            Ask::Discard => {
                self.discard(from);
                Some(Answer::Ready)
            }
            Ask::Deliver { envelope, bytes } => self.deliver(from, envelope, bytes),
            Ask::Verify { user, password } => self.verify(from, &user, password),
            Ask::Open { mailbox } => self.open(from, mailbox),
            Ask::Read { message, from: offset } => self.fetch(from, message, offset),
            Ask::Update { delete, seen } => self.update(from, delete, seen),
        }
    }
}

/// Which pool a job goes to.
#[derive(Clone, Copy)]
enum Which {
    Disk,
    Passwords,
}
