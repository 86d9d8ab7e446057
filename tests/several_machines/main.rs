//! Two instances on one spool, each on a machine of its own as far as the network goes, and HAProxy in front of them
//! with `examples/haproxy.cfg` as it stands. Under load one of them is killed, and then the other: nothing that was
//! acknowledged is lost, nothing is there twice, and clients are served by the one that lives. On one file system, through
//! two mounts with caches between which no event crosses, and through two kernels that are clients of one NFS server. `make several-machines` runs it, as root.
//!
//! The senders never send a letter again, so that not even the doubles that SMTP allows are allowed here.

#[path = "../common/mod.rs"]
mod common;
mod file_server;
mod network;
#[path = "../crash/outage/mod.rs"]
#[allow(dead_code, reason = "here no server is restarted by it")]
mod outage;
mod proxy;
mod site;
mod spool;
mod stories;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    process::{Command, ExitCode},
    time::Instant,
};

use common::{installed, skip};
use spool::Kind;
use stories::Story;

fn main() -> ExitCode {
    let Ok(wanted) = env::var("RESTANTE_SEVERAL") else {
        println!("skipped: run `make several-machines`");
        return ExitCode::SUCCESS;
    };
    if env::var_os(INSIDE).is_some() {
        return inside(&wanted);
    }
    if let Err(why) = possible() {
        skip("several machines", &why);
        return ExitCode::SUCCESS;
    }
    // Namespaces, mounts and programs are those of this process, and end with it, however it ends.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "600"]).args(UNSHARE).arg(env::current_exe().unwrap());
    let status = command.args(env::args_os().skip(1)).env(INSIDE, "1").status().unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether machines can be played here.
fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root may make networks".to_owned());
    }
    let programs = ["unshare", "timeout", "mount", "ip", "haproxy"];
    if let Some(program) = programs.into_iter().find(|program| !installed(program)) {
        return Err(format!("{program} is not installed"));
    }
    let probe = "ip link add probe type bridge && ip link add one type veth peer name other";
    let output = Command::new(UNSHARE[0]).args(&UNSHARE[1..]).args(["sh", "-c", probe]).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("no bridge or no namespace is to be had: {said}"))
    }
}

fn inside(wanted: &str) -> ExitCode {
    network::make();
    // Words of the command line choose the stories that have one of them in their name.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for kind in Kind::ALL.into_iter().filter(|kind| wanted.split([' ', ',']).any(|word| word == kind.word()))
    {
        for Story { name, kinds, tell } in stories::ALL {
            let name = format!("{name} {}", kind.name());
            if !kinds.contains(&kind) {
                continue;
            }
            if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
                continue;
            }
            if let Some(why) = kind.missing() {
                skip(&name, &why);
                skipped += 1;
                continue;
            }
            let began = Instant::now();
            let good = panic::catch_unwind(AssertUnwindSafe(|| tell(kind))).is_ok();
            *if good { &mut passed } else { &mut failed } += 1;
            let result = if good { "ok" } else { "FAILED" };
            println!("test {name} ... {result} ({:.1} s)", began.elapsed().as_secs_f64());
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Set in the process that has everything to itself.
const INSIDE: &str = "RESTANTE_SEVERAL_INSIDE";
const UNSHARE: [&str; 7] = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
