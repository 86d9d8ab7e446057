//! Memory of connections to POP3 that have asked for CAPA and say nothing more, in clear text and under TLS, and of IMAP
//! sessions in IDLE.
//!
//! It is the growth of all processes of the server, from [`FIRST`] connections on, because the first connections also
//! allocate memory that all share. The kernel's own memory for sockets is not in it. Dovecot has a process for each
//! IMAP session, so it has fewer of them, and a page that its processes share counts once.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use crate::{
    common::{
        Scratch, Server, client,
        dovecot_daemon::{Certificate, Dovecot},
        figures::{Better, Sample},
        imap_client::Imap,
        imap_idle::{self, MAILBOXES},
        process, spool,
        table::count as in_words,
        tls::{tls_session, trust},
    },
    contest::{Contest, DOVECOT, Figure, Run},
};

pub(crate) fn measure(contest: &mut Contest, scratch: &mut Scratch) -> io::Result<()> {
    let limit = process::raise_descriptor_limit()?;
    let connections = process::connections_within(limit, contest.scale.connections);
    if connections == 0 {
        contest.notes.insert(format!("Memory is not measured: {limit} descriptors are too few"));
        return Ok(());
    }
    for (name, with_tls) in [
        (format!("resident for one of {} idle connections", in_words(connections)), false),
        (format!("resident for one of {} idle connections under TLS", in_words(connections)), true),
    ] {
        if !contest.wants(&name) {
            continue;
        }
        let dovecot = contest.dovecot(|| {
            let run: Run<'_> = Box::new(|scratch| {
                let (home, maildirs, keys) = (scratch.fresh()?, scratch.fresh()?, scratch.fresh()?);
                // restante makes a certificate for both.
                let certificate = with_tls.then(|| certificate(&keys)).transpose()?;
                let server = Dovecot::start(&home, &maildirs, certificate.as_ref())?;
                let address = if with_tls { server.pop3s } else { server.pop3 };
                growth(server.pid(), address, with_tls.then_some(&keys), connections)
            });
            Ok(run)
        });
        let ours: Run<'_> = Box::new(|scratch| {
            let dir = scratch.fresh()?;
            let server = if with_tls { Server::dev_with_tls(&dir) } else { Server::dev(&dir) }?;
            let pop3s = server.pop3s.filter(|_| with_tls);
            growth(server.pid(), pop3s.unwrap_or(server.pop3), with_tls.then_some(&dir), connections)
        });
        let figure = Figure { name: &name, unit: "octets", better: Better::Lower };
        contest.row(scratch, figure, ours, None, vec![(DOVECOT, dovecot)])?;
        contest.notes.insert(
            "Memory: POP3 connections before the login that have asked for CAPA; the growth of all processes of the server"
                .to_owned(),
        );
    }
    idle(contest, scratch, connections)
}

/// IMAP sessions in IDLE, in [`MAILBOXES`] mailboxes.
fn idle(contest: &mut Contest, scratch: &mut Scratch, connections: usize) -> io::Result<()> {
    let sessions = imap_idle::sessions_within(connections);
    let theirs = sessions.min(DOVECOT_SESSIONS);
    let name = format!("resident for one of {} IMAP sessions in IDLE", in_words(sessions));
    if !contest.wants(&name) {
        return Ok(());
    }
    let run = |pid: u32, imap: SocketAddr, maildirs: &Path, sessions: usize| -> io::Result<Sample> {
        imap_idle::fill_mailboxes(maildirs)?;
        let users = imap_idle::users();
        let mut users = users.iter().cycle();
        let mut connect = || imap_idle::idle(imap, users.next().map_or("", |user| user));
        let first = (0..FIRST).map(|_| connect()).collect::<io::Result<Vec<Imap>>>()?;
        let before = process::share_of_tree(pid)?;
        let sessions = (0..sessions).map(|_| connect()).collect::<io::Result<Vec<Imap>>>()?;
        let after = process::share_of_tree(pid)?;
        let value = after.saturating_sub(before) as f64 / sessions.len() as f64;
        drop((first, sessions));
        Ok(Sample { value, cpu_us: None })
    };
    let dovecot = contest.dovecot(|| {
        let run: Run<'_> = Box::new(|scratch| {
            let (home, maildirs) = (scratch.fresh()?, scratch.fresh()?);
            let server = Dovecot::start(&home, &maildirs, None)?;
            run(server.pid(), server.imap, &maildirs, theirs)
        });
        Ok(run)
    });
    let ours: Run<'_> = Box::new(|scratch| {
        let dir = scratch.fresh()?;
        let server = Server::dev(&dir)?;
        run(server.pid(), server.imap()?, &spool(&dir), sessions)
    });
    let figure = Figure { name: &name, unit: "octets", better: Better::Lower };
    contest.row(scratch, figure, ours, None, vec![(DOVECOT, dovecot)])?;
    contest.notes.insert(format!(
        "Memory in IDLE: sessions in {MAILBOXES} mailboxes of 10 messages; Dovecot has {theirs} sessions, each a process, and a \
         page that several processes have counts once"
    ));
    Ok(())
}

/// Octets that the server grows by for each of so many connections.
fn growth(
    pid: u32,
    address: SocketAddr,
    keys: Option<&impl AsRef<Path>>,
    connections: usize,
) -> io::Result<Sample> {
    match keys {
        None => growth_by(pid, connections, || plain_session(address)),
        Some(keys) => {
            let config = trust(&keys.as_ref().join("certificate.pem"))?;
            growth_by(pid, connections, || tls_session(address, &config, b"CAPA\r\n", b"\r\n.\r\n"))
        }
    }
}

fn growth_by<Session>(
    pid: u32,
    connections: usize,
    connect: impl Fn() -> io::Result<Session>,
) -> io::Result<Sample> {
    let first = (0..FIRST).map(|_| connect()).collect::<io::Result<Vec<Session>>>()?;
    let before = process::resident_of_tree(pid)?;
    let sessions = (0..connections).map(|_| connect()).collect::<io::Result<Vec<Session>>>()?;
    let after = process::resident_of_tree(pid)?;
    drop((first, sessions));
    Ok(Sample { value: after.saturating_sub(before) as f64 / connections as f64, cpu_us: None })
}

/// A connection that has asked for CAPA.
fn plain_session(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let mut session = client::connect(address, 512)?;
    let mut line = String::new();
    session.read_line(&mut line)?;
    session.get_mut().write_all(b"CAPA\r\n")?;
    while line != ".\r\n" {
        line.clear();
        if session.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(session)
}

/// A certificate and its key, made by `restante cert`.
fn certificate(dir: &Path) -> io::Result<Certificate> {
    let made = crate::common::restante().args(["cert", "--self-signed"]).arg(dir).output()?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    Ok(Certificate { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") })
}

/// Connections that stand before the count begins.
const FIRST: usize = 50;
/// Sessions of Dovecot in IDLE: each is a process.
const DOVECOT_SESSIONS: usize = 300;
