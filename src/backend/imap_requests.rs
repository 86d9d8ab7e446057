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
    imap_context::FolderContext,
    imap_folder::{Answer, BookState, DurableChange, Folder, NextStep, PendingAppend, WaitingRequest},
    quota::{Fate, QuotaCache},
    receive::{self, Receiver},
};
use crate::{
    accounts::Accounts,
    deferred_drop::drop_deferred,
    delivery::Append,
    index::{Registry, Sequence},
    maildir::Usage,
    proto::{
        imap::{
            flags::Flags,
            request::{FolderState, ImapRequest, ImapResponse, Interruption},
            sequence_set::NumberSet,
        },
        request::{AccountDirectory, ConnId, Failure, Mailbox, Quota, Response},
    },
    workers::{
        DeliveredCopy, Job,
        folder_job::{FolderOutcome, FolderWork, Room, Slice, Transfer, TransferOutcome, Transferred},
        folder_list::KnownFolder,
        hierarchy_job::{HierarchyJob, HierarchyOutcome, HierarchyResult},
        job::Changes,
    },
};

impl Folders {
    /// Takes another name of this host.
    pub(super) fn set_host(&mut self, host: &str) {
        self.host = Some(host.into());
    }

    /// Serves a request about the folders of a user.
    pub(super) fn handle_folders(&mut self, id: ConnId, request: ImapRequest, cx: &mut FolderContext<'_>) {
        let effects = &mut *cx.effects;
        let (mailbox, wants_all) = match &request {
            ImapRequest::List { mailbox, status } => (mailbox, !status.is_empty()),
            ImapRequest::Status { folder, .. } => (folder, false),
            ImapRequest::Rename { from, .. } => return self.change_name(id, from.clone(), request, cx),
            ImapRequest::Delete { folder } if folder.folder().is_some() => {
                return self.change_name(id, folder.clone(), request, cx);
            }
            ImapRequest::Create { folder, .. }
            | ImapRequest::Delete { folder }
            | ImapRequest::Subscribe { folder, .. } => (folder, false),
            ImapRequest::Prepare { mailbox } | ImapRequest::Usage { mailbox } => (mailbox, false),
            _ => return effects.fail(id, Failure::TempFail), // invariant: the caller passes no others
        };
        let range = self.folders.range(mailbox.clone()..);
        let of_user =
            range.take_while(
                |(name, _)| if wants_all { name.as_str() == mailbox.as_str() } else { *name == mailbox },
            );
        let known = of_user.filter_map(|(name, folder)| Some((name.clone(), folder.known()?))).collect();
        effects.run(Job::Hierarchy(Box::new(HierarchyJob::new(id, request, known))));
    }

    /// A worker has done a slice of LIST or STATUS. The next one follows if the client is still waiting.
    pub(super) fn slice_listed(
        (id, is_waiting): (ConnId, bool),
        job: Box<HierarchyJob>,
        effects: &mut Effects,
    ) {
        if is_waiting {
            effects.run(Job::Hierarchy(job));
        } else {
            drop_deferred(job);
            effects.fail(id, Failure::TempFail); // the response is dropped
        }
    }

    /// A worker has served such a request. Returns the changes of the mail that it has made.
    pub(super) fn folders_finished(
        &mut self,
        (id, is_waiting): (ConnId, bool),
        result: Result<HierarchyResult, Failure>,
        (quotas, now): (&mut QuotaCache, Duration),
        cx: &mut FolderContext<'_>,
    ) -> Changes {
        let is_renamed = matches!(&result, Ok(HierarchyResult::Done(outcome)) if outcome.renamed);
        self.name_change_ended(id, is_renamed, cx);
        let HierarchyOutcome { response, shrunk, usage, .. } = match result {
            Ok(HierarchyResult::Done(outcome)) => *outcome,
            Ok(HierarchyResult::Unfinished(job)) => {
                Self::slice_listed((id, is_waiting), job, cx.effects);
                return Changes::None;
            }
            Err(failure) => {
                cx.effects.fail(id, failure);
                return Changes::None;
            }
        };
        if let Some((mailbox, usage)) = usage {
            quotas.insert(mailbox, usage, now, now);
        }
        cx.effects.respond(id, Response::Imap(response));
        shrunk.map_or(Changes::None, |mailbox| Changes::Deletions(vec![mailbox]))
    }

    /// A job for a message that comes into a folder is done.
    pub(super) fn arrival_finished(
        &mut self,
        mailbox: &Mailbox,
        outcome: FolderOutcome,
        cx: &mut FolderContext<'_>,
    ) -> Changes {
        match outcome {
            FolderOutcome::Transferred(done) => {
                return self.transferred(mailbox, *done, cx);
            }
            FolderOutcome::Measured(transfer, needs) => self.measured(mailbox, transfer, needs),
            FolderOutcome::TransferRefused(refusal, target, names) => {
                cx.index.names_changed(mailbox, target, names);
                if let Some(WaitingRequest { conn, .. }) = self.take_pending(mailbox) {
                    refuse(conn, refusal, cx.effects);
                    self.copy_ended(conn, Fate::Refused);
                }
            }
            FolderOutcome::Letters(letters) => {
                if let Some(WaitingRequest { conn, step: NextStep::Letters(append) }) =
                    self.take_pending(mailbox)
                {
                    let PendingAppend { date, bytes, .. } = *append;
                    let append = Append { letters: letters.into(), date };
                    self.ready_appends.push_back((conn, mailbox.clone(), append, bytes));
                }
            }
            FolderOutcome::Numbered(uid) => {
                if let Some(WaitingRequest { conn, .. }) = self.take_pending(mailbox) {
                    let response = ImapResponse::Appended { uid };
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
        (room, began): (Room, Duration),
        cx: &mut FolderContext<'_>,
    ) {
        let Some((from, folder, source)) = self.selected(id, client) else {
            return cx.effects.fail(id, Failure::TempFail);
        };
        let slice = Slice { sequence: folder.sequence(), from: 1 };
        let host = self.host.clone().unwrap_or_else(|| "localhost".into());
        let done = Transferred::default();
        let from = from.clone();
        let uids = Arc::new(uids);
        let transfer = Transfer { from, source, slice, uids, is_move, host, room, began, done };
        self.enqueue(&to, id, NextStep::Transfer(Box::new(transfer)), cx);
    }

    /// A job has copied or moved a slice to that folder.
    pub(super) fn transferred(
        &mut self,
        to: &Mailbox,
        outcome: TransferOutcome,
        cx: &mut FolderContext<'_>,
    ) -> Changes {
        let TransferOutcome { transfer, target, arrivals, departures, end } = outcome;
        cx.index.names_changed(to, target, arrivals);
        cx.index.names_changed(&transfer.from, transfer.source.id(), departures);
        let Some(WaitingRequest { conn, .. }) = self.take_pending(to) else { return Changes::None };
        match end {
            None => self.put_first(to, conn, NextStep::Transfer(transfer)),
            Some(Err(failure)) if transfer.done.messages == 0 => {
                cx.effects.fail(conn, failure);
                self.copy_ended(conn, Fate::Refused);
            }
            Some(end) => {
                self.copy_ended(conn, if end.is_ok() { Fate::Landed } else { Fate::Refused });
                let Transfer { from: source, done, .. } = *transfer;
                let Transferred { uid_validity, messages, from, to, .. } = done;
                let copied = DurableChange::Copied { uid_validity, messages, from, to };
                let interruption = end.err().map(|failure| Interruption { done: messages, failure });
                self.answer(&source, conn, Answer::Changed(copied, interruption), cx);
            }
        }
        Changes::Marks
    }

    /// APPEND of a message with keywords, which get letters first.
    fn append_with_keywords(
        &mut self,
        id: ConnId,
        folder: &Mailbox,
        append: PendingAppend,
        cx: &mut FolderContext<'_>,
    ) {
        self.enqueue(folder, id, NextStep::Letters(Box::new(append)), cx);
    }

    /// Gives UIDs to messages of APPEND that are durable.
    pub(super) fn number_appended(&mut self, receiver: &mut Receiver, cx: &mut FolderContext<'_>) {
        while let Some((id, copy)) = receiver.appended.pop_front() {
            let DeliveredCopy { mailbox, entry, .. } = copy;
            self.enqueue(&mailbox, id, NextStep::Number(Box::new(entry)), cx);
        }
    }
}

impl Folders {
    /// Puts a request into the queue of a folder, whether a session has selected it or not.
    fn enqueue(&mut self, mailbox: &Mailbox, conn: ConnId, step: NextStep, cx: &mut FolderContext<'_>) {
        self.entry(mailbox).pending.push_back(WaitingRequest { conn, step });
        self.advance(mailbox, cx);
    }

    /// Takes the first request of a folder.
    pub(super) fn take_pending(&mut self, mailbox: &Mailbox) -> Option<WaitingRequest> {
        self.folders.get_mut(mailbox)?.pending.pop_front()
    }

    /// Puts the next step of the first request into its place.
    pub(super) fn put_first(&mut self, mailbox: &Mailbox, conn: ConnId, step: NextStep) {
        if let Some(folder) = self.folders.get_mut(mailbox) {
            folder.pending.push_front(WaitingRequest { conn, step });
        }
    }

    /// Responds to COPY or MOVE with a state of the selected folder that has everything the index has now. The folder may have
    /// got another name meanwhile, and another one its name.
    fn answer(&mut self, mailbox: &Mailbox, conn: ConnId, answer: Answer, cx: &mut FolderContext<'_>) {
        let selected = self.folders.get_mut(mailbox).filter(|folder| folder.sessions.contains_key(&conn));
        let Some(folder) = selected else { return answer.fail((conn, Failure::NoFolder), cx.effects) };
        match cx.index.version(mailbox) {
            Some(version) => {
                folder.pending.push_back(WaitingRequest { conn, step: NextStep::Respond(version, answer) });
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
        step: NextStep,
        cx: &mut FolderContext<'_>,
    ) {
        match step {
            NextStep::Transfer(transfer) => {
                self.begin(mailbox, (conn, NextStep::InJob), FolderWork::Transfer(transfer), cx);
            }
            NextStep::Letters(append) => {
                let work = FolderWork::Letters(append.flags, append.keywords.clone());
                self.begin(mailbox, (conn, NextStep::Letters(append)), work, cx);
            }
            NextStep::Number(entry) => {
                self.begin(mailbox, (conn, NextStep::InJob), FolderWork::Number(entry), cx);
            }
            // invariant: the caller handles the others, and no job has the UIDs
            _ => cx.effects.fail(conn, Failure::TempFail),
        }
    }

    /// Runs the job of the first request, also if no session has selected the folder.
    fn begin(
        &mut self,
        mailbox: &Mailbox,
        (conn, step): (ConnId, NextStep),
        work: FolderWork,
        cx: &mut FolderContext<'_>,
    ) {
        self.pending.push_front(WaitingRequest { conn, step });
        let maildir = self.maildir.upgrade();
        self.run_in(mailbox, work, true, maildir, cx);
    }

    /// Its state, if the sessions that have selected it know it, or if the next SELECT goes on from it.
    fn known(&self) -> Option<KnownFolder> {
        self.version?;
        if !self.sessions.is_empty() {
            return Some(KnownFolder::Selected(self.sequence()));
        }
        let maildir = self.maildir.upgrade().filter(|_| !matches!(self.book, BookState::NotLoaded))?;
        Some(KnownFolder::Idle(self.state(), maildir.id()))
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
        cx: &mut FolderContext<'_>,
    ) -> Option<ImapRequest> {
        match request {
            ImapRequest::Append { folder, flags, keywords, date, bytes } => {
                let date = date.map(time_of);
                // `$Forwarded` is a keyword in a folder of Dovecot.
                if keywords.is_empty() && !flags.intersects(Flags::FORWARDED) {
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
                let room = match is_move || self.accounts.quota(&owner) == Quota::default() {
                    true => Room::Unlimited,
                    false => Room::Unknown {
                        needs_count: self.quotas.needs_recount(&owner, self.accounts, self.now),
                    },
                };
                self.folders.transfer((id, client), (uids, to, is_move), (room, self.now), cx);
            }
            ImapRequest::Usage { mailbox } => match self.quotas.usage(&mailbox, self.now) {
                Some(Usage { bytes, messages }) => {
                    let response = ImapResponse::Usage { octets: bytes, messages };
                    cx.effects.respond(id, Response::Imap(response));
                }
                None => self.folders.handle_folders(id, ImapRequest::Usage { mailbox }, cx),
            },
            ImapRequest::List { .. }
            | ImapRequest::Status { .. }
            | ImapRequest::Create { .. }
            | ImapRequest::Delete { .. }
            | ImapRequest::Rename { .. }
            | ImapRequest::Subscribe { .. }
            | ImapRequest::Prepare { .. } => self.folders.handle_folders(id, request, cx),
            other => return Some(other),
        }
        None
    }

    /// Passes messages whose keywords have letters on to the committer, and gives room to copies.
    pub(super) fn job_finished(&mut self, clients: &mut Clients, cx: &mut FolderContext<'_>) {
        self.folders.settle_room((self.accounts, self.quotas, self.now), cx);
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
