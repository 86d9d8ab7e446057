//! The state of an interactive session, on which the menu, the lists and the questions act.

use std::{path::PathBuf, time::Duration};

use super::{folder::Folder, read_ids::ReadIds, sent_folder::path_component, terminal::Terminal};
use crate::{
    accounts::UserFile,
    client::{ClientError, ConnectOptions, WireObserver, display, outgoing::Person},
    proto::request::Secret,
};

/// The settings of an interactive session.
#[derive(Debug)]
pub(crate) struct AppConfig {
    /// The server that takes mail.
    pub smtp: ConnectOptions,
    /// The server that mail is read from.
    pub reading: ConnectOptions,
    /// The protocol by which it is read.
    pub protocol: ReadingProtocol,
    /// Makes an observer for each connection, if the person wants to see the dialogues.
    pub observer: Option<fn() -> WireObserver>,
    /// User name, if given on the command line.
    pub user: Option<String>,
    /// Sign-up, if the server's accounts are at hand.
    pub sign_up: Option<SignUp>,
    /// Domains that the server is known to have, the first one for a name without a domain.
    pub domains: Vec<String>,
    /// Directory for copies of sent messages, if the server keeps none, and for the ids of messages that were read.
    pub sent_dir: Option<PathBuf>,
    /// File with the certificates that the person trusts, for the commands that are told.
    pub cacert: Option<PathBuf>,
    /// Source of unpredictable numbers, for Message-IDs and file names.
    pub random: fn() -> u64,
}

/// The protocol by which mail is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadingProtocol {
    Pop3,
    Imap,
}

impl ReadingProtocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pop3 => "POP3",
            Self::Imap => "IMAP",
        }
    }
}

/// The accounts of the server, in which a new user can make one.
#[derive(Debug)]
pub(crate) struct SignUp {
    pub users: UserFile,
    /// Domains that an account may have; any if empty.
    pub domains: Vec<String>,
    /// The directory of the mailboxes, if it is known.
    pub spool: Option<PathBuf>,
    /// Time until a running server knows a new account.
    pub reload_interval: Duration,
}

/// An interactive session after the login.
pub(crate) struct App<'a> {
    pub(crate) config: &'a AppConfig,
    pub(crate) terminal: &'a mut Terminal,
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// The From address, once it is known.
    pub(crate) from: Option<Person>,
    /// True if the server files sent messages in a folder that this client can read.
    pub(super) server_saves_sent: bool,
    pub(super) inbox: Folder,
}

impl AppConfig {
    /// An observer for a new connection.
    pub(super) fn observe(&self) -> Option<WireObserver> {
        self.observer.map(|observer| observer())
    }
}

impl App<'_> {
    pub(crate) fn show_error(&mut self, error: &ClientError) {
        let told = display::printable_line(&error.describe(self.terminal.language()));
        self.terminal.print_wrapped(&told);
    }

    /// The file of the messages that were read, if there is a directory for it.
    pub(super) fn read_ids(&self) -> Option<ReadIds> {
        let directory = self.config.sent_dir.as_ref()?;
        Some(ReadIds::new(directory, &path_component(&self.identity())))
    }

    /// The key of the local copies. It has the server, because the same name elsewhere is another user.
    pub(super) fn identity(&self) -> String {
        format!("{}_{}", self.user, self.config.smtp.server)
    }
}
