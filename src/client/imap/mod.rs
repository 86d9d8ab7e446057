//! The client side of IMAP (RFC 3501 and 9051).
//!
//! The rules: the octets that a command may cost have a bound; numbers of messages change with every EXPUNGE, so commands name
//! messages by UID; and a response that cannot be read is an error, never an empty folder.

mod command;
mod folders;
mod response;
mod value;

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    ClientError, ConnectOptions, Security, WireProtocol,
    connection::{Connection, WireEvent, WireObserver, Woken},
    reply_help::remark_in,
};
use crate::proto::request::Secret;
use command::{Command, Piece, quoted};
pub use folders::{ImapFolder, ImapMessage, ListedHeader};
use response::Response;
pub use response::{Condition, FolderCounts, MessageFlags, Status};

/// The client side of an IMAP session.
#[derive(Debug)]
pub struct Imap {
    connection: Connection,
    /// In capitals.
    capabilities: Vec<String>,
    /// The number of commands so far, of which each has its own tag.
    commands: u32,
    remark: Option<String>,
    events: Vec<FolderEvent>,
}

/// A change of the selected folder, of which the server tells at any time. Numbers are those of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderEvent {
    /// The folder has so many messages.
    Exists(u32),
    /// This message is gone, and those after it have the next lower number.
    Expunge(u32),
    /// This message has these flags.
    Flags(u32, MessageFlags),
}

/// The octets that the responses to one command may still have.
struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    fn new(limit: usize) -> Self {
        Self { left: limit, limit }
    }
}

impl Imap {
    /// Connects, reads the greeting, and begins TLS if the route asks for STARTTLS.
    ///
    /// # Errors
    /// The connection or TLS failed; [`ClientError::ImapRefused`] if the server refuses the session.
    pub fn open(route: &ConnectOptions, watcher: Option<WireObserver>) -> Result<Self, ClientError> {
        let connection = Connection::connect(WireProtocol::Imap, route, watcher)?;
        let mut imap =
            Self { connection, capabilities: Vec::new(), commands: 0, remark: None, events: Vec::new() };
        match imap.read_response(&mut Budget::new(SMALL))? {
            Response::Status(status) if status.condition == Condition::Ok => imap.learn(&status),
            Response::Status(status) if status.condition == Condition::Bye => {
                return Err(ClientError::ImapRefused(status));
            }
            // A server that regards the client as logged in takes no STARTTLS, and nobody's password.
            _ => return Err(imap.babble()),
        }
        if imap.capabilities.is_empty() {
            imap.fetch_capabilities()?;
        }
        if route.security == Security::StartTls {
            if !imap.has("STARTTLS") {
                return Err(ClientError::NoTls(imap.connection.server));
            }
            imap.run(&Command::new("STARTTLS"))?;
            imap.connection = imap.connection.start_tls(route)?;
            // Capabilities announced in clear text are discarded (RFC 9051 section 6.2.1).
            imap.fetch_capabilities()?;
        }
        Ok(imap)
    }

    /// Asks for replies in that language if the server announces LANGUAGE (RFC 5255 section 3.2).
    ///
    /// # Errors
    /// The connection broke.
    pub fn set_language(&mut self, tag: &str) -> Result<(), ClientError> {
        if !self.has("LANGUAGE") {
            return Ok(());
        }
        match self.run(&Command::new(format!("LANGUAGE {tag}"))) {
            Err(ClientError::ImapRefused(_)) => Ok(()), // the server keeps its own language
            done => done.map(|_| ()),
        }
    }

    /// Logs in with LOGIN, or with AUTHENTICATE PLAIN if the server forbids it, or the name or password cannot be quoted.
    ///
    /// # Errors
    /// [`ClientError::ImapRefused`] if the server refuses the login.
    pub fn log_in(&mut self, user: &str, password: &Secret) -> Result<(), ClientError> {
        let words = quoted(user.as_bytes()).zip(quoted(password.reveal()));
        let status = match words.filter(|_| !self.has("LOGINDISABLED")) {
            Some((user, password)) => {
                let tag = self.next_tag();
                let shown = format!("{tag} LOGIN {user} ***");
                self.connection.send_line_masked(&format!("{tag} LOGIN {user} {password}"), &shown)?;
                self.finish(&tag, &mut Budget::new(SMALL), &mut |response| Some(response))?
            }
            None if self.has("AUTH=PLAIN") => {
                let message = [b"\0", user.as_bytes(), b"\0", password.reveal()].concat();
                let tag = self.next_tag();
                self.connection.send_line(&format!("{tag} AUTHENTICATE PLAIN"))?;
                let mut budget = Budget::new(SMALL);
                self.await_continuation(&tag, &mut budget)?;
                self.connection.send_line_masked(&STANDARD.encode(message), "***")?;
                self.finish(&tag, &mut budget, &mut |response| Some(response))?
            }
            None => return Err(ClientError::NoAuthMechanism(self.connection.server.clone())),
        };
        // Many capabilities are announced only after the login.
        self.capabilities.clear();
        self.learn(&status);
        self.remark = remark_in(&status.text).map(str::to_owned);
        if self.capabilities.is_empty() { self.fetch_capabilities() } else { Ok(()) }
    }

    /// The remark of the server about a fault in the login name, once.
    pub(crate) fn take_remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    /// NOOP: lets the server tell news.
    ///
    /// # Errors
    /// The connection broke.
    pub fn noop(&mut self) -> Result<(), ClientError> {
        self.run(&Command::new("NOOP")).map(|_| ())
    }

    /// True if the server tells news by itself.
    pub fn can_idle(&self) -> bool {
        self.has("IDLE")
    }

    /// IDLE (RFC 2177): waits until the server tells news of the folder, the input has something to read, or the time is
    /// over.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn idle(&mut self, input: Option<BorrowedFd<'_>>, longest: Duration) -> Result<(), ClientError> {
        let until = Instant::now() + longest;
        let tag = self.next_tag();
        self.connection.send_line(&format!("{tag} IDLE"))?;
        let mut budget = Budget::new(SMALL);
        self.await_continuation(&tag, &mut budget)?;
        while self.events.is_empty() {
            match self.connection.wait(input, until)? {
                Woken::Server => {
                    let response = self.read_response(&mut budget)?;
                    self.note(response)?;
                    // The server says now and then that it is still here, for as long as the client waits.
                    budget = Budget::new(SMALL);
                }
                Woken::Input | Woken::Time => break,
            }
        }
        self.connection.send_line("DONE")?;
        self.finish(&tag, &mut budget, &mut |response| Some(response)).map(|_| ())
    }

    /// The changes of the selected folder that the server has told since the last call.
    pub fn take_events(&mut self) -> Vec<FolderEvent> {
        std::mem::take(&mut self.events)
    }

    /// Sends LOGOUT, and ignores the result: nothing depends on it.
    pub fn log_out(mut self) {
        self.connection.timeout = self.connection.timeout.min(LOGOUT_TIMEOUT);
        let _ = self.run(&Command::new("LOGOUT")); // the server closes the connection, whatever it says
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    fn fetch_capabilities(&mut self) -> Result<(), ClientError> {
        self.capabilities.clear();
        let mut found = Vec::new();
        self.run_for(&Command::new("CAPABILITY"), SMALL, &mut |response| match response {
            Response::Capability(words) => {
                found = words;
                None
            }
            other => Some(other),
        })?;
        self.set_capabilities(&found);
        Ok(())
    }

    fn set_capabilities(&mut self, words: &[String]) {
        self.capabilities = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    }

    /// Learns the capabilities that a code has.
    fn learn(&mut self, status: &Status) {
        let words = response::words(status.code.as_deref().unwrap_or_default().as_bytes());
        if let Some((first, capabilities)) = words.split_first()
            && first.eq_ignore_ascii_case("CAPABILITY")
        {
            self.set_capabilities(capabilities);
        }
    }

    fn run(&mut self, command: &Command) -> Result<Status, ClientError> {
        self.run_for(command, SMALL, &mut |response| Some(response))
    }

    /// Sends a command and reads up to its end. `want` takes the responses that it is for, and returns the others. All of them
    /// may have so many octets.
    fn run_for(
        &mut self,
        command: &Command,
        limit: usize,
        want: &mut dyn FnMut(Response) -> Option<Response>,
    ) -> Result<Status, ClientError> {
        let tag = self.next_tag();
        let mut budget = Budget::new(limit);
        let mut line = format!("{tag} ");
        for piece in &command.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Literal(octets) => {
                    let waits = !self.has("LITERAL+");
                    let sign = if waits { "" } else { "+" };
                    self.connection.send_line(&format!("{line}{{{}{sign}}}", octets.len()))?;
                    if waits {
                        self.await_continuation(&tag, &mut budget)?;
                    }
                    self.connection.send(octets)?;
                    self.connection.notify(WireEvent::MessageSent(octets.len() as u64));
                    line.clear();
                }
            }
        }
        self.connection.send_line(&line)?;
        self.finish(&tag, &mut budget, want)
    }

    fn next_tag(&mut self) -> String {
        self.commands += 1;
        format!("a{}", self.commands)
    }

    fn await_continuation(&mut self, tag: &str, budget: &mut Budget) -> Result<(), ClientError> {
        loop {
            match self.read_response(budget)? {
                Response::Continue => return Ok(()),
                Response::Tagged(its, status) if its == tag => return Err(ClientError::ImapRefused(status)),
                other => self.note(other)?,
            }
        }
    }

    /// Reads up to the end of a command.
    fn finish(
        &mut self,
        tag: &str,
        budget: &mut Budget,
        want: &mut dyn FnMut(Response) -> Option<Response>,
    ) -> Result<Status, ClientError> {
        loop {
            match self.read_response(budget)? {
                Response::Tagged(its, status) if its == tag => {
                    return match status.condition {
                        Condition::Ok => Ok(status),
                        _ => Err(ClientError::ImapRefused(status)),
                    };
                }
                response => {
                    if let Some(other) = want(response) {
                        self.note(other)?;
                    }
                }
            }
        }
    }

    /// Notes a response that no command asked for.
    fn note(&mut self, response: Response) -> Result<(), ClientError> {
        if self.events.len() >= MAX_EVENTS {
            return Err(self.babble());
        }
        match response {
            Response::Exists(number) => self.events.push(FolderEvent::Exists(number)),
            Response::Expunge(number) => self.events.push(FolderEvent::Expunge(number)),
            Response::Fetch(number, message) => {
                self.events.extend(message.flags.map(|flags| FolderEvent::Flags(number, flags)));
            }
            Response::Capability(words) => self.set_capabilities(&words),
            Response::Status(status) if status.condition == Condition::Bye => {
                return Err(ClientError::SaidBye(self.connection.server.clone(), status.text));
            }
            Response::Continue | Response::Tagged(..) => return Err(self.babble()),
            _ => {}
        }
        Ok(())
    }

    /// Reads one response with its literals.
    fn read_response(&mut self, budget: &mut Budget) -> Result<Response, ClientError> {
        let mut octets = Vec::new();
        loop {
            let line = self.connection.read_line_up_to(budget.left.max(LINE))?;
            self.spend(budget, line.len() + RESPONSE_COST)?;
            octets.extend_from_slice(&line);
            let Some(length) = value::literal_after(&line) else { break };
            self.spend(budget, usize::try_from(length).unwrap_or(usize::MAX))?;
            octets.extend_from_slice(b"\r\n");
            self.connection.read_octets(length, &mut octets)?;
        }
        Response::parse(&octets).ok_or_else(|| self.babble())
    }

    fn spend(&self, budget: &mut Budget, octets: usize) -> Result<(), ClientError> {
        budget.left = budget.left.checked_sub(octets).ok_or_else(|| match budget.limit {
            MAX_MESSAGE => ClientError::TooBig { octets: octets as u64, limit: MAX_MESSAGE as u64 },
            _ => self.babble(),
        })?;
        Ok(())
    }

    fn babble(&self) -> ClientError {
        ClientError::ProtocolError(self.connection.server.clone())
    }
}

/// Octets of the responses to a command that asks for little.
const SMALL: usize = 1 << 20;
/// Octets of the longest message held in memory.
const MAX_MESSAGE: usize = 256 << 20;
/// Changes of a folder that wait to be taken in.
const MAX_EVENTS: usize = 1_000_000;
/// Octets of a line, at least.
const LINE: usize = 8 << 10;
/// The cost of a response beside its octets, so that short ones have a bound too.
const RESPONSE_COST: usize = 64;
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(10);
