//! Serves requests from sessions: answers from memory where possible, otherwise queues a job for a worker or a
//! delivery for the committer.
//!
//! The backend only dispatches. Its parts own their state: `Auth` handles logins, `Receiver` inbound messages,
//! `Maildrops` the mailboxes that POP3 sessions have open, and `QuotaCache` the usage of mailboxes. Each part requests
//! `Effects`, which the backend carries out. The state of one connection is in its `Client`.

mod account_directory;
mod api;
mod auth;
mod body_memory;
mod cached_reads;
mod clients;
mod copy_room;
mod document_memory;
mod effects;
mod fair_queue;
mod folder_names;
mod imap;
mod imap_context;
mod imap_folder;
mod imap_logins;
mod imap_requests;
mod inbound;
mod login_queue;
mod maildrop;
mod memory;
mod open_maildrop;
mod quota;
mod receive;
mod receive_memory;
mod recipients;
mod refresh_retry;
mod reload;
mod run_effects;
mod session_logins;
mod spool_changes;
mod state;
mod streamed_items;
mod turn;
mod turn_budget;
mod web_queue;
mod whole_bodies;
mod workers;

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    accounts::Accounts,
    capacity::Shrinker,
    clock::{DateGuard, Now},
    config::{ChangeDetection, Config, UnknownRecipients},
    connection::RequestHandler,
    deferred_drop::{self, DropThread, LoopThreadGuard},
    fd_limits::FdBudget,
    index::{Registry, watcher::Watcher},
    maildir::{self, Spool, lock::LockMode, trusted_date},
    printable,
    proto::{
        SessionEvent,
        chaos::Chaos,
        http::api::{ApiAction, ApiRequest, Document},
        imap::request::{ImapRequest, Refusal},
        request::{AccountDirectory, ConnId, ReceiveRequest, Request, Response},
    },
    transcript::Archive,
    workers::{Completion, CompletionSender, Job, LoopWaker, Storage},
};
use api::Subscriptions;
use auth::Auth;
pub use body_memory::MemoryRelief;
use clients::{Client, Clients};
use document_memory::DocumentMemory;
use effects::Effects;
use fair_queue::ClientKey;
use imap::Folders;
use imap_context::FolderContext;
use maildrop::{Maildrops, ReleaseResponse};
use quota::QuotaCache;
use receive::{Context, Receiver};
pub use state::Backend;
use turn_budget::TurnBudget;
use workers::Workers;

/// The reason why the backend could not be opened.
#[derive(Debug)]
pub enum Error {
    /// The spool could not be used.
    Spool(maildir::Error),
    /// Threads could not be started.
    Threads(io::Error),
}

impl From<maildir::Error> for Error {
    fn from(error: maildir::Error) -> Self {
        Self::Spool(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Threads(error)
    }
}

impl Backend {
    /// Opens the spool and starts the threads. Completions go to `completions`. `archive` has the transcripts that the web inbox shows.
    ///
    /// # Errors
    /// The spool cannot be used, or a thread could not be started.
    pub fn open(
        config: &Config,
        accounts: Accounts,
        budget: &FdBudget,
        waker: &Arc<LoopWaker>,
        completions: &CompletionSender,
        archive: Option<Arc<Archive>>,
    ) -> Result<Self, Error> {
        let limits = config.limits.clone();
        let spool = Spool::open(&config.spool)?;
        let lock_mode = if config.shared_spool { LockMode::Shared } else { LockMode::Exclusive };
        let lock = spool.lock(lock_mode, limits.spool.lock_timeout.0)?;
        let known = trusted_date::read(&spool).unwrap_or_else(SystemTime::now);
        let (watcher, events) = match config.watch {
            ChangeDetection::Inotify => Watcher::start(config.shared_spool),
            ChangeDetection::Poll => Watcher::disabled(),
        };
        let accepts_all = config.unknown_recipients == UnknownRecipients::Create;
        let reloader = reload::start_reloader(&accounts, config, completions)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let mut storage = Storage::new(
            spool,
            lock,
            watcher,
            (limits.index.scan_workers, limits.disk.read_size.as_len(), budget.max_piece_files),
            limits.max_listed_size(),
            accepts_all.then_some(limits.delivery.max_created_mailboxes),
        )?;
        storage.archive = archive.clone();
        storage.refresh();
        let storage = Arc::new(storage);
        Ok(Self {
            spool: config.spool.clone(),
            workers: Workers::start(&storage, completions, &limits, budget)?,
            storage,
            clients: Clients::default(),
            auth: Auth::new(&key, &limits),
            receiver: Receiver::new(&config.hostname, &limits, budget.max_spilled, waker),
            maildrops: Maildrops::new(&limits, budget, completions.clone()),
            folders: Folders::on_host(&config.hostname),
            quotas: QuotaCache::new(limits.quota.cache_size, limits.quota.cache_ttl.0),
            has_transcripts: archive.is_some(),
            subscriptions: Subscriptions::new(archive, limits.disk.queue_size),
            documents: DocumentMemory::new(limits.http.max_document_memory.0),
            index: Registry::new(&limits, budget.capped_indexes(&limits)),
            mailbox_events: events,
            accounts,
            chaos: Chaos::default(),
            now: Duration::ZERO,
            turn_budget: TurnBudget::default(),
            effects: Effects::default(),
            events: VecDeque::new(),
            next_cleanup: Duration::ZERO,
            limits,
            reloader,
            completions: completions.clone(),
            drop_thread: Some(DropThread::start(budget.max_read_files)?),
            date_guard: DateGuard::new(Duration::ZERO, known),
            expiry_enabled: config.pop3.expire.is_some(),
        })
    }

    /// Makes this thread the event loop: another thread closes files from now on.
    ///
    /// # Errors
    /// A thread could not be started, which happens only if this is called a second time.
    pub fn enter_loop(&mut self) -> io::Result<LoopThreadGuard> {
        let thread = self.drop_thread.take();
        thread.map_or_else(|| DropThread::start(1), Ok).map(DropThread::mark_loop_thread)
    }

    // Connections

    /// The connection is closed. Jobs in progress for it continue to their end.
    pub fn connection_closed(&mut self, id: ConnId) {
        self.auth.connection_closed(id, self.now, &mut self.effects);
        self.receiver.waiting_closed(id, &mut self.effects);
        self.receiver.connection_closed(id);
        self.subscriptions.connection_closed(id, &mut self.effects);
        self.documents.record(id, None, self.now);
        self.folders.logins.end(id);
        if let Some(client) = self.clients.close(id) {
            self.release(id, client);
        }
        self.run_effects();
    }

    /// Releases everything that a connection held.
    fn release(&mut self, id: ConnId, mut client: Client) {
        self.receiver.discard_body(id, &mut client);
        self.receiver.connection_closed(id);
        self.folders.session_left(id, &client);
        self.maildrops.release((id, &mut client), ReleaseResponse::None, &mut self.index, &mut self.effects);
    }

    /// The next response, and its connection.
    pub fn next_response(&mut self) -> Option<(ConnId, Response)> {
        self.clients.next_response()
    }

    /// The next event for a session, and its connection.
    pub fn next_event(&mut self) -> Option<(ConnId, SessionEvent)> {
        self.events.pop_front()
    }

    // Completions, events and time

    /// Handles the completion of a job or a delivery.
    pub fn complete(&mut self, completion: Completion) {
        self.turn_budget.charge(&completion);
        self.dispatch_completion(completion);
        self.auth.dispatch_checks(&self.accounts, self.now, &mut self.effects);
        self.run_effects();
    }

    /// Checks the mailboxes in use and the inbound messages. Returns whether another tick is needed soon.
    pub fn tick(&mut self, now: Duration) -> bool {
        let (receiver, clients, mut cx) = self.receiver_parts();
        receiver.expire_deliveries(clients, &mut cx);
        receiver.expire_waiting(&mut cx);
        self.index.tick(now);
        let Self { folders, maildrops, index, effects, .. } = self;
        folders.retry_refreshes(now, &mut FolderContext { maildrops, index, effects });
        self.folders.drop_unused(&self.index);
        self.subscriptions.mailboxes_changed(&mut self.effects);
        self.run_effects();
        self.needs_ticks()
    }

    /// Whether [`Backend::tick`] is needed more often than [`Backend::run_maintenance`].
    pub fn needs_ticks(&self) -> bool {
        self.index.needs_ticks() || self.receiver.has_messages() || self.subscriptions.has_subscribers()
    }

    /// Whether the last check of the spool found a reason to refuse all mail.
    pub fn refuses_mail(&self) -> bool {
        self.storage.refuses_mail()
    }

    /// The time at which the next check of a mailbox in use is due, if there is one.
    pub fn next_index_check(&self) -> Option<Duration> {
        self.index.next_check()
    }

    /// The server ends: refuses the messages that will certainly not become visible in a mailbox.
    pub fn abandon_unpublished(&mut self) {
        let (receiver, clients, mut cx) = self.receiver_parts();
        receiver.abandon_unpublished(clients, &mut cx);
        self.run_effects();
    }

    /// Whether no request and no abandoned message is in progress.
    pub fn is_idle(&self) -> bool {
        self.clients.outstanding() == 0 && !self.clients.has_responses() && self.receiver.is_idle()
    }

    /// Queues a check of the spool (that it is in place, and its free space), and once an hour the cleanup of `tmp/`.
    pub fn run_maintenance(&mut self, now: Now) {
        if self.date_guard.observe(now) {
            // Without `expire` the only effect is that a file in `tmp/` stays longer.
            let level = if self.expiry_enabled { log::Level::Error } else { log::Level::Debug };
            let file = self.spool.join(trusted_date::FILE);
            log::log!(
                level,
                "the clock is ahead of the trusted date: old messages are kept; if it is right: date +%s > {}, \
                 and restart",
                file.display()
            );
        }
        deferred_drop::close_read_files();
        let (date, now) = (self.date_guard.date(now), now.monotonic);
        self.effects.run(Job::CheckSpool { log_status: false });
        if self.next_cleanup <= now {
            self.next_cleanup = now + CLEANUP_INTERVAL;
            self.effects.run(Job::Tidy { age: self.limits.spool.tmp_max_age.0, date });
        }
        self.run_effects();
    }

    /// Returns the memory of closed sessions, messages and mailboxes to the allocator.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        self.clients.shrink(shrinker);
        shrinker.shrink(&mut self.events);
        self.effects.shrink(shrinker);
        self.auth.shrink(shrinker);
        self.receiver.shrink(shrinker);
        self.maildrops.shrink(shrinker);
        self.folders.shrink(shrinker);
        self.quotas.shrink(shrinker);
        self.subscriptions.shrink(shrinker);
        self.documents.shrink(shrinker);
        self.index.shrink(shrinker);
        self.mailbox_events.shrink(shrinker);
    }

    // Dispatch

    fn receiver_parts(&mut self) -> (&mut Receiver, &mut Clients, Context<'_>) {
        let Self { receiver, clients, accounts, quotas, index, effects, now, .. } = self;
        (receiver, clients, Context { now: *now, accounts, quotas, index, effects })
    }

    /// Passes a request to its part. The part responds now or after a completion.
    fn dispatch(&mut self, (id, peer): (ConnId, IpAddr), request: Request) {
        let Self {
            auth,
            receiver,
            maildrops,
            folders,
            quotas,
            subscriptions,
            accounts,
            documents,
            chaos,
            clients,
            index,
            effects,
            now,
            limits,
            ..
        } = self;
        let Some(client) = clients.get_mut(id) else { return };
        let mut cx = Context { now: *now, accounts, quotas, index, effects };
        match request {
            Request::Verify { user, password } => {
                auth.verify((id, peer), (&user, password), accounts, *now, effects);
                auth.dispatch_checks(accounts, *now, effects);
            }
            Request::Receive(ReceiveRequest::BeginWhole { octets, user }) => {
                let key = ClientKey::of(user.as_deref(), peer, accounts);
                receiver.begin_whole((id, client, &key), octets, &mut cx);
            }
            Request::Receive(request) => receiver.handle((id, client), request, &self.storage, &mut cx),
            Request::Maildrop(request) => maildrops.handle((id, client), request, *now, index, effects),
            Request::Api(ApiRequest { action: ApiAction::Chaos(set), .. }) => {
                *chaos = set.unwrap_or(*chaos);
                let document = Document::json(printable::json(chaos, false));
                effects.respond(id, Response::Document(document));
            }
            Request::Api(request) => {
                let key = ClientKey::of(request.user.as_deref(), peer, accounts);
                let memory = (documents, *now);
                subscriptions.handle((id, client, &key), request, &mut auth.logins, memory, effects);
            }
            Request::Imap(ImapRequest::Prepare { mailbox })
                if !folders.logins.begin(id, (&mailbox, peer), limits.imap.max_connections_per_user) =>
            {
                imap::refuse(id, Refusal::TooManySessions, effects);
            }
            Request::Imap(request) => {
                let cx = &mut FolderContext { maildrops, index, effects };
                let mut parts = imap_requests::Parts { folders, receiver, accounts, quotas, now: *now };
                if let Some(request) = parts.handle((id, client), request, cx) {
                    folders.handle((id, client), request, *now, cx);
                }
            }
        }
    }

    /// Passes a completion to its part.
    fn dispatch_completion(&mut self, completion: Completion) {
        self.record_changes(&completion);
        let Self {
            auth,
            receiver,
            maildrops,
            folders,
            quotas,
            subscriptions,
            documents,
            accounts,
            clients,
            index,
            effects,
            now,
            ..
        } = self;
        if let Completion::Api(id, _) = &completion {
            subscriptions.job_finished(*id, effects);
        }
        let client = completion.conn().and_then(|id| Some((id, clients.get_mut(id)?)));
        match (completion, client) {
            (Completion::Counted(id, token, counts), _) => {
                let mut cx = Context { now: *now, accounts, quotas, index, effects };
                receiver.usage_counted((id, &token), clients, counts, &mut cx);
            }
            (Completion::Spilled(id, Some(token), result), _) => {
                let mut cx = Context { now: *now, accounts, quotas, index, effects };
                receiver.body_sealed((id, &token), clients, result, &mut cx);
            }
            (Completion::Delivered(id, token, result), _) => {
                let mut cx = Context { now: *now, accounts, quotas, index, effects };
                receiver.delivered((id, &token), clients, result, &mut cx);
                folders.number_appended(receiver, &mut FolderContext { maildrops, index, effects });
                subscriptions.mailboxes_changed(effects);
            }
            (Completion::Verified(id, verdict), _) => auth.verified(id, verdict, accounts, *now, effects),
            (Completion::Spilled(_, None, result), Some((id, client))) => {
                receiver.body_spilled(id, client, result, effects)
            }
            (Completion::Opened(_, result), Some(client)) if client.1.has_open_folder() => {
                Folders::reopened(client, result, &mut FolderContext { maildrops, index, effects });
            }
            (Completion::Opened(_, result), Some(client)) => {
                maildrops.open_finished(client, result, index, effects)
            }
            (Completion::Folder(key, result), _) => {
                let cx = &mut FolderContext { maildrops, index, effects };
                let changes = folders.job_finished(&key, result, cx);
                imap_requests::Parts { folders, receiver, accounts, quotas, now: *now }
                    .job_finished(clients, cx);
                if api::apply_changes(&changes, quotas) {
                    subscriptions.mailboxes_changed(effects);
                }
            }
            (Completion::Hierarchy(id, result), client) => {
                let is_waiting = client.is_some_and(|(_, client)| !client.is_closed());
                let cx = &mut FolderContext { maildrops, index, effects };
                let changes = folders.folders_finished((id, is_waiting), result, (quotas, *now), cx);
                imap_requests::Parts { folders, receiver, accounts, quotas, now: *now }
                    .job_finished(clients, cx);
                if api::apply_changes(&changes, quotas) {
                    subscriptions.mailboxes_changed(effects);
                }
            }
            (Completion::Imap(_, result), Some((id, client))) => {
                Folders::read_finished((id, client), result, effects);
            }
            (Completion::Read(_, message, result), Some(client)) => {
                Maildrops::read_finished(client, message, result, index, effects);
            }
            (Completion::Updated(_, done, result), Some(client)) => {
                maildrops.update_finished(client, done, result, index, quotas, effects);
                subscriptions.mailboxes_changed(effects);
            }
            (Completion::Unlocked(mailbox), _) => maildrops.lock_released(&mailbox, clients, index, effects),
            (Completion::Index(id, result), _) => index.complete(id, result),
            (Completion::Api(id, result), _) if subscriptions.is_rendering(id) => {
                subscriptions.item_rendered(id, result, (documents, *now), effects);
            }
            (Completion::Api(_, result), Some(client)) => {
                if api::request_finished(client, result, (documents, *now), quotas, effects) {
                    subscriptions.mailboxes_changed(effects);
                }
            }
            (Completion::MailChanged(result), _) => subscriptions.compared(result, effects),
            (Completion::SessionsChanged, _) => subscriptions.sessions_changed(),
            (Completion::AccountsLoaded(accounts), _) => self.replace_accounts(accounts),
            // No response is outstanding, because the client has gone.
            (
                Completion::Spilled(..)
                | Completion::Opened(..)
                | Completion::Read(..)
                | Completion::Api(..)
                | Completion::Imap(..)
                | Completion::Updated(..),
                None,
            ) => {}
        }
    }
}

impl RequestHandler for Backend {
    fn directory(&self) -> &dyn AccountDirectory {
        self
    }

    fn spool_changes(&mut self, from: ConnId) -> Vec<String> {
        self.clients.take_changes(from)
    }

    fn handle(&mut self, (id, peer): (ConnId, IpAddr), request: Request) -> Option<Response> {
        self.clients.request(id);
        self.dispatch((id, peer), request);
        self.run_effects();
        self.clients.response_to(id)
    }
}

const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
