//! The logins of sessions, compared with the accounts after each reload. Plain data.
//!
//! The rule: a session ends if its user may no longer log in with the same password, or reaches other mail. A turn of the loop
//! compares some of them. Each request of HTTP has its own login, so of these sessions only streams of events end.

use std::mem;

use crate::{
    accounts::{Accounts, LoginRights},
    capacity::{GradualMap, Shrinker},
    proto::request::ConnId,
};

#[derive(Debug, Default)]
pub(super) struct SessionLogins {
    logins: GradualMap<ConnId, Login>,
    /// Sessions that are still to be compared.
    unchecked: Vec<ConnId>,
    /// Sessions to end.
    revoked: Vec<ConnId>,
}

/// The last login of a session.
#[derive(Debug, Clone)]
pub(super) struct Login {
    /// The name that the client gave.
    user: String,
    /// The rights against which the password was checked.
    rights: LoginRights,
    /// Whether the session streams events, which depend on more rights.
    is_stream: bool,
}

impl Login {
    pub(super) fn new(user: &str, rights: LoginRights) -> Self {
        Self { user: user.to_owned(), rights, is_stream: false }
    }

    /// The same for a login that has not replaced the hash of its user.
    pub(super) fn without_upgrade(self) -> Self {
        Self { rights: self.rights.without_upgrade(), ..self }
    }

    /// Compares the login with the accounts. Returns whether it is still valid.
    fn renew(&mut self, accounts: &Accounts) -> bool {
        let now = accounts.login_rights(&self.user);
        let is_same_stream = !self.is_stream || self.rights.is_admin == now.is_admin;
        let is_valid = is_same_stream && self.rights.still_allows(&now);
        if is_valid {
            self.rights = self.rights.renewed(now); // with the hash that has replaced one of another server
        }
        is_valid
    }
}

impl SessionLogins {
    /// A user has logged in. Returns false if the login is not valid, because the accounts have changed while a worker checked the
    /// password.
    #[must_use]
    pub(super) fn begin(&mut self, id: ConnId, mut login: Login, accounts: &Accounts) -> bool {
        let is_valid = login.renew(accounts);
        if is_valid {
            self.logins.insert(id, login);
        }
        is_valid
    }

    /// The session streams events to its user, if it has one.
    pub(super) fn begin_stream(&mut self, id: ConnId) {
        if let Some(login) = self.logins.get_mut(&id) {
            login.is_stream = true;
        }
    }

    /// The connection is closed, or its next request of HTTP logs in: the last login must not end that one.
    pub(super) fn end(&mut self, id: ConnId) {
        self.logins.remove(&id);
        self.revoked.retain(|revoked| *revoked != id);
    }

    /// Other accounts are in force.
    pub(super) fn accounts_changed(&mut self) {
        self.unchecked = self.logins.iter().map(|(id, _)| *id).collect();
    }

    /// Whether [`SessionLogins::check`] must be called in the next turn.
    pub(super) fn has_unchecked(&self) -> bool {
        !self.unchecked.is_empty()
    }

    /// Compares some of the logins.
    pub(super) fn check(&mut self, accounts: &Accounts) {
        let rest = self.unchecked.len().saturating_sub(MAX_CHECKED_PER_TURN);
        for id in self.unchecked.split_off(rest) {
            self.compare(id, accounts);
        }
    }

    /// A session ends once: an idle connection of HTTP stays open, and its next request logs in anew.
    fn compare(&mut self, id: ConnId, accounts: &Accounts) {
        if self.logins.get_mut(&id).is_some_and(|login| !login.renew(accounts)) {
            self.logins.remove(&id);
            self.revoked.push(id);
        }
    }

    /// Removes and returns the sessions to end.
    pub(super) fn take_revoked(&mut self) -> Vec<ConnId> {
        mem::take(&mut self.revoked)
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.logins);
    }
}

/// Logins that are compared in a turn, and at most as many sessions end: a few milliseconds.
const MAX_CHECKED_PER_TURN: usize = 200;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::accounts::Sources;

    /// The sessions that end at a reload of these accounts.
    fn ended(logins: &mut SessionLogins, accounts: &Accounts) -> Vec<u64> {
        logins.accounts_changed();
        let mut ended = Vec::new();
        while logins.has_unchecked() {
            logins.check(accounts);
            let revoked = logins.take_revoked();
            assert!(revoked.len() <= MAX_CHECKED_PER_TURN);
            ended.extend(revoked.into_iter().map(|id| id.0));
        }
        ended.sort_unstable();
        ended
    }

    fn begin(logins: &mut SessionLogins, id: u64, user: &str, accounts: &Accounts) {
        assert!(logins.begin(ConnId(id), Login::new(user, accounts.login_rights(user)), accounts));
    }

    /// The accounts of a file with these entries.
    fn accounts(entries: &[(&str, &str, &str)]) -> Accounts {
        accounts_of(false, entries)
    }

    fn accounts_of(keep_hashes: bool, entries: &[(&str, &str, &str)]) -> Accounts {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users.json");
        let entry = |(name, hash, more): &(&str, &str, &str)| {
            format!("\"{name}@a.test\": {{\"password_hash\": \"{hash}\"{more}}}")
        };
        let entries: Vec<String> = entries.iter().map(entry).collect();
        fs::write(&users, format!("{{{}}}", entries.join(","))).unwrap();
        Sources { users, domains: vec!["a.test".into()], keep_hashes, ..Sources::default() }.load().unwrap()
    }

    #[test]
    fn v99_n155_the_sessions_of_accounts_that_have_changed_end_some_in_a_turn() {
        let (any, ours) = (Accounts::accept_all(&[]), Accounts::accept_all_in(&["a.test".to_owned()]));
        let mut logins = SessionLogins::default();
        begin(&mut logins, 2, "ann@a.test", &any);
        (3..1000).for_each(|id| begin(&mut logins, id, "bob@b.test", &any));
        logins.end(ConnId(3));
        assert!(ended(&mut logins, &any).is_empty());
        assert_eq!(ended(&mut logins, &ours), (4..1000).collect::<Vec<_>>());
    }

    #[test]
    fn n155_a_session_ends_with_its_account_or_password_and_not_with_the_upgrade_of_a_hash() {
        let before = accounts(&[
            ("ann", OLD, ""),
            ("bob", OLD, ", \"addresses\": [\"b@a.test\"]"),
            ("carl", OLD, ""),
            ("dora", OLD, ""),
            ("eve", MD5, ""),
            ("fred", OLD, ""),
        ]);
        let mut logins = SessionLogins::default();
        let users = ["ann", "ann@a.test", "bob", "b@a.test", "carl", "dora", "eve", "fred"];
        (1..).zip(users).for_each(|(id, user)| begin(&mut logins, id, user, &before));
        let after = |eve: &str| {
            accounts(&[
                ("ann", OLD, ", \"quota\": {\"messages\": 5}"),
                ("bob", OLD, ", \"disabled\": true"),
                ("dora", NEW, ""),
                ("eve", eve, ""),
                ("fred", OLD, ", \"inbox\": \"other\""),
            ])
        };
        assert_eq!(ended(&mut logins, &after(OLD)), [3, 4, 5, 6, 8]);
        assert_eq!(ended(&mut logins, &after(NEW)), [7], "the password has changed after the upgrade");
    }

    #[test]
    fn n155_a_login_that_a_worker_checked_against_former_accounts_is_refused() {
        let (before, after) =
            (accounts(&[("ann", "!", "")]), accounts(&[("ann", "!", ", \"disabled\": true")]));
        let mut logins = SessionLogins::default();
        assert!(!logins.begin(ConnId(1), Login::new("ann", before.login_rights("ann")), &after));
        assert!(logins.take_revoked().is_empty() && ended(&mut logins, &before).is_empty());
    }

    #[test]
    fn n179_a_new_password_ends_a_session_whose_hash_could_not_be_replaced() {
        let before = accounts(&[("ann", MD5, "")]);
        let mut logins = SessionLogins::default();
        let login = Login::new("ann", before.login_rights("ann"));
        assert!(logins.begin(ConnId(1), login.clone().without_upgrade(), &before));
        assert!(logins.begin(ConnId(2), login, &before), "a login that replaces the hash");
        assert!(ended(&mut logins, &accounts(&[("ann", MD5, ""), ("bob", OLD, "")])).is_empty());
        assert_eq!(ended(&mut logins, &accounts(&[("ann", OLD, "")])), [1]);
    }

    #[test]
    fn n180_a_new_password_is_no_upgrade_for_a_session_that_began_without_upgrades() {
        let before = accounts_of(true, &[("ann", MD5, "")]);
        let mut logins = SessionLogins::default();
        begin(&mut logins, 1, "ann", &before);
        assert!(
            ended(&mut logins, &accounts(&[("ann", MD5, "")])).is_empty(),
            "only the setting has changed"
        );
        assert_eq!(ended(&mut logins, &accounts(&[("ann", OLD, "")])), [1]);
    }

    #[test]
    fn n184_a_login_is_revoked_once_and_not_for_the_next_request_of_its_connection() {
        let (before, after) = (accounts(&[("ann", OLD, "")]), accounts(&[("ann", NEW, "")]));
        let mut logins = SessionLogins::default();
        (1..3).for_each(|id| begin(&mut logins, id, "ann", &before));
        logins.accounts_changed();
        logins.check(&after);
        logins.end(ConnId(2));
        begin(&mut logins, 2, "ann", &after);
        assert_eq!(logins.take_revoked(), [ConnId(1)]);
        assert!(ended(&mut logins, &after).is_empty());
    }

    #[test]
    fn v99_a_stream_ends_with_the_right_to_the_mail_of_all_and_a_mail_session_goes_on() {
        let admin = accounts(&[("ann", "!", ", \"admin\": true")]);
        let mut logins = SessionLogins::default();
        (1..3).for_each(|id| begin(&mut logins, id, "ann", &admin));
        logins.begin_stream(ConnId(2));
        logins.begin_stream(ConnId(9));
        assert_eq!(ended(&mut logins, &accounts(&[("ann", "!", "")])), [2]);
    }

    /// Hashes of no known password.
    const OLD: &str = "$argon2id$v=19$m=64,t=1,p=1$c29tZSBzYWx0IQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g";
    const NEW: &str = "$argon2id$v=19$m=64,t=2,p=1$c29tZSBzYWx0IQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g";
    const MD5: &str = "5f4dcc3b5aa765d61d8327deb882cf99";
}
