//! Power cuts under load, on a file system of its own: acknowledged messages are there once and whole, deleted
//! ones stay away, and the server starts on the files that are left. `make power-cut` runs it; it needs root, a
//! loop device and the programs that make and check the file systems.
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
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{Server, Setup, home, installed};
use disk::{Cut, Disk, Kind};
use outage::{
    Dice, Wrong, check,
    imap::{self, ledger::User},
    ledger::Ledger,
    letters::Letters,
    load::{self, Addresses, Crowd, Focus, Load},
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
        let mutations: Vec<_> = MUTATIONS.iter().map(Some).collect();
        let runs = if cfg!(feature = "mutations") { &mutations[..] } else { &[None] };
        for &mutation in
            runs.iter().filter(|mutation| mutation.is_none_or(|mutation| mutation.shows_on(kind)))
        {
            // A panic means that a server does not start; the other runs still give results.
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
    mutation: Option<&'static Mutation>,
    dice: Dice,
    letters: Letters,
    ledger: Mutex<Ledger>,
    users: Vec<Mutex<User>>,
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
    fn new(kind: Kind, mutation: Option<&'static Mutation>, seed: u64) -> Result<Self, String> {
        let home = home();
        let disk = Disk::new(kind, home.path())?;
        let spool = disk.path().join("spool");
        let variable = format!("RESTANTE_MUTATION={}", mutation.map_or("", |mutation| mutation.name));
        let wrapper = ["env", &variable];
        let server = Setup { wrapper: &wrapper, spool: Some(spool.clone()), ..Setup::default() }.start();
        outage::prepare(&server).map_err(|error| format!("no login by IMAP: {error}"))?;
        let mut dice = Dice::new(seed);
        let letters = Letters::new(&mut dice);
        let (ledger, totals) = Default::default();
        let users = outage::users();
        Ok(Self { kind, mutation, dice, letters, ledger, users, server, spool, totals, disk, _home: home })
    }

    /// Runs the cycles, and returns how many passed and how many failed.
    fn run(&mut self, cycles: u64) -> (usize, usize) {
        let began = Instant::now();
        let name = self.kind.name();
        let mut failed = 0;
        for cycle in 0..usize::try_from(cycles).unwrap_or(usize::MAX) {
            let is_sync = self.mutation.is_some_and(|mutation| mutation.is_sync);
            let cut = if is_sync { Cut::Hard } else { CUTS[cycle % CUTS.len()] };
            let crowd = self.crowd(cycle);
            let mut wrong = self.cycle(cycle, crowd, cut).unwrap_or_else(|why| vec![why]);
            if let Some(mutation) = self.mutation {
                wrong.retain(|wrong| mutation.shows(wrong.what));
            }
            if wrong.is_empty() {
                continue;
            }
            failed += 1;
            if let Some(mutation) = self.mutation {
                let (first, cycles, mutation) = (&wrong[0], cycle + 1, mutation.name);
                println!(
                    "{name}: {mutation} is seen in cycle {cycles}, {cut:?}, {crowd:?}: {} wrong, such as",
                    wrong.len()
                );
                println!("{name}:     {}: {}", first.what, first.text);
                return (1, 0);
            }
            println!("{name}: cycle {cycle}, {cut:?}, {crowd:?}: {} wrong", wrong.len());
            wrong.iter().take(10).for_each(|wrong| println!("{name}:     {}: {}", wrong.what, wrong.text));
        }
        let passed = usize::try_from(cycles).unwrap_or(usize::MAX) - failed;
        self.summarise(passed + failed, began.elapsed());
        match self.mutation {
            Some(Mutation { name: mutation, .. }) => {
                println!("{name}: {mutation} is not seen");
                (0, 1)
            }
            None => (passed, failed),
        }
    }

    /// The sessions of a cycle. A mutation of IMAP shows itself if its change comes last, so that no other sync makes it durable.
    fn crowd(&self, cycle: usize) -> Crowd {
        match self.mutation.and_then(|mutation| mutation.focus) {
            Some(focus) => Crowd { writers: 1, focus: Some(focus), ..Crowd::NONE },
            None => Crowd::of(cycle),
        }
    }

    /// The kind of change after whose confirmation the cut comes at once: a sync that is left out shows itself then.
    fn cut_after(&self) -> Option<Focus> {
        self.mutation.filter(|mutation| mutation.is_sync).and_then(|mutation| mutation.focus)
    }

    fn summarise(&self, cycles: usize, took: Duration) {
        let ledger = self.ledger.lock().unwrap();
        let each = took.as_secs_f64() / cycles.max(1) as f64;
        println!(
            "{}: {cycles} cuts, {each:.2} s each; {} letters accepted, {} deleted, {} refused, {} there without a reply, \
             {} changes by IMAP, {} left in tmp/, start to greeting at most {:.0?}",
            self.kind.name(),
            ledger.accepted,
            ledger.deleted,
            ledger.refused,
            self.totals.unanswered,
            outage::changes(&self.users, None),
            self.totals.rubbish,
            self.totals.slowest_start,
        );
    }

    /// One cycle: load, cut, recovery, and all checks.
    fn cycle(&mut self, cycle: usize, crowd: Crowd, cut: Cut) -> Result<Vec<Wrong>, Wrong> {
        let promises = (&self.ledger, &self.users[..]);
        let load = Load::new(Addresses::of(&self.server), &self.letters, promises, cycle);
        let ending = Arc::clone(&load.ending);
        let mut dice = self.dice.split();
        let changes = 1 + dice.below(8);
        let kind = self.cut_after();
        let until_cut = Duration::from_millis(if kind.is_some() { 0 } else { 30 + dice.below(300) as u64 });
        let until_kill = Duration::from_millis(dice.below(40) as u64);
        let (disk, server, users) = (&self.disk, &mut self.server, &self.users);
        let mut done = Ok(());
        let mut wrong = load.run(crowd, &mut dice, || {
            outage::await_changes(users, kind, changes);
            thread::sleep(until_cut);
            ending.store(true, Ordering::SeqCst);
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
        let imap = Addresses::of(&self.server).imap;
        wrong.extend(imap::check::check((imap, &self.spool), &self.users, ledger, &self.letters));
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

/// Two cuts and five crowds have no common divisor, so that each crowd meets both cuts.
const CUTS: [Cut; 2] = [Cut::Hard, Cut::AfterJournal];

/// A server that leaves a step out.
struct Mutation {
    name: &'static str,
    /// The change that it makes unsafe, if that is one of IMAP.
    focus: Option<Focus>,
    /// Whether it is a sync that is left out, which only a cut without the journal shows.
    is_sync: bool,
    /// The faults that show it. None: any fault.
    shown_by: &'static [&'static str],
}

impl Mutation {
    const fn new(name: &'static str, focus: Option<Focus>, shown_by: &'static [&'static str]) -> Self {
        Self { name, focus, is_sync: true, shown_by }
    }

    /// ext4 writes a file that takes the place of another one when the names are synced, so XFS alone loses keywords.
    fn shows_on(&self, kind: Kind) -> bool {
        kind == Kind::Xfs || self.name != "no-keyword-sync"
    }

    fn shows(&self, what: &str) -> bool {
        self.shown_by.is_empty() || self.shown_by.contains(&what)
    }
}

const MUTATIONS: &[Mutation] = &[
    Mutation::new("no-file-sync", None, &[]),
    Mutation::new("no-name-sync", None, &[]),
    Mutation::new("no-flag-sync", Some(Focus::Store), &["other flags"]),
    Mutation::new("no-keyword-sync", Some(Focus::Store), &["other flags"]),
    Mutation::new("no-removal-sync", Some(Focus::Expunge), &["back again"]),
    Mutation::new("no-copy-sync", Some(Focus::Copy), &["lost"]),
    Mutation::new("no-move-sync", Some(Focus::Move), &["lost", "back again"]),
    Mutation { is_sync: false, ..Mutation::new("move-by-links", Some(Focus::Move), &["doubled by MOVE"]) },
    // The letter that had the UID has to be gone, or it gets the same one again.
    Mutation::new("no-uid-reservation", Some(Focus::Expunge), &["UID given twice", "UID to be given twice"]),
    Mutation::new("no-folder-sync", Some(Focus::Folders), &["folder lost", "folder back again"]),
];
