//! A server without clients sleeps, and so does each of its threads: a machine that runs on a battery, or has a thousand other
//! servers, is not woken.
//!
//! Two things may wake it. The watchdog of a service manager wants a message at its interval. The file of metrics is a
//! sign of life: `restante status --check` and the monitors of others see by its age that the server does not hang, so
//! a file that is written after changes alone would show a quiet server as a dead one. `metrics.interval` says how
//! often it is written, five seconds by default. The first test has an hour in its place, like a server without a
//! directory for the file, which has no thread for it; the second one has the default, and finds no other thread awake.
//! If inotify cannot report the changes of the files of accounts and certificates, as on a file server, the server must
//! poll them; and open mailboxes without a watch are compared every minute.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use rustix::fs::statfs;

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, deliver},
    skip,
};

const ALICE: &str = "alice@example.test";
/// Nothing may happen for this long: the server looks whether its spool is in its place every 20 seconds.
const QUIET: Duration = Duration::from_secs(10);
/// After traffic, a server does its last work within this time.
const RESTLESS: Duration = Duration::from_secs(40);

/// The name of each thread and the number of times that it has run, by the thread's number.
fn switches(server: &Server) -> BTreeMap<String, (String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let of_thread = |task: std::path::PathBuf| {
        let status = fs::read_to_string(task.join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches(':').trim().to_owned()
        };
        let number = |name: &str| field(name).parse::<u64>().unwrap_or(0);
        let runs = number("voluntary_ctxt_switches") + number("nonvoluntary_ctxt_switches");
        (task.file_name().unwrap().to_string_lossy().into_owned(), (field("Name"), runs))
    };
    tasks.map(|task| of_thread(task.unwrap().path())).collect()
}

/// The names of the threads that wake up in some quiet seconds, and how often.
fn wakes(server: &Server) -> Vec<String> {
    let before = switches(server);
    thread::sleep(QUIET);
    let woken = |(number, (name, runs)): (String, (String, u64))| {
        let more = runs - before.get(&number).map_or(0, |(_, before)| *before);
        (more > 0).then(|| format!("{name}: {more}"))
    };
    switches(server).into_iter().filter_map(woken).collect()
}

/// Whether the kernel reports changes on the file system of the tests: the list is that of `src/local_fs.rs`.
fn reports_changes(server: &Server) -> bool {
    let kind = statfs(server.home.path()).unwrap().f_type as u64 & 0xffff_ffff;
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e, 0x0102_1994].contains(&kind)
}

#[test]
fn x10_a_server_without_traffic_sleeps_for_ten_seconds_and_longer() {
    let test = "x10_a_server_without_traffic_sleeps_for_ten_seconds_and_longer";
    sleeps(test, "[metrics]\ninterval = \"1h\"\n", |_| false);
}

#[test]
fn x10_a_server_with_the_default_settings_wakes_for_the_file_of_its_metrics_alone() {
    let test = "x10_a_server_with_the_default_settings_wakes_for_the_file_of_its_metrics_alone";
    sleeps(test, "", |woken| woken.starts_with("metrics: "));
}

/// A server with these settings sleeps, but for threads that may wake up.
fn sleeps(test: &str, settings: &str, may_wake: impl Fn(&String) -> bool) {
    let config = format!("{STRICT}\n{settings}");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    if !reports_changes(&server) {
        return skip(test, "inotify does not report all changes on the file system of the tests");
    }
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    // A silent client wakes no thread either, before its time is over.
    let mut silent = Client::pop3(&server, ALICE);
    let began = Instant::now();
    loop {
        // A thread that has not run has made no call.
        let woken = wakes(&server);
        if woken.iter().all(&may_wake) {
            break;
        }
        assert!(began.elapsed() < RESTLESS, "threads that woke up in {QUIET:?}: {woken:?}");
    }
    silent.ask("STAT", "+OK 1 ");
}

#[test]
fn x10_accounts_that_change_are_read_at_once_after_a_long_sleep() {
    let config = format!("{STRICT}\n[limits]\nauth.reload_interval = \"40s\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    if !reports_changes(&server) {
        let test = "x10_accounts_that_change_are_read_at_once_after_a_long_sleep";
        return skip(test, "inotify does not report all changes on the file system of the tests");
    }
    let users = server.home.path().join("users.json");
    let text = fs::read_to_string(&users).unwrap();
    let new = users.with_extension("new");
    fs::write(&new, text.replace("alice", "carol")).unwrap();
    fs::rename(new, &users).unwrap();
    // Within the patience of the tests, which is shorter than the interval.
    server.tells("accounts reloaded: 1");
}
