//! The cost of the web API, and its effect on SMTP sessions beside it.
//!
//! Measured: clients on connections that stay open, which repeat one request (a page of 50 of a list, a message as JSON, the
//! raw message) without a pause, alone and beside SMTP sessions that deliver message after message; and in the same run the
//! SMTP sessions alone. A request costs the server the CPU time that `/proc` says it used, less that of the messages. Beside
//! what the sessions lose stands the share of the processors that the requests take, generator included: if the sessions
//! lose more than that, they wait for something other than a processor.
//!
//! `cargo bench --bench http [-- --quick]`, with `BENCH_SECONDS` (5) for each measurement. The load generators are processes
//! of their own, but use the same processors.

mod common;

use std::io;

use common::{
    Loader, Scratch, Server, Settings,
    client::Protocol,
    foreign_mailbox::Mailbox,
    http_load::{self, Answered, Http},
    process,
    smtp_load::{self, Sent},
    spool,
    table::{Table, size as in_words},
};
use serde::{Deserialize, Serialize};

/// The work of one load generator.
#[derive(Serialize, Deserialize)]
enum Job {
    Http(http_load::Job),
    Smtp(smtp_load::Job),
}

fn main() -> io::Result<()> {
    match common::job() {
        Some(Job::Http(job)) => return http_load::load(&job),
        Some(Job::Smtp(job)) => return smtp_load::load(&job),
        None => {}
    }
    let (settings, mut scratch) = (Settings::load(), Scratch::new()?);
    println!(
        "http: {}, {CLIENTS} clients of HTTP, {SESSIONS} of SMTP, {} s for each measurement",
        scratch.describe(),
        settings.seconds
    );
    process::warn_if_busy()?;
    beside_deliveries(&mut scratch, &settings)
}

/// Each request alone and beside deliveries, and the deliveries alone.
fn beside_deliveries(scratch: &mut Scratch, settings: &Settings) -> io::Result<()> {
    let dir = scratch.fresh()?;
    let mailbox = Mailbox::filled(&spool(&dir), 1000)?;
    let server = Server::dev_with_http(&dir)?;
    let address = server.http()?;
    let base = format!("/box/{}", mailbox.user);
    let list = Http::connect(address)?.content(&format!("{base}/api/v1/messages?limit=1"))?;
    let id = list.split_once("\"ID\":\"").and_then(|(_, rest)| rest.split('"').next());
    let id = id.ok_or_else(|| io::Error::other(format!("no message in {list}")))?;
    let http = |path: &str| {
        Loader::start(&Job::Http(http_load::Job {
            address,
            path: path.to_owned(),
            clients: CLIENTS,
            seconds: settings.seconds,
        }))
    };
    let smtp = || {
        let (address, seconds) = (server.smtp, settings.seconds);
        Loader::start(&Job::Smtp(smtp_load::Job {
            address,
            protocol: Protocol::Smtp,
            sessions: SESSIONS,
            size: 4096,
            seconds,
        }))
    };
    let cpu_while = |work: &mut dyn FnMut() -> io::Result<()>| {
        let before = process::cpu(server.pid())?;
        work()?;
        Ok::<_, io::Error>((process::cpu(server.pid())? - before).as_secs_f64())
    };
    // Twice, before and after: disks have moods.
    let deliveries_alone = || {
        let (loader, mut sent) = (smtp()?, None);
        let mut loader = Some(loader);
        let cpu = cpu_while(&mut || {
            sent = loader.take().map(Loader::run::<Sent>).transpose()?;
            Ok(())
        })?;
        let sent = sent.ok_or_else(|| io::Error::other("no report"))?;
        sent.warn();
        Ok::<_, io::Error>((
            sent.accepted as f64 / sent.seconds,
            sent.p99_us,
            cpu / sent.accepted.max(1) as f64,
        ))
    };
    let before = deliveries_alone()?;
    let mut table = Table::new(&[
        "request",
        "octets",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU ms",
        "beside SMTP: requests/s",
        "p99 ms",
        "SMTP messages/s",
        "p99 ms",
        "SMTP loses",
        "processors for HTTP",
    ]);
    let mut rows = Vec::new();
    for (name, path) in [
        ("a page of one mailbox", format!("{base}/api/v1/messages")),
        ("a page of all mail", "/api/v1/messages".to_owned()),
        ("a message", format!("{base}/api/v1/message/{id}")),
        ("its octets", format!("{base}/api/v1/message/{id}/raw")),
        ("/livez", "/livez".to_owned()),
    ] {
        let (mut loader, mut alone) = (Some(http(&path)?), None);
        let cpu = cpu_while(&mut || {
            alone = loader.take().map(Loader::run::<Answered>).transpose()?;
            Ok(())
        })?;
        let alone = alone.ok_or_else(|| io::Error::other("no report"))?;
        let (getter, sender) = (http(&path)?, smtp()?);
        let mut both = None;
        let mut loaders = Some((getter, sender));
        let cpu_beside = cpu_while(&mut || {
            both = loaders
                .take()
                .map(|(getter, sender)| {
                    let getter = std::thread::spawn(move || getter.run::<Answered>());
                    let sent = sender.run::<Sent>()?;
                    let answered = getter.join().map_err(|_| io::Error::other("a thread has panicked"))??;
                    Ok::<_, io::Error>((answered, sent))
                })
                .transpose()?;
            Ok(())
        })?;
        let (answered, sent) = both.ok_or_else(|| io::Error::other("no report"))?;
        sent.warn();
        rows.push((name, alone, cpu, answered, sent, cpu_beside));
    }
    let after = deliveries_alone()?;
    let (alone_rate, alone_p99) = (before.0.max(after.0), before.1.min(after.1));
    let cpu_of_message = before.2.min(after.2);
    for (name, alone, cpu, answered, sent, cpu_beside) in rows {
        let of_requests = (cpu_beside - cpu_of_message * sent.accepted as f64).max(0.0);
        let used = of_requests + answered.own_cpu_us / 1e6;
        let share = used / (answered.seconds * common::processors() as f64);
        let rate = sent.accepted as f64 / sent.seconds;
        table.row(vec![
            name.to_owned(),
            in_words(alone.octets / alone.requests.max(1)),
            format!("{:.0}", alone.requests as f64 / alone.seconds),
            format!("{:.2}", alone.p50_us / 1e3),
            format!("{:.2}", alone.p99_us / 1e3),
            format!("{:.3}", cpu * 1e3 / alone.requests.max(1) as f64),
            format!("{:.0}", answered.requests as f64 / answered.seconds),
            format!("{:.2}", answered.p99_us / 1e3),
            format!("{rate:.0}"),
            format!("{:.2}", sent.p99_us / 1e3),
            format!("{:.0} %", (1.0 - rate / alone_rate) * 100.0),
            format!("{:.0} %", share * 100.0),
        ]);
    }
    table.print();
    println!(
        "SMTP alone: {alone_rate:.0} messages/s, p99 {:.2} ms, CPU {:.3} ms a message (before {:.0}, after {:.0})",
        alone_p99 / 1e3,
        cpu_of_message * 1e3,
        before.0,
        after.0
    );
    Ok(())
}

const CLIENTS: usize = 4;
const SESSIONS: usize = 16;
