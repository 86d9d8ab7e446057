//! A letter that not all of its recipients have: it is tried again, goes to others, or is kept as a draft.
//!
//! The rule: no letter is lost. An answer, the end of the input and a signal that ends the process all keep it.

use std::{path::Path, time::SystemTime};

use super::{
    app::{App, ReadingProtocol},
    draft_file::{SendCommand, keep_draft},
    inbound::open_imap,
};
use crate::{
    client::{ClientError, outgoing::OutgoingMessage, strings},
    ending_signals,
};

/// A letter on its way to its recipients.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) letter: OutgoingMessage,
    /// The letter, as it is sent.
    pub(super) message: Vec<u8>,
    /// Recipients that have it.
    pub(super) sent: Vec<String>,
    /// Recipients that the server has refused in the last attempt.
    pub(super) refused: Vec<String>,
    /// True if the server asks for a login; `None` until it was reached.
    pub(super) needs_login: Option<bool>,
    /// True if the sender has a copy of this message.
    pub(super) has_copy: bool,
}

impl Outbound {
    pub(super) fn new(letter: OutgoingMessage, message: Vec<u8>) -> Self {
        let (sent, refused) = (Vec::new(), Vec::new());
        Self { letter, message, sent, refused, needs_login: None, has_copy: false }
    }

    /// The recipients that do not have it.
    pub(super) fn pending(&self) -> Vec<&str> {
        let has_it = |address: &&str| self.sent.iter().any(|sent| sent.eq_ignore_ascii_case(address));
        self.letter.recipients().into_iter().filter(|address| !has_it(address)).collect()
    }

    /// The letter for those recipients alone, because a mail program sends a draft to all that it names.
    fn unsent_part(&self) -> OutgoingMessage {
        let pending = self.pending();
        let mut letter = self.letter.clone();
        for people in [&mut letter.to, &mut letter.cc, &mut letter.bcc] {
            people.retain(|person| pending.iter().any(|one| one.eq_ignore_ascii_case(&person.address)));
        }
        letter
    }
}

impl App<'_> {
    /// Asks the person about the recipients that do not have the letter. Returns true if it is to be sent to them now, and
    /// false once it is kept.
    pub(super) fn decide_on_unsent(&mut self, outbound: &mut Outbound) -> bool {
        let question = strings::UNSENT.text(self.terminal.language());
        loop {
            match self
                .terminal
                .prompt_or_signal(question)
                .as_ref()
                .map(|typed| typed.as_deref().map(str::trim))
            {
                Ok(Some("1")) => return true,
                Ok(Some("2")) => {
                    if self.change_recipients(outbound) {
                        return true;
                    }
                }
                Ok(Some("3")) => {
                    if self.keep(outbound) {
                        return false;
                    }
                }
                Ok(Some("")) => {}
                Ok(Some(other)) => self.terminal.print_localized(strings::NO_SUCH_CHOICE, &[&other]),
                Ok(None) => {
                    self.keep(outbound);
                    return false;
                }
                Err(signal) => {
                    // A process that is to end has no time for a server.
                    self.keep_in_file(outbound);
                    let _ = ending_signals::take_effect(*signal); // this ends the process
                    return false;
                }
            }
        }
    }

    /// Asks for the recipients again. Returns false if the person gives up, which changes nothing.
    fn change_recipients(&mut self, outbound: &mut Outbound) -> bool {
        let mut changed = Outbound::new(outbound.letter.clone(), Vec::new());
        changed.sent.clone_from(&outbound.sent);
        changed.refused.clone_from(&outbound.refused);
        self.terminal.print_localized(strings::ENTER_OR_HYPHEN, &[]);
        let Some(changed) = self.ask_people(changed) else { return false };
        outbound.letter = changed.letter;
        outbound.message = outbound.letter.build(SystemTime::now(), (self.config.random)());
        outbound.has_copy = false;
        true
    }

    /// Keeps the letter in the folder of drafts, else in a file. Returns true if it is kept.
    fn keep(&mut self, outbound: &Outbound) -> bool {
        if self.config.protocol == ReadingProtocol::Imap {
            match self.append_draft(&outbound.unsent_part()) {
                Ok(Some(folder)) => {
                    self.terminal.print_localized(strings::KEPT_IN_FOLDER, &[&folder]);
                    return true;
                }
                Ok(None) => {}
                Err(error) => self.show_error(&error),
            }
        }
        self.keep_in_file(outbound)
    }

    /// Adds the letter to the folder of drafts, in a session of its own. Returns the name of the folder, if there is one.
    fn append_draft(&self, letter: &OutgoingMessage) -> Result<Option<String>, ClientError> {
        let message = letter.build_draft(SystemTime::now(), (self.config.random)());
        let mut imap = open_imap(self.config, self.terminal)?;
        imap.log_in(&self.user, &self.password)?;
        let drafts = imap.folders()?.into_iter().find(|folder| folder.is_drafts && folder.can_be_opened);
        if let Some(folder) = &drafts {
            imap.append(&folder.name, "\\Draft \\Seen", &message)?;
        }
        imap.log_out();
        Ok(drafts.map(|folder| folder.text))
    }

    /// Keeps the letter in a file of the user's data directory, else of the current one, and tells how to send it.
    fn keep_in_file(&mut self, outbound: &Outbound) -> bool {
        match keep_draft(self.config.sent_dir.as_deref(), &outbound.message) {
            Ok(path) => {
                let command = self.send_command(outbound, &path);
                self.terminal.print_localized(strings::KEPT_IN_FILE, &[&path.display()]);
                self.terminal.show(&command); // in one line, to be copied
                true
            }
            Err(error) => {
                self.terminal.print_localized(strings::NOT_KEPT, &[&self.terminal.language().reason(&error)]);
                false
            }
        }
    }

    /// The command that sends the draft to the recipients that do not have it.
    fn send_command(&self, outbound: &Outbound, draft: &Path) -> String {
        let smtp = &self.config.smtp;
        let needs_login = outbound.needs_login.unwrap_or(true);
        let command = SendCommand {
            smtp,
            cacert: self.config.cacert.as_deref(),
            // The person agreed to the clear text at the login.
            insecure: needs_login && smtp.exposes_passwords(),
            user: needs_login.then_some(&self.user),
            password_file: None,
            helo: None,
            from: &outbound.letter.from.address,
        };
        command.line(&outbound.pending(), draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::outgoing::Person;

    #[test]
    fn u95_a_draft_names_the_recipients_that_do_not_have_it_and_the_hidden_ones() {
        let person = Person::address_only;
        let mut letter = OutgoingMessage::from(person("me@a.test"));
        letter.to = vec![person("ann@a.test"), person("bob@a.test")];
        letter.bcc = vec![person("zoe@a.test"), person("ann@a.test")];
        let outbound = Outbound { sent: vec!["ANN@a.test".into()], ..Outbound::new(letter, Vec::new()) };
        assert_eq!(outbound.pending(), ["bob@a.test", "zoe@a.test"]);
        let draft = outbound.unsent_part().build_draft(SystemTime::UNIX_EPOCH, 7);
        let draft = String::from_utf8(draft).unwrap();
        assert!(draft.contains("To: <bob@a.test>\r\n") && draft.contains("Bcc: zoe@a.test\r\n"), "{draft}");
        assert!(!draft.contains("ann@"), "{draft}");
    }
}
