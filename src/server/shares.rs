//! The configuration reduced to the inputs of the descriptor budget, and the configuration that the budget allows.

use super::Server;
use crate::{
    config::{ChangeDetection, Config, UnknownRecipients},
    fd_limits::{Opens, Shares},
    listener::Listener,
};

/// The descriptors that a configuration needs.
pub(crate) fn opens(config: &Config, listeners: usize, inherited: usize, reloads: bool) -> Opens {
    Opens {
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
pub(super) fn lowered(config: &Config, shares: &Shares) -> Config {
    let watch = if shares.watch { config.watch } else { ChangeDetection::Poll };
    Config { limits: shares.lower(&config.limits), watch, ..config.clone() }
}

impl Server {
    /// Divides the places among the configured services.
    pub(super) fn share_out(&mut self) {
        let services = self.listeners.values().map(Listener::service);
        self.admission.reconfigure(
            self.shares.max_connections(&self.config.limits),
            &self.config.limits,
            services,
        );
    }
}
