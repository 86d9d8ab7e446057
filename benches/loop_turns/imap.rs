//! Inputs of IMAP: commands on all messages of a mailbox, and many sessions at once in one mailbox.

use std::{fs, io};

use crate::{
    Case,
    common::{configured::PASSWORD, imap_client::Imap},
    mailboxes::apart,
    world::{MOST_SESSIONS, Setup, USER, World},
};

pub(crate) const CASES: &[Case] = &[
    commands("IMAP flags", |world, size| {
        world.asked(
            size,
            &["FETCH 1:* (FLAGS)", "STORE 1:* +FLAGS.SILENT (\\Seen)", "STORE 1:* -FLAGS (\\Seen)"],
        )
    }),
    commands("IMAP whole messages", |world, size| world.asked(size, &["FETCH 1:* BODY.PEEK[]"])),
    commands("IMAP structures", |world, size| world.asked(size, &["FETCH 1:* (ENVELOPE BODYSTRUCTURE)"])),
    commands("IMAP SEARCH", |world, size| world.asked(size, &["SEARCH NOT TEXT absent", "UID SEARCH ALL"])),
    commands("IMAP MOVE", |world, size| world.asked(size, &["MOVE 1:* Archive"])),
    commands("IMAP EXPUNGE", |world, size| {
        world.asked(size, &["STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"])
    }),
    commands("IMAP sessions that fetch", |world, size| {
        (0..FETCHED).try_for_each(|n| fs::write(world.file("cur", &apart(n)), "text\n".repeat(800)))?;
        let mut sessions = world.selected(size)?;
        sessions.iter_mut().try_for_each(|session| session.send(FETCH))?;
        sessions.iter_mut().try_for_each(|session| session.until_done(FETCH).map(drop))
    }),
    commands("IMAP sessions in IDLE", |world, size| {
        let mut sessions = world.selected(size)?;
        sessions.iter_mut().try_for_each(Imap::idle)?;
        for n in 0..DELIVERIES {
            fs::write(world.file("tmp", &apart(n)), "Subject: x\n\ntext\n")?;
            fs::rename(world.file("tmp", &apart(n)), world.file("new", &apart(n)))?;
        }
        sessions.iter_mut().try_for_each(|session| session.until_exists(DELIVERIES as u64))
    }),
];

const fn commands(name: &'static str, run: fn(&World, usize) -> io::Result<()>) -> Case {
    let setup: fn(&mut Setup, usize) = |setup, _| setup.with_imap = true;
    Case::new(name, run).with(setup)
}

impl World {
    fn imap(&self, buffer: usize) -> io::Result<Imap> {
        let address = self.server.imap.ok_or_else(|| io::Error::other("the server has no IMAP"))?;
        let mut session = Imap::login_with_password(address, USER, PASSWORD, buffer)?;
        session.command("SELECT INBOX")?;
        Ok(session)
    }

    /// Gives these commands in a mailbox of so many messages.
    fn asked(&self, size: usize, commands: &[&str]) -> io::Result<()> {
        self.fill("cur", size, apart)?;
        let mut session = self.imap(64 * 1024)?;
        commands.iter().try_for_each(|command| session.command(command).map(drop))
    }

    /// So many sessions in one mailbox.
    fn selected(&self, size: usize) -> io::Result<Vec<Imap>> {
        (0..size.min(MOST_SESSIONS)).map(|_| self.imap(512)).collect()
    }
}

/// Messages that each session fetches.
const FETCHED: usize = 50;
const FETCH: &str = "FETCH 1:* BODY.PEEK[]";
const DELIVERIES: usize = 20;
