//! `restante user`: the accounts.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};

use super::Failure;
use crate::{
    accounts::{self, UserFile},
    config::Config,
};

/// Add, change, list and remove accounts.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add an account.
    Add(WithPassword),
    /// Change the password of an account.
    Passwd(WithPassword),
    /// List the accounts.
    List(File),
    /// Remove an account; its mail stays.
    Remove(Named),
}

#[derive(Debug, Args)]
struct WithPassword {
    #[command(flatten)]
    account: Named,
    /// Take the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
struct Named {
    /// The whole mail address.
    name: String,
    #[command(flatten)]
    file: File,
}

#[derive(Debug, Args)]
struct File {
    /// The configuration file, which says where the accounts are.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut out = io::stdout();
    match &arguments.action {
        Action::Add(to) => {
            let config = Config::load(&to.account.file.config)?;
            let name = accounts::name(&to.account.name, &config.domains)?;
            UserFile::at(config.accounts).add(&name, &password(to)?)?;
            writeln!(out, "added {name}; {RESTART}")
        }
        Action::Passwd(to) => {
            let config = Config::load(&to.account.file.config)?;
            let name = to.account.name.to_ascii_lowercase();
            UserFile::at(config.accounts).set_password(&name, &password(to)?)?;
            writeln!(out, "changed the password of {name}; {RESTART}")
        }
        Action::List(file) => {
            let config = Config::load(&file.config)?;
            UserFile::at(config.accounts).users()?.iter().try_for_each(|(name, account)| {
                match account.inbox.as_deref() {
                    Some(inbox) if inbox != name => writeln!(out, "{name} -> {inbox}"),
                    _ => writeln!(out, "{name}"),
                }
            })
        }
        Action::Remove(account) => {
            let config = Config::load(&account.file.config)?;
            let name = account.name.to_ascii_lowercase();
            UserFile::at(config.accounts).remove(&name)?;
            writeln!(out, "removed {name}, whose mail stays in {}; {RESTART}", config.spool.display())
        }
    }
    .map_err(Failure::output)
}

/// The password, from standard input or asked for twice.
fn password(to: &WithPassword) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Other(format!("cannot read the password: {error}"));
    let password = if to.password_stdin {
        first_line(io::stdin().lock()).map_err(failed)?
    } else {
        let ask = |prompt: &str| {
            rpassword::prompt_password(format!("{prompt} password for {}: ", to.account.name)).map_err(
                |error| {
                    Failure::Other(format!(
                        "cannot ask for the password: {error}; without a terminal use --password-stdin"
                    ))
                },
            )
        };
        let password = ask("New")?;
        if ask("Repeat the")? != password {
            return Err(Failure::Other("the two passwords differ: nothing was changed".into()));
        }
        password.into_bytes()
    };
    if password.is_empty() {
        return Err(Failure::Other("a password cannot be empty: nothing was changed".into()));
    }
    Ok(password)
}

/// The first line without its line end.
fn first_line(mut input: impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let end = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
    line.truncate(line.len() - end);
    Ok(line)
}

const RESTART: &str = "a running server knows when it is started again";
