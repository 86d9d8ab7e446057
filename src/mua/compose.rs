//! Composing a message, question by question, and sending it.

use std::{mem, time::SystemTime};

use super::{
    app::App, message_view::MessageView, sent_folder::SentFolder, terminal::Terminal, typed_path::typed_path,
    unsent::Outbound,
};
use crate::{
    client::{
        ClientError, display,
        outgoing::{Attachment, OutgoingMessage, Person},
        own_address::own_address,
        reply_help,
        smtp::Smtp,
        strings,
        submit::{Refusal, Submission, SubmitOutcome, submit},
    },
    language::LocalizedText,
};

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
        let mut outbound = Outbound::new(letter, message);
        loop {
            match self.send(&mut outbound) {
                Ok(()) if outbound.pending().is_empty() => return Ok(()),
                Ok(()) => {}
                Err(error) => self.show_error(&error),
            }
            if !self.decide_on_unsent(&mut outbound) {
                return Ok(());
            }
        }
    }

    /// Makes one attempt for the recipients that do not have the letter yet.
    fn send(&mut self, outbound: &mut Outbound) -> Result<(), ClientError> {
        outbound.refused.clear();
        let (mut smtp, is_user) = self.open_smtp()?;
        outbound.needs_login = Some(is_user);
        let recipients = outbound.pending();
        let from = &outbound.letter.from.address;
        let submission = Submission { from, recipients: &recipients, message: &outbound.message };
        let terminal = &mut *self.terminal;
        let mut refused = Vec::new();
        let outcome = submit(&mut smtp, &submission, |refusals| {
            show_refusals(terminal, refusals);
            refused = addresses(refusals);
            terminal.confirm_or_leave(strings::SEND_TO_REST.text(terminal.language()), true)
        })?;
        smtp.quit();
        if let SubmitOutcome::NoRecipient(refusals) = &outcome {
            refused = addresses(refusals);
        }
        let is_sent = show_outcome(terminal, &outcome, &recipients);
        let taken: Vec<String> = recipients.iter().map(|address| (*address).to_owned()).collect();
        if is_sent {
            outbound.sent.extend(taken.into_iter().filter(|address| !refused.contains(address)));
        }
        outbound.refused = refused;
        if is_sent && !mem::replace(&mut outbound.has_copy, true) {
            self.save_sent_copy(&outbound.message, is_user);
        }
        Ok(())
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
    fn save_sent_copy(&mut self, message: &[u8], is_user: bool) {
        if is_user && self.server_saves_sent {
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
            Err(error) => {
                self.terminal.print_localized(strings::NO_COPY, &[&self.terminal.language().reason(&error)])
            }
        }
    }

    /// Asks for all parts of a message; `None` if the user gives up (Ctrl-D).
    fn compose(&mut self, from: Person, answered: Option<&MessageView>) -> Option<OutgoingMessage> {
        let language = self.terminal.language();
        let mut letter = OutgoingMessage::from(from);
        let mut subject = String::new();
        if let Some(view) = answered {
            if view.all_reply_to > view.reply_to.len() {
                let (all, offered) = (view.all_reply_to, view.reply_to.len());
                self.terminal.print_localized(strings::REPLY_TO_CUT, &[&all, &offered]);
            }
            letter.to.clone_from(&view.reply_to);
            let is_reply = view.subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
            subject = if is_reply { view.subject.clone() } else { format!("Re: {}", view.subject) };
            letter.in_reply_to = view.in_reply_to.clone();
        }
        let mut letter = self.ask_people(Outbound::new(letter, Vec::new()))?.letter;
        letter.subject = self.terminal.prompt_with_default(strings::ASK_SUBJECT.text(language), &subject)?;
        loop {
            let typed = self.terminal.prompt_with_default(strings::ASK_ATTACH.text(language), "")?;
            if typed.is_empty() {
                break;
            }
            match Attachment::read(&typed_path(&typed)) {
                Ok(file) => {
                    let size = language.size(file.content.len() as u64);
                    self.terminal.print_localized(strings::ATTACHED, &[&file.name, &file.kind, &size]);
                    letter.attachments.push(file);
                }
                Err(error) => {
                    self.terminal.print_localized(strings::NOT_ATTACHED, &[&typed, &language.reason(&error)]);
                }
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
                _ => self.tell_bad_address(&typed),
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

    /// Asks for the recipients, and offers those that were not refused. Those that have the letter stay.
    pub(super) fn ask_people(&mut self, mut outbound: Outbound) -> Option<Outbound> {
        let before = outbound.letter.clone();
        loop {
            let letter = &mut outbound.letter;
            for (words, old, new) in [
                (strings::ASK_TO, &before.to, &mut letter.to),
                (strings::ASK_CC, &before.cc, &mut letter.cc),
                (strings::ASK_BCC, &before.bcc, &mut letter.bcc),
            ] {
                let is_in = |list: &[String], person: &Person| {
                    list.iter().any(|address| address.eq_ignore_ascii_case(&person.address))
                };
                let (done, rest): (Vec<_>, Vec<_>) =
                    old.iter().cloned().partition(|person| is_in(&outbound.sent, person));
                let offered: Vec<String> = rest
                    .iter()
                    .filter(|person| !is_in(&outbound.refused, person))
                    .map(Person::to_string)
                    .collect();
                *new = done;
                new.extend(self.ask_recipients(words, &offered.join(", "))?);
            }
            if !outbound.pending().is_empty() {
                return Some(outbound);
            }
            self.terminal.print_localized(strings::NOBODY, &[]);
        }
    }

    /// Asks for one list of recipients. A hyphen takes none of those on offer.
    fn ask_recipients(&mut self, words: LocalizedText, offered: &str) -> Option<Vec<Person>> {
        loop {
            let typed = self.terminal.prompt_with_default(words.text(self.terminal.language()), offered)?;
            if typed == "-" && !offered.is_empty() {
                return Some(Vec::new());
            }
            // Those on offer may have a user without a domain before a name.
            let is_split = typed != offered && Person::with_split_name(&typed).is_some();
            match Person::parse_list(&typed) {
                Ok(people) if !is_split => return Some(people),
                _ => self.tell_bad_address(typed.trim()),
            }
        }
    }

    fn tell_bad_address(&mut self, typed: &str) {
        match Person::with_split_name(typed) {
            Some(person) => self.terminal.print_localized(strings::NAME_WITH_COMMA, &[&person]),
            None => self.terminal.print_localized(strings::BAD_ADDRESS, &[&typed]),
        }
    }
}

fn addresses(refusals: &[Refusal<'_>]) -> Vec<String> {
    refusals.iter().map(|(address, _)| (*address).to_owned()).collect()
}

/// Lists the refused recipients with the reasons.
fn show_refusals(terminal: &mut Terminal, refusals: &[Refusal<'_>]) {
    for (recipient, reply) in refusals {
        let why = reply_help::explain_smtp(reply, &[recipient], terminal.language());
        terminal.print_localized(strings::REFUSED_FOR, &[recipient, &why]);
    }
}

/// Reports the outcome for these recipients. Returns true if at least one of them gets the message.
fn show_outcome(terminal: &mut Terminal, outcome: &SubmitOutcome<'_>, recipients: &[&str]) -> bool {
    let language = terminal.language();
    match outcome {
        SubmitOutcome::Replied { reply, remarks, .. } if reply.is_done() => {
            for (recipient, reply) in remarks {
                let told = reply_help::explain_smtp(reply, &[], language);
                terminal.print_localized(strings::REMARK_FOR, &[recipient, &told]);
            }
            let why = reply_help::explain_smtp(reply, recipients, language);
            terminal.print_localized(strings::SENT_DONE, &[&why]);
        }
        SubmitOutcome::Replied { reply, .. } => {
            let why = reply_help::explain_smtp(reply, recipients, language);
            terminal.print_wrapped(&display::printable_line(&why));
        }
        SubmitOutcome::Refused(reply, recipient) => {
            let why = reply_help::explain_smtp(reply, recipient.as_slice(), language);
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
