//! The resources of the server under little load.
//!
//! Measured: the time from exec to the first banner; the memory of 0, 1,000 and up to 10,000 SMTP sessions that said
//! EHLO and are silent, in clear text and under TLS, and of as many IMAP sessions in IDLE, and the memory that remains
//! after they have gone; the growth of the peak memory while a message of 200 MB is delivered, and while it is fetched
//! by a client that reads slowly: the server must hold neither. Beside each figure stands the one without load.
//!
//! `cargo bench --bench footprint [-- --quick]`. The kernel's own memory for sockets is in none of these.

mod common;

use std::{
    cell::Cell,
    io::{self, BufRead},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use common::{
    Scratch, Server, Settings,
    client::{self, Pop3, Smtp},
    configured::{self, PASSWORD, listener},
    imap_client::Imap,
    imap_idle, message,
    process::{self, Memory},
    spool,
    table::{Table, size as in_words},
    tls::{tls_session, trust},
};

fn main() -> io::Result<()> {
    let settings = Settings::load();
    let mut scratch = Scratch::new()?;
    println!("footprint: {}", scratch.describe());
    process::warn_if_busy()?;
    time_to_banner(&mut scratch, if settings.quick { 3 } else { 20 })?;
    let limit = process::raise_descriptor_limit()?;
    let counts = if settings.quick { [100, 1000] } else { [1000, 10_000] };
    let counts = &counts.map(|count| process::connections_within(limit, count));
    let server = Server::dev(&scratch.fresh()?)?;
    idle_sessions(&server, "SMTP sessions", counts, || Smtp::connect(server.smtp))?;
    drop(server);
    let home = scratch.fresh()?;
    let server = Server::dev_with_tls(&home)?;
    let smtps = server.smtps.ok_or_else(|| io::Error::other("no port for TLS"))?;
    let config = trust(&home.join("certificate.pem"))?;
    idle_sessions(&server, "under TLS", counts, || {
        tls_session(smtps, &config, b"EHLO client.example.test\r\n", b"\n250 ")
    })?;
    drop(server);
    let counts = &counts.map(imap_idle::sessions_within);
    let dir = scratch.fresh()?;
    let server = Server::dev(&dir)?;
    imap_idle::fill_mailboxes(&spool(&dir))?;
    let (imap, users) = (server.imap()?, imap_idle::users());
    // The memory of a mailbox is not a session's, so it is allocated before the count.
    let held = users.iter().map(|user| imap_idle::idle(imap, user)).collect::<io::Result<Vec<Imap>>>()?;
    let next = Cell::new(0);
    idle_sessions(&server, "IMAP sessions in IDLE", counts, || {
        next.set((next.get() + 1) % users.len());
        imap_idle::idle(imap, &users[next.get()])
    })?;
    drop((held, server));
    huge_message(&scratch.fresh()?, if settings.quick { 20_000_000 } else { 200_000_000 })
}

/// From exec to the first octet of the first banner, each time with an empty spool.
fn time_to_banner(scratch: &mut Scratch, times: usize) -> io::Result<()> {
    let mut taken = Vec::new();
    for _ in 0..times {
        let dir = scratch.fresh()?;
        let start = Instant::now();
        let server = Server::dev(&dir)?;
        client::connect(server.smtp, 1024)?.fill_buf()?;
        taken.push(start.elapsed());
    }
    taken.sort_unstable();
    let mut table = Table::new(&["exec to banner", "ms"]);
    for (name, time) in [("best", taken[0]), ("median", taken[times / 2]), ("worst", taken[times - 1])] {
        table.row(vec![name.to_owned(), format!("{:.1}", time.as_secs_f64() * 1e3)]);
    }
    table.print();
    Ok(())
}

/// The memory of sessions that said EHLO and then nothing, and of the server after they have gone.
fn idle_sessions<Session>(
    server: &Server,
    title: &str,
    counts: &[usize],
    connect: impl Fn() -> io::Result<Session>,
) -> io::Result<()> {
    let most = counts.iter().copied().max().unwrap_or(0);
    if most == 0 {
        println!("sessions skipped: too few descriptors");
        return Ok(());
    }
    // One session begins and ends before the count, because memory allocated at the first use is not a
    // session's.
    let descriptors = process::descriptors(server.pid())?;
    drop(connect()?);
    wait_for(|| Ok(process::descriptors(server.pid())? <= descriptors))?;

    let empty = process::memory(server.pid())?;
    let mut table = Table::new(&[
        title,
        "resident",
        "private and dirty",
        "resident, octets/session",
        "private, octets/session",
    ]);
    let mut row = |name: String, memory: Memory, sessions: usize| {
        let each = |now: u64, before: u64| match sessions {
            0 => "-".to_owned(),
            _ => (now.saturating_sub(before) / sessions as u64).to_string(),
        };
        table.row(vec![
            name,
            in_words(memory.resident),
            in_words(memory.private_dirty),
            each(memory.resident, empty.resident),
            each(memory.private_dirty, empty.private_dirty),
        ]);
    };
    row("0".to_owned(), empty, 0);
    let mut sessions = Vec::new();
    for &count in counts {
        while sessions.len() < count {
            sessions.push(connect()?);
        }
        row(count.to_string(), process::memory(server.pid())?, count);
    }
    drop(sessions);
    wait_for(|| Ok(process::descriptors(server.pid())? <= descriptors))?;
    row("0 again".to_owned(), process::memory(server.pid())?, 0);
    table.print();
    Ok(())
}

/// The most memory used while one huge message comes in, and while it goes out slowly.
fn huge_message(dir: &Path, octets: usize) -> io::Result<()> {
    let config = configure(dir)?;
    let server = Server::serve(dir, &config)?;
    let mut table = Table::new(&["memory while", "before", "peak", "growth", "seconds"]);
    let mut row = |name: &str, work: &mut dyn FnMut() -> io::Result<()>| {
        process::forget_peak(server.pid())?;
        let (before, start) = (process::peak(server.pid())?, Instant::now());
        work()?;
        let peak = process::peak(server.pid())?;
        table.row(vec![
            name.to_owned(),
            in_words(before),
            in_words(peak),
            in_words(peak.saturating_sub(before)),
            format!("{:.1}", start.elapsed().as_secs_f64()),
        ]);
        Ok::<_, io::Error>(())
    };
    let (size, mut pop3) = (in_words(octets as u64), None);
    row(&format!("{size} delivered"), &mut || deliver_huge(&server, octets))?;
    // The password check is slow and greedy by design (argon2), and not what the fetch is measured for.
    row("login", &mut || {
        pop3 = Some(Pop3::login(server.pop3, USER, PASSWORD)?);
        Ok(())
    })?;
    row(&format!("{size} fetched slowly"), &mut || {
        pop3.take().map_or(Ok(()), |pop3| fetch_slowly(pop3, octets))
    })?;
    table.print();
    Ok(())
}

/// A server for one user whose messages may be as big as we need; `dev` has no setting for that.
fn configure(dir: &Path) -> io::Result<PathBuf> {
    let rest = [
        listener("smtp", ""),
        listener("pop3", ""),
        "[limits]\nsmtp.max_message_size = \"300 MiB\"\n".to_owned(),
    ];
    configured::configure(dir, &rest.concat(), &[USER])
}

fn deliver_huge(server: &Server, octets: usize) -> io::Result<()> {
    let mut smtp = Smtp::connect(server.smtp)?;
    if !smtp.begin(USER)? {
        return Err(io::Error::other("the server does not want the message"));
    }
    // The header comes again in each piece: in the body it is text like any other.
    let piece = message(64 * 1024, "\r\n");
    for _ in 0..octets / piece.len() {
        smtp.send(&piece)?;
    }
    smtp.send(b".\r\n")?;
    smtp.expect(250)
}

/// Asks, waits until the server can have sent no more, then reads at [`PACE`].
fn fetch_slowly(mut pop3: Pop3, octets: usize) -> io::Result<()> {
    let mut read = 0_usize;
    let mut start = None;
    let fetched = pop3.retrieve(1, |taken| {
        let start = start.get_or_insert_with(|| {
            thread::sleep(Duration::from_secs(2));
            Instant::now()
        });
        read += taken;
        let due = Duration::from_secs_f64(read as f64 / PACE);
        thread::sleep(due.saturating_sub(start.elapsed()));
    })?;
    pop3.command("QUIT")?;
    match fetched as usize >= octets - octets / 100 {
        true => Ok(()),
        false => Err(io::Error::other(format!("only {fetched} octets came back"))),
    }
}

/// Waits for something that a server does in its own time.
fn wait_for(mut condition: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition()? {
        if Instant::now() > deadline {
            return Err(io::Error::other("descriptors of sessions that have gone are still open"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
const USER: &str = "alice@example.test";
/// Octets a second of the slow reader.
const PACE: f64 = 50e6;
