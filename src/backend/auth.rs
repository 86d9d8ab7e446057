//! Logins: the order of password checks, their results, and the delay of each reply.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::{
    effects::Effects,
    login_queue::{LoginQueue, Next},
    session_logins::{Login, SessionLogins},
};
use crate::{
    accounts::{
        Accounts, Attempt, AuthCache, AuthThrottle, CacheKey, Credential, ThrottleDecision, UserFile, Verdict,
    },
    capacity::Shrinker,
    limits::{FOREIGN_HASH_REPLY_DELAY, Limits},
    metrics::METRICS,
    proto::request::{ConnId, Failure, Mailbox, Response, Secret},
    workers::Job,
};

/// Checks passwords: cached ones at once, the others on workers, in an order that is fair to each address.
pub(super) struct Auth {
    cache: AuthCache,
    throttle: AuthThrottle,
    queue: LoginQueue<QueuedCheck>,
    /// The checks that workers run: no more than there are workers. The others wait in the queue, where addresses
    /// take turns.
    running: HashMap<ConnId, RunningCheck>,
    pub(super) logins: SessionLogins,
    workers: usize,
    /// Whether the queue may have a check that can begin in the next turn.
    has_more_work: bool,
}

/// A password that waits for a worker.
struct QueuedCheck {
    credential: Credential,
    password: Secret,
    cache_key: CacheKey,
    login: Login,
    /// The arrival time, on the steady clock.
    since: Duration,
    from: IpAddr,
    decision: ThrottleDecision,
}

/// A password that a worker checks.
struct RunningCheck {
    cache_key: CacheKey,
    /// `None` if the connection is closed.
    login: Option<Login>,
    since: Duration,
    attempt: Attempt,
}

impl Auth {
    pub(super) fn new(key: &[u8; 32], limits: &Limits) -> Self {
        Self {
            cache: AuthCache::new(key, limits.auth.cache_ttl.0, limits.auth.cache_size),
            throttle: AuthThrottle::new(limits),
            queue: LoginQueue::new(limits.auth.queue_size),
            running: HashMap::new(),
            logins: SessionLogins::default(),
            workers: limits.auth.workers,
            has_more_work: false,
        }
    }

    /// Applies other limits. The throttle keeps its record of addresses with failed logins.
    pub(super) fn reconfigure(&mut self, limits: &Limits) {
        self.cache.reconfigure(limits.auth.cache_ttl.0, limits.auth.cache_size);
        self.throttle.reconfigure(limits);
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.running);
        self.logins.shrink(shrinker);
        self.queue.shrink(shrinker);
        self.throttle.shrink(shrinker);
        self.cache.shrink(shrinker);
    }

    /// The number of passwords that wait for a worker.
    pub(super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Whether [`Auth::dispatch_checks`] must be called in the next turn, whatever happens.
    pub(super) fn has_more_work(&self) -> bool {
        self.has_more_work
    }

    /// A client at `peer` logs in as `user` with this password. The caller calls [`Auth::dispatch_checks`]
    /// afterwards.
    pub(super) fn verify(
        &mut self,
        (id, peer): (ConnId, IpAddr),
        (user, password): (&str, Secret),
        accounts: &Accounts,
        now: Duration,
        effects: &mut Effects,
    ) {
        self.logins.end(id);
        let credential = accounts.credential(user);
        let cache_key = self.cache.key(&credential, &password);
        let reputation = self.throttle.reputation(peer, &credential.user, now);
        // Counted for a cached password too: otherwise a client could guess it without limit, and fast.
        let decision = self.throttle.begin_attempt(peer, &credential.user, &cache_key, now);
        let login = Login::new(user, accounts.rights_of(&credential));
        let user = credential.user.clone();
        let check = QueuedCheck { credential, password, cache_key, login, since: now, from: peer, decision };
        if let Some(response) = self.respond_at_once(id, &check, accounts, now) {
            return effects.respond(id, response);
        }
        METRICS.password_queue.inc();
        if let Some((displaced, check)) = self.queue.push(reputation, (peer, &user), id, check) {
            METRICS.password_queue.sub(1);
            METRICS.queue_full.inc();
            self.cancel(&check, now);
            effects.fail(displaced, Failure::Busy);
        }
    }

    /// The response to a check that needs no worker. The throttle already counts the attempt as a failure.
    fn respond_at_once(
        &mut self,
        id: ConnId,
        QueuedCheck { credential, cache_key, login, decision, .. }: &QueuedCheck,
        accounts: &Accounts,
        now: Duration,
    ) -> Option<Response> {
        match (decision, &credential.mailbox) {
            (ThrottleDecision::Block, _) => Some(Response::Failed(Failure::Busy)),
            (ThrottleDecision::Allow(attempt), Some(mailbox)) if self.cache.contains(cache_key, now) => {
                self.throttle.record_success(*attempt, now);
                let login = login.clone().without_upgrade();
                Some(self.begin_session(id, Some(login), mailbox.clone(), accounts))
            }
            (ThrottleDecision::Allow(_) | ThrottleDecision::Wait, _) => None,
        }
    }

    /// Passes passwords to the free workers.
    pub(super) fn dispatch_checks(&mut self, accounts: &Accounts, now: Duration, effects: &mut Effects) {
        self.has_more_work = false;
        while self.running.len() < self.workers {
            let (id, check) = match self.next(now) {
                Next::Check(id, check) => (id, check),
                Next::Nothing if self.running.is_empty() && self.queue_len() > 0 => {
                    // No running check is left whose end would unpark the others.
                    self.queue.unpark();
                    self.has_more_work = true;
                    return;
                }
                Next::Nothing => return,
                Next::Later => {
                    self.has_more_work = true;
                    return;
                }
            };
            if let Some(response) = self.respond_at_once(id, &check, accounts, now) {
                effects.respond(id, response);
                continue;
            }
            let QueuedCheck { credential, password, cache_key, login, since, decision, .. } = check;
            let ThrottleDecision::Allow(attempt) = decision else { continue }; // invariant: `next` returns none with `Wait`
            self.running.insert(id, RunningCheck { cache_key, login: Some(login), since, attempt });
            let users = accounts.sources.as_ref().map(|sources| UserFile::at(&sources.users));
            effects.run(Job::Verify { conn: id, credential: Box::new(credential), password, users });
        }
    }

    /// The next password that may be checked now, or that is refused without a check.
    fn next(&mut self, now: Duration) -> Next<QueuedCheck> {
        let Self { queue, throttle, .. } = self;
        let next = queue.next(|check| {
            if check.decision == ThrottleDecision::Wait {
                check.decision =
                    throttle.begin_attempt(check.from, &check.credential.user, &check.cache_key, now);
            }
            check.decision != ThrottleDecision::Wait
        });
        if matches!(next, Next::Check(..)) {
            METRICS.password_queue.sub(1);
        }
        next
    }

    /// A worker has checked a password, or has failed to.
    pub(super) fn verified(
        &mut self,
        id: ConnId,
        verdict: Result<Verdict, Failure>,
        accounts: &mut Accounts,
        now: Duration,
        effects: &mut Effects,
    ) {
        let Some(RunningCheck { cache_key, login, since, attempt }) = self.running.remove(&id) else {
            return;
        };
        self.queue.unpark();
        effects.respond(
            id,
            match verdict {
                Err(failure) => {
                    self.throttle.record_failure(attempt, now);
                    Response::Failed(failure)
                }
                // Counted from the request, so that the client cannot see the time that the check took.
                Ok(Verdict::Wrong) => {
                    let min_delay =
                        if accounts.has_slow_hashes() { FOREIGN_HASH_REPLY_DELAY } else { Duration::ZERO };
                    let until = since + self.throttle.record_failure(attempt, now).max(min_delay);
                    Response::Failed(Failure::AuthFailed { delay: until.saturating_sub(now) })
                }
                Ok(Verdict::Right(mailbox)) => {
                    self.throttle.record_success(attempt, now);
                    self.cache.insert(cache_key, now);
                    self.begin_session(id, login.map(Login::without_upgrade), mailbox, accounts)
                }
                Ok(Verdict::RightUpgraded { mailbox, user, old_hash, hash }) => {
                    self.throttle.record_success(attempt, now);
                    accounts.update_hash(&user, &old_hash, hash);
                    self.begin_session(id, login, mailbox, accounts)
                }
            },
        );
    }

    /// The response to a right password. If the accounts have changed during the check, the client may try again: the next check is
    /// against those in force.
    fn begin_session(
        &mut self,
        id: ConnId,
        login: Option<Login>,
        mailbox: Mailbox,
        accounts: &Accounts,
    ) -> Response {
        if login.is_none_or(|login| self.logins.begin(id, login, accounts)) {
            Response::Verified(mailbox)
        } else {
            Response::Failed(Failure::Busy)
        }
    }

    /// The connection is closed: its queued password is not checked. Its outstanding response is dropped.
    pub(super) fn connection_closed(&mut self, id: ConnId, now: Duration, effects: &mut Effects) {
        self.logins.end(id);
        if let Some(check) = self.running.get_mut(&id) {
            check.login = None;
        }
        if let Some(check) = self.queue.remove(id) {
            METRICS.password_queue.sub(1);
            self.cancel(&check, now);
            effects.fail(id, Failure::Busy);
        }
    }

    /// The password will not be checked and counts as a failure, because the client may have learnt that it is not
    /// cached.
    fn cancel(&mut self, check: &QueuedCheck, now: Duration) {
        if let ThrottleDecision::Allow(attempt) = check.decision {
            self.throttle.record_failure(attempt, now);
            self.queue.unpark();
        }
    }
}
