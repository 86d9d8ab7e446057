//! The commands about folders and messages.

use std::collections::HashMap;

use super::{
    FolderEvent, Imap, MAX_MESSAGE, SMALL,
    command::{Command, uid_sets},
    response::{FolderCounts, ListedFolder, MessageFlags, Response},
};
use crate::{client::ClientError, proto::modified_utf7};

/// A folder of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImapFolder {
    /// The name on the wire, in modified UTF-7.
    pub name: Vec<u8>,
    /// The name for a person.
    pub text: String,
    /// False for a level that only has folders below it.
    pub can_be_opened: bool,
    /// True for the folder of deleted messages.
    pub is_trash: bool,
    /// True for the folder of sent messages.
    pub is_sent: bool,
    /// True for the folder of drafts.
    pub is_drafts: bool,
    /// The numbers of the folder.
    pub counts: FolderCounts,
}

/// The parts of a message that a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedHeader {
    /// The fields, as in the header.
    pub fields: Vec<u8>,
    /// The time of its arrival, as the server writes it.
    pub internal_date: Vec<u8>,
}

/// A message of the selected folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImapMessage {
    /// Its UID.
    pub uid: u32,
    /// Its flags.
    pub flags: MessageFlags,
    /// Its octets on the wire.
    pub octets: u64,
}

impl Imap {
    /// The server's program name, from ID (RFC 2971).
    ///
    /// # Errors
    /// The connection broke.
    pub fn program_name(&mut self) -> Result<Option<String>, ClientError> {
        if !self.has("ID") {
            return Ok(None);
        }
        let mut found = None;
        let done = self.run_for(&Command::new("ID NIL"), SMALL, &mut |response| match response {
            Response::Id(name) => {
                found = name;
                None
            }
            other => Some(other),
        });
        match done {
            Err(ClientError::ImapRefused(_)) => Ok(None),
            done => done.map(|_| found),
        }
    }

    /// LIST and STATUS: the folders of the user, INBOX first.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn folders(&mut self) -> Result<Vec<ImapFolder>, ClientError> {
        let in_one = ["LIST-EXTENDED", "LIST-STATUS"].iter().all(|name| self.has(name));
        let special = if self.has("SPECIAL-USE") { "SPECIAL-USE " } else { "" };
        let list = if in_one {
            format!("LIST \"\" \"*\" RETURN ({special}STATUS (MESSAGES UNSEEN))")
        } else {
            "LIST \"\" \"*\"".to_owned()
        };
        let (mut folders, mut numbers) = (Vec::new(), HashMap::new());
        self.run_for(&Command::new(list), LIST, &mut |response| {
            match response {
                Response::List(folder) => folders.push(ImapFolder::new(folder)),
                Response::FolderStatus(name, counts) => {
                    numbers.insert(name, counts);
                }
                other => return Some(other),
            }
            None
        })?;
        for folder in &mut folders {
            folder.counts = match numbers.get(&folder.name) {
                Some(counts) => *counts,
                None if folder.can_be_opened && !in_one => self.counts(&folder.name)?,
                None => FolderCounts::default(),
            };
        }
        folders.sort_by_key(|folder| (!folder.name.eq_ignore_ascii_case(INBOX), folder.text.clone()));
        Ok(folders)
    }

    /// STATUS. A folder that the server refuses has no numbers.
    fn counts(&mut self, name: &[u8]) -> Result<FolderCounts, ClientError> {
        let mut counts = FolderCounts::default();
        let command = Command::new("STATUS ").string(name).text(" (MESSAGES UNSEEN)");
        let done = self.run_for(&command, SMALL, &mut |response| match response {
            Response::FolderStatus(_, numbers) => {
                counts = numbers;
                None
            }
            other => Some(other),
        });
        match done {
            Err(ClientError::ImapRefused(_)) => Ok(FolderCounts::default()),
            done => done.map(|_| counts),
        }
    }

    /// SELECT. Returns the messages in the order of the folder.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn select(&mut self, name: &[u8]) -> Result<Vec<ImapMessage>, ClientError> {
        self.events.clear();
        self.run(&Command::new("SELECT ").string(name))?;
        let exists = |event: &FolderEvent| match event {
            FolderEvent::Exists(number) => Some(*number),
            _ => None,
        };
        let count = self.events.drain(..).rev().find_map(|event| exists(&event)).unwrap_or(0);
        self.messages(1, count)
    }

    /// FETCH of the messages with these numbers.
    ///
    /// # Errors
    /// The server refused or left a message out, or the connection broke.
    pub fn messages(&mut self, first: u32, last: u32) -> Result<Vec<ImapMessage>, ClientError> {
        let count = last.saturating_add(1).saturating_sub(first) as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > MAX_MESSAGES {
            return Err(self.babble());
        }
        let mut rows: Vec<Option<ImapMessage>> = vec![None; count];
        let command = Command::new(format!("FETCH {first}:{last} (UID FLAGS RFC822.SIZE)"));
        self.run_for(&command, SMALL + count * ROW, &mut |response| match response {
            Response::Fetch(number, message) => {
                let row = number.checked_sub(first).and_then(|at| rows.get_mut(at as usize));
                match (row, message.uid, message.flags, message.octets) {
                    (Some(row), Some(uid), Some(flags), Some(octets)) => {
                        *row = Some(ImapMessage { uid, flags, octets });
                        None
                    }
                    _ => Some(Response::Fetch(number, message)),
                }
            }
            other => Some(other),
        })?;
        rows.into_iter().collect::<Option<_>>().ok_or_else(|| self.babble())
    }

    /// The fields of the headers that a list shows, and the times of arrival, by UID. The flags stay as they are.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn headers(&mut self, uids: &[u32]) -> Result<HashMap<u32, ListedHeader>, ClientError> {
        let mut headers = HashMap::new();
        for set in uid_sets(uids) {
            let fields = "BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT RETURN-PATH)]";
            let command = Command::new(format!("UID FETCH {set} (INTERNALDATE {fields})"));
            self.run_for(&command, HEADERS, &mut |response| match response {
                Response::Fetch(number, mut message) => match (message.uid, message.section.take()) {
                    (Some(uid), Some(fields)) => {
                        let internal_date = message.internal_date.unwrap_or_default();
                        headers.insert(uid, ListedHeader { fields, internal_date });
                        None
                    }
                    _ => Some(Response::Fetch(number, message)),
                },
                other => Some(other),
            })?;
        }
        Ok(headers)
    }

    /// A whole message, with LF line ends. The server marks it as seen. `None`: it is gone.
    ///
    /// # Errors
    /// The server refused, or the connection broke in the middle.
    pub fn message(&mut self, uid: u32) -> Result<Option<Vec<u8>>, ClientError> {
        let mut found = None;
        let command = Command::new(format!("UID FETCH {uid} (BODY[])"));
        let done = self.run_for(&command, MAX_MESSAGE, &mut |response| match response {
            Response::Fetch(number, mut message) => {
                if let Some(octets) = message.section.take().filter(|_| message.uid == Some(uid)) {
                    found = Some(octets);
                }
                Some(Response::Fetch(number, message))
            }
            other => Some(other),
        });
        done.map(|_| found.map(|octets| with_lf(&octets)))
    }

    /// STORE: sets a flag of messages, or removes it. UIDs of messages that are gone do nothing.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn set_flag(&mut self, uids: &[u32], flag: &str, on: bool) -> Result<(), ClientError> {
        let sign = if on { '+' } else { '-' };
        for set in uid_sets(uids) {
            self.run(&Command::new(format!("UID STORE {set} {sign}FLAGS ({flag})")))?;
        }
        Ok(())
    }

    /// MOVE (RFC 6851). Without it, the client copies the messages and marks them as deleted; it then returns false.
    ///
    /// # Errors
    /// The server refused, or the connection broke. Some of the messages may have moved.
    pub fn move_to(&mut self, uids: &[u32], folder: &[u8]) -> Result<bool, ClientError> {
        let can_move = self.has("MOVE");
        let word = if can_move { "MOVE" } else { "COPY" };
        for set in uid_sets(uids) {
            self.run(&Command::new(format!("UID {word} {set} ")).string(folder))?;
        }
        if !can_move {
            self.set_flag(uids, "\\Deleted", true)?;
        }
        Ok(can_move)
    }

    /// APPEND: adds a message with these flags to a folder.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn append(&mut self, folder: &[u8], flags: &str, message: &[u8]) -> Result<(), ClientError> {
        let command = Command::new("APPEND ").string(folder).text(&format!(" ({flags}) "));
        self.run(&command.literal(message)).map(|_| ())
    }

    /// EXPUNGE: removes the messages that are marked as deleted.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn expunge(&mut self) -> Result<(), ClientError> {
        self.run(&Command::new("EXPUNGE")).map(|_| ())
    }

    /// SEARCH: the UIDs of messages that contain each of these words.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub fn search(&mut self, words: &[&str]) -> Result<Vec<u32>, ClientError> {
        let charset = if words.iter().all(|word| word.is_ascii()) { "" } else { " CHARSET UTF-8" };
        let mut command = Command::new(format!("UID SEARCH{charset}"));
        for word in words {
            command = command.text(" TEXT ").string(word.as_bytes());
        }
        let mut found = Vec::new();
        self.run_for(&command, LIST, &mut |response| match response {
            Response::Search(uids) => {
                found.extend(uids);
                None
            }
            other => Some(other),
        })?;
        Ok(found)
    }
}

impl ImapFolder {
    fn new(ListedFolder { attributes, name }: ListedFolder) -> Self {
        let has = |wanted: &str| attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case(wanted));
        let text =
            modified_utf7::decode(&name).unwrap_or_else(|| String::from_utf8_lossy(&name).into_owned());
        Self {
            can_be_opened: !has("\\Noselect") && !has("\\NonExistent"),
            is_trash: has("\\Trash") || text.eq_ignore_ascii_case("Trash"),
            is_sent: has("\\Sent") || text.eq_ignore_ascii_case("Sent"),
            is_drafts: has("\\Drafts") || text.eq_ignore_ascii_case("Drafts"),
            counts: FolderCounts::default(),
            text,
            name,
        }
    }
}

fn with_lf(octets: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        text.extend_from_slice(&rest[..end]);
        text.push(b'\n');
        rest = &rest[end + 2..];
    }
    text.extend_from_slice(rest);
    text
}

/// The name of the mailbox itself, in any case.
const INBOX: &[u8] = b"INBOX";
/// Octets of a list of folders, or of the numbers that a search finds.
const LIST: usize = 32 << 20;
/// Octets of the headers of one page.
const HEADERS: usize = 64 << 20;
/// Octets of the response for a message of a list, with many keywords.
const ROW: usize = 1024;
/// Messages of one folder.
const MAX_MESSAGES: usize = 1_000_000;
