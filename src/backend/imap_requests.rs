//! Requests of IMAP about folders, and about messages that come into one: COPY, MOVE and APPEND.
//!
//! A request that changes the UIDs of a folder waits in the queue of that folder, also if no session has selected it. The others
//! are jobs of their own.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    clients::{Client, Clients},
    effects::Effects,
    imap::{Folders, refuse},
    imap_context::Context,
    imap_folder::{Answer, Folder, Pending, PendingAppend, Step},
    quota::QuotaCache,
    receive::{self, Receiver},
};
use crate::{
    accounts::Accounts,
    delivery::Append,
    index::{Registry, Sequence},
    maildir::Usage,
    proto::{
        imap::{
            request::{FolderState, ImapRequest, ImapResponse},
            sequence_set::NumberSet,
        },
        request::{AccountDirectory, ConnId, Failure, Mailbox, Quota, Response},
    },
    workers::{
        DeliveredCopy, Job,
        folder_job::{FolderId, FolderOutcome, FolderWork, Slice, Transfer, TransferOutcome, Transferred},
        job::Changes,
        mailbox_folders::{FoldersJob, FoldersOutcome},
    },
};

impl Folders {
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

    /// A job for a message that comes into a folder is done.
    pub(super) fn arrival_finished(
        &mut self,
        mailbox: &Mailbox,
        outcome: FolderOutcome,
        cx: &mut Context<'_>,
    ) -> Changes {
        match outcome {
            FolderOutcome::Transferred(done) => {
                return self.transferred(mailbox, *done, cx);
            }
            FolderOutcome::TransferRefused(refusal, target, names) => {
                if names.len() <= MAX_UNDONE {
                    cx.index.names_changed(mailbox, target, names);
                }
                if let Some(Pending { conn, .. }) = self.take_pending(mailbox) {
                    refuse(conn, refusal, cx.effects);
                }
            }
            FolderOutcome::Letters(letters) => {
                if let Some(Pending { conn, step: Step::Letters(append) }) = self.take_pending(mailbox) {
                    let PendingAppend { date, bytes, .. } = *append;
                    let append = Append { letters: letters.into(), date };
                    self.ready_appends.push_back((conn, mailbox.clone(), append, bytes));
                }
            }
            FolderOutcome::Numbered { uid_validity, uid } => {
                if let Some(Pending { conn, .. }) = self.take_pending(mailbox) {
                    let response = ImapResponse::Appended { uid_validity, uid };
                    cx.effects.respond(conn, Response::Imap(response));
                }
            }
            _ => {} // invariant: the caller handles the others
        }
        Changes::None
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
        let Some(Pending { conn, .. }) = self.take_pending(to) else { return Changes::None };
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
    fn append_with_keywords(
        &mut self,
        id: ConnId,
        folder: &Mailbox,
        append: PendingAppend,
        cx: &mut Context<'_>,
    ) {
        self.enqueue(folder, id, Step::Letters(Box::new(append)), cx);
    }

    /// Gives UIDs to messages of APPEND that are durable.
    pub(super) fn number_appended(&mut self, receiver: &mut Receiver, cx: &mut Context<'_>) {
        while let Some((id, copy)) = receiver.appended.pop_front() {
            let DeliveredCopy { mailbox, entry, .. } = copy;
            self.enqueue(&mailbox, id, Step::Number(Box::new(entry)), cx);
        }
    }
}

impl Folders {
    /// Puts a request into the queue of a folder, whether a session has selected it or not.
    fn enqueue(&mut self, mailbox: &Mailbox, conn: ConnId, step: Step, cx: &mut Context<'_>) {
        let last_id = &mut self.last_id;
        let folder = self.folders.entry(mailbox.clone()).or_insert_with(|| {
            *last_id += 1;
            Folder::new(FolderId(*last_id))
        });
        folder.pending.push_back(Pending { conn, step });
        self.advance(mailbox, cx);
    }

    /// Takes the first request of a folder.
    fn take_pending(&mut self, mailbox: &Mailbox) -> Option<Pending> {
        self.folders.get_mut(mailbox)?.pending.pop_front()
    }

    /// Puts the next step of the first request into its place.
    fn put_first(&mut self, mailbox: &Mailbox, conn: ConnId, step: Step) {
        if let Some(folder) = self.folders.get_mut(mailbox) {
            folder.pending.push_front(Pending { conn, step });
        }
    }

    /// Responds with a state of a folder that has everything the index has now.
    fn answer(&mut self, mailbox: &Mailbox, conn: ConnId, answer: Answer, cx: &mut Context<'_>) {
        let Some(folder) = self.folders.get_mut(mailbox) else {
            return cx.effects.fail(conn, Failure::NoFolder);
        };
        match cx.index.version(mailbox) {
            Some(version) => {
                folder.pending.push_back(Pending { conn, step: Step::Respond(version, answer) });
                self.advance(mailbox, cx);
            }
            None => cx.effects.respond(conn, Response::Imap(answer.with(folder.state()))),
        }
    }
}

impl Folder {
    /// Begins a job for a message that comes into the folder.
    pub(super) fn begin_arrival(
        &mut self,
        mailbox: &Mailbox,
        conn: ConnId,
        step: Step,
        cx: &mut Context<'_>,
    ) {
        match step {
            Step::Transfer(transfer) => {
                self.begin(mailbox, (conn, Step::InJob), FolderWork::Transfer(transfer), cx);
            }
            Step::Letters(append) => {
                let work = FolderWork::Letters(append.flags, append.keywords.clone());
                self.begin(mailbox, (conn, Step::Letters(append)), work, cx);
            }
            Step::Number(entry) => {
                self.begin(mailbox, (conn, Step::InJob), FolderWork::Number(entry), cx);
            }
            // invariant: the caller handles the others, and no job has the UIDs
            _ => cx.effects.fail(conn, Failure::TempFail),
        }
    }

    /// Runs the job of the first request, also if no session has selected the folder.
    fn begin(
        &mut self,
        mailbox: &Mailbox,
        (conn, step): (ConnId, Step),
        work: FolderWork,
        cx: &mut Context<'_>,
    ) {
        self.pending.push_front(Pending { conn, step });
        let maildir = self.maildir.upgrade();
        self.run_in(mailbox, work, true, maildir, cx);
    }

    /// Whether its state is that of a session.
    pub(super) fn has_state(&self) -> bool {
        self.version.is_some() && !self.sessions.is_empty()
    }

    pub(super) fn state(&self) -> Arc<FolderState> {
        Arc::clone(&self.sequence.state)
    }

    pub(super) fn sequence(&self) -> Arc<Sequence> {
        Arc::clone(&self.sequence)
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
                    self.folders.append_with_keywords(
                        id,
                        &folder,
                        PendingAppend { flags, keywords, date, bytes },
                        cx,
                    );
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

    /// Passes messages whose keywords have letters on to the committer.
    pub(super) fn pass_appends_on(&mut self, clients: &mut Clients, cx: &mut Context<'_>) {
        while let Some((id, mailbox, append, bytes)) = self.folders.ready_appends.pop_front() {
            if let Some(client) = clients.get_mut(id) {
                self.append((id, client), (mailbox, append, bytes), (cx.index, cx.effects));
            }
        }
    }

    /// Passes a message whose letters are known on to the committer.
    fn append(
        &mut self,
        (id, client): (ConnId, &mut Client),
        message: (Mailbox, Append, Vec<u8>),
        (index, effects): (&mut Registry, &mut Effects),
    ) {
        let mut cx =
            receive::Context { now: self.now, accounts: self.accounts, quotas: self.quotas, index, effects };
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

/// Copies that were removed again, of which the index hears at once. The watch reports more of them.
const MAX_UNDONE: usize = 1000;
