//! The metrics as lines of at most 80 columns, for the table and the live screen.

use std::time::{Duration, SystemTime};

use super::refusal::Refusal;
use crate::{
    metrics::{SERVICES, reader::MetricsSnapshot},
    printable::{self, counted},
};

/// Two lines with the server's name, its uptime and the age of the metrics.
pub(super) fn heading(reading: &MetricsSnapshot, now: SystemTime) -> String {
    let about = printable::escape_line(reading.description().unwrap_or("restante"));
    let begun = if has_just_begun(reading, now) { " (the server has just begun)" } else { "" };
    format!("{about}\n{}{begun}", ages(reading, now))
}

/// Whether figures may be 0 still: the server wrote them within the first interval after its start, and no newer ones are due.
fn has_just_begun(reading: &MetricsSnapshot, now: SystemTime) -> bool {
    reading.uptime() < interval(reading) && staleness(reading, now).is_none() && !is_overdue(reading, now)
}

/// The time between two writes of the metrics.
fn interval(reading: &MetricsSnapshot) -> Duration {
    let every = reading.value("restante_written_every_seconds").unwrap_or_default();
    Duration::try_from_secs_f64(every).unwrap_or_default()
}

/// Whether newer metrics should be there, of a server that is not given up yet.
fn is_overdue(reading: &MetricsSnapshot, now: SystemTime) -> bool {
    staleness(reading, now).is_none() && reading.age(now) > interval(reading).saturating_add(SLACK)
}

/// The uptime, and the age of the metrics. A server that runs is older than its metrics.
fn ages(reading: &MetricsSnapshot, now: SystemTime) -> String {
    let age = reading.age(now);
    let since = if staleness(reading, now).is_none() { age } else { Duration::ZERO };
    let overdue = if is_overdue(reading, now) { " (overdue, see its log)" } else { "" };
    format!("up {}, metrics {} old{overdue}", span(reading.uptime() + since), span(age))
}

/// One line: whether the server runs, and takes mail, and its spool.
pub(super) fn verdict(reading: &MetricsSnapshot, refusal: Option<Refusal>, now: SystemTime) -> String {
    let verdict = match staleness(reading, now) {
        Some(_) => "gone",
        None if refusal.is_some() => "refusing",
        None => "healthy",
    };
    let spool = reading.spool().map(|spool| format!("; spool {}", printable::escape_line(spool)));
    format!("{verdict}: {}{}", ages(reading, now), spool.unwrap_or_default())
}

/// All metrics. Rates are since `before`, or since the server was ready.
pub(super) fn lines(
    reading: &MetricsSnapshot,
    before: Option<&MetricsSnapshot>,
    refusal: Option<Refusal>,
) -> Vec<String> {
    let rates = Rates::new(reading, before);
    let mut lines = Vec::new();
    // First, because a small screen hides the last lines.
    lines.extend(refusal.iter().flat_map(|refusal| wrapped("refusing", refusal.line())));
    lines.extend(stale_files(reading));
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push("service        open    total   /min  received      sent  logins  failed    TLS".to_owned());
    lines.extend(SERVICES.iter().filter_map(|service| service_line(reading, &rates, service)));
    lines.push(String::new());
    lines.extend(mail_lines(reading, &rates));
    lines.extend(internal_lines(reading));
    lines
}

fn service_line(reading: &MetricsSnapshot, rates: &Rates<'_>, service: &str) -> Option<String> {
    let of = |name: &str| reading.labelled(&format!("restante_{name}"), service);
    (of("connections_total") > 0.0).then(|| {
        format!(
            "{service:<12} {:>6} {:>8} {:>6} {:>9} {:>9} {:>7} {:>7} {:>6}",
            of("connections"),
            of("connections_total"),
            rates.of_labelled("restante_connections_total", service),
            size(of("received_bytes_total")),
            size(of("sent_bytes_total")),
            of("logins_total"),
            of("logins_failed_total"),
            of("tls_handshakes_total"),
        )
    })
}

fn mail_lines(reading: &MetricsSnapshot, rates: &Rates<'_>) -> Vec<String> {
    let sum = |name: &str| reading.sum(&format!("restante_{name}"));
    let mut lines = [
        wrapped(
            "mail",
            &format!(
                "{} in ({}, {}/min), {} delivered, {} read, {} deleted",
                sum("messages_received_total"),
                size(sum("messages_received_bytes_total")),
                rates.of("restante_messages_received_total"),
                sum("deliveries_total"),
                sum("messages_read_total"),
                sum("messages_deleted_total"),
            ),
        ),
        wrapped("durable", &latency_text(reading, "restante_delivery_seconds")),
        wrapped("disk", &format!("contents {}", latency_text(reading, "restante_sync_contents_seconds"))),
        wrapped("", &format!("names    {}", latency_text(reading, "restante_sync_names_seconds"))),
    ]
    .concat();
    let words = [
        ("refused", "restante_refusals_total"),
        ("ended", "restante_ended_total"),
        ("rejected", "restante_turned_away_total"),
    ];
    for (title, name) in words {
        lines.extend(top_labels(reading, name).iter().flat_map(|labels| wrapped(title, labels)));
    }
    lines
}

fn internal_lines(reading: &MetricsSnapshot) -> Vec<String> {
    let one = |name: &str| reading.value(&format!("restante_{name}")).unwrap_or_default();
    let queues = reading.by_label("restante_queue");
    let queues: Vec<String> = queues.iter().map(|(queue, waiting)| format!("{queue} {waiting}")).collect();
    let watch = if one("watch") > 0.0 { "inotify" } else { "polling" };
    [
        wrapped(
            "queues",
            &format!("{}; {} full", queues.join(", "), counted(one("queue_full_total"), "time")),
        ),
        wrapped(
            "index",
            &format!(
                "{} in {}, {}; {}, {}",
                counted(one("index_messages"), "message"),
                counted(one("index_mailboxes"), "mailbox"),
                size(one("index_bytes")),
                counted(one("index_walks_total"), "scan"),
                counted(one("index_looks_total"), "recheck"),
            ),
        ),
        wrapped(
            "watch",
            &format!(
                "{watch}, {}, {}, {} not watched",
                counted(one("watch_events_total"), "event"),
                counted(one("watch_overflows_total"), "overflow"),
                one("index_unwatched"),
            ),
        ),
        wrapped(
            "loop",
            &latency_below(reading, "restante_loop_turn_seconds", one("loop_turn_longest_seconds")),
        ),
        wrapped(
            "",
            &format!(
                "longest {}, {} longer than 20 ms",
                seconds(one("loop_turn_longest_seconds")),
                one("loop_turns_long_total"),
            ),
        ),
        wrapped(
            "process",
            &format!(
                "{} of memory, {} of {}, {:.1}s of CPU, {}",
                size(one("resident_memory_bytes")),
                one("open_descriptors"),
                counted(one("max_descriptors"), "descriptor"),
                one("cpu_seconds_total"),
                counted(one("panics_total"), "panic"),
            ),
        ),
        wrapped(
            "log, spool",
            &format!(
                "{}, {} dropped; {}",
                counted(one("log_lines_total"), "line"),
                one("log_dropped_total"),
                free_space(one("spool_free_bytes")),
            ),
        ),
    ]
    .concat()
}

/// The files whose present content the server could not take.
fn stale_files(reading: &MetricsSnapshot) -> Vec<String> {
    let needs_restart = reading.value("restante_restart_needed").is_some_and(|value| value > 0.0);
    let files = reading.by_label("restante_stale").into_iter().filter(|(_, stale)| *stale > 0.0);
    let (waiting, invalid): (Vec<&str>, Vec<&str>) =
        files.map(|(file, _)| file).partition(|file| needs_restart && *file == "configuration");
    let lines = |files: Vec<&str>, why: &str| {
        if files.is_empty() { Vec::new() } else { wrapped("stale", &format!("{}: {why}", files.join(", "))) }
    };
    [
        lines(invalid, "invalid, the previous version is in use"),
        lines(waiting, "it needs a restart (the log says why), the previous version is in use"),
    ]
    .concat()
}

/// The free space of the spool. The server measures it some seconds after its start, and 0 stands for no measure yet.
fn free_space(octets: f64) -> String {
    if octets > 0.0 { format!("{} free", size(octets)) } else { "free space: nothing yet".into() }
}

/// A title and its text. A text that is too long for the screen goes on below itself.
fn wrapped(title: &str, text: &str) -> Vec<String> {
    let mut lines = vec![format!("{:<TITLE_WIDTH$}", printable::escape_line(title))];
    for word in printable::escape_line(text).split(' ') {
        let is_first = lines.last().is_some_and(|line| line.chars().count() <= TITLE_WIDTH);
        let width = lines.last().map_or(0, |line| line.chars().count() + 1 + word.chars().count());
        if width > WIDTH && !is_first {
            lines.push(" ".repeat(TITLE_WIDTH));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}

fn latency_text(reading: &MetricsSnapshot, name: &str) -> String {
    latency_below(reading, name, f64::INFINITY)
}

/// The same where the longest value is known: a quantile is interpolated between bounds, and never above that value.
fn latency_below(reading: &MetricsSnapshot, name: &str, longest: f64) -> String {
    let longest = if longest > 0.0 { longest } else { f64::INFINITY };
    let quantile = |part| reading.quantile(name, part).map(|value| seconds(value.min(longest)));
    match (quantile(0.5), quantile(0.99), reading.mean(name).map(seconds)) {
        (Some(half), Some(most), Some(mean)) => format!("median {half}, 99% within {most}, mean {mean}"),
        _ => "nothing yet".into(),
    }
}

/// The most frequent words of a counter.
fn top_labels(reading: &MetricsSnapshot, name: &str) -> Option<String> {
    let mut words = reading.by_label(name);
    words.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let words: Vec<String> = words.iter().take(5).map(|(word, n)| format!("{word} {n}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Rates per minute.
struct Rates<'a> {
    now: &'a MetricsSnapshot,
    before: Option<&'a MetricsSnapshot>,
    minutes: f64,
}

impl<'a> Rates<'a> {
    fn new(now: &'a MetricsSnapshot, before: Option<&'a MetricsSnapshot>) -> Self {
        let since = before.map_or(now.uptime(), |before| now.written.saturating_sub(before.written));
        Self { now, before, minutes: since.as_secs_f64() / 60.0 }
    }

    fn of(&self, name: &str) -> String {
        self.rate(self.now.sum(name) - self.before.map_or(0.0, |before| before.sum(name)))
    }

    fn of_labelled(&self, name: &str, label: &str) -> String {
        let before = self.before.map_or(0.0, |before| before.labelled(name, label));
        self.rate(self.now.labelled(name, label) - before)
    }

    /// A negative difference means that the server was restarted between two readings.
    fn rate(&self, n: f64) -> String {
        if self.minutes < 1e-3 || n < 0.0 {
            return "-".into();
        }
        let rate = n / self.minutes;
        if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
    }
}

fn size(octets: f64) -> String {
    printable::size(octets as u64)
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 0.01 => format!("{:.0} ms", s * 1e3),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.2} ms", s * 1e3),
    }
}

/// A duration for reading.
pub(super) fn span(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// Columns of a terminal.
const WIDTH: usize = 80;
const TITLE_WIDTH: usize = 12;

/// The age of the metrics, if a running server would have written newer ones.
pub(crate) fn staleness(reading: &MetricsSnapshot, now: SystemTime) -> Option<String> {
    let age = reading.age(now);
    (age > interval(reading).saturating_mul(3).saturating_add(SLACK)).then(|| span(age))
}

/// The possible reasons for metrics of that age.
pub(super) fn outdated(age: &str) -> String {
    format!("the metrics are {age} old: the server has ended, hangs, or cannot write them (see its log)")
}

/// Delay allowed to a busy machine.
const SLACK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([0.0, 5e6].map(size), ["0 B", "4.7 MiB"]);
        assert_eq!([0.000_1, 0.009_9, 0.05, 2.0].map(seconds), ["0.10 ms", "9.9 ms", "50 ms", "2.0 s"]);
    }

    #[test]
    fn u38_free_space_that_is_not_measured_yet_is_no_zero() {
        assert_eq!([0.0, 5e6].map(free_space), ["free space: nothing yet", "4.7 MiB free"]);
    }

    #[test]
    fn u58_a_line_that_is_too_long_goes_on_below_itself() {
        let text = (0..30).map(|n| format!("queue-{n} é")).collect::<Vec<_>>().join(", ");
        let lines = wrapped("queues", &text);
        assert!(lines.len() > 3 && lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        let told = lines.iter().map(|line| line.chars().skip(TITLE_WIDTH + 1).collect::<String>());
        assert_eq!(told.collect::<Vec<_>>().join(" "), text, "nothing is lost");
        assert_eq!(wrapped("x", &"é".repeat(200)).len(), 1, "a word is whole");
    }

    #[test]
    fn u65_what_is_wrong_stands_above_the_tables() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("restante.prom");
        let text = "# restante\nrestante_start_time_seconds 1000000\nrestante_written_every_seconds 5\n\
                    restante_stale{file=\"accounts\"} 1\nrestante_refusing 1\n";
        std::fs::write(&path, text).unwrap();
        let reading = MetricsSnapshot::from_file(&path).unwrap();
        let told = lines(&reading, None, Refusal::of_metrics(&reading));
        assert!(told[0].starts_with("refusing") && told[1].starts_with("stale"), "{told:?}");
        assert!(told[1].contains("accounts: invalid"), "{told:?}");
    }

    #[test]
    fn n92_a_configuration_that_needs_a_restart_is_told_from_an_invalid_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("restante.prom");
        for (needed, expected) in [(0, "accounts, configuration: invalid,"), (1, "accounts: invalid,")] {
            let text = format!(
                "# restante\nrestante_start_time_seconds 1000000\nrestante_stale{{file=\"accounts\"}} 1\n\
                 restante_stale{{file=\"configuration\"}} 1\nrestante_restart_needed {needed}\n"
            );
            std::fs::write(&path, text).unwrap();
            let told = lines(&MetricsSnapshot::from_file(&path).unwrap(), None, None).join("\n");
            assert!(told.contains(expected), "{told}");
            assert_eq!(told.contains("configuration: it needs a restart"), needed == 1, "{told}");
        }
    }

    #[test]
    fn u48_no_figure_of_the_status_contradicts_another() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("restante.prom");
        let text = "# restante\nrestante_start_time_seconds 1000000\nrestante_written_every_seconds 5\n\
                    restante_loop_turn_seconds_bucket{le=\"0.001\"} 4\nrestante_loop_turn_seconds_bucket{le=\"+Inf\"} 4\n\
                    restante_loop_turn_seconds_sum 0.0004\nrestante_loop_turn_seconds_count 4\n\
                    restante_loop_turn_longest_seconds 0.00014\n";
        std::fs::write(&path, text).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(at(1_000_000)).unwrap();
        let reading = MetricsSnapshot::from_file(&path).unwrap();
        let begun = "\nup 4s, metrics 4s old (the server has just begun)";
        assert!(heading(&reading, at(1_000_004)).ends_with(begun), "{}", heading(&reading, at(1_000_004)));
        assert!(heading(&reading, at(1_009_000)).contains("up 0s, metrics 2h 30m old"), "one that has ended");
        let told = lines(&reading, None, None).join("\n");
        assert!(
            told.contains("median 0.14 ms, 99% within 0.14 ms") && told.contains("longest 0.14 ms"),
            "{told}"
        );
    }

    #[test]
    fn u110_a_server_that_has_just_begun_is_told_while_its_figures_are_those_of_the_start() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("restante.prom");
        let text = "# restante\nrestante_start_time_seconds 1000000\nrestante_written_every_seconds 5\n";
        std::fs::write(&path, text).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (written, now, told) in [
            (1_000_000, 1_000_002, true),
            (1_000_004, 1_000_006, true),
            (1_000_005, 1_000_006, false),
            (1_000_000, 1_000_090, false),
        ] {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(at(written)).unwrap();
            let heading = heading(&MetricsSnapshot::from_file(&path).unwrap(), at(now));
            assert_eq!(heading.contains("has just begun"), told, "{heading}");
            assert!(heading.lines().all(|line| line.chars().count() <= WIDTH), "{heading}");
        }
    }
    #[test]
    fn u128_figures_that_the_server_cannot_write_again_are_overdue_and_not_those_of_its_start() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("restante.prom");
        let text = "# restante\nrestante_start_time_seconds 1000000\nrestante_written_every_seconds 5\n";
        std::fs::write(&path, text).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(at(1_000_001)).unwrap();
        let reading = MetricsSnapshot::from_file(&path).unwrap();
        for (now, told) in [(1_000_008, false), (1_000_018, true), (1_000_090, false)] {
            let verdict = verdict(&reading, None, at(now));
            assert_eq!(verdict.contains("s old (overdue, see its log)"), told, "{verdict}");
        }
        let heading = heading(&reading, at(1_000_018));
        assert!(heading.ends_with("up 18s, metrics 17s old (overdue, see its log)"), "{heading}");
    }
}
