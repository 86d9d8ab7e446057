//! Messages a second that become durable mail in 100 mailboxes.
//!
//! Each session sends message after message and waits for each `250`. restante and Postfix take them over SMTP, Dovecot
//! over LMTP. Postfix acknowledges a message when it is in its queue, so its clock stops when the last one has left the
//! queue. Every run has a server and directories of its own, and at its end the messages in the mailboxes are counted.
//! The limit is as many threads that do with the file system what makes a message durable.

use std::{cell::RefCell, io, net::SocketAddr, path::Path, time::Instant};

use crate::{
    Job,
    common::{
        Loader, Scratch, Server,
        client::Protocol,
        disk_alone::disk_alone,
        dovecot_daemon::Dovecot,
        figures::{Better, Sample, median},
        postfix_daemon::Postfix,
        process::{self, Processors},
        smtp_load::{self, MAILBOXES, Sent, stored},
        spool,
        table::size as in_words,
    },
    contest::{Contest, DOVECOT, Figure, POSTFIX, Run},
};

pub(crate) fn measure(contest: &mut Contest, scratch: &mut Scratch) -> io::Result<()> {
    let seconds = contest.scale.seconds;
    for (sessions, size) in SIZES {
        let connections = if sessions == 1 { "connection" } else { "connections" };
        let name = format!("stored, {}, {sessions} {connections}", in_words(size as u64));
        if !contest.wants(&name) {
            continue;
        }
        process::warn_if_busy()?;
        let figure = Figure { name: &name, unit: "messages/s", better: Better::Higher };
        let load = Load { sessions, size, seconds };
        let (ours_beside, limit_beside) = (RefCell::new(Beside::default()), RefCell::new(Beside::default()));
        let limit: Run<'_> = Box::new(|scratch| {
            let (before, dir) = (Processors::now()?, scratch.fresh()?);
            let sample = load.on_the_disk_alone(&dir)?;
            limit_beside.borrow_mut().idle.push(Processors::now()?.idle_since(&before) as f64);
            Ok(sample)
        });
        let ours: Run<'_> = Box::new(|scratch| {
            let dir = scratch.fresh()?;
            let server = Server::dev(&dir)?;
            let mut beside = ours_beside.borrow_mut();
            load.on(server.pid(), server.smtp, Protocol::Smtp, &spool(&dir), || Ok(()), Some(&mut beside))
        });
        let dovecot = contest.dovecot(|| {
            let run: Run<'_> = Box::new(|scratch| {
                let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
                let server = Dovecot::start(&home, &maildirs, None)?;
                load.on(server.pid(), server.lmtp, Protocol::Lmtp, &maildirs, || Ok(()), None)
            });
            Ok(run)
        });
        let postfix = contest.postfix(|| {
            let run: Run<'_> = Box::new(|scratch| {
                let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
                let server = Postfix::start(&home, &maildirs)?;
                load.on(server.pid(), server.smtp, Protocol::Smtp, &maildirs, || server.drain(), None)
            });
            Ok(run)
        });
        let besides = vec![(DOVECOT, dovecot), (POSTFIX, postfix)];
        contest.row(scratch, figure, ours, Some(limit), besides)?;
        let (ours, limit) = (ours_beside.take(), limit_beside.take());
        if let (Some(loader), Some(idle), Some(idle_at_limit)) = (ours.loader(), ours.idle(), limit.idle()) {
            contest.notes.insert(format!(
                "Processors, {name}: the load generator takes {loader:.0} µs for a message of restante, and {idle:.0} % of the time is \
                 idle; {idle_at_limit:.0} % at the limit"
            ));
        }
        contest.notes.insert(
            "Stored: a session waits for each 250, and the messages in the mailboxes are counted at the end; the limit is \
             as many threads that create, write, sync and rename a file and sync its directory, without a mail server"
                .to_owned(),
        );
    }
    Ok(())
}

/// The use of the processors by others than the server, run by run.
#[derive(Default)]
struct Beside {
    /// Microseconds of the load generator for one message.
    loader_us: Vec<f64>,
    /// Per cent of all time.
    idle: Vec<f64>,
}

impl Beside {
    fn loader(&self) -> Option<f64> {
        median(&mut self.loader_us.clone())
    }

    fn idle(&self) -> Option<f64> {
        median(&mut self.idle.clone())
    }
}

/// The same for each program.
#[derive(Clone, Copy)]
struct Load {
    sessions: usize,
    size: usize,
    seconds: f64,
}

impl Load {
    /// The load on a server, until it has `settled`.
    fn on(
        self,
        pid: u32,
        address: SocketAddr,
        protocol: Protocol,
        maildirs: &Path,
        settled: impl Fn() -> io::Result<()>,
        beside: Option<&mut Beside>,
    ) -> io::Result<Sample> {
        let Self { sessions, size, seconds } = self;
        let loader =
            Loader::start(&Job::Deliver(smtp_load::Job { address, protocol, sessions, size, seconds }))?;
        settled()?;
        let (used, processors) = (process::cpu_of_tree(pid)?, Processors::now()?);
        let (sent, loader_used): (Sent, _) = loader.run_measured()?;
        let sent_all = Instant::now();
        settled()?;
        let taken = sent.seconds + sent_all.elapsed().as_secs_f64();
        let used = process::cpu_of_tree(pid)? - used;
        sent.warn();
        if let Some(beside) = beside {
            beside.loader_us.push(loader_used.as_secs_f64() * 1e6 / sent.accepted as f64);
            beside.idle.push(Processors::now()?.idle_since(&processors) as f64);
        }
        let stored = stored(maildirs)?;
        if stored < sent.accepted + MAILBOXES as u64 {
            return Err(io::Error::other(format!("{} accepted and {stored} stored", sent.accepted)));
        }
        Ok(Sample::rate(sent.accepted, taken, used))
    }

    fn on_the_disk_alone(self, dir: &Path) -> io::Result<Sample> {
        let used = process::cpu(std::process::id())?;
        let (messages, seconds) = disk_alone(dir, self.seconds, self.size, self.sessions)?;
        Ok(Sample::rate(messages, seconds, process::cpu(std::process::id())? - used))
    }
}

/// Sessions, and octets of a message.
const SIZES: [(usize, usize); 4] = [(1, 4096), (16, 4096), (64, 4096), (16, 100 * 1024)];
