//! The figures of a running server: the file for Prometheus, `restante status`, and the page that lists them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, iter,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::{Client, deliver},
    eventually, installed, listeners, skip,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use restante::metrics::METRICS;
use rustix::process::Signal;

const ALICE: &str = "alice@example.test";

/// The exposition format of Prometheus, as strict as its own documents are: every sample belongs to a family
/// whose HELP and TYPE stand before it, once; no sample is there twice; histograms are whole and grow.
struct Exposition {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    #[track_caller]
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut kinds, mut helped, mut samples) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "{name} has two HELPs");
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, family, "TYPE stands behind its HELP");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two TYPEs");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let base = match kinds.get(&family).map(String::as_str) {
                    Some("histogram") => {
                        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end))
                    }
                    _ => Some(name),
                };
                assert_eq!(base, Some(&*family), "{line} is not of the family before it");
                assert_labels(series);
                let value: f64 = value.parse().unwrap();
                assert!(value >= 0.0, "{line}");
                assert!(samples.insert(series.to_owned(), value).is_none(), "{series} is there twice");
            }
        }
        assert_eq!(helped, kinds.keys().cloned().collect(), "HELP and TYPE for each");
        let exposition = Self { kinds, samples };
        exposition.kinds.iter().filter(|(_, kind)| *kind == "histogram").for_each(|(name, _)| {
            exposition.assert_grows(name);
        });
        exposition
    }

    #[track_caller]
    fn assert_grows(&self, name: &str) {
        let prefix = format!("{name}_bucket{{le=\"");
        let bucket = |(series, n): (&String, &f64)| {
            let bound = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }, *n))
        };
        let mut buckets: Vec<(f64, f64)> = self.samples.iter().filter_map(bucket).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.len() > 2 && buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{name}: {buckets:?}"
        );
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, self.of(&format!("{name}_count")))), "{name}");
        self.of(&format!("{name}_sum"));
    }

    #[track_caller]
    fn of(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("{series} is not in {:#?}", self.samples.keys()))
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with("restante_")
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `name`, or `name{label="value",…}` with `\`, `"` and line ends escaped.
#[track_caller]
fn assert_labels(series: &str) {
    let Some((_, labels)) = series.split_once('{') else { return };
    let mut rest = labels.strip_suffix('}').unwrap();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap();
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()), "{series}");
        let end = after.char_indices().scan(false, |escaped, (at, c)| {
            let was = std::mem::replace(escaped, c == '\\' && !*escaped);
            Some((at, c == '"' && !was))
        });
        let (end, _) = end.clone().find(|(_, ends)| *ends).unwrap();
        rest = after[end + 1..].trim_start_matches(',');
    }
}

/// A server that writes its figures into its home every second.
fn server() -> Server {
    let config = format!(
        "[metrics]\nfile = \"./restante.prom\"\ninterval = \"1s\"\n{STRICT}{}\n[limits]\nauth.failure_delay = \"0s\"\n",
        listeners(&["imap", "http"])
    );
    Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start()
}

fn file(server: &Server) -> PathBuf {
    server.home.path().join("restante.prom")
}

/// The figures, once they are as wanted.
#[track_caller]
fn figures(server: &Server, wanted: impl Fn(&Exposition) -> bool) -> Exposition {
    eventually("the figures tell of it", || {
        let text = fs::read_to_string(file(server)).ok()?;
        Some(Exposition::parse(&text)).filter(&wanted)
    })
}

fn status(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("status").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

#[test]
fn what_a_server_does_is_in_its_figures() {
    let server = server();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    deliver(&server, ALICE, b"Subject: y\r\n\r\n");
    let mut client = Client::smtp(&server);
    client.ask("MAIL FROM:<a@far.test>", "250");
    client.ask("RCPT TO:<nobody@example.test>", "550 5.1.1 ");
    let mut imap = Client::connect(server.addresses("imap")[0]);
    imap.expect("* OK");
    imap.ask(&format!("a LOGIN {ALICE} {PASSWORD}"), "a OK");
    for command in ["SELECT INBOX", "FETCH 2 BODY[]", "STORE 2 +FLAGS (\\Deleted)", "EXPUNGE"] {
        imap.send(&format!("b {command}"));
        let mut lines = iter::repeat_with(|| imap.line());
        let reply = lines.find(|line| line.is_empty() || line.starts_with(b"b ")).unwrap();
        assert!(reply.starts_with(b"b OK"), "{command}: {}", reply.escape_ascii());
    }
    let mut http = Client::connect(server.addresses("http")[0]);
    let credentials = STANDARD.encode(format!("{ALICE}:wrong"));
    let fields = format!("Host: localhost\r\nAuthorization: Basic {credentials}\r\n");
    http.ask(&format!("GET /api/v1/messages HTTP/1.1\r\n{fields}"), "HTTP/1.1 401 ");
    let mut pop3 = Client::connect(server.pop3());
    pop3.expect("+OK");
    pop3.ask(&format!("USER {ALICE}"), "+OK");
    pop3.ask("PASS wrong", "-ERR [AUTH]");
    pop3.ask(&format!("USER {ALICE}"), "+OK");
    pop3.ask(&format!("PASS {PASSWORD}"), "+OK");
    pop3.retr(1);
    pop3.ask("DELE 1", "+OK");
    pop3.ask("QUIT", "+OK");
    let seen = figures(&server, |figures| {
        let deleted = figures.samples.get("restante_messages_deleted_total{service=\"pop3\"}");
        deleted == Some(&1.0) && figures.of("restante_index_mailboxes") == 1.0
    });
    for (series, expected) in [
        ("restante_connections{service=\"smtp\"}", 1.0),
        ("restante_connections_total{service=\"smtp\"}", 3.0),
        ("restante_connections_total{service=\"pop3\"}", 1.0),
        ("restante_messages_received_total{service=\"smtp\"}", 2.0),
        ("restante_messages_read_total{service=\"pop3\"}", 1.0),
        ("restante_deliveries_total", 2.0),
        ("restante_delivery_seconds_count", 2.0),
        ("restante_commit_messages_count", 2.0),
        ("restante_sync_contents_seconds_count", 2.0),
        ("restante_sync_names_seconds_count", 2.0),
        ("restante_logins_total{service=\"pop3\"}", 1.0),
        ("restante_logins_failed_total{service=\"pop3\"}", 1.0),
        ("restante_connections_total{service=\"imap\"}", 1.0),
        ("restante_logins_total{service=\"imap\"}", 1.0),
        ("restante_messages_read_total{service=\"imap\"}", 1.0),
        ("restante_messages_deleted_total{service=\"imap\"}", 1.0),
        ("restante_connections_total{service=\"http\"}", 1.0),
        ("restante_logins_failed_total{service=\"http\"}", 1.0),
        ("restante_refusals_total{reply=\"550-5.1.1\"}", 1.0),
        ("restante_queue{queue=\"deliveries\"}", 0.0),
        ("restante_bodies", 0.0),
        ("restante_index_mailboxes", 1.0),
        ("restante_watch", 1.0),
        ("restante_panics_total", 0.0),
        ("restante_log_dropped_total", 0.0),
        ("restante_written_every_seconds", 1.0),
    ] {
        assert_eq!(seen.of(series), expected, "{series}");
    }
    for series in [
        "restante_received_bytes_total{service=\"smtp\"}",
        "restante_sent_bytes_total{service=\"pop3\"}",
        "restante_messages_received_bytes_total{service=\"smtp\"}",
        "restante_delivery_seconds_count",
        "restante_loop_turn_seconds_count",
        "restante_loop_turn_longest_seconds",
        "restante_loop_turn_longest_cpu_seconds",
        "restante_open_descriptors",
        "restante_max_descriptors",
        "restante_resident_memory_bytes",
        "restante_spool_free_bytes",
        "restante_log_lines_total",
    ] {
        assert!(seen.of(series) > 0.0, "{series}");
    }
    drop(client);
    figures(&server, |figures| figures.of("restante_connections{service=\"smtp\"}") == 0.0);
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    if !installed("promtool") {
        return skip("promtool_finds_nothing_to_complain_about", "promtool is not installed");
    }
    let server = server();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    figures(&server, |figures| figures.of("restante_deliveries_total") == 1.0);
    let figures = fs::File::open(file(&server)).unwrap();
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(figures).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_manual_lists_every_figure_with_its_kind_and_meaning() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manual/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `restante_"));
    let listed: Vec<String> = rows.map(str::to_owned).collect();
    let row = |family: &restante::metrics::Family| {
        format!("| `{}` | {} | {} |", family.name, family.kind.name(), family.help.trim_end_matches('.'))
    };
    let counted: Vec<String> = METRICS.families().iter().map(row).collect();
    assert_eq!(listed, counted, "as it should be:\n{}\n", counted.join("\n"));
}

#[test]
fn status_shows_a_server_and_says_when_it_is_gone() {
    let mut server = server();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    figures(&server, |figures| figures.of("restante_deliveries_total") == 1.0);
    let config = server.home.path().join("restante.toml");
    let config = config.to_str().unwrap().to_owned();
    let path = file(&server);
    let shown = status(&["--config", &config]);
    assert!(shown.status.success(), "{}", text(&shown));
    let table = text(&shown);
    for part in
        ["at mx.example.test, ", "\nup ", "\nsmtp ", "1 in (", "inotify", "deliveries 0", "longer than 20 ms"]
    {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80 || line.starts_with("restante ")), "{table}");
    let json = status(&["--file", path.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["figures"]["restante_deliveries_total"], 1.0);

    // It hangs, or was killed: the figures grow old.
    server.kill();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let stale = status(&["--config", &config]);
    assert_eq!(stale.status.code(), Some(1));
    assert!(
        text(&stale).contains("old: the server has ended, hangs, or cannot write them"),
        "{}",
        text(&stale)
    );

    // It ends in good order: no figures at all.
    server.restart();
    eventually("there are new ones", || status(&["--config", &config]).status.success().then_some(()));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists());
    let none = status(&["--config", &config]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("no metrics: the server is not running"), "{}", text(&none));
}

#[test]
fn status_finds_a_server_that_nobody_has_configured() {
    let server = Server::dev();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    eventually("status finds it", || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        let output = command.arg("status").env("XDG_RUNTIME_DIR", server.runtime.path()).output().unwrap();
        text(&output).contains(" at localhost, ").then_some(())
    });
    let names = fs::read_dir(&server.spool).unwrap().map(|entry| entry.unwrap().file_name());
    let ours = [ALICE, ".restante.lock", ".restante.clock"];
    let others: Vec<_> = names.filter(|name| !ours.iter().any(|ours| name == ours)).collect();
    assert_eq!(others, [""; 0], "nothing beside the mailboxes");
}

#[test]
fn a_place_that_cannot_be_written_to_costs_the_figures_and_no_mail() {
    let config = format!("[metrics]\nfile = \"/proc/no/such/place.prom\"\ninterval = \"1s\"\n{STRICT}");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    server.tells("metrics not written: /proc/no/such/place.prom: ");
}

/// `status --watch` in a terminal, which `script` makes.
#[test]
fn watching_ends_when_q_is_pressed() {
    if !installed("script") {
        return skip("watching_ends_when_q_is_pressed", "script is not installed");
    }
    let server = server();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    figures(&server, |figures| figures.of("restante_deliveries_total") == 1.0);
    let command = format!(
        "stty rows 24 cols 80; '{}' status --watch --file '{}'",
        env!("CARGO_BIN_EXE_restante"),
        file(&server).display()
    );
    let mut script = Command::new("timeout");
    script.args(["20", "script", "--quiet", "--return", "--command", &command, "/dev/null"]);
    let mut script =
        script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(script.stdin.as_mut().unwrap(), b"q").unwrap();
    let output = script.wait_with_output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{}: {shown}", output.status);
    assert!(shown.contains("q quits") && shown.contains("delivered"), "{shown}");
}

#[test]
fn n32_status_says_that_mail_is_refused_while_the_spool_is_not_in_its_place() {
    let server = server();
    let path = file(&server);
    let shows = |what: &str, is_refusing: bool| {
        eventually(what, || {
            let shown = text(&status(&["--file", path.to_str()?]));
            (shown.contains("metrics") && shown.contains("refusing     deliveries and logins") == is_refusing)
                .then_some(())
        });
    };
    shows("nothing is refused", false);
    let aside = server.spool.with_extension("aside");
    fs::rename(&server.spool, &aside).unwrap();
    shows("the line is there", true);
    fs::rename(&aside, &server.spool).unwrap();
    shows("the line is gone", false);
}

#[test]
fn n36_status_shows_the_server_that_runs_beside_a_mistake_in_its_configuration() {
    let server = Server::dev();
    let config = server.home.path().join("mistaken.toml");
    fs::write(&config, "hostnam = \"mx.example.test\"\n").unwrap();
    let runtime = server.runtime.path();
    let shown = eventually("status finds it", || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.arg("status").env("XDG_RUNTIME_DIR", runtime).env("RESTANTE_CONFIG", &config);
        let output = command.output().unwrap();
        text(&output).contains(" at localhost, ").then_some(output)
    });
    assert_eq!(shown.status.code(), Some(2));
    assert!(text(&shown).contains("did you mean `hostname`"), "{}", text(&shown));
}
