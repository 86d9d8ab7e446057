//! `restante client`: one interactive session, from the login to the goodbye.
//!
//! The rule: every question and answer is a line, and no error loses work: after a server's failure the user
//! is asked again.

use std::mem;

use super::{
    app::{App, AppConfig},
    folder::{Folder, SummaryCache},
    inbound::{OWN_PROGRAM, Session, open_pop3},
    login::{Login, begin},
    sent_folder::SentFolder,
    table::AddressColumn,
    terminal::Terminal,
};
use crate::{
    client::{ClientError, outgoing::Person, strings},
    language::LocalizedText,
};

/// The end of an interactive session.
#[derive(Debug)]
pub(crate) enum ExitReason {
    /// The user quit.
    Normal,
    /// All login attempts failed, for this last reason.
    LoginFailed(String),
    /// The input ended before a login, and it is no terminal.
    NoInput,
}

/// Runs an interactive session.
///
/// # Errors
/// The server cannot be reached, or the connection broke and the user gave up.
pub(crate) fn run(plan: &AppConfig, terminal: &mut Terminal) -> Result<ExitReason, ClientError> {
    let welcome: [&dyn std::fmt::Display; 3] =
        [&plan.smtp.server, &plan.reading.server, &plan.protocol.name()];
    terminal.print_localized(strings::WELCOME, &welcome);
    let (user, password, session) = match begin(plan, terminal)? {
        Login::Done(user, password, session) => (user, password, session),
        Login::Refused(why) => return Ok(ExitReason::LoginFailed(why)),
        Login::Declined => return Ok(ExitReason::Normal),
        Login::GivenUp if !terminal.is_interactive() => return Ok(ExitReason::NoInput),
        Login::GivenUp => {
            terminal.print_localized(strings::GOODBYE, &[]);
            return Ok(ExitReason::Normal);
        }
    };
    let from = user.contains('@').then(|| Person::address_only(user.clone()));
    let inbox = Folder::disconnected();
    let mut app = App { config: plan, terminal, user, password, from, server_saves_sent: false, inbox };
    let is_same_host = plan.smtp.server.host == plan.reading.server.host;
    match *session {
        Session::Pop3(pop3) => {
            app.server_saves_sent = is_same_host && pop3.implementation() == Some(OWN_PROGRAM);
            app.inbox = Folder::open(pop3, SummaryCache::default())?;
            if let Some(read) = app.read_ids() {
                app.inbox.mark_new(&read.load());
            }
            app.run_menu()
        }
        Session::Imap(mut imap) => {
            let program = imap.program_name()?;
            app.server_saves_sent = is_same_host && program.as_deref() == Some(OWN_PROGRAM);
            app.run_folders(imap)
        }
    }
}

impl App<'_> {
    fn run_menu(mut self) -> Result<ExitReason, ClientError> {
        loop {
            let (here, marked) = (self.inbox.entries.len(), self.inbox.deleted_count());
            let title = self.terminal.localize(strings::MENU_TITLE, &[&self.user, &here, &marked]);
            self.terminal.show("");
            self.terminal.title(&title);
            let language = self.terminal.language();
            for words in MENU {
                self.terminal.print_wrapped(words.text(language));
            }
            let choice = self.terminal.prompt(strings::MENU_PROMPT.text(language));
            let done = match choice.as_deref().map(str::trim) {
                Some("1") => self.browse_inbox(),
                Some("2") => self.write(None),
                Some("3") => self.browse_sent(),
                Some("4") => self.refresh(),
                Some("q" | "0" | "quit") | None => return Ok(self.quit()),
                Some("" | "?" | "h" | "help") => Ok(()), // the menu is shown again
                Some(other) => {
                    self.terminal.print_localized(strings::NO_SUCH_CHOICE, &[&other]);
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.show_error(&error);
                let gone = error.is_connection_lost() || !self.inbox.is_connected();
                if gone && !self.reconnect() {
                    return Err(error);
                }
            }
        }
    }

    /// Opens the inbox in a new session, as often as the user wants to try. The marks of the old session are
    /// gone.
    fn reconnect(&mut self) -> bool {
        let question = strings::RECONNECT.text(self.terminal.language());
        let known = self.inbox.summary_cache();
        self.inbox = Folder::disconnected(); // the server locks a mailbox for one session
        while self.terminal.confirm_or_leave(question, true) {
            match self.open_as(&self.user.clone(), known.clone()) {
                Ok(inbox) => {
                    self.inbox = inbox;
                    if let Some(read) = self.read_ids() {
                        self.inbox.mark_new(&read.load());
                    }
                    self.terminal.print_localized(strings::MARKS_LOST, &[]);
                    return true;
                }
                Err(error) => self.show_error(&error),
            }
        }
        false
    }

    /// Opens another session with the same password.
    fn open_as(&mut self, user: &str, known: SummaryCache) -> Result<Folder, ClientError> {
        let mut pop3 = open_pop3(self.config, self.terminal)?;
        pop3.log_in(user, &self.password)?;
        Folder::open(pop3, known)
    }

    /// Ends the session and begins another, because a session shows the messages present when it began. The marks go on:
    /// only the end of the program deletes.
    fn refresh(&mut self) -> Result<(), ClientError> {
        let (known, marks) = (self.inbox.summary_cache(), self.inbox.marks());
        mem::replace(&mut self.inbox, Folder::disconnected()).close_unchanged()?;
        self.inbox = self.open_as(&self.user.clone(), known)?;
        let (arrived, lost) = self.inbox.continue_with(&marks)?;
        self.terminal.print_localized(strings::ARRIVED, &[&arrived]);
        match self.inbox.deleted_count() {
            0 => {}
            marked => self.terminal.print_localized(strings::MARKS_KEPT, &[&marked]),
        }
        if lost > 0 {
            self.terminal.print_localized(strings::MARKS_REMOVED, &[&lost]);
        }
        Ok(())
    }

    fn browse_inbox(&mut self) -> Result<(), ClientError> {
        let mut inbox = mem::replace(&mut self.inbox, Folder::disconnected());
        let done = self.browse(&mut inbox, AddressColumn::From);
        if let Some(read) = self.read_ids().filter(|_| inbox.is_connected()) {
            let _ = read.save(inbox.read_ids()); // without it, only the marks of the next start are missing
        }
        self.inbox = inbox;
        done
    }

    /// Shows the sent messages: the server's folder, else the local copies.
    fn browse_sent(&mut self) -> Result<(), ClientError> {
        if self.server_saves_sent {
            let sent = match self.user.rsplit_once('@') {
                Some((local, domain)) => format!("{local}+{SENT_FOLDER}@{domain}"),
                None => format!("{}+{SENT_FOLDER}", self.user),
            };
            match self.open_as(&sent, SummaryCache::default()) {
                Ok(mut sent) if !sent.entries.is_empty() => {
                    sent.has_sent = true;
                    let done = self.browse(&mut sent, AddressColumn::To);
                    sent.close()?;
                    return done;
                }
                Ok(empty) => {
                    empty.close()?;
                }
                Err(ClientError::Denied(_)) => {} // the folder does not exist yet
                Err(error) => return Err(error),
            }
        }
        let copies = match &self.config.sent_dir {
            Some(directory) => SentFolder::open(directory, &self.identity()).map_err(ClientError::Disk)?,
            None => SentFolder::default(),
        };
        self.browse(&mut Folder::from_sent_folder(copies), AddressColumn::To)
    }

    fn quit(self) -> ExitReason {
        let language = self.terminal.language();
        match self.inbox.close() {
            Ok(0) => self.terminal.print_localized(strings::DELETED_NOTHING, &[]),
            Ok(deleted) => self.terminal.print_localized(strings::DELETED_SOME, &[&deleted]),
            Err(error) => {
                self.terminal.print_localized(strings::NOT_ALL_DELETED, &[&error.describe(language)])
            }
        }
        self.terminal.print_localized(strings::GOODBYE, &[]);
        ExitReason::Normal
    }
}

const MENU: [LocalizedText; 5] =
    [strings::MENU_INBOX, strings::MENU_WRITE, strings::MENU_SENT, strings::MENU_AGAIN, strings::MENU_QUIT];
/// The folder of sent messages of our own server.
const SENT_FOLDER: &str = "Sent";
