//! The longest turn of the loop, for each input that a mailbox's content, another program or a client can make big.
//!
//! Measured: each such input grows by twos up to 100,000, on a server of its own, and beside its size stand the longest
//! turn since that server started, the most CPU time of a turn, and the turns that took longer than 20 ms, all as the
//! server publishes them. The input has to cost more turns when it grows, and none of them more time. Beside them: a
//! server that does nothing, and how long the loop's thread waited in all for a processor. The longest turn has some of
//! that wait too, so on a busy machine the CPU time decides.
//!
//! `cargo bench --bench loop_turns [-- --quick]`, with `BENCH_MESSAGES` (100000) for the largest input and `BENCH_CASE`
//! for those whose name contains it.

mod accounts;
#[path = "../common/mod.rs"]
mod common;
mod imap;
mod mailboxes;
mod sessions;
mod world;

use std::{
    env, io,
    time::{Duration, Instant, SystemTime},
};

use common::{Scratch, Settings, process, table::Table};
use world::{Setup, World};

fn main() -> io::Result<()> {
    let (settings, mut scratch) = (Settings::load(), Scratch::new()?);
    let asked = env::var("BENCH_MESSAGES").ok().and_then(|text| text.parse().ok());
    let most: usize = asked.unwrap_or(if settings.quick { 1000 } else { 100_000 }).max(8);
    let only = env::var("BENCH_CASE").unwrap_or_default();
    println!("loop_turns: {}, {most} at most, {} ms are too long", scratch.describe(), LONG.as_millis());
    process::raise_descriptor_limit()?;
    process::warn_if_busy()?;
    let mut table = Table::new(&[
        "input",
        "size",
        "longest turn, ms",
        "most CPU, ms",
        "longer than 20 ms",
        "turns",
        "waited for CPU, ms",
    ]);
    let mut too_long = Vec::new();
    let sizes: Vec<usize> = [8, 4, 2, 1].iter().map(|part| most / part).collect();
    let cases = [mailboxes::CASES, imap::CASES, sessions::CASES, accounts::CASES].concat();
    for Case { name, setup, run } in cases.into_iter().filter(|case| case.name.contains(&only)) {
        for size in &sizes {
            let world = World::new(scratch.fresh()?, setup, *size)?;
            let (sizes_end, started) = (Instant::now(), SystemTime::now());
            run(&world, *size).inspect_err(|_| world.print_log())?;
            let seen = world.figures(started + sizes_end.elapsed())?;
            if seen.longest_cpu > LONG {
                too_long.push(format!("{name}, {size}: {:.1} ms", millis(seen.longest_cpu)));
            }
            // The table comes at the end, after an hour or so.
            eprintln!(
                "{name}, {size}: {:.1} ms, {:.1} ms of CPU",
                millis(seen.longest),
                millis(seen.longest_cpu)
            );
            table.row(vec![
                name.to_owned(),
                size.to_string(),
                format!("{:.1}", millis(seen.longest)),
                format!("{:.1}", millis(seen.longest_cpu)),
                seen.long.to_string(),
                seen.turns.to_string(),
                format!("{:.0}", millis(world.waited()?)),
            ]);
            if name == mailboxes::IDLE {
                break;
            }
        }
    }
    table.print();
    if too_long.is_empty() {
        println!("no turn took more than 20 ms of CPU");
    } else {
        println!("TOO LONG: {}", too_long.join("; "));
    }
    Ok(())
}

/// An input that grows.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// The configuration for this size of the input.
    setup: fn(&mut Setup, usize),
    run: fn(&World, usize) -> io::Result<()>,
}

impl Case {
    /// A case with the usual configuration.
    const fn new(name: &'static str, run: fn(&World, usize) -> io::Result<()>) -> Self {
        Self { name, setup: |_, _| {}, run }
    }

    const fn with(self, setup: fn(&mut Setup, usize)) -> Self {
        Self { setup, ..self }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

const LONG: Duration = Duration::from_millis(20);
