//! Which mailboxes a command is about: what `wait`, `purge` and `seed` have in common.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, spool::become_owner_of};
use crate::{
    accounts::Accounts,
    config::Config,
    files,
    proto::{
        ask::{Directory, Lookup},
        smtp::address::Address,
    },
    tools::Target,
};

/// Where the mailboxes are.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// The directory with the mailboxes, as of `restante dev`.
    #[arg(long, value_name = "DIR", default_value = "./spool")]
    spool: PathBuf,
    /// The configuration file of `restante serve`, which knows the spool, the accounts and the aliases.
    #[arg(long, value_name = "FILE", conflicts_with = "spool")]
    config: Option<PathBuf>,
}

/// A spool, and who has a mailbox in it.
pub(super) struct Mailboxes {
    pub(super) spool: PathBuf,
    accounts: Accounts,
}

impl Where {
    pub(super) fn open(&self) -> Result<Mailboxes, Failure> {
        let mailboxes = match &self.config {
            Some(file) => {
                let (config, text) = Config::read(file)?;
                Mailboxes { accounts: files::accounts(&config, &text)?, spool: config.spool }
            }
            None => {
                let spool = std::path::absolute(&self.spool)
                    .map_err(|error| Failure::Usage(format!("{}: {error}", self.spool.display())))?;
                Mailboxes { spool, accounts: Accounts::open_house(&["localhost".into()]) }
            }
        };
        // One that is not there yet will be of the owner of the directory that it is made in.
        if let Some(there) = mailboxes.spool.ancestors().find(|path| path.exists()) {
            become_owner_of(there)?;
        }
        Ok(mailboxes)
    }
}

impl Mailboxes {
    /// Where the mail for an address goes.
    pub(super) fn of(&self, address: &str) -> Result<Vec<Target>, Failure> {
        let nobody = |why: &str| {
            Failure::Usage(format!("{address}: {why}; --spool or --config tells whose mailboxes are meant"))
        };
        let parsed = Address::parse(address).map_err(|_| nobody("not a mail address"))?;
        match self.accounts.lookup(&parsed) {
            Lookup::Local(destinations) => {
                let target = |destination| Target { destination, address: address.to_owned() };
                Ok(destinations.iter().map(target).collect())
            }
            Lookup::Unknown | Lookup::Refused(_) => Err(nobody("nobody has that address")),
            Lookup::Foreign => Err(nobody("not in a domain of this server")),
        }
    }
}
