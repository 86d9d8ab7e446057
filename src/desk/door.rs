//! The desk's door: who may have a password checked, what became of it, and when that may be said.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{Desk, Which, login_queue::LoginQueue};
use crate::{
    accounts::{Attempt, Credential, Gate, Mark, Memory, Tries, UserFile, Verdict},
    capacity::Shrinker,
    limits::{Limits, SLOW_HASH_HELD},
    metrics::METRICS,
    proto::ask::{Answer, ConnId, Fault, Secret},
    work::{Done, Outcome, To, job::Task},
};

/// What is known of those who come in.
pub(super) struct Door {
    memory: Memory,
    tries: Tries,
    /// Where the connections come from.
    peers: HashMap<ConnId, IpAddr>,
    queue: LoginQueue<Waiting>,
    /// Those that a worker has: as many as there are workers, so that the others wait where they take turns.
    checks: HashMap<ConnId, Check>,
    workers: usize,
}

/// A password that waits to be checked.
struct Waiting {
    credential: Credential,
    password: Secret,
    mark: Mark,
    since: Duration,
    from: IpAddr,
    gate: Gate,
}

/// A password that is being checked.
struct Check {
    mark: Mark,
    since: Duration,
    attempt: Attempt,
}

impl Door {
    pub(super) fn new(key: &[u8; 32], limits: &Limits) -> Self {
        Self {
            memory: Memory::new(key, limits.login_memory.0, limits.login_memories),
            tries: Tries::new(limits),
            peers: HashMap::new(),
            queue: LoginQueue::new(limits.password_queue),
            checks: HashMap::new(),
            workers: limits.password_workers,
        }
    }

    /// Other limits are in force from now on. Addresses that wrong passwords came from stay known.
    pub(super) fn follow(&mut self, limits: &Limits) {
        self.memory.follow(limits.login_memory.0, limits.login_memories);
        self.tries.follow(limits);
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.peers).shrink(&mut self.checks);
        self.queue.shrink(shrinker);
        self.tries.shrink(shrinker);
        self.memory.shrink(shrinker);
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn forget(&mut self, id: ConnId) {
        self.peers.remove(&id);
    }

    /// The password will not be checked, and stays a failure: the client may have learnt that it is not remembered.
    fn refuse(&mut self, waiting: &Waiting, now: Duration) {
        if let Gate::Open(attempt) = waiting.gate {
            self.tries.wrong(attempt, now);
        }
    }

    /// The next password that may be checked now, or may not be checked at all.
    fn next(&mut self, now: Duration) -> Option<(ConnId, Waiting)> {
        let Self { queue, tries, .. } = self;
        let next = queue.next(|waiting| {
            if waiting.gate == Gate::Wait {
                waiting.gate = tries.begin(waiting.from, &waiting.credential.user, &waiting.mark, now);
            }
            waiting.gate != Gate::Wait
        })?;
        METRICS.password_queue.down(1);
        Some(next)
    }
}

impl Desk {
    /// A connection comes from there: for the delays and limits of wrong passwords.
    pub fn enter(&mut self, id: ConnId, peer: IpAddr) {
        self.door.peers.insert(id, peer);
    }

    pub(super) fn verify(&mut self, from: ConnId, user: &str, password: Secret) -> Option<Answer> {
        let (door, now) = (&mut self.door, self.now);
        let peer = door.peers.get(&from).copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        let credential = self.accounts.credential(user);
        let mark = door.memory.mark(&credential, &password);
        let standing = door.tries.standing(peer, &credential.user, now);
        // Also where the password is remembered: else it could be guessed without end, and fast.
        let gate = door.tries.begin(peer, &credential.user, &mark, now);
        let waiting = Waiting { credential, password, mark, since: now, from: peer, gate };
        if let Some(answer) = self.answer_at_once(&waiting) {
            return Some(answer);
        }
        METRICS.password_queue.up();
        self.awaited.insert(from);
        let displaced = self.door.queue.push(standing, peer, from, waiting);
        if let Some((id, waiting)) = displaced {
            METRICS.password_queue.down(1);
            METRICS.queue_full.one();
            self.door.refuse(&waiting, now);
            self.answer_other(id, Answer::Failed(Fault::Busy));
        }
        self.check_passwords();
        None
    }

    /// What can be said without a worker, of a password that counts as wrong already.
    fn answer_at_once(&mut self, Waiting { credential, mark, gate, .. }: &Waiting) -> Option<Answer> {
        let (door, now) = (&mut self.door, self.now);
        match (gate, &credential.mailbox) {
            (Gate::Shut, _) => Some(Answer::Failed(Fault::Busy)),
            (Gate::Open(attempt), Some(mailbox)) if door.memory.knows(mark, now) => {
                door.tries.right(*attempt, now);
                Some(Answer::Welcome(mailbox.clone()))
            }
            (Gate::Open(_) | Gate::Wait, _) => None,
        }
    }

    /// Hands passwords to the workers that are free.
    pub(super) fn check_passwords(&mut self) {
        while self.door.checks.len() < self.door.workers {
            let Some((id, waiting)) = self.door.next(self.now) else { return };
            let answer = self.answer_at_once(&waiting).or_else(|| self.check(id, waiting));
            answer.into_iter().for_each(|answer| self.answer_other(id, answer));
        }
    }

    fn check(&mut self, id: ConnId, waiting: Waiting) -> Option<Answer> {
        let Waiting { credential, password, mark, since, gate, .. } = waiting;
        let Gate::Open(attempt) = gate else { return None }; // it still waits
        self.door.checks.insert(id, Check { mark, since, attempt });
        let users = self.accounts.sources.as_ref().map(|sources| UserFile::at(&sources.users));
        let task = Task::Verify { credential: Box::new(credential), password, users };
        let full = self.submit(Which::Passwords, id, task, Fault::Busy);
        if full.is_some() {
            self.check_lost(id);
        }
        full
    }

    /// Queues an answer that no result of a worker brings, and makes sure that the loop looks for it.
    fn answer_other(&mut self, id: ConnId, answer: Answer) {
        self.answer(id, answer);
        self.returns.send(Done { to: To::Desk, outcome: Outcome::Nothing });
    }

    /// The connection has gone: a password that waits for it is not checked any more.
    pub(super) fn check_no_more(&mut self, id: ConnId) {
        if let Some(waiting) = self.door.queue.remove(id) {
            METRICS.password_queue.down(1);
            self.door.refuse(&waiting, self.now);
            self.awaited.remove(&id);
        }
    }

    /// No verdict will come, because the check failed.
    pub(super) fn check_lost(&mut self, id: ConnId) {
        if let Some(check) = self.door.checks.remove(&id) {
            self.door.tries.wrong(check.attempt, self.now);
        }
    }

    pub(super) fn verified(&mut self, from: ConnId, verdict: Verdict) -> Answer {
        let (door, now) = (&mut self.door, self.now);
        let check = door.checks.remove(&from);
        let attempt = check.as_ref().map(|check| check.attempt);
        if verdict != Verdict::Wrong {
            attempt.into_iter().for_each(|attempt| door.tries.right(attempt, now));
        }
        match verdict {
            // Counted from the question: how long the check took can't be seen.
            Verdict::Wrong => {
                let least = if self.accounts.have_slow_hashes() { SLOW_HASH_HELD } else { Duration::ZERO };
                let held = |Check { since, attempt, .. }| since + door.tries.wrong(attempt, now).max(least);
                let until = check.map_or(now, held);
                Answer::Denied { after: until.saturating_sub(now) }
            }
            Verdict::Right(mailbox) => {
                check.into_iter().for_each(|check| door.memory.learn(check.mark, now));
                Answer::Welcome(mailbox)
            }
            Verdict::RightUpgraded { mailbox, user, hash } => {
                self.accounts.learn(&user, hash);
                Answer::Welcome(mailbox)
            }
        }
    }
}
