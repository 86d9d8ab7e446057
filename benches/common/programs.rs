//! Programs of others: where they are, and how they begin and end with us.

use std::{
    env, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command},
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

/// An address that no program has, for one that can't tell us which it got.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Waits until a server that was started greets us; its log tells why, if it ends instead.
pub(crate) fn until_greeted(child: &mut Child, address: SocketAddr, log: &Path) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match greeting(address) {
            Ok(()) => return Ok(()),
            Err(_) if child.try_wait()?.is_none() && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(io::Error::other(format!("did not start: {error}\n{said}")));
            }
        }
    }
}

fn greeting(address: SocketAddr) -> io::Result<()> {
    match io::BufRead::read_line(&mut client::connect(address, 1024)?, &mut String::new())? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
