//! Rate of durable deliveries, and the cost of each message.
//!
//! Measured: SMTP sessions (1, 16, 64) that send message after message (4 KiB, 100 KiB) to 100 mailboxes
//! and wait for each `250`; a server thread more or a sync less would show here. Beside it, in the same run,
//! the limit of the same disk: as many threads as there were sessions, each doing what makes one message
//! durable (create in `tmp/`, write, fsync, rename, fsync `new/`) with no mail server around it. It runs
//! before and after, half as long each, and the better half makes the ratio: disks have moods.
//!
//! `cargo bench --bench deliveries [-- --quick]`, with `BENCH_SECONDS` (5) for each measurement. One that has
//! written 2 GiB ends there. Leave the disk a minute of rest between two runs: each ends with the deletion of
//! its files, and ext4 pays for that later. The cost of a message is the CPU time of the server, from `/proc`,
//! while the load ran; the load generator is a process of its own.

mod common;

use std::io;

use common::{
    Loader, Scratch, Server, Settings,
    client::Protocol,
    disk_alone::disk_alone,
    process,
    smtp_load::{self, Job, Sent},
    table::{Table, size as in_words},
};

fn main() -> io::Result<()> {
    if let Some(job) = common::job() {
        return smtp_load::load(&job);
    }
    let settings = Settings::load();
    let mut scratch = Scratch::new()?;
    println!("deliveries: {}, {} s for each measurement", scratch.describe(), settings.seconds);
    let mut table = Table::new(&[
        "message",
        "sessions",
        "messages/s",
        "p50 ms",
        "p99 ms",
        "server CPU ms/message",
        "disk alone before, after",
        "ratio",
    ]);
    for size in SIZES {
        for sessions in SESSIONS {
            table.row(measure(&mut scratch, &settings, size, sessions)?);
        }
    }
    table.print();
    Ok(())
}

/// One line of the table.
fn measure(
    scratch: &mut Scratch,
    settings: &Settings,
    size: usize,
    sessions: usize,
) -> io::Result<Vec<String>> {
    process::warn_if_busy()?;
    let half = settings.seconds / 2.0;
    let alone = |scratch: &mut Scratch| -> io::Result<f64> {
        let (messages, seconds) = disk_alone(&scratch.fresh()?, half, size, sessions)?;
        Ok(messages as f64 / seconds)
    };
    let before = alone(scratch)?;

    let dir = scratch.fresh()?;
    let server = Server::dev(&dir)?;
    let seconds = settings.seconds;
    let job = Job { address: server.smtp, protocol: Protocol::Smtp, sessions, size, seconds };
    let loader = Loader::start(&job)?;
    let used = process::cpu(server.pid())?;
    let sent: Sent = loader.run()?;
    let used = process::cpu(server.pid())? - used;
    drop(server);

    let after = alone(scratch)?;
    sent.warn();
    let rate = sent.accepted as f64 / sent.seconds;
    Ok(vec![
        in_words(size as u64),
        sessions.to_string(),
        format!("{rate:.0}"),
        format!("{:.2}", sent.p50_us / 1e3),
        format!("{:.2}", sent.p99_us / 1e3),
        format!("{:.3}", used.as_secs_f64() * 1e3 / sent.accepted as f64),
        format!("{before:.0}, {after:.0}"),
        format!("{:.2}", rate / before.max(after)),
    ])
}

const SIZES: [usize; 2] = [4 * 1024, 100 * 1024];
const SESSIONS: [usize; 3] = [1, 16, 64];
