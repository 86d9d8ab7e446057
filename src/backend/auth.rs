//! Logins: which password is checked when, what comes of it, and when the client may hear that.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::{
    effects::Effects,
    login_queue::{LoginQueue, Next},
};
use crate::{
    accounts::{Accounts, Attempt, Credential, Gate, Mark, Memory, Tries, UserFile, Verdict},
    capacity::Shrinker,
    limits::{Limits, SLOW_HASH_HELD},
    metrics::METRICS,
    proto::request::{Answer, ConnId, Fault, Secret},
    workers::Job,
};

/// Checks passwords: remembered ones at once, the others by workers, in an order that is fair by address.
pub(super) struct Auth {
    memory: Memory,
    tries: Tries,
    queue: LoginQueue<Waiting>,
    /// The checks that workers have: as many as there are workers, so that the others wait where addresses take turns.
    checks: HashMap<ConnId, Check>,
    workers: usize,
    /// Whether there is more to be asked of the queue in the next turn.
    goes_on: bool,
}

/// A password that waits for a worker.
struct Waiting {
    credential: Credential,
    password: Secret,
    mark: Mark,
    /// When it came, on the steady clock.
    since: Duration,
    from: IpAddr,
    gate: Gate,
}

/// A password that a worker checks.
struct Check {
    mark: Mark,
    since: Duration,
    attempt: Attempt,
}

impl Auth {
    pub(super) fn new(key: &[u8; 32], limits: &Limits) -> Self {
        Self {
            memory: Memory::new(key, limits.login_memory.0, limits.login_memories),
            tries: Tries::new(limits),
            queue: LoginQueue::new(limits.password_queue),
            checks: HashMap::new(),
            workers: limits.password_workers,
            goes_on: false,
        }
    }

    /// Other limits are in force from now on. Addresses that wrong passwords came from stay known.
    pub(super) fn reconfigure(&mut self, limits: &Limits) {
        self.memory.follow(limits.login_memory.0, limits.login_memories);
        self.tries.follow(limits);
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.checks);
        self.queue.shrink(shrinker);
        self.tries.shrink(shrinker);
        self.memory.shrink(shrinker);
    }

    /// How many passwords wait for a worker.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether [`Auth::start_checks`] is wanted in the next turn, whatever happens.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// A client at `peer` says that this is the password of `user`. To be followed by [`Auth::start_checks`].
    pub(super) fn verify(
        &mut self,
        (id, peer): (ConnId, IpAddr),
        (user, password): (&str, Secret),
        accounts: &Accounts,
        now: Duration,
        effects: &mut Effects,
    ) {
        let credential = accounts.credential(user);
        let mark = self.memory.mark(&credential, &password);
        let standing = self.tries.standing(peer, &credential.user, now);
        // Also where the password is remembered: else it could be guessed without end, and fast.
        let gate = self.tries.begin(peer, &credential.user, &mark, now);
        let waiting = Waiting { credential, password, mark, since: now, from: peer, gate };
        if let Some(response) = self.respond_at_once(&waiting, now) {
            return effects.respond(id, response);
        }
        METRICS.password_queue.up();
        if let Some((displaced, waiting)) = self.queue.push(standing, peer, id, waiting) {
            METRICS.password_queue.down(1);
            METRICS.queue_full.one();
            self.abandon(&waiting, now);
            effects.fail(displaced, Fault::Busy);
        }
    }

    /// The response that needs no worker, to a password that counts as wrong already.
    fn respond_at_once(
        &mut self,
        Waiting { credential, mark, gate, .. }: &Waiting,
        now: Duration,
    ) -> Option<Answer> {
        match (gate, &credential.mailbox) {
            (Gate::Shut, _) => Some(Answer::Failed(Fault::Busy)),
            (Gate::Open(attempt), Some(mailbox)) if self.memory.knows(mark, now) => {
                self.tries.right(*attempt, now);
                Some(Answer::Welcome(mailbox.clone()))
            }
            (Gate::Open(_) | Gate::Wait, _) => None,
        }
    }

    /// Hands passwords to the workers that are free.
    pub(super) fn start_checks(&mut self, accounts: &Accounts, now: Duration, effects: &mut Effects) {
        self.goes_on = false;
        while self.checks.len() < self.workers {
            let (id, waiting) = match self.next(now) {
                Next::Check(id, waiting) => (id, waiting),
                Next::Nothing if self.checks.is_empty() && self.waiting() > 0 => {
                    // No check that ends will have the others asked.
                    self.queue.ask_again();
                    self.goes_on = true;
                    return;
                }
                Next::Nothing => return,
                Next::Later => {
                    self.goes_on = true;
                    return;
                }
            };
            if let Some(response) = self.respond_at_once(&waiting, now) {
                effects.respond(id, response);
                continue;
            }
            let Waiting { credential, password, mark, since, gate, .. } = waiting;
            let Gate::Open(attempt) = gate else { continue }; // invariant: `next` returns none that still waits
            self.checks.insert(id, Check { mark, since, attempt });
            let users = accounts.sources.as_ref().map(|sources| UserFile::at(&sources.users));
            effects.run(Job::Verify { conn: id, credential: Box::new(credential), password, users });
        }
    }

    /// The next password that may be checked now, or that is refused without a check.
    fn next(&mut self, now: Duration) -> Next<Waiting> {
        let Self { queue, tries, .. } = self;
        let next = queue.next(|waiting| {
            if waiting.gate == Gate::Wait {
                waiting.gate = tries.begin(waiting.from, &waiting.credential.user, &waiting.mark, now);
            }
            waiting.gate != Gate::Wait
        });
        if matches!(next, Next::Check(..)) {
            METRICS.password_queue.down(1);
        }
        next
    }

    /// A worker has checked a password, or could not.
    pub(super) fn verified(
        &mut self,
        id: ConnId,
        verdict: Result<Verdict, Fault>,
        accounts: &mut Accounts,
        now: Duration,
        effects: &mut Effects,
    ) {
        let Some(Check { mark, since, attempt }) = self.checks.remove(&id) else { return };
        self.queue.ask_again();
        effects.respond(
            id,
            match verdict {
                Err(failure) => {
                    self.tries.wrong(attempt, now);
                    Answer::Failed(failure)
                }
                // Counted from the question: the time that the check took can't be seen.
                Ok(Verdict::Wrong) => {
                    let least = if accounts.have_slow_hashes() { SLOW_HASH_HELD } else { Duration::ZERO };
                    let until = since + self.tries.wrong(attempt, now).max(least);
                    Answer::Denied { after: until.saturating_sub(now) }
                }
                Ok(Verdict::Right(mailbox)) => {
                    self.tries.right(attempt, now);
                    self.memory.learn(mark, now);
                    Answer::Welcome(mailbox)
                }
                Ok(Verdict::RightUpgraded { mailbox, user, hash }) => {
                    self.tries.right(attempt, now);
                    accounts.learn(&user, hash);
                    Answer::Welcome(mailbox)
                }
            },
        );
    }

    /// The connection is closed: a password of it that waits is not checked any more. The response that it is owed is
    /// dropped.
    pub(super) fn leave(&mut self, id: ConnId, now: Duration, effects: &mut Effects) {
        if let Some(waiting) = self.queue.remove(id) {
            METRICS.password_queue.down(1);
            self.abandon(&waiting, now);
            effects.fail(id, Fault::Busy);
        }
    }

    /// The password will not be checked, and stays a failure: the client may have learnt that it is not remembered.
    fn abandon(&mut self, waiting: &Waiting, now: Duration) {
        if let Gate::Open(attempt) = waiting.gate {
            self.tries.wrong(attempt, now);
            self.queue.ask_again();
        }
    }
}
