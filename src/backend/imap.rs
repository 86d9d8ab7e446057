//! The folders that IMAP sessions have selected. Any number of sessions share a folder, its UIDs and its state, also beside a
//! POP3 session.
//!
//! The index of a folder knows its files. After each change, a job gives them UIDs, and the sessions of the folder get the new
//! state as an event, at most one in a turn of the loop. A folder has one such job at a time, because each needs the UIDs. A
//! response that tells a state waits until this state has everything that the index had when the response became possible.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use super::{
    clients::Client,
    effects::Effects,
    imap_context::FolderContext,
    imap_folder::{Answer, BookState, Folder, NameChange, NextStep, RefreshRetry, Reserved, WaitingRequest},
    imap_logins::ImapLogins,
    maildrop::ReleaseResponse,
    quota::Fate,
};
use crate::{
    capacity::Shrinker,
    deferred_drop::drop_deferred,
    delivery::Append,
    index::{Registry, Snapshot},
    maildir::Maildir,
    proto::{
        SessionEvent,
        imap::request::{Fetch, ImapRequest, ImapResponse, Refusal},
        request::{Access, ConnId, Failure, Mailbox, Response},
    },
    workers::{
        Job,
        folder_job::{ChangeRequest, FolderChange, FolderKey, FolderOutcome, FolderResult, FolderWork},
        imap_reads::{ImapRead, ReadOutcome, ReadRequest},
        imap_search::SearchProgress,
        job::{Changes, KnownMaildir, OpenedMaildir},
    },
};

/// The folders in use by IMAP.
#[derive(Debug, Default)]
pub(super) struct Folders {
    pub(super) folders: BTreeMap<Mailbox, Folder>,
    pub(super) last_id: u64,
    /// The name of this host, for the names of files.
    pub(super) host: Option<Arc<str>>,
    /// Folders with a state that their sessions do not know yet.
    pub(super) changed: BTreeSet<Mailbox>,
    /// Sessions that do not know yet that their folder has another name, or is gone.
    pub(super) gone: Vec<(ConnId, Mailbox)>,
    /// Messages of APPEND whose keywords have letters.
    pub(super) ready_appends: VecDeque<(ConnId, Mailbox, Append, Vec<u8>)>,
    pub(super) logins: ImapLogins,
    /// Folders whose names change, or are to change, in the order of the requests.
    pub(super) name_changes: VecDeque<NameChange>,
    /// Folders whose first request is a COPY that needs room in a quota.
    pub(super) measured: VecDeque<Mailbox>,
    /// The room that the COPY of each session has.
    pub(super) reserved: BTreeMap<ConnId, Reserved>,
}

impl Folders {
    /// No folders yet. The name of this host is for the names of copies.
    pub(super) fn on_host(host: &str) -> Self {
        Self { host: Some(host.into()), ..Self::default() }
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.ready_appends);
        self.logins.shrink(shrinker);
        shrinker.shrink(&mut self.name_changes);
        shrinker.shrink(&mut self.measured);
    }

    // Requests

    /// Serves a request of a session at `now`.
    pub(super) fn handle(
        &mut self,
        (id, client): (ConnId, &mut Client),
        request: ImapRequest,
        now: Duration,
        cx: &mut FolderContext<'_>,
    ) {
        match request {
            ImapRequest::Select { folder } => {
                self.leave((id, client), cx);
                cx.maildrops.open((id, client), (folder, Access::Shared, now), cx.index, cx.effects);
            }
            ImapRequest::Unselect => {
                self.leave((id, client), cx);
                cx.effects.respond(id, Response::Imap(ImapResponse::Done));
            }
            ImapRequest::Refresh => refresh((id, client), cx),
            ImapRequest::Fetch(fetch) => self.fetch((id, client), fetch, now, cx),
            ImapRequest::Search(search) => {
                self.read((id, client), ReadRequest::Search(search, SearchProgress::default()), cx);
            }
            ImapRequest::Store(store) => {
                self.change((id, client), ChangeRequest::Store(store), cx);
            }
            ImapRequest::Expunge { uids } => {
                self.change((id, client), ChangeRequest::Expunge(uids), cx);
            }
            _ => cx.effects.fail(id, Failure::TempFail),
        }
    }

    /// Closes the folder of a session, if it has one.
    pub(super) fn leave(&mut self, (id, client): (ConnId, &mut Client), cx: &mut FolderContext<'_>) {
        self.session_left(id, client);
        cx.maildrops.release((id, client), ReleaseResponse::None, cx.index, cx.effects);
    }

    /// Handles the end of a session, or of its folder. The caller releases the files.
    pub(super) fn session_left(&mut self, id: ConnId, client: &Client) {
        if let Some(maildrop) = &client.maildrop
            && let Some(folder) = self.folders.get_mut(maildrop.mailbox())
        {
            folder.sessions.remove(&id);
        }
    }

    /// FETCH: renders a piece here if that needs no wait, and else by a worker.
    fn fetch(
        &self,
        (id, client): (ConnId, &mut Client),
        fetch: Box<Fetch>,
        now: Duration,
        cx: &mut FolderContext<'_>,
    ) {
        if let Some((_, folder, maildir)) = self.selected(id, client)
            && let Some(piece) = cx.maildrops.fetch_cached(&maildir, &folder.sequence, &fetch, now)
        {
            return cx.effects.respond(id, Response::Imap(ImapResponse::Fetched(piece)));
        }
        let unfinished = client.files().and_then(|files| files.fetching.take());
        let max = cx.maildrops.max_piece(1);
        self.read((id, client), ReadRequest::Fetch(fetch, max, unfinished), cx);
    }

    /// FETCH, SEARCH.
    pub(super) fn read(
        &self,
        (id, client): (ConnId, &mut Client),
        request: ReadRequest,
        cx: &mut FolderContext<'_>,
    ) {
        let selected = self.selected(id, client);
        let sequence = selected.map(|(_, folder, _)| folder.sequence());
        // The client waits for the rest of a message, and its file is open.
        let sequence = sequence.or_else(|| request.sequence_of_gone_folder());
        let maildir = client.files().map(|files| Arc::clone(&files.maildir));
        let Some((sequence, maildir)) = sequence.zip(maildir) else {
            return cx.effects.fail(id, Failure::TempFail);
        };
        let client = Arc::downgrade(client.waiting.get_or_insert_default());
        cx.effects.run(Job::Imap(Box::new(ImapRead { conn: id, maildir, sequence, request, client })));
    }

    /// STORE, EXPUNGE.
    pub(super) fn change(
        &mut self,
        (id, client): (ConnId, &mut Client),
        request: ChangeRequest,
        cx: &mut FolderContext<'_>,
    ) {
        let Some((mailbox, folder, _)) = self.selected(id, client) else {
            return cx.effects.fail(id, Failure::TempFail);
        };
        // After a refresh that has failed, the state in memory lacks flags of STORE, and EXPUNGE looks for them there.
        let version = cx.index.version(mailbox).filter(|version| folder.version < Some(*version));
        let version = version.filter(|_| matches!(request, ChangeRequest::Expunge(_)));
        let change = Box::new(FolderChange::new(request, folder.sequence()));
        let step = match version {
            Some(version) => NextStep::ChangeAfter(version, change),
            None => NextStep::Change(change),
        };
        let mailbox = mailbox.clone();
        if let Some(folder) = self.folders.get_mut(&mailbox) {
            folder.pending.push_back(WaitingRequest { conn: id, step });
        }
        self.advance(&mailbox, cx);
    }

    /// The folder that a session has selected.
    pub(super) fn selected<'a>(
        &'a self,
        id: ConnId,
        client: &'a Client,
    ) -> Option<(&'a Mailbox, &'a Folder, Arc<Maildir>)> {
        let maildrop = client.maildrop.as_ref()?;
        let folder =
            self.folders.get(maildrop.mailbox()).filter(|folder| folder.sessions.contains_key(&id))?;
        Some((maildrop.mailbox(), folder, Arc::clone(&maildrop.files.as_ref()?.maildir)))
    }

    // Completions and events

    /// A part of FETCH or SEARCH is done.
    pub(super) fn read_finished(
        (id, client): (ConnId, &mut Client),
        result: Result<ReadOutcome, Failure>,
        effects: &mut Effects,
    ) {
        match result {
            Ok(ReadOutcome::Response(response)) => effects.respond(id, Response::Imap(response)),
            Ok(ReadOutcome::Fetched(piece, unfinished)) => {
                if let Some(files) = client.files() {
                    files.fetching = unfinished;
                }
                effects.respond(id, Response::Imap(ImapResponse::Fetched(piece)));
            }
            Ok(ReadOutcome::Unfinished(read)) if !client.is_closed() => effects.run(Job::Imap(read)),
            Ok(ReadOutcome::Unfinished(_)) => effects.fail(id, Failure::TempFail), // the response is dropped
            Err(failure) => effects.fail(id, failure),
        }
    }

    /// A worker has read the times of a folder that is open, for NOOP. The index answers as it answers a login.
    pub(super) fn reopened(
        (id, client): (ConnId, &mut Client),
        result: Result<OpenedMaildir, Failure>,
        cx: &mut FolderContext<'_>,
    ) {
        let Some(maildrop) = client.maildrop.as_deref_mut() else {
            return cx.effects.fail(id, Failure::TempFail);
        };
        let Some(files) = &mut maildrop.files else { return cx.effects.fail(id, Failure::TempFail) };
        match result {
            Ok(OpenedMaildir { maildir, times, racy, barrier, .. }) if maildir.id() == files.maildir.id() => {
                let maildir = cx.index.shared(&maildrop.mailbox, maildir);
                cx.index.login(&maildrop.mailbox, &maildir, (times, racy), barrier, id);
                files.maildir = maildir;
            }
            // Another folder has its name now.
            Ok(_) | Err(Failure::NoFolder) => refuse(id, Refusal::NoFolder, cx.effects),
            Err(failure) => cx.effects.fail(id, failure),
        }
    }

    /// The index has the contents of a folder, or could not get them.
    pub(super) fn index_ready(
        &mut self,
        (id, client): (ConnId, &mut Client),
        result: Result<Arc<Snapshot>, Failure>,
        cx: &mut FolderContext<'_>,
    ) {
        let opened = client.maildrop.as_deref().and_then(|maildrop| {
            Some((maildrop.mailbox.clone(), Arc::clone(&maildrop.files.as_ref()?.maildir)))
        });
        let Some((mailbox, maildir)) = opened else { return cx.effects.fail(id, Failure::TempFail) };
        let version = result.and_then(|_| cx.index.version(&mailbox).ok_or(Failure::TempFail));
        let version = match version {
            Ok(version) => version,
            Err(failure) => {
                if self.selected(id, client).is_none() {
                    cx.maildrops.release((id, client), ReleaseResponse::None, cx.index, cx.effects);
                }
                return cx.effects.fail(id, failure);
            }
        };
        let folder = self.folder(&mailbox, &maildir, cx.effects);
        folder.sessions.entry(id).or_default();
        folder
            .pending
            .push_back(WaitingRequest { conn: id, step: NextStep::Respond(version, Answer::State) });
        self.advance(&mailbox, cx);
    }

    /// The folder with these directories. If another one had its name, its sessions have nothing to read any more.
    pub(super) fn folder(
        &mut self,
        mailbox: &Mailbox,
        maildir: &Arc<Maildir>,
        effects: &mut Effects,
    ) -> &mut Folder {
        // A folder that gets messages may have been opened by a job alone.
        let is_same = |folder: &Folder| match folder.maildir.upgrade() {
            Some(known) => known.id() == maildir.id(),
            None => !folder.pending.is_empty(),
        };
        if self.folders.get(mailbox).is_some_and(|folder| !is_same(folder)) {
            self.forget(mailbox, effects);
        }
        let folder = self.entry(mailbox);
        folder.maildir = Arc::downgrade(maildir);
        folder
    }

    /// Drops a folder that is gone.
    pub(super) fn forget(&mut self, mailbox: &Mailbox, effects: &mut Effects) {
        let Some(mut folder) = self.folders.remove(mailbox) else { return };
        self.gone.extend(folder.sessions.keys().map(|id| (*id, mailbox.clone())));
        for pending in folder.pending.drain(..).filter(|pending| !pending.is_name_change()) {
            let conn = pending.conn;
            pending.fail(Failure::NoFolder, effects);
            self.copy_ended(conn, Fate::Refused);
        }
        drop_deferred(folder);
    }

    /// A folder has changed in the index.
    pub(super) fn index_changed(&mut self, mailbox: &Mailbox, cx: &mut FolderContext<'_>) {
        self.advance(mailbox, cx);
    }

    /// A job for a folder is done. Returns the changes of the mail that it has made.
    pub(super) fn job_finished(
        &mut self,
        (mailbox, id): &FolderKey,
        result: FolderResult,
        cx: &mut FolderContext<'_>,
    ) -> Changes {
        let Some(folder) = self.folders.get_mut(mailbox).filter(|folder| folder.id == *id) else {
            drop_deferred(result);
            return Changes::Deletions(vec![mailbox.clone().without_folder()]);
        };
        let FolderResult { book, outcome } = result;
        let place = mem::replace(&mut folder.book, BookState::after_job(book));
        let is_for_first = matches!(place, BookState::InJob { is_for_first: true });
        let mut changes = Changes::None;
        match outcome {
            FolderOutcome::Refreshed(version, sequence) => {
                if !Arc::ptr_eq(&sequence.state, &folder.sequence.state) {
                    folder.state_number += 1;
                    self.changed.insert(mailbox.clone());
                }
                drop_deferred(mem::replace(&mut folder.sequence, sequence));
                (folder.version, folder.retry) = (Some(version), RefreshRetry::default());
            }
            FolderOutcome::Changed(done) => {
                changes = folder.slice_changed(mailbox, *done, cx);
            }
            // The next request, change or tick tries again.
            FolderOutcome::Failed(_) if !is_for_first && folder.pending.is_empty() => return changes,
            FolderOutcome::Failed(_) if !is_for_first => {}
            FolderOutcome::Failed(failure) => {
                if let Some(first) = folder.pending.pop_front() {
                    let conn = first.conn;
                    first.fail(failure, cx.effects);
                    self.copy_ended(conn, Fate::Refused);
                }
            }
            FolderOutcome::Refused(refusal) => {
                if let Some(first) = folder.pending.pop_front() {
                    let conn = first.conn;
                    match first.step {
                        NextStep::Respond(_, answer @ Answer::Changed(..)) => {
                            answer.fail((conn, Failure::NoFolder), cx.effects);
                        }
                        _ => refuse(conn, refusal, cx.effects),
                    }
                    self.copy_ended(conn, Fate::Refused);
                }
            }
            arrival => changes = self.arrival_finished(mailbox, arrival, cx),
        }
        self.advance(mailbox, cx);
        changes
    }

    /// The session whose request a job of that folder serves. `None`: the job is for no request.
    pub(super) fn requester(&self, (mailbox, id): &FolderKey) -> Option<ConnId> {
        let folder = self.folders.get(mailbox).filter(|folder| folder.id == *id)?;
        let is_for_first = matches!(folder.book, BookState::InJob { is_for_first: true });
        folder.pending.front().filter(|_| is_for_first).map(|first| first.conn)
    }

    /// Whether a session has selected that folder.
    pub(super) fn has_session(&self, mailbox: &Mailbox, id: ConnId) -> bool {
        self.folders.get(mailbox).is_some_and(|folder| folder.sessions.contains_key(&id))
    }

    /// Whether [`Folders::take_events`] may have something to return.
    pub(super) fn has_events(&self) -> bool {
        !self.changed.is_empty() || !self.gone.is_empty()
    }

    /// Takes the events for the sessions of folders that have changed since the last call.
    pub(super) fn take_events(&mut self) -> Vec<(ConnId, SessionEvent)> {
        let gone = mem::take(&mut self.gone).into_iter();
        let mut events: Vec<_> = gone.map(|(id, mailbox)| (id, SessionEvent::FolderGone(mailbox))).collect();
        for mailbox in mem::take(&mut self.changed) {
            let Some(folder) = self.folders.get_mut(&mailbox) else { continue };
            let (state, now) = (&folder.sequence.state, folder.state_number);
            let outdated = folder.sessions.iter_mut().filter(|(_, told)| told.is_some_and(|told| told < now));
            events.extend(outdated.map(|(id, told)| {
                *told = Some(now);
                (*id, SessionEvent::FolderChanged(Arc::clone(state)))
            }));
        }
        events
    }

    /// Drops the folders that no session has, and whose index is dropped.
    pub(super) fn drop_unused(&mut self, index: &Registry) {
        let is_unused = |mailbox: &Mailbox, folder: &mut Folder| {
            folder.sessions.is_empty()
                && folder.pending.is_empty()
                && folder.book.is_free()
                && index.maildir(mailbox).is_none()
        };
        let unused: Vec<_> =
            self.folders.extract_if(.., |mailbox, folder| is_unused(mailbox, folder)).collect();
        if !unused.is_empty() {
            drop_deferred(unused);
        }
    }

    // Internal steps

    /// Responds to the requests for which the state is new enough, and begins the next job.
    pub(super) fn advance(&mut self, mailbox: &Mailbox, cx: &mut FolderContext<'_>) {
        let Some(folder) = self.folders.get_mut(mailbox) else { return };
        while folder.book.is_free() {
            let Some(first) = folder.pending.pop_front() else {
                if !folder.sessions.is_empty() && cx.index.version(mailbox) > folder.version {
                    folder.refresh(mailbox, false, cx);
                }
                return;
            };
            let WaitingRequest { conn, step } = first;
            match step {
                NextStep::Respond(version, answer) if folder.version >= Some(version) => {
                    let state = Arc::clone(&folder.sequence.state);
                    folder.sessions.entry(conn).and_modify(|told| *told = Some(folder.state_number));
                    cx.effects.respond(conn, Response::Imap(answer.with(state)));
                }
                NextStep::ChangeAfter(version, mut change) if folder.version >= Some(version) => {
                    change.slice.sequence = folder.sequence();
                    folder.pending.push_front(WaitingRequest { conn, step: NextStep::Change(change) });
                }
                step @ (NextStep::Respond(..) | NextStep::ChangeAfter(..)) => {
                    folder.pending.push_front(WaitingRequest { conn, step });
                    if !folder.refresh(mailbox, true, cx)
                        && let Some(first) = folder.pending.pop_front()
                    {
                        first.fail(Failure::TempFail, cx.effects);
                    }
                }
                NextStep::Change(change) => {
                    folder.pending.push_front(WaitingRequest { conn, step: NextStep::InJob });
                    if !folder.run(mailbox, FolderWork::Change(change), true, cx) {
                        folder.pending.pop_front();
                        cx.effects.fail(conn, Failure::TempFail);
                    }
                }
                NextStep::NameChange => {
                    folder.pending.push_front(WaitingRequest { conn, step });
                    return self.begin_name_changes(mailbox, cx.effects);
                }
                NextStep::Measured(..) => return folder.pending.push_front(WaitingRequest { conn, step }),
                arrival => folder.begin_arrival(mailbox, conn, arrival, cx),
            }
        }
    }
}

/// Asks a worker whether the index of a folder has every change up to now.
fn refresh((id, client): (ConnId, &mut Client), cx: &mut FolderContext<'_>) {
    let Some(maildrop) = client.maildrop.as_deref().filter(|maildrop| maildrop.files.is_some()) else {
        return cx.effects.fail(id, Failure::TempFail);
    };
    let mailbox = maildrop.mailbox.clone();
    let settled_times = cx.index.settled_times(&mailbox);
    let known = cx.index.maildir(&mailbox).map(|maildir| KnownMaildir { maildir, settled_times });
    cx.effects.run(Job::Open { conn: id, mailbox, access: Access::Shared, known });
}

pub(super) fn refuse(id: ConnId, refusal: Refusal, effects: &mut Effects) {
    effects.respond(id, Response::Imap(ImapResponse::Refused(refusal)));
}
