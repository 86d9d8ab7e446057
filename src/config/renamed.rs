//! The names of earlier versions, and those of today: `upgrade` applies the tables.

/// An old key and the keys that have its value today.
pub(super) type Rename = (&'static str, &'static [&'static str]);

/// Keys of 0.1, with their sections.
#[rustfmt::skip]
pub(super) const KEYS: &[Rename] = &[
    ("unknown", &["unknown_recipients"]),
    ("log.to", &["log.destination"]),
    ("metrics.every", &["metrics.interval"]),
    ("limits.smtp_idle", &["limits.smtp.command_timeout"]),
    ("limits.smtp_greeting", &["limits.smtp.greeting_timeout"]),
    ("limits.data_silence", &["limits.smtp.data_timeout"]),
    ("limits.smtp_session", &["limits.smtp.session_timeout"]),
    ("limits.smtp_write", &["limits.smtp.write_timeout"]),
    ("limits.data_rate", &["limits.smtp.min_data_rate"]),
    ("limits.smtp_line", &["limits.smtp.max_line_length"]),
    ("limits.message", &["limits.smtp.max_message_size"]),
    ("limits.recipients", &["limits.smtp.max_recipients"]),
    ("limits.recipients_unauthenticated", &["limits.smtp.max_recipients_unauthenticated"]),
    ("limits.recipients_null_sender", &["limits.smtp.max_recipients_null_sender"]),
    ("limits.messages_unauthenticated", &["limits.smtp.max_messages_unauthenticated"]),
    ("limits.errors_unpunished", &["limits.smtp.soft_error_limit"]),
    ("limits.errors", &["limits.smtp.hard_error_limit", "limits.pop3.hard_error_limit"]),
    ("limits.errors_greeting", &["limits.smtp.greeting_error_limit"]),
    ("limits.junk_commands", &["limits.smtp.junk_command_limit"]),
    ("limits.unknown_recipients", &["limits.smtp.unknown_recipient_limit"]),
    ("limits.pop3_idle", &["limits.pop3.idle_timeout"]),
    ("limits.pop3_login", &["limits.pop3.login_timeout"]),
    ("limits.pop3_write", &["limits.pop3.write_timeout"]),
    ("limits.pop3_lock_wait", &["limits.pop3.lock_timeout"]),
    ("limits.pop3_login_delay", &["limits.pop3.login_delay"]),
    ("limits.pop3_line", &["limits.pop3.max_line_length"]),
    ("limits.listed_message", &["limits.pop3.max_message_size"]),
    ("limits.errors_login", &["limits.pop3.login_error_limit"]),
    ("limits.connections", &["limits.connections.max"]),
    ("limits.connections_per_address", &["limits.connections.max_per_address"]),
    ("limits.connections_per_site", &["limits.connections.max_per_network"]),
    ("limits.served_addresses", &["limits.connections.max_known_addresses"]),
    ("limits.proxy_header", &["limits.connections.proxy_timeout"]),
    ("limits.shutdown_grace", &["limits.connections.shutdown_timeout"]),
    ("limits.line_discard", &["limits.connections.line_discard_limit"]),
    ("limits.turn_commands", &["limits.connections.max_commands_per_turn"]),
    ("limits.turn_octets", &["limits.connections.max_octets_per_turn"]),
    ("limits.output_waiting", &["limits.connections.max_output_buffer"]),
    ("limits.tls_handshake", &["limits.tls.handshake_timeout"]),
    ("limits.certificate_check", &["limits.tls.reload_interval"]),
    ("limits.failed_logins", &["limits.auth.max_failures_per_connection"]),
    ("limits.failed_login_delay", &["limits.auth.failure_delay"]),
    ("limits.failed_login_longest_delay", &["limits.auth.max_failure_delay"]),
    ("limits.failed_logins_minute", &["limits.auth.max_failures_per_minute"]),
    ("limits.failed_logins_day", &["limits.auth.max_failures_per_day"]),
    ("limits.failed_logins_user", &["limits.auth.max_failures_per_user"]),
    ("limits.failed_login_addresses", &["limits.auth.throttle_size"]),
    ("limits.login_memory", &["limits.auth.cache_ttl"]),
    ("limits.login_memories", &["limits.auth.cache_size"]),
    ("limits.accounts_check", &["limits.auth.reload_interval"]),
    ("limits.password_queue", &["limits.auth.queue_size"]),
    ("limits.password_workers", &["limits.auth.workers"]),
    ("limits.delivery_patience", &["limits.delivery.timeout"]),
    ("limits.delivery_queue", &["limits.delivery.queue_size"]),
    ("limits.delivery_batch", &["limits.delivery.batch_size"]),
    ("limits.bodies_in_memory", &["limits.delivery.max_body_memory"]),
    ("limits.body_in_memory", &["limits.delivery.spill_threshold"]),
    ("limits.created_mailboxes", &["limits.delivery.max_created_mailboxes"]),
    ("limits.quota_recount", &["limits.quota.cache_ttl"]),
    ("limits.quota_mailboxes", &["limits.quota.cache_size"]),
    ("limits.disk_workers", &["limits.disk.workers"]),
    ("limits.work_queue", &["limits.disk.queue_size"]),
    ("limits.read_chunk", &["limits.disk.read_size"]),
    ("limits.indexed_mailboxes", &["limits.index.max_mailboxes"]),
    ("limits.index_memory", &["limits.index.max_memory"]),
    ("limits.index_idle", &["limits.index.idle_timeout"]),
    ("limits.scan_workers", &["limits.index.scan_workers"]),
    ("limits.watch_queue", &["limits.index.event_queue_size"]),
    ("limits.spool_lock_wait", &["limits.spool.lock_timeout"]),
    ("limits.tmp_age", &["limits.spool.tmp_max_age"]),
    ("limits.transcript", &["limits.transcripts.max_size"]),
    ("limits.transcripts", &["limits.transcripts.max_count"]),
    ("limits.transcripts_size", &["limits.transcripts.max_total_size"]),
    ("limits.transcript_queue", &["limits.transcripts.queue_size"]),
];

/// Keys of 0.1 in a section `[[listen]]`.
pub(super) const LISTENER_KEYS: &[Rename] = &[
    ("pedantic", &["strict"]),
    ("plaintext_auth", &["auth_allow_cleartext"]),
    ("trusted", &["trusted_networks"]),
    ("proxy_protocol", &["proxy_networks"]),
];

/// A key, an old text as its value, and the text today.
pub(super) type RenamedValue = (&'static str, &'static str, &'static str);

pub(super) const VALUES: &[RenamedValue] = &[("unknown_recipients", "refuse", "reject")];

/// The old names of a key. An element of a list is written by number: `listen.0.strict`.
pub(super) fn old_paths(key: &str) -> impl Iterator<Item = String> {
    let (home, keys, name) = match key.strip_prefix("listen.").and_then(|rest| rest.split_once('.')) {
        Some((n, name)) => (format!("listen.{n}."), LISTENER_KEYS, name),
        None => (String::new(), KEYS, key),
    };
    keys.iter().filter(move |(_, new)| new.contains(&name)).map(move |(old, _)| format!("{home}{old}"))
}

/// All old keys without their section, with the paths of today.
pub(super) fn old_names() -> impl Iterator<Item = (&'static str, String)> {
    let of = |(old, new): &Rename, section: &str| {
        let name = old.rsplit('.').next().unwrap_or(old);
        new.iter().map(|new| (name, format!("{section}{new}"))).collect::<Vec<_>>()
    };
    let listeners = LISTENER_KEYS.iter().flat_map(move |rename| of(rename, "listen."));
    KEYS.iter().flat_map(move |rename| of(rename, "")).chain(listeners)
}
