//! The configuration reduced to the inputs of the descriptor budget, and the configuration that the budget allows.

use super::state::Server;
use crate::{
    config::{ChangeDetection, Config, UnknownRecipients},
    fd_limits::{FdBudget, FdInputs},
    listener::Listener,
};

/// The descriptors that a configuration needs.
pub(crate) fn fd_inputs(config: &Config, listeners: usize, inherited: usize, reloads: bool) -> FdInputs {
    FdInputs {
        inherited,
        listeners,
        watch: config.watch == ChangeDetection::Inotify,
        accounts: config.unknown_recipients == UnknownRecipients::Reject,
        certificate: config.tls.is_some(),
        transcripts: config.transcripts.is_some(),
        reloads,
    }
}

/// Returns the configuration with each limit lowered to the number that its descriptors allow.
pub(super) fn capped_config(config: &Config, budget: &FdBudget) -> Config {
    let watch = if budget.watch { config.watch } else { ChangeDetection::Poll };
    Config { limits: budget.cap(&config.limits), watch, ..config.clone() }
}

impl Server {
    /// Divides the places among the configured services.
    pub(super) fn apply_fd_budget(&mut self) {
        let services = self.listeners.values().map(Listener::service);
        self.admission.reconfigure(
            self.fd_budget.capped_connections(&self.config.limits),
            &self.config.limits,
            services,
        );
    }
}
