//! `restante user`: manages the accounts.

mod mail;

use std::{
    io::{self, BufRead},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{
    config_arg::ConfigArg,
    failure::Failure,
    output::{Stdout, message_count},
    owner::as_server,
};
use crate::{
    accounts::{self, Account, UserFile},
    command_hint::restante,
    config::Config,
    file_rights,
    maildir::Spool,
    password_prompt,
    proto::request::Mailbox,
    system::privileges,
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
    Add(NewAccount),
    /// Change the password of an account, and end its sessions.
    #[command(visible_alias = "password")]
    Passwd(WithPassword),
    /// Refuse logins to an account, and end its sessions; mail still arrives
    Disable(AccountArg),
    /// Allow logins to an account again
    Enable(AccountArg),
    /// List the accounts
    List(Listing),
    /// Give an account another name, and end its sessions: its mail, its password and its settings stay
    Rename(Renaming),
    /// Remove an account, and end its sessions; its mail stays, unless it is to be deleted
    Remove(Removal),
}

#[derive(Debug, Args)]
struct NewAccount {
    #[command(flatten)]
    account: WithPassword,
    /// Mailbox of the account [default: its name]
    #[arg(long, value_name = "NAME")]
    inbox: Option<String>,
    /// Give the mail that is in the mailbox already to the new account
    #[arg(long)]
    keep_mail: bool,
    /// Make a new file of accounts, also beside a server or the mail of other accounts
    #[arg(long)]
    new_file: bool,
}

#[derive(Debug, Args)]
struct Listing {
    /// Print the names alone, one per line
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    file: ConfigArg,
}

#[derive(Debug, Args)]
struct Renaming {
    /// Present name
    #[arg(value_name = "OLD")]
    old: String,
    /// New name
    #[arg(value_name = "NEW")]
    new: String,
    /// Keep the old name as a further address of the account
    #[arg(long)]
    keep_address: bool,
    /// Add the mail that is in the mailbox of the new name already
    #[arg(long)]
    keep_mail: bool,
    #[command(flatten)]
    file: ConfigArg,
}

#[derive(Debug, Args)]
struct Removal {
    #[command(flatten)]
    account: AccountArg,
    /// Delete the mail of the account too, also that of a former account
    #[arg(long)]
    delete_mail: bool,
    /// Do not ask before mail is deleted; without --delete-mail, nothing is asked, and the mail stays
    #[arg(long)]
    yes: bool,
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
    /// Mail address; without a domain, in the first of the configuration
    name: String,
    #[command(flatten)]
    file: ConfigArg,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut out = Stdout::new();
    let mut is_applied = true;
    match &arguments.action {
        Action::Add(new) => {
            let to = &new.account;
            let config = to.account.file.load()?;
            let name = accounts::account_name(&to.account.name, &config.domains)?;
            refuse_alias(&config, &name)?;
            let inbox = new.inbox.as_deref();
            let mailbox =
                inbox.map_or_else(|| accounts::own_mailbox(&name), Mailbox::named).ok_or_else(|| {
                    let inbox = inbox.unwrap_or(&name);
                    Failure::Usage(format!(
                        "{inbox:?} cannot be an inbox: write it like {name}, without a path"
                    ))
                })?;
            let group = config.user.as_deref().and_then(privileges::group_of);
            let users = UserFile::at(config.accounts.clone()).read_by(group);
            if matches!(users.has(&name), Ok(true)) {
                return Err(accounts::Error::Exists(name).into()); // before it asks for a password
            }
            if !new.new_file && matches!(users.users(), Err(accounts::Error::Missing(_))) {
                mail::refuse_new_file(&config, &mailbox)?;
            }
            if !new.keep_mail {
                mail::refuse_former_mail(&config, &users, &mailbox, OTHER_INBOX)?;
            }
            let password = password(to)?;
            users.add(&name, inbox, &password)?;
            is_applied = tell(&format!("added {name}"), &config, &mut out)?;
            warn_of_aliases(&config, &mut out)?;
        }
        Action::Passwd(to) => {
            let config = to.account.file.load()?;
            let name = accounts::canonical_name(&to.account.name, &config.domains);
            let users = UserFile::at(config.accounts.clone());
            let named = |error| by_its_name(error, "passwd");
            users.check_account(&name).map_err(named)?; // before it asks for a password
            users.set_password(&name, &password(to)?).map_err(named)?;
            is_applied = tell(&format!("changed the password of {name}"), &config, &mut out)?;
            let is_disabled = |(known, account): &(String, Account)| *known == name && account.disabled;
            if users.users()?.iter().any(is_disabled) {
                let enable = restante(&["user", "enable", &name]);
                out.line(format_args!("the account is disabled: {enable} lets it log in"))?;
            }
        }
        Action::Disable(account) => is_applied = set_disabled(account, true, &mut out)?,
        Action::Enable(account) => is_applied = set_disabled(account, false, &mut out)?,
        Action::List(Listing { names, file }) => {
            let config = file.load()?;
            let users = UserFile::at(config.accounts).users()?;
            let line = |name: &str, account: &Account| {
                if *names { name.to_owned() } else { describe(name, account) }
            };
            users.iter().try_for_each(|(name, account)| out.line(line(name, account)))?;
        }
        Action::Rename(Renaming { old, new, keep_address, keep_mail, file }) => {
            let config = file.load()?;
            let new = accounts::account_name(new, &config.domains)?;
            let old = accounts::canonical_name(old, &config.domains);
            if old == new {
                return Err(Failure::Usage(format!(
                    "the account has the name {new} already: nothing was changed"
                )));
            }
            refuse_alias(&config, &new)?;
            mail::rename(&config, (&old, &new), (*keep_mail, *keep_address), &mut out)?;
            warn_of_aliases(&config, &mut out)?;
        }
        Action::Remove(Removal { account, delete_mail, yes }) => {
            let config = account.file.load()?;
            let name = accounts::canonical_name(&account.name, &config.domains);
            if *delete_mail {
                mail::remove_with_mail(&config, &name, *yes, &mut out)?;
            } else {
                let users = UserFile::at(&config.accounts);
                let left = mail::left_behind(&config, &users, &name);
                users.remove(&name).map_err(|error| by_its_name(error, "remove"))?;
                is_applied = tell(&format!("removed {name}{left}"), &config, &mut out)?;
            }
            warn_of_aliases(&config, &mut out)?;
        }
    }
    out.flush()?;
    if is_applied { Ok(()) } else { Err(Failure::Told(ExitCode::FAILURE)) }
}

/// Refuses a name for an account that is an alias: the server would not start with both.
fn refuse_alias(config: &Config, name: &str) -> Result<(), Failure> {
    match crate::loaded_config::account_sources(config).place_of_alias(name)? {
        None => Ok(()),
        Some((file, line)) => Err(Failure::Usage(format!(
            "{name} is an alias in {}, line {line}: take it out there first, or choose another name",
            file.display()
        ))),
    }
}

/// Tells of aliases that lead to an account that is gone.
fn warn_of_aliases(config: &Config, out: &mut Stdout) -> Result<(), Failure> {
    if let Err(error @ accounts::Error::Aliases { .. }) = crate::loaded_config::account_sources(config).load()
    {
        out.line(format_args!("change the aliases too, else the server will not start again: {error}"))?;
    }
    Ok(())
}

/// Returns false if the server cannot read the file with the change.
fn set_disabled(account: &AccountArg, disabled: bool, out: &mut Stdout) -> Result<bool, Failure> {
    let config = account.file.load()?;
    let name = accounts::canonical_name(&account.name, &config.domains);
    let (done, action) = if disabled { ("disabled", "disable") } else { ("enabled", "enable") };
    let users = UserFile::at(config.accounts.clone());
    users.set_disabled(&name, disabled).map_err(|error| by_its_name(error, action))?;
    tell(&format!("{done} {name}"), &config, out)
}

/// Adds the command with the name of the account to a refusal of one of its further addresses.
fn by_its_name(error: accounts::Error, action: &str) -> Failure {
    match &error {
        accounts::Error::FurtherAddress { account, .. } => {
            Failure::Other(format!("{error}: {}", restante(&["user", action, account])))
        }
        _ => error.into(),
    }
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
    let messages = account.quota.messages.map(message_count);
    let quota: Vec<String> = octets.into_iter().chain(messages).collect();
    if !quota.is_empty() {
        line += &format!(", at most {}", quota.join(" and "));
    }
    if account.disabled {
        line += ", disabled";
    }
    line
}

/// Prints the change of the file, and when a running server applies it, or why it cannot. Returns false if the server cannot
/// read the file, because a script that locks a user out must not take the lock for done.
fn tell(done: &str, config: &Config, out: &mut Stdout) -> Result<bool, Failure> {
    let way = as_server(config, || file_rights::way_to_read_again(&config.accounts)).ok().flatten();
    let is_applied = way.is_none();
    let notice = match way {
        Some(way) => format!(
            "; but the server applies nothing, because it cannot read {}: {way}",
            config.accounts.display()
        ),
        None if may_run(config) => {
            format!("; a running server applies this within {}", config.limits.auth.reload_interval)
        }
        None => String::new(),
    };
    out.line(format_args!("{done}{notice}"))?;
    Ok(is_applied)
}

/// Whether a server uses the spool, or this user may not know.
fn may_run(config: &Config) -> bool {
    match Spool::open_existing(&config.spool) {
        Ok(spool) => spool.is_in_use(),
        Err(error) => error.is_denied(),
    }
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
    // RFC 4616 section 2 ends the fields of PLAIN with it.
    if password.contains(&0) {
        return Err(Failure::Other(
            "a password cannot have a NUL, which no program can send; nothing was changed".into(),
        ));
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

/// The way of `user add` to another mailbox.
const OTHER_INBOX: &str = "choose another mailbox with --inbox NAME";
