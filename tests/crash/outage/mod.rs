//! Common parts of the tests of sudden ends: a load of many sessions, a ledger of the server's promises
//! to them, and a check of the result. `power_cut` takes the file system away under the server,
//! `kill_loop` only the process.

pub(crate) mod check;
pub(crate) mod imap;
pub(crate) mod ledger;
pub(crate) mod letters;
pub(crate) mod load;
pub(crate) mod wire;

use std::{
    io,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use crate::common::Server;
pub(crate) use crate::common::dice::{Dice, number};
use imap::{ledger::User, wire::ImapWire};
use load::{Addresses, Focus};
use wire::Wire;

/// A broken rule.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// The rule that it breaks, in one or two words.
    pub(crate) what: &'static str,
    /// The finding, and its place.
    pub(crate) text: String,
}

impl Wrong {
    pub(crate) fn new(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, text: text.into() }
    }
}

/// Starts the server again, and returns the time until it greeted a client.
pub(crate) fn restart(server: &mut Server) -> Result<Duration, Wrong> {
    let began = Instant::now();
    server.restart();
    let failed = |error| Wrong::new("no greeting", format!("{error}"));
    let (code, _) = Wire::connect(server.smtp()).and_then(|mut wire| wire.reply()).map_err(failed)?;
    if code == 220 { Ok(began.elapsed()) } else { Err(Wrong::new("no greeting", code.to_string())) }
}

/// The users of IMAP, before their first session.
pub(crate) fn users() -> Vec<Mutex<User>> {
    (0..imap::USERS).map(|_| Mutex::new(User::new())).collect()
}

/// Makes the mailboxes of these users and the folders that each of them has.
pub(crate) fn prepare(server: &Server) -> io::Result<()> {
    let address = Addresses::of(server).imap;
    (0..imap::USERS).try_for_each(|number| ImapWire::login(address, &imap::mailbox(number)).map(drop))
}

/// The changes by IMAP that were confirmed: all, or those of one kind.
pub(crate) fn changes(users: &[Mutex<User>], kind: Option<Focus>) -> usize {
    let of = |user: &User| {
        let counted = user.confirmed.iter().filter(|(of, _)| kind.is_none_or(|kind| **of == kind));
        counted.map(|(_, count)| count).sum::<usize>()
    };
    users.iter().map(|user| of(&user.lock().unwrap())).sum()
}

/// Waits until so many more changes were confirmed, or for some seconds if the machine is too slow.
pub(crate) fn await_changes(users: &[Mutex<User>], kind: Option<Focus>, count: usize) {
    let (before, began) = (changes(users, kind), Instant::now());
    while changes(users, kind) < before + count && began.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_micros(300));
    }
}
