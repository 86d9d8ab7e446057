//! Messages and octets a second that POP3 hands out.
//!
//! Measured: RETR after RETR, each asked for when the last one is there, of 2,000 messages of 4 KiB and of
//! 20 of 5 MiB, over and over, with one session and with eight (each in a mailbox of its own, since POP3
//! locks it). Beside it, in the same run, what the machine does for the same bytes without a mail server:
//! a thread for each connection that opens the file asked for, reads it and writes it to the socket as it
//! is. It counts nothing, converts no line ends and keeps no promises.
//!
//! A server with the web inbox keeps the dialogues of its last sessions in memory, with a summary of each message: its rows show the
//! cost of that.
//!
//! `cargo bench --bench pop3 [-- --quick]`, with `BENCH_SECONDS` (5) for each measurement. The files are in
//! memory, since the server has counted them all: this measures us, not the disk. The clients are a process
//! of their own.

mod common;

use std::io;

use common::{
    Loader, Scratch, Server, Settings,
    plain_server::serve_plainly,
    pop3_load::{self, Fetched, Job, MAILDROPS, Source},
    process, spool,
    table::{Table, size as in_words},
};

fn main() -> io::Result<()> {
    if let Some(job) = common::job() {
        return pop3_load::load(&job);
    }
    let settings = Settings::load();
    let mut scratch = Scratch::new()?;
    println!("pop3: {}, {} s for each measurement", scratch.describe(), settings.seconds);
    let dir = scratch.fresh()?;
    let most = SESSIONS.into_iter().max().unwrap_or(0);
    for maildrop in &MAILDROPS {
        maildrop.fill(&spool(&dir), most)?;
    }
    let plain = serve_plainly(spool(&dir))?;
    let mut table = Table::new(&[
        "messages",
        "sessions",
        "web inbox",
        "MB/s",
        "messages/s",
        "server CPU ms/MB",
        "files to sockets, MB/s",
        "ratio",
    ]);
    for has_web_inbox in [false, true] {
        let server = if has_web_inbox { Server::dev_with_http(&dir)? } else { Server::dev(&dir)? };
        for (number, maildrop) in MAILDROPS.iter().enumerate() {
            for sessions in SESSIONS {
                process::warn_if_busy()?;
                let job = |from| Job { from, maildrop: number, sessions, seconds: settings.seconds };
                let loader = Loader::start(&job(Source::Pop3(server.pop3)))?;
                let used = process::cpu(server.pid())?;
                let ours: Fetched = loader.run()?;
                let used = process::cpu(server.pid())? - used;
                let limit: Fetched = Loader::start(&job(Source::Plain(plain)))?.run()?;
                table.row(vec![
                    format!("{} x {}", maildrop.messages, in_words(maildrop.size as u64)),
                    sessions.to_string(),
                    (if has_web_inbox { "yes" } else { "no" }).to_owned(),
                    format!("{:.0}", ours.rate()),
                    format!("{:.0}", ours.messages as f64 / ours.seconds),
                    format!("{:.3}", used.as_secs_f64() * 1e3 / ours.megabytes()),
                    format!("{:.0}", limit.rate()),
                    format!("{:.2}", ours.rate() / limit.rate()),
                ]);
            }
        }
    }
    table.print();
    Ok(())
}

const SESSIONS: [usize; 2] = [1, 8];
