//! Requests of IMAP about folders, and about messages that come into one: COPY, MOVE and APPEND.
//!
//! A request that changes the UIDs of a folder waits in the queue of that folder, also if no session has selected it. The others
//! are jobs of their own.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Client, Folders,
    effects::Effects,
    imap::{Answer, Context, PendingAppend, Step},
    quota::QuotaCache,
    receive::Receiver,
};
use crate::{
    accounts::Accounts,
    delivery::Append,
    index::Registry,
    maildir::Usage,
    proto::{
        imap::{
            flags::Flags,
            request::{ImapRequest, ImapResponse},
            sequence_set::NumberSet,
        },
        request::{AccountDirectory, ConnId, Failure, Mailbox, Quota, Response},
    },
    workers::{
        DeliveredCopy, Job,
        folder_jobs::Slice,
        folder_transfer::{Transfer, TransferOutcome, Transferred},
        job::Changes,
        mailbox_folders::{FoldersJob, FoldersOutcome},
    },
};

impl Folders {
    /// No folders yet. The name of this host is for the names of copies.
    pub(super) fn on_host(host: &str) -> Self {
        Self { host: Some(host.into()), ..Self::default() }
    }

    /// Takes another name of this host.
    pub(super) fn set_host(&mut self, host: &str) {
        self.host = Some(host.into());
    }

    /// Serves a request about the folders of a user.
    pub(super) fn handle_folders(&mut self, id: ConnId, request: ImapRequest, effects: &mut Effects) {
        let (mailbox, wants_all) = match &request {
            ImapRequest::List { mailbox, status } => (mailbox, !status.is_empty()),
            ImapRequest::Status { folder, .. } => (folder, false),
            ImapRequest::Create { folder, .. }
            | ImapRequest::Delete { folder }
            | ImapRequest::Subscribe { folder, .. }
            | ImapRequest::Rename { from: folder, .. } => (folder, false),
            ImapRequest::Prepare { mailbox } | ImapRequest::Usage { mailbox } => (mailbox, false),
            _ => return effects.fail(id, Failure::TempFail), // invariant: the caller passes no others
        };
        let range = self.folders.range(mailbox.clone()..);
        let of_user =
            range.take_while(
                |(name, _)| if wants_all { name.as_str() == mailbox.as_str() } else { *name == mailbox },
            );
        let states = of_user.filter(|(_, folder)| folder.has_state());
        let selected = states.map(|(name, folder)| (name.clone(), folder.state())).collect();
        effects.run(Job::Folders(Box::new(FoldersJob { conn: id, request, selected })));
    }

    /// A worker has served such a request. Returns the changes of the mail that it has made.
    pub(super) fn folders_finished(
        &mut self,
        id: ConnId,
        result: Result<Box<FoldersOutcome>, Failure>,
        (quotas, now): (&mut QuotaCache, Duration),
        effects: &mut Effects,
    ) -> Changes {
        let outcome = match result {
            Ok(outcome) => *outcome,
            Err(failure) => {
                effects.fail(id, failure);
                return Changes::None;
            }
        };
        let FoldersOutcome { response, shrunk, renamed, usage } = outcome;
        if let Some(renamed) = renamed.filter(|renamed| renamed.folder().is_some()) {
            self.forget_with_folders_below(&renamed, effects);
        }
        if let Some((mailbox, usage)) = usage {
            quotas.insert(mailbox, usage, now);
        }
        effects.respond(id, Response::Imap(response));
        shrunk.map_or(Changes::None, |mailbox| Changes::Deletions(vec![mailbox]))
    }

    /// Drops folders whose names belong to other directories now, or to none.
    fn forget_with_folders_below(&mut self, renamed: &Mailbox, effects: &mut Effects) {
        let name = renamed.folder().map_or("", |folder| folder.directory());
        let is_below = |other: &Mailbox| {
            let below = other.folder().and_then(|folder| folder.directory().strip_prefix(name));
            other.as_str() == renamed.as_str()
                && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let range = self.folders.range(renamed.clone()..).map(|(other, _)| other);
        let of_user = range.take_while(|other| other.as_str() == renamed.as_str());
        let gone: Vec<Mailbox> = of_user.filter(|other| is_below(other)).cloned().collect();
        gone.iter().for_each(|mailbox| self.forget(mailbox, effects));
    }

    /// COPY, MOVE.
    pub(super) fn transfer(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (uids, to, is_move): (NumberSet, Mailbox, bool),
        quota: (Quota, Option<Usage>),
        cx: &mut Context<'_>,
    ) {
        let Some((from, folder, source)) = self.selected(id, client) else {
            return cx.effects.fail(id, Failure::TempFail);
        };
        let slice = Slice { sequence: folder.sequence(), from: 1 };
        let host = self.host.clone().unwrap_or_else(|| "localhost".into());
        let done = Transferred::default();
        let from = from.clone();
        let transfer = Transfer { from, source, slice, uids: Arc::new(uids), is_move, host, quota, done };
        self.enqueue(&to, id, Step::Transfer(Box::new(transfer)), cx);
    }

    /// A job has copied or moved a slice to that folder.
    pub(super) fn transferred(
        &mut self,
        to: &Mailbox,
        outcome: TransferOutcome,
        cx: &mut Context<'_>,
    ) -> Changes {
        let TransferOutcome { transfer, target, arrivals, departures, end } = outcome;
        cx.index.names_changed(to, target, arrivals);
        cx.index.names_changed(&transfer.from, transfer.source.id(), departures);
        let Some(conn) = self.take_first(to) else { return Changes::None };
        // The next count of the quota finds the copies.
        let owner = to.clone().without_folder();
        let changes = Changes::Deletions(vec![owner]);
        match end {
            None => self.put_first(to, conn, Step::Transfer(transfer)),
            Some(Err(failure)) => cx.effects.fail(conn, failure),
            Some(Ok(())) => {
                let Transfer { from: source, done, .. } = *transfer;
                let Transferred { uid_validity, from, to, .. } = done;
                self.answer(&source, conn, Answer::Copied { uid_validity, from, to }, cx);
            }
        }
        changes
    }

    /// APPEND of a message with keywords, which get letters first.
    pub(super) fn append(
        &mut self,
        id: ConnId,
        folder: &Mailbox,
        append: PendingAppend,
        cx: &mut Context<'_>,
    ) {
        self.enqueue(folder, id, Step::Letters(Box::new(append)), cx);
    }

    /// A message of APPEND is durable: it gets its UID.
    pub(super) fn appended(&mut self, id: ConnId, copy: DeliveredCopy, cx: &mut Context<'_>) {
        let DeliveredCopy { mailbox, entry, .. } = copy;
        self.enqueue(&mailbox, id, Step::Number(Box::new(entry)), cx);
    }
}

/// The parts of the backend that requests about folders use.
pub(super) struct Parts<'a> {
    pub(super) folders: &'a mut Folders,
    pub(super) receiver: &'a mut Receiver,
    pub(super) accounts: &'a Accounts,
    pub(super) quotas: &'a mut QuotaCache,
    pub(super) now: Duration,
}

impl Parts<'_> {
    /// Serves a request of a session about folders, or returns one that is about the messages of the selected folder.
    pub(super) fn handle(
        &mut self,
        (id, client): (ConnId, &mut Client),
        request: ImapRequest,
        cx: &mut Context<'_>,
    ) -> Option<ImapRequest> {
        match request {
            ImapRequest::Append { folder, flags, keywords, date, bytes } => {
                let date = date.map(time_of);
                if keywords.is_empty() {
                    let append = Append { letters: flags.letters().collect(), date };
                    self.append((id, client), (folder, append, bytes), (cx.index, cx.effects));
                } else {
                    self.folders.append(id, &folder, PendingAppend { flags, keywords, date, bytes }, cx);
                }
            }
            ImapRequest::Copy { uids, to, is_move } => {
                let owner = to.clone().without_folder();
                let quota = (self.accounts.quota(&owner), self.quotas.usage(&owner, self.now));
                self.folders.transfer((id, client), (uids, to, is_move), quota, cx);
            }
            ImapRequest::Usage { mailbox } => match self.quotas.usage(&mailbox, self.now) {
                Some(Usage { bytes, messages }) => {
                    let response = ImapResponse::Usage { octets: bytes, messages };
                    cx.effects.respond(id, Response::Imap(response));
                }
                None => self.folders.handle_folders(id, ImapRequest::Usage { mailbox }, cx.effects),
            },
            ImapRequest::List { .. }
            | ImapRequest::Status { .. }
            | ImapRequest::Create { .. }
            | ImapRequest::Delete { .. }
            | ImapRequest::Rename { .. }
            | ImapRequest::Subscribe { .. }
            | ImapRequest::Prepare { .. } => self.folders.handle_folders(id, request, cx.effects),
            other => return Some(other),
        }
        None
    }

    /// Passes a message whose letters are known on to the committer.
    pub(super) fn append(
        &mut self,
        (id, client): (ConnId, &mut Client),
        message: (Mailbox, Append, Vec<u8>),
        (index, effects): (&mut Registry, &mut Effects),
    ) {
        let mut cx =
            super::Context { now: self.now, accounts: self.accounts, quotas: self.quotas, index, effects };
        self.receiver.append(id, client, message, &mut cx);
    }
}

/// A time in seconds since 1970, which may be negative.
fn time_of(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if seconds < 0 { epoch.checked_sub(since) } else { epoch.checked_add(since) };
    time.unwrap_or(epoch)
}
