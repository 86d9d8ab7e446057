//! HAProxy in front of both instances, with the example that we ship.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    common::home,
    network::{Machine, PROXY},
};

/// A running HAProxy; it ends with this.
pub(crate) struct HaProxy {
    child: Child,
    home: TempDir,
}

impl HaProxy {
    /// Starts it, and waits until it finds both instances healthy.
    pub(crate) fn start() -> Self {
        let home = home();
        let log = File::create(home.path().join("log")).unwrap();
        let mut command = haproxy();
        command.arg("-db").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let proxy = Self { child: command.spawn().unwrap(), home };
        for service in CHECKED {
            for instance in crate::network::INSTANCES {
                let name = format!("{service}/{}", instance.name);
                proxy.awaits(&format!("a check of {name} passes"), || {
                    proxy.counts(&format!("check for server {name} succeeded, reason: Layer7 check passed"))
                });
            }
        }
        proxy
    }

    /// The address that clients connect to.
    pub(crate) fn front(&self, port: u16) -> SocketAddr {
        (PROXY.address, port).into()
    }

    /// The number of times so far that each of the services of an instance was found to be up, or down.
    pub(crate) fn found(&self, instance: Machine, state: &str) -> usize {
        let count = |service| self.counts(&format!("Server {service}/{} is {state}", instance.name));
        CHECKED.map(count).into_iter().min().unwrap_or(0)
    }

    /// Waits until an instance has been found to be up, or down, more often than that, and returns how long it took.
    pub(crate) fn finds(&self, instance: Machine, state: &str, more_than: usize) -> Duration {
        let began = Instant::now();
        let what = format!("{} is found {state}", instance.name);
        self.awaits(&what, || self.found(instance, state).saturating_sub(more_than));
        began.elapsed()
    }

    fn awaits(&self, what: &str, count: impl Fn() -> usize) {
        let began = Instant::now();
        while count() == 0 {
            assert!(began.elapsed() < CHECKS_TAKE, "not within {CHECKS_TAKE:?}: {what}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn counts(&self, what: &str) -> usize {
        self.log().matches(what).count()
    }

    /// Has new clients come to an instance (`ready`), or none (`drain`).
    pub(crate) fn set(&self, instance: Machine, state: &str) {
        for service in CHECKED {
            assert_eq!(
                self.command(&format!("set server {service}/{} state {state}", instance.name)).trim(),
                ""
            );
        }
    }

    /// Sends it a command of an operator.
    fn command(&self, command: &str) -> String {
        let mut socket = UnixStream::connect("/run/haproxy/admin.sock").unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The sessions that it holds at an instance.
    pub(crate) fn sessions_at(&self, instance: Machine) -> usize {
        let stat = self.command("show stat");
        let of_it = stat.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let of_it = of_it.filter(|fields| fields.get(1) == Some(&instance.name));
        of_it.map(|fields| fields[4].parse::<usize>().unwrap()).sum()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        let _ = self.child.wait();
        if thread::panicking() {
            let of_servers = |line: &&str| line.contains("erver ");
            let log = self.log();
            eprintln!("--- what HAProxy logged of the instances:");
            log.lines().filter(of_servers).for_each(|line| eprintln!("{line}"));
        }
    }
}

fn haproxy() -> Command {
    let [program, arguments @ ..] = PROXY.wrapper();
    let mut command = Command::new(program);
    command.args(arguments).args(["haproxy", "-f", EXAMPLE]);
    command
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/haproxy.cfg");
/// The services with checks of their own; the others follow them.
const CHECKED: [&str; 2] = ["smtp", "pop3"];
/// The time that the example promises for an instance that fails, and as much again for a busy machine.
pub(crate) const CHECKS_TAKE: Duration = Duration::from_secs(12);
