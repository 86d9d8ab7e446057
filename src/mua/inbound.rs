//! The session with the server that mail is read from, by POP3 or IMAP.

use super::{
    app::{AppConfig, ReadingProtocol},
    terminal::Terminal,
};
use crate::{
    client::{ClientError, imap::Imap, pop3::Pop3, reply_help, strings},
    language::Language,
    proto::request::Secret,
};

/// A session with the server that mail is read from.
#[derive(Debug)]
pub(super) enum Session {
    Pop3(Pop3),
    Imap(Imap),
}

/// A login that the server has refused.
#[derive(Debug)]
pub(super) struct LoginRefusal {
    /// The reason, for the person.
    pub(super) why: String,
    /// True if the name or the password may be wrong.
    pub(super) is_about_login: bool,
}

impl Session {
    pub(super) fn open(plan: &AppConfig, terminal: &Terminal) -> Result<Self, ClientError> {
        match plan.protocol {
            ReadingProtocol::Pop3 => open_pop3(plan, terminal).map(Self::Pop3),
            ReadingProtocol::Imap => open_imap(plan, terminal).map(Self::Imap),
        }
    }

    /// Logs in. The outer error is that of the connection.
    pub(super) fn log_in(
        &mut self,
        user: &str,
        password: &Secret,
        terminal: &Terminal,
    ) -> Result<Result<(), LoginRefusal>, ClientError> {
        let done = match self {
            Self::Pop3(pop3) => pop3.log_in(user, password),
            Self::Imap(imap) => imap.log_in(user, password),
        };
        let is_about_login = match &done {
            Ok(()) => return Ok(Ok(())),
            Err(ClientError::Denied(denial)) => denial.is_about_login(),
            Err(ClientError::ImapRefused(status)) => status.is_about_login(),
            Err(_) => return done.map(Ok),
        };
        let why = done.err().map(|error| error.describe(terminal.language())).unwrap_or_default();
        Ok(Err(LoginRefusal { why, is_about_login }))
    }

    /// Shows the remark of the server about the login name: a fault in it, or the mailbox that it opens.
    pub(super) fn show_remark(&mut self, terminal: &mut Terminal) {
        let remark = match self {
            Self::Pop3(pop3) => pop3.take_remark(),
            Self::Imap(imap) => imap.take_remark(),
        };
        if let Some(remark) = remark {
            let remark = reply_help::translated_remark(&remark, terminal.language());
            terminal.print_localized(strings::LOGIN_REMARK, &[&remark]);
        }
    }

    /// Ends the session, in which nothing was changed.
    pub(super) fn end_quietly(self) {
        match self {
            Self::Pop3(pop3) => pop3.quit_quietly(),
            Self::Imap(imap) => imap.log_out(),
        }
    }
}

pub(super) fn open_pop3(plan: &AppConfig, terminal: &Terminal) -> Result<Pop3, ClientError> {
    let mut pop3 = Pop3::open(&plan.reading, plan.observe())?;
    pop3.set_language(terminal.language().tag())?;
    Ok(pop3)
}

pub(super) fn open_imap(plan: &AppConfig, terminal: &Terminal) -> Result<Imap, ClientError> {
    let mut imap = Imap::open(&plan.reading, plan.observe())?;
    let language = terminal.language();
    // Servers begin in English (RFC 5255 section 3.1).
    if language != Language::English {
        imap.set_language(language.tag())?;
    }
    Ok(imap)
}

/// The name of our own server, in IMPLEMENTATION of CAPA and in ID.
pub(super) const OWN_PROGRAM: &str = "restante";
