//! Power cuts under load, on a file system of its own: what was acknowledged is there once and whole, what
//! was deleted stays away, and the server starts on what is left. `make power-cut` runs it; it needs root,
//! a loop device and the programs that make and check the file systems.
//!
//! In a build with the feature `mutations` the same cycles run against a server that leaves a sync out, and
//! must find it out: a test that can't fail proves nothing.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod outage;

use std::{
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use common::{Server, Setup, home, installed};
use disk::{Cut, Disk, Kind};
use outage::{
    Dice, Wrong, check,
    ledger::Ledger,
    letters::Letters,
    load::{self, Crowd, Load},
    number, restart,
};
use tempfile::TempDir;

fn main() -> ExitCode {
    let Some(cycles) = number("RESTANTE_POWER_CUT") else {
        println!("skipped: run `make power-cut`");
        return ExitCode::SUCCESS;
    };
    let wanted = std::env::var("RESTANTE_POWER_CUT_FS").unwrap_or_else(|_| "ext4 xfs".to_owned());
    let seed = number("RESTANTE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("power cuts with RESTANTE_SEED={seed}");
    let (mut passed, mut failed) = (0, 0);
    for name in wanted.split_whitespace() {
        let Some(kind) = Kind::named(name) else {
            println!("{name}: unknown; ext4 and xfs are known");
            failed += 1;
            continue;
        };
        if let Err(why) = possible(kind) {
            println!("SKIPPED power cuts on {name}: {why}");
            continue;
        }
        let runs = if cfg!(feature = "mutations") { MUTATIONS } else { &[None] };
        for &mutation in runs {
            // A panic is a server that does not start: the rest of the runs still has something to tell.
            let run = || Bench::new(kind, mutation, seed).map(|mut bench| bench.run(cycles));
            let (good, bad) = match panic::catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(counts)) => counts,
                Ok(Err(why)) => {
                    println!("{name}: {why}");
                    (0, 1)
                }
                Err(_) => (0, 1),
            };
            passed += good;
            failed += bad;
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a power cut can be played here.
fn possible(kind: Kind) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root may mount".to_owned());
    }
    let programs = ["mount", "umount"].into_iter().chain(kind.programs());
    if let Some(program) = programs.into_iter().find(|program| !installed(program)) {
        return Err(format!("{program} is not installed"));
    }
    let home = home();
    let disk = Disk::new(kind, home.path())?;
    disk.cut(Cut::Hard).map_err(|error| format!("no shutdown of file systems here: {error}"))
}

/// A server on a disk that loses its power again and again.
struct Bench {
    kind: Kind,
    mutation: Option<&'static str>,
    dice: Dice,
    letters: Letters,
    ledger: Mutex<Ledger>,
    server: Server,
    spool: PathBuf,
    totals: Totals,
    // Unmounted before its directory goes.
    disk: Disk,
    _home: TempDir,
}

#[derive(Default)]
struct Totals {
    unanswered: usize,
    rubbish: usize,
    slowest_start: Duration,
}

impl Bench {
    fn new(kind: Kind, mutation: Option<&'static str>, seed: u64) -> Result<Self, String> {
        let home = home();
        let disk = Disk::new(kind, home.path())?;
        let spool = disk.path().join("spool");
        let variable = format!("RESTANTE_MUTATION={}", mutation.unwrap_or_default());
        let wrapper = ["env", &variable];
        let server = Setup { wrapper: &wrapper, spool: Some(spool.clone()), ..Setup::default() }.start();
        let mut dice = Dice::new(seed);
        let letters = Letters::new(&mut dice);
        let (ledger, totals) = Default::default();
        Ok(Self { kind, mutation, dice, letters, ledger, server, spool, totals, disk, _home: home })
    }

    /// Runs the cycles, and says how many were as they must be.
    fn run(&mut self, cycles: u64) -> (usize, usize) {
        let began = Instant::now();
        let name = self.kind.name();
        let mut failed = 0;
        for cycle in 0..usize::try_from(cycles).unwrap_or(usize::MAX) {
            let (crowd, cut) = (CROWDS[cycle % CROWDS.len()], CUTS[cycle % CUTS.len()]);
            let wrong = self.cycle(cycle, crowd, cut).unwrap_or_else(|why| vec![why]);
            if wrong.is_empty() {
                continue;
            }
            failed += 1;
            if let Some(mutation) = self.mutation {
                let (first, cycles) = (&wrong[0], cycle + 1);
                println!(
                    "{name}: {mutation} is seen in cycle {cycles}, {cut:?}, {crowd:?}: {} wrong, such as",
                    wrong.len()
                );
                println!("    {}: {}", first.what, first.text);
                return (1, 0);
            }
            println!("{name}: cycle {cycle}, {cut:?}, {crowd:?}: {} wrong", wrong.len());
            wrong.iter().take(10).for_each(|wrong| println!("    {}: {}", wrong.what, wrong.text));
        }
        let passed = usize::try_from(cycles).unwrap_or(usize::MAX) - failed;
        self.summarise(passed + failed, began.elapsed());
        match self.mutation {
            Some(mutation) => {
                println!("{name}: {mutation} is not seen");
                (0, 1)
            }
            None => (passed, failed),
        }
    }

    fn summarise(&self, cycles: usize, took: Duration) {
        let ledger = self.ledger.lock().unwrap();
        let each = took.as_secs_f64() / cycles.max(1) as f64;
        println!(
            "{}: {cycles} cuts, {each:.2} s each; {} letters accepted, {} deleted, {} refused, {} there without a reply, \
             {} left in tmp/, start to greeting at most {:.0?}",
            self.kind.name(),
            ledger.accepted,
            ledger.deleted,
            ledger.refused,
            self.totals.unanswered,
            self.totals.rubbish,
            self.totals.slowest_start,
        );
    }

    /// Load, cut, recovery, and everything looked at.
    fn cycle(&mut self, cycle: usize, crowd: Crowd, cut: Cut) -> Result<Vec<Wrong>, Wrong> {
        let addresses = (self.server.smtp(), self.server.pop3());
        let load = Load::new(addresses, &self.letters, &self.ledger, cycle);
        let mut dice = self.dice.split();
        let until_cut = Duration::from_millis(30 + dice.below(300) as u64);
        let until_kill = Duration::from_millis(dice.below(40) as u64);
        let (disk, server) = (&self.disk, &mut self.server);
        let mut done = Ok(());
        let mut wrong = load.run(crowd, &mut dice, || {
            thread::sleep(until_cut);
            done = disk.cut(cut);
            thread::sleep(until_kill); // whatever is acknowledged now was not made durable
            server.kill();
        });
        let failed = |why: String| Wrong::new("no cut", why);
        done.map_err(|error| failed(error.to_string()))?;
        self.disk.unmount().map_err(failed)?;
        self.disk.mount().map_err(failed)?;

        let ledger = self.ledger.get_mut().unwrap();
        let (seen, on_disk) = check::files(&self.spool, &self.letters, ledger);
        wrong.extend(on_disk);
        self.totals.unanswered += seen.unanswered;
        self.totals.rubbish += seen.rubbish;
        self.tidy(cycle)?;
        self.disk.unmount().map_err(failed)?;
        wrong.extend(self.disk.check());
        self.disk.mount().map_err(failed)?;
        let start = restart(&mut self.server)?;
        self.totals.slowest_start = self.totals.slowest_start.max(start);
        let ledger = self.ledger.get_mut().unwrap();
        wrong.extend(check::pop3(self.server.pop3(), &self.spool, ledger, &mut self.dice));
        Ok(wrong)
    }

    /// Makes room: what lies in `tmp/`, which the server keeps for 36 hours, and mailboxes of earlier cycles.
    fn tidy(&mut self, cycle: usize) -> Result<(), Wrong> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| {
                Wrong::new("file system", format!("cannot remove {}: {error}", path.display()))
            }
        };
        for mailbox in check::list(&self.spool) {
            let name = mailbox.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if load::is_fresh(&mailbox) && !name.contains(&format!("{cycle}-")) {
                fs::remove_dir_all(&mailbox).map_err(failed(&mailbox))?;
                self.ledger.get_mut().unwrap().forget(&name);
                continue;
            }
            for file in check::list(&mailbox.join("tmp")) {
                fs::remove_file(&file).map_err(failed(&file))?;
            }
        }
        Ok(())
    }
}

/// Every way of the server to make a message durable, under both cuts: their numbers have no common divisor.
const CROWDS: [Crowd; 3] = [Crowd::MANY, Crowd::LONE, Crowd::MANY];
const CUTS: [Cut; 2] = [Cut::Hard, Cut::AfterJournal];
const MUTATIONS: &[Option<&str>] = &[Some("no-file-sync"), Some("no-name-sync")];
