//! Service for good clients while hostile connections hold every place.
//!
//! Measured, for each kind of hostile connection (silent, dripping octets or NOOPs, in TLS handshakes, at DATA, at
//! BDAT, at the password, reading nothing): how many operations of good clients were refused, and how long the others
//! took, while a crowd of 9,000 stands in 9,000 places, drips, and comes again where the server ends one of it. An
//! operation is a delivery, or a login that reads and deletes a message, connection and header of the proxy included;
//! each third comes from an address that the server does not know. Beside it, in the same run: the same good clients
//! alone. Memory is the server's own, before the crowd and at its end; the kernel's for sockets is not in it.
//!
//! `cargo bench --bench hostile [-- --quick]`, with `BENCH_SECONDS` (5) for each kind and `BENCH_CONNECTIONS` (9000).
//! Nothing leaves 127.0.0.0/8: the addresses of the crowd stand in the headers of a proxy.

mod common;
#[path = "../tests/common/hostile.rs"]
mod hostile;

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{
    Scratch, Server, Settings,
    configured::{self, PASSWORD, listener, run},
    process, restante,
    table::{Table, size as in_words},
};
use hostile::{Crowd, Kind, Seen, Services, good_clients};

fn main() -> io::Result<()> {
    let settings = Settings::load();
    let many = env::var("BENCH_CONNECTIONS").ok().and_then(|text| text.parse().ok());
    let many = many.unwrap_or(if settings.quick { 300 } else { 9000 });
    let limit = process::raise_descriptor_limit()?;
    if limit < 2 * many as u64 {
        println!("skipped: the descriptor limit is {limit}, {} are needed", 2 * many);
        return Ok(());
    }
    let mut scratch = Scratch::new()?;
    println!("hostile: {}, {many} places, {:.1} s for each kind", scratch.describe(), settings.seconds);
    process::warn_if_busy()?;
    let mut table = Table::new(&[
        "beside",
        "standing",
        "came",
        "operations",
        "refused",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "resident before",
        "with them",
    ]);
    let mut first = None;
    for kind in std::iter::once(None).chain(Kind::ALL.map(Some)) {
        let dir = scratch.fresh()?;
        let server = Server::serve(&dir, &configure(&dir, many)?)?;
        let pop3s = server.pop3s.ok_or_else(|| io::Error::other("no port for POP3 under TLS"))?;
        let services = Services { smtp: server.smtp, pop3: server.pop3, pop3s };
        let users = users();
        let before = process::memory(server.pid())?.resident;
        let mut crowd = kind.map(|kind| Crowd::come(kind, services, &users[0], many));
        let mut seen = beside(crowd.as_mut(), services, &users, settings.seconds);
        let after = process::memory(server.pid())?.resident;
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        table.row(vec![
            kind.map_or("nobody", Kind::name).to_owned(),
            crowd.as_ref().map_or(0, Crowd::open).to_string(),
            crowd.as_ref().map_or(0, |crowd| crowd.made).to_string(),
            seen.times.len().to_string(),
            seen.refused.len().to_string(),
            ms(seen.within(0.5)),
            ms(seen.within(0.99)),
            ms(seen.within(1.0)),
            in_words(before),
            in_words(after),
        ]);
        first = first.or(seen.refused.pop().map(|why| (kind, why)));
    }
    table.print();
    if let Some((kind, why)) = first {
        println!("refused beside {}: {why}", kind.map_or("nobody", Kind::name));
    }
    Ok(())
}

/// Good clients at work for a while, and a crowd beside them.
fn beside(crowd: Option<&mut Crowd<'_>>, services: Services, users: &[String], seconds: f64) -> Seen {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let good = scope.spawn(|| good_clients(GOOD, services, users, PASSWORD, &is_over));
        let (begun, mut crowd) = (Instant::now(), crowd);
        while begun.elapsed().as_secs_f64() < seconds {
            if let Some(crowd) = &mut crowd {
                crowd.drip(AGAIN);
            }
            thread::sleep(Duration::from_millis(300));
        }
        is_over.store(true, Ordering::Relaxed);
        good.join().expect("the good clients do not panic")
    })
}

fn users() -> Vec<String> {
    (0..GOOD).map(|n| format!("u{n}@example.test")).collect()
}

/// A server with so many places, every listener of which takes the header of a proxy.
fn configure(dir: &Path, many: usize) -> io::Result<PathBuf> {
    let keys = dir.join("keys");
    run(restante().args(["cert", "--self-signed"]).arg(&keys), "")?;
    let behind_a_proxy = "proxy_networks = [\"127.0.0.0/8\"]\n";
    let listeners = [
        listener("smtp", behind_a_proxy),
        listener("pop3", &format!("{behind_a_proxy}auth_allow_cleartext = true")),
        listener("pop3s", behind_a_proxy),
    ];
    let rest = format!(
        "[limits]\nconnections.max = {many}\n[tls]\ncertificate = {:?}\nkey = {:?}\n{}",
        keys.join("certificate.pem"),
        keys.join("key.pem"),
        listeners.concat()
    );
    configured::configure(dir, &rest, &users())
}

const GOOD: usize = 4;
/// Connections of a crowd that come again in one round.
const AGAIN: usize = 500;
