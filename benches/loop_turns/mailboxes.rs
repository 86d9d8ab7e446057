//! Inputs of one mailbox: its messages, what other programs do to them, and the commands of its owner.

use std::{fs, io, os::unix::fs::symlink, path::PathBuf, thread, time::Duration};

use crate::{
    Case,
    world::{World, command, pipelined},
};

pub(crate) const IDLE: &str = "nothing";

pub(crate) const CASES: &[Case] = &[
    Case::new(IDLE, |_, _| {
        thread::sleep(Duration::from_secs(2));
        Ok(())
    }),
    Case::new("first login", |world, size| world.found(size, apart)),
    Case::new("first login, one identity", |world, size| world.found(size, alike)),
    Case::new("renamed by another program", |world, size| world.renamed(size, apart)),
    Case::new("renamed, one identity", |world, size| world.renamed(size, alike)),
    Case::new("removed by another program", |world, size| world.removed(size, apart)),
    Case::new("removed, one identity", |world, size| world.removed(size, alike)),
    Case::new("come into new/ at once", |world, size| {
        world.watched(0)?;
        world.fill("tmp", size, apart)?;
        (0..size).try_for_each(|n| fs::rename(world.file("tmp", &apart(n)), world.file("new", &apart(n))))?;
        world.watched(size)
    }),
    Case::new("links, left out", |world, size| {
        (0..size).try_for_each(|n| symlink("/nowhere", world.file("cur", &apart(n))))?;
        world.watched(0)
    }),
    Case::new("LIST", |world, size| world.listed(size, "LIST")),
    Case::new("UIDL", |world, size| world.listed(size, "UIDL")),
    Case::new("TOP, pipelined", |world, size| {
        world.fill("cur", size, apart)?;
        let mut session = world.login()?;
        pipelined(&mut session, (1..=size).map(|n| format!("TOP {n} 0\r\n")).collect(), size, |line| {
            line == ".\r\n"
        })
    }),
    Case::new("NOOP, pipelined", |world, size| {
        let mut session = world.login()?;
        pipelined(&mut session, "NOOP\r\n".repeat(size), size, |line| line.starts_with("+OK"))
    }),
    Case::new("DELE of all, and QUIT", |world, size| {
        world.fill("cur", size, apart)?;
        let mut session = world.login()?;
        let commands = (1..=size).map(|n| format!("DELE {n}\r\n")).collect();
        pipelined(&mut session, commands, size, |line| line.starts_with("+OK"))?;
        command(&mut session, "QUIT")?;
        world.watched(0)
    }),
];

/// Names of a message each.
pub(crate) fn apart(n: usize) -> String {
    format!("{}.M1P1.bench.example.test:2,", 1_700_000_000 + n)
}

/// Names that all have the same identity.
fn alike(n: usize) -> String {
    format!("1700000000.same.host:2,a{n}")
}

impl World {
    pub(crate) fn file(&self, place: &str, name: &str) -> PathBuf {
        self.mailbox.join(place).join(name)
    }

    pub(crate) fn fill(&self, place: &str, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        (0..size).try_for_each(|n| fs::write(self.file(place, &name(n)), "Subject: x\n\ntext\n"))
    }

    fn found(&self, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        self.fill("cur", size, name)?;
        self.watched(size)
    }

    fn renamed(&self, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        self.found(size, name)?;
        let rename = |n| fs::rename(self.file("cur", &name(n)), self.file("cur", &(name(n) + "S")));
        (0..size).try_for_each(rename)?;
        self.watched(size)
    }

    fn removed(&self, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        self.found(size, name)?;
        (0..size).try_for_each(|n| fs::remove_file(self.file("cur", &name(n))))?;
        self.watched(0)
    }

    fn listed(&self, size: usize, list: &str) -> io::Result<()> {
        self.fill("cur", size, apart)?;
        let mut session = self.login()?;
        pipelined(&mut session, format!("{list}\r\n").repeat(LISTS), LISTS, |line| line == ".\r\n")
    }
}

/// Lists in one pipeline.
const LISTS: usize = 3;
