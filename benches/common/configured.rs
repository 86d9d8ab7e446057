//! The configuration of `restante serve`, and the accounts of its users.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{restante, spool};

/// Makes the spool of a server in `dir`, its configuration with these further lines, and its users, whose password is
/// [`PASSWORD`]. Returns the configuration.
pub(crate) fn configure(dir: &Path, rest: &str, users: &[impl AsRef<str>]) -> io::Result<PathBuf> {
    let (config, accounts) = (dir.join("restante.toml"), dir.join(ACCOUNTS));
    fs::create_dir(spool(dir))?;
    let text = format!(
        "hostname = \"mx.example.test\"\ndomains = [\"example.test\"]\nspool = {:?}\naccounts = {accounts:?}\n{rest}",
        spool(dir)
    );
    fs::write(&config, text)?;
    for user in users {
        let mut command = restante();
        command.args(["user", "add", user.as_ref(), "--password-stdin", "--config"]).arg(&config);
        run(&mut command, PASSWORD)?;
    }
    Ok(config)
}

/// A listener for that service, on a port of its own and with these further keys.
pub(crate) fn listener(service: &str, more: &str) -> String {
    format!("[[listen]]\nprotocol = {service:?}\naddress = \"127.0.0.1:0\"\n{more}\n")
}

/// Runs a command that reads this line.
pub(crate) fn run(command: &mut Command, line: &str) -> io::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    // A command that reads no input may have ended.
    if let Some(mut stdin) = child.stdin.take().filter(|_| !line.is_empty()) {
        writeln!(stdin, "{line}")?;
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("{command:?}: {status}"))),
    }
}

pub(crate) const ACCOUNTS: &str = "users.json";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
