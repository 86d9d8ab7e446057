//! The facts of an answer, found from a request and from the listeners.

use super::servers::{MailServers, domain_of_host};
use crate::proto::{
    http::{
        guard,
        session_config::SessionConfig,
        status::{Refusal, Status},
    },
    smtp::address::Address,
};

/// The facts of an answer.
pub(super) struct Settings<'a> {
    pub(super) servers: &'a MailServers,
    /// The name of the machine with the servers.
    pub(super) host: String,
    /// The domain of the address.
    pub(super) domain: String,
    /// The whole address, if the request has one. It is the user's name at every server.
    pub(super) login: Option<String>,
}

impl<'a> Settings<'a> {
    /// The settings for an address, or for the domain of the host that a client asks.
    pub(super) fn find(
        address: Option<&str>,
        host: &str,
        config: &'a SessionConfig,
    ) -> Result<Self, Refusal> {
        let servers = &config.protocol.mail_servers;
        let address = address.map(Address::parse).transpose().map_err(|_| BAD_ADDRESS)?;
        // Programs take an answer without one of both for malformed.
        if servers.incoming().next().is_none() || servers.outgoing().next().is_none() {
            return Err(NO_SERVERS);
        }
        let name = guard::host_name(host).unwrap_or_default();
        let asked = domain_of_host(&name);
        let is_domain = asked != name || servers.domains.iter().any(|ours| ours == asked);
        let of_host = Some(asked).filter(|domain| is_domain && servers.serve(domain));
        let usual = || servers.domains.first().unwrap_or(&config.hostname);
        let domain = match &address {
            Some(address) => address.domain().unwrap_or(usual()),
            None => of_host.unwrap_or(usual()),
        };
        if !servers.serve(domain) {
            return Err(OTHER_DOMAIN);
        }
        let login = address.as_ref().map(|address| match address.domain() {
            Some(_) => address.to_string(),
            None => format!("{address}@{domain}"),
        });
        let host = if servers.domains.is_empty() { asked } else { config.hostname.as_str() };
        Ok(Self { servers, host: host.to_owned(), domain: domain.to_owned(), login })
    }
}

pub(super) const BAD_ADDRESS: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The address is malformed: write it like bob@example.test");
const OTHER_DOMAIN: Refusal = Refusal::new(Status::NOT_FOUND, "This server has no mail for that domain");
pub(super) const NO_SERVERS: Refusal = Refusal::new(
    Status::NOT_FOUND,
    "This server has no listeners for mail programs: imaps, imap, pop3s or pop3, and submissions or submission",
);
