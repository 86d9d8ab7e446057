//! The commands below a list of messages that only IMAP has: flags, moves, searches, news.

use super::{
    app::App,
    folder::Folder,
    imap_source::{Flag, News},
    typed_numbers::{listed, numbers},
};
use crate::{
    client::{ClientError, imap::ImapFolder, strings},
    language::LocalizedText,
};

/// A command typed below a list of IMAP.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ImapCommand {
    /// Sets the flag, or removes it from messages that all have it.
    Toggle(Flag, Vec<u32>),
    Move(Vec<u32>, String),
    Trash(Vec<u32>),
    Expunge,
    Search(String),
    Wait,
    /// A command that lacks its messages or its folder.
    Incomplete(char),
}

impl ImapCommand {
    pub(super) fn parse(typed: &str) -> Option<Self> {
        let typed = typed.trim();
        if let Some(words) = typed.strip_prefix('/') {
            return Some(Self::Search(words.trim().to_owned()));
        }
        let (word, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
        let listed = numbers(rest).filter(|numbers| !numbers.is_empty());
        Some(match (word.to_lowercase().as_str(), listed) {
            ("x", _) => Self::Expunge,
            ("w", _) => Self::Wait,
            ("f", Some(numbers)) => Self::Toggle(Flag::Flagged, numbers),
            ("r", Some(numbers)) => Self::Toggle(Flag::Seen, numbers),
            ("t", Some(numbers)) => Self::Trash(numbers),
            ("m", _) => match moved(rest) {
                Some((numbers, folder)) => Self::Move(numbers, folder),
                None => Self::Incomplete('m'),
            },
            (word @ ("f" | "r" | "t"), None) => Self::Incomplete(word.chars().next()?),
            _ => return None,
        })
    }
}

/// Parses `2 5-7 FOLDER`, whose name may have blanks.
fn moved(rest: &str) -> Option<(Vec<u32>, String)> {
    let is_name = |(_, word): &(usize, &str)| numbers(word).is_none_or(|numbers| numbers.is_empty());
    let words = rest.split(' ').scan(0, |at, word| {
        let begin = *at;
        *at += word.len() + 1;
        Some((begin, word))
    });
    let (begin, _) = words.filter(|(_, word)| !word.is_empty()).find(is_name)?;
    let found = numbers(&rest[..begin]).filter(|numbers| !numbers.is_empty())?;
    Some((found, rest[begin..].trim().to_owned()))
}

impl App<'_> {
    /// Carries out a command. Returns true if the list must be shown again.
    pub(super) fn imap_command(
        &mut self,
        folder: &mut Folder,
        command: ImapCommand,
    ) -> Result<bool, ClientError> {
        let done = match command {
            ImapCommand::Toggle(flag, numbers) => self.toggle(folder, flag, &numbers).map(|()| true),
            ImapCommand::Move(numbers, name) => self.move_to(folder, &numbers, &name),
            ImapCommand::Trash(numbers) => self.move_to_trash(folder, &numbers),
            ImapCommand::Expunge => self.expunge(folder),
            ImapCommand::Search(words) => self.search(folder, &words),
            ImapCommand::Wait => self.wait(folder),
            ImapCommand::Incomplete('m') => {
                self.terminal.print_localized(strings::MOVE_WHERE, &[]);
                Ok(false)
            }
            ImapCommand::Incomplete(word) => {
                self.terminal.print_localized(strings::MARK_WHICH, &[&word]);
                Ok(false)
            }
        };
        match done {
            // The session goes on after a command that the server does not carry out.
            Err(error @ ClientError::ImapRefused(_)) => {
                self.show_error(&error);
                Ok(false)
            }
            done => done,
        }
    }

    /// Takes in the news of a folder before its list is shown, and tells of them.
    pub(super) fn take_news(&mut self, folder: &mut Folder) -> Result<(), ClientError> {
        let News { arrived, gone } = folder.take_news()?;
        if arrived + gone > 0 {
            self.terminal.print_localized(strings::NEWS, &[&arrived, &gone]);
        }
        Ok(())
    }

    fn toggle(&mut self, folder: &mut Folder, flag: Flag, numbers: &[u32]) -> Result<(), ClientError> {
        let places = self.named_places(folder, numbers);
        let has = |place: &usize| {
            let entry = &folder.entries[*place];
            match flag {
                Flag::Seen => !entry.is_new,
                Flag::Flagged => entry.is_flagged,
                Flag::Deleted => entry.deleted,
            }
        };
        let on = !places.iter().all(has);
        folder.set_flag(&places, flag, on)?;
        let told = match (flag, on) {
            (Flag::Seen, true) => strings::MADE_READ,
            (Flag::Seen, false) => strings::MADE_UNREAD,
            (Flag::Flagged, true) => strings::FLAGGED,
            (Flag::Flagged, false) => strings::UNFLAGGED,
            (Flag::Deleted, true) => strings::MARKED_DELETED,
            (Flag::Deleted, false) => strings::KEPT,
        };
        self.tell_places(told, folder, &places, "");
        Ok(())
    }

    fn move_to(&mut self, folder: &mut Folder, numbers: &[u32], name: &str) -> Result<bool, ClientError> {
        let Some(source) = folder.imap() else { return Ok(false) };
        let names = source.all.iter().filter(|to| to.can_be_opened).map(|to| to.text.as_str());
        let meant = named_folder(names.clone(), name);
        match source.all.iter().find(|to| to.can_be_opened && Some(to.text.as_str()) == meant) {
            Some(to) => {
                let to = to.clone();
                self.move_into(folder, numbers, &to)
            }
            None => {
                let names = names.collect::<Vec<_>>().join(", ");
                self.terminal.print_localized(strings::NO_SUCH_FOLDER, &[&name, &names]);
                Ok(false)
            }
        }
    }

    fn move_to_trash(&mut self, folder: &mut Folder, numbers: &[u32]) -> Result<bool, ClientError> {
        let Some(source) = folder.imap() else { return Ok(false) };
        if source.folder.is_trash {
            self.terminal.print_localized(strings::IS_TRASH, &[]);
            return Ok(false);
        }
        match source.all.iter().find(|to| to.is_trash && to.can_be_opened).cloned() {
            Some(trash) => self.move_into(folder, numbers, &trash),
            None => {
                self.terminal.print_localized(strings::NO_TRASH, &[]);
                Ok(false)
            }
        }
    }

    fn move_into(
        &mut self,
        folder: &mut Folder,
        numbers: &[u32],
        to: &ImapFolder,
    ) -> Result<bool, ClientError> {
        let places = self.named_places(folder, numbers);
        if places.is_empty() {
            return Ok(false);
        }
        let told = if folder.move_to(&places, to)? { strings::MOVED } else { strings::COPIED_AND_MARKED };
        self.tell_places(told, folder, &places, &to.text);
        Ok(true)
    }

    /// Removes the messages that the list shows as marked.
    fn expunge(&mut self, folder: &mut Folder) -> Result<bool, ClientError> {
        let marked = folder.deleted_count();
        if marked == 0 {
            self.terminal.print_localized(strings::NONE_MARKED, &[]);
            return Ok(false);
        }
        folder.expunge()?;
        self.terminal.print_localized(strings::DELETED_SOME, &[&marked]);
        Ok(true)
    }

    fn search(&mut self, folder: &mut Folder, typed: &str) -> Result<bool, ClientError> {
        let words: Vec<&str> = typed.split_whitespace().take(MAX_WORDS).collect();
        // News come first, so that the list has what the search finds.
        self.take_news(folder)?;
        let shown = folder.search(&words)?;
        if shown == 0 && !words.is_empty() {
            self.terminal.print_localized(strings::FOUND_NONE, &[]);
        }
        Ok(true)
    }

    /// Waits until the server tells news, or the person presses Enter.
    fn wait(&mut self, folder: &mut Folder) -> Result<bool, ClientError> {
        let is_interactive = self.terminal.is_interactive();
        if folder.imap().is_some_and(|source| !source.imap.can_idle()) {
            self.terminal.print_localized(strings::CANNOT_WAIT, &[]);
            return Ok(false);
        }
        self.terminal.print_localized(strings::WAITING, &[]);
        folder.wait_for_news(is_interactive)?;
        if is_interactive && self.terminal.has_input() {
            self.terminal.read_line(); // the Enter that ended it
        }
        Ok(true)
    }

    /// The places of messages that a person names. Tells of numbers that no message has.
    fn named_places(&mut self, folder: &Folder, numbers: &[u32]) -> Vec<usize> {
        let (mut places, mut missing) = (Vec::new(), Vec::new());
        for number in numbers {
            match folder.index_of(*number) {
                Some(place) => places.push(place),
                None => missing.push(*number),
            }
        }
        if !missing.is_empty() {
            self.terminal.print_localized(strings::NO_SUCH_MESSAGE, &[&listed(&missing)]);
        }
        places
    }

    fn tell_places(&mut self, words: LocalizedText, folder: &Folder, places: &[usize], to: &str) {
        let numbers: Vec<u32> = places.iter().map(|place| folder.entries[*place].number).collect();
        if !numbers.is_empty() {
            self.terminal.print_localized(words, &[&listed(&numbers), &to]);
        }
    }
}

/// The folder that a person means: of that name, else of that name in another case, else the only one that begins so.
fn named_folder<'a>(names: impl Iterator<Item = &'a str> + Clone, typed: &str) -> Option<&'a str> {
    let typed_lower = typed.to_lowercase();
    let same = || names.clone().find(|name| name.to_lowercase() == typed_lower);
    let begins = || {
        let mut longer = names.clone().filter(|name| name.to_lowercase().starts_with(&typed_lower));
        longer.next().filter(|_| longer.next().is_none())
    };
    names.clone().find(|name| *name == typed).or_else(same).or_else(begins)
}

/// Words of one search.
const MAX_WORDS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u140_a_folder_is_meant_by_its_name_in_any_case_or_by_its_begin() {
        let names = ["INBOX", "Archive", "Archives 2025", "Sent", "sent", "Trash"];
        for (typed, meant) in [
            ("Archive", Some("Archive")),
            ("ARCHIVE", Some("Archive")),
            ("sent", Some("sent")),
            ("tr", Some("Trash")),
            ("arch", None),
            ("archives", Some("Archives 2025")),
            ("nowhere", None),
        ] {
            assert_eq!(named_folder(names.into_iter(), typed), meant, "{typed}");
        }
    }
}
