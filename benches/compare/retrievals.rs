//! RETR after RETR by four sessions with a mailbox each, of files that are in memory.
//!
//! Each program has a copy of the mailboxes of its own. The limit is a thread for each connection that opens the file asked
//! for, reads it and writes it to the socket as it is.

use std::{io, time::Duration};

use crate::{
    Job,
    common::{
        Loader, Scratch, Server,
        dovecot_daemon::Dovecot,
        figures::{Better, Sample},
        plain_server::serve_plainly,
        pop3_load::{self, Fetched, LARGE, MAILDROPS, SMALL, Source},
        process, spool,
    },
    contest::{Contest, DOVECOT, Figure, Run},
};

pub(crate) fn measure(contest: &mut Contest, scratch: &mut Scratch) -> io::Result<()> {
    let rows = [(SMALL, "RETR, 4 KiB, 4 sessions", "messages/s"), (LARGE, "RETR, 5 MiB, 4 sessions", "MB/s")];
    let seconds = contest.scale.seconds;
    for (maildrop, name, unit) in rows {
        if !contest.wants(name) {
            continue;
        }
        process::warn_if_busy()?;
        let run = |cpu: &dyn Fn() -> io::Result<Duration>, from: Source| -> io::Result<Sample> {
            let job = pop3_load::Job { from, maildrop, sessions: SESSIONS, seconds };
            let loader = Loader::start(&Job::Fetch(job))?;
            let used = cpu()?;
            let fetched: Fetched = loader.run()?;
            let used = cpu()? - used;
            let rate = Sample::rate(fetched.messages, fetched.seconds, used);
            Ok(if maildrop == SMALL { rate } else { Sample { value: fetched.rate(), ..rate } })
        };
        let dir = scratch.fresh()?;
        MAILDROPS[maildrop].fill(&spool(&dir), SESSIONS)?;
        let server = Server::dev(&dir)?;
        let plain = serve_plainly(spool(&dir))?;
        let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
        let dovecot = contest.dovecot(|| {
            MAILDROPS[maildrop].fill(&maildirs, SESSIONS)?;
            Dovecot::start(&home, &maildirs, None)
        });
        let dovecot = dovecot.map(|server| {
            Box::new(move |_: &mut Scratch| {
                run(&|| process::cpu_of_tree(server.pid()), Source::Pop3(server.pop3))
            }) as Run<'_>
        });
        contest.row(
            scratch,
            Figure { name, unit, better: Better::Higher },
            Box::new(|_| run(&|| process::cpu_of_tree(server.pid()), Source::Pop3(server.pop3))),
            // The plain server is threads of ours; the clients are a process of their own.
            Some(Box::new(|_| run(&|| process::cpu(std::process::id()), Source::Plain(plain)))),
            vec![(DOVECOT, dovecot)],
        )?;
        contest.notes.insert(
            "RETR: one after the other, from files in memory; the limit is a thread for each connection that reads the \
             file and writes it to the socket as it is"
                .to_owned(),
        );
    }
    Ok(())
}

const SESSIONS: usize = 4;
