//! The folders of an IMAP server, from the login to the goodbye. Marks are on the server, so nothing is lost with a connection.

use super::{
    app::App, folder::Folder, inbound::open_imap, menu::ExitReason, table::AddressColumn, table::folder_row,
};
use crate::client::{
    ClientError,
    imap::{Imap, ImapFolder},
    strings,
};

impl App<'_> {
    /// Shows the folders until the person quits, in as many sessions as it takes.
    pub(super) fn run_folders(mut self, imap: Imap) -> Result<ExitReason, ClientError> {
        let mut session = imap;
        loop {
            match self.show_folders(session) {
                Ok(Some(imap)) => session = imap,
                Ok(None) => return Ok(ExitReason::Normal),
                Err(error) => {
                    self.show_error(&error);
                    let Some(imap) = self.connect_again() else { return Err(error) };
                    session = imap;
                }
            }
        }
    }

    /// Opens another session with the same password, as often as the person wants to try.
    fn connect_again(&mut self) -> Option<Imap> {
        let question = strings::RECONNECT.text(self.terminal.language());
        while self.terminal.confirm_or_leave(question, true) {
            let opened = open_imap(self.config, self.terminal).and_then(|mut imap| {
                imap.log_in(&self.user, &self.password)?;
                Ok(imap)
            });
            match opened {
                Ok(imap) => {
                    self.terminal.print_localized(strings::RECONNECTED, &[]);
                    return Some(imap);
                }
                Err(error) => self.show_error(&error),
            }
        }
        None
    }

    /// Lists the folders and asks once what to do. Returns the session, unless it has ended.
    fn show_folders(&mut self, mut imap: Imap) -> Result<Option<Imap>, ClientError> {
        let folders = imap.folders()?;
        self.list_folders(&folders);
        let language = self.terminal.language();
        loop {
            let typed = self.terminal.prompt(strings::FOLDERS_PROMPT.text(language));
            match typed.as_deref().map(str::trim) {
                Some("q" | "0" | "quit") | None => {
                    imap.log_out();
                    self.terminal.print_localized(strings::GOODBYE, &[]);
                    return Ok(None);
                }
                Some("" | "l" | "?" | "h" | "help") => return Ok(Some(imap)),
                Some("w") => {
                    self.write(None)?;
                    return Ok(Some(imap));
                }
                Some(typed) => {
                    let number = typed.parse().ok().and_then(|number: usize| number.checked_sub(1));
                    match number.and_then(|at| folders.get(at)) {
                        Some(folder) if folder.can_be_opened => {
                            return self.open_folder(imap, folder, &folders);
                        }
                        Some(folder) => {
                            self.terminal.print_localized(strings::NOT_A_FOLDER, &[&folder.text]);
                        }
                        None => self.terminal.print_localized(strings::NO_SUCH_CHOICE, &[&typed]),
                    }
                }
            }
        }
    }

    fn list_folders(&mut self, folders: &[ImapFolder]) {
        let (columns, _) = self.terminal.size();
        let language = self.terminal.language();
        let title = self.terminal.localize(strings::FOLDERS_TITLE, &[&self.user]);
        self.terminal.show("");
        self.terminal.title(&title);
        let head = [strings::HEAD_NUMBER, strings::HEAD_FOLDER, strings::HEAD_MESSAGES, strings::HEAD_UNREAD];
        self.terminal.show(&folder_row(columns, head.map(|words| words.text(language))));
        for (number, folder) in (1..).zip(folders) {
            let count = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
            let (messages, unseen) = (count(folder.counts.messages), count(folder.counts.unseen));
            let name = crate::client::display::printable_line(&folder.text);
            let row = folder_row(columns, [&format!("{number}"), &name, &messages, &unseen]);
            self.terminal.show(&row);
        }
    }

    fn open_folder(
        &mut self,
        mut imap: Imap,
        folder: &ImapFolder,
        all: &[ImapFolder],
    ) -> Result<Option<Imap>, ClientError> {
        let messages = match imap.select(&folder.name) {
            Err(error @ ClientError::ImapRefused(_)) => {
                self.show_error(&error);
                return Ok(Some(imap));
            }
            messages => messages?,
        };
        let shown = if folder.is_sent { AddressColumn::To } else { AddressColumn::From };
        let mut opened = Folder::of_imap(imap, folder.clone(), all.to_vec(), messages);
        self.browse(&mut opened, shown)?;
        Ok(opened.into_imap())
    }
}
