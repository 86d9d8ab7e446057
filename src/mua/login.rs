//! The login of `restante client`, and the sign-up before it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    app::{AppConfig, SignUp},
    inbound::{LoginRefusal, Session},
    terminal::Terminal,
};
use crate::{
    accounts,
    client::{ClientError, strings},
    maildir::{Spool, usage::usage},
    proto::{request::Secret, smtp::address::fold_domain},
};

/// The result of all attempts to log in.
pub(super) enum Login {
    Done(String, Secret, Box<Session>),
    /// The server refused, for this last reason.
    Refused(String),
    /// The input ended.
    GivenUp,
    /// The person left before a login.
    Declined,
}

/// Offers the sign-up if there is one, and logs in.
pub(super) fn begin(plan: &AppConfig, terminal: &mut Terminal) -> Result<Login, ClientError> {
    let mut signed_up = None;
    if let Some(door) = &plan.sign_up {
        loop {
            match terminal.prompt(strings::DOOR.text(terminal.language())).as_deref().map(str::trim) {
                Some("1" | "") => break,
                Some("2") => signed_up = sign_up(door, terminal).or(signed_up),
                Some("q") | None => return Ok(Login::Declined),
                Some(other) => terminal.print_localized(strings::NO_SUCH_CHOICE, &[&other]),
            }
        }
    }
    for route in [&plan.reading, &plan.smtp] {
        if route.exposes_passwords() {
            let question = terminal.localize(strings::SEND_EXPOSED, &[&route.server]);
            if !terminal.confirm_or_leave(&question, false) {
                return Ok(Login::Declined);
            }
        }
    }
    log_in(plan, signed_up.as_ref(), terminal)
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
        let mut session = Session::open(plan, terminal)?;
        let typed = if left + 1 == ATTEMPTS {
            ask_credentials(plan.user.clone(), &name, terminal)
        } else {
            ask_again(&name, terminal)
        };
        let Some((user, password)) = typed else { return Ok(Login::GivenUp) };
        if let Some(account) = signed_up.filter(|account| account.is_for(&user)) {
            let is_logged_in;
            (session, is_logged_in) = account.log_in(session, (&user, &password), plan, terminal)?;
            if is_logged_in {
                return Ok(Login::Done(user, password, Box::new(session)));
            }
        }
        let why = loop {
            let LoginRefusal { why, is_about_login } = match session.log_in(&user, &password, terminal)? {
                Ok(()) => {
                    session.show_remark(terminal);
                    return Ok(Login::Done(user, password, Box::new(session)));
                }
                Err(refusal) => refusal,
            };
            session.end_quietly();
            if is_about_login {
                break why;
            }
            // Nothing that was typed is wrong, so nothing is asked for again.
            if !terminal.is_interactive() {
                return Ok(Login::Refused(why));
            }
            terminal.print_localized(strings::NOT_NOW, &[&why]);
            if !terminal.confirm_or_leave(strings::TRY_AGAIN.text(language), true) {
                return Ok(Login::GivenUp);
            }
            session = Session::open(plan, terminal)?;
        };
        if left == 0 {
            return Ok(Login::Refused(terminal.localize(strings::NO_MORE_ATTEMPTS, &[&why])));
        }
        terminal.print_localized(strings::ATTEMPTS_LEFT, &[&why, &left]);
        name = user;
    }
    Ok(Login::GivenUp)
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

/// Asks for the name, unless it is given, and for the password; `None` at the end of the input.
fn ask_credentials(
    named: Option<String>,
    offered: &str,
    terminal: &mut Terminal,
) -> Option<(String, Secret)> {
    let user = match named {
        Some(user) => user,
        None => ask_name(offered, terminal)?,
    };
    let password = terminal.prompt_secret(strings::PASSWORD.text(terminal.language()))?;
    Some((user, password))
}

/// Asks for the password of a refused name again, and for another name if the answer is empty. At a question for the name,
/// a password that is typed at once would be shown, and logged as a name.
fn ask_again(name: &str, terminal: &mut Terminal) -> Option<(String, Secret)> {
    let prompt = terminal.localize(strings::PASSWORD_AGAIN, &[&name]);
    let password = terminal.prompt_secret(&prompt)?;
    if password.reveal().is_empty() {
        return ask_credentials(None, name, terminal);
    }
    Some((name.to_owned(), password))
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
        let why = strings::FORMER_MAIL.text(language);
        terminal.print_localized(strings::NOT_SIGNED_UP, &[&why]);
        return None;
    }
    if let Some(error) = lost_accounts(door) {
        terminal.print_localized(strings::NOT_SIGNED_UP, &[&error]);
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

/// The refusal to begin a new file of accounts beside a server, which has read the one that is gone.
fn lost_accounts(door: &SignUp) -> Option<accounts::Error> {
    let spool = Spool::open_existing(door.spool.as_ref()?).ok()?;
    match door.users.users() {
        Err(accounts::Error::Missing(path)) if spool.is_in_use() => {
            Some(accounts::Error::Gone { path, in_force: None })
        }
        _ => None,
    }
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
        mut session: Session,
        (user, password): (&str, &Secret),
        plan: &AppConfig,
        terminal: &mut Terminal,
    ) -> Result<(Session, bool), ClientError> {
        let left = self.known_by.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            let seconds = left.as_secs() + 1;
            terminal.print_localized(strings::WAIT_FOR_ACCOUNT, &[&self.name, &seconds]);
            thread::sleep(left);
        }
        // Reading takes a moment, longer on a busy machine.
        for _ in 0..GRACE_ATTEMPTS {
            if session.log_in(user, password, terminal)?.is_ok() {
                return Ok((session, true));
            }
            session.end_quietly();
            thread::sleep(GRACE);
            session = Session::open(plan, terminal)?;
        }
        Ok((session, false))
    }
}

/// Logins to a new account after the server should know it, and the time between them.
const GRACE_ATTEMPTS: u32 = 3;
const GRACE: Duration = Duration::from_secs(1);
/// Login attempts.
const ATTEMPTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{accounts::UserFile, maildir::lock::LockMode};

    #[test]
    fn n157_a_sign_up_begins_no_new_file_beside_a_server() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("spool");
        let spool = Spool::open(&path).unwrap();
        let users = UserFile::at(home.path().join("users.json"));
        let reload_interval = Duration::ZERO;
        let door = SignUp { users, domains: Vec::new(), spool: Some(path), reload_interval };
        assert!(lost_accounts(&door).is_none(), "no server runs");
        let _lock = spool.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
        let told = lost_accounts(&door).unwrap().to_string();
        assert!(told.contains("users.json is gone: put it back"), "{told}");
        std::fs::write(home.path().join("users.json"), "{}").unwrap();
        assert!(lost_accounts(&door).is_none());
    }
}
