//! Requests about the folders of a user: LIST, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE and the first login.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::{
    folder_list::{KnownFolder, ListProgress, ListSlice, named, word},
    storage::{Storage, log_failure},
};
use crate::{
    limits::MAX_FOLDERS,
    maildir::{
        Usage,
        folders::{FolderError, Folders},
        size_counter::ScanLimits,
        usage,
    },
    proto::{
        folder::Folder,
        imap::{
            command::StatusItem,
            request::{ImapRequest, ImapResponse, Refusal},
        },
        request::{ConnId, Failure, Mailbox},
    },
};

/// A request about the folders of a user.
#[derive(Debug)]
pub struct HierarchyJob {
    /// The connection that gets the response.
    pub conn: ConnId,
    /// The request.
    pub request: ImapRequest,
    /// The folders that are in memory.
    pub known: BTreeMap<Mailbox, KnownFolder>,
    /// The numbers that earlier slices of LIST or STATUS have found.
    progress: ListProgress,
}

/// The result of a slice of a [`HierarchyJob`].
#[derive(Debug)]
pub enum HierarchyResult {
    /// The request is served.
    Done(Box<HierarchyOutcome>),
    /// The rest of LIST or STATUS is to do. Dropping it ends the request.
    Unfinished(Box<HierarchyJob>),
}

/// The result of a [`HierarchyJob`].
#[derive(Debug)]
pub struct HierarchyOutcome {
    /// The response.
    pub response: ImapResponse,
    /// The mailbox of the user, if its use of the quota is to be counted anew.
    pub shrunk: Option<Mailbox>,
    /// Whether the folder of the request has lost its name, with the folders below it.
    pub renamed: bool,
    /// The use of the quota, if it was counted.
    pub usage: Option<(Mailbox, Usage)>,
}

impl HierarchyJob {
    /// The job of a request.
    pub fn new(conn: ConnId, request: ImapRequest, known: BTreeMap<Mailbox, KnownFolder>) -> Self {
        Self { conn, request, known, progress: ListProgress::default() }
    }

    /// Whether it may count the octets of every message.
    pub fn counts_sizes(&self) -> bool {
        match &self.request {
            ImapRequest::List { status: items, .. } | ImapRequest::Status { items, .. } => {
                items.contains(&StatusItem::Size)
            }
            _ => false,
        }
    }

    /// Serves the request, or a slice of it.
    pub(super) fn run(self, storage: &Storage) -> Result<HierarchyResult, Failure> {
        self.run_slice(storage, storage.scan_limits())
    }

    pub(super) fn run_slice(
        mut self,
        storage: &Storage,
        limits: ScanLimits,
    ) -> Result<HierarchyResult, Failure> {
        storage.check_in_place()?;
        let Self { request, known, progress, .. } = &mut self;
        let sliced = match request {
            ImapRequest::List { mailbox, status } => {
                let slice = ListSlice::new((storage, limits), status, known, progress);
                slice.list(mailbox, progress)?.map_continue(ImapResponse::Folders)
            }
            ImapRequest::Status { folder, items } => {
                let slice = ListSlice::new((storage, limits), items, known, progress);
                match slice.status(folder, progress) {
                    Ok(status) => status.map_continue(ImapResponse::Status),
                    Err(Failure::NoFolder) => ControlFlow::Continue(ImapResponse::Refused(Refusal::NoFolder)),
                    Err(failure) => return Err(failure),
                }
            }
            _ => return self.change(storage).map(|outcome| HierarchyResult::Done(Box::new(outcome))),
        };
        Ok(match sliced {
            ControlFlow::Continue(response) => HierarchyResult::Done(Box::new(answered(response))),
            ControlFlow::Break(()) => HierarchyResult::Unfinished(Box::new(self)),
        })
    }

    /// Serves a request that is done at once.
    fn change(self, storage: &Storage) -> Result<HierarchyOutcome, Failure> {
        let Self { request, .. } = self;
        let mut outcome = answered(ImapResponse::Done);
        let done = match request {
            ImapRequest::Create { folder, special_use } => {
                let made = change(storage, &folder, |folders, name| match special_use {
                    Some(special_use) => folders.create_for_use(name, word(special_use)),
                    None => folders.create(name),
                })?;
                made.map(|made| {
                    let text = |directory: &String| Folders::text_of(directory);
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

fn refused(refusal: Refusal) -> HierarchyOutcome {
    answered(ImapResponse::Refused(refusal))
}

fn answered(response: ImapResponse) -> HierarchyOutcome {
    HierarchyOutcome { response, shrunk: None, renamed: false, usage: None }
}

/// Changes the folders of a user. The name is that of the folder's directory, or `.INBOX`.
fn change<T>(
    storage: &Storage,
    folder: &Mailbox,
    change: impl FnOnce(&Folders<'_>, &str) -> Result<T, FolderError>,
) -> Result<Result<T, FolderError>, Failure> {
    let inbox = storage.durable_maildir(&folder.clone().without_folder())?;
    let name = folder.folder().map_or(INBOX, Folder::directory);
    Ok(change(&Folders::of(&inbox, MAX_FOLDERS), name))
}

/// Stands for the mailbox itself in a change of folders.
const INBOX: &str = ".INBOX";
