//! The ranges of the values in `[limits.…]`.

use std::fmt;

use super::error::ConfigError;
use crate::limits::{LARGEST, Limits, Size, Span};

#[rustfmt::skip]
pub(super) fn check(l: &Limits) -> Result<(), ConfigError> {
    const YEAR: Span = Span::secs(366 * 24 * 3600);
    const TIB: Size = LARGEST;
    for (key, value, least) in [
        ("smtp.command_timeout", l.smtp.command_timeout, 1),
        ("smtp.greeting_timeout", l.smtp.greeting_timeout, 1),
        ("smtp.data_timeout", l.smtp.data_timeout, 1),
        ("smtp.session_timeout", l.smtp.session_timeout, 1),
        ("smtp.write_timeout", l.smtp.write_timeout, 1),
        ("pop3.idle_timeout", l.pop3.idle_timeout, 1),
        ("pop3.login_timeout", l.pop3.login_timeout, 1),
        ("pop3.write_timeout", l.pop3.write_timeout, 1),
        ("pop3.lock_timeout", l.pop3.lock_timeout, 0),
        ("pop3.login_delay", l.pop3.login_delay, 0),
        ("imap.idle_timeout", l.imap.idle_timeout, 1),
        ("imap.login_timeout", l.imap.login_timeout, 1),
        ("imap.write_timeout", l.imap.write_timeout, 1),
        ("imap.idle_notify_interval", l.imap.idle_notify_interval, 1),
        ("http.idle_timeout", l.http.idle_timeout, 1),
        ("http.request_timeout", l.http.request_timeout, 1),
        ("http.write_timeout", l.http.write_timeout, 1),
        ("connections.proxy_timeout", l.connections.proxy_timeout, 1),
        ("connections.shutdown_timeout", l.connections.shutdown_timeout, 0),
        ("tls.handshake_timeout", l.tls.handshake_timeout, 1),
        ("tls.reload_interval", l.tls.reload_interval, 1),
        ("auth.reload_interval", l.auth.reload_interval, 1),
        ("auth.cache_ttl", l.auth.cache_ttl, 0),
        ("auth.failure_delay", l.auth.failure_delay, 0),
        ("auth.max_failure_delay", l.auth.max_failure_delay, 0),
        ("delivery.timeout", l.delivery.timeout, 1),
        ("quota.cache_ttl", l.quota.cache_ttl, 0),
    ] {
        within(&format!("limits.{key}"), value, Span::secs(least), YEAR)?;
    }
    for (key, value, most) in [
        ("smtp.max_message_size", l.smtp.max_message_size, TIB),
        ("pop3.max_message_size", l.pop3.max_message_size, TIB),
        ("http.max_document_memory", l.http.max_document_memory, TIB),
        ("connections.max_output_buffer", l.connections.max_output_buffer, TIB),
        ("delivery.max_body_memory", l.delivery.max_body_memory, TIB),
        ("delivery.spill_threshold", l.delivery.spill_threshold, l.delivery.max_body_memory),
        ("disk.read_size", l.disk.read_size, TIB),
        ("transcripts.max_size", l.transcripts.max_size, TIB),
        ("transcripts.max_total_size", l.transcripts.max_total_size, TIB),
        ("transcripts.queue_size", l.transcripts.queue_size, TIB),
    ] {
        within(&format!("limits.{key}"), value, Size::kib(1), most)?;
    }
    for (key, value, least, most) in [
        ("smtp.max_line_length", l.smtp.max_line_length, 512, 1 << 20), // RFC 5321 section 4.5.3.1.4
        ("pop3.max_line_length", l.pop3.max_line_length, 255, 1 << 20), // RFC 2449 section 4
        ("imap.max_line_length", l.imap.max_line_length, 8192, 1 << 20), // RFC 7162 section 4
        ("smtp.max_recipients", l.smtp.max_recipients, 1, 1_000_000),
        ("smtp.max_recipients_unauthenticated", l.smtp.max_recipients_unauthenticated, 1, 1_000_000),
        ("connections.line_discard_limit", l.connections.line_discard_limit, 1, 1 << 30),
        ("connections.max_known_addresses", l.connections.max_known_addresses, 1, 1_000_000),
        ("connections.max_commands_per_turn", l.connections.max_commands_per_turn, 1, 1_000_000),
        ("connections.max_octets_per_turn", l.connections.max_octets_per_turn, 1, 1 << 30),
        ("auth.queue_size", l.auth.queue_size, 1, 1_000_000),
        ("auth.cache_size", l.auth.cache_size, 1, 1_000_000),
        ("auth.throttle_size", l.auth.throttle_size, 1, 1_000_000),
        ("auth.workers", l.auth.workers, 1, 256),
        ("delivery.queue_size", l.delivery.queue_size, 1, 1_000_000),
        ("delivery.batch_size", l.delivery.batch_size, 1, 1_000_000),
        ("quota.cache_size", l.quota.cache_size, 1, 1_000_000),
        ("disk.queue_size", l.disk.queue_size, 1, 1_000_000),
        ("disk.workers", l.disk.workers, 1, 256),
        ("index.scan_workers", l.index.scan_workers, 1, 256),
        ("transcripts.max_count", l.transcripts.max_count, 1, 1_000_000),
    ] {
        within(&format!("limits.{key}"), value, least, most)?;
    }
    within("limits.smtp.min_data_rate", l.smtp.min_data_rate, 0, 1 << 30)
}

/// Checks that the value of a key is in a range.
pub(super) fn within<T: PartialOrd + fmt::Display>(
    key: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), ConfigError> {
    if least <= value && value <= most {
        return Ok(());
    }
    Err(ConfigError::at(key, format!("{value} is out of range: from {least} to {most}")))
}
