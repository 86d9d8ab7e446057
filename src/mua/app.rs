//! `restante client`: one interactive session, from the login to the goodbye.
//!
//! The rule: every question and answer is a line, and no error loses work: after a server's failure the user
//! is asked again.

use std::{mem, path::PathBuf, time::SystemTime};

use super::{
    browse::Shown,
    compose::Sent,
    folder::{Folder, Known},
    sent_folder::Copies,
    terminal::Terminal,
};
use crate::client::{Route, Trouble, outgoing::Person, pop3::Pop3, reply_help, strings};
use crate::{
    accounts::{self, UserFile},
    proto::request::Secret,
};

/// The settings of an interactive session.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The server that takes mail.
    pub smtp: Route,
    /// The server that mail is read from.
    pub pop3: Route,
    /// User name, if given on the command line.
    pub user: Option<String>,
    /// Sign-up, if the server's accounts are at hand.
    pub door: Option<Door>,
    /// Directory for copies of sent messages, if the server keeps none.
    pub copies: Option<PathBuf>,
    /// Source of unpredictable numbers.
    pub random: fn() -> u64,
}

/// Sign-up of new users.
#[derive(Debug)]
pub(crate) struct Door {
    /// The accounts.
    pub users: UserFile,
    /// Domains that an account may have; any if empty.
    pub domains: Vec<String>,
}

/// The end of an interactive session.
#[derive(Debug)]
pub(crate) enum End {
    /// The user quit.
    Well,
    /// All login attempts failed, for this last reason.
    Unknown(String),
}

/// An interactive session.
pub(crate) struct Visit<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) terminal: &'a mut Terminal,
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// The From address, once it is known.
    pub(crate) from: Option<Person>,
    /// True if the server files sent messages in a folder that this client can read.
    files_sent: bool,
    inbox: Folder,
}

/// Runs an interactive session.
///
/// # Errors
/// The server cannot be reached, or the connection broke and the user gave up.
pub(crate) fn run(plan: &Plan, terminal: &mut Terminal) -> Result<End, Trouble> {
    terminal.say(strings::WELCOME, &[&plan.smtp.place, &plan.pop3.place]);
    if let Some(door) = &plan.door {
        loop {
            match terminal.ask(strings::DOOR.text(terminal.language())).as_deref().map(str::trim) {
                Some("1" | "") => break,
                Some("2") => sign_up(door, terminal),
                Some("q") | None => return Ok(End::Well),
                Some(other) => terminal.say(strings::NO_SUCH_CHOICE, &[&other]),
            }
        }
    }
    for route in [&plan.pop3, &plan.smtp] {
        if route.exposes_passwords() {
            let question = terminal.filled(strings::SEND_EXPOSED, &[&route.place]);
            if !terminal.confirms(&question, false) {
                return Ok(End::Well);
            }
        }
    }
    let (user, password, pop3) = match log_in(plan, terminal)? {
        Login::Done(user, password, pop3) => (user, password, pop3),
        Login::Refused(why) => return Ok(End::Unknown(why)),
        Login::GivenUp => return Ok(End::Well),
    };
    let from = user.contains('@').then(|| Person::at(user.clone()));
    let files_sent = pop3.implementation() == Some(OURS) && plan.smtp.place.host == plan.pop3.place.host;
    let inbox = Folder::at(pop3, Known::default())?;
    Visit { plan, terminal, user, password, from, files_sent, inbox }.menu()
}

enum Login {
    Done(String, Secret, Pop3),
    Refused(String),
    GivenUp,
}

fn log_in(plan: &Plan, terminal: &mut Terminal) -> Result<Login, Trouble> {
    let language = terminal.language();
    let mut name = plan.user.clone().unwrap_or_default();
    for left in (0..ATTEMPTS).rev() {
        // Connects first, so that an unreachable server is reported before the password is asked for.
        let mut pop3 = open(plan, terminal)?;
        let asked = terminal.ask_or(strings::USER.text(language), &name).filter(|name| !name.is_empty());
        let Some(user) = asked else { return Ok(Login::GivenUp) };
        let Some(password) = terminal.ask_secret(strings::PASSWORD.text(language)) else {
            return Ok(Login::GivenUp);
        };
        let denial = match pop3.log_in(&user, &password) {
            Ok(()) => return Ok(Login::Done(user, password, pop3)),
            Err(Trouble::Denied(denial)) => denial,
            Err(trouble) => return Err(trouble),
        };
        pop3.leave();
        let why = reply_help::pop3(&denial, language);
        if left == 0 {
            return Ok(Login::Refused(terminal.filled(strings::NO_MORE_ATTEMPTS, &[&why])));
        }
        terminal.say(strings::ATTEMPTS_LEFT, &[&why, &left]);
        name = user;
    }
    Ok(Login::GivenUp)
}

fn open(plan: &Plan, terminal: &Terminal) -> Result<Pop3, Trouble> {
    let mut pop3 = Pop3::open(&plan.pop3, None)?;
    pop3.speak(terminal.language().tag())?;
    Ok(pop3)
}

/// Adds an account, as `restante user add` does.
fn sign_up(door: &Door, terminal: &mut Terminal) {
    let language = terminal.language();
    let Some(typed) = terminal.ask_or(strings::USER.text(language), "") else { return };
    let domains = match (door.domains.as_slice(), typed.rsplit_once('@')) {
        ([], Some((_, domain))) => vec![domain.to_ascii_lowercase()],
        (domains, _) => domains.to_vec(),
    };
    let name = match accounts::name(&typed, &domains) {
        Ok(name) => name,
        Err(error) => return terminal.say(strings::NOT_SIGNED_UP, &[&error]),
    };
    let first = terminal.ask_secret(strings::PASSWORD.text(language));
    let second = terminal.ask_secret(strings::REPEAT_PASSWORD.text(language));
    match (first, second) {
        (Some(first), Some(second)) if first == second && !first.reveal().is_empty() => {
            match door.users.add(&name, first.reveal()) {
                Ok(()) => terminal.say(strings::SIGNED_UP, &[&name]),
                Err(error) => terminal.say(strings::NOT_SIGNED_UP, &[&error]),
            }
        }
        _ => terminal.say(strings::PASSWORDS_DIFFER, &[]),
    }
}

impl Visit<'_> {
    fn menu(mut self) -> Result<End, Trouble> {
        loop {
            let (here, marked) = (self.inbox.entries.len(), self.inbox.marked());
            let title = self.terminal.filled(strings::MENU_TITLE, &[&self.user, &here, &marked]);
            self.terminal.show("");
            self.terminal.title(&title);
            let language = self.terminal.language();
            for words in MENU {
                self.terminal.show(words.text(language));
            }
            let choice = self.terminal.ask(strings::MENU_PROMPT.text(language));
            let done = match choice.as_deref().map(str::trim) {
                Some("1") => self.browse_inbox(),
                Some("2") => self.write(None),
                Some("3") => self.browse_sent(),
                Some("4") => self.look_again(),
                Some("q" | "0") | None => return Ok(self.leave()),
                Some("") => Ok(()),
                Some(other) => {
                    self.terminal.say(strings::NO_SUCH_CHOICE, &[&other]);
                    Ok(())
                }
            };
            if let Err(trouble) = done {
                self.tell(&trouble);
                let gone = trouble.is_lost() || !self.inbox.is_somewhere();
                if gone && !self.reconnect() {
                    return Err(trouble);
                }
            }
        }
    }

    pub(crate) fn tell(&mut self, trouble: &Trouble) {
        let told = crate::client::display::line(&trouble.tell(self.terminal.language()));
        self.terminal.tell(&told);
    }

    /// Opens the inbox in a new session, as often as the user wants to try. The marks of the old session are
    /// gone.
    fn reconnect(&mut self) -> bool {
        let question = strings::RECONNECT.text(self.terminal.language());
        let known = self.inbox.known();
        self.inbox = Folder::nowhere(); // the server locks a mailbox for one session
        while self.terminal.confirms(question, true) {
            match self.open_as(&self.user.clone(), known.clone()) {
                Ok(inbox) => {
                    self.inbox = inbox;
                    self.terminal.say(strings::MARKS_LOST, &[]);
                    return true;
                }
                Err(trouble) => self.tell(&trouble),
            }
        }
        false
    }

    /// Opens another session with the same password.
    fn open_as(&mut self, user: &str, known: Known) -> Result<Folder, Trouble> {
        let mut pop3 = open(self.plan, self.terminal)?;
        pop3.log_in(user, &self.password)?;
        Folder::at(pop3, known)
    }

    /// Ends the session and begins another, because a session shows the messages present when it began.
    fn look_again(&mut self) -> Result<(), Trouble> {
        let known = self.inbox.known();
        match mem::replace(&mut self.inbox, Folder::nowhere()).close() {
            Ok(0) => {}
            Ok(deleted) => self.terminal.say(strings::DELETED_SOME, &[&deleted]),
            Err(trouble) => {
                let told = trouble.tell(self.terminal.language());
                self.terminal.say(strings::NOT_ALL_DELETED, &[&told]);
            }
        }
        self.inbox = self.open_as(&self.user.clone(), known)?;
        Ok(())
    }

    fn browse_inbox(&mut self) -> Result<(), Trouble> {
        let mut inbox = mem::replace(&mut self.inbox, Folder::nowhere());
        let done = self.browse(&mut inbox, Shown::Writer);
        self.inbox = inbox;
        done
    }

    /// Shows the sent messages: the server's folder, else the local copies.
    fn browse_sent(&mut self) -> Result<(), Trouble> {
        if self.files_sent {
            let sent = match self.user.rsplit_once('@') {
                Some((local, domain)) => format!("{local}+{SENT}@{domain}"),
                None => format!("{}+{SENT}", self.user),
            };
            match self.open_as(&sent, Known::default()) {
                Ok(mut sent) if !sent.entries.is_empty() => {
                    let done = self.browse(&mut sent, Shown::Reader);
                    sent.close()?;
                    return done;
                }
                Ok(empty) => {
                    empty.close()?;
                }
                Err(Trouble::Denied(_)) => {} // the folder does not exist yet
                Err(trouble) => return Err(trouble),
            }
        }
        let copies = match &self.plan.copies {
            Some(directory) => Copies::open(directory, &self.who()).map_err(Trouble::Disk)?,
            None => Copies::default(),
        };
        self.browse(&mut Folder::of_copies(copies), Shown::Reader)
    }

    /// Keeps a copy of a sent message, unless the server does.
    pub(crate) fn keep(&mut self, message: &[u8], sent: Sent) {
        if sent == Sent::AsUser && self.files_sent {
            return self.terminal.say(strings::COPY_ON_SERVER, &[]);
        }
        let Some(directory) = &self.plan.copies else { return };
        match Copies::keep(directory, &self.who(), message, SystemTime::now(), (self.plan.random)()) {
            Ok(()) => self.terminal.say(strings::COPY_HERE, &[]),
            Err(error) => self.terminal.say(strings::NO_COPY, &[&error]),
        }
    }

    /// The key of the local copies. It has the server, because the same name elsewhere is another user.
    fn who(&self) -> String {
        format!("{}_{}", self.user, self.plan.smtp.place)
    }

    fn leave(self) -> End {
        let language = self.terminal.language();
        match self.inbox.close() {
            Ok(0) => self.terminal.say(strings::DELETED_NOTHING, &[]),
            Ok(deleted) => self.terminal.say(strings::DELETED_SOME, &[&deleted]),
            Err(trouble) => self.terminal.say(strings::NOT_ALL_DELETED, &[&trouble.tell(language)]),
        }
        self.terminal.say(strings::GOODBYE, &[]);
        End::Well
    }
}

const MENU: [strings::Words; 5] =
    [strings::MENU_INBOX, strings::MENU_WRITE, strings::MENU_SENT, strings::MENU_AGAIN, strings::MENU_QUIT];
/// Login attempts.
const ATTEMPTS: u32 = 3;
/// The IMPLEMENTATION of our own server in CAPA, and its folder of sent messages.
const OURS: &str = "restante";
const SENT: &str = "Sent";
