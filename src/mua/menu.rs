//! `restante client`: one interactive session, from the login to the goodbye.
//!
//! The rule: every question and answer is a line, and no error loses work: after a server's failure the user
//! is asked again.

use std::mem;

use super::{
    app::{App, AppConfig, SignUp},
    browse::AddressColumn,
    folder::{Folder, SummaryCache},
    sent_folder::SentFolder,
    terminal::Terminal,
};
use crate::{
    accounts,
    client::{ClientError, outgoing::Person, pop3::Pop3, reply_help, strings},
    maildir::{Spool, usage::usage},
    proto::{request::Secret, smtp::address::fold_domain},
};

/// The end of an interactive session.
#[derive(Debug)]
pub(crate) enum ExitReason {
    /// The user quit.
    Normal,
    /// All login attempts failed, for this last reason.
    LoginFailed(String),
}

/// Runs an interactive session.
///
/// # Errors
/// The server cannot be reached, or the connection broke and the user gave up.
pub(crate) fn run(plan: &AppConfig, terminal: &mut Terminal) -> Result<ExitReason, ClientError> {
    terminal.print_localized(strings::WELCOME, &[&plan.smtp.server, &plan.pop3.server]);
    if let Some(door) = &plan.sign_up {
        loop {
            match terminal.prompt(strings::DOOR.text(terminal.language())).as_deref().map(str::trim) {
                Some("1" | "") => break,
                Some("2") => sign_up(door, terminal),
                Some("q") | None => return Ok(ExitReason::Normal),
                Some(other) => terminal.print_localized(strings::NO_SUCH_CHOICE, &[&other]),
            }
        }
    }
    for route in [&plan.pop3, &plan.smtp] {
        if route.exposes_passwords() {
            let question = terminal.localize(strings::SEND_EXPOSED, &[&route.server]);
            if !terminal.confirm(&question, false) {
                return Ok(ExitReason::Normal);
            }
        }
    }
    let (user, password, pop3) = match log_in(plan, terminal)? {
        Login::Done(user, password, pop3) => (user, password, pop3),
        Login::Refused(why) => return Ok(ExitReason::LoginFailed(why)),
        Login::GivenUp => return Ok(ExitReason::Normal),
    };
    let from = user.contains('@').then(|| Person::address_only(user.clone()));
    let saves_sent =
        pop3.implementation() == Some(OWN_IMPLEMENTATION) && plan.smtp.server.host == plan.pop3.server.host;
    let inbox = Folder::open(pop3, SummaryCache::default())?;
    App { config: plan, terminal, user, password, from, server_saves_sent: saves_sent, inbox }.run_menu()
}

enum Login {
    Done(String, Secret, Pop3),
    Refused(String),
    GivenUp,
}

fn log_in(plan: &AppConfig, terminal: &mut Terminal) -> Result<Login, ClientError> {
    let language = terminal.language();
    let mut name = plan.user.clone().unwrap_or_default();
    for left in (0..ATTEMPTS).rev() {
        // Connects first, so that an unreachable server is reported before the password is asked for.
        let mut pop3 = open(plan, terminal)?;
        let asked =
            terminal.prompt_with_default(strings::USER.text(language), &name).filter(|name| !name.is_empty());
        let Some(user) = asked else { return Ok(Login::GivenUp) };
        let Some(password) = terminal.prompt_secret(strings::PASSWORD.text(language)) else {
            return Ok(Login::GivenUp);
        };
        let denial = match pop3.log_in(&user, &password) {
            Ok(()) => return Ok(Login::Done(user, password, pop3)),
            Err(ClientError::Denied(denial)) => denial,
            Err(error) => return Err(error),
        };
        pop3.quit_quietly();
        let why = reply_help::explain_pop3(&denial, language);
        if left == 0 {
            return Ok(Login::Refused(terminal.localize(strings::NO_MORE_ATTEMPTS, &[&why])));
        }
        terminal.print_localized(strings::ATTEMPTS_LEFT, &[&why, &left]);
        name = user;
    }
    Ok(Login::GivenUp)
}

fn open(plan: &AppConfig, terminal: &Terminal) -> Result<Pop3, ClientError> {
    let mut pop3 = Pop3::open(&plan.pop3, None)?;
    pop3.set_language(terminal.language().tag())?;
    Ok(pop3)
}

/// Whether there are messages for a new account already. A spool that cannot be read counts as one that has none: its
/// owner runs this.
fn has_former_mail(door: &SignUp, name: &str) -> bool {
    if door.users.has(name).unwrap_or(false) {
        return false; // another mistake, which is told after the password
    }
    let spool = door.spool.as_ref().and_then(|path| Spool::open_existing(path).ok());
    let mailbox = accounts::own_mailbox(name);
    spool
        .zip(mailbox)
        .is_some_and(|(spool, mailbox)| usage(&spool, mailbox.as_str()).is_ok_and(|usage| usage.messages > 0))
}

/// Adds an account, as `restante user add` does.
fn sign_up(door: &SignUp, terminal: &mut Terminal) {
    let language = terminal.language();
    let Some(typed) = terminal.prompt_with_default(strings::USER.text(language), "") else { return };
    let domains = match (door.domains.as_slice(), typed.rsplit_once('@')) {
        ([], Some((_, domain))) => vec![fold_domain(domain).unwrap_or_default()],
        (domains, _) => domains.to_vec(),
    };
    let name = match accounts::account_name(&typed, &domains) {
        Ok(name) => name,
        Err(error) => return terminal.print_localized(strings::NOT_SIGNED_UP, &[&error]),
    };
    if has_former_mail(door, &name) {
        let why = "its mailbox has the mail of a former account; ask the operator";
        return terminal.print_localized(strings::NOT_SIGNED_UP, &[&why]);
    }
    let first = terminal.prompt_secret(strings::PASSWORD.text(language));
    let second = terminal.prompt_secret(strings::REPEAT_PASSWORD.text(language));
    match (first, second) {
        (Some(first), Some(second)) if first == second && !first.reveal().is_empty() => {
            match door.users.add(&name, None, first.reveal()) {
                Ok(()) => terminal.print_localized(strings::SIGNED_UP, &[&name]),
                Err(error) => terminal.print_localized(strings::NOT_SIGNED_UP, &[&error]),
            }
        }
        _ => terminal.print_localized(strings::PASSWORDS_DIFFER, &[]),
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
                self.terminal.show(words.text(language));
            }
            let choice = self.terminal.prompt(strings::MENU_PROMPT.text(language));
            let done = match choice.as_deref().map(str::trim) {
                Some("1") => self.browse_inbox(),
                Some("2") => self.write(None),
                Some("3") => self.browse_sent(),
                Some("4") => self.refresh(),
                Some("q" | "0") | None => return Ok(self.quit()),
                Some("") => Ok(()),
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
        while self.terminal.confirm(question, true) {
            match self.open_as(&self.user.clone(), known.clone()) {
                Ok(inbox) => {
                    self.inbox = inbox;
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
        let mut pop3 = open(self.config, self.terminal)?;
        pop3.log_in(user, &self.password)?;
        Folder::open(pop3, known)
    }

    /// Ends the session and begins another, because a session shows the messages present when it began.
    fn refresh(&mut self) -> Result<(), ClientError> {
        let known = self.inbox.summary_cache();
        match mem::replace(&mut self.inbox, Folder::disconnected()).close() {
            Ok(0) => {}
            Ok(deleted) => self.terminal.print_localized(strings::DELETED_SOME, &[&deleted]),
            Err(error) => {
                let told = error.describe(self.terminal.language());
                self.terminal.print_localized(strings::NOT_ALL_DELETED, &[&told]);
            }
        }
        self.inbox = self.open_as(&self.user.clone(), known)?;
        Ok(())
    }

    fn browse_inbox(&mut self) -> Result<(), ClientError> {
        let mut inbox = mem::replace(&mut self.inbox, Folder::disconnected());
        let done = self.browse(&mut inbox, AddressColumn::From);
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

const MENU: [strings::LocalizedText; 5] =
    [strings::MENU_INBOX, strings::MENU_WRITE, strings::MENU_SENT, strings::MENU_AGAIN, strings::MENU_QUIT];
/// Login attempts.
const ATTEMPTS: u32 = 3;
/// The IMPLEMENTATION of our own server in CAPA, and its folder of sent messages.
const OWN_IMPLEMENTATION: &str = "restante";
const SENT_FOLDER: &str = "Sent";
