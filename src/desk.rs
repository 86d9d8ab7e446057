//! The desk: takes what sessions ask, answers at once what it knows, and hands the rest to those who may
//! wait. It knows what every connection has with it: a mailbox, a message begun, an answer to come.

mod bodies;
mod door;
mod login_queue;
mod mail_in;
mod mail_out;
mod quota;
mod reload;
mod turn;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    accounts::{Accounts, Keeper},
    clock::{DateGuard, Now},
    closing::{Closer, OnLoop, release},
    commit::Committer,
    config::{Config, Unknown, Watch},
    conn::World,
    descriptors::{most_indexes, most_open, most_spilled},
    limits::Limits,
    mailbox::{
        Logins, Registry,
        registry::Order,
        watch::{Notices, Watcher},
    },
    maildir::{self, Place, Spool, known_date, lock::Hold, name::Namer},
    metrics::METRICS,
    proto::ask::{Answer, Ask, ConnId, Directory, Fault, Mailbox},
    transcript::text,
    work::{
        Bell, Done, Job, Outcome, Pool, Returns, Shop, To,
        job::{SpillTo, Task},
    },
};
use bodies::Bodies;
pub use bodies::Relief;
use door::Door;
use mail_in::Incoming;
use mail_out::{Lease, Unlocking};
use quota::Tally;
use turn::Turn;

/// The desk.
pub struct Desk {
    limits: Limits,
    spool: PathBuf,
    accounts: Accounts,
    door: Door,
    /// The time of this turn of the loop.
    now: Duration,
    turn: Turn,
    namer: Namer,
    disk: Pool,
    scans: Pool,
    passwords: Pool,
    committer: Committer,
    shop: Arc<Shop>,
    registry: Registry,
    logins: Logins,
    notices: Notices,
    /// Answers to be given.
    answers: VecDeque<(ConnId, Answer)>,
    /// Connections whose answer is on its way.
    awaited: HashSet<ConnId>,
    /// Those of them that have closed meanwhile.
    left: HashSet<ConnId>,
    /// Who has which mailbox open, or is about to.
    holders: HashMap<Mailbox, ConnId>,
    /// How many of them there may be.
    most_open: usize,
    leases: HashMap<ConnId, Lease>,
    /// Mailboxes that a worker is about to let go of; they are among those of `holders`.
    unlocking: HashMap<Mailbox, Unlocking>,
    drafts: HashMap<ConnId, Incoming>,
    bodies: Bodies,
    /// Messages that the committer has.
    deliveries: usize,
    /// Those of them, and of others on their way there, that nobody waits for any longer.
    given_up: usize,
    /// Messages whose files in `tmp/` are being removed.
    removing: usize,
    tally: Tally,
    /// Octets free on the spool's file system when it was last asked.
    free: Option<u64>,
    next_tidy: Duration,
    keeper: Option<Keeper>,
    returns: Returns,
    /// What has changed in the spool for sessions that have not been told, where there are transcripts.
    changes: Option<HashMap<ConnId, Vec<String>>>,
    closer: Option<Closer>,
    guard: DateGuard,
    /// Whether mail is deleted for its age.
    expires: bool,
    /// Whether the spool was in its place when it was last looked at.
    in_place: Result<(), Fault>,
}

/// Why the desk could not be opened.
#[derive(Debug)]
pub enum Error {
    /// The spool could not be used.
    Spool(maildir::Error),
    /// Threads could not be started.
    Threads(io::Error),
}

impl From<maildir::Error> for Error {
    fn from(error: maildir::Error) -> Self {
        Self::Spool(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Threads(error)
    }
}

impl Desk {
    /// Opens the spool and starts the threads. Results go to `returns`; `bell` is rung when there is something
    /// to be noticed.
    pub fn open(
        config: &Config,
        accounts: Accounts,
        bell: &Arc<Bell>,
        returns: &Returns,
    ) -> Result<Self, Error> {
        let limits = config.limits.clone();
        let spool = Spool::open(&config.spool)?;
        let hold = if config.shared_spool { Hold::Shared } else { Hold::Alone };
        let lock = spool.lock(hold, limits.spool_lock_wait.0)?;
        let known = known_date::read(&spool).unwrap_or_else(SystemTime::now);
        let (watcher, notices) = match config.watch {
            Watch::Inotify => {
                let bell = Arc::clone(bell);
                Watcher::start(limits.watch_queue, config.shared_spool, move || bell.ring())
            }
            Watch::Poll => Watcher::off(),
        };
        let anybody = config.unknown == Unknown::Create;
        let keeper = reload::keeper(&accounts, &limits, returns)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let most = anybody.then_some(limits.created_mailboxes);
        let shop = Arc::new(Shop::new(
            spool,
            lock,
            watcher,
            limits.read_chunk.as_len(),
            limits.largest_listed(),
            most,
        )?);
        let pool = |name, threads, waiting| Pool::start(name, threads, waiting, &shop, returns);
        Ok(Self {
            spool: config.spool.clone(),
            disk: pool("disk", limits.disk_workers, limits.work_queue)?,
            scans: pool("scan", limits.scan_workers, limits.work_queue)?,
            passwords: pool("password", limits.password_workers, limits.password_workers)?,
            committer: Committer::start(&shop, returns, &limits)?,
            shop,
            registry: Registry::new(&limits, most_indexes(&limits)),
            logins: Logins::new(limits.pop3_login_delay.0),
            notices,
            door: Door::new(&key, &limits),
            accounts,
            namer: Namer::new(&config.hostname, std::process::id()),
            awaited: HashSet::new(),
            left: HashSet::new(),
            holders: HashMap::new(),
            most_open: most_open(),
            leases: HashMap::new(),
            unlocking: HashMap::new(),
            drafts: HashMap::new(),
            bodies: Bodies::new(limits.bodies_in_memory.0, most_spilled()),
            deliveries: 0,
            given_up: 0,
            removing: 0,
            tally: Tally::new(limits.quota_mailboxes, limits.quota_recount.0),
            now: Duration::ZERO,
            turn: Turn::default(),
            free: None,
            next_tidy: Duration::ZERO,
            changes: config.transcripts.is_some().then(HashMap::new),
            answers: VecDeque::new(),
            limits,
            keeper,
            returns: returns.clone(),
            closer: Some(Closer::start()?),
            in_place: Ok(()),
            guard: DateGuard::new(Duration::ZERO, known),
            expires: config.pop3.expire.is_some(),
        })
    }

    /// Makes this thread that of the event loop: files are closed elsewhere from now on.
    ///
    /// # Errors
    /// There is no thread to be had, where this was called before.
    pub fn on_loop(&mut self) -> io::Result<OnLoop> {
        let closer = self.closer.take();
        closer.map_or_else(Closer::start, Ok).map(Closer::on_loop)
    }

    /// Takes a result.
    pub fn take(&mut self, Done { to, outcome }: Done) {
        self.turn.charge(&outcome);
        match to {
            To::Session(id) => {
                if let Some(answer) = self.take_for_session(id, outcome) {
                    self.answer(id, answer);
                }
            }
            To::Index(id) => match outcome {
                Outcome::Loaded(result) => self.registry.loaded(id, result),
                Outcome::Unfinished(load) => self.registry.unfinished(id, load),
                Outcome::Looked(result) => self.registry.looked(id, result),
                Outcome::Checked(result) => self.registry.checked(id, result),
                _ => self.registry.failed(id),
            },
            To::Desk => match outcome {
                Outcome::Measured(free, in_place) => {
                    self.in_place = in_place;
                    free.into_iter().for_each(|free| METRICS.spool_free.set(free));
                    self.free = free;
                }
                Outcome::Accounts(accounts) => self.renew(accounts),
                Outcome::Unlocked(mailbox) => self.unlocked(&mailbox),
                Outcome::Discarded => self.removing = self.removing.saturating_sub(1),
                _ => {}
            },
        }
        self.carry_out();
        self.check_passwords();
    }

    /// Looks after the mailboxes in use and the messages on their way in, once in a while. `false`: none of them
    /// needs it soon.
    pub fn tick(&mut self, now: Duration) -> bool {
        self.give_up_late_ones();
        self.registry.tick(now);
        self.carry_out();
        self.wants_ticks()
    }

    /// Whether [`Desk::tick`] is wanted more often than the house is kept.
    pub fn wants_ticks(&self) -> bool {
        self.registry.wants_ticks() || !self.drafts.is_empty()
    }

    /// Does what the registry wants done.
    fn carry_out(&mut self) {
        self.registry.settle();
        loop {
            let orders = self.registry.orders();
            if orders.is_empty() {
                return;
            }
            orders.into_iter().for_each(|order| self.carry_out_one(order));
        }
    }

    fn carry_out_one(&mut self, order: Order) {
        let (pool, to, task) = match order {
            Order::Load(id, load) => (&self.scans, To::Index(id), Task::Load(id, load)),
            Order::Look(id, maildir, looks) => (&self.disk, To::Index(id), Task::Look(maildir, looks)),
            Order::Check(id, maildir) => (&self.disk, To::Index(id), Task::Check(maildir)),
            Order::Unwatch(id, maildir) => (&self.scans, To::Desk, Task::Unwatch(id, maildir)),
            Order::Free(spare) => return release(spare),
            Order::Serve(to, snapshot) => {
                let answer = self.opened(to, snapshot);
                return self.answer(to, answer);
            }
            Order::Fail(to, fault) => {
                self.give_back(to);
                return self.answer(to, Answer::Failed(fault));
            }
        };
        if pool.submit(Job { to, task }).is_err()
            && let To::Index(id) = to
        {
            self.registry.failed(id); // the next login begins anew
        }
    }

    fn take_for_session(&mut self, to: ConnId, outcome: Outcome) -> Option<Answer> {
        Some(match outcome {
            Outcome::Counted(decision, counts) => self.counted(to, &decision, counts)?,
            Outcome::Settled(decision, result) => self.settled(to, &decision, result)?,
            Outcome::Delivered(decision, result) => self.delivered(to, &decision, result)?,
            Outcome::Verified(verdict) => self.verified(to, verdict),
            Outcome::Opened(Ok(opened)) => {
                self.locked(to, opened);
                return None;
            }
            Outcome::Opened(Err(fault)) => {
                self.give_back(to);
                Answer::Failed(fault)
            }
            Outcome::Read(result) => self.read(to, result),
            Outcome::Updated(done, result) => self.updated(to, done, result),
            Outcome::Spilled(Ok(spilled)) => self.spilled(to, spilled),
            Outcome::Spilled(Err(fault)) => {
                self.bodies.moved(to, 0);
                Answer::Failed(fault)
            }
            Outcome::Lost(Some(decision)) => {
                self.is_awaited(to, &decision)?;
                self.finish(to, Err(Fault::Broken))
            }
            _ => {
                self.check_lost(to);
                self.not_locked(to); // the job panicked
                self.finish(to, Err(Fault::Broken))
            }
        })
    }

    /// Queues the answer of a session that is still there, and lets go of what one had that is not.
    fn answer(&mut self, to: ConnId, answer: Answer) {
        self.awaited.remove(&to);
        if self.left.remove(&to) {
            self.release(to);
        } else {
            self.answers.push_back((to, answer));
        }
    }

    /// The connection is closed. What is under way for it goes on to its end.
    pub fn leave(&mut self, id: ConnId) {
        self.check_no_more(id);
        if self.awaited.contains(&id) {
            self.left.insert(id);
        } else {
            self.release(id);
        }
    }

    /// Whether nothing is under way, for a session or to be taken back behind it.
    pub fn is_idle(&self) -> bool {
        self.awaited.is_empty() && self.answers.is_empty() && self.given_up == 0 && self.removing == 0
    }

    /// Asks whether the spool is in its place and how much room the disk has, the answer is kept for MAIL; and has `tmp/` tidied up now and then.
    pub fn keep_house(&mut self, now: Now) {
        if self.guard.see(now) {
            // Without `expire` a file in `tmp/` stays longer, and nothing else.
            let level = if self.expires { log::Level::Error } else { log::Level::Debug };
            let file = self.spool.join(known_date::FILE);
            log::log!(
                level,
                "the clock is ahead of any date that is believed: old messages are kept; if it is right: date +%s > {}, \
                 and restart",
                file.display()
            );
        }
        let (date, now) = (self.guard.date(now), now.steady);
        let _ = self.disk.submit(Job { to: To::Desk, task: Task::Measure }); // a full queue: next time
        if self.next_tidy <= now {
            self.next_tidy = now + TIDY_EVERY;
            let _ = self.scans.submit(Job { to: To::Desk, task: Task::Tidy(self.limits.tmp_age.0, date) }); // the same
            let _ = self.scans.submit(Job { to: To::Desk, task: Task::NoteDate(date) }); // the same
        }
    }

    fn release(&mut self, id: ConnId) {
        self.give_back(id);
        self.discard(id);
        self.bodies.leave(id);
        self.door.forget(id);
        if let Some(changes) = &mut self.changes {
            changes.remove(&id);
        }
    }

    /// Notes for a transcript that this has become of a file.
    fn note(&mut self, id: ConnId, what: &str, mailbox: &Mailbox, (place, name): (Place, &[u8])) {
        let Some(changes) = &mut self.changes else { return };
        let noted = changes.entry(id).or_default();
        if noted.len() >= MOST_CHANGES {
            return;
        }
        let path = self.spool.join(mailbox.to_string()).join(place.name());
        let path = text::escaped(path.join(String::from_utf8_lossy(name).as_ref()).as_os_str().as_bytes());
        let change = format!("{what} {path}");
        if noted.last() != Some(&change) {
            noted.push(change);
        }
    }

    /// Sends a job whose result answers `from`.
    fn submit(&mut self, pool: Which, from: ConnId, task: Task, if_full: Fault) -> Option<Answer> {
        let pool = match pool {
            Which::Disk => &self.disk,
            Which::Passwords => &self.passwords,
        };
        match pool.submit(Job { to: To::Session(from), task }) {
            Ok(()) => {
                self.awaited.insert(from);
                None
            }
            Err(Job { task, .. }) => {
                match task {
                    Task::Spill { to: SpillTo::Begun(spilled), .. } | Task::Settle { spilled, .. } => {
                        self.remove(spilled);
                    }
                    Task::Update { lock, .. } => self.still_locked(from, lock),
                    _ => {}
                }
                Some(Answer::Failed(if_full))
            }
        }
    }
}

impl World for Desk {
    fn directory(&self) -> &dyn Directory {
        self
    }

    fn changes(&mut self, from: ConnId) -> Vec<String> {
        self.changes.as_mut().and_then(|changes| changes.remove(&from)).unwrap_or_default()
    }

    fn ask(&mut self, from: ConnId, ask: Ask) -> Option<Answer> {
        match ask {
            Ask::Room { size } => Some(self.room(size)),
            Ask::Begin => Some(self.begin(from)),
            Ask::Spill { mailboxes, bytes } => self.spill(from, mailboxes, bytes),
            Ask::Discard => {
                self.discard(from);
                Some(Answer::Ready)
            }
            Ask::Deliver { envelope, bytes, partly } => self.deliver(from, envelope, bytes, partly),
            Ask::Verify { user, password } => self.verify(from, &user, password),
            Ask::Open { mailbox, now } => self.lock(from, mailbox, now),
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

/// Changes that one answer tells of.
const MOST_CHANGES: usize = 1000;
const TIDY_EVERY: Duration = Duration::from_secs(3600);
