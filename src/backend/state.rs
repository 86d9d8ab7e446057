//! The state of the backend: its parts, and what they share.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use super::{
    api::Subscriptions, auth::Auth, clients::Clients, document_memory::DocumentMemory, effects::Effects,
    imap::Folders, maildrop::Maildrops, quota::QuotaCache, receive::Receiver, turn_budget::TurnBudget,
    workers::Workers,
};
use crate::{
    accounts::{Accounts, Reloader},
    clock::DateGuard,
    deferred_drop::DropThread,
    index::{Registry, watcher::MailboxEvents},
    limits::Limits,
    proto::{SessionEvent, chaos::Chaos, request::ConnId},
    workers::{CompletionSender, Storage},
};

/// Serves requests from sessions: its parts, and the state that they share.
pub struct Backend {
    pub(super) limits: Limits,
    pub(super) spool: PathBuf,
    pub(super) accounts: Accounts,
    /// The faults that happen by chance.
    pub(super) chaos: Chaos,
    /// The time of this turn of the loop, on the steady clock.
    pub(super) now: Duration,
    pub(super) turn_budget: TurnBudget,
    pub(super) storage: Arc<Storage>,
    pub(super) workers: Workers,
    pub(super) completions: CompletionSender,
    pub(super) clients: Clients,
    pub(super) auth: Auth,
    pub(super) receiver: Receiver,
    pub(super) maildrops: Maildrops,
    pub(super) folders: Folders,
    pub(super) quotas: QuotaCache,
    pub(super) subscriptions: Subscriptions,
    pub(super) documents: DocumentMemory,
    pub(super) index: Registry,
    pub(super) mailbox_events: MailboxEvents,
    pub(super) effects: Effects,
    /// Events that the loop has not yet given to their sessions.
    pub(super) events: VecDeque<(ConnId, SessionEvent)>,
    pub(super) next_cleanup: Duration,
    pub(super) reloader: Option<Reloader>,
    /// Whether sessions have transcripts, which show the changes of files.
    pub(super) has_transcripts: bool,
    pub(super) drop_thread: Option<DropThread>,
    pub(super) date_guard: DateGuard,
    /// Whether old mail is deleted.
    pub(super) expiry_enabled: bool,
}
