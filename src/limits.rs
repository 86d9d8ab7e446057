//! Every bound of the server in one table, with its default: the `[limits]` section of the configuration. A leaf:
//! imports no other module of the crate.
//!
//! The rule: no buffer, queue, count or wait elsewhere in the crate invents a bound of its own.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// The `[limits]` section. Durations are [`Span`]s ("5m"), amounts of memory or disk are [`Size`]s
/// ("50 MiB"), everything else is a count. A count of 0 in the fields that say so lifts that limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// SMTP: the longest time that a client may take for one command.
    pub smtp_idle: Span,
    /// SMTP: the longest time that a client may take for one command before EHLO or HELO.
    pub smtp_greeting: Span,
    /// SMTP: the longest silence inside message data.
    pub data_silence: Span,
    /// SMTP: octets per second that a message must average after its first minute; 0 lifts it.
    pub data_rate: u64,
    /// SMTP: the longest life of a connection.
    pub smtp_session: Span,
    /// SMTP: the longest time that output may wait until the client reads any of it.
    pub smtp_write: Span,
    /// POP3: idle time in a logged-in session (RFC 1939 asks for at least ten minutes).
    pub pop3_idle: Span,
    /// POP3: the longest time until a client has logged in.
    pub pop3_login: Span,
    /// POP3: the longest time that output may wait until the client reads any of it.
    pub pop3_write: Span,
    /// POP3: the time that a login waits for another session to leave the mailbox.
    pub pop3_lock_wait: Span,
    /// POP3: the least time between two logins to one mailbox (RFC 2449 section 6.5); "0s" lifts it.
    pub pop3_login_delay: Span,
    /// The longest time until a proxy has sent its PROXY header.
    pub proxy_header: Span,
    /// TLS: the longest time for the whole handshake.
    pub tls_handshake: Span,
    /// TLS: the interval at which the certificate files are checked for a change.
    pub certificate_check: Span,
    /// SMTP: octets in a command line, its line end included.
    pub smtp_line: usize,
    /// POP3: octets in a command line, its line end included.
    pub pop3_line: usize,
    /// Octets of an endless line that are discarded before the connection is closed.
    pub line_discard: usize,
    /// The largest message, counted as it travels (CRLF line ends).
    pub message: Size,
    /// Recipients of one message; a recipient that is named twice counts twice.
    pub recipients: usize,
    /// Recipients of one message from a client that has not logged in.
    pub recipients_unauthenticated: usize,
    /// Recipients of one message from the null sender, a bounce; 0 applies the bound of other messages.
    pub recipients_null_sender: usize,
    /// Messages in one session of a client that has not logged in; 0 lifts it.
    pub messages_unauthenticated: usize,
    /// Errors in one session before it is closed; 0 lifts it.
    pub errors: usize,
    /// SMTP: errors before EHLO or HELO; 0 lifts it.
    pub errors_greeting: usize,
    /// Errors after which each further one delays the client by a second; 0 lifts it.
    pub errors_unpunished: usize,
    /// POP3: errors before login; 0 lifts it.
    pub errors_login: usize,
    /// SMTP: NOOP, RSET, EHLO, HELP and VRFY between two messages; 0 lifts it.
    pub junk_commands: usize,
    /// SMTP: unknown recipients in one session; 0 lifts it.
    pub unknown_recipients: usize,
    /// Distinct wrong (user, password) pairs in one connection; 0 lifts it.
    pub failed_logins: usize,
    /// Delay of the reply to a wrong password, doubled each time; "0s" lifts it.
    pub failed_login_delay: Span,
    /// The longest such delay.
    pub failed_login_longest_delay: Span,
    /// Wrong passwords from one address in a minute, after which none is checked; 0 lifts it.
    pub failed_logins_minute: usize,
    /// Wrong passwords from one address in a day, after which none is checked; 0 lifts it.
    pub failed_logins_day: usize,
    /// Wrong passwords for one user in an hour, counted over all addresses from which this user has never logged in.
    /// After that no password from such an address is checked; 0 lifts it.
    pub failed_logins_user: usize,
    /// Addresses, networks and users whose wrong passwords are remembered.
    pub failed_login_addresses: usize,
    /// Time for which a right password is cached, as a keyed hash, so that the next check costs no Argon2; "0s" lifts
    /// it.
    pub login_memory: Span,
    /// Right passwords that are cached, and users whose login addresses are remembered.
    pub login_memories: usize,
    /// The interval at which the files of accounts and aliases are checked for a change.
    pub accounts_check: Span,
    /// Password checks that may wait for a worker.
    pub password_queue: usize,
    /// Connections in all; 0 takes the number that the descriptors allow.
    pub connections: usize,
    /// Connections from one address that is not loopback, or from one /64 of IPv6; 0 lifts it.
    pub connections_per_address: usize,
    /// Connections from one /48 of IPv6, which belongs to one customer; 0 lifts it.
    pub connections_per_site: usize,
    /// Addresses that are remembered because a message was accepted from them, or a user logged in. If there is no
    /// room, their connections are evicted after those of unknown clients.
    pub served_addresses: usize,
    /// Commands one connection may run in one turn of the loop.
    pub turn_commands: usize,
    /// Octets read from one connection in one turn of the loop. A command line may be longer.
    pub turn_octets: usize,
    /// Output that may wait in a connection before the server stops reading from it.
    pub output_waiting: Size,
    /// Message data held in memory for all connections together: half of it by sessions, half on its way to the disk.
    /// Under pressure the largest messages are spilled to files before they reach `body_in_memory`; if that is not
    /// enough, the slowest are evicted.
    pub bodies_in_memory: Size,
    /// Message data that one connection holds in memory before it is spilled to a file in `tmp/`.
    pub body_in_memory: Size,
    /// Octets of a message read from the disk at a time.
    pub read_chunk: Size,
    /// Deliveries that may wait for the disk.
    pub delivery_queue: usize,
    /// The longest time that a client waits for its message to be durable. After that the message is refused and
    /// removed. This must be below the timeout of any client (RFC 5321 section 4.5.3.2.6 asks for ten minutes,
    /// Thunderbird has 100 seconds).
    pub delivery_patience: Span,
    /// Deliveries made durable together.
    pub delivery_batch: usize,
    /// Time for which a count of a mailbox is valid, for its quota.
    pub quota_recount: Span,
    /// Mailboxes whose counts are kept in memory.
    pub quota_mailboxes: usize,
    /// Disk jobs (scans, reads, deletions) that may wait for a worker.
    pub work_queue: usize,
    /// Worker threads for the disk.
    pub disk_workers: usize,
    /// Worker threads for passwords.
    pub password_workers: usize,
    /// Mailboxes that mail from strangers may create if `unknown = "create"`.
    pub created_mailboxes: usize,
    /// Mailboxes whose contents are kept in memory.
    pub indexed_mailboxes: usize,
    /// Memory for the contents of mailboxes. The contents that sessions have open count, but are never dropped.
    pub index_memory: Size,
    /// The largest file that POP3 lists. A larger file is skipped unread, because no client has sent it: a sparse
    /// file may take days to read. The bound is never less than twice `message`.
    pub listed_message: Size,
    /// Time for which the contents of a mailbox stay in memory after the last session.
    pub index_idle: Span,
    /// Events of watched mailboxes that may wait for the loop.
    pub watch_queue: usize,
    /// Worker threads that scan mailboxes.
    pub scan_workers: usize,
    /// Time that a starting server waits for another one to leave the spool.
    pub spool_lock_wait: Span,
    /// The age after which a file in `tmp/` counts as a leftover.
    pub tmp_age: Span,
    /// Time that a stopping server waits for its sessions.
    pub shutdown_grace: Span,
    /// Transcripts: octets of one.
    pub transcript: Size,
    /// Transcripts that are kept.
    pub transcripts: usize,
    /// Transcripts: octets of all that are kept.
    pub transcripts_size: Size,
    /// Transcripts: octets that wait for the disk.
    pub transcript_queue: Size,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            smtp_idle: Span::secs(300),
            smtp_greeting: Span::secs(60),
            data_silence: Span::secs(180),
            data_rate: 500,
            smtp_session: Span::secs(3600),
            smtp_write: Span::secs(300),
            pop3_idle: Span::secs(600),
            pop3_login: Span::secs(180),
            pop3_write: Span::secs(600),
            pop3_lock_wait: Span::secs(2),
            pop3_login_delay: Span::secs(0),
            proxy_header: Span::secs(3),
            tls_handshake: Span::secs(30),
            certificate_check: Span::secs(30),
            smtp_line: 2048,
            pop3_line: 512,
            line_discard: 64 * 1024,
            message: Size::mib(50),
            recipients: 1000,
            recipients_unauthenticated: 100,
            recipients_null_sender: 0,
            messages_unauthenticated: 100,
            errors: 20,
            errors_greeting: 3,
            errors_unpunished: 10,
            errors_login: 5,
            junk_commands: 100,
            unknown_recipients: 20,
            failed_logins: 3,
            failed_login_delay: Span::secs(2),
            failed_login_longest_delay: Span::secs(15),
            failed_logins_minute: 10,
            failed_logins_day: 50,
            failed_logins_user: 50,
            failed_login_addresses: 10_000,
            login_memory: Span::secs(300),
            login_memories: 1000,
            accounts_check: Span::secs(2),
            password_queue: 64,
            connections: 0,
            connections_per_address: 20,
            connections_per_site: 100,
            served_addresses: 10_000,
            turn_commands: 32,
            turn_octets: 64 * 1024,
            output_waiting: Size::kib(64),
            bodies_in_memory: Size::mib(256),
            body_in_memory: Size::kib(256),
            read_chunk: Size::kib(64),
            delivery_queue: 4096,
            delivery_patience: Span::secs(90),
            delivery_batch: 256,
            quota_recount: Span::secs(60),
            quota_mailboxes: 10_000,
            work_queue: 4096,
            disk_workers: 3,
            password_workers: 2,
            created_mailboxes: 10_000,
            indexed_mailboxes: 1000,
            index_memory: Size::mib(256),
            listed_message: Size(4 << 30),
            index_idle: Span::secs(1800),
            watch_queue: 16_384,
            scan_workers: 2,
            spool_lock_wait: Span::secs(2),
            tmp_age: Span::secs(36 * 3600),
            shutdown_grace: Span::secs(5),
            transcript: Size::mib(1),
            transcripts: 1000,
            transcripts_size: Size::mib(100),
            transcript_queue: Size::mib(8),
        }
    }
}

impl Limits {
    /// Size in bytes of the largest file that is listed as a message. Every accepted message is listed, with the
    /// header lines that the server adds.
    pub fn max_listed_size(&self) -> u64 {
        self.listed_message.0.max(self.message.0.saturating_mul(2))
    }

    /// The table for `restante dev`: limits against abuse are lifted, limits on memory stay.
    pub fn for_development() -> Self {
        Self {
            recipients_unauthenticated: Self::default().recipients,
            messages_unauthenticated: 0,
            errors: 0,
            errors_greeting: 0,
            errors_unpunished: 0,
            errors_login: 0,
            junk_commands: 0,
            unknown_recipients: 0,
            failed_logins: 0,
            failed_login_delay: Span::secs(0),
            failed_logins_minute: 0,
            failed_logins_day: 0,
            failed_logins_user: 0,
            connections_per_address: 0,
            connections_per_site: 0,
            smtp_greeting: Span::secs(300),
            pop3_login: Span::secs(600),
            ..Self::default()
        }
    }
}

/// Time for which a worker keeps the memory of a password check: 19 MiB each.
pub const HASH_MEMORY_RETENTION: Duration = Duration::from_secs(5);
/// The shortest time from a wrong password to its reply, if hashes from other servers are on file. It is longer than
/// the check of such a hash, so that the time does not reveal the users that have one.
pub const FOREIGN_HASH_REPLY_DELAY: Duration = Duration::from_secs(2);

/// Bytes that a worker counts in one mailbox before other jobs run.
pub const SCAN_TURN_SIZE: Size = Size::mib(256);

/// Time that a program waits for another one that is changing the accounts file.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets of a configuration file. This bound and the next ones apply before there is a configuration, so they are no
/// keys of it.
pub const MAX_CONFIG_FILE: Size = Size::mib(4);
/// Octets of the accounts file: enough for some 300,000 accounts.
pub const MAX_USERS_FILE: Size = Size::mib(64);
/// Octets of the aliases file.
pub const MAX_ALIASES_FILE: Size = Size::mib(64);
/// Octets of a file with a certificate, or with a key.
pub const MAX_PEM_FILE: Size = Size::mib(4);

/// A duration that reads and prints as people write it: "90s", "5m", "1h 30m".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|e| {
            format!("{text:?} is not a duration ({e}): write it like \"30s\", \"5m\" or \"1h 30m\"")
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number of octets that reads and prints as people write it: "50 MiB", "64 KiB", "1000".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// A size in KiB (1,024 octets).
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// A size in MiB (1,048,576 octets).
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The size as a length in memory. A size that memory cannot address means no bound.
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

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

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[number.len()..];
        let factor = match unit {
            "" => Some(1),
            unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor),
        };
        factor
            .zip(number.trim_end().parse::<u64>().ok())
            .and_then(|(factor, n)| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is not a size: write it like \"50 MiB\", \"64 KiB\" or \"1000\" (octets)")
            })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = UNITS
            .into_iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(("B", 1));
        write!(f, "{} {name}", self.0 / factor)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Serializes a type that prints and parses as a text in the configuration.
macro_rules! text_in_configuration {
    ($type:ty, $form:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($form)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
    };
}

pub(crate) use text_in_configuration;

text_in_configuration!(Span, "a duration in quotes, like \"30s\" or \"5m\"");
text_in_configuration!(Size, "a size in quotes, like \"50 MiB\" or \"64 KiB\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_back_what_they_print() {
        for text in ["50 MiB", "1 GiB", "1500 B", "0 B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("2KiB".parse::<Size>().unwrap(), Size::kib(2));
        assert_eq!("1h 30m".parse::<Span>().unwrap(), Span::secs(5400));
        assert_eq!("1h 30m".parse::<Span>().unwrap().to_string(), "1h 30m");
    }

    #[test]
    fn whatever_is_accepted_is_listed() {
        for (listed, message) in [(4 << 30, 50 << 20), (1024, 50 << 20), (0, u64::MAX), (4 << 30, 1 << 40)] {
            let limits = Limits { listed_message: Size(listed), message: Size(message), ..Limits::default() };
            assert!(limits.max_listed_size() >= listed.max(message.saturating_mul(2)));
        }
    }

    #[test]
    fn a_bad_size_or_span_names_the_accepted_form() {
        for bad in ["", "MiB", "5 MB", "-1", "1.5 MiB", "99999999999 GiB", "5é"] {
            assert!(bad.parse::<Size>().unwrap_err().contains("50 MiB"), "{bad}");
        }
        assert!("5 parsecs".parse::<Span>().unwrap_err().contains("5m"));
    }
}
