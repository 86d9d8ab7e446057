//! restante beside the limit of the machine, Dovecot and Postfix: one table of all figures that decide about speed.
//!
//! The programs take turns, run by run, so that a mood of the disk or of the machine meets all of them; a figure is the
//! median of its runs, beside the lowest and the highest, and has the CPU time of all processes of the server. A program
//! that is not installed has no figure. The load comes from a process of its own. Each file of this directory says how
//! its figures are measured.
//!
//! `make bench`, or `cargo bench --bench compare -- --help`. `BENCH_SECONDS` (2) is the length of each run that has one.

#[path = "../common/mod.rs"]
mod common;
mod contest;
mod deliveries;
mod imap;
mod logins;
mod memory;
mod retrievals;

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Parser;
use serde::{Deserialize, Serialize};

use common::{
    Scratch,
    figures::{Machine, Report, put_into},
    imap_load, login_load, pop3_load, process, smtp_load,
};
use contest::{Contest, Scale};

fn main() -> io::Result<()> {
    if let Some(job) = common::job() {
        return load(&job);
    }
    // `cargo bench` passes this option; `cargo test` does not, and only wants to know that the bench runs.
    let options = match env::args().any(|arg| arg == "--bench") {
        true => Options::parse(),
        false => Options::default(),
    };
    // The deletion of all that mail may take a while: it comes after the table.
    let mut scratch = None;
    let report = match &options.from {
        Some(file) => serde_json::from_slice(&fs::read(file).map_err(|error| at(file, &error))?)?,
        None => measure(&options, scratch.insert(Scratch::new()?))?,
    };
    let json = serde_json::to_string_pretty(&report)? + "\n";
    match &options.json {
        Some(None) => io::stdout().write_all(json.as_bytes())?,
        Some(Some(file)) => fs::write(file, json).map_err(|error| at(file, &error))?,
        None => {}
    }
    if let Some(page) = &options.markdown {
        let text = fs::read_to_string(page).map_err(|error| at(page, &error))?;
        let text = put_into(&text, &report.markdown());
        let text =
            text.ok_or_else(|| io::Error::other(format!("{}: no place for figures", page.display())))?;
        fs::write(page, text).map_err(|error| at(page, &error))?;
    }
    if options.json != Some(None) {
        println!("\n{}", report.markdown());
    }
    Ok(())
}

/// Measure restante beside the limit of this machine, Dovecot and Postfix, and print a table.
#[derive(Default, Parser)]
#[command(name = "make bench")]
struct Options {
    /// Three shorter runs of each program, with smaller mailboxes and crowds
    #[arg(long)]
    quick: bool,
    /// Runs of each program [default: 5; 3 with --quick]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Measure only the figures whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the figures as JSON to a file; without a file, print them instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<Option<PathBuf>>,
    /// Put the table into a page, between the two comments that name figures
    #[arg(long, value_name = "PAGE")]
    markdown: Option<PathBuf>,
    /// Measure nothing: take the figures that --json wrote
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// From `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn scale(&self) -> Scale {
        let scale = match (self.bench, self.quick) {
            (true, false) => Scale { runs: 5, seconds: 2.0, messages: 20_000, connections: 10_000 },
            (true, true) => Scale { runs: 3, seconds: 0.5, messages: 2000, connections: 1000 },
            (false, _) => Scale { runs: 1, seconds: 0.05, messages: 20, connections: 20 },
        };
        let seconds = env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
        Scale {
            runs: self.runs.unwrap_or(scale.runs).max(1),
            seconds: seconds.unwrap_or(scale.seconds),
            ..scale
        }
    }
}

fn measure(options: &Options, scratch: &mut Scratch) -> io::Result<Report> {
    process::raise_descriptor_limit()?;
    let load_average = load_average()?;
    process::warn_if_busy()?;
    let (scale, date) = (options.scale(), humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
    let machine = machine(scratch)?;
    let mut contest = Contest::new(scale, options.only.clone(), &scratch.fresh()?);
    deliveries::measure(&mut contest, scratch)?;
    retrievals::measure(&mut contest, scratch)?;
    logins::measure(&mut contest, scratch)?;
    imap::measure(&mut contest, scratch)?;
    memory::measure(&mut contest, scratch)?;
    let versions = contest.versions();
    let Contest { rows, notes, .. } = contest;
    let (seconds, notes) = (scale.seconds, notes.into_iter().collect());
    Ok(Report { date, machine, versions, seconds, load_average, rows, notes })
}

fn machine(scratch: &Scratch) -> io::Result<Machine> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Machine {
        cpu: model.map_or(env::consts::ARCH, |(_, model)| model).trim().to_owned(),
        cores: common::processors(),
        kernel,
        file_system: scratch.file_system(),
    })
}

/// Programs that wanted a processor in the last minute.
fn load_average() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| io::Error::other(format!("/proc/loadavg says {text:?}")))
}

/// The work of the load generator.
#[derive(Serialize, Deserialize)]
enum Job {
    Deliver(smtp_load::Job),
    Fetch(pop3_load::Job),
    Login(login_load::Job),
    Imap(imap_load::Job),
}

fn load(job: &Job) -> io::Result<()> {
    match job {
        Job::Deliver(job) => smtp_load::load(job),
        Job::Fetch(job) => pop3_load::load(job),
        Job::Login(job) => login_load::load(job),
        Job::Imap(job) => imap_load::load(job),
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
