//! All metrics by name, and the text that Prometheus reads (exposition format 0.0.4), with units in the names
//! and base units only.

use std::fmt::Write as _;

use super::{
    Counter, FILES, Family, Gauge, Histogram, Kind, LabelCounter, ListenerMetrics, Metrics, SERVICES, Sample,
    process,
};

impl Metrics {
    /// The current metrics as text for Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        for Family { name, kind, help, samples } in self.families() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            for Sample { suffix, labels, value } in samples {
                let _ = writeln!(text, "{name}{suffix}{} {value}", format_labels(&labels));
            }
        }
        text
    }

    /// The current metrics for the log: lines of `name=value`, with only count and sum of histograms.
    pub fn lines(&self) -> Vec<String> {
        let line = |family: Family| {
            let shown = family.samples.iter().filter(|sample| sample.suffix != "_bucket");
            let shown: Vec<String> = shown
                .map(|Sample { suffix, labels, value }| {
                    let labels: String = labels.iter().map(|(_, value)| format!("[{value}]")).collect();
                    format!("{}{suffix}{labels}={value}", family.name.trim_start_matches(PREFIX))
                        .replace(' ', "_")
                })
                .collect();
            (!shown.is_empty()).then(|| shown.join(" "))
        };
        self.families().into_iter().filter_map(line).collect()
    }

    /// The present values of all metrics, by name.
    pub fn families(&self) -> Vec<Family> {
        let mut all = Vec::from(self.client_families());
        all.extend(self.mail_families());
        all.extend(self.internal_families());
        all.extend(process::families());
        all
    }

    fn client_families(&self) -> [Family; 12] {
        [
            gauge(
                "restante_start_time_seconds",
                "Time when the server was ready, since 1970.",
                &self.started_at,
            ),
            self.gauges_by_service("restante_connections", "Open connections.", |of| &of.open),
            self.counters_by_service("restante_connections_total", "Connections accepted.", |of| {
                &of.connections
            }),
            counter_by_label(
                "restante_turned_away_total",
                "Connections rejected.",
                "why",
                &self.rejected_connections,
            ),
            self.counters_by_service(
                "restante_received_bytes_total",
                "Octets received from clients, inside TLS.",
                |of| &of.received,
            ),
            self.counters_by_service(
                "restante_sent_bytes_total",
                "Octets sent to clients, inside TLS.",
                |of| &of.sent,
            ),
            self.counters_by_service("restante_tls_handshakes_total", "Successful TLS handshakes.", |of| {
                &of.tls_handshakes
            }),
            self.counters_by_service(
                "restante_tls_failures_total",
                "Failed TLS handshakes and broken TLS connections.",
                |of| &of.tls_failures,
            ),
            self.counters_by_service("restante_logins_total", "Logins.", |of| &of.logins),
            self.counters_by_service(
                "restante_logins_failed_total",
                "Logins with a wrong name or password.",
                |of| &of.logins_failed,
            ),
            counter_by_label(
                "restante_refusals_total",
                "Refusals, by the codes of the reply.",
                "reply",
                &self.refusal_replies,
            ),
            counter_by_label("restante_ended_total", "Sessions that ended without QUIT.", "why", &self.ended),
        ]
    }

    fn mail_families(&self) -> [Family; 9] {
        [
            self.counters_by_service("restante_messages_received_total", "Messages received.", |of| {
                &of.messages
            }),
            self.counters_by_service(
                "restante_messages_received_bytes_total",
                "Octets of these messages.",
                |of| &of.message_octets,
            ),
            counter(
                "restante_deliveries_total",
                "Deliveries, one for each mailbox of a message.",
                &self.deliveries,
            ),
            histogram(
                "restante_delivery_seconds",
                "Time from the end of a message to the reply that it is durable.",
                &self.delivery_time,
            ),
            histogram("restante_commit_messages", "Messages per batch.", &self.batch_messages),
            histogram(
                "restante_sync_contents_seconds",
                "Time to make the contents of a batch durable.",
                &self.sync_contents,
            ),
            histogram(
                "restante_sync_names_seconds",
                "Time to make the names of a batch durable.",
                &self.sync_names,
            ),
            self.counters_by_service(
                "restante_messages_read_total",
                "Messages read completely by clients.",
                |of| &of.retrieved,
            ),
            self.counters_by_service(
                "restante_messages_deleted_total",
                "Messages deleted by clients.",
                |of| &of.deleted,
            ),
        ]
    }

    fn internal_families(&self) -> [Family; 26] {
        let queues = [
            ("deliveries", &self.delivery_queue),
            ("disk", &self.disk_queue),
            ("scans", &self.scan_queue),
            ("web", &self.web_queue),
            ("passwords", &self.password_queue),
            ("log", &self.log_queue),
        ];
        let queues = queues.map(|(queue, gauge)| Sample::labelled("queue", queue, gauge.get()));
        [
            Family {
                name: "restante_queue",
                kind: Kind::Gauge,
                help: "Jobs queued for the worker threads.",
                samples: queues.into(),
            },
            counter("restante_queue_full_total", "Jobs refused because of a full queue.", &self.queue_full),
            gauge("restante_bodies", "Messages being received.", &self.bodies),
            gauge("restante_index_mailboxes", "Mailboxes indexed in memory.", &self.index_mailboxes),
            gauge("restante_index_unwatched", "Indexed mailboxes without a watch.", &self.index_unwatched),
            gauge("restante_index_messages", "Messages in the indexed mailboxes.", &self.index_messages),
            gauge("restante_index_bytes", "Octets of these messages, as POP3 counts.", &self.index_octets),
            gauge("restante_index_memory_bytes", "Memory used by the index.", &self.index_memory),
            counter("restante_index_walks_total", "Full scans of mailboxes.", &self.index_scans),
            counter(
                "restante_index_looks_total",
                "Rechecks of single names in mailboxes.",
                &self.index_rechecks,
            ),
            gauge("restante_watch", "1 if the kernel reports changes, else 0.", &self.watch),
            counter("restante_watch_events_total", "Events received from the kernel.", &self.watch_events),
            counter("restante_watch_overflows_total", "Times that events were lost.", &self.watch_overflows),
            gauge(
                "restante_spool_free_bytes",
                "Free space on the file system of the spool.",
                &self.spool_free,
            ),
            gauge(
                "restante_refusing",
                "1 while deliveries and logins are refused, because the spool is not in its place.",
                &self.refusing,
            ),
            gauge(
                "restante_unwritable",
                "1 while no message can be stored, because the disk of the spool is full or read-only.",
                &self.unwritable,
            ),
            Family {
                name: "restante_stale",
                kind: Kind::Gauge,
                help: "1 if the newest version of a file is invalid or needs a restart, so that an older one is in use.",
                samples: FILES
                    .into_iter()
                    .zip(&self.stale_files)
                    .map(|(file, stale)| Sample::labelled("file", file, stale.get()))
                    .collect(),
            },
            gauge(
                "restante_restart_needed",
                "1 if the last reload changed nothing, because the configuration needs a restart.",
                &self.restart_needed,
            ),
            counter("restante_log_lines_total", "Lines logged.", &self.log_lines),
            counter("restante_log_dropped_total", "Log lines dropped.", &self.log_dropped),
            histogram("restante_loop_turn_seconds", "Time of each turn of the loop.", &self.loop_turn.times),
            Family {
                name: "restante_loop_turn_longest_seconds",
                kind: Kind::Gauge,
                help: "The longest turn of the loop since the start.",
                samples: vec![Sample::unlabelled(self.loop_turn.max_time.get() as f64 / 1e9)],
            },
            Family {
                name: "restante_loop_turn_longest_cpu_seconds",
                kind: Kind::Gauge,
                help: "The most CPU time of a turn of the loop since the start.",
                samples: vec![Sample::unlabelled(self.loop_turn.max_cpu_time.get() as f64 / 1e9)],
            },
            counter(
                "restante_loop_turns_long_total",
                "Turns of the loop that took longer than 20 ms.",
                &self.loop_turn.long,
            ),
            Family {
                name: "restante_written_every_seconds",
                kind: Kind::Gauge,
                help: "Interval of writing these metrics.",
                samples: vec![Sample::unlabelled(self.publish_interval.get() as f64 / 1e3)],
            },
            counter("restante_panics_total", "Panics, each a contained bug.", &self.panics),
        ]
    }

    fn counters_by_service(
        &self,
        name: &'static str,
        help: &'static str,
        of: impl Fn(&ListenerMetrics) -> &Counter,
    ) -> Family {
        self.by_service(name, Kind::Counter, help, |listener| of(listener).get())
    }

    fn gauges_by_service(
        &self,
        name: &'static str,
        help: &'static str,
        of: impl Fn(&ListenerMetrics) -> &Gauge,
    ) -> Family {
        self.by_service(name, Kind::Gauge, help, |listener| of(listener).get())
    }

    /// Only services that had a connection, so that others do not fill the table with zeros.
    fn by_service(
        &self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        value: impl Fn(&ListenerMetrics) -> u64,
    ) -> Family {
        let used =
            SERVICES.iter().zip(&self.listeners).filter(|(_, listener)| listener.connections.get() > 0);
        let samples =
            used.map(|(service, listener)| Sample::labelled("service", *service, value(listener))).collect();
        Family { name, kind, help, samples }
    }
}

fn counter(name: &'static str, help: &'static str, counter: &Counter) -> Family {
    Family { name, kind: Kind::Counter, help, samples: vec![Sample::unlabelled(counter.get() as f64)] }
}

fn gauge(name: &'static str, help: &'static str, gauge: &Gauge) -> Family {
    Family { name, kind: Kind::Gauge, help, samples: vec![Sample::unlabelled(gauge.get() as f64)] }
}

fn counter_by_label(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counter: &LabelCounter,
) -> Family {
    let samples = counter.snapshot().into_iter().map(|(word, n)| Sample::labelled(label, word, n)).collect();
    Family { name, kind: Kind::Counter, help, samples }
}

fn histogram(name: &'static str, help: &'static str, histogram: &Histogram) -> Family {
    let (upto, count, sum) = histogram.snapshot();
    let bounds =
        upto.into_iter().map(|(bound, n)| (bound.to_string(), n)).chain([("+Inf".to_owned(), count)]);
    let bucket = |(bound, n)| Sample { suffix: "_bucket", ..Sample::labelled("le", bound, n) };
    let mut samples: Vec<Sample> = bounds.map(bucket).collect();
    samples.push(Sample { suffix: "_sum", ..Sample::unlabelled(sum) });
    samples.push(Sample { suffix: "_count", ..Sample::unlabelled(count as f64) });
    Family { name, kind: Kind::Histogram, help, samples }
}

fn format_labels(labels: &[(&str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", labels.collect::<Vec<_>>().join(","))
}

/// The prefix of all names.
const PREFIX: &str = "restante_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_written_so_that_they_read_back() {
        let labels = [("why", "say \"a\\b\"\n".to_owned()), ("reply", "-ERR-[IN-USE]".to_owned())];
        assert_eq!(format_labels(&labels), r#"{why="say \"a\\b\"\n",reply="-ERR-[IN-USE]"}"#);
        assert_eq!(format_labels(&[]), "");
    }

    #[test]
    fn every_name_says_what_it_counts() {
        for Family { name, kind, help, .. } in Metrics::new().families() {
            assert!(name.starts_with(PREFIX) && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(!name.contains("milli") && !name.contains("octets"), "{name}: base units of Prometheus");
        }
    }

    #[test]
    fn the_lines_for_the_log_have_no_buckets_and_a_word_for_each_number() {
        let metrics = Metrics::new();
        metrics.listener("pop3").connections.inc();
        metrics.rejected_connections.inc("too many from one address");
        let lines = metrics.lines();
        let has = |wanted: &str| lines.iter().any(|line| line.split(' ').any(|word| word == wanted));
        assert!(
            has("connections_total[pop3]=1") && has("log_lines_total=0") && has("delivery_seconds_count=0")
        );
        assert!(has("turned_away_total[too_many_from_one_address]=1"), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("bucket") || line.contains("[smtp]")), "{lines:?}");
    }
}
