//! What the desk changes while it works: accounts that are read again, and another configuration.

use std::{io, mem};

use super::Desk;
use crate::{
    accounts::{Accounts, Keeper},
    closing::release,
    config::Config,
    descriptors::{most_indexes, most_open},
    limits::Limits,
    work::{Done, Job, Outcome, Returns, To, job::Task},
};

impl Desk {
    /// Takes another configuration and its accounts. What threads and queues were made by stays as it was.
    ///
    /// # Errors
    /// There is no thread to be had to look after the accounts. Nothing has changed then.
    pub fn follow(&mut self, config: &Config, accounts: Accounts) -> io::Result<()> {
        let limits = &config.limits;
        if self.accounts.sources != accounts.sources || self.limits.accounts_check != limits.accounts_check {
            self.keeper = keeper(&accounts, limits, &self.returns)?;
        }
        self.door.follow(limits);
        self.registry.follow(limits, most_indexes(limits));
        self.shop.follow(limits);
        self.most_open = most_open();
        self.bodies.follow(limits.bodies_in_memory.0);
        self.logins.follow(limits.pop3_login_delay.0);
        self.tally.follow(limits.quota_mailboxes, limits.quota_recount.0);
        self.namer.follow(&config.hostname);
        self.expires = config.pop3.expire.is_some();
        self.limits = limits.clone();
        self.replace(Box::new(accounts));
        Ok(())
    }

    /// Takes accounts that have been read again. What was on its way from other files than those of now comes
    /// too late.
    pub(super) fn renew(&mut self, accounts: Box<Accounts>) {
        if accounts.sources == self.accounts.sources {
            self.replace(accounts);
        } else {
            release(accounts);
        }
    }

    /// A hundred thousand accounts take a while to be freed: not on the loop.
    fn replace(&mut self, mut accounts: Box<Accounts>) {
        mem::swap(&mut self.accounts, &mut accounts);
        release(accounts);
    }

    /// Has the figures logged.
    pub fn log_figures(&self) {
        let job = Job { to: To::Desk, task: Task::Status };
        if self.scans.submit(job).is_err() {
            log::info!("status no figures: the workers have too much to do");
        }
    }

    /// How things are, for the log.
    pub fn status(&self) -> Vec<String> {
        let accounts = self.accounts.count().map_or("any".to_owned(), |count| count.to_string());
        let free = self.free.map_or("unknown".to_owned(), |octets| octets.to_string());
        vec![
            format!(
                "queues disk={} scan={} password={} deliveries={} answers={}",
                self.disk.waiting(),
                self.scans.waiting(),
                self.door.waiting(),
                self.deliveries,
                self.awaited.len(),
            ),
            format!("messages begun={} given_up={}", self.drafts.len(), self.given_up),
            format!(
                "mailboxes open={} indexed={} accounts={accounts} free={free}",
                self.holders.len(),
                self.registry.len(),
            ),
        ]
    }
}

/// Looks after the files of accounts, if they come from files.
pub(super) fn keeper(accounts: &Accounts, limits: &Limits, returns: &Returns) -> io::Result<Option<Keeper>> {
    let keep = |sources| {
        let returns = returns.clone();
        let take = move |accounts| {
            returns.send(Done { to: To::Desk, outcome: Outcome::Accounts(Box::new(accounts)) });
        };
        Keeper::start(sources, limits.accounts_check.0, take)
    };
    accounts.sources.clone().map(keep).transpose()
}
