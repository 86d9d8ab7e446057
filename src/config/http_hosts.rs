//! The names in `hosts` of the section `[http]`, under which browsers reach the server.
//!
//! The rule: a name that no field `Host` can have is refused, with the name to write. Otherwise every browser that comes
//! by that name would be refused.

use std::net::IpAddr;

use super::{Config, Error, error::ConfigError};
use crate::proto::smtp::address::fold_domain;

impl Config {
    /// Adds names under which browsers reach the server.
    ///
    /// # Errors
    /// One of them is no name of a host.
    pub fn with_http_hosts(mut self, names: &[String]) -> Result<Self, Error> {
        self.http.hosts = canonical(names);
        check(&self.http.hosts).map_err(|mistake| Error::Development(format!("--host: {}", mistake.why)))?;
        Ok(self)
    }
}

/// The names in the form in which they are compared: an address without brackets, and a name in its form in DNS.
pub(super) fn canonical(names: &[String]) -> Vec<String> {
    let address = |name: &str| name.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    names.iter().map(|name| address(name).map_or_else(|| domain(name), |ip| ip.to_string())).collect()
}

/// A domain in the form in which domains are compared. The check refuses a text that is none.
pub(super) fn domain(text: &str) -> String {
    fold_domain(text).unwrap_or_else(|_| text.to_owned())
}

/// Checks the names.
pub(super) fn check(names: &[String]) -> Result<(), ConfigError> {
    let wrong = |name: &&String| !is_host(name);
    let Some((n, name)) = names.iter().enumerate().find(|(_, name)| wrong(name)) else { return Ok(()) };
    let why = if name.contains('*') {
        let example = name.replace('*', "inbox");
        let example = host_in(&example).unwrap_or_else(|| EXAMPLE.to_owned());
        format!("{name:?} is a pattern: write each name by itself, like {example:?}")
    } else {
        match host_in(name) {
            Some(host) => format!("{name:?} is more than the name of a host: write {host:?}"),
            None => format!("{name:?} is not the name of a host: write it like {EXAMPLE:?}"),
        }
    };
    Err(ConfigError::at(format!("http.hosts.{n}"), why))
}

/// Whether a field `Host` may have that name, without its port. An underscore is common in the names of containers.
fn is_host(name: &str) -> bool {
    let is_octet = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_octet);
    name.parse::<IpAddr>().is_ok() || name.len() <= 253 && name.split('.').all(is_label)
}

/// The name in a URL, or in an address with a port.
fn host_in(text: &str) -> Option<String> {
    let text = text.trim();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next()?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = match rest.strip_prefix('[') {
        Some(literal) => literal.split_once(']')?.0,
        None => rest.split_once(':').map_or(rest, |(host, _)| host),
    };
    Some(domain(host.trim_end_matches('.'))).filter(|host| is_host(host))
}

const EXAMPLE: &str = "inbox.example.test";

#[cfg(test)]
mod tests {
    use crate::config::tests::{GOOD, load};

    #[test]
    fn n64_a_name_that_no_browser_sends_is_refused_with_the_name_to_write() {
        for (name, told) in [
            ("https://inbox.example.test/", "write \"inbox.example.test\""),
            ("http://user@[::1]:8025/x", "write \"::1\""),
            ("web.example.test:8443", "write \"web.example.test\""),
            ("web.example.test.", "write \"web.example.test\""),
            (" web", "write \"web\""),
            ("*.wild.test", "is a pattern: write each name by itself, like \"inbox.wild.test\""),
            ("*", "is a pattern"),
            ("inbox test", "is not the name of a host: write it like"),
            ("http://", "is not the name of a host"),
            ("", "is not the name of a host"),
            ("a..b", "is not the name of a host"),
            (".", "is not the name of a host"),
        ] {
            let error = load(&format!("{GOOD}\n[http]\nhosts = [\"good.test\", {name:?}]")).unwrap_err();
            assert!(error.contains(", column 23: http.hosts: ") && error.contains(told), "{name}: {error}");
        }
        let good = [
            "inbox.example.test",
            "WEB",
            "my_app",
            "xn--bcher-kva.test",
            "Bücher.test",
            "192.0.2.1",
            "[::1]",
        ];
        let config = load(&format!("{GOOD}\n[http]\nhosts = {good:?}")).unwrap();
        let hosts: Vec<&str> = config.http.hosts.iter().map(String::as_str).collect();
        assert_eq!(hosts[3..], ["xn--bcher-kva.test", "xn--bcher-kva.test", "192.0.2.1", "::1"]);
        assert_eq!(load(&config.effective()).unwrap().http.hosts, config.http.hosts);
    }
}
