//! Programs of others: where they are, and how they begin and end with us.

use std::{
    env,
    io::{self, BufRead},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::client;

/// A program of that name; servers stand where the `PATH` of a user need not lead.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// The first line that a command prints.
pub(crate) fn first_line(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// A command that gets this signal when we end, however we end.
pub(crate) fn ending_with_us(signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]);
    command
}

/// An address that no program has, for one that can't tell us which it got. The kernel gives none of these ports to a
/// program that asks for any, so that none comes in between.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id() as u16 % PORTS;
    for _ in 0..PORTS {
        let port = FIRST_PORT + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr();
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Waits until a server that was started greets us with its name; its log tells why, if it ends instead.
pub(crate) fn until_greeted(
    child: &mut Child,
    address: SocketAddr,
    name: &str,
    log: &Path,
) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match greeting(address) {
            Ok(line) if line.contains(name) => return Ok(()),
            other if child.try_wait()?.is_some() || Instant::now() > deadline => {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(io::Error::other(format!("{name} did not start: {other:?}\n{said}")));
            }
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn greeting(address: SocketAddr) -> io::Result<String> {
    let mut line = String::new();
    client::connect(address, 1024)?.read_line(&mut line)?;
    Ok(line)
}

/// Ports below those that Linux gives to programs that ask for any.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;
