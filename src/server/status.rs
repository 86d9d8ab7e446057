//! The status of the server, in lines for the log.

use std::collections::BTreeMap;

use super::{fd_budget::fd_inputs, state::Server};
use crate::{
    clock::Now, config::ChangeDetection, fd_limits::FdBudget, listener::ListenerId, proto::protocol::Protocol,
};

impl Server {
    /// The services and their addresses, in one line.
    pub(super) fn summary(&self) -> String {
        let places = self.listeners.values();
        let places: Vec<_> =
            places.map(|listener| format!("{} at {}", listener.service(), listener.endpoint())).collect();
        format!("serving {}", places.join(", "))
    }

    /// Logs the limits of connections and open mailboxes. If they are lower than configured, says how to raise them.
    pub(super) fn log_capacity(&self) {
        let (most, wanted) = (self.admission.max(), self.config.limits.connections.max);
        let FdBudget { fd_limit: limit, max_mailboxes: mailboxes, watch, .. } = self.fd_budget;
        let limits = self.fd_budget.cap(&self.config.limits);
        log::info!(
            "capacity connections={most} mailboxes={mailboxes} recipients={} descriptors={limit}",
            limits.smtp.max_recipients
        );
        if wanted > most {
            let inputs =
                fd_inputs(&self.config, self.listeners.len(), self.inherited, self.config_path.is_some());
            log::warn!(
                "limits.connections.max is {wanted}, and the descriptors are enough for {most}: raise their limit \
                 (systemd: LimitNOFILE={})",
                FdBudget::fd_limit_for(wanted, &self.config.limits, &inputs)
            );
        }
        if !watch && self.config.watch == ChangeDetection::Inotify {
            log::warn!("{limit} descriptors are too few for inotify: polling at each login and every minute");
        }
    }

    /// Logs that the process was suspended and that the deadlines have moved by that time. The service manager's
    /// watchdog has not moved, so it is pinged.
    pub(super) fn log_suspension(&mut self) {
        if let Some(stop) = self.clock.take_suspension() {
            log::warn!("process was suspended, deadlines extended: suspended={:.1}s", stop.as_secs_f64());
            self.sd_notify.watchdog_ping();
        }
    }

    /// Logs the status that an operator asks for with SIGUSR1.
    pub(super) fn log_status(&mut self, now: Now) {
        let up = now.wall.duration_since(self.started_at).unwrap_or_default().as_secs();
        log::info!(
            "status version={} pid={} up={}",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            humantime::format_duration(std::time::Duration::from_secs(up)).to_string().replace(' ', ""),
        );
        let mut by_protocol: BTreeMap<&str, usize> =
            Protocol::ALL.map(|protocol| (protocol.name(), 0)).into();
        let mut by_listener: BTreeMap<ListenerId, usize> = BTreeMap::new();
        for open in self.connections.values() {
            *by_protocol.entry(open.service.protocol().name()).or_default() += 1;
            *by_listener.entry(open.listener).or_default() += 1;
        }
        for (id, listener) in &self.listeners {
            log::info!(
                "status listener protocol={} address={} connections={}",
                listener.service(),
                listener.endpoint(),
                by_listener.get(id).unwrap_or(&0)
            );
        }
        let by_protocol: Vec<_> = by_protocol.iter().map(|(name, count)| format!("{name}={count}")).collect();
        log::info!(
            "status connections {} proxy_pending={} addresses={} max={}",
            by_protocol.join(" "),
            self.pending_proxies.len(),
            self.admission.address_count(),
            self.admission.max()
        );
        self.backend.status().iter().for_each(|line| log::info!("status {line}"));
        self.backend.log_metrics();
    }
}
