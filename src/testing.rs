//! A server for the tests of programs that send and fetch mail. It runs in the process of the test, on free ports, with
//! its own spool, which it removes at its end. Each test may run a server, at the same time as the others.
//!
//! It behaves as `restante dev`: every address has a mailbox, any password opens it, and
//! [faults](crate::proto::fault_injection) happen on demand.
//!
//! ```
//! use std::{io::{Read, Write}, net::TcpStream, time::Duration};
//!
//! let server = restante::testing::Server::start();
//!
//! // The program under test sends a message to server.smtp(). Here, the test writes the session itself.
//! let mut client = TcpStream::connect(server.smtp()).unwrap();
//! client.write_all(b"EHLO me\r\nMAIL FROM:<me@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n").unwrap();
//! client.write_all(b"Subject: hello\r\n\r\nIt works.\r\n.\r\nQUIT\r\n").unwrap();
//!
//! let is_it = |message: &restante::testing::Message| message.subject() == "hello";
//! let message = server.wait_for("bob@example.test", is_it, Duration::from_secs(10)).unwrap();
//! assert_eq!(message.from(), Some("me@example.test"));
//! assert_eq!(message.text().unwrap().trim_end(), "It works.");
//!
//! // A program that fetches mail finds it at server.pop3() and server.imap(), or over HTTP at server.http().
//! server.deliver("eve@example.test", "Subject: for you\n\nRead me.\n");
//! assert_eq!(server.messages("eve@example.test").len(), 1);
//! # let mut replies = String::new();
//! # client.read_to_string(&mut replies).unwrap();
//! # assert!(replies.contains("250 2.0.0 Queued as "), "{replies}");
//! ```

use std::{
    env, fmt, fs, io,
    net::SocketAddr,
    ops::ControlFlow,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    accounts::Accounts,
    config::{self, Config, Development, Service},
    limits::Span,
    listener,
    loaded_config::LoadedConfig,
    maildir::{self, Spool},
    proto::{
        request::{AccountDirectory, Lookup},
        smtp::address::Address,
    },
    server::{self, ShutdownHandle},
    system::{sd_notify::SdNotify, socket_activation::InheritedSockets},
    tools::{self, Naming, Seeder, Target, TestMessage, Wait},
};
pub use tools::{Mark, Message};

/// A running server. Dropping it stops it and removes its spool.
#[derive(Debug)]
pub struct Server {
    smtp: SocketAddr,
    pop3: SocketAddr,
    imap: SocketAddr,
    http: SocketAddr,
    stopper: ShutdownHandle,
    thread: Option<JoinHandle<Result<(), server::Error>>>,
    dir: ServerDir,
}

impl Server {
    /// Starts a server, and returns when it accepts clients.
    ///
    /// # Panics
    /// If the server cannot be started; [`Server::try_start`] returns the reason.
    #[track_caller]
    pub fn start() -> Self {
        Self::try_start().unwrap_or_else(|error| panic!("no server for a test: {error}"))
    }

    /// Starts a server, and returns when it accepts clients.
    ///
    /// # Errors
    /// If there is no room for its files, or no port or thread for it.
    pub fn try_start() -> Result<Self, Error> {
        let home = ServerDir::new()?;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config::development(home.spool(), (anywhere, anywhere), false)?;
        config = config.with_imap(anywhere)?.with_http(anywhere)?;
        config.development = Some(Development { faults_on_demand: true, network: false });
        config.limits.connections.shutdown_timeout = Span::secs(0); // the clients of a test end with it
        let (started, news) = mpsc::channel();
        // The parts of the loop belong to one thread, so that thread creates them.
        let thread = thread::Builder::new().name("restante".into()).spawn(move || {
            let sockets = listener::bind_all(&config, InheritedSockets::default(), &mut |_| {})?;
            let accounts = Accounts::accept_all(&config.domains);
            let files = LoadedConfig { config, accounts, certificate: None, exposed: Vec::new() };
            let server = server::Server::open_embedded(files, sockets)?;
            let taken = server.endpoints();
            let at = |service| taken.iter().find(|(taken, _)| *taken == service)?.1.ip();
            // The receiver is gone if the test was ended meanwhile.
            let places = (at(Service::Smtp), at(Service::Pop3), at(Service::Imap), at(Service::Http));
            let _ = started.send((places, server.shutdown_handle()));
            server.run(SdNotify::default())
        })?;
        match news.recv() {
            Ok(((Some(smtp), Some(pop3), Some(imap), Some(http)), stopper)) => {
                Ok(Self { smtp, pop3, imap, http, stopper, thread: Some(thread), dir: home })
            }
            _ => Err(match thread.join() {
                Ok(Err(error)) => Error::Server(error),
                _ => Error::Io(io::Error::other("the thread of the server has ended")),
            }),
        }
    }

    /// The address of the SMTP service, to send mail to.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// The address of the POP3 service, to fetch mail from.
    pub fn pop3(&self) -> SocketAddr {
        self.pop3
    }

    /// The address of the IMAP service, for programs that keep their mail on the server.
    pub fn imap(&self) -> SocketAddr {
        self.imap
    }

    /// The address of the web API, for programs that read mail over HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The spool: a Maildir for each address that has mail.
    pub fn spool(&self) -> PathBuf {
        self.dir.spool()
    }

    /// Waits for a message to that address, which may have come before, and returns the first that `wanted`
    /// accepts.
    ///
    /// # Errors
    /// If none has come in time. The error lists the other messages.
    ///
    /// # Panics
    /// If that is not an address, or the spool cannot be read.
    #[track_caller]
    pub fn wait_for(
        &self,
        to: &str,
        wanted: impl FnMut(&Message) -> bool,
        timeout: Duration,
    ) -> Result<Message, MessageNotFound> {
        self.wait_for_new(to, &Mark::default(), wanted, timeout)
    }

    /// Waits as [`Server::wait_for`] does, but ignores messages that the mark has.
    ///
    /// # Errors
    /// If none has come in time.
    ///
    /// # Panics
    /// As [`Server::wait_for`], and if the mark is of another server or of another mailbox.
    #[track_caller]
    pub fn wait_for_new(
        &self,
        to: &str,
        after: &Mark,
        mut wanted: impl FnMut(&Message) -> bool,
        timeout: Duration,
    ) -> Result<Message, MessageNotFound> {
        let (mut found, mut others) = (None, Vec::new());
        self.search(to, after, timeout, |message| {
            if wanted(&message) {
                found = Some(message);
                return ControlFlow::Break(());
            }
            others.push(message.subject().to_owned());
            ControlFlow::Continue(())
        });
        found.ok_or_else(|| MessageNotFound { to: to.to_owned(), timeout, others })
    }

    /// Returns the messages for an address that are there now.
    ///
    /// # Panics
    /// As [`Server::wait_for`].
    #[track_caller]
    pub fn messages(&self, to: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        self.search(to, &Mark::default(), Duration::ZERO, |message| {
            messages.push(message);
            ControlFlow::Continue(())
        });
        messages
    }

    /// Marks the messages for an address that are there now, to distinguish later ones from them.
    ///
    /// # Panics
    /// As [`Server::wait_for`].
    #[track_caller]
    pub fn mark(&self, to: &str) -> Mark {
        let (targets, after) = (targets(to), Mark::default());
        let wait =
            Wait { spool: &self.dir.spool(), targets: &targets, after: &after, timeout: Duration::ZERO };
        on_disk(wait.mark())
    }

    /// Puts a message into the mailbox of an address as it is, durably and without SMTP. Line ends may be LF or
    /// CRLF.
    ///
    /// # Panics
    /// As [`Server::wait_for`], and if the message cannot be written.
    #[track_caller]
    pub fn deliver(&self, to: &str, message: impl AsRef<[u8]>) {
        let letter =
            TestMessage { label: String::new(), bytes: message.as_ref().to_vec(), naming: Naming::Delivered };
        let spool = on_disk(Spool::open(&self.dir.spool()));
        for target in targets(to) {
            let home = on_disk(spool.open_or_create_maildir(target.destination.mailbox.as_str()));
            on_disk(Seeder::new(&spool, "localhost").seed(&home, std::slice::from_ref(&letter)));
        }
    }

    /// Deletes the mail of all mailboxes, and returns the number of messages deleted.
    ///
    /// # Panics
    /// If they cannot be deleted.
    #[track_caller]
    pub fn purge(&self) -> usize {
        let spool = on_disk(Spool::open(&self.dir.spool()));
        let purged = |maildir: maildir::Maildir| {
            let mut purged = tools::purge(&Arc::new(maildir), None);
            purged.errors.pop().map_or(Ok(purged.deleted), Err)
        };
        spool.maildirs().map(|maildir| on_disk(maildir.and_then(purged))).sum()
    }

    #[track_caller]
    fn search(
        &self,
        to: &str,
        after: &Mark,
        timeout: Duration,
        each: impl FnMut(Message) -> ControlFlow<()>,
    ) {
        let (targets, spool) = (targets(to), self.dir.spool());
        let wait = Wait { spool: &spool, targets: &targets, after, timeout };
        if let Err(error) = wait.check_mark() {
            panic!("{to}: {error}");
        }
        on_disk(wait.run(each));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopper.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if !matches!(ended, Some(Ok(Ok(())))) && !thread::panicking() {
            panic!("the server of a test has failed: {ended:?}");
        }
    }
}

/// A directory for one server. It is removed when this is dropped.
#[derive(Debug)]
struct ServerDir(PathBuf);

impl ServerDir {
    fn new() -> io::Result<Self> {
        let mut chance = [0; 8];
        getrandom::fill(&mut chance).map_err(io::Error::other)?;
        let name = format!("restante-{}-{:016x}", std::process::id(), u64::from_ne_bytes(chance));
        let path = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }
}

impl Drop for ServerDir {
    fn drop(&mut self) {
        // A worker that has not ended yet may write into a directory that is being removed.
        for _ in 0..ATTEMPTS {
            if fs::remove_dir_all(&self.0).is_ok() || !Path::new(&self.0).exists() {
                return;
            }
            thread::sleep(RETRY_DELAY);
        }
    }
}

/// No such message has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageNotFound {
    to: String,
    timeout: Duration,
    others: Vec<String>,
}

impl fmt::Display for MessageNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, timeout, others } = self;
        write!(f, "no such message for {to} within {timeout:?}; ")?;
        match others.as_slice() {
            [] => write!(f, "there is none at all"),
            others => write!(f, "there are others, with the subjects {others:?}"),
        }
    }
}

impl std::error::Error for MessageNotFound {}

/// The reason why a server could not be started.
#[derive(Debug)]
pub enum Error {
    /// The server's directory or thread could not be created.
    Io(io::Error),
    /// The configuration that this module makes was refused.
    Config(config::Error),
    /// The server could not listen, or not use its spool.
    Server(server::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

/// The mailboxes for that address.
#[track_caller]
fn targets(to: &str) -> Vec<Target> {
    let accounts = Accounts::accept_all(&["localhost".into()]);
    let address = Address::parse(to).ok();
    match address.as_ref().map(|address| (address, accounts.lookup(address))) {
        Some((address, Lookup::Local(destinations))) => Target::all(&accounts, address, &destinations),
        _ => panic!("{to:?} is not an address that can have a mailbox"),
    }
}

#[track_caller]
fn on_disk<T>(done: Result<T, maildir::Error>) -> T {
    done.unwrap_or_else(|error| panic!("the spool of a test: {error}"))
}

const ATTEMPTS: u32 = 50;
const RETRY_DELAY: Duration = Duration::from_millis(20);
