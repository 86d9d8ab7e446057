//! Records the transcript of one session while its connection is open.
//!
//! The rule: it records everything needed to replay the session as a dialogue of the tests, and nothing that
//! could be a password. It never blocks.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt::Write as _,
    mem,
    time::{Duration, SystemTime},
};

use super::{
    elided::ElidedData, format, line_splitter::LineSplitter, redaction::Redactor, writer::TranscriptWriter,
};
use crate::{
    clock::Now,
    proto::{
        Context, Encryption, Session, SessionEvent, SessionPhase, Step, TLS_HANDSHAKE,
        buffer::{Inbox, Outbox},
        folder::Folder,
        request::{Directory, Lookup, Mailbox, Quota, Request, Response},
        smtp::address::Address,
    },
};

/// The transcript of one connection.
pub struct Recorder {
    writer: TranscriptWriter,
    /// True if message data is written.
    bodies: bool,
    /// True if messages expire.
    expires: bool,
    redactor: Redactor,
    began: Duration,
    /// Milliseconds since the beginning, now and at the last time line.
    time: u128,
    last_time: u128,
    phase: Option<SessionPhase>,
    /// The client's unfinished line.
    partial_input: LineSplitter,
    /// The server's unfinished line.
    partial_output: LineSplitter,
    /// A request that is written only if its response is unusual.
    routine: Option<String>,
    /// The request for the last piece of a message.
    read: Option<String>,
    /// Message data being received.
    body: Option<ElidedData>,
    /// True if the last chunk of data ended in a CR.
    half_an_end: bool,
    /// A message being sent.
    message: Option<ElidedData>,
    /// True if the last response was a piece of a message.
    piece: bool,
    /// The lookups that are already recorded.
    looked_up: HashSet<String>,
    page: String,
}

impl Recorder {
    pub(super) fn new(
        pen: TranscriptWriter,
        masks: Redactor,
        expires: bool,
        bodies: bool,
        began: Duration,
    ) -> Self {
        Self {
            writer: pen,
            bodies,
            expires,
            redactor: masks,
            began,
            time: 0,
            last_time: 0,
            phase: None,
            partial_input: LineSplitter::new(b"\n"),
            // A bare LF may stand inside a message.
            partial_output: LineSplitter::new(b"\r\n"),
            routine: None,
            read: None,
            body: None,
            half_an_end: false,
            message: None,
            piece: false,
            looked_up: HashSet::new(),
            page: String::new(),
        }
    }

    /// Runs one step of the session, and records its input, output and requests.
    pub fn observe(
        &mut self,
        session: &mut dyn Session,
        (inbox, outbox): (&mut Inbox, &mut Outbox),
        cx: &Context<'_>,
        act: impl FnOnce(&mut dyn Session, &Context<'_>, &mut Inbox, &mut Outbox) -> Step,
    ) -> Step {
        let before = session.session_phase();
        let mark = outbox.pending().len();
        let noted = RecordingDirectory { directory: cx.directory, lines: RefCell::default() };
        inbox.start_capture();
        let step = act(session, &Context { now: cx.now, directory: &noted }, inbox, outbox);
        let taken = inbox.take_captured();
        let after = session.session_phase();
        let said = outbox.pending().get(mark..).unwrap_or_default();
        if !taken.is_empty() || !said.is_empty() {
            self.write_time(cx.now);
        }
        for line in noted.lines.into_inner() {
            if self.looked_up.len() < MAX_LOOKUPS && self.looked_up.insert(line.clone()) {
                self.line(&line);
            }
        }
        let closes = matches!(step, Step::Close);
        self.client(&taken, before, if closes { SessionPhase::Over } else { after });
        if closes {
            self.endless();
        }
        if closes && !inbox.is_empty() {
            self.not_run(inbox.unread());
        }
        self.server(said, after);
        self.record_step(&step);
        self.record_phase(if closes || matches!(step, Step::Abort) { SessionPhase::Over } else { after });
        self.send();
        step
    }

    // The client

    fn client(&mut self, taken: &[u8], before: SessionPhase, after: SessionPhase) {
        self.half_an_end &= before == SessionPhase::Chunks || before.is_data();
        if before.is_data() {
            return self.data(taken, before, after);
        }
        for line in self.partial_input.feed(taken) {
            let line = self.redactor.redact_line(&line, before);
            self.client_line(&line);
        }
    }

    fn client_line(&mut self, line: &[u8]) {
        let whole = line.strip_suffix(b"\r\n").map(format::escaped);
        match whole.filter(|text| text.as_bytes() == &line[..line.len() - 2]) {
            Some(text) => self.line(format!("C: {text}").trim_end()),
            None => self.line(&format!("C| {}", format::escaped(line))),
        }
    }

    /// Records a line whose end did not come before the session ended.
    fn endless(&mut self) {
        if !self.partial_input.is_empty() {
            let mut line = ElidedData::default();
            line.feed(&self.partial_input.rest());
            self.line(&format!("C~ {}", line.summary()));
        }
    }

    /// Records octets that the client sent too early and the session will not read.
    fn not_run(&mut self, unread: &[u8]) {
        if unread.starts_with(TLS_HANDSHAKE) {
            self.line("C| \\x16\\x03");
        } else {
            self.line("C| ***");
        }
    }

    fn data(&mut self, taken: &[u8], before: SessionPhase, after: SessionPhase) {
        let ended = !after.is_data();
        if self.bodies {
            self.partial_input.feed(taken).iter().for_each(|line| self.client_line(line));
            self.partial_input.too_long().iter().for_each(|begun| self.client_line(begun));
            if ended {
                self.rest_of_chunk();
            }
            return;
        }
        let half_an_end = self.half_an_end;
        let body = self.body.get_or_insert_with(|| ElidedData::after(half_an_end));
        body.feed(taken);
        if ended {
            let has_a_dot = after != SessionPhase::Over && before != SessionPhase::Chunk;
            let dot = if has_a_dot { body.without_dot() } else { b"" };
            self.flush_body();
            if !dot.is_empty() {
                self.client_line(dot);
            }
        }
    }

    /// Records the incomplete line at the end of a chunk.
    fn rest_of_chunk(&mut self) {
        let half = self.partial_input.rest();
        if !half.is_empty() {
            self.client_line(&half);
        }
    }

    fn flush_body(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_empty()) {
            self.half_an_end = body.ends_with_cr();
            self.line(&format!("C~ {}", body.summary()));
        }
    }

    /// Records the unfinished line when the connection ends. All of it may be a password.
    fn last_half(&mut self, unread: &[u8]) {
        self.flush_body();
        if !self.partial_input.rest().is_empty() || !unread.is_empty() {
            self.line("C| ***");
        }
    }

    // The server

    fn server(&mut self, said: &[u8], after: SessionPhase) {
        if !mem::take(&mut self.piece) || self.bodies {
            return self.server_lines(said);
        }
        let mut text = said;
        if self.message.is_none() {
            if !said.starts_with(b"+OK") {
                // The session noticed that the file has changed since it was listed.
                if let Some(read) = self.read.take() {
                    self.line(&read);
                }
                self.line("! failed Changed");
                return self.server_lines(said);
            }
            let reply = memchr::memchr(b'\n', said).map_or(said.len(), |end| end + 1);
            self.server_lines(&said[..reply]);
            self.message = Some(ElidedData::default());
            text = &said[reply..];
        }
        let end = if after == SessionPhase::Sending { None } else { text.strip_suffix(b".\r\n") };
        let Some(message) = &mut self.message else { return };
        message.feed(end.unwrap_or(text));
        if after != SessionPhase::Sending {
            self.flush_message();
        }
        if end.is_some() {
            self.line("S: .");
        }
    }

    fn flush_message(&mut self) {
        if let Some(message) = self.message.take() {
            self.line(&format!("S~ {}", message.summary()));
        }
    }

    fn server_lines(&mut self, said: &[u8]) {
        for line in self.partial_output.feed(said) {
            let text = line.strip_suffix(b"\r\n").unwrap_or(&line);
            self.line(format!("S: {}", format::escaped(text)).trim_end());
        }
        if let Some(begun) = self.partial_output.too_long() {
            self.line(&format!("S| {}", format::escaped(&begun)));
        }
    }

    // Requests and responses

    fn record_step(&mut self, step: &Step) {
        match step {
            Step::Ask(ask) => self.record_request(ask),
            Step::Pause(span) if !span.is_zero() => {
                self.line(&format!(". pause {}", format::format_duration(*span)))
            }
            Step::Secure => self.line(". secure"),
            Step::Close => self.record_end(". close"),
            Step::Abort => {
                self.partial_output.rest();
                self.flush_message();
                self.record_end(". abort");
            }
            Step::Again | Step::Idle | Step::Pause(_) => {}
        }
    }

    fn record_request(&mut self, ask: &Request) {
        let told = match ask {
            // The message is recorded with its data, or summarised.
            Request::Spill { .. } => "? spill mailbox=*".into(),
            Request::Deliver { .. } => {
                let told = format::format_request(ask, b"", false);
                format!("{} body=*", &told[..told.rfind(" body=").unwrap_or(told.len())])
            }
            Request::Verify { .. } if self.redactor.is_exchanging() => "? verify user=*".into(),
            ask => format::format_request(ask, b"", false),
        };
        let is_read = matches!(ask, Request::Read { .. });
        let is_routine =
            matches!(ask, Request::Room { .. } | Request::Begin | Request::Spill { .. } | Request::Discard)
                || is_read;
        if is_routine && !(is_read && self.bodies) {
            self.routine = Some(told);
        } else {
            self.line(&told);
        }
    }

    /// Records a response to the session, and the resulting changes in the spool.
    pub fn record_response(&mut self, answer: &Response, changes: &[String], now: Now) {
        self.write_time(now);
        self.piece = matches!(answer, Response::Chunk { .. });
        match (self.routine.take(), answer) {
            (Some(_), Response::Ready) => {}
            (Some(read), Response::Chunk { .. }) => self.read = Some(read),
            (routine, answer) => {
                self.flush_message();
                if let Some(ask) = routine {
                    self.line(&ask);
                }
                match format::format_response(answer, now.wall, self.expires) {
                    Some(answer) => self.line(&answer),
                    None => self.line("# more messages than can be listed here: this can't be played"),
                }
            }
        }
        changes.iter().for_each(|change| self.line(&format!("# spool: {change}")));
    }

    // Events of the connection

    /// Records that TLS is established.
    pub fn record_tls(&mut self, by: Encryption, standing: SessionPhase, now: Now) {
        self.write_time(now);
        self.line(&format!("# tls: {} {}", by.version, by.cipher));
        self.record_phase(standing);
        self.send();
    }

    /// Records an event that the session did not ask for.
    pub fn record_event(&mut self, event: &SessionEvent, now: Now) {
        self.write_time(now);
        let SessionEvent::MailboxChanged { mailbox, messages } = event;
        self.line(&format!("# mailbox: {mailbox} changed, messages={messages}"));
    }

    /// Records that the client has closed and the session has nothing more to do.
    pub fn record_client_close(&mut self, unread: &[u8], now: Now) {
        self.write_time(now);
        self.last_half(unread);
        self.line(". end");
        self.record_end(". close");
        self.record_phase(SessionPhase::Over);
        self.send();
    }

    /// Records that the client was silent for too long, with the time since the connection began.
    pub fn record_timeout(&mut self, now: Now) {
        self.write_time(now);
        self.last_half(b"");
        let waited = now.monotonic.saturating_sub(self.began).as_secs() + 1;
        self.line(&format!(". wait {}", format::format_duration(Duration::from_secs(waited))));
    }

    /// Records that the server stops.
    pub fn record_shutdown(&mut self, now: Now) {
        self.write_time(now);
        self.line(". stop");
    }

    /// Records that the connection ends without the session's knowledge.
    pub fn record_abort(&mut self, why: &str) {
        if self.phase == Some(SessionPhase::Over) {
            return; // the rest of the connection is not recorded
        }
        self.line(&format!("# cut: {}", format::escaped(why.as_bytes())));
        self.send();
    }

    fn record_end(&mut self, how: &str) {
        let half = self.partial_output.rest();
        if !half.is_empty() {
            self.line(&format!("S| {}", format::escaped(&half)));
        }
        self.line(how);
    }

    // The text

    /// Sets the time of the next line.
    fn write_time(&mut self, now: Now) {
        self.time = now.monotonic.saturating_sub(self.began).as_millis();
    }

    fn record_phase(&mut self, standing: SessionPhase) {
        if standing == SessionPhase::Between || self.phase == Some(standing) {
            return;
        }
        match self.phase.replace(standing) {
            Some(before) => self.line(&format!("# state: {} -> {}", before.name(), standing.name())),
            None => self.line(&format!("# state: {}", standing.name())),
        }
    }

    fn line(&mut self, line: &str) {
        if self.time > self.last_time {
            self.last_time = self.time;
            let _ = writeln!(self.page, "# time: +{}.{:03}", self.time / 1000, self.time % 1000);
        }
        let _ = writeln!(self.page, "{line}"); // writing to a String cannot fail
    }

    fn send(&mut self) {
        if !self.page.is_empty() {
            self.writer.write(mem::take(&mut self.page));
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush_body();
        self.flush_message();
        self.send();
    }
}

/// A directory that records its lookups, so that a replay can give the same results.
struct RecordingDirectory<'a> {
    directory: &'a dyn Directory,
    lines: RefCell<Vec<String>>,
}

impl RecordingDirectory<'_> {
    fn note(&self, line: String) {
        self.lines.borrow_mut().push(line);
    }
}

impl Directory for RecordingDirectory<'_> {
    fn lookup(&self, address: &Address) -> Lookup {
        let found = self.directory.lookup(address);
        let where_to = match &found {
            Lookup::Unknown => "unknown".into(),
            Lookup::Foreign => "foreign".into(),
            Lookup::Refused(code) => format!("refused={code}"),
            Lookup::Local(to) => {
                let folder = |folder: &Option<_>| {
                    folder.as_ref().map_or(String::new(), |to: &Folder| to.directory().replacen('.', ":", 1))
                };
                let to = to.iter().map(|to| format!("{}{}", to.mailbox, folder(&to.folder)));
                to.collect::<Vec<_>>().join("&")
            }
        };
        self.note(format!("= lookup {} {where_to}", format::escaped(address.to_string().as_bytes())));
        found
    }

    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        let may = self.directory.may_send_as(user, from);
        self.note(format!("= sends {user} {} {may}", format::escaped(from.to_string().as_bytes())));
        may
    }

    fn expiry_date(&self, date: SystemTime) -> SystemTime {
        self.directory.expiry_date(date)
    }

    fn quota(&self, mailbox: &Mailbox) -> Quota {
        self.directory.quota(mailbox)
    }

    fn wants_sent_copy(&self, user: &Mailbox) -> bool {
        let keeps = self.directory.wants_sent_copy(user);
        if !keeps {
            self.note(format!("= keeps_no_copy {user}"));
        }
        keeps
    }

    fn is_full(&self, mailbox: &Mailbox) -> bool {
        let full = self.directory.is_full(mailbox);
        if full {
            self.note(format!("= full {mailbox}"));
        }
        full
    }
}

/// The largest number of addresses recorded in one transcript.
const MAX_LOOKUPS: usize = 10_000;
