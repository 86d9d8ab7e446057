//! Records the transcript of one session while its connection is open.
//!
//! The rule: it records everything needed to replay the session as a dialogue of the tests, and nothing that
//! could be a password. It never blocks.

mod server_output;

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt::{self, Write as _},
    mem,
    time::{Duration, SystemTime},
};

use super::{
    elided::ElidedData, format, imap_output::ImapOutput, line_splitter::LineSplitter, redaction::Redactor,
    writer::TranscriptWriter,
};
use crate::{
    clock::Now,
    proto::{
        Context, Encryption, EndReason, Session, SessionEvent, SessionPhase, Step, TLS_HANDSHAKE,
        buffer::{Inbox, Outbox},
        chaos::ChaosPoint,
        folder::Folder,
        imap::request::{FetchPosition, ImapRequest, ImapResponse},
        is_http_request,
        request::{
            AccountDirectory, Lookup, Mailbox, MaildropRequest, Quota, ReceiveRequest, Request, Response,
        },
        smtp::address::Address,
        tagged::TaggedAddress,
    },
};

/// The transcript of one connection.
pub struct Recorder {
    writer: TranscriptWriter,
    /// True if message data is written.
    records_bodies: bool,
    /// True if old messages expire: a replay then needs their ages.
    expires: bool,
    redactor: Redactor,
    started_at: Duration,
    /// Milliseconds since the beginning, now and at the last time line.
    time: u128,
    last_time: u128,
    phase: Option<SessionPhase>,
    /// The part of a client's line whose end has not come.
    partial_input: LineSplitter,
    /// The part of a server's line whose end has not come.
    partial_output: LineSplitter,
    /// A request that is written only if its response is unusual.
    routine_request: Option<String>,
    /// The request for the last piece of a message.
    read_request: Option<String>,
    /// The summary of the message data that the client is sending.
    body: Option<ElidedData>,
    /// True if the last chunk of data ended in a CR.
    ended_with_cr: bool,
    /// The summary of the message that the server is sending.
    message: Option<ElidedData>,
    /// The place in the output of an IMAP session.
    imap_output: ImapOutput,
    /// True if the last response was a piece of a message.
    sends_chunk: bool,
    /// True if the last response was a document, which may be mail.
    sends_document: bool,
    /// The lookups that are already recorded.
    recorded_lookups: HashSet<String>,
    pending_text: String,
}

impl Recorder {
    pub(super) fn new(
        writer: TranscriptWriter,
        redactor: Redactor,
        expires: bool,
        records_bodies: bool,
        started_at: Duration,
    ) -> Self {
        Self {
            writer,
            records_bodies,
            expires,
            redactor,
            started_at,
            time: 0,
            last_time: 0,
            phase: None,
            partial_input: LineSplitter::new(b"\n"),
            // A bare LF may stand inside a message.
            partial_output: LineSplitter::new(b"\r\n"),
            routine_request: None,
            read_request: None,
            body: None,
            ended_with_cr: false,
            message: None,
            imap_output: ImapOutput::default(),
            sends_chunk: false,
            sends_document: false,
            recorded_lookups: HashSet::new(),
            pending_text: String::new(),
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
        let noted = RecordingAccountDirectory { directory: cx.directory, lines: RefCell::default() };
        inbox.start_capture();
        let step = act(session, &Context { now: cx.now, directory: &noted }, inbox, outbox);
        let input = inbox.take_captured();
        let after = session.session_phase();
        let output = outbox.pending().get(mark..).unwrap_or_default();
        if !input.is_empty() || !output.is_empty() {
            self.write_time(cx.now);
        }
        for line in noted.lines.into_inner() {
            if self.recorded_lookups.len() < MAX_LOOKUPS && self.recorded_lookups.insert(line.clone()) {
                self.line(&line);
            }
        }
        let closes = matches!(step, Step::Close);
        self.record_client(&input, before, if closes { SessionPhase::Ended } else { after });
        if closes {
            self.record_unended_line();
        }
        if closes && !inbox.is_empty() {
            self.record_unread(inbox.unread());
        }
        self.record_server(output, before, after);
        self.record_step(&step);
        self.record_phase(if closes || matches!(step, Step::Abort) { SessionPhase::Ended } else { after });
        self.send();
        step
    }

    // The client

    fn record_client(&mut self, input: &[u8], before: SessionPhase, after: SessionPhase) {
        self.ended_with_cr &= before == SessionPhase::Chunks || before.is_data();
        if before.is_data() {
            return self.record_data(input, before, after);
        }
        for line in self.partial_input.feed(input) {
            let line = self.redactor.redact_line(&line, before);
            self.record_client_line(&line);
        }
    }

    fn record_client_line(&mut self, line: &[u8]) {
        let whole = line.strip_suffix(b"\r\n").map(format::escaped);
        match whole.filter(|text| text.as_bytes() == &line[..line.len() - 2]) {
            Some(text) => self.line(format!("C: {text}").trim_end()),
            None => self.line(&format!("C| {}", format::escaped(line))),
        }
    }

    /// Records a line whose end did not come before the session ended.
    fn record_unended_line(&mut self) {
        if !self.partial_input.is_empty() {
            let mut line = ElidedData::default();
            line.feed(&self.partial_input.rest());
            self.line(&format!("C~ {}", line.summary()));
        }
    }

    /// Records octets that the client sent too early and the session will not read.
    fn record_unread(&mut self, unread: &[u8]) {
        let shown = match unread.starts_with(TLS_HANDSHAKE) {
            true => "\\x16\\x03",
            false if is_http_request(unread) => "POST /",
            false => "***",
        };
        self.line(&format!("C| {shown}"));
    }

    fn record_data(&mut self, input: &[u8], before: SessionPhase, after: SessionPhase) {
        let ended = !after.is_data();
        if self.records_bodies {
            self.partial_input.feed(input).iter().for_each(|line| self.record_client_line(line));
            if let Some(begun) = self.partial_input.too_long() {
                self.record_client_line(&begun);
            }
            if ended {
                self.record_chunk_end();
            }
            return;
        }
        let ended_with_cr = self.ended_with_cr;
        let body = self.body.get_or_insert_with(|| ElidedData::following(ended_with_cr));
        body.feed(input);
        if ended {
            let has_a_dot = after != SessionPhase::Ended
                && !matches!(before, SessionPhase::Chunk | SessionPhase::RequestBody | SessionPhase::Message);
            let dot = if has_a_dot { body.without_dot() } else { b"" };
            self.flush_body();
            if !dot.is_empty() {
                self.record_client_line(dot);
            }
        }
    }

    /// Records the incomplete line at the end of a chunk.
    fn record_chunk_end(&mut self) {
        let partial = self.partial_input.rest();
        if !partial.is_empty() {
            self.record_client_line(&partial);
        }
    }

    fn flush_body(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_empty()) {
            self.ended_with_cr = body.ends_with_cr();
            self.line(&format!("C~ {}", body.summary()));
        }
    }

    /// Records the unfinished line when the connection ends. All of it may be a password.
    fn record_partial_line(&mut self, unread: &[u8]) {
        self.flush_body();
        if !self.partial_input.rest().is_empty() || !unread.is_empty() {
            self.line("C| ***");
        }
    }

    // Requests and responses

    fn record_step(&mut self, step: &Step) {
        match step {
            Step::Request(request) => self.record_request(request),
            Step::Pause(span) if !span.is_zero() => {
                self.line(&format!(". pause {}", format::format_duration(*span)))
            }
            Step::StartTls => self.line(". secure"),
            Step::Close => self.record_end(". close"),
            Step::Abort => {
                self.partial_output.rest();
                self.flush_message();
                self.record_end(". abort");
            }
            Step::Continue | Step::Idle | Step::Pause(_) => {}
        }
    }

    fn record_request(&mut self, request: &Request) {
        let text = match request {
            // The message is recorded with its data, or summarised.
            Request::Receive(ReceiveRequest::Spill { .. }) => "? spill mailbox=*".into(),
            Request::Receive(ReceiveRequest::Deliver { .. }) => {
                let text = format::format_request(request, b"", false);
                format!("{} body=*", &text[..text.rfind(" body=").unwrap_or(text.len())])
            }
            Request::Imap(ImapRequest::Append { .. }) => {
                let text = format::format_request(request, b"", false);
                format!("{} bytes=*", &text[..text.find(" bytes=").unwrap_or(text.len())])
            }
            Request::Verify { .. } if self.redactor.hides_user() => "? verify user=*".into(),
            request => format::format_request(request, b"", false),
        };
        // The next pieces of a response go on with it.
        if let Request::Imap(ImapRequest::Fetch(fetch)) = request
            && fetch.position != FetchPosition::default()
        {
            self.routine_request = Some(text);
            return;
        }
        let is_read = matches!(request, Request::Maildrop(MaildropRequest::Read { .. }));
        let is_routine = matches!(
            request,
            Request::Receive(ReceiveRequest::CheckSpace { .. })
                | Request::Receive(ReceiveRequest::Begin | ReceiveRequest::BeginWhole { .. })
                | Request::Receive(ReceiveRequest::Spill { .. })
                | Request::Receive(ReceiveRequest::Discard)
        ) || is_read;
        if is_routine && !(is_read && self.records_bodies) {
            self.routine_request = Some(text);
        } else {
            self.line(&text);
        }
    }

    /// Records a response to the session, and the resulting changes in the spool.
    pub fn record_response(&mut self, response: &Response, changes: &[String], now: Now) {
        self.write_time(now);
        self.sends_chunk = matches!(response, Response::Chunk { .. });
        self.sends_document = matches!(response, Response::Document(_));
        match (self.routine_request.take(), response) {
            (Some(_), Response::Done | Response::Imap(ImapResponse::Fetched(_))) => {}
            (Some(read), Response::Chunk { .. }) => self.read_request = Some(read),
            (routine, response) => {
                self.flush_message();
                if let Some(request) = routine {
                    self.line(&request);
                }
                match format::format_response(response, now.wall, self.expires) {
                    Some(response) => self.line(&response),
                    None => self.line("# more messages than can be listed here: this can't be played"),
                }
            }
        }
        changes.iter().for_each(|change| self.line(&format!("# spool: {change}")));
    }

    // Events of the connection

    /// Records that TLS is established.
    pub fn record_tls(&mut self, by: Encryption, phase: SessionPhase, now: Now) {
        self.write_time(now);
        self.line(&format!("# tls: {} {}", by.version, by.cipher));
        self.record_phase(phase);
        self.send();
    }

    /// Records an event that the session did not ask for.
    pub fn record_event(&mut self, event: &SessionEvent, now: Now) {
        self.write_time(now);
        match event {
            SessionEvent::MailboxChanged { mailbox, messages } => {
                self.line(&format!("# mailbox: {mailbox} changed, messages={messages}"));
            }
            SessionEvent::Mail(event) => {
                self.line(&format!("# mailbox: {} {}", event.mailbox, event.kind.name()))
            }
            SessionEvent::FolderChanged(state) => {
                self.line(&format!("# folder: changed, messages={}", state.messages.len()));
            }
            SessionEvent::FolderGone(folder) => self.line(&format!("# folder: {folder} is gone")),
            // It tells of other transcripts, and this one would grow with them.
            SessionEvent::Sessions => {}
        }
    }

    /// Records that the client has closed and the session has nothing more to do.
    pub fn record_client_close(&mut self, unread: &[u8], now: Now) {
        self.write_time(now);
        self.flush_message();
        self.record_partial_line(unread);
        self.line(". end");
        self.record_end(". close");
        self.record_phase(SessionPhase::Ended);
        self.send();
    }

    /// Records that the client was silent for too long, with the time since the connection began.
    pub fn record_timeout(&mut self, now: Now) {
        self.write_time(now);
        self.record_partial_line(b"");
        let waited = now.monotonic.saturating_sub(self.started_at).as_secs() + 1;
        self.line(&format!(". wait {}", format::format_duration(Duration::from_secs(waited))));
    }

    /// Records that the server ends the session.
    pub fn record_server_end(&mut self, why: EndReason, now: Now) {
        self.write_time(now);
        self.line(&format!(". {}", why.directive()));
    }

    /// Records that the connection ends without the session's knowledge.
    pub fn record_abort(&mut self, why: &str) {
        if self.phase == Some(SessionPhase::Ended) {
            return; // the rest of the connection is not recorded
        }
        self.line(&format!("# cut: {}", format::escaped(why.as_bytes())));
        self.send();
    }

    fn record_end(&mut self, how: &str) {
        let partial = self.partial_output.rest();
        if !partial.is_empty() {
            self.line(&format!("S| {}", format::escaped(&partial)));
        }
        self.line(how);
    }

    // The text

    /// Sets the time of the next line.
    fn write_time(&mut self, now: Now) {
        self.time = now.monotonic.saturating_sub(self.started_at).as_millis();
    }

    fn record_phase(&mut self, phase: SessionPhase) {
        if phase == SessionPhase::Pending || self.phase == Some(phase) {
            return;
        }
        match self.phase.replace(phase) {
            Some(before) => self.line(&format!("# state: {} -> {}", before.name(), phase.name())),
            None => self.line(&format!("# state: {}", phase.name())),
        }
    }

    fn line(&mut self, line: &str) {
        if self.time > self.last_time {
            self.last_time = self.time;
            let _ = writeln!(self.pending_text, "# time: +{}.{:03}", self.time / 1000, self.time % 1000);
        }
        let _ = writeln!(self.pending_text, "{line}"); // writing to a String cannot fail
    }

    fn send(&mut self) {
        if !self.pending_text.is_empty() {
            self.writer.write(mem::take(&mut self.pending_text));
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
struct RecordingAccountDirectory<'a> {
    directory: &'a dyn AccountDirectory,
    lines: RefCell<Vec<String>>,
}

impl RecordingAccountDirectory<'_> {
    fn note(&self, line: String) {
        self.lines.borrow_mut().push(line);
    }

    /// Notes the line if the answer is yes, and returns the answer.
    fn noted(&self, answer: bool, line: fmt::Arguments<'_>) -> bool {
        if answer {
            self.note(line.to_string());
        }
        answer
    }
}

impl AccountDirectory for RecordingAccountDirectory<'_> {
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

    fn tagged(&self, address: &Address) -> Option<TaggedAddress> {
        self.directory.tagged(address)
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
        !self.noted(!self.directory.wants_sent_copy(user), format_args!("= keeps_no_copy {user}"))
    }

    fn is_admin(&self, user: &Mailbox) -> bool {
        self.noted(self.directory.is_admin(user), format_args!("= admin {user}"))
    }

    fn chaos(&self, at: ChaosPoint) -> Option<u16> {
        self.directory.chaos(at)
    }

    fn is_full(&self, mailbox: &Mailbox) -> bool {
        self.noted(self.directory.is_full(mailbox), format_args!("= full {mailbox}"))
    }
}

/// The largest number of addresses recorded in one transcript.
const MAX_LOOKUPS: usize = 10_000;
