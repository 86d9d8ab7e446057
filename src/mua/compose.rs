//! Composing a message, question by question, and sending it.

use std::time::SystemTime;

use super::{
    app::App, message_view::MessageView, sent_folder::SentFolder, terminal::Terminal, typed_path::expand_home,
};
use crate::{
    client::{
        ClientError, display,
        outgoing::{Attachment, OutgoingMessage, Person},
        own_address::own_address,
        reply_help,
        smtp::{Reply, Smtp},
        strings,
        submit::{Refusal, Submission, SubmitOutcome, submit},
    },
    language::LocalizedText,
};

/// The outcome of one attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendResult {
    /// Accepted by the server, after a login.
    Authenticated,
    /// Accepted by the server, without a login.
    Anonymous,
    /// Refused by the server, or cancelled by the user.
    NotSent,
}

impl App<'_> {
    /// Asks for a message and sends it. A failure here does not end the session of the inbox.
    pub(crate) fn write(&mut self, answered: Option<&MessageView>) -> Result<(), ClientError> {
        let from = match self.from() {
            Ok(from) => from,
            Err(error) => {
                self.show_error(&error);
                return Ok(());
            }
        };
        let Some(letter) = from.and_then(|from| self.compose(from, answered)) else {
            self.terminal.print_localized(strings::NOT_SENT, &[]);
            return Ok(());
        };
        let message = letter.build(SystemTime::now(), (self.config.random)());
        let size = self.terminal.language().size(message.len() as u64);
        self.terminal.print_localized(strings::SUMMARY, &[&letter.recipients().len(), &size]);
        let language = self.terminal.language();
        if !self.terminal.confirm(strings::CONFIRM_SEND.text(language), true) {
            self.terminal.print_localized(strings::NOT_SENT, &[]);
            return Ok(());
        }
        loop {
            match self.send(&letter, &message) {
                Ok(SendResult::NotSent) => return Ok(()),
                Ok(sent) => {
                    self.save_sent_copy(&message, sent);
                    return Ok(());
                }
                Err(error) => self.show_error(&error),
            }
            if !self.terminal.confirm(strings::TRY_AGAIN.text(language), true) {
                self.terminal.print_localized(strings::NOT_SENT, &[]);
                return Ok(());
            }
        }
    }

    fn send(&mut self, letter: &OutgoingMessage, message: &[u8]) -> Result<SendResult, ClientError> {
        let (mut smtp, is_user) = self.open_smtp()?;
        let recipients = letter.recipients();
        let submission = Submission { from: &letter.from.address, recipients: &recipients, message };
        let terminal = &mut *self.terminal;
        let outcome = submit(&mut smtp, &submission, |refusals| {
            show_refusals(terminal, refusals);
            terminal.confirm(strings::SEND_TO_REST.text(terminal.language()), true)
        })?;
        smtp.quit();
        Ok(match (show_outcome(terminal, &outcome), is_user) {
            (false, _) => SendResult::NotSent,
            (true, true) => SendResult::Authenticated,
            (true, false) => SendResult::Anonymous,
        })
    }

    /// Opens a session with the login of the inbox if the server offers one; true if it does.
    fn open_smtp(&self) -> Result<(Smtp, bool), ClientError> {
        let mut smtp = Smtp::open(&self.config.smtp, None, self.config.observe())?;
        let is_user = smtp.can_log_in();
        if is_user {
            let reply = smtp.log_in(&self.user, &self.password)?;
            if !reply.is_done() {
                return Err(ClientError::Refused(reply));
            }
        }
        Ok((smtp, is_user))
    }

    /// Keeps a copy of a sent message, unless the server does.
    fn save_sent_copy(&mut self, message: &[u8], sent: SendResult) {
        if sent == SendResult::Authenticated && self.server_saves_sent {
            return self.terminal.print_localized(strings::COPY_ON_SERVER, &[]);
        }
        let Some(directory) = &self.config.sent_dir else { return };
        match SentFolder::save(
            directory,
            &self.identity(),
            message,
            SystemTime::now(),
            (self.config.random)(),
        ) {
            Ok(()) => self.terminal.print_localized(strings::COPY_HERE, &[]),
            Err(error) => self.terminal.print_localized(strings::NO_COPY, &[&error]),
        }
    }

    /// Asks for all parts of a message; `None` if the user gives up (Ctrl-D).
    fn compose(&mut self, from: Person, answered: Option<&MessageView>) -> Option<OutgoingMessage> {
        let language = self.terminal.language();
        let mut letter = OutgoingMessage::from(from);
        let (mut to, mut subject) = (String::new(), String::new());
        if let Some(view) = answered {
            if view.all_reply_to > view.reply_to.len() {
                let (all, offered) = (view.all_reply_to, view.reply_to.len());
                self.terminal.print_localized(strings::REPLY_TO_CUT, &[&all, &offered]);
            }
            to = view.reply_to.iter().map(Person::to_string).collect::<Vec<_>>().join(", ");
            let is_reply = view.subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
            subject = if is_reply { view.subject.clone() } else { format!("Re: {}", view.subject) };
            letter.in_reply_to = view.in_reply_to.clone();
        }
        loop {
            letter.to = self.ask_recipients(strings::ASK_TO, &to)?;
            letter.cc = self.ask_recipients(strings::ASK_CC, "")?;
            letter.bcc = self.ask_recipients(strings::ASK_BCC, "")?;
            if !letter.recipients().is_empty() {
                break;
            }
            self.terminal.print_localized(strings::NOBODY, &[]);
        }
        letter.subject = self.terminal.prompt_with_default(strings::ASK_SUBJECT.text(language), &subject)?;
        loop {
            let typed = self.terminal.prompt_with_default(strings::ASK_ATTACH.text(language), "")?;
            if typed.is_empty() {
                break;
            }
            match Attachment::read(&expand_home(&typed)) {
                Ok(file) => {
                    let size = language.size(file.content.len() as u64);
                    self.terminal.print_localized(strings::ATTACHED, &[&file.name, &file.kind, &size]);
                    letter.attachments.push(file);
                }
                Err(error) => self.terminal.print_localized(strings::NOT_ATTACHED, &[&typed, &error]),
            }
        }
        self.terminal.print_localized(strings::ASK_TEXT, &[]);
        letter.text = self.terminal.read_text();
        if let Some(view) = answered {
            letter.text += &self.quote(view);
        }
        Some(letter)
    }

    /// The answered message as a quotation below the reply.
    fn quote(&self, view: &MessageView) -> String {
        let Some(writer) = &view.writer else { return String::new() };
        let mut quoted = format!("\n{}\n", self.terminal.localize(strings::REPLY_QUOTES, &[writer]));
        for line in view.text.trim_end().lines() {
            quoted += &format!("{}{line}\n", if line.starts_with('>') { ">" } else { "> " });
        }
        quoted
    }

    /// The From address: the login name, or an address asked for once.
    fn from(&mut self) -> Result<Option<Person>, ClientError> {
        if self.from.is_some() {
            return Ok(self.from.clone());
        }
        let own = self.own_address()?;
        let own_domain = own.as_deref().and_then(|own| own.rsplit_once('@')).map(|(_, domain)| domain);
        let prompt = strings::ASK_FROM_ONCE.text(self.terminal.language());
        while self.from.is_none() {
            let offered = own.as_deref().unwrap_or_default();
            let Some(typed) = self.terminal.prompt_with_default(prompt, offered) else { return Ok(None) };
            match Person::parse_list(&typed).as_deref() {
                Ok([one]) if one.address.contains('@') => self.from = Some(one.clone()),
                Ok([one]) if own_domain.is_some() => {
                    let address = format!("{}@{}", one.address, own_domain.unwrap_or_default());
                    self.from = Some(Person { address, ..one.clone() });
                }
                _ => self.terminal.print_localized(strings::BAD_ADDRESS, &[&typed]),
            }
        }
        Ok(self.from.clone())
    }

    /// The address of a login name without a domain, if the server takes mail for one.
    fn own_address(&self) -> Result<Option<String>, ClientError> {
        let (mut smtp, _) = self.open_smtp()?;
        let own = own_address(&mut smtp, &self.user, (&self.config.domains, &self.config.smtp.server))?;
        smtp.quit();
        Ok(own)
    }

    fn ask_recipients(&mut self, words: LocalizedText, offered: &str) -> Option<Vec<Person>> {
        loop {
            let typed = self.terminal.prompt_with_default(words.text(self.terminal.language()), offered)?;
            match Person::parse_list(&typed) {
                Ok(people) => return Some(people),
                Err(wrong) => self.terminal.print_localized(strings::BAD_ADDRESS, &[&wrong]),
            }
        }
    }
}

/// Lists the refused recipients with the reasons.
fn show_refusals(terminal: &mut Terminal, refusals: &[Refusal<'_>]) {
    for (recipient, reply) in refusals {
        let why = reply_help::explain_smtp(reply, terminal.language());
        terminal.print_localized(strings::REFUSED_FOR, &[recipient, &why]);
    }
}

/// Reports the outcome. Returns true if at least one recipient gets the message.
fn show_outcome(terminal: &mut Terminal, outcome: &SubmitOutcome<'_>) -> bool {
    let explained = |reply: &Reply| reply_help::explain_smtp(reply, terminal.language());
    match outcome {
        SubmitOutcome::Replied(reply, _) if reply.is_done() => {
            let why = explained(reply);
            terminal.print_localized(strings::SENT_DONE, &[&why]);
        }
        SubmitOutcome::Replied(reply, _) | SubmitOutcome::Refused(reply) => {
            let why = explained(reply);
            terminal.print_wrapped(&display::printable_line(&why));
        }
        SubmitOutcome::NoRecipient(refusals) => show_refusals(terminal, refusals),
        SubmitOutcome::Cancelled => {}
    }
    if !outcome.is_sent() {
        terminal.print_localized(strings::NOT_SENT, &[]);
    }
    outcome.is_sent()
}
