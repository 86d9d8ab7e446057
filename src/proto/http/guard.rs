//! The checks that keep the pages of other sites away from the mail: the host of a request, and the page that sends it.

use std::net::IpAddr;

use super::{
    head::Head,
    routes::RouteAccess,
    session_config::{HttpConfig, LoginPolicy},
    status::{Refusal, Status},
};

/// Checks that the client means this server. A name that an attacker controls may lead to a loopback address (DNS
/// rebinding), and a browser then takes the attacker's page for one of this server.
///
/// The names that mail programs make of a domain may belong to the owner of the domain, who need not be the operator. They
/// lead to nothing but the settings of mail programs, which are no secret. `access` is `None` for an unknown path.
pub(super) fn check_host(
    host: &str,
    access: Option<RouteAccess>,
    hostname: &str,
    config: &HttpConfig,
) -> Result<(), Refusal> {
    // No browser leaves the host out. A probe may: the answer to it says nothing of the mail.
    if host.is_empty() {
        return if access == Some(RouteAccess::Open) { Ok(()) } else { Err(NO_HOST) };
    }
    let is_known = host_name(host).is_some_and(|name| match name.parse::<IpAddr>() {
        Ok(ip) => {
            let is_named = || config.hosts.iter().any(|known| known.parse() == Ok(ip));
            ip.is_loopback() || config.bound.is_none_or(|bound| bound == ip) || is_named()
        }
        Err(_) => {
            name == "localhost"
                || name.ends_with(".localhost")
                || name.eq_ignore_ascii_case(hostname)
                || config.hosts.iter().any(|known| known.eq_ignore_ascii_case(&name))
                || (access == Some(RouteAccess::Settings) && config.mail_servers.are_looked_for_at(&name))
        }
    });
    let why = if config.login == LoginPolicy::Off { UNKNOWN_HOST_IN_DEV } else { UNKNOWN_HOST };
    if is_known { Ok(()) } else { Err(why) }
}

/// The name in a field `Host`, in lower case, or the address without brackets. `None` if it is malformed.
pub(super) fn host_name(host: &str) -> Option<String> {
    let name = without_port(host)?.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Some(address.unwrap_or(name).to_owned())
}

/// Checks that no page of another site sends the request. Programs that are not browsers send neither field, and no page
/// can leave them out.
pub(super) fn check_origin(head: &Head, access: RouteAccess, names_id: bool) -> Result<(), Refusal> {
    // A link or a bookmark leads to a page in a window of its own. As an image, a script or a frame of another site, its
    // time and size would tell of the mail.
    let is_document = head.fetch_dest.as_deref().is_none_or(|dest| dest == "document");
    let is_navigation = access == RouteAccess::Page && head.method.is_safe() && is_document;
    // The HTML of a message has an opaque origin, so its images come from another site.
    let is_own_image = access == RouteAccess::Part
        && head.method.is_safe()
        && names_id
        && head.fetch_dest.as_deref() == Some("image");
    if !access.is_of_users() || is_navigation || is_own_image {
        return Ok(());
    }
    let is_same_site = |site: &str| match site {
        "same-origin" => true,
        // The user typed the address, or chose a bookmark.
        "none" => head.method.is_safe(),
        _ => false,
    };
    let is_own_origin = |origin: &str| {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        // A form of this server has no origin, because its page has the policy `no-referrer`.
        let is_own_form = origin == "null" && head.fetch_site.as_deref() == Some("same-origin");
        is_own_form || host.is_some_and(|host| host.eq_ignore_ascii_case(&head.host))
    };
    if head.fetch_site.as_deref().is_none_or(is_same_site) && head.origin.as_deref().is_none_or(is_own_origin)
    {
        Ok(())
    } else {
        Err(OTHER_SITE)
    }
}

/// The host without its port. `None` if it is malformed.
pub(super) fn without_port(host: &str) -> Option<&str> {
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    (is_good && is_name && !name.is_empty()).then_some(name)
}

const UNKNOWN_HOST: Refusal = Refusal::new(
    Status::MISDIRECTED,
    "This server does not have that name: use localhost, or add the name to `hosts` in [http]",
);
const UNKNOWN_HOST_IN_DEV: Refusal = Refusal::new(
    Status::MISDIRECTED,
    "This server does not have that name: use localhost, or start it with --host and the name",
);
const NO_HOST: Refusal = Refusal::new(
    Status::BAD_REQUEST,
    "This path needs a field Host, also by HTTP/1.0: /livez and /readyz need none",
);
const OTHER_SITE: Refusal = Refusal::new(
    Status::FORBIDDEN,
    "A page of another site sent this request: only pages of this server may",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::{autoconfig::servers::MailServers, head::Method};

    fn config(bound: Option<&str>) -> HttpConfig {
        HttpConfig {
            hosts: vec!["mail.example.test".into()],
            bound: bound.map(|address| address.parse().unwrap()),
            ..HttpConfig::default()
        }
    }

    #[test]
    fn only_names_of_this_server_are_answered() {
        let bound = config(Some("192.0.2.1"));
        for good in [
            "localhost",
            "LocalHost:8025",
            "a.localhost",
            "localhost.",
            "127.0.0.1:8025",
            "127.8.8.8",
            "[::1]:1",
            "192.0.2.1:80",
            "mx.test",
            "MX.test:443",
            "mail.example.test",
        ] {
            assert_eq!(check_host(good, None, "mx.test", &bound), Ok(()), "{good}");
        }
        for bad in [
            "attacker.test",
            "localhost.attacker.test",
            "127.0.0.1.attacker.test",
            "192.0.2.2",
            "[::2]",
            ":80",
            "localhost:x",
            "localhost:123456",
            "a b",
            "user@localhost",
            "localhost/x",
            "[::1",
            "[::1]x",
        ] {
            assert_eq!(check_host(bad, None, "mx.test", &bound), Err(UNKNOWN_HOST), "{bad}");
        }
        assert_eq!(
            check_host("203.0.113.9", None, "mx.test", &config(None)),
            Ok(()),
            "no page has an address for a name"
        );
        assert_eq!(check_host("attacker.test", None, "mx.test", &config(None)), Err(UNKNOWN_HOST));
    }

    #[test]
    fn v155_a_request_without_a_host_learns_nothing_of_the_mail() {
        for access in [None, Some(RouteAccess::Settings), Some(RouteAccess::Page), Some(RouteAccess::Api)] {
            assert_eq!(check_host("", access, "mx.test", &config(None)), Err(NO_HOST), "{access:?}");
        }
        assert_eq!(check_host("", Some(RouteAccess::Open), "mx.test", &config(None)), Ok(()));
    }

    #[test]
    fn v70_the_names_that_mail_programs_make_lead_to_the_settings_alone() {
        let mail_servers = MailServers { domains: vec!["here.test".into()], ..MailServers::default() };
        let config = HttpConfig { mail_servers: mail_servers.into(), ..config(None) };
        for name in
            ["here.test", "autoconfig.here.test", "AutoDiscover.Here.test:80", "autoconfig.here.test."]
        {
            assert_eq!(check_host(name, Some(RouteAccess::Settings), "mx.test", &config), Ok(()), "{name}");
            for other in [
                None,
                Some(RouteAccess::Open),
                Some(RouteAccess::Page),
                Some(RouteAccess::Part),
                Some(RouteAccess::Api),
            ] {
                assert_eq!(
                    check_host(name, other, "mx.test", &config),
                    Err(UNKNOWN_HOST),
                    "{name} {other:?}"
                );
            }
        }
        for name in
            ["autoconfig.there.test", "x.here.test", "autoconfig.here.test.attacker.test", "autoconfig."]
        {
            assert_eq!(
                check_host(name, Some(RouteAccess::Settings), "mx.test", &config),
                Err(UNKNOWN_HOST),
                "{name}"
            );
        }
    }

    fn head(method: Method, fields: &str) -> Head {
        let text =
            format!("{} / HTTP/1.1|Host: localhost:8025|{fields}|", method.name()).replace('|', "\r\n");
        Head::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_page_of_another_site_gets_and_changes_nothing() {
        use Method::{Delete, Get};
        use RouteAccess::{Api, Open, Page, Part};
        for (method, fields, access, allowed) in [
            (Get, "", Api, true),
            (Delete, "", Api, true),
            (Delete, "Origin: http://localhost:8025|", Api, true),
            (Delete, "Origin: https://localhost:8025|Sec-Fetch-Site: same-origin|", Api, true),
            (Delete, "Origin: http://localhost:8026|", Api, false),
            (Delete, "Origin: http://attacker.test|", Api, false),
            (Delete, "Origin: null|", Api, false),
            (Delete, "Sec-Fetch-Site: same-site|", Api, false),
            (Delete, "Sec-Fetch-Site: none|", Api, false),
            (Get, "Sec-Fetch-Site: none|", Api, true),
            (Get, "Sec-Fetch-Site: cross-site|", Api, false),
            (Get, "Sec-Fetch-Site: cross-site|", Page, true),
            (Get, "Sec-Fetch-Site: cross-site|Sec-Fetch-Dest: document|", Page, true),
            (Get, "Sec-Fetch-Site: cross-site|Sec-Fetch-Dest: image|", Page, false),
            (Get, "Sec-Fetch-Site: same-site|Sec-Fetch-Dest: iframe|", Page, false),
            (Get, "Sec-Fetch-Site: same-origin|Sec-Fetch-Dest: iframe|", Page, true),
            (Get, "Sec-Fetch-Site: none|Sec-Fetch-Dest: document|", Page, true),
            (Get, "Sec-Fetch-Site: cross-site|", Open, true),
            (Get, "Sec-Fetch-Site: cross-site|Sec-Fetch-Dest: image|", Part, true),
            (Get, "Sec-Fetch-Site: cross-site|Sec-Fetch-Dest: script|", Part, false),
        ] {
            let told = check_origin(&head(method, fields), access, true);
            assert_eq!(told.is_ok(), allowed, "{method:?} {fields} {access:?}");
        }
        let image = head(Get, "Sec-Fetch-Site: cross-site|Sec-Fetch-Dest: image|");
        assert_eq!(check_origin(&image, Part, false), Err(OTHER_SITE), "`latest` needs no secret");
    }
}
