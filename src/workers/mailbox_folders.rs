//! Requests about the folders of a user: LIST, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE and the first login.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    folder_status,
    storage::{Storage, log_failure},
};
use crate::{
    index::uid_book::NextNumbers,
    limits::MAX_FOLDERS,
    maildir::{
        Maildir, Usage,
        folders::{FolderEntry, FolderError, FolderTree},
        usage,
    },
    proto::{
        folder::Folder,
        imap::{
            command::StatusItem,
            request::{FolderInfo, FolderState, FolderStatus, ImapRequest, ImapResponse, Refusal},
        },
        request::{ConnId, Failure, Mailbox},
    },
};

/// A request about the folders of a user.
#[derive(Debug)]
pub struct FoldersJob {
    /// The connection that gets the response.
    pub conn: ConnId,
    /// The request.
    pub request: ImapRequest,
    /// The folders that are in memory.
    pub known: Vec<(Mailbox, KnownFolder)>,
}

/// A folder in memory, with its newest state.
#[derive(Debug)]
pub enum KnownFolder {
    /// A session has selected it.
    Selected(Arc<FolderState>),
    /// No session has. The next SELECT goes on from this state, if the folder has this device and inode still.
    Idle(Arc<FolderState>, (u64, u64)),
}

/// The result of a [`FoldersJob`].
#[derive(Debug)]
pub struct FoldersOutcome {
    /// The response.
    pub response: ImapResponse,
    /// The mailbox of the user, if its use of the quota is to be counted anew.
    pub shrunk: Option<Mailbox>,
    /// Whether the folder of the request has lost its name, with the folders below it.
    pub renamed: bool,
    /// The use of the quota, if it was counted.
    pub usage: Option<(Mailbox, Usage)>,
}

impl FoldersJob {
    /// Serves the request.
    pub(super) fn run(self, storage: &Storage) -> Result<FoldersOutcome, Failure> {
        let Self { request, known, .. } = self;
        storage.check_in_place()?;
        let mut outcome =
            FoldersOutcome { response: ImapResponse::Done, shrunk: None, renamed: false, usage: None };
        let done = match request {
            ImapRequest::List { mailbox, status } => {
                outcome.response = ImapResponse::Folders(list(storage, &mailbox, &status, &known)?);
                Ok(())
            }
            ImapRequest::Status { folder, items } => match status(storage, &folder, &items, &known) {
                Ok(status) => {
                    outcome.response = ImapResponse::Status(status);
                    Ok(())
                }
                Err(Failure::NoFolder) => Err(FolderError::Missing),
                Err(failure) => return Err(failure),
            },
            ImapRequest::Create { folder, special_use } => {
                let made = change(storage, &folder, |folders, name| match special_use {
                    Some(special_use) => folders.create_for_use(name, special_use),
                    None => folders.create(name),
                })?;
                made.map(|made| {
                    let text = |directory: &String| FolderTree::text_of(directory);
                    let owner = folder.without_folder();
                    let made = made.iter().filter_map(text).filter_map(|text| named(&owner, &text));
                    outcome.response = ImapResponse::Created(made.collect());
                })
            }
            ImapRequest::Delete { folder } => {
                let random = getrandom::u64().map_err(|error| {
                    log::error!("no random numbers: {error}");
                    Failure::TempFail
                })?;
                let done = change(storage, &folder, |folders, name| folders.delete(name, random))?;
                outcome.shrunk = Some(folder.without_folder());
                outcome.renamed = true;
                done
            }
            ImapRequest::Rename { from, to } => {
                let done = change(storage, &from, |folders, name| match to.folder() {
                    Some(to) => folders.rename(name, to.directory()),
                    None => Err(FolderError::Exists),
                })?;
                outcome.renamed = true;
                done
            }
            ImapRequest::Subscribe { folder, on, made } => change(storage, &folder, |folders, name| {
                let directory = |made: &Mailbox| made.folder().map(|folder| folder.directory().to_owned());
                let made: Vec<String> = made.iter().filter_map(directory).collect();
                folders.subscribe(if folder.folder().is_some() { name } else { "INBOX" }, on, &made)
            })?,
            ImapRequest::Prepare { mailbox } => {
                // A user without these folders has mail to read.
                if let Err(FolderError::Disk(error)) =
                    change(storage, &mailbox, |folders, _| folders.prepare())?
                {
                    log::error!("{error}: the folders with special uses are not all there");
                }
                Ok(())
            }
            ImapRequest::Usage { mailbox } => {
                let usage =
                    usage::usage(&storage.spool, mailbox.as_str()).map_err(|error| log_failure(&error))?;
                outcome.response = ImapResponse::Usage { octets: usage.bytes, messages: usage.messages };
                outcome.usage = Some((mailbox, usage));
                Ok(())
            }
            _ => return Err(Failure::TempFail), // invariant: the backend sends no others
        };
        match done {
            Ok(()) => Ok(outcome),
            Err(FolderError::Disk(error)) => Err(log_failure(&error)),
            Err(FolderError::Exists) => Ok(refused(Refusal::Exists)),
            Err(FolderError::Missing) => Ok(refused(Refusal::NoFolder)),
            Err(FolderError::HasChildren) => Ok(refused(Refusal::HasChildren)),
            Err(FolderError::Impossible) => Ok(refused(Refusal::Cannot)),
            Err(FolderError::TooMany) => Ok(refused(Refusal::TooManyFolders)),
            Err(FolderError::TooManySubscriptions) => Ok(refused(Refusal::TooManySubscriptions)),
        }
    }
}

fn refused(refusal: Refusal) -> FoldersOutcome {
    let response = ImapResponse::Refused(refusal);
    FoldersOutcome { response, shrunk: None, renamed: false, usage: None }
}

/// Changes the folders of a user. The name is that of the folder's directory, or `.INBOX`.
fn change<T>(
    storage: &Storage,
    folder: &Mailbox,
    change: impl FnOnce(&FolderTree<'_>, &str) -> Result<T, FolderError>,
) -> Result<Result<T, FolderError>, Failure> {
    let inbox = storage.durable_maildir(&folder.clone().without_folder())?;
    let name = folder.folder().map_or(INBOX, Folder::directory);
    Ok(change(&FolderTree::of(&inbox, MAX_FOLDERS), name))
}

/// The folders of a user, INBOX first, then by their texts, with parents and subscriptions that do not exist.
fn list(
    storage: &Storage,
    mailbox: &Mailbox,
    items: &[StatusItem],
    known: &[(Mailbox, KnownFolder)],
) -> Result<Vec<FolderInfo>, Failure> {
    let inbox = storage.maildir(mailbox)?;
    let folders = FolderTree::of(&inbox, MAX_FOLDERS);
    folders.recover();
    let entries = folders.list().map_err(|error| log_failure(&error))?;
    let uses = folders.uses(&entries);
    // A file that cannot be read hides no folder.
    let subscriptions = folders.subscriptions().unwrap_or_else(|error| {
        log::warn!("{error}: every folder counts as subscribed");
        None
    });
    let is_subscribed = |name: &str| subscriptions.as_ref().is_none_or(|all| all.contains(name));
    let status_of = |folder: &Mailbox, open: &dyn Fn() -> Result<Maildir, Failure>| {
        let known = known.iter().find(|(name, _)| name == folder).map(|(_, known)| known);
        (!items.is_empty()).then(|| numbers(storage, items, known, open).ok()).flatten()
    };
    let of_inbox = FolderInfo {
        folder: mailbox.clone(),
        exists: true,
        is_subscribed: is_subscribed("INBOX"),
        special_use: None,
        status: status_of(mailbox, &|| storage.maildir(mailbox)),
    };
    let mut by_text = BTreeMap::new();
    for FolderEntry { text, directory } in &entries {
        let Some(folder) = named(mailbox, text) else { continue };
        let info = FolderInfo {
            is_subscribed: is_subscribed(directory),
            special_use: uses.iter().find(|(_, has)| has == directory).map(|(special_use, _)| *special_use),
            status: status_of(&folder, &|| storage.imap_maildir(&folder)),
            exists: true,
            folder,
        };
        by_text.insert(text.clone(), info);
    }
    let absent = |text: &str, is_subscribed| {
        let folder = named(mailbox, text)?;
        Some(FolderInfo { folder, exists: false, is_subscribed, special_use: None, status: None })
    };
    let names =
        subscriptions.iter().flat_map(|all| all.names()).filter_map(|name| FolderTree::text_of(&name));
    for text in names {
        if !by_text.contains_key(&text) {
            by_text.extend(absent(&text, true).map(|info| (text, info)));
        }
    }
    for FolderEntry { text, .. } in &entries {
        for (end, _) in text.match_indices('.') {
            let parent = &text[..end];
            if !by_text.contains_key(parent) {
                by_text.extend(absent(parent, false).map(|info| (parent.to_owned(), info)));
            }
        }
    }
    Ok([of_inbox].into_iter().chain(by_text.into_values()).collect())
}

/// The folder with that text. `None`: no name on the wire can have it, or it would be INBOX.
fn named(mailbox: &Mailbox, text: &str) -> Option<Mailbox> {
    let folder = Folder::from_decoded(text).filter(|_| !text.eq_ignore_ascii_case("INBOX"))?;
    Some(mailbox.clone().in_folder(folder))
}

fn status(
    storage: &Storage,
    folder: &Mailbox,
    items: &[StatusItem],
    known: &[(Mailbox, KnownFolder)],
) -> Result<FolderStatus, Failure> {
    let known = known.iter().find(|(name, _)| name == folder).map(|(_, known)| known);
    numbers(storage, items, known, &|| storage.imap_maildir(folder))
}

fn numbers(
    storage: &Storage,
    items: &[StatusItem],
    known: Option<&KnownFolder>,
    open: &dyn Fn() -> Result<Maildir, Failure>,
) -> Result<FolderStatus, Failure> {
    let wants_size = items.contains(&StatusItem::Size);
    let read = |maildir: Maildir| match known {
        Some(KnownFolder::Selected(state)) if !wants_size => Ok(folder_status::of_state(state)),
        Some(KnownFolder::Selected(state)) => {
            let size = folder_status::size(storage, &maildir)?;
            Ok(FolderStatus { size, ..folder_status::of_state(state) })
        }
        Some(KnownFolder::Idle(state, id)) => {
            let next = (*id == maildir.id()).then(|| NextNumbers::from(&**state));
            folder_status::read(storage, &maildir, wants_size, next)
        }
        None => folder_status::read(storage, &maildir, wants_size, None),
    };
    read(open()?).map_err(|error| log_failure(&error))
}

/// Stands for the mailbox itself in a change of folders.
const INBOX: &str = ".INBOX";
