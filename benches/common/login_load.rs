//! Login, STAT and QUIT, over and over, by clients with a mailbox each.

use std::{
    io,
    net::SocketAddr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    client::{self, Pop3},
    foreign_mailbox::micros,
    table::percentile,
};

/// The work of the clients.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) pop3: SocketAddr,
    /// The user of each client.
    pub(crate) users: Vec<String>,
    /// Messages that each finds in its mailbox.
    pub(crate) messages: usize,
    pub(crate) seconds: f64,
}

/// The logins that they made, each from the connection to the reply to QUIT.
#[derive(Serialize, Deserialize)]
pub(crate) struct LoggedIn {
    pub(crate) logins: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
}

/// The clients, a thread for each; each logs in once before the time begins.
pub(crate) fn load(job: &Job) -> io::Result<()> {
    let (ready, go) = (Barrier::new(job.users.len() + 1), Barrier::new(job.users.len() + 1));
    let login = |user: &str| -> io::Result<()> {
        let mut session = Pop3::login(job.pop3, user, "any password")?;
        let found = client::number(session.command("STAT")?)?;
        if found != job.messages {
            return Err(io::Error::other(format!("{user} has {found}, not {} messages", job.messages)));
        }
        session.command("QUIT").map(drop)
    };
    let client = |user: &str| -> io::Result<Vec<u32>> {
        let first = login(user);
        ready.wait();
        go.wait();
        first?;
        let (start, time, mut taken) = (Instant::now(), Duration::from_secs_f64(job.seconds), Vec::new());
        while start.elapsed() < time {
            let begun = Instant::now();
            login(user)?;
            taken.push(micros(begun.elapsed()));
        }
        Ok(taken)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = job.users.iter().map(|user| scope.spawn(|| client(user))).collect();
        ready.wait();
        super::ready();
        let start = Instant::now();
        go.wait();
        let taken = clients.into_iter().map(|thread| thread.join().expect("a thread that does not panic"));
        let mut taken = taken.collect::<io::Result<Vec<Vec<u32>>>>()?.concat();
        let seconds = start.elapsed().as_secs_f64();
        taken.sort_unstable();
        super::report(&LoggedIn {
            logins: taken.len() as u64,
            seconds,
            p50_ms: percentile(&taken, 0.5) / 1e3,
        })
    })
}
