//! `restante user`: manages the accounts.

use std::{
    io::{self, BufRead},
    path::PathBuf,
};

use clap::{Args, Subcommand};

use super::{failure::Failure, output::Stdout};
use crate::{
    accounts::{self, Account, UserFile},
    config::Config,
    password_prompt,
};

/// Add, change, list and remove accounts.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add an account
    Add(WithPassword),
    /// Change the password of an account.
    #[command(visible_alias = "password")]
    Passwd(WithPassword),
    /// Refuse logins to an account; mail still arrives
    Disable(AccountArg),
    /// Allow logins to an account again
    Enable(AccountArg),
    /// List the accounts
    List(ConfigArg),
    /// Remove an account; its mail stays
    Remove(AccountArg),
}

#[derive(Debug, Args)]
struct WithPassword {
    #[command(flatten)]
    account: AccountArg,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
struct AccountArg {
    /// Full mail address
    name: String,
    #[command(flatten)]
    file: ConfigArg,
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// Configuration file, for the path of the accounts file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut out = Stdout::new();
    match &arguments.action {
        Action::Add(to) => {
            let config = Config::load(&to.account.file.config)?;
            let name = accounts::account_name(&to.account.name, &config.domains)?;
            UserFile::at(config.accounts.clone()).add(&name, &password(to)?)?;
            out.line(format_args!("added {name}; {}", reload_notice(&config)))?;
        }
        Action::Passwd(to) => {
            let config = Config::load(&to.account.file.config)?;
            let name = accounts::canonical_name(&to.account.name);
            UserFile::at(config.accounts.clone()).set_password(&name, &password(to)?)?;
            out.line(format_args!("changed the password of {name}; {}", reload_notice(&config)))?;
        }
        Action::Disable(account) => set_disabled(account, true, &mut out)?,
        Action::Enable(account) => set_disabled(account, false, &mut out)?,
        Action::List(file) => {
            let config = Config::load(&file.config)?;
            let users = UserFile::at(config.accounts).users()?;
            users.iter().try_for_each(|(name, account)| out.line(describe(name, account)))?;
        }
        Action::Remove(account) => {
            let config = Config::load(&account.file.config)?;
            let name = accounts::canonical_name(&account.name);
            let left = crate::loaded_config::account_sources(&config);
            UserFile::at(&left.users).remove(&name)?;
            let spool = config.spool.display();
            out.line(format_args!(
                "removed {name}, whose mail stays in {spool}; {}",
                reload_notice(&config)
            ))?;
            if let Err(error @ accounts::Error::Aliases { .. }) = left.load() {
                out.line(format_args!(
                    "change the aliases too, else the server will not start again: {error}"
                ))?;
            }
        }
    }
    out.flush()
}

fn set_disabled(account: &AccountArg, disabled: bool, out: &mut Stdout) -> Result<(), Failure> {
    let config = Config::load(&account.file.config)?;
    let name = accounts::canonical_name(&account.name);
    UserFile::at(config.accounts.clone()).set_disabled(&name, disabled)?;
    let done = if disabled { "disabled" } else { "enabled" };
    out.line(format_args!("{done} {name}; {}", reload_notice(&config)))
}

/// One line for one account: its name, and its differences from the default.
fn describe(name: &str, account: &Account) -> String {
    let mut line = name.to_owned();
    if let Some(inbox) = account.inbox.as_deref().filter(|inbox| *inbox != name) {
        line += &format!(" -> {inbox}");
    }
    for address in &account.addresses {
        line += &format!(", {address}");
    }
    let octets = account.quota.bytes.map(|bytes| bytes.to_string());
    let messages = account.quota.messages.map(|messages| format!("{messages} messages"));
    let quota: Vec<String> = octets.into_iter().chain(messages).collect();
    if !quota.is_empty() {
        line += &format!(", at most {}", quota.join(" and "));
    }
    if account.disabled {
        line += ", disabled";
    }
    line
}

/// The time until a running server applies the change.
fn reload_notice(config: &Config) -> String {
    format!("a running server applies this within {}", config.limits.auth.reload_interval)
}

/// Reads the password from standard input, or asks for it twice.
fn password(to: &WithPassword) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Other(format!("cannot read the password: {error}"));
    let password = if to.password_stdin {
        first_line(io::stdin().lock()).map_err(failed)?
    } else {
        let ask = |prompt: &str| {
            password_prompt::ask(&format!("{prompt} password for {}: ", to.account.name)).map_err(|error| {
                Failure::Other(format!(
                    "cannot ask for the password: {error}; without a terminal use --password-stdin"
                ))
            })
        };
        let password = ask("New")?;
        if ask("Repeat the")? != password {
            return Err(Failure::Other("the two passwords differ; nothing was changed".into()));
        }
        password
    };
    if password.is_empty() {
        return Err(Failure::Other("a password cannot be empty; nothing was changed".into()));
    }
    Ok(password)
}

/// Reads the first line without its line end.
fn first_line(mut input: impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let end = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
    line.truncate(line.len() - end);
    Ok(line)
}
