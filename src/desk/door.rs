//! The desk's door: who may have a password checked, what became of it, and when that may be said.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::{Desk, Which};
use crate::{
    accounts::{Mark, Memory, Tries, UserFile, Verdict},
    limits::Limits,
    proto::ask::{Answer, ConnId, Fault, Secret},
    work::job::Task,
};

/// What is known of those who come in.
pub(super) struct Door {
    memory: Memory,
    tries: Tries,
    /// Where the connections come from.
    peers: HashMap<ConnId, IpAddr>,
    checks: HashMap<ConnId, Check>,
}

/// A password that is being checked.
struct Check {
    mark: Mark,
    since: Duration,
}

impl Door {
    pub(super) fn new(key: &[u8; 32], limits: &Limits) -> Self {
        Self {
            memory: Memory::new(key, limits.login_memory.0, limits.login_memories),
            tries: Tries::new(limits),
            peers: HashMap::new(),
            checks: HashMap::new(),
        }
    }

    /// Other limits are in force from now on. Addresses that wrong passwords came from stay known.
    pub(super) fn follow(&mut self, limits: &Limits) {
        self.memory.follow(limits.login_memory.0, limits.login_memories);
        self.tries.follow(limits);
    }

    pub(super) fn forget(&mut self, id: ConnId) {
        self.peers.remove(&id);
        self.checks.remove(&id);
    }
}

impl Desk {
    /// A connection comes from there: for the delays and limits of wrong passwords.
    pub fn enter(&mut self, id: ConnId, peer: IpAddr) {
        self.door.peers.insert(id, peer);
    }

    pub(super) fn verify(&mut self, from: ConnId, user: &str, password: Secret) -> Option<Answer> {
        let (door, now) = (&mut self.door, self.now);
        let peer = door.peers.get(&from).copied();
        // Also where the password is remembered: else it could be guessed without end, and fast.
        if peer.is_some_and(|peer| !door.tries.are_allowed(peer, now)) {
            return Some(Answer::Failed(Fault::Busy));
        }
        let credential = self.accounts.credential(user);
        let mark = door.memory.mark(&credential, &password);
        if let Some(mailbox) = credential.mailbox.as_ref().filter(|_| door.memory.knows(&mark, now)) {
            peer.into_iter().for_each(|peer| door.tries.right(peer));
            return Some(Answer::Welcome(mailbox.clone()));
        }
        door.checks.insert(from, Check { mark, since: now });
        let users = self.accounts.sources.as_ref().map(|sources| UserFile::at(&sources.users));
        let task = Task::Verify { credential: Box::new(credential), password, users };
        self.submit(Which::Passwords, from, task, Fault::Busy)
    }

    pub(super) fn verified(&mut self, from: ConnId, verdict: Verdict) -> Answer {
        let (door, now) = (&mut self.door, self.now);
        let peer = door.peers.get(&from).copied();
        let check = door.checks.remove(&from);
        if verdict != Verdict::Wrong {
            peer.into_iter().for_each(|peer| door.tries.right(peer));
        }
        match verdict {
            // Counted from the question: how long the check took can't be seen.
            Verdict::Wrong => {
                let held = |Check { mark, since }| Some(since + door.tries.wrong(peer?, mark, now));
                let until = check.and_then(held).unwrap_or(now);
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
