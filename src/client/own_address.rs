//! The address of a user who logs in with a name without a domain.
//!
//! Only the server knows the domain of such a name. The rule: an address is offered only if the server would take mail
//! from it and for it, in the session of that user, so that a reply arrives in the mailbox of the login.

use super::{ClientError, ServerAddr, outgoing::is_address, smtp::Smtp};

/// The address of `name` at this server. `domains` are those that the server is known to have, the likeliest first; then its
/// name in the reply to EHLO counts, its name on the command line, and the domains above these. `None` if the server
/// takes none of them.
pub(crate) fn own_address(
    smtp: &mut Smtp,
    name: &str,
    (domains, server): (&[String], &ServerAddr),
) -> Result<Option<String>, ClientError> {
    let mut tried: Vec<String> = Vec::new();
    let announced = smtp.server_name().to_owned();
    let guesses = [announced.as_str(), server.host.as_str()].into_iter().flat_map(with_domains_above);
    for domain in domains.iter().map(String::as_str).chain(guesses) {
        let address = format!("{name}@{domain}");
        if tried.contains(&address) || !is_address(&address) {
            continue;
        }
        if smtp.would_take(&address)? {
            return Ok(Some(address));
        }
        tried.push(address);
    }
    Ok(None)
}

/// A host name and the domains above it, without the topmost. An address of a machine is no domain of mail.
fn with_domains_above(host: &str) -> impl Iterator<Item = &str> {
    let is_name = |host: &str| host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[');
    std::iter::successors(Some(host).filter(|host| is_name(host)), |host| {
        host.split_once('.').map(|(_, above)| above).filter(|above| above.contains('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u57_the_domains_of_a_host_are_its_name_and_those_above_it() {
        for (host, domains) in [
            ("localhost", &["localhost"][..]),
            ("mx.mail.example.test", &["mx.mail.example.test", "mail.example.test", "example.test"]),
            ("127.0.0.1", &[]),
            ("::1", &[]),
            ("[127.0.0.1]", &[]),
        ] {
            assert_eq!(with_domains_above(host).collect::<Vec<_>>(), domains, "{host}");
        }
    }
}
