//! The sections `[limits.…]` of the configuration, each with its defaults. Unless its comment says otherwise,
//! a field is an upper bound. `mod.rs` has the rule for all of them.

use serde::{Deserialize, Serialize};

use super::{Size, Span};

/// The section `[limits.smtp]`: sessions of SMTP, submission and LMTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpLimits {
    /// The longest time that a client may take for one command.
    pub command_timeout: Span,
    /// The longest time that a client may take for one command before EHLO or HELO.
    pub greeting_timeout: Span,
    /// The longest time without an octet inside message data.
    pub data_timeout: Span,
    /// The longest life of a connection.
    pub session_timeout: Span,
    /// The longest time that output may wait until the client reads any of it.
    pub write_timeout: Span,
    /// Octets per second that a message must average after its first minute; 0: no limit.
    pub min_data_rate: u64,
    /// Octets in a command line, its line end included.
    pub max_line_length: usize,
    /// The largest message, in octets on the wire (CRLF line ends). SIZE announces it (RFC 1870 section 4).
    pub max_message_size: Size,
    /// Recipients of one message. A recipient that the client names twice counts twice.
    pub max_recipients: usize,
    /// Recipients of one message from a client that has not logged in. LMTP clients count as logged in.
    pub max_recipients_unauthenticated: usize,
    /// Recipients of one message from the null sender (a bounce); 0: the same limit as for other messages.
    pub max_recipients_null_sender: usize,
    /// Mailboxes of one message, of all its recipients and their lists: as many as the server may have open. No key of
    /// the configuration, because the descriptors decide.
    #[serde(skip)]
    pub max_mailboxes: usize,
    /// Messages in one session of a client that has not logged in; 0: no limit. LMTP clients count as logged in.
    pub max_messages_unauthenticated: usize,
    /// From the error with this number on, the server pauses for a second after each error; 0: no pauses.
    pub soft_error_limit: usize,
    /// The error with this number closes the session; 0: no limit.
    pub hard_error_limit: usize,
    /// The error with this number closes the session if EHLO or HELO has not come yet; 0: no limit.
    pub greeting_error_limit: usize,
    /// Commands between two accepted messages that do not advance one: EHLO, HELO, LHLO, RSET, NOOP, HELP, VRFY, and a
    /// BDAT without octets. One more closes the session; 0: no limit.
    pub junk_command_limit: usize,
    /// The unknown recipient with this number closes the session; 0: no limit.
    pub unknown_recipient_limit: usize,
}

impl Default for SmtpLimits {
    fn default() -> Self {
        Self {
            command_timeout: Span::secs(300),
            greeting_timeout: Span::secs(60),
            data_timeout: Span::secs(180),
            session_timeout: Span::secs(3600),
            write_timeout: Span::secs(300),
            min_data_rate: 500,
            max_line_length: 2048,
            max_message_size: Size::mib(50),
            max_recipients: 1000,
            max_recipients_unauthenticated: 100,
            max_recipients_null_sender: 0,
            max_mailboxes: usize::MAX,
            max_messages_unauthenticated: 100,
            soft_error_limit: 10,
            hard_error_limit: 20,
            greeting_error_limit: 3,
            junk_command_limit: 100,
            unknown_recipient_limit: 20,
        }
    }
}

/// The section `[limits.pop3]`: sessions, and the messages that they list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pop3Limits {
    /// Idle time in a logged-in session (RFC 1939 asks for at least ten minutes).
    pub idle_timeout: Span,
    /// The longest time until a client has logged in.
    pub login_timeout: Span,
    /// The longest time that output may wait until the client reads any of it.
    pub write_timeout: Span,
    /// The time that a login waits for the session that has the mailbox locked.
    pub lock_timeout: Span,
    /// The least time between two logins to one mailbox (RFC 2449 section 6.5); "0s": no delay.
    pub login_delay: Span,
    /// Octets in a command line, its line end included.
    pub max_line_length: usize,
    /// The largest file that counts as a message. The server skips a larger one without reading it: SMTP accepts no
    /// such message, and a sparse file of that size may take days to read. A value below twice
    /// `limits.smtp.max_message_size` counts as that.
    pub max_message_size: Size,
    /// The error with this number closes a session after the login; 0: no limit.
    pub hard_error_limit: usize,
    /// The error with this number closes a session before the login; 0: no limit.
    pub login_error_limit: usize,
}

impl Default for Pop3Limits {
    fn default() -> Self {
        Self {
            idle_timeout: Span::secs(600),
            login_timeout: Span::secs(180),
            write_timeout: Span::secs(600),
            lock_timeout: Span::secs(2),
            login_delay: Span::secs(0),
            max_line_length: 512,
            max_message_size: Size(4 << 30),
            hard_error_limit: 20,
            login_error_limit: 5,
        }
    }
}

/// The section `[limits.http]`: sessions of the web API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpLimits {
    /// The longest time between a response and the next request.
    pub idle_timeout: Span,
    /// The longest time until the head of a request is there, and until each 64 KiB of its body are.
    pub request_timeout: Span,
    /// The longest time that output may wait until the client reads any of it.
    pub write_timeout: Span,
    /// Large responses, and bodies of requests, in memory for all connections together. Above it the slowest clients end.
    pub max_document_memory: Size,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            idle_timeout: Span::secs(60),
            request_timeout: Span::secs(30),
            write_timeout: Span::secs(60),
            max_document_memory: Size::mib(128),
        }
    }
}

/// The section `[limits.imap]`: sessions of IMAP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImapLimits {
    /// Idle time in a logged-in session, and the longest IDLE (RFC 9051 section 5.4 asks for at least thirty minutes).
    pub idle_timeout: Span,
    /// The longest time until a client has logged in.
    pub login_timeout: Span,
    /// The longest time that output may wait until the client reads any of it.
    pub write_timeout: Span,
    /// The time after which a client in IDLE without updates gets a line, so that routers keep the connection.
    pub idle_notify_interval: Span,
    /// Octets of all lines of a command, without the literals.
    pub max_line_length: usize,
    /// The malformed command with this number in a row closes a session after the login; 0: no limit.
    pub hard_error_limit: usize,
    /// The error with this number closes a session before the login; 0: no limit.
    pub login_error_limit: usize,
    /// Sessions of one user from one address or IPv6 /64, except from loopback; 0: no limit. They do not count for
    /// `limits.connections.max_per_address`, because the mail programs of an office may share an address.
    pub max_connections_per_user: usize,
}

impl Default for ImapLimits {
    fn default() -> Self {
        Self {
            idle_timeout: Span::secs(1800),
            login_timeout: Span::secs(180),
            write_timeout: Span::secs(600),
            idle_notify_interval: Span::secs(120),
            max_line_length: 64 * 1024,
            hard_error_limit: 20,
            login_error_limit: 5,
            max_connections_per_user: 20,
        }
    }
}

/// The section `[limits.tls]`: handshakes, and the polling of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsLimits {
    /// The longest time for the whole handshake.
    pub handshake_timeout: Span,
    /// The interval at which the server checks the certificate files for a change, if the kernel reports none.
    pub reload_interval: Span,
}

impl Default for TlsLimits {
    fn default() -> Self {
        Self { handshake_timeout: Span::secs(30), reload_interval: Span::secs(30) }
    }
}

/// The section `[limits.auth]`: password checks, and the throttling of wrong passwords.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthLimits {
    /// Distinct wrong (user, password) pairs in one connection; 0: no limit.
    pub max_failures_per_connection: usize,
    /// Delay of the reply to the first wrong password. It doubles with each further one; "0s": no delay.
    pub failure_delay: Span,
    /// The longest delay of the reply to a wrong password.
    pub max_failure_delay: Span,
    /// Wrong passwords in a minute from one address or IPv6 /64. After that the server checks no password from there;
    /// 0: no limit.
    pub max_failures_per_minute: usize,
    /// The same for a day; 0: no limit.
    pub max_failures_per_day: usize,
    /// Wrong passwords for one user in an hour, counted over all addresses from which this user has never logged in.
    /// After that the server checks no password for this user from such an address; 0: no limit.
    pub max_failures_per_user: usize,
    /// Addresses, networks and users whose wrong passwords the server remembers.
    pub throttle_size: usize,
    /// Time for which the server caches a right password, as a keyed hash, so that the next check costs no Argon2;
    /// "0s": no cache.
    pub cache_ttl: Span,
    /// Right passwords in that cache, and users whose login addresses the server remembers.
    pub cache_size: usize,
    /// The interval at which the server checks the files of accounts and aliases for a change, if the kernel reports none.
    pub reload_interval: Span,
    /// Password checks that may wait for a worker.
    pub queue_size: usize,
    /// Threads that check passwords. Each uses a CPU and the memory of one Argon2 hash at a time.
    pub workers: usize,
}

impl Default for AuthLimits {
    fn default() -> Self {
        Self {
            max_failures_per_connection: 3,
            failure_delay: Span::secs(2),
            max_failure_delay: Span::secs(15),
            max_failures_per_minute: 10,
            max_failures_per_day: 50,
            max_failures_per_user: 50,
            throttle_size: 10_000,
            cache_ttl: Span::secs(300),
            cache_size: 1000,
            reload_interval: Span::secs(2),
            queue_size: 64,
            workers: 2,
        }
    }
}

/// The section `[limits.connections]`: connections of all services, and the work of each in one turn of the loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionLimits {
    /// Connections in all; 0: as many as the descriptor limit allows.
    pub max: usize,
    /// Connections from one address or IPv6 /64, except from loopback and those of users who have logged in by IMAP; 0: no
    /// limit.
    pub max_per_address: usize,
    /// The same for one IPv6 /48, which usually belongs to one customer; 0: no limit.
    pub max_per_network: usize,
    /// Addresses that the server remembers because it accepted a message from them, or a user logged in. When the
    /// connection limit is reached, it evicts their connections after those of unknown addresses.
    pub max_known_addresses: usize,
    /// The longest time until a proxy has sent its PROXY header.
    pub proxy_timeout: Span,
    /// Time that the server waits for its sessions when it stops.
    pub shutdown_timeout: Span,
    /// Octets of a line without an end that the server discards before it closes the connection.
    pub line_discard_limit: usize,
    /// Commands one connection may run in one turn of the loop.
    pub max_commands_per_turn: usize,
    /// Octets that the server reads from one connection in one turn of the loop. A command line may be longer.
    pub max_octets_per_turn: usize,
    /// Unsent output of a connection at which the server stops reading from it.
    pub max_output_buffer: Size,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max: 0,
            max_per_address: 20,
            max_per_network: 100,
            max_known_addresses: 10_000,
            proxy_timeout: Span::secs(3),
            shutdown_timeout: Span::secs(5),
            line_discard_limit: 64 * 1024,
            max_commands_per_turn: 32,
            max_octets_per_turn: 64 * 1024,
            max_output_buffer: Size::kib(64),
        }
    }
}

/// The section `[limits.delivery]`: message data from the client to the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryLimits {
    /// The longest time that a client waits for its message to be durable. After that the server refuses and removes the
    /// message. The value must be below the timeout of any client: RFC 5321 section 4.5.3.2.6 asks clients to wait ten
    /// minutes, Thunderbird waits 100 seconds.
    pub timeout: Span,
    /// Deliveries that may wait for the committer.
    pub queue_size: usize,
    /// The largest number of deliveries in one batch of the committer.
    pub batch_size: usize,
    /// Message data in memory for all connections together: half for sessions, half for data on its way to the disk.
    /// When it runs short, the server spills the largest messages to files before they reach `spill_threshold`. If that
    /// is not enough, it closes the connections that send slowest.
    pub max_body_memory: Size,
    /// Message data of one connection at which the server spills it from memory to a file in `tmp/`.
    pub spill_threshold: Size,
    /// Mailboxes that mail from strangers may create if `unknown_recipients = "create"`.
    pub max_created_mailboxes: usize,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self {
            timeout: Span::secs(90),
            queue_size: 4096,
            batch_size: 256,
            max_body_memory: Size::mib(256),
            spill_threshold: Size::kib(256),
            max_created_mailboxes: 10_000,
        }
    }
}

/// The section `[limits.quota]`: the cache of mailbox sizes for quotas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaLimits {
    /// Time for which the counted size of a mailbox is valid.
    pub cache_ttl: Span,
    /// Mailboxes whose sizes the server keeps in memory.
    pub cache_size: usize,
}

impl Default for QuotaLimits {
    fn default() -> Self {
        Self { cache_ttl: Span::secs(60), cache_size: 10_000 }
    }
}

/// The section `[limits.disk]`: workers that read and delete messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskLimits {
    /// Worker threads that read and delete messages.
    pub workers: usize,
    /// Disk jobs (scans, reads, deletions) that may wait for a worker.
    pub queue_size: usize,
    /// Octets of a message that one job reads from the disk.
    pub read_size: Size,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self { workers: 3, queue_size: 4096, read_size: Size::kib(64) }
    }
}

/// The section `[limits.index]`: the indexes of mailboxes in memory, and the inotify watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexLimits {
    /// Mailboxes whose indexes the server keeps in memory.
    pub max_mailboxes: usize,
    /// Memory for the indexes of mailboxes. The index of an open mailbox counts, but the server never drops it.
    pub max_memory: Size,
    /// Time for which an index stays in memory after the last session of its mailbox.
    pub idle_timeout: Span,
    /// Worker threads that scan mailboxes.
    pub scan_workers: usize,
    /// No effect: the kernel bounds the inotify events that wait (`fs.inotify.max_queued_events`). Older configurations have
    /// this key.
    pub event_queue_size: usize,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self {
            max_mailboxes: 1000,
            max_memory: Size::mib(256),
            idle_timeout: Span::secs(1800),
            scan_workers: 2,
            event_queue_size: 16_384,
        }
    }
}

/// The section `[limits.spool]`: the lock of the spool, and stale files in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolLimits {
    /// Time that the server waits at its start for another server to release the spool, and its ports.
    pub lock_timeout: Span,
    /// The age after which a file in `tmp/` is stale, and the server removes it.
    pub tmp_max_age: Span,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self { lock_timeout: Span::secs(2), tmp_max_age: Span::secs(36 * 3600) }
    }
}

/// The section `[limits.transcripts]`: the size and number of transcripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranscriptLimits {
    /// Octets of one transcript. The rest of a longer session is not recorded.
    pub max_size: Size,
    /// Transcripts to keep. The server deletes the oldest ones.
    pub max_count: usize,
    /// Octets of all transcripts together. The server deletes the oldest ones.
    pub max_total_size: Size,
    /// Octets of transcripts that may wait for the disk.
    pub queue_size: Size,
}

impl Default for TranscriptLimits {
    fn default() -> Self {
        Self {
            max_size: Size::mib(1),
            max_count: 1000,
            max_total_size: Size::mib(100),
            queue_size: Size::mib(8),
        }
    }
}
