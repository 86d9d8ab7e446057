//! Every bound of the server in one table, with its default: the sections `[limits.…]` of the configuration. A leaf:
//! imports no other module of the crate.
//!
//! The rule: no buffer, queue, count or wait elsewhere in the crate invents a bound of its own.

mod sections;
mod units;

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use sections::{
    AuthLimits, ConnectionLimits, DeliveryLimits, DiskLimits, HttpLimits, ImapLimits, IndexLimits,
    Pop3Limits, QuotaLimits, SmtpLimits, SpoolLimits, TlsLimits, TranscriptLimits,
};
pub(crate) use units::text_in_configuration;
pub use units::{Size, Span};

/// The sections `[limits.…]`. Durations are [`Span`]s ("5m"), amounts of memory or disk are [`Size`]s ("50 MiB"),
/// everything else is a count. A count of 0 in the fields that say so lifts that limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Sessions of SMTP and LMTP.
    pub smtp: SmtpLimits,
    /// Sessions of POP3, and the messages that they list.
    pub pop3: Pop3Limits,
    /// Sessions of the web API.
    pub http: HttpLimits,
    /// Sessions of IMAP.
    pub imap: ImapLimits,
    /// Connections of all services, and their share of a turn of the loop.
    pub connections: ConnectionLimits,
    /// Handshakes, and the polling of the certificate.
    pub tls: TlsLimits,
    /// Logins, and the polling of the files of accounts and aliases.
    pub auth: AuthLimits,
    /// Messages on their way to the disk.
    pub delivery: DeliveryLimits,
    /// The cache of counts for the quotas of mailboxes.
    pub quota: QuotaLimits,
    /// Workers that read and delete messages.
    pub disk: DiskLimits,
    /// Contents of mailboxes in memory.
    pub index: IndexLimits,
    /// The directory of the mailboxes.
    pub spool: SpoolLimits,
    /// The size and number of transcripts.
    pub transcripts: TranscriptLimits,
}

impl Limits {
    /// Size in bytes of the largest file that is listed as a message. Every accepted message is listed, with the
    /// header lines that the server adds.
    pub fn max_listed_size(&self) -> u64 {
        self.pop3.max_message_size.0.max(self.smtp.max_message_size.0.saturating_mul(2))
    }

    /// The table for `restante dev`: limits against abuse are lifted, limits on memory stay. So many mistakes before the login
    /// are of a client that speaks another protocol, and not of a person.
    pub fn for_development() -> Self {
        let mut limits = Self::default();
        let (smtp, pop3, imap) = (&mut limits.smtp, &mut limits.pop3, &mut limits.imap);
        smtp.max_recipients_unauthenticated = smtp.max_recipients;
        smtp.greeting_timeout = Span::secs(300);
        pop3.login_timeout = Span::secs(600);
        imap.login_timeout = Span::secs(600);
        limits.auth.failure_delay = Span::secs(0);
        for limit in
            [&mut smtp.greeting_error_limit, &mut pop3.login_error_limit, &mut imap.login_error_limit]
        {
            *limit = 100;
        }
        for limit in [
            &mut smtp.max_messages_unauthenticated,
            &mut smtp.soft_error_limit,
            &mut smtp.hard_error_limit,
            &mut smtp.junk_command_limit,
            &mut smtp.unknown_recipient_limit,
            &mut pop3.hard_error_limit,
            &mut imap.hard_error_limit,
            &mut imap.max_connections_per_user,
            &mut limits.auth.max_failures_per_connection,
            &mut limits.auth.max_failures_per_minute,
            &mut limits.auth.max_failures_per_day,
            &mut limits.auth.max_failures_per_user,
            &mut limits.connections.max_per_address,
            &mut limits.connections.max_per_network,
        ] {
            *limit = 0;
        }
        limits
    }
}

/// Time for which a worker keeps the memory of a password check: 19 MiB each.
pub const HASH_MEMORY_RETENTION: Duration = Duration::from_secs(5);
/// The shortest time from a wrong password to its reply, if hashes from other servers are on file. It is longer than
/// the check of such a hash, so that the time does not reveal the users that have one.
pub const FOREIGN_HASH_REPLY_DELAY: Duration = Duration::from_secs(2);

/// Bytes that a worker counts in one mailbox before other jobs run.
pub const SCAN_TURN_SIZE: Size = Size::mib(256);

/// Folders of one mailbox that clients may make.
pub const MAX_FOLDERS: usize = 1000;

/// Time that a program waits for another one that is changing the accounts file.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest number of accounts of one alias. Each gets a copy of the message.
pub const MAX_LIST_LENGTH: usize = 1000;

/// Octets of a configuration file. This bound and the next ones apply before there is a configuration, so they are no
/// keys of it.
pub const MAX_CONFIG_FILE: Size = Size::mib(4);
/// Octets of the accounts file: enough for some 300,000 accounts.
pub const MAX_USERS_FILE: Size = Size::mib(64);
/// Octets of the aliases file.
pub const MAX_ALIASES_FILE: Size = Size::mib(64);
/// Octets of a file with a certificate, or with a key.
pub const MAX_PEM_FILE: Size = Size::mib(4);

/// The advice about a file of so many bytes that is too large to be listed.
pub fn way_to_list(bytes: u64) -> String {
    if bytes > LARGEST.0 {
        return "no limit allows it, so move it out of the mailbox".to_owned();
    }
    let needed = Size::mib(bytes.div_ceil(1 << 20));
    format!(
        "set max_message_size = \"{needed}\" in [limits.pop3] of the configuration and reload the server, or move it out of \
         the mailbox"
    )
}

/// The largest size in a configuration.
pub const LARGEST: Size = Size(1 << 40);

/// The network by which clients are counted: the address itself, or its /64 in IPv6, in which the owner has any
/// number of addresses.
pub fn client_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// The network of one customer in IPv6: a /48 (RFC 6177). `None` for IPv4, where only the address is known.
pub fn client_site(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 80 << 80).into()),
    }
}

/// The words of serde for the types of values, in those of a person who edits a file.
pub(crate) fn in_plain_types(told: &str) -> String {
    told.replace("expected a string", "expected a text in quotes")
        .replace("expected a boolean", "expected true or false, without quotes")
        .replace("expected usize", A_NUMBER)
        .replace("expected u64", A_NUMBER)
        .replace("a sequence", "a list in [ ]")
        .replace("a map", "a table of keys")
}

const A_NUMBER: &str = "expected a whole number, 0 or more";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m35_the_advice_about_a_large_file_has_a_limit_that_lists_it() {
        for (bytes, limit) in
            [(5 << 30, "\"5 GiB\""), ((4 << 30) + 1, "\"4097 MiB\""), (1 << 40, "\"1024 GiB\"")]
        {
            assert!(way_to_list(bytes).contains(limit), "{}", way_to_list(bytes));
        }
        assert!(way_to_list((1 << 40) + 1).starts_with("no limit allows it"));
    }

    #[test]
    fn whatever_is_accepted_is_listed() {
        for (listed, message) in [(4 << 30, 50 << 20), (1024, 50 << 20), (0, u64::MAX), (4 << 30, 1 << 40)] {
            let mut limits = Limits::default();
            limits.pop3.max_message_size = Size(listed);
            limits.smtp.max_message_size = Size(message);
            assert!(limits.max_listed_size() >= listed.max(message.saturating_mul(2)));
        }
    }
}
