//! `restante client`: one interactive session, from the login to the goodbye.
//!
//! The rule: every question and answer is a line, and no error loses work: after a server's failure the user
//! is asked again.

use std::{
    mem, thread,
    time::{Duration, Instant},
};

use super::{
    app::{App, AppConfig, SignUp},
    folder::{Folder, SummaryCache},
    sent_folder::SentFolder,
    table::AddressColumn,
    terminal::Terminal,
};
use crate::{
    accounts,
    client::{ClientError, outgoing::Person, pop3::Pop3, reply_help, strings},
    language::LocalizedText,
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
    /// The input ended before a login, and it is no terminal.
    NoInput,
}

/// Runs an interactive session.
///
/// # Errors
/// The server cannot be reached, or the connection broke and the user gave up.
pub(crate) fn run(plan: &AppConfig, terminal: &mut Terminal) -> Result<ExitReason, ClientError> {
    terminal.print_localized(strings::WELCOME, &[&plan.smtp.server, &plan.pop3.server]);
    let mut signed_up = None;
    if let Some(door) = &plan.sign_up {
        loop {
            match terminal.prompt(strings::DOOR.text(terminal.language())).as_deref().map(str::trim) {
                Some("1" | "") => break,
                Some("2") => signed_up = sign_up(door, terminal).or(signed_up),
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
    let (user, password, pop3) = match log_in(plan, signed_up.as_ref(), terminal)? {
        Login::Done(user, password, pop3) => (user, password, pop3),
        Login::Refused(why) => return Ok(ExitReason::LoginFailed(why)),
        Login::GivenUp if !terminal.is_interactive() => return Ok(ExitReason::NoInput),
        Login::GivenUp => {
            terminal.print_localized(strings::GOODBYE, &[]);
            return Ok(ExitReason::Normal);
        }
    };
    let from = user.contains('@').then(|| Person::address_only(user.clone()));
    let saves_sent =
        pop3.implementation() == Some(OWN_IMPLEMENTATION) && plan.smtp.server.host == plan.pop3.server.host;
    let inbox = Folder::open(pop3, SummaryCache::default())?;
    let mut app = App { config: plan, terminal, user, password, from, server_saves_sent: saves_sent, inbox };
    if let Some(read) = app.read_ids() {
        app.inbox.mark_new(&read.load());
    }
    app.run_menu()
}

enum Login {
    Done(String, Secret, Pop3),
    Refused(String),
    GivenUp,
}

fn log_in(
    plan: &AppConfig,
    signed_up: Option<&NewAccount>,
    terminal: &mut Terminal,
) -> Result<Login, ClientError> {
    let language = terminal.language();
    let signed_up_name = signed_up.map(|account| account.name.clone());
    let mut name = plan.user.clone().or(signed_up_name).unwrap_or_default();
    for left in (0..ATTEMPTS).rev() {
        // Connects first, so that an unreachable server is reported before the password is asked for.
        let mut pop3 = open(plan, terminal)?;
        let named = plan.user.clone().filter(|_| left + 1 == ATTEMPTS);
        let Some(user) = named.or_else(|| ask_name(&name, terminal)) else { return Ok(Login::GivenUp) };
        let Some(password) = terminal.prompt_secret(strings::PASSWORD.text(language)) else {
            return Ok(Login::GivenUp);
        };
        if let Some(account) = signed_up.filter(|account| account.is_for(&user)) {
            let is_logged_in;
            (pop3, is_logged_in) = account.log_in(pop3, (&user, &password), plan, terminal)?;
            if is_logged_in {
                return Ok(Login::Done(user, password, pop3));
            }
        }
        let why = loop {
            let denial = match pop3.log_in(&user, &password) {
                Ok(()) => return Ok(Login::Done(user, password, pop3)),
                Err(ClientError::Denied(denial)) => denial,
                Err(error) => return Err(error),
            };
            pop3.quit_quietly();
            let why = reply_help::explain_pop3(&denial, language);
            if denial.is_about_login() {
                break why;
            }
            // Nothing that was typed is wrong, so nothing is asked for again.
            if !terminal.is_interactive() {
                return Ok(Login::Refused(why));
            }
            terminal.print_localized(strings::NOT_NOW, &[&why]);
            if !terminal.confirm(strings::TRY_AGAIN.text(language), true) {
                return Ok(Login::GivenUp);
            }
            pop3 = open(plan, terminal)?;
        };
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

/// Asks for the login name until one is typed; `None` at the end of the input.
fn ask_name(offered: &str, terminal: &mut Terminal) -> Option<String> {
    loop {
        let prompt = strings::USER.text(terminal.language());
        let typed = terminal.prompt_with_default(prompt, offered)?;
        if !typed.is_empty() {
            return Some(typed);
        }
        terminal.print_localized(strings::NO_NAME, &[]);
    }
}

/// Adds an account, as `restante user add` does.
fn sign_up(door: &SignUp, terminal: &mut Terminal) -> Option<NewAccount> {
    let language = terminal.language();
    let typed = terminal.prompt_with_default(strings::USER.text(language), "")?;
    let domains = match (door.domains.as_slice(), typed.rsplit_once('@')) {
        ([], Some((_, domain))) => vec![fold_domain(domain).unwrap_or_default()],
        (domains, _) => domains.to_vec(),
    };
    let name = match accounts::account_name(&typed, &domains) {
        Ok(name) => name,
        Err(error) => {
            terminal.print_localized(strings::NOT_SIGNED_UP, &[&error]);
            return None;
        }
    };
    if has_former_mail(door, &name) {
        let why = "its mailbox has the mail of a former account; ask the operator";
        terminal.print_localized(strings::NOT_SIGNED_UP, &[&why]);
        return None;
    }
    let first = terminal.prompt_secret(strings::PASSWORD.text(language));
    let second = terminal.prompt_secret(strings::REPEAT_PASSWORD.text(language));
    match (first, second) {
        (Some(first), Some(second)) if first == second && !first.reveal().is_empty() => {
            match door.users.add(&name, None, first.reveal()) {
                Ok(()) => {
                    terminal.print_localized(strings::SIGNED_UP, &[&name]);
                    return Some(NewAccount { name, known_by: Instant::now() + door.reload_interval });
                }
                Err(error) => terminal.print_localized(strings::NOT_SIGNED_UP, &[&error]),
            }
        }
        _ => terminal.print_localized(strings::PASSWORDS_DIFFER, &[]),
    }
    None
}

/// An account that was added a moment ago. A running server reads its accounts only now and then.
struct NewAccount {
    name: String,
    /// The server has read the accounts by then.
    known_by: Instant,
}

impl NewAccount {
    fn is_for(&self, user: &str) -> bool {
        let user = user.to_lowercase();
        self.name == user || self.name.split_once('@').is_some_and(|(local, _)| local == user)
    }

    /// Waits until the server has read the accounts, and then logs in, so that no attempt is spent on an account that the
    /// server cannot know. Returns a session, and whether it is logged in: the server may refuse even then.
    fn log_in(
        &self,
        mut pop3: Pop3,
        (user, password): (&str, &Secret),
        plan: &AppConfig,
        terminal: &mut Terminal,
    ) -> Result<(Pop3, bool), ClientError> {
        let left = self.known_by.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            let seconds = left.as_secs() + 1;
            terminal.print_localized(strings::WAIT_FOR_ACCOUNT, &[&self.name, &seconds]);
            thread::sleep(left);
        }
        // Reading takes a moment, longer on a busy machine.
        for _ in 0..GRACE_ATTEMPTS {
            match pop3.log_in(user, password) {
                Err(ClientError::Denied(_)) => {}
                done => return done.map(|()| (pop3, true)),
            }
            pop3.quit_quietly();
            thread::sleep(GRACE);
            pop3 = open(plan, terminal)?;
        }
        Ok((pop3, false))
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
        let mut pop3 = open(self.config, self.terminal)?;
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
/// Logins to a new account after the server should know it, and the time between them.
const GRACE_ATTEMPTS: u32 = 3;
const GRACE: Duration = Duration::from_secs(1);
/// Login attempts.
const ATTEMPTS: u32 = 3;
/// The IMPLEMENTATION of our own server in CAPA, and its folder of sent messages.
const OWN_IMPLEMENTATION: &str = "restante";
const SENT_FOLDER: &str = "Sent";
