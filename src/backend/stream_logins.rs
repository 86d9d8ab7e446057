//! The logins of streams of events, compared with the accounts after each reload. Plain data.
//!
//! The rule: a stream ends if its user may no longer log in with the same password, or reaches other mail. A turn of the loop
//! compares some of them.

use std::{collections::HashMap, mem};

use crate::{
    accounts::{Accounts, LoginRights},
    capacity::Shrinker,
    proto::request::ConnId,
};

#[derive(Debug, Default)]
pub(super) struct StreamLogins {
    /// The users of streams, and their rights when the streams began.
    logins: HashMap<ConnId, (String, LoginRights)>,
    /// Streams that are still to be compared.
    unchecked: Vec<ConnId>,
    /// Streams to end.
    revoked: Vec<ConnId>,
}

impl StreamLogins {
    /// A stream begins. Without a login it has no user.
    pub(super) fn begin(&mut self, id: ConnId, user: Option<String>, accounts: &Accounts) {
        if let Some(user) = user {
            let rights = accounts.login_rights(&user);
            self.logins.insert(id, (user, rights));
        }
    }

    pub(super) fn end(&mut self, id: ConnId) {
        self.logins.remove(&id);
    }

    /// Other accounts are in force.
    pub(super) fn accounts_changed(&mut self) {
        self.unchecked = self.logins.keys().copied().collect();
    }

    /// Whether [`StreamLogins::check`] must be called in the next turn.
    pub(super) fn has_unchecked(&self) -> bool {
        !self.unchecked.is_empty()
    }

    /// Compares some of the streams.
    pub(super) fn check(&mut self, accounts: &Accounts) {
        for id in self.unchecked.drain(self.unchecked.len().saturating_sub(MAX_CHECKED_PER_TURN)..) {
            let Some((user, rights)) = self.logins.get(&id) else { continue };
            if accounts.login_rights(user) != *rights {
                self.revoked.push(id);
            }
        }
    }

    /// Removes and returns the streams to end.
    pub(super) fn take_revoked(&mut self) -> Vec<ConnId> {
        mem::take(&mut self.revoked)
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.logins);
    }
}

/// Streams that are compared in a turn: less than a millisecond.
const MAX_CHECKED_PER_TURN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v99_the_streams_of_accounts_that_have_changed_end_some_in_a_turn() {
        let (any, ours) = (Accounts::accept_all(&[]), Accounts::accept_all_in(&["a.test".to_owned()]));
        let mut logins = StreamLogins::default();
        logins.begin(ConnId(1), None, &any);
        logins.begin(ConnId(2), Some("ann@a.test".into()), &any);
        (3..1000).for_each(|id| logins.begin(ConnId(id), Some("bob@b.test".into()), &any));
        logins.accounts_changed();
        logins.end(ConnId(3));
        let mut ended = Vec::new();
        while logins.has_unchecked() {
            logins.check(&ours);
            let revoked = logins.take_revoked();
            assert!(revoked.len() <= MAX_CHECKED_PER_TURN);
            ended.extend(revoked);
        }
        ended.sort_unstable();
        assert_eq!(ended, (4..1000).map(ConnId).collect::<Vec<_>>());
    }
}
