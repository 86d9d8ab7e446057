//! The advice for keys that other programs have, and the configuration has in another way.

use std::net::{Ipv4Addr, SocketAddr};

use toml::de::{DeTable, DeValue};

use super::error::LISTENERS;
use crate::net::endpoint::{ip_addr, socket_addr};

/// The advice for a key of another program in a section with that content.
pub(super) fn advice(section: &str, key: &str, table: &DeTable<'_>) -> Option<String> {
    if section == LISTENERS && key == "port" {
        return Some(port(table));
    }
    if section.is_empty() && key == "quota" && is_quota_of_users(table) {
        return Some(QUOTA.to_owned());
    }
    let row = ROWS.iter().find(|(of, keys, _)| *of == section && keys.contains(&key));
    row.map(|(_, _, advice)| (*advice).to_owned())
}

/// Whether a file has the quota of users under `quota`, and not only misplaced keys of [limits.quota].
fn is_quota_of_users(table: &DeTable<'_>) -> bool {
    match table.get("quota").map(toml::Spanned::get_ref) {
        Some(DeValue::Table(keys)) => ["bytes", "messages"].iter().any(|key| keys.get(*key).is_some()),
        _ => true,
    }
}

/// The sentence for a port in a key of its own: the line to write, with the address and the port of the section.
fn port(table: &DeTable<'_>) -> String {
    let text = |key: &str| match table.get(key).map(toml::Spanned::get_ref) {
        Some(DeValue::String(text)) => Some(text.to_string()),
        Some(DeValue::Integer(number)) => Some(number.to_string()),
        _ => None,
    };
    let port = text("port").and_then(|port| port.parse().ok());
    let address = ["address", "host", "ip", "bind"].into_iter().find_map(text);
    let ip = address.as_deref().and_then(|text| {
        socket_addr(text).map(|address| address.ip()).or_else(|| ip_addr(text.trim_matches(['[', ']'])))
    });
    let example = SocketAddr::new(ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port.unwrap_or(2525));
    format!("the port is a part of `address`: write address = \"{example}\"")
}

const SERVICE: &str = "each service is a listener: write [[listen]], and below it protocol and address";
const QUOTA: &str = "a quota is one of a user, and stands in users.json: \"quota\": { \"bytes\": \"1 GiB\" } \
                     (docs/accounts.md)";

/// Sections, keys of other programs in them, and the advice.
const ROWS: &[(&str, &[&str], &str)] = &[
    (
        LISTENERS,
        &["host", "ip", "bind", "listen", "interface", "socket", "ports", "addr"],
        "write the address and the port as address = \"127.0.0.1:2525\"",
    ),
    (LISTENERS, &["service", "type", "kind", "proto"], "did you mean `protocol`?"),
    (
        LISTENERS,
        &["ssl", "starttls", "implicit_tls", "tls_mode", "tls_wrappermode"],
        "write tls = \"implicit\", \"starttls\" or \"none\"",
    ),
    (
        LISTENERS,
        &["cert", "certificate", "key"],
        "one certificate is for all listeners: `certificate` and `key` in [tls]",
    ),
    ("", &["port", "ports"], "each listener has its port: address = \"127.0.0.1:2525\" in [[listen]]"),
    (
        "",
        &["listen_address", "bind", "bind_address", "interfaces", "inet_interfaces"],
        "each listener has its address: address = \"127.0.0.1:2525\" in [[listen]]",
    ),
    ("", &["server", "servers", "service", "services", "protocols"], SERVICE),
    ("", &["smtpd", "imapd", "pop3d", "lmtpd", "httpd", "pop", "smtps", "imaps", "pop3s"], SERVICE),
    ("", &["lmtp", "submission", "submissions", "inet_listener"], SERVICE),
    (
        "",
        &["ssl", "ssl_cert", "ssl_key", "smtpd_tls_cert_file", "smtpd_tls_key_file", "certs"],
        "did you mean [tls], with `certificate` and `key`?",
    ),
    ("", &["logging", "logs", "logger", "syslog"], "did you mean [log]?"),
    ("", &["log_path", "logfile"], "did you mean `destination` in [log]?"),
    ("", &["prometheus", "stats", "statistics"], "did you mean [metrics]?"),
    ("", &["web", "api", "webmail", "ui"], "did you mean [http]?"),
    (
        "",
        &[
            "users",
            "user_file",
            "passwd",
            "password_file",
            "passwords",
            "account",
            "passdb",
            "userdb",
            "virtual_mailbox_maps",
        ],
        "did you mean `accounts`?",
    ),
    (
        "",
        &["alias", "alias_maps", "alias_file", "virtual", "virtual_alias_maps", "forward", "forwards"],
        "did you mean `aliases`?",
    ),
    (
        "",
        &[
            "mail",
            "maildir",
            "mail_dir",
            "mail_location",
            "mailbox",
            "mailboxes",
            "virtual_mailbox_base",
            "storage",
            "data_dir",
        ],
        "did you mean `spool`?",
    ),
    ("", &["host", "myhostname", "server_name", "fqdn"], "did you mean `hostname`?"),
    (
        "",
        &["mydestination", "mydomain", "local_domains", "virtual_mailbox_domains", "domain"],
        "did you mean `domains`?",
    ),
    ("", &["mynetworks"], "did you mean `trusted_networks` in [[listen]]?"),
    ("", &["inet_protocols", "ipv6"], "the addresses of the listeners decide: [::] is for IPv6 and IPv4"),
    ("", &["message_size_limit", "size_limit"], "did you mean `max_message_size` in [limits.smtp]?"),
    ("limits.quota", &["bytes", "messages"], QUOTA),
    ("log", &["file", "path"], "did you mean `destination`?"),
    ("tls", &["private_key", "privkey", "keyfile", "key_file"], "did you mean `key`?"),
    ("tls", &["fullchain", "chain", "cert_file", "crt"], "did you mean `certificate`?"),
];

#[cfg(test)]
mod tests {
    use crate::config::tests::{GOOD, load};

    #[test]
    fn n173_a_section_of_another_program_is_told_with_the_one_that_is_meant() {
        for (section, told) in [
            (
                "[ssl]\ncert = \"x\"",
                "unknown section [ssl]: did you mean [tls], with `certificate` and `key`?",
            ),
            ("[smtpd]\nport = 25", "unknown section [smtpd]: each service is a listener: write [[listen]]"),
            (
                "[[imapd]]\nport = 143",
                "unknown section [imapd]: each service is a listener: write [[listen]]",
            ),
            ("[pop3d]\nport = 110", "unknown section [pop3d]: each service is a listener: write [[listen]]"),
            ("[logging]\nlevel = \"info\"", "unknown section [logging]: did you mean [log]?"),
            ("[mail]\ndirectory = \"x\"", "unknown section [mail]: did you mean `spool`?"),
            ("[[users]]\nname = \"bob\"", "unknown section [users]: did you mean `accounts`?"),
            ("[alias]\ninfo = \"bob\"", "unknown section [alias]: did you mean `aliases`?"),
            ("[web]\nport = 80", "unknown section [web]: did you mean [http]?"),
            ("[prometheus]\nport = 9100", "unknown section [prometheus]: did you mean [metrics]?"),
        ] {
            let error = load(&GOOD.replacen("[pop3]", &format!("{section}\n[pop3]"), 1)).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
        let error = load(&GOOD.replacen("hostname", "mynetworks = []\nhostname", 1)).unwrap_err();
        assert!(
            error.contains("unknown key `mynetworks`: did you mean `trusted_networks` in [[listen]]?"),
            "{error}"
        );
    }

    #[test]
    fn n122_a_key_of_another_program_is_told_with_the_line_to_write() {
        let listener = "address = \"127.0.0.1:2525\"";
        for (from, to, told) in [
            (
                listener,
                "address = \"0.0.0.0\"\nport = 25",
                "line 8, column 1: unknown key `port`: the port is a part of `address`: write address = \"0.0.0.0:25\"",
            ),
            (listener, "address = \"::\"\nport = \"25\"", "write address = \"[::]:25\""),
            (listener, "port = 25", "write address = \"0.0.0.0:25\""),
            (listener, "host = \"127.0.0.1\"\nport = 25", "write the address and the port as address = "),
            ("protocol = \"smtp\"", "type = \"smtp\"", "unknown key `type`: did you mean `protocol`?"),
            (
                listener,
                "address = \"127.0.0.1:2525\"\nssl = true",
                "write tls = \"implicit\", \"starttls\" or \"none\"",
            ),
            ("hostname", "port = 25\nhostname", "address = \"127.0.0.1:2525\" in [[listen]]"),
            ("hostname", "users = \"u.json\"\nhostname", "unknown key `users`: did you mean `accounts`?"),
            ("hostname", "host = \"u\"\nhostname", "unknown key `host`: did you mean `hostname`?"),
            ("[pop3]", "[tls]\ncert = \"x\"\n[pop3]", "unknown key `cert`: did you mean `certificate`?"),
            ("[pop3]", "[log]\nfile = \"x\"\n[pop3]", "unknown key `file`: did you mean `destination`?"),
            (
                "127.0.0.1:2525",
                "0.0.0.0",
                "\"0.0.0.0\" is not an address, because it has no port: write it like \"0.0.0.0:2525\"",
            ),
            ("127.0.0.1:2525", "[::1]", "because it has no port: write it like \"[::1]:2525\""),
            ("127.0.0.1:2525", ":25", "\":25\" is not an address: write it like \"0.0.0.0:25\""),
            ("127.0.0.1:2525", "25", "write it like \"0.0.0.0:25\""),
            ("127.0.0.1:2525", ":2525", "\":2525\" is not an address: write it like \"0.0.0.0:2525\""),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{to}");
            let error = load(&text).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }
}
