//! The options that select mailboxes for `wait`, `purge` and `seed`.

use std::path::PathBuf;

use clap::Args;

use super::{
    config_arg::{named_config, repeat_config},
    failure::Failure,
    owner::become_owner_of,
};
use crate::{
    accounts::Accounts,
    command_hint::{self, Place},
    config::Config,
    loaded_config,
    proto::{
        request::{AccountDirectory, Lookup},
        smtp::address::Address,
    },
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
    accounts: Accounts,
}

impl MailboxArgs {
    pub(super) fn open(&self) -> Result<SpoolAccounts, Failure> {
        let config = self.config.clone().or_else(|| named_config().filter(|_| self.spool.is_none()));
        let mailboxes = match &config {
            Some(file) => {
                repeat_config(file);
                let (config, text) = Config::read(file)?;
                SpoolAccounts { accounts: loaded_config::accounts_of(&config, &text)?, spool: config.spool }
            }
            None => {
                let spool = self.spool.clone().unwrap_or_else(|| "./spool".into());
                command_hint::repeat(Place::Spool, &spool);
                let spool = std::path::absolute(&spool)
                    .map_err(|error| Failure::Usage(format!("{}: {error}", spool.display())))?;
                SpoolAccounts { spool, accounts: Accounts::accept_all(&["localhost".into()]) }
            }
        };
        // A spool that does not exist yet will get the owner of the directory it is created in.
        if let Some(there) = mailboxes.spool.ancestors().find(|path| path.exists()) {
            become_owner_of(there)?;
        }
        Ok(mailboxes)
    }
}

impl SpoolAccounts {
    /// The destinations of mail for an address.
    pub(super) fn targets(&self, address: &str) -> Result<Vec<Target>, Failure> {
        let nobody = |why: &str| {
            Failure::Usage(format!("{address}: {why}; choose the mailboxes with --spool or --config"))
        };
        let parsed = Address::parse(address).map_err(|_| {
            Failure::Usage(format!("{address:?} is not a mail address: write it like bob@example.test"))
        })?;
        match self.accounts.lookup(&parsed) {
            Lookup::Local(destinations) => Ok(Target::all(&self.accounts, &parsed, &destinations)),
            Lookup::Unknown | Lookup::Refused(_) => Err(nobody("no account has that address")),
            Lookup::Foreign => Err(nobody("not in a domain of this server")),
        }
    }
}
