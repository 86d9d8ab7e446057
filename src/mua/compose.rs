//! Composing a message, question by question, and sending it.

use super::{app::Visit, browse::path, message_view::View, terminal::Terminal};
use crate::client::{
    Trouble, display,
    outgoing::{Attachment, Letter, Person},
    reply_help,
    smtp::{Reply, Smtp},
    strings::{self, Words},
    submit::{Outcome, Refusal, Submission, submit},
};
use crate::printable;

/// The outcome of one attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Accepted, after a login.
    AsUser,
    /// Accepted, without a login.
    AsStranger,
    /// Not accepted.
    Not,
}

impl Visit<'_> {
    /// Asks for a message and sends it. A failure here does not end the session of the inbox.
    pub(crate) fn write(&mut self, answered: Option<&View>) -> Result<(), Trouble> {
        let Some(letter) = self.composed(answered) else {
            self.terminal.say(strings::NOT_SENT, &[]);
            return Ok(());
        };
        let message = letter.message(std::time::SystemTime::now(), (self.plan.random)());
        let size = printable::size(message.len() as u64);
        self.terminal.say(strings::SUMMARY, &[&letter.recipients().len(), &size]);
        let language = self.terminal.language();
        if !self.terminal.confirms(strings::CONFIRM_SEND.text(language), true) {
            self.terminal.say(strings::NOT_SENT, &[]);
            return Ok(());
        }
        loop {
            match self.attempt(&letter, &message) {
                Ok(Sent::Not) => return Ok(()),
                Ok(sent) => {
                    self.keep(&message, sent);
                    return Ok(());
                }
                Err(trouble) => self.tell(&trouble),
            }
            if !self.terminal.confirms(strings::TRY_AGAIN.text(language), true) {
                self.terminal.say(strings::NOT_SENT, &[]);
                return Ok(());
            }
        }
    }

    fn attempt(&mut self, letter: &Letter, message: &[u8]) -> Result<Sent, Trouble> {
        let mut smtp = Smtp::open(&self.plan.smtp, None, None)?;
        let is_user = smtp.can_log_in();
        if is_user {
            let reply = smtp.log_in(&self.user, &self.password)?;
            if !reply.is_done() {
                return Err(Trouble::Refused(reply));
            }
        }
        let recipients = letter.recipients();
        let submission = Submission { from: &letter.from.address, recipients: &recipients, message };
        let terminal = &mut *self.terminal;
        let outcome = submit(&mut smtp, &submission, |refusals| {
            refused(terminal, refusals);
            terminal.confirms(strings::SEND_TO_REST.text(terminal.language()), true)
        })?;
        smtp.quit();
        Ok(match (told(terminal, &outcome), is_user) {
            (false, _) => Sent::Not,
            (true, true) => Sent::AsUser,
            (true, false) => Sent::AsStranger,
        })
    }

    /// Asks for all parts of a message; `None` if the user gives up (Ctrl-D).
    fn composed(&mut self, answered: Option<&View>) -> Option<Letter> {
        let language = self.terminal.language();
        let from = self.from()?;
        let mut letter = Letter::from(from);
        let (mut to, mut subject) = (String::new(), String::new());
        if let Some(view) = answered {
            to = view.reply_to.iter().map(Person::to_string).collect::<Vec<_>>().join(", ");
            let is_reply = view.subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
            subject = if is_reply { view.subject.clone() } else { format!("Re: {}", view.subject) };
            letter.answers = view.answered.clone();
        }
        loop {
            letter.to = self.people(strings::ASK_TO, &to)?;
            letter.cc = self.people(strings::ASK_CC, "")?;
            letter.bcc = self.people(strings::ASK_BCC, "")?;
            if !letter.recipients().is_empty() {
                break;
            }
            self.terminal.say(strings::NOBODY, &[]);
        }
        letter.subject = self.terminal.ask_or(strings::ASK_SUBJECT.text(language), &subject)?;
        loop {
            let typed = self.terminal.ask_or(strings::ASK_ATTACH.text(language), "")?;
            if typed.is_empty() {
                break;
            }
            match Attachment::read(&path(&typed)) {
                Ok(file) => {
                    let size = printable::size(file.content.len() as u64);
                    self.terminal.say(strings::ATTACHED, &[&file.name, &file.kind, &size]);
                    letter.attachments.push(file);
                }
                Err(error) => self.terminal.say(strings::NOT_ATTACHED, &[&typed, &error]),
            }
        }
        self.terminal.say(strings::ASK_TEXT, &[]);
        letter.text = self.terminal.read_text();
        if let Some(view) = answered {
            letter.text += &self.quoted(view);
        }
        Some(letter)
    }

    /// The answered message as a quotation below the reply.
    fn quoted(&self, view: &View) -> String {
        let Some(writer) = view.reply_to.first() else { return String::new() };
        let mut quoted = format!("\n{}\n", self.terminal.filled(strings::REPLY_QUOTES, &[writer]));
        for line in view.text.trim_end().lines() {
            quoted += &format!("{}{line}\n", if line.starts_with('>') { ">" } else { "> " });
        }
        quoted
    }

    /// The From address: the login name, or an address asked for once.
    fn from(&mut self) -> Option<Person> {
        if self.from.is_none() {
            let prompt = strings::ASK_FROM_ONCE.text(self.terminal.language());
            let offered = format!("{}@{}", self.user, self.plan.smtp.place.host);
            let typed = self.terminal.ask_or(prompt, &offered)?;
            match Person::list(&typed).as_deref() {
                Ok([one]) => self.from = Some(one.clone()),
                _ => self.terminal.say(strings::BAD_ADDRESS, &[&typed]),
            }
        }
        self.from.clone()
    }

    fn people(&mut self, words: Words, offered: &str) -> Option<Vec<Person>> {
        loop {
            let typed = self.terminal.ask_or(words.text(self.terminal.language()), offered)?;
            match Person::list(&typed) {
                Ok(people) => return Some(people),
                Err(wrong) => self.terminal.say(strings::BAD_ADDRESS, &[&wrong]),
            }
        }
    }
}

/// Lists the refused recipients with the reasons.
fn refused(terminal: &mut Terminal, refusals: &[Refusal<'_>]) {
    for (recipient, reply) in refusals {
        let why = reply_help::smtp(reply, terminal.language());
        terminal.say(strings::REFUSED_FOR, &[recipient, &why]);
    }
}

/// Reports the outcome. Returns true if at least one recipient gets the message.
fn told(terminal: &mut Terminal, outcome: &Outcome<'_>) -> bool {
    let explained = |reply: &Reply| reply_help::smtp(reply, terminal.language());
    match outcome {
        Outcome::Answered(reply, _) if reply.is_done() => {
            let why = explained(reply);
            terminal.say(strings::SENT_DONE, &[&why]);
        }
        Outcome::Answered(reply, _) | Outcome::Refused(reply) => {
            let why = explained(reply);
            terminal.tell(&display::line(&why));
        }
        Outcome::NoRecipient(refusals) => refused(terminal, refusals),
        Outcome::GivenUp => {}
    }
    if !outcome.is_sent() {
        terminal.say(strings::NOT_SENT, &[]);
    }
    outcome.is_sent()
}
