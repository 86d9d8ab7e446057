//! kill -9 under load, again and again: nothing that was acknowledged is lost or doubled, and the server is
//! back at once. `make kill-loop` runs it. It does not test fsync, since the kernel lives on: `power_cut` does.

#[path = "../common/mod.rs"]
mod common;
mod outage;

use std::{
    fs,
    process::ExitCode,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use common::Server;
use outage::{
    Dice, Wrong, check,
    imap::{self, ledger::User},
    ledger::Ledger,
    letters::Letters,
    load::{self, Addresses, Crowd, Load},
    number, restart,
};

fn main() -> ExitCode {
    let Some(cycles) = number("RESTANTE_KILL_LOOP").and_then(|cycles| usize::try_from(cycles).ok()) else {
        println!("skipped: run `make kill-loop`");
        return ExitCode::SUCCESS;
    };
    let seed = number("RESTANTE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("kill -9 with RESTANTE_SEED={seed}");
    let began = Instant::now();
    let mut dice = Dice::new(seed);
    let letters = Letters::new(&mut dice);
    let promises = (Mutex::new(Ledger::default()), outage::users());
    let mut server = Server::dev();
    outage::prepare(&server).unwrap();
    let (mut failed, mut starts) = (0, Vec::new());
    for cycle in 0..cycles {
        let wrong =
            one(cycle, &mut server, &letters, &promises, &mut dice, &mut starts).unwrap_or_else(|e| vec![e]);
        if !wrong.is_empty() {
            failed += 1;
            println!("cycle {cycle}: {} wrong", wrong.len());
            wrong.iter().take(10).for_each(|wrong| println!("kill loop:     {}: {}", wrong.what, wrong.text));
        }
    }
    let (ledger, users) = (promises.0.lock().unwrap(), &promises.1);
    starts.sort_unstable();
    println!(
        "{cycles} kills, {:.2} s each; {} letters accepted, {} deleted, {} changes by IMAP; start to greeting {:.0?} (median), {:.0?} (worst)",
        began.elapsed().as_secs_f64() / cycles.max(1) as f64,
        ledger.accepted,
        ledger.deleted,
        outage::changes(users, None),
        starts.get(starts.len() / 2).copied().unwrap_or_default(),
        starts.last().copied().unwrap_or_default(),
    );
    println!("{} passed, {failed} failed", cycles - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One cycle: load, kill, a check of the files, start, a check by IMAP, and in some cycles one by POP3.
fn one(
    cycle: usize,
    server: &mut Server,
    letters: &Letters,
    (ledger, users): &(Mutex<Ledger>, Vec<Mutex<User>>),
    dice: &mut Dice,
    starts: &mut Vec<Duration>,
) -> Result<Vec<Wrong>, Wrong> {
    let load = Load::new(Addresses::of(server), letters, (ledger, users), cycle);
    let ending = Arc::clone(&load.ending);
    let crowd = Crowd::of(cycle);
    let until_kill = Duration::from_millis(10 + dice.below(60) as u64);
    let changes = dice.below(6);
    let mut wrong = load.run(crowd, dice, || {
        outage::await_changes(users, None, changes);
        thread::sleep(until_kill);
        ending.store(true, Ordering::SeqCst);
        server.kill();
    });
    let mut ledger = ledger.lock().unwrap();
    wrong.extend(check::files(&server.spool, letters, &mut ledger).1);
    for mailbox in check::list(&server.spool) {
        check::list(&mailbox.join("tmp")).iter().for_each(|file| fs::remove_file(file).unwrap());
    }
    starts.push(restart(server)?);
    let imap = (Addresses::of(server).imap, &*server.spool);
    let by_imap = imap::check::check(imap, users, &mut ledger, letters);
    // If no journal makes a rename atomic, MOVE links and unlinks, and a kill between the two leaves both
    // (docs/DISK.md). The directory of this test may be on such a file system. `make power-cut` tests the rename.
    wrong.extend(by_imap.into_iter().filter(|fault| fault.what != "doubled by MOVE"));
    if cycle % LOOKS == LOOKS - 1 {
        wrong.extend(check::pop3(server.pop3(), &server.spool, &mut ledger, dice));
        for mailbox in check::list(&server.spool).iter().filter(|mailbox| load::is_fresh(mailbox)) {
            fs::remove_dir_all(mailbox).unwrap();
            ledger.forget(&mailbox.file_name().unwrap_or_default().to_string_lossy());
        }
    }
    Ok(wrong)
}

/// Cycles between two checks over POP3, which also delete most of the messages.
const LOOKS: usize = 5;
