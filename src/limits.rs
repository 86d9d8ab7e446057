//! Every bound of the server in one table, with its default: the `[limits]` section of the
//! configuration. A leaf: imports nothing of ours.
//!
//! The rule: no buffer, queue, count or wait elsewhere in the crate has a bound of its own invention.

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
    /// SMTP: how long a client may take for one command.
    pub smtp_idle: Span,
    /// SMTP: the same before EHLO or HELO.
    pub smtp_greeting: Span,
    /// SMTP: silence allowed inside message data.
    pub data_silence: Span,
    /// SMTP: octets per second a message must average after its first minute; 0 lifts it.
    pub data_rate: u64,
    /// SMTP: the longest life of a connection.
    pub smtp_session: Span,
    /// SMTP: how long output may wait for the client to take any of it.
    pub smtp_write: Span,
    /// POP3: idle time in a logged-in session (RFC 1939 asks for at least ten minutes).
    pub pop3_idle: Span,
    /// POP3: how long a client may take to log in.
    pub pop3_login: Span,
    /// POP3: how long output may wait for the client to take any of it.
    pub pop3_write: Span,
    /// POP3: how long a login waits for another session to leave the mailbox.
    pub pop3_lock_wait: Span,
    /// POP3: the least time between two logins to one mailbox (RFC 2449 section 6.5); "0s" lifts it.
    pub pop3_login_delay: Span,
    /// How long a proxy may take to say whose connection it hands over.
    pub proxy_header: Span,
    /// TLS: how long a client may take for the whole handshake.
    pub tls_handshake: Span,
    /// TLS: how often the files of the certificate are looked at for a change.
    pub certificate_check: Span,
    /// SMTP: octets in a command line, its line end included.
    pub smtp_line: usize,
    /// POP3: octets in a command line, its line end included.
    pub pop3_line: usize,
    /// Octets of an endless line that are thrown away before the connection is closed.
    pub line_discard: usize,
    /// Largest message, counted as it travels (CRLF line ends).
    pub message: Size,
    /// Recipients of one message; one that is named twice counts twice.
    pub recipients: usize,
    /// Recipients of one message from a client that has not logged in.
    pub recipients_unauthenticated: usize,
    /// Recipients of one message from the null sender, a bounce; 0 leaves them the bound of other messages.
    pub recipients_null_sender: usize,
    /// Messages in one session of a client that has not logged in; 0 lifts it.
    pub messages_unauthenticated: usize,
    /// Errors in one session before it is closed; 0 lifts it.
    pub errors: usize,
    /// SMTP: errors before EHLO or HELO; 0 lifts it.
    pub errors_greeting: usize,
    /// Errors from which on each further one costs the client a second; 0 lifts it.
    pub errors_unpunished: usize,
    /// POP3: errors before login; 0 lifts it.
    pub errors_login: usize,
    /// SMTP: NOOP, RSET, EHLO, HELP and VRFY between two messages; 0 lifts it.
    pub junk_commands: usize,
    /// SMTP: unknown recipients in one session; 0 lifts it.
    pub unknown_recipients: usize,
    /// Distinct wrong (user, password) pairs in one connection; 0 lifts it.
    pub failed_logins: usize,
    /// How long the answer to a wrong password is held back, twice as long each time; "0s" lifts it.
    pub failed_login_delay: Span,
    /// The longest that it is held back.
    pub failed_login_longest_delay: Span,
    /// Wrong passwords from one address in a minute, behind which none is checked; 0 lifts it.
    pub failed_logins_minute: usize,
    /// The same in a day; 0 lifts it.
    pub failed_logins_day: usize,
    /// Wrong passwords for one user in an hour, from all addresses together that this user has never logged in from,
    /// after which none from such an address is checked; 0 lifts it.
    pub failed_logins_user: usize,
    /// Addresses, networks and users whose wrong passwords are remembered.
    pub failed_login_addresses: usize,
    /// How long a right password is remembered, as a keyed hash, so that it costs no Argon2; "0s" lifts it.
    pub login_memory: Span,
    /// Right passwords that are remembered, and users of whom the addresses that they log in from are.
    pub login_memories: usize,
    /// How often the files of accounts and aliases are looked at for a change.
    pub accounts_check: Span,
    /// Password checks that may wait for a worker.
    pub password_queue: usize,
    /// Connections in all; 0 takes what the descriptors are enough for.
    pub connections: usize,
    /// Connections from one address that is not loopback, or from one /64 of IPv6; 0 lifts it.
    pub connections_per_address: usize,
    /// Connections from one /48 of IPv6, which is one customer's; 0 lifts it.
    pub connections_per_site: usize,
    /// Addresses that are remembered because a message was accepted from there, or a user logged in. When there is no
    /// room, their connections end after those of strangers.
    pub served_addresses: usize,
    /// Commands one connection may run in one turn of the loop.
    pub turn_commands: usize,
    /// Octets one connection may be read in one turn of the loop. A command line may be longer.
    pub turn_octets: usize,
    /// Output that may wait in a connection before we stop listening to it.
    pub output_waiting: Size,
    /// Message data held in memory for all connections together: half of it by sessions, half on its way to the disk.
    /// Under pressure the largest go to files before `body_in_memory`, and then the slowest messages end.
    pub bodies_in_memory: Size,
    /// Message data one connection holds in memory before it goes to a file in `tmp/`.
    pub body_in_memory: Size,
    /// Octets of a message read from the disk at a time.
    pub read_chunk: Size,
    /// Deliveries that may wait for the disk.
    pub delivery_queue: usize,
    /// How long a client waits for its message to be durable. Then it is refused, and taken back: below the
    /// patience of any client (RFC 5321 section 4.5.3.2.6 asks for ten minutes, Thunderbird has 100 seconds).
    pub delivery_patience: Span,
    /// Deliveries made durable together.
    pub delivery_batch: usize,
    /// How long a count of what is in a mailbox is believed, for its quota.
    pub quota_recount: Span,
    /// Mailboxes whose counts are kept in memory.
    pub quota_mailboxes: usize,
    /// Disk jobs (scans, reads, deletions) that may wait for a worker.
    pub work_queue: usize,
    /// Worker threads for the disk.
    pub disk_workers: usize,
    /// Worker threads for passwords.
    pub password_workers: usize,
    /// Mailboxes that strangers' mail may create where `unknown = "create"`.
    pub created_mailboxes: usize,
    /// Mailboxes whose contents are kept in memory.
    pub indexed_mailboxes: usize,
    /// Memory for the contents of mailboxes; what sessions have open counts and stays.
    pub index_memory: Size,
    /// The largest file that POP3 lists. A larger one is left out unread, since nobody has sent it: a sparse file may
    /// take days to read. It is never less than twice `message`.
    pub listed_message: Size,
    /// How long the contents of a mailbox are kept in memory after the last session.
    pub index_idle: Span,
    /// Changes of watched mailboxes that may wait for the loop.
    pub watch_queue: usize,
    /// Worker threads that look through mailboxes.
    pub scan_workers: usize,
    /// How long a starting server waits for another one to leave the spool.
    pub spool_lock_wait: Span,
    /// How old a file in `tmp/` must be before it is taken for left behind.
    pub tmp_age: Span,
    /// How long a stopping server waits for the sessions it has.
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
    /// Bytes of the largest file that is a message: whatever was accepted is listed, its header lines of ours included.
    pub fn max_listed_size(&self) -> u64 {
        self.listed_message.0.max(self.message.0.saturating_mul(2))
    }

    /// The table for `restante dev`: what guards against abuse is lifted, what guards memory stays.
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

/// How long a worker keeps the memory that a password was checked in: 19 MiB each.
pub const HASH_MEMORY_RETENTION: Duration = Duration::from_secs(5);
/// How long after the question a wrong password is answered at least, where hashes of other servers are on file: longer
/// than the check of one takes, so that the time does not tell who has one.
pub const FOREIGN_HASH_REPLY_DELAY: Duration = Duration::from_secs(2);

/// Bytes that a worker counts in one mailbox at a time, before others have their turn.
pub const SCAN_TURN_SIZE: Size = Size::mib(256);

/// How long a program that changes the file of accounts is waited for by another one.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets of a configuration file. The files that it is read from are bounded before there is a configuration: these
/// bounds are no keys of it.
pub const MAX_CONFIG_FILE: Size = Size::mib(4);
/// Octets of the file of accounts: some 300,000 of them.
pub const MAX_USERS_FILE: Size = Size::mib(64);
/// Octets of the file of aliases.
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

    /// The size as a length in memory; more than memory can address is as good as no bound.
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// What the clients of an address are counted by: itself, or the /64 of IPv6, in which its owner has any number of
/// addresses.
pub fn client_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// The network that one customer has in IPv6: a /48 (RFC 6177). `None` for IPv4, where an address is all there is.
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

/// Lets a type that prints and parses stand in a configuration as a text of that form.
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
