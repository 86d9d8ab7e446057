//! The accounts and their aliases: two files, separated by an octet 0. They are accepted, or refused with a message;
//! each accepted account has a mailbox whose name is safe as that of a directory, and a change of one account leaves
//! the others as they are.

use restante::{accounts::{Sources, UserFile}, proto::{request::{AccountDirectory, Lookup, Mailbox}, smtp::address::Address}};

use super::owned;
use crate::{Target, scratch};

/// This target.
pub const TARGET: Target = Target { name: "accounts", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        r#"{"alice@here.test": {"password_hash": "!", "addresses": ["a@here.test"], "sent_copy": false},
            "bob@here.test": {"password_hash": "!", "inbox": "bobs", "disabled": true,
             "quota": {"bytes": "1 GiB", "messages": 1000}, "may_send_as": ["x@far.test", "*@far.test"]}}"#
            .to_owned()
            + "\0# all\nsales: alice, bob@here.test\nall@here.test: sales,\n  bob\n@here.test: alice\n",
        "{\"alice@here.test\": {\"password_hash\": \"5f4dcc3b5aa765d61d8327deb882cf99\"}}\0postmaster: alice\n".into(),
        "{\"a@here.test\": {\"password_hash\": \"$6$rounds=1000$x$y\"}}".into(),
        "{}\0a: b\nb: a\n".into(),
    ])
}

fn run(data: &[u8]) {
    // Lines of aliases cost time by the square of their length: little up to this bound, and much at a megabyte.
    let data = &data[..data.len().min(MOST)];
    let mut files = data.splitn(2, |octet| *octet == 0);
    let users = scratch::file("users.json", files.next().unwrap_or_default());
    let aliases = scratch::file("aliases", files.next().unwrap_or_default());
    let domains = vec!["here.test".to_owned(), "also.test".to_owned()];
    let sources = Sources { users: users.clone(), aliases: Some(aliases), domains, ..Sources::default() };
    let accounts = match sources.load() {
        Ok(accounts) => accounts,
        Err(error) => {
            let told = error.to_string();
            return assert!(!told.is_empty() && told.len() <= 4096 + 8 * data.len(), "{} octets", told.len());
        }
    };
    let file = UserFile::at(&users);
    let before = file.users().expect("it was read a moment ago");
    assert_eq!(accounts.count(), Some(before.len()));
    for (name, account) in &before {
        let mailbox = account.mailbox(name).expect("every account has a mailbox");
        assert!(Mailbox::named(mailbox.as_str()).is_some(), "{mailbox} may be a path");
        assert_eq!(*name, name.to_lowercase());
    }
    for local in ["alice", "bob+Sent", "sales", "postmaster", "nobody", "a"] {
        let address = Address::parse(&format!("{local}@here.test")).expect("an address");
        if let Lookup::Local(to) = accounts.lookup(&address) {
            assert!(!to.is_empty(), "{address} leads nowhere");
            let mut once: Vec<_> = to.iter().collect();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), to.len(), "{address} leads twice to one mailbox");
        }
        let foreign = Address::parse(&format!("{local}@far.test")).expect("an address");
        assert_eq!(accounts.lookup(&foreign), Lookup::Foreign);
    }
    let Some((name, first)) = before.first() else { return };
    file.set_disabled(name, !first.disabled).expect("a change");
    let after = file.users().expect("what we have written");
    assert_eq!(after[0].1.disabled, !first.disabled);
    assert_eq!(after[1..], before[1..], "another account has changed");
    file.set_disabled(name, first.disabled).expect("a change");
    assert_eq!(file.users().expect("what we have written"), before, "there and back is not the same");
}

/// Octets of both files.
const MOST: usize = 16 * 1024;
