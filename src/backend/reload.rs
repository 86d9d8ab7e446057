//! Changes while the server runs: reloaded accounts and another configuration. Also the status for the log.

use std::{io, mem};

use super::state::Backend;
use crate::{
    accounts::{Accounts, Reloader},
    config::{ChangeDetection, Config},
    deferred_drop::drop_deferred,
    fd_limits::FdBudget,
    proto::request::ConnId,
    workers::{Completion, CompletionSender, Job},
};

impl Backend {
    /// Applies another configuration and its accounts. The number of threads and the sizes of their queues stay.
    ///
    /// # Errors
    /// The thread that reloads the accounts could not be started. Nothing has changed then.
    pub fn reconfigure(&mut self, config: &Config, accounts: Accounts, budget: &FdBudget) -> io::Result<()> {
        let limits = &config.limits;
        if self.accounts.sources != accounts.sources
            || self.limits.auth.reload_interval != limits.auth.reload_interval
        {
            self.reloader = start_reloader(&accounts, config, &self.completions)?;
        }
        self.auth.reconfigure(limits);
        self.index.reconfigure(limits, budget.capped_indexes(limits));
        self.storage.reconfigure(limits);
        self.receiver.reconfigure(&config.hostname, limits, budget.max_spilled);
        self.folders.set_host(&config.hostname);
        self.maildrops.reconfigure(limits.pop3.login_delay.0, budget);
        self.quotas.reconfigure(limits.quota.cache_size, limits.quota.cache_ttl.0);
        self.documents.set_limit(limits.http.max_document_memory.0);
        self.expiry_enabled = config.pop3.expire.is_some();
        self.limits = limits.clone();
        self.swap_accounts(Box::new(accounts));
        self.run_effects();
        Ok(())
    }

    /// Applies reloaded accounts, unless they come from other files than the current ones.
    pub(super) fn replace_accounts(&mut self, accounts: Box<Accounts>) {
        if accounts.sources == self.accounts.sources {
            self.swap_accounts(accounts);
        } else {
            drop_deferred(accounts);
        }
    }

    /// Replaces the accounts. Another thread frees the old ones, because a hundred thousand accounts take a while.
    fn swap_accounts(&mut self, mut accounts: Box<Accounts>) {
        mem::swap(&mut self.accounts, &mut accounts);
        self.auth.logins.accounts_changed();
        drop_deferred(accounts);
    }

    /// Removes and returns the connections whose sessions end, because their login is no longer valid.
    pub fn take_revoked(&mut self) -> Vec<ConnId> {
        self.auth.logins.take_revoked()
    }

    /// Queues a job that logs the metrics.
    pub fn log_metrics(&mut self) {
        self.effects.run(Job::CheckSpool { log_status: true });
        self.run_effects();
    }

    /// The state, for the log.
    pub fn status(&self) -> Vec<String> {
        let accounts = self.accounts.count().map_or("any".to_owned(), |count| count.to_string());
        let free = self.storage.free_space().map_or("unknown".to_owned(), |octets| octets.to_string());
        let [disk, scan] = self.workers.queue_lengths();
        let [inbound, deliveries, abandoned] = self.receiver.queue_counts();
        vec![
            format!(
                "queues disk={disk} scan={scan} password={} deliveries={deliveries} responses={}",
                self.auth.queue_len(),
                self.clients.outstanding(),
            ),
            format!("messages inbound={inbound} abandoned={abandoned}"),
            format!(
                "mailboxes open={} indexed={} accounts={accounts} free={free}",
                self.maildrops.len(),
                self.index.len(),
            ),
        ]
    }
}

/// Starts the thread that reloads the accounts, if they come from files.
pub(super) fn start_reloader(
    accounts: &Accounts,
    config: &Config,
    completions: &CompletionSender,
) -> io::Result<Option<Reloader>> {
    let pace = (config.limits.auth.reload_interval.0, config.watch == ChangeDetection::Inotify);
    let keep = |sources| {
        let completions = completions.clone();
        let take = move |accounts| completions.send(Completion::AccountsLoaded(Box::new(accounts)));
        Reloader::start(sources, pace, take)
    };
    accounts.sources.clone().map(keep).transpose()
}
