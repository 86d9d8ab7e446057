//! The options that select mailboxes for `wait`, `purge` and `seed`.

use std::path::PathBuf;

use clap::Args;

use super::{
    config_arg::{named_config, repeat_config},
    default_spool::{HERE, NAME_SPOOL, VARIABLE_ALONE, no_spool_here},
    failure::Failure,
    mailbox_path::path_advice,
    output,
    owner::become_owner_of,
};
use crate::{
    accounts::Accounts,
    command_hint::{self, Place, path_word, restante, shell_quoted},
    config::{Config, ConfigText},
    file_rights::as_another_user,
    loaded_config,
    maildir::{self, Kind, Maildir, Spool},
    proto::{
        folder::Folder,
        request::{AccountDirectory, Lookup},
        smtp::address::Address,
    },
    system::spool_place,
    tools::Target,
};

/// The options for the spool.
#[derive(Debug, Args)]
pub(super) struct MailboxArgs {
    /// Directory with the mailboxes, as `restante dev` uses it [default: ./spool]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Configuration file of `restante serve`, for its spool, accounts and aliases [default: $RESTANTE_CONFIG, if it is
    /// set]
    #[arg(long, value_name = "FILE", conflicts_with = "spool")]
    config: Option<PathBuf>,
}

/// A spool and its accounts.
pub(super) struct SpoolAccounts {
    pub(super) spool: PathBuf,
    /// The host name for the names of new message files.
    pub(super) host: String,
    accounts: Accounts,
    /// The reason why the accounts are without their aliases.
    without_aliases: Option<String>,
    /// True if neither an option nor the environment names the spool.
    is_default: bool,
    /// True if a configuration names the spool and its accounts.
    is_configured: bool,
}

/// The accounts of a configuration, and the reason why they are without their aliases, which a warning tells.
pub(super) fn accounts_of(config: &Config, text: &ConfigText) -> Result<(Accounts, Option<String>), Failure> {
    let (accounts, error) = loaded_config::accounts_of(config, text)?;
    let why = error.map(|error| error.to_string());
    if let Some(why) = &why {
        output::message(format_args!("restante: goes on without the aliases: {why}"));
    }
    Ok((accounts, why))
}

/// The folder that mail for an address with a tag goes into. As with delivery, `None` if it is not there, and the mailbox
/// itself gets the mail; a message tells that.
pub(super) fn folder_of_tag(
    spool: &Spool,
    mailbox: &str,
    folder: &Folder,
) -> Result<Option<Maildir>, maildir::Error> {
    match spool.folder(mailbox, folder.directory()) {
        Err(error) if error.kind() == Kind::Gone => {
            output::message(format_args!(
                "restante: {mailbox} has no folder {folder}, so the mailbox itself gets the messages, as it gets mail for that tag"
            ));
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

impl MailboxArgs {
    pub(super) fn open(&self) -> Result<SpoolAccounts, Failure> {
        let config = self.config.clone().or_else(|| named_config().filter(|_| self.spool.is_none()));
        let mailboxes = match &config {
            Some(file) => {
                repeat_config(file);
                let (config, text) = Config::read(file)?;
                let (accounts, without_aliases) = accounts_of(&config, &text)?;
                SpoolAccounts {
                    spool: config.spool,
                    host: config.hostname,
                    accounts,
                    without_aliases,
                    is_default: false,
                    is_configured: true,
                }
            }
            None => {
                let spool = self.spool.clone().unwrap_or_else(|| HERE.into());
                command_hint::repeat(Place::Spool, &spool);
                let spool = std::path::absolute(&spool)
                    .map_err(|error| Failure::Usage(format!("{}: {error}", spool.display())))?;
                let accounts = Accounts::accept_all(&["localhost".into()]);
                // The name of a server for development.
                let host = "localhost".to_owned();
                let is_default = self.spool.is_none();
                SpoolAccounts {
                    spool,
                    host,
                    accounts,
                    without_aliases: None,
                    is_default,
                    is_configured: false,
                }
            }
        };
        if let Err(error) = mailboxes.spool.symlink_metadata()
            && let Some(advice) = as_another_user(&error)
        {
            return Err(Failure::Other(format!("{}: {error}: {advice}", mailboxes.spool.display())));
        }
        if let Some(refusal) = spool_place::refusal_of_mailbox(&mailboxes.spool, config.is_some()) {
            return Err(Failure::Usage(refusal));
        }
        // A spool that does not exist yet will get the owner of the directory it is created in.
        if let Some(there) = mailboxes.spool.ancestors().find(|path| path.exists()) {
            become_owner_of(there)?;
        }
        Ok(mailboxes)
    }
}

impl SpoolAccounts {
    /// Whether the command was given no spool, and finds none.
    pub(super) fn is_nowhere(&self) -> bool {
        self.is_default && !self.spool.exists()
    }

    /// The sentence for a spool that is not there.
    pub(super) fn absent(&self) -> String {
        match self.is_default {
            true => no_spool_here(VARIABLE_ALONE),
            false => format!("{} is not there: {NAME_SPOOL}", self.spool.display()),
        }
    }

    /// The destinations of mail for an address.
    pub(super) fn targets(&self, address: &str) -> Result<Vec<Target>, Failure> {
        if let Some(advice) = path_advice(address) {
            return Err(Failure::Usage(advice));
        }
        let parsed = Address::parse(address).map_err(|_| {
            Failure::Usage(format!("{address:?} is not a mail address: write it like bob@example.test"))
        })?;
        match self.accounts.lookup(&parsed) {
            Lookup::Local(destinations) => Ok(Target::all(&self.accounts, &parsed, &destinations)),
            // An alias may have it.
            Lookup::Unknown if self.without_aliases.is_some() => {
                let why = self.without_aliases.as_deref().unwrap_or_default();
                Err(Failure::Usage(format!(
                    "{address}: no account has that address, and no alias is known: {why}"
                )))
            }
            Lookup::Unknown | Lookup::Refused(_) => {
                Err(self.without_account(address, &parsed, "no account has that address"))
            }
            Lookup::Foreign => Err(self.without_account(address, &parsed, "not in a domain of this server")),
        }
    }

    /// The refusal of an address without an account, with the way to its mailbox if it has one all the same.
    fn without_account(&self, address: &str, parsed: &Address, why: &str) -> Failure {
        let mailbox = self.accounts.mailbox_of(address);
        let mailbox = mailbox.filter(|mailbox| self.spool.join(mailbox.as_str()).is_dir());
        let advice = match mailbox {
            _ if !self.is_configured => NAME_SPOOL.to_owned(),
            Some(mailbox) => {
                let whole = if parsed.domain().is_some() { address } else { mailbox.as_str() };
                format!(
                    "its mailbox is there, and `--to {} --spool {}` in place of --config reaches it",
                    shell_quoted(whole),
                    path_word(&self.spool)
                )
            }
            None => format!("{} shows the accounts there are", restante(&["user", "list"])),
        };
        Failure::Usage(format!("{address}: {why}; {advice}"))
    }
}
