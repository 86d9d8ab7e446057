//! The IMAP sessions of each user at each address. Plain data.
//!
//! The rule: a mail program has a handful of sessions, and many programs may share an address. So the sessions of a user are
//! bounded and not those of the address.

use std::net::IpAddr;

use crate::{
    capacity::{GradualMap, Shrinker},
    limits::client_prefix,
    proto::request::{ConnId, Mailbox},
};

#[derive(Debug, Default)]
pub(super) struct ImapLogins {
    users: GradualMap<ConnId, (Mailbox, IpAddr)>,
    counts: GradualMap<(Mailbox, IpAddr), usize>,
}

impl ImapLogins {
    /// A user logs in. Returns `false` if the user has `max` sessions from that address already; 0: no limit. Loopback has none,
    /// because a proxy or a web mail program there has the sessions of everybody.
    pub(super) fn begin(&mut self, id: ConnId, (user, peer): (&Mailbox, IpAddr), max: usize) -> bool {
        self.end(id);
        if max == 0 || peer.to_canonical().is_loopback() {
            return true;
        }
        let key = (user.clone(), client_prefix(peer));
        let count = self.counts.get_or_default(key.clone());
        if *count >= max {
            return false;
        }
        *count += 1;
        self.users.insert(id, key);
        true
    }

    /// The connection is closed.
    pub(super) fn end(&mut self, id: ConnId) {
        let Some(key) = self.users.remove(&id) else { return };
        if let Some(count) = self.counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key);
            }
        }
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.users).shrink(&mut self.counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y132_the_sessions_of_a_user_at_an_address_are_bounded_and_come_back_with_each_end() {
        let mut logins = ImapLogins::default();
        let mailbox = |name| Mailbox::named(name).unwrap();
        let mut begin =
            |id, name, peer: &str| logins.begin(ConnId(id), (&mailbox(name), peer.parse().unwrap()), 2);
        assert!(begin(1, "ann", "192.0.2.1") && begin(2, "ann", "::ffff:192.0.2.1"));
        assert!(!begin(3, "ann", "192.0.2.1"), "the third");
        assert!(begin(3, "ann", "192.0.2.2") && begin(4, "bob", "192.0.2.1"));
        assert!(
            begin(5, "ann", "2001:db8::1")
                && begin(6, "ann", "2001:db8::2")
                && !begin(7, "ann", "2001:db8::3")
        );
        assert!((10..20).all(|id| begin(id, "ann", "127.0.0.1")));
        assert!(begin(2, "ann", "192.0.2.1"), "the second one again, after its folders could not be made");
        logins.end(ConnId(1));
        logins.end(ConnId(1));
        assert!(logins.begin(ConnId(8), (&mailbox("ann"), "192.0.2.1".parse().unwrap()), 2));
        (1..20).for_each(|id| logins.end(ConnId(id)));
        assert!(logins.users.is_empty() && logins.counts.is_empty());
    }
}
