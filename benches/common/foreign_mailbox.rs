//! A mailbox whose files other programs have made, logins to it, and plain walks through it.

use std::{
    fs,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use rustix::fs::inotify;

use super::{
    client::{self, Pop3},
    maildir, message,
    table::percentile,
};

/// A mailbox with files as other programs name them: no name tells the octets on the wire.
pub(crate) struct Mailbox {
    pub(crate) user: String,
    pub(crate) path: PathBuf,
    /// Files there are, and the number of the next one.
    messages: AtomicUsize,
    pub(crate) text: Vec<u8>,
}

impl Mailbox {
    pub(crate) fn filled(maildirs: &Path, messages: usize) -> io::Result<Self> {
        Self::named(maildirs, format!("m{messages}@example.test"), messages)
    }

    pub(crate) fn named(maildirs: &Path, user: String, messages: usize) -> io::Result<Self> {
        let path = maildirs.join(&user);
        maildir(&path)?;
        let mailbox = Self { user, path, messages: AtomicUsize::new(messages), text: message(1024, "\n") };
        for number in 0..messages {
            fs::write(mailbox.path.join("new").join(Self::name(number)), &mailbox.text)?;
        }
        Ok(mailbox)
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }

    pub(crate) fn name(number: usize) -> String {
        format!("{}.M1P1.bench.example.test", 1_700_000_000 + number)
    }

    /// Delivers as other programs do; returns how long the rename took.
    pub(crate) fn receive(&self) -> io::Result<Duration> {
        let name = Self::name(self.messages());
        let written = self.path.join("tmp").join(&name);
        fs::write(&written, &self.text)?;
        let start = Instant::now();
        fs::rename(written, self.path.join("new").join(name))?;
        let taken = start.elapsed();
        self.messages.fetch_add(1, Ordering::Relaxed);
        Ok(taken)
    }

    /// Makes restante forget the sizes that it has kept.
    pub(crate) fn forget_sizes(&self) -> io::Result<()> {
        fs::remove_file(self.path.join(".restante.index"))
    }

    /// Does the work that a server without an index has at each login, and with `read` at the first one.
    pub(crate) fn walk(&self, read: bool) -> io::Result<Duration> {
        let (start, mut files, mut octets) = (Instant::now(), 0, Vec::new());
        for place in ["new", "cur"] {
            for entry in fs::read_dir(self.path.join(place))? {
                let entry = entry?;
                files += usize::from(entry.metadata()?.is_file());
                if read {
                    octets.clear();
                    fs::File::open(entry.path())?.read_to_end(&mut octets)?;
                }
            }
        }
        let taken = start.elapsed();
        self.expect(files)?;
        Ok(taken)
    }

    /// Returns the time of inotify_add_watch: the kernel goes through all names of the directory that it
    /// remembers, and if it can't be interrupted there, no other thread gets that processor meanwhile.
    pub(crate) fn watch(&self) -> io::Result<Duration> {
        let watcher = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        let start = Instant::now();
        inotify::add_watch(&watcher, self.path.join("new"), inotify::WatchFlags::ALL_EVENTS)?;
        Ok(start.elapsed())
    }

    /// Fails if a file is left after all messages were deleted.
    pub(crate) fn is_empty(&self) -> io::Result<()> {
        self.messages.store(0, Ordering::Relaxed);
        self.walk(false).map(drop)
    }

    pub(crate) fn expect(&self, seen: usize) -> io::Result<()> {
        match self.messages() {
            there if there == seen => Ok(()),
            there => Err(io::Error::other(format!("{}: {seen} messages seen of {there}", self.user))),
        }
    }

    /// Returns the time from the connection to the reply to STAT, and the number of messages in that reply.
    pub(crate) fn login(&self, pop3: SocketAddr) -> io::Result<(Duration, usize)> {
        let start = Instant::now();
        let mut session = Pop3::login(pop3, &self.user, "any password")?;
        let messages = client::number(session.command("STAT")?)?;
        let taken = start.elapsed();
        session.command("QUIT")?;
        Ok((taken, messages))
    }

    /// The same; an error if the login saw fewer messages than there were when it began.
    pub(crate) fn current_login(&self, pop3: SocketAddr) -> io::Result<Duration> {
        let there = self.messages();
        match self.login(pop3)? {
            (taken, seen) if seen >= there => Ok(taken),
            (_, seen) => Err(io::Error::other(format!("{}: {seen} messages seen of {there}", self.user))),
        }
    }

    /// The same; an error if the login did not see exactly the messages of the mailbox.
    pub(crate) fn full_login(&self, pop3: SocketAddr) -> io::Result<Duration> {
        let (taken, seen) = self.login(pop3)?;
        self.expect(seen)?;
        Ok(taken)
    }
}

/// Microseconds, in order.
pub(crate) struct Times(pub(crate) Vec<u32>);

impl Times {
    pub(crate) fn of(times: usize, mut measure: impl FnMut() -> io::Result<Duration>) -> io::Result<Self> {
        let taken: io::Result<Vec<u32>> = (0..times).map(|_| measure().map(micros)).collect();
        taken.map(Self::sorted)
    }

    pub(crate) fn sorted(mut taken: Vec<u32>) -> Self {
        taken.sort_unstable();
        Self(taken)
    }

    /// Milliseconds that this share took at most.
    pub(crate) fn at(&self, share: f64) -> f64 {
        percentile(&self.0, share) / 1e3
    }
}

pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
