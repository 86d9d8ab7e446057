//! `subscriptions`, beside the messages of a mailbox: the folders to which the user has subscribed, in Dovecot's format.
//!
//! One name a line, as it is on the disk without the leading dot. Version 2 begins with a header and has tabs between levels.
//! Without the file the user has subscribed to every folder. Lines that are no names stay as they are.
//!
//! The rule: the server writes no file that it does not read again, and knows that before it changes a folder. A file that it
//! cannot read stops no change of folders.

use std::{
    collections::HashSet,
    io::{ErrorKind, Read},
};

use super::{
    super::{
        Error, Kind, Maildir,
        cache_file::{self, is_foreign, open},
        fault_points::fault_point,
    },
    FolderError, FolderTree, INBOX, bare, folder_text, is_inbox,
};
use crate::safe_file::Durability;

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    is_version_2: bool,
    lines: Vec<Vec<u8>>,
}

impl Subscriptions {
    /// Reads the file. `None`: there is none.
    fn load(inbox: &Maildir) -> Result<Option<Self>, Error> {
        let failed = |step| move |e: std::io::Error| Error::at(inbox.path().join(SUBSCRIPTIONS), step, e);
        let file = match open(inbox, SUBSCRIPTIONS) {
            Err(error) if error.kind() == Kind::Gone => return Ok(None),
            opened => opened?,
        };
        let mut octets = Vec::new();
        file.take(MAX_READ + 1).read_to_end(&mut octets).map_err(failed("read"))?;
        if octets.len() as u64 > MAX_READ {
            let text = "longer than 4 MiB, remove the lines that name no folder";
            return Err(failed("read")(std::io::Error::new(ErrorKind::FileTooLarge, text)));
        }
        Ok(Some(Self::parse(&octets)))
    }

    fn parse(octets: &[u8]) -> Self {
        let rest = octets.strip_prefix(HEADER);
        let lines = rest.unwrap_or(octets).split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
        Self { is_version_2: rest.is_some(), lines: lines.map(<[u8]>::to_vec).collect() }
    }

    fn octets(&self) -> Vec<u8> {
        let mut octets = if self.is_version_2 { HEADER.to_vec() } else { Vec::new() };
        for line in &self.lines {
            octets.extend_from_slice(line);
            octets.push(b'\n');
        }
        octets
    }

    /// The names, as those of directories: with a leading dot. INBOX has no dot.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.lines.iter().filter_map(|line| self.name(line))
    }

    /// Whether the user has subscribed to a folder, or to INBOX.
    pub fn contains(&self, name: &str) -> bool {
        let wanted = Self::key(name);
        self.names().any(|name| Self::key(&name) == wanted)
    }

    /// The same for many folders: each line is read once.
    pub fn lookup(&self) -> SubscribedFolders {
        SubscribedFolders(self.names().map(|name| Self::key(&name)).collect())
    }

    pub(super) fn insert(&mut self, name: &str) {
        if !self.contains(name) {
            let line = if self.is_version_2 { bare(name).replace('.', "\t") } else { bare(name).to_owned() };
            self.lines.push(line.into_bytes());
        }
    }

    /// Replaces the names of folders.
    pub(super) fn rename(&mut self, new_name: impl Fn(&str) -> Option<String>) {
        let renamed: Vec<(String, String)> =
            self.names().filter_map(|name| Some((new_name(&name)?, name))).collect();
        for (new, old) in renamed {
            self.remove(&old);
            self.insert(&new);
        }
    }

    fn remove(&mut self, name: &str) {
        let wanted = Self::key(name);
        let lines = std::mem::take(&mut self.lines);
        let is_kept = |line: &Vec<u8>| self.name(line).is_none_or(|name| Self::key(&name) != wanted);
        self.lines = lines.into_iter().filter(is_kept).collect();
    }

    fn name(&self, line: &[u8]) -> Option<String> {
        let name = std::str::from_utf8(line).ok()?;
        let name = if self.is_version_2 { name.replace('\t', ".") } else { name.to_owned() };
        let is_name = name.split('.').all(|level| !level.is_empty())
            && !name.contains(|c: char| c == '/' || c.is_control());
        if !is_name {
            return None;
        }
        Some(if name.eq_ignore_ascii_case(INBOX) { INBOX.to_owned() } else { format!(".{name}") })
    }

    /// The form in which names are compared.
    fn key(name: &str) -> String {
        if name == INBOX || is_inbox(name) { INBOX.to_owned() } else { folder_text(name) }
    }
}

/// The folders to which a user has subscribed.
#[derive(Debug)]
pub struct SubscribedFolders(HashSet<String>);

impl SubscribedFolders {
    /// Whether the user has subscribed to a folder, or to INBOX.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(&Subscriptions::key(name))
    }
}

/// The number of lines in such a file that are no names of folders.
pub fn bad_subscription_lines(octets: &[u8]) -> usize {
    let subscriptions = Subscriptions::parse(octets);
    subscriptions.lines.iter().filter(|line| subscriptions.name(line).is_none()).count()
}

impl FolderTree<'_> {
    /// The subscriptions of the user. `None`: to every folder.
    pub fn subscriptions(&self) -> Result<Option<Subscriptions>, Error> {
        Subscriptions::load(self.inbox)
    }

    /// Subscribes to a folder, or ends that. The folder need not exist. The name of INBOX is `INBOX`. `made`: folders that the
    /// same client has made and not subscribed to. It does so by itself, so their subscriptions from [`FolderTree::create`] end.
    pub fn subscribe(&self, name: &str, is_on: bool, made: &[String]) -> Result<(), FolderError> {
        let _lock = self.begin_change()?;
        let before = Subscriptions::load(self.inbox)?;
        let mut after = match &before {
            Some(before) => before.clone(),
            None if is_on
                && made.iter().all(|made| made == name)
                && (name == INBOX || self.find(name)?.is_some()) =>
            {
                return Ok(());
            }
            None => self.all()?,
        };
        made.iter().for_each(|made| after.remove(made));
        if is_on {
            after.insert(name);
        } else {
            after.remove(name);
        }
        if before.as_ref() != Some(&after) {
            check_room(before.as_ref(), &after)?;
            self.save_subscriptions(&after)?;
        }
        Ok(())
    }

    /// Writes the subscriptions that are in force without a file, for programs that take a missing file for none. `false`: there
    /// is a file already.
    pub fn write_subscriptions(&self) -> Result<bool, FolderError> {
        let _lock = self.begin_change()?;
        if Subscriptions::load(self.inbox)?.is_some() {
            return Ok(false);
        }
        self.save_subscriptions(&self.all()?)?;
        Ok(true)
    }

    /// The subscriptions after a change, if the user has subscribed to some folders and not to others, and if they change.
    pub(super) fn plan_subscriptions(
        &self,
        change: impl FnOnce(&mut Subscriptions),
    ) -> Result<Option<Subscriptions>, FolderError> {
        let before = match Subscriptions::load(self.inbox) {
            Err(error) if is_foreign(&error) || error.is_too_long() => {
                log::warn!("{error}: every folder counts as subscribed");
                return Ok(None);
            }
            loaded => loaded?,
        };
        let Some(before) = before else { return Ok(None) };
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(None);
        }
        check_room(Some(&before), &after)?;
        Ok(Some(after))
    }

    /// Subscriptions to all folders, as they are without a file.
    fn all(&self) -> Result<Subscriptions, Error> {
        let mut all = Subscriptions { is_version_2: true, lines: Vec::new() };
        all.insert(INBOX);
        self.list()?.iter().for_each(|folder| all.insert(&folder.directory));
        Ok(all)
    }

    pub(super) fn save_subscriptions(&self, subscriptions: &Subscriptions) -> Result<(), Error> {
        fault_point(self.inbox.path(), "write subscriptions")?;
        cache_file::replace(self.inbox, SUBSCRIPTIONS, &subscriptions.octets(), Durability::Durable)?;
        fault_point(self.inbox.path(), "write subscriptions: done")
    }
}

/// Refuses subscriptions that are too many to be written, unless they were more before.
fn check_room(before: Option<&Subscriptions>, after: &Subscriptions) -> Result<(), FolderError> {
    let length = after.octets().len();
    let is_longer = before.is_none_or(|before| length > before.octets().len());
    if length > MAX_FILE && is_longer { Err(FolderError::TooManySubscriptions) } else { Ok(()) }
}

/// The file.
pub const SUBSCRIPTIONS: &str = "subscriptions";
/// The first lines of version 2.
const HEADER: &[u8] = b"V\t2\n\n";
/// Octets of the longest file that the server writes.
const MAX_FILE: usize = 1 << 20;
/// Octets of the longest file that it reads, which another program may have written.
const MAX_READ: u64 = 4 << 20;
