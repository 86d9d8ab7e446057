//! Logins: again and again to small and large mailboxes, the first one to files that other programs have made, and the
//! first one after a restart.
//!
//! No program checks a password. A login that comes again is all from the connection to the reply to QUIT, a first one
//! all from the connection to the reply to STAT. Each program has mailboxes of its own. The limit of a first login is a
//! stat of each file; the files, of 1 KiB, are in memory.

use std::{io, path::Path};

use crate::{
    Job,
    common::{
        Loader, Scratch, Server,
        dovecot_daemon::Dovecot,
        figures::{Better, Sample},
        foreign_mailbox::{Mailbox, millis},
        login_load::{self, LoggedIn},
        process, spool,
        table::count as in_words,
    },
    contest::{Contest, DOVECOT, Figure, Run},
};

pub(crate) fn measure(contest: &mut Contest, scratch: &mut Scratch) -> io::Result<()> {
    again(contest, scratch, 10, 4)?;
    again(contest, scratch, contest.scale.messages, 1)?;
    first(contest, scratch, contest.scale.messages)?;
    after_restart(contest, scratch, contest.scale.messages)
}

/// Login, STAT and QUIT: how many a second with several clients, and how long one takes with one client.
fn again(contest: &mut Contest, scratch: &mut Scratch, messages: usize, clients: usize) -> io::Result<()> {
    let (name, figure);
    if clients == 1 {
        name = format!("login, STAT and QUIT, {} messages, one client", in_words(messages));
        figure = Figure { name: &name, unit: "ms", better: Better::Lower };
    } else {
        name = format!("login, STAT and QUIT, {} messages, {clients} clients", in_words(messages));
        figure = Figure { name: &name, unit: "logins/s", better: Better::Higher };
    }
    if !contest.wants(&name) {
        return Ok(());
    }
    process::warn_if_busy()?;
    let users: Vec<String> = (0..clients).map(|number| format!("client{number}@example.test")).collect();
    let fill = |maildirs: &Path| -> io::Result<()> {
        users.iter().try_for_each(|user| Mailbox::named(maildirs, user.clone(), messages).map(drop))
    };
    let seconds = contest.scale.seconds;
    let run = |pid: u32, pop3| -> io::Result<Sample> {
        let job = login_load::Job { pop3, users: users.clone(), messages, seconds };
        let loader = Loader::start(&Job::Login(job))?;
        let used = process::cpu_of_tree(pid)?;
        let done: LoggedIn = loader.run()?;
        let rate = Sample::rate(done.logins, done.seconds, process::cpu_of_tree(pid)? - used);
        Ok(if clients == 1 { Sample { value: done.p50_ms, ..rate } } else { rate })
    };
    let dir = scratch.fresh()?;
    fill(&spool(&dir))?;
    let server = Server::dev(&dir)?;
    let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
    let dovecot = contest.dovecot(|| {
        fill(&maildirs)?;
        Dovecot::start(&home, &maildirs, None)
    });
    let dovecot =
        dovecot.map(|server| Box::new(move |_: &mut Scratch| run(server.pid(), server.pop3)) as Run<'_>);
    let ours: Run<'_> = Box::new(|_| run(server.pid(), server.pop3));
    contest.row(scratch, figure, ours, None, vec![(DOVECOT, dovecot)])?;
    contest.notes.insert("Login: no program checks a password".to_owned());
    Ok(())
}

/// The first login to files that other programs have made.
fn first(contest: &mut Contest, scratch: &mut Scratch, messages: usize) -> io::Result<()> {
    let name = format!("first login, {} files of other programs", in_words(messages));
    if !contest.wants(&name) {
        return Ok(());
    }
    process::warn_if_busy()?;
    let dir = scratch.fresh()?;
    let server = Server::dev(&dir)?;
    Mailbox::named(&spool(&dir), SMALL.to_owned(), 10)?.full_login(server.pop3)?;
    let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
    let dovecot = contest.dovecot(|| {
        let server = Dovecot::start(&home, &maildirs, None)?;
        Mailbox::named(&maildirs, SMALL.to_owned(), 10)?.full_login(server.pop3)?;
        Ok(server)
    });
    let new_mailbox = |maildirs: &Path, number: &mut usize| -> io::Result<Mailbox> {
        *number += 1;
        let mailbox = Mailbox::named(maildirs, format!("first{number}@example.test"), messages)?;
        // The kernel writes 20,000 files out now, and not while clients read them.
        rustix::fs::sync();
        Ok(mailbox)
    };
    let (mut ours, mut theirs, mut walked) = (0, 0, 0);
    let walks = scratch.fresh()?;
    let limit: Run<'_> = Box::new(|_| {
        let mailbox = new_mailbox(&walks, &mut walked)?;
        mailbox.walk(false).map(|taken| Sample { value: millis(taken), cpu_us: None })
    });
    let restante: Run<'_> = Box::new(|_| {
        let mailbox = new_mailbox(&spool(&dir), &mut ours)?;
        first_login(&mailbox, server.pid(), server.pop3)
    });
    let (theirs, maildirs) = (&mut theirs, &maildirs);
    let dovecot = dovecot.map(|server| {
        Box::new(move |_: &mut Scratch| {
            let mailbox = new_mailbox(maildirs, theirs)?;
            first_login(&mailbox, server.pid(), server.pop3)
        }) as Run<'_>
    });
    let figure = Figure { name: &name, unit: "ms", better: Better::Lower };
    contest.row(scratch, figure, restante, Some(limit), vec![(DOVECOT, dovecot)])?;
    contest.notes.insert(NOTE.to_owned());
    Ok(())
}

/// The first login of a server to a mailbox that an earlier one of the same program has read.
fn after_restart(contest: &mut Contest, scratch: &mut Scratch, messages: usize) -> io::Result<()> {
    let name = format!("first login after a restart, {} messages", in_words(messages));
    if !contest.wants(&name) {
        return Ok(());
    }
    process::warn_if_busy()?;
    let mailboxes = |maildirs: &Path| -> io::Result<[Mailbox; 2]> {
        Ok([
            Mailbox::named(maildirs, SMALL.to_owned(), 10)?,
            Mailbox::named(maildirs, "large@example.test".to_owned(), messages)?,
        ])
    };
    let dir = scratch.fresh()?;
    let [small, large] = mailboxes(&spool(&dir))?;
    large.full_login(Server::dev(&dir)?.pop3)?;
    let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
    let dovecot = contest.dovecot(|| {
        let mailboxes = mailboxes(&maildirs)?;
        mailboxes[1].full_login(Dovecot::start(&home, &maildirs, None)?.pop3)?;
        Ok(mailboxes)
    });
    let limit: Run<'_> =
        Box::new(|_| large.walk(false).map(|taken| Sample { value: millis(taken), cpu_us: None }));
    let restante: Run<'_> = Box::new(|_| {
        let server = Server::dev(&dir)?;
        small.full_login(server.pop3)?; // what the first login of all costs is not the mailbox's
        first_login(&large, server.pid(), server.pop3)
    });
    let dovecot = dovecot.map(|[small, large]| {
        Box::new(move |_: &mut Scratch| {
            let server = Dovecot::start(&home, &maildirs, None)?;
            small.full_login(server.pop3)?;
            first_login(&large, server.pid(), server.pop3)
        }) as Run<'_>
    });
    let figure = Figure { name: &name, unit: "ms", better: Better::Lower };
    contest.row(scratch, figure, restante, Some(limit), vec![(DOVECOT, dovecot)])?;
    contest.notes.insert(NOTE.to_owned());
    Ok(())
}

fn first_login(mailbox: &Mailbox, pid: u32, pop3: std::net::SocketAddr) -> io::Result<Sample> {
    let used = process::cpu_of_tree(pid)?;
    let taken = mailbox.full_login(pop3)?;
    let used = process::cpu_of_tree(pid)? - used;
    Ok(Sample { value: millis(taken), cpu_us: Some(used.as_secs_f64() * 1e6) })
}

const SMALL: &str = "small@example.test";
const NOTE: &str = "First login: from the connection to the reply to STAT; the files, of 1 KiB, are in memory; the limit is \
     a stat of each file";
