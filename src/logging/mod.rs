//! The log: one function for each event, so that the wording is stable and can be searched for.
//!
//! The rules: text from a peer or a disk is escaped and cut here, and a password never gets here. In a
//! session's line the peer's address stands before all text chosen by the peer, because fail2ban trusts it.
//! Logging never waits: lines go to a thread of their own, and are dropped and counted if the output does not
//! accept them, because mail goes on without a log. `docs/manual/logs.md` lists every line.

mod escape;
mod line;
mod line_queue;
mod output;
mod settings;

use std::{
    fmt::{self, Display},
    io,
    net::{IpAddr, SocketAddr},
    panic,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

use log::{Level, LevelFilter, debug, error, info, log};
use simplelog::{ConfigBuilder, WriteLogger};

use crate::{
    metrics::METRICS,
    parking_queue::Sender,
    proto::{
        Encryption,
        event::{ChangeCommand, Event},
        request::ConnId,
    },
};
pub use escape::escape;
use escape::value;
use line_queue::{Entry, LineWriter, PendingDestination, run_writer};
use output::Output;
pub use settings::{Destination, Log};

/// Starts logging, once per process. A `level` given here is kept by [`reload`]. Returns whether the destination accepts
/// lines by now: a syslog daemon may start later.
pub fn start(log: &Log, level: Option<LevelFilter>) -> io::Result<bool> {
    let config = ConfigBuilder::new()
        .set_time_level(LevelFilter::Off) // the writer thread adds the time
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str(env!("CARGO_PKG_NAME")) // excludes mio's lines at `trace`
        .build();
    let output = Output::open(&log.destination)?;
    let is_in_place = output.is_in_place();
    let (lines, entries) = LineWriter::new();
    let running = Logger { queue: lines.queue(), to: Mutex::new(log.destination.clone()), level };
    thread::Builder::new()
        .name("log".into())
        .spawn(move || run_writer(&entries, output, &PENDING_DESTINATION))?;
    WriteLogger::init(LevelFilter::Trace, config, lines).map_err(io::Error::other)?;
    log::set_max_level(level.unwrap_or(log.level));
    let _ = LOGGER.set(running); // the logger is set once, and so is this
    panic::set_hook(Box::new(|panic| panicked(&panic.to_string())));
    Ok(is_in_place)
}

/// Checks that lines can be appended to a file that exists, and changes nothing.
pub fn check_file(path: &Path) -> io::Result<()> {
    output::check_existing(path)
}

/// Whether a file that begins so is a log of a server: lines may be appended to it.
pub fn is_log(head: &[u8]) -> bool {
    output::is_log(head)
}

/// Reopens the log at the same place: for SIGHUP, after logrotate has moved the file. Never waits.
pub fn reopen() {
    if let Some(running) = LOGGER.get() {
        let to = running.to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        running.move_to(to);
    }
}

/// Applies a changed log section, and opens the file again. Never waits. A failure to open is reported in the
/// old log.
pub fn reload(log: &Log) {
    if let Some(running) = LOGGER.get() {
        log::set_max_level(running.level.unwrap_or(log.level));
        log.destination.clone_into(&mut running.to.lock().unwrap_or_else(PoisonError::into_inner));
        running.move_to(log.destination.clone());
    }
}

/// Waits until the queue is written, but only for a bounded time.
pub fn flush() {
    log::logger().flush();
}

/// The log of this process.
struct Logger {
    queue: Sender<Entry>,
    to: Mutex<Destination>,
    /// The level of the command line.
    level: Option<LevelFilter>,
}

impl Logger {
    fn move_to(&self, to: Destination) {
        PENDING_DESTINATION.set(to);
        // A full queue will be processed anyway.
        let _ = self.queue.try_send(Entry::ChangeOutput(SystemTime::now()));
    }
}

static LOGGER: OnceLock<Logger> = OnceLock::new();
static PENDING_DESTINATION: PendingDestination = PendingDestination::new();

/// The connection of a log line.
#[derive(Debug, Clone, Copy)]
pub struct PeerInfo {
    /// Id of the connection, the first word of each of its lines.
    pub id: ConnId,
    /// The service of its listener: "smtp", "submission", …
    pub service: &'static str,
    /// Address of the client, or of its proxy until the PROXY header names the client.
    pub peer: IpAddr,
}

impl Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.service)
    }
}

/// Logs an event of a session. `waited`: duration of the step.
pub fn log_event(caller: &PeerInfo, tls: Option<Encryption>, event: &Event, waited: Duration) {
    let level = match event {
        Event::Ended { .. }
        | Event::Opened { .. }
        | Event::FolderChanged { .. }
        | Event::MailboxChanged { .. }
        | Event::Read { .. }
        | Event::Updated { .. } => Level::Debug,
        Event::NoFault(_) => Level::Warn,
        _ => Level::Info,
    };
    log!(level, "{caller} {}", format_event(caller.peer, tls, event, waited));
}

fn format_event(peer: IpAddr, tls: Option<Encryption>, event: &Event, waited: Duration) -> String {
    let tls = tls.map_or("no", |by| by.version);
    match event {
        Event::Accepted { id, from, to, recipients, octets } => {
            let is_cut = to.len() > Event::MAX_LISTED;
            let mut to: Vec<String> = to.iter().take(Event::MAX_LISTED).map(|to| format!("<{to}>")).collect();
            to.extend(is_cut.then(|| "...".to_owned()));
            format!(
                "accepted peer={peer} id={} from={} to={} rcpts={recipients} octets={octets} tls={tls} duration={}",
                value(id),
                value(from),
                value(&to.join(",")),
                millis(waited)
            )
        }
        Event::Refused { what, reply } => {
            format!("refused peer={peer} reply={} what=\"{}\"", value(reply), escape(what))
        }
        Event::Login { user, mechanism, ok } => {
            format!("login peer={peer} ok={ok} user={} mechanism={mechanism} tls={tls}", value(user))
        }
        Event::Opened { mailbox, messages, octets } => {
            let mailbox = value(&mailbox.to_string());
            let octets = octets.map(|octets| format!(" octets={octets}")).unwrap_or_default();
            format!("opened peer={peer} mailbox={mailbox} messages={messages}{octets}")
        }
        Event::FolderChanged { command, mailbox, to, messages } => {
            let mailbox = value(&mailbox.to_string());
            let to = to.as_ref().map(|to| format!(" to={}", value(&to.to_string()))).unwrap_or_default();
            format!("{} peer={peer} mailbox={mailbox} messages={messages}{to}", command.done())
        }
        Event::MailboxChanged { mailbox, messages } => {
            format!("changed peer={peer} mailbox={} messages={messages}", value(&mailbox.to_string()))
        }
        Event::Read { octets } => format!("read peer={peer} octets={octets} duration={}", millis(waited)),
        Event::Updated { deleted, seen } => format!("updated peer={peer} deleted={deleted} seen={seen}"),
        Event::Ended { why } => format!("ended peer={peer} reason=\"{why}\""),
        Event::Injected(injection) => format!("ended peer={peer} by a fault on demand: {injection:?}"),
        Event::NoFault(hint) => format!("no fault on demand peer={peer} reason=\"{}\"", escape(hint)),
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}ms", time.as_secs_f64() * 1e3)
}

/// The totals of a session, for its last line.
#[derive(Debug, Default)]
pub struct SessionSummary {
    user: Option<Box<str>>,
    messages: u32,
    read: u32,
    deleted: u32,
    why: Option<&'static str>,
}

impl SessionSummary {
    /// Adds an event of the session to the totals.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Accepted { .. } => self.messages += 1,
            Event::Login { user, ok: true, .. } => self.user = Some(user.as_str().into()),
            Event::Read { .. } => self.read += 1,
            Event::Updated { deleted, .. } => {
                self.deleted = self.deleted.saturating_add(u32::try_from(*deleted).unwrap_or(u32::MAX));
            }
            Event::FolderChanged { command: ChangeCommand::Expunge, messages, .. } => {
                self.deleted = self.deleted.saturating_add(u32::try_from(*messages).unwrap_or(u32::MAX));
            }
            Event::Ended { why } => self.why = Some(why),
            _ => {}
        }
    }
}

/// Logs the end of a connection with its totals, at info if a user logged in, a message arrived, or a limit
/// was reached.
pub fn closed(caller: &PeerInfo, summary: &SessionSummary, received: u64, sent: u64, lasted: Duration) {
    let SessionSummary { user, messages, read, deleted, why } = summary;
    let user = user.as_ref().map(|user| format!(" user={}", value(user))).unwrap_or_default();
    let why = why.map(|why| format!(" reason=\"{why}\"")).unwrap_or_default();
    let used = !user.is_empty() || *messages > 0 || !why.is_empty();
    log!(
        if used { Level::Info } else { Level::Debug },
        "{caller} closed peer={}{user} messages={messages} read={read} deleted={deleted} \
         received={received} sent={sent} duration={lasted:.1?}{why}",
        caller.peer
    );
}

/// Logs a listener that accepts connections from now on.
pub fn listening(protocol: &str, address: &dyn Display) {
    info!("{protocol} listening address={address}");
}

/// Logs how messages become durable on the file system of a spool.
pub fn storage(spool: &Path, kind: &str, (files, batches): (&str, &str), options: &str) {
    info!(
        "storage filesystem={kind} files={files} batches={batches} options={options} spool={}",
        spool.display()
    );
}

/// Logs an accepted connection, at debug.
pub fn connected(caller: &PeerInfo, peer: SocketAddr) {
    debug!("{caller} connected peer={peer}");
}

/// Logs and counts a connection that was closed before a session began.
pub fn rejected(service: &str, peer: IpAddr, why: &str) {
    METRICS.rejected_connections.inc(why);
    info!("{service} rejected peer={peer} reason=\"{why}\"");
}

/// Logs a proxy that did not announce its client.
pub fn proxy_failed(conn: &str, protocol: &str, proxy: SocketAddr, why: &str) {
    METRICS.rejected_connections.inc("not announced by a proxy");
    info!("{conn} {protocol} proxy failed peer={proxy} reason=\"{}\"", escape(why));
}

/// Logs the start of TLS.
pub fn tls_started(caller: &PeerInfo, by: Encryption) {
    debug!("{caller} tls version={} cipher={} peer={}", by.version, by.cipher, caller.peer);
}

/// Logs a failed handshake or broken TLS.
pub fn tls_failed(caller: &PeerInfo, why: &str) {
    info!("{caller} tls failed peer={} reason=\"{}\"", caller.peer, escape(why));
}

/// Logs a batch of deliveries, durable or failed.
pub fn delivery_batch(messages: usize, octets: u64, took: Duration) {
    debug!("delivery batch={messages} octets={octets} duration={}", millis(took));
}

/// Logs a panic. The default hook would write to standard error, and could block there.
fn panicked(what: &str) {
    METRICS.panics.inc();
    let thread = thread::current();
    error!("panicked thread={} what=\"{}\"", thread.name().unwrap_or("?"), escape(what));
}

/// Logs the metrics, for SIGUSR1.
pub fn status() {
    METRICS.lines().iter().for_each(|line| info!("status {line}"));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::proto::request::Mailbox;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const TLS: Encryption = Encryption { version: "1.3", cipher: "TLS_AES_128_GCM_SHA256" };

    fn line(event: &Event) -> String {
        format_event(PEER, Some(TLS), event, Duration::from_micros(41_250))
    }

    #[test]
    fn every_event_has_its_wording() {
        let mailbox = Mailbox::named("u@here.test").unwrap();
        let accepted = |to: &[&str], recipients| Event::Accepted {
            id: "7".into(),
            from: "<a@far.test>".into(),
            to: to.iter().map(ToString::to_string).collect(),
            recipients,
            octets: 18233,
        };
        for (event, expected) in [
            (
                accepted(&["u@here.test", "v@here.test"], 2),
                "accepted peer=192.0.2.7 id=7 from=<a@far.test> to=<u@here.test>,<v@here.test> rcpts=2 octets=18233 tls=1.3 duration=41.2ms",
            ),
            (
                accepted(&["u"; Event::MAX_LISTED], 8),
                "accepted peer=192.0.2.7 id=7 from=<a@far.test> to=<u>,<u>,<u>,<u>,<u>,<u>,<u>,<u> rcpts=8 octets=18233 tls=1.3 duration=41.2ms",
            ),
            (
                accepted(&["u"; Event::MAX_LISTED + 1], 9),
                "accepted peer=192.0.2.7 id=7 from=<a@far.test> to=<u>,<u>,<u>,<u>,<u>,<u>,<u>,<u>,... rcpts=9 octets=18233 tls=1.3 duration=41.2ms",
            ),
            (
                Event::Refused { what: "RCPT TO:<x>".into(), reply: "550-5.1.1".into() },
                r#"refused peer=192.0.2.7 reply=550-5.1.1 what="RCPT TO:<x>""#,
            ),
            (
                Event::Login { user: "u".into(), mechanism: "PLAIN", ok: false },
                "login peer=192.0.2.7 ok=false user=u mechanism=PLAIN tls=1.3",
            ),
            (
                Event::Opened { mailbox: mailbox.clone(), messages: 3, octets: Some(9) },
                "opened peer=192.0.2.7 mailbox=u@here.test messages=3 octets=9",
            ),
            (
                Event::MailboxChanged { mailbox: mailbox.clone(), messages: 4 },
                "changed peer=192.0.2.7 mailbox=u@here.test messages=4",
            ),
            (Event::Read { octets: 9 }, "read peer=192.0.2.7 octets=9 duration=41.2ms"),
            (
                Event::Opened { mailbox: mailbox.clone(), messages: 3, octets: None },
                "opened peer=192.0.2.7 mailbox=u@here.test messages=3",
            ),
            (
                Event::FolderChanged {
                    command: ChangeCommand::Move,
                    mailbox: mailbox.clone(),
                    to: Some(mailbox.clone()),
                    messages: 2,
                },
                "moved peer=192.0.2.7 mailbox=u@here.test messages=2 to=u@here.test",
            ),
            (Event::Updated { deleted: 1, seen: 2 }, "updated peer=192.0.2.7 deleted=1 seen=2"),
            (Event::Ended { why: "timeout" }, r#"ended peer=192.0.2.7 reason="timeout""#),
        ] {
            assert_eq!(line(&event), expected);
        }
        let clear = format_event(
            PEER,
            None,
            &Event::Login { user: "u".into(), mechanism: "USER", ok: true },
            Duration::ZERO,
        );
        assert_eq!(clear, "login peer=192.0.2.7 ok=true user=u mechanism=USER tls=no");
    }

    #[test]
    fn t22_a_peer_cannot_write_a_line_or_a_field_of_its_own() {
        let line = |user: &str| {
            let line = line(&Event::Login { user: user.into(), mechanism: "USER", ok: false });
            let user = line.strip_prefix("login peer=192.0.2.7 ok=false ").unwrap();
            user.strip_suffix(" mechanism=USER tls=1.3").unwrap().to_owned()
        };
        assert_eq!(line("u ok=true"), r#"user="u ok=true""#);
        assert_eq!(line("u\" ok=true"), r#"user="u\x22 ok=true""#);
        assert_eq!(line("u\r\nc4f1"), r"user=u\x0d\x0ac4f1");
        assert_eq!(line(""), r#"user="""#);
    }
}
