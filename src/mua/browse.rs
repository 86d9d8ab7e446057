//! Message lists as tables, and one message on the screen.

use super::{
    app::App,
    folder::{Entry, Folder},
    imap_list::ImapCommand,
    imap_source::Flag,
    message_view::{MessageView, Summary},
    table::{AddressColumn, Layout},
    typed_numbers::{listed, numbers},
    typed_path::typed_path,
};
use crate::{
    client::{ClientError, display, strings},
    language::{Language, LocalizedText},
};

/// A command typed below a list.
#[derive(Debug, PartialEq, Eq)]
enum ListCommand {
    Read(u32),
    Delete(Vec<u32>),
    Undelete(Vec<u32>),
    Next,
    Previous,
    Refresh,
    Back,
    Help,
    /// A command that only a list of IMAP has.
    Imap(ImapCommand),
    /// A command that lacks its messages.
    Incomplete(char),
    Invalid,
}

impl ListCommand {
    fn parse(typed: &str, is_imap: bool) -> Self {
        if let Some(command) = ImapCommand::parse(typed).filter(|_| is_imap) {
            return Self::Imap(command);
        }
        let (word, rest) = typed.trim().split_once(char::is_whitespace).unwrap_or((typed.trim(), ""));
        match (word.to_lowercase().as_str(), numbers(rest)) {
            ("q" | "quit", _) => Self::Back,
            ("?" | "h" | "help", _) => Self::Help,
            ("n", _) => Self::Next,
            ("p", _) => Self::Previous,
            ("" | "l", _) => Self::Refresh,
            ("d", Some(numbers)) if !numbers.is_empty() => Self::Delete(numbers),
            ("u", Some(numbers)) if !numbers.is_empty() => Self::Undelete(numbers),
            (word @ ("d" | "u"), _) if rest.trim().is_empty() => {
                word.chars().next().map_or(Self::Invalid, Self::Incomplete)
            }
            (number, _) => number.parse().map_or(Self::Invalid, Self::Read),
        }
    }
}

impl App<'_> {
    /// Shows a list page by page, newest first, until the user goes back.
    pub(crate) fn browse(&mut self, folder: &mut Folder, shown: AddressColumn) -> Result<(), ClientError> {
        let language = self.terminal.language();
        let is_imap = folder.imap().is_some();
        let (prompt, help) = match shown {
            _ if is_imap => (strings::BROWSE_FOLDER, strings::BROWSE_HELP),
            AddressColumn::From => (strings::BROWSE, strings::BROWSE_INBOX_HELP),
            AddressColumn::To => (strings::BROWSE_SENT, strings::BROWSE_SENT_HELP),
        };
        let mut page = 0;
        let mut fresh = true;
        while is_imap || !folder.entries.is_empty() {
            if fresh {
                self.take_news(folder)?;
            }
            let (_, height) = self.terminal.size();
            // An empty line, the title and the header of the table stand above the rows.
            let below = self.terminal.prompt_lines(prompt.text(language)).len();
            let rows = height.saturating_sub(4 + below).max(3);
            let places = folder.places();
            let pages = places.len().div_ceil(rows).max(1);
            page = page.min(pages - 1); // the window may have grown
            if fresh {
                let newest = places.len() - page * rows;
                self.show_page(folder, &places[newest.saturating_sub(rows)..newest], shown, (page, pages))?;
            }
            fresh = true;
            let Some(typed) = self.terminal.prompt(prompt.text(language)) else { return Ok(()) };
            match ListCommand::parse(&typed, is_imap) {
                ListCommand::Back => return Ok(()),
                ListCommand::Next => page = (page + 1).min(pages - 1),
                ListCommand::Previous => page = page.saturating_sub(1),
                ListCommand::Refresh => folder.look_for_news()?,
                ListCommand::Imap(command) => fresh = self.imap_command(folder, command)?,
                ListCommand::Read(number) => fresh = self.show_message(folder, number)?,
                ListCommand::Delete(numbers) => self.set_deleted(folder, &numbers, true)?,
                ListCommand::Undelete(numbers) => self.set_deleted(folder, &numbers, false)?,
                ListCommand::Help => {
                    self.terminal.print_localized(help, &[]);
                    fresh = false;
                }
                ListCommand::Incomplete(word) => {
                    self.terminal.print_localized(strings::MARK_WHICH, &[&word]);
                    fresh = false;
                }
                ListCommand::Invalid => {
                    self.terminal.print_localized(strings::NO_SUCH_CHOICE, &[&typed]);
                    fresh = false;
                }
            }
        }
        self.terminal.print_localized(strings::EMPTY, &[]);
        Ok(())
    }

    /// Shows one page of a list, the newest message first.
    fn show_page(
        &mut self,
        folder: &mut Folder,
        places: &[usize],
        shown: AddressColumn,
        (page, pages): (usize, usize),
    ) -> Result<(), ClientError> {
        let language = self.terminal.language();
        let (columns, _) = self.terminal.size();
        let name = match (folder.imap(), shown) {
            (Some(source), _) if folder.is_search() => {
                self.terminal.localize(strings::FOUND_IN, &[&source.folder.text])
            }
            (Some(source), _) => display::printable_line(&source.folder.text),
            (None, AddressColumn::From) => strings::INBOX.text(language).to_owned(),
            (None, AddressColumn::To) => strings::SENT.text(language).to_owned(),
        };
        let title = self.terminal.localize(strings::PAGE_OF, &[&name, &(page + 1), &pages]);
        self.terminal.show("");
        self.terminal.title(&title);
        if places.is_empty() {
            self.terminal.print_localized(strings::EMPTY, &[]);
            return Ok(());
        }
        folder.fetch_summaries(places)?;
        let marks = if folder.imap().is_some() { MARKS } else { 1 };
        let layout = Layout::of(columns, folder.entries.len(), marks);
        self.terminal.show(&layout.header(shown, language));
        for place in places.iter().rev() {
            let row = self.row(folder, *place, layout, shown)?;
            self.terminal.show(&row);
        }
        Ok(())
    }

    fn row(
        &self,
        folder: &mut Folder,
        place: usize,
        layout: Layout,
        shown: AddressColumn,
    ) -> Result<String, ClientError> {
        let language = self.terminal.language();
        let Summary { from, to, subject, date } = folder.summary(place)?;
        let entry = &folder.entries[place];
        let who = match shown {
            AddressColumn::From if from.is_empty() => strings::NO_SENDER.text(language).to_owned(),
            AddressColumn::From => from,
            AddressColumn::To => to,
        };
        let mark = match entry {
            _ if folder.imap().is_some() => marks(entry, language),
            Entry { deleted: true, .. } => strings::MARK.text(language).to_owned(),
            Entry { is_new: true, .. } => strings::MARK_NEW.text(language).to_owned(),
            _ => String::new(),
        };
        let subject = if subject.is_empty() { strings::NO_SUBJECT.text(language) } else { &subject };
        let size = language.size(entry.octets);
        Ok(layout.row([&entry.number.to_string(), &mark, &who, subject, &date, &size]))
    }

    /// Marks messages as deleted, or removes the mark.
    fn set_deleted(&mut self, folder: &mut Folder, numbers: &[u32], delete: bool) -> Result<(), ClientError> {
        if !folder.can_delete() {
            self.terminal.print_localized(strings::NOT_DELETED_HERE, &[]);
            return Ok(());
        }
        let (mut done, mut places, mut missing, mut unmarked) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let is_imap = folder.imap().is_some();
        for &number in numbers {
            match folder.index_of(number) {
                None => missing.push(number),
                Some(place) if !delete && !folder.entries[place].deleted => unmarked.push(number),
                Some(place) if delete && !is_imap => match folder.delete(place) {
                    Ok(()) => done.push(number),
                    Err(error) if error.is_connection_lost() => return Err(error),
                    Err(error) => self.show_error(&error),
                },
                Some(place) => {
                    places.push(place);
                    done.push(number);
                }
            }
        }
        let marked =
            if delete { folder.set_flag(&places, Flag::Deleted, true) } else { folder.undelete(&places) };
        if let Err(error) = marked {
            if error.is_connection_lost() {
                return Err(error);
            }
            self.show_error(&error);
            done.clear();
        }
        if !missing.is_empty() {
            self.terminal.print_localized(strings::NO_SUCH_MESSAGE, &[&listed(&missing)]);
        }
        if !unmarked.is_empty() {
            self.terminal.print_localized(strings::NOT_MARKED, &[&listed(&unmarked)]);
        }
        let told = match (delete, is_imap) {
            (true, true) => strings::MARKED_DELETED,
            (true, false) => strings::WILL_BE_DELETED,
            (false, _) => strings::KEPT,
        };
        if !done.is_empty() {
            self.terminal.print_localized(told, &[&listed(&done)]);
        }
        Ok(())
    }

    /// Shows one message. Returns true if the list must be printed again.
    fn show_message(&mut self, folder: &mut Folder, number: u32) -> Result<bool, ClientError> {
        let Some(place) = folder.index_of(number) else {
            self.terminal.print_localized(strings::NO_SUCH_MESSAGE, &[&number]);
            return Ok(false);
        };
        if folder.entries[place].deleted && folder.imap().is_none() {
            self.terminal.print_localized(strings::IS_DELETED, &[&number]);
            return Ok(false);
        }
        let view = match folder.message(place) {
            Ok(Some(message)) => {
                folder.entries[place].is_new = false;
                let view = if folder.is_sent() {
                    MessageView::parse_sent(&message)
                } else {
                    MessageView::parse(&message)
                };
                // The list of a folder of IMAP has asked for the time of the arrival.
                if folder.imap().is_some() { view.dated(&folder.summary(place)?.date) } else { view }
            }
            Ok(None) => {
                self.terminal.print_localized(strings::GONE, &[&number]);
                return Ok(true);
            }
            Err(error) if error.is_connection_lost() => return Err(error),
            Err(error) => {
                self.show_error(&error);
                return Ok(false);
            }
        };
        let lines = self.lines(&view);
        self.terminal.show("");
        self.terminal.page(&lines);
        loop {
            let prompt = if view.parts.is_empty() { strings::READ_PROMPT } else { strings::READ_PROMPT_SAVE };
            let typed = self.terminal.prompt(prompt.text(self.terminal.language()));
            let typed = typed.as_deref().map(str::trim).unwrap_or_default();
            let (word, rest) = typed.split_at(typed.find(char::is_whitespace).unwrap_or(typed.len()));
            match (word.to_lowercase().as_str(), rest.trim()) {
                ("" | "q", "") => return Ok(true),
                ("s", part) => self.save_attachment(&view, part),
                ("r", "") => self.write(Some(&view))?,
                ("d", this) if this.is_empty() || this == number.to_string() => {
                    self.set_deleted(folder, &[number], true)?;
                    return Ok(true);
                }
                // The list has this command for any message; here it would delete one that was not meant.
                ("d", other) => self.terminal.print_localized(strings::DELETES_THIS, &[&number, &other]),
                _ => self.terminal.print_localized(strings::NO_SUCH_CHOICE, &[&typed]),
            }
        }
    }

    /// Formats a message in lines that fit the window.
    fn lines(&self, view: &MessageView) -> Vec<String> {
        let language = self.terminal.language();
        let (columns, _) = self.terminal.size();
        let mut lines = Vec::new();
        for (name, value) in &view.fields {
            let name = FIELDS
                .iter()
                .find(|(field, _)| field == name)
                .map_or(*name, |(_, words)| words.text(language));
            let name = format!("{name}{}", language.colon());
            let mut folded = display::fold(&format!("{name} {value}"), columns - INDENT).into_iter();
            let first = folded.next().unwrap_or_default();
            lines.push(first.replacen(&name, &self.terminal.bold(&name), 1));
            lines.extend(folded.map(|line| format!("{:INDENT$}{line}", "")));
        }
        lines.push(String::new());
        lines.extend(display::fold(&view.text, columns));
        if !view.parts.is_empty() {
            lines.extend([String::new(), self.terminal.bold(strings::ATTACHMENTS.text(language))]);
            for (number, part) in (1..).zip(&view.parts) {
                let size = language.size(part.content.len() as u64);
                let row = format!("{number}  {}  {}  {size}", part.name, part.kind);
                let folded = display::fold(&row, columns - INDENT);
                lines.extend(folded.iter().map(|line| format!("{:INDENT$}{line}", "")));
            }
        }
        lines
    }

    /// Saves an attachment in a directory that the user chooses.
    fn save_attachment(&mut self, view: &MessageView, number: &str) {
        if view.parts.is_empty() {
            return self.terminal.print_localized(strings::NO_ATTACHMENTS, &[]);
        }
        let number = if number.is_empty() && view.parts.len() == 1 { "1" } else { number };
        if number.is_empty() {
            return self.terminal.print_localized(strings::SAVE_WHICH, &[]);
        }
        let place = number.parse().ok().and_then(|number: usize| number.checked_sub(1));
        let Some(part) = place.and_then(|place| view.parts.get(place)) else {
            return self.terminal.print_localized(strings::NO_SUCH_ATTACHMENT, &[&number]);
        };
        let prompt = strings::ASK_DIRECTORY.text(self.terminal.language());
        let Some(directory) = self.terminal.prompt_with_default(prompt, ".") else { return };
        match part.save(&typed_path(&directory)) {
            Ok(path) => self.terminal.print_localized(strings::SAVED, &[&path.display()]),
            Err(error) => {
                let why = self.terminal.language().reason(&error);
                self.terminal.print_localized(strings::NOT_SAVED, &[&directory, &why]);
            }
        }
    }
}

/// The marks of a message of IMAP, which may have several.
fn marks(entry: &Entry, language: Language) -> String {
    let marks = [
        (entry.is_new, strings::MARK_NEW),
        (entry.is_answered && !entry.is_new, strings::MARK_ANSWERED),
        (entry.is_flagged, strings::MARK_FLAGGED),
        (entry.deleted, strings::MARK),
    ];
    marks.iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| mark.text(language)).collect()
}

/// Marks of a message of IMAP: new or answered, flagged, deleted.
const MARKS: usize = 3;
/// Columns before the continuation of a field, and before an attachment.
const INDENT: usize = 2;
/// Header fields in the user's language.
const FIELDS: [(&str, LocalizedText); 5] = [
    ("From", strings::HEAD_FROM),
    ("To", strings::HEAD_TO),
    ("Cc", strings::ASK_CC),
    ("Date", strings::HEAD_DATE),
    ("Subject", strings::HEAD_SUBJECT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_a_letter_and_numbers() {
        for (typed, wish) in [
            ("12", ListCommand::Read(12)),
            (" d 2 5-7,9 ", ListCommand::Delete(vec![2, 5, 6, 7, 9])),
            ("U 3 3", ListCommand::Undelete(vec![3])),
            ("", ListCommand::Refresh),
            ("n", ListCommand::Next),
            ("p", ListCommand::Previous),
            ("q", ListCommand::Back),
            ("quit", ListCommand::Back),
            ("?", ListCommand::Help),
            ("help", ListCommand::Help),
            ("d", ListCommand::Incomplete('d')),
            ("u ", ListCommand::Incomplete('u')),
            ("d 7-5", ListCommand::Invalid),
            ("d 1-99999999", ListCommand::Invalid),
            ("d x", ListCommand::Invalid),
            ("-1", ListCommand::Invalid),
        ] {
            assert_eq!(ListCommand::parse(typed, false), wish, "{typed:?}");
            assert_eq!(ListCommand::parse(typed, true), wish, "{typed:?}");
        }
    }

    #[test]
    fn a_folder_of_imap_has_more_wishes() {
        let moved = |numbers: &[u32], name: &str| ImapCommand::Move(numbers.to_vec(), name.to_owned());
        for (typed, wish) in [
            ("f 2 5-6", ImapCommand::Toggle(Flag::Flagged, vec![2, 5, 6])),
            ("r 1", ImapCommand::Toggle(Flag::Seen, vec![1])),
            ("t 3", ImapCommand::Trash(vec![3])),
            ("t", ImapCommand::Incomplete('t')),
            ("f x", ImapCommand::Incomplete('f')),
            ("m 2 5-6 Sent Items", moved(&[2, 5, 6], "Sent Items")),
            ("m 2,3  Archive 2026", moved(&[2, 3], "Archive 2026")),
            ("m Archive", ImapCommand::Incomplete('m')),
            ("m 2", ImapCommand::Incomplete('m')),
            ("x", ImapCommand::Expunge),
            ("w", ImapCommand::Wait),
            ("/ lunch  été ", ImapCommand::Search("lunch  été".into())),
            ("/", ImapCommand::Search(String::new())),
        ] {
            assert_eq!(ListCommand::parse(typed, true), ListCommand::Imap(wish), "{typed:?}");
            assert_eq!(ListCommand::parse(typed, false), ListCommand::Invalid, "{typed:?}");
        }
    }
}
