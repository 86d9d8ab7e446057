//! Inbound messages, from the first octet to the committer and back.
//!
//! A message is in one state at a time and moves on by value: its data arrives; its mailboxes are counted for their
//! quotas; its file, if it has one, is made durable; the committer delivers it. A message that waits for its reply ends in
//! [`Receiver::complete`], an unfinished one in [`Receiver::discard_body`]; both release its memory and its file in
//! [`Receiver::release_body`].

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    body_memory::BodyMemory,
    clients::{Client, Clients},
    effects::Effects,
    fair_queue::FairQueue,
    inbound::{
        Inbound, Pending, PendingRecipients, ReceivedMessage, Routing, Uncounted, WaitingBody, WantedResponse,
    },
    quota::QuotaCache,
};
use crate::{
    accounts::Accounts,
    capacity::Shrinker,
    deferred_drop::drop_deferred,
    delivery::{Append, Content, Delivery},
    index::Registry,
    limits::{Limits, Span},
    maildir::{
        Usage,
        name::{NameGenerator, UniqueName},
    },
    metrics::METRICS,
    proto::request::{ConnId, Envelope, Failure, Mailbox, ReceiveRequest, Recipient, Response},
    workers::{
        AckToken, DeliveredCopy, DeliveryReceipt, Job, LoopWaker, SpilledMessage, Storage,
        spill::{SpillPermits, SpillTarget},
    },
};

/// Receives messages for all SMTP and LMTP sessions.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) bodies: BodyMemory,
    pub(super) permits: SpillPermits,
    name_generator: NameGenerator,
    /// The number of inbound messages.
    pub(super) inbound: usize,
    /// Messages that the committer holds.
    pub(super) deliveries: usize,
    /// Messages that were refused because they took too long, and that a thread still holds.
    pub(super) abandoned: usize,
    /// Bodies that wait for memory.
    pub(super) waiting: FairQueue<WaitingBody>,
    /// Messages to many mailboxes, which continue in the next turn.
    pub(super) pending_recipients: VecDeque<PendingRecipients>,
    /// Messages of APPEND that are durable, and have no UID yet.
    pub(super) appended: VecDeque<(ConnId, DeliveredCopy)>,
    pub(super) limits: ReceiveLimits,
}

#[derive(Debug)]
pub(super) struct ReceiveLimits {
    /// Deliveries that the committer may hold.
    queue_size: usize,
    /// The longest time from the end of a message to its reply.
    delivery_timeout: Span,
    /// Octets of one message in memory.
    pub(super) spill_threshold: u64,
}

/// The parts of the backend that the methods of a [`Receiver`] use.
pub(super) struct Context<'a> {
    /// The time of this turn on the steady clock.
    pub(super) now: Duration,
    pub(super) accounts: &'a Accounts,
    pub(super) quotas: &'a mut QuotaCache,
    pub(super) index: &'a mut Registry,
    pub(super) effects: &'a mut Effects,
}

impl Receiver {
    pub(super) fn new(hostname: &str, limits: &Limits, max_files: usize, waker: &Arc<LoopWaker>) -> Self {
        Self {
            bodies: BodyMemory::new(limits.delivery.max_body_memory.0, max_files),
            permits: SpillPermits::new(waker),
            name_generator: NameGenerator::new(hostname, std::process::id()),
            inbound: 0,
            deliveries: 0,
            abandoned: 0,
            waiting: FairQueue::new(MAX_WAITING_BODIES),
            pending_recipients: VecDeque::new(),
            appended: VecDeque::new(),
            limits: ReceiveLimits::of(limits),
        }
    }

    /// Applies a reloaded configuration to messages that begin from now on.
    pub(super) fn reconfigure(&mut self, hostname: &str, limits: &Limits, max_files: usize) {
        self.bodies.set_limit(limits.delivery.max_body_memory.0, max_files);
        self.name_generator.set_host(hostname);
        self.limits = ReceiveLimits::of(limits);
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        self.bodies.shrink(shrinker);
        self.waiting.shrink(shrinker);
        shrinker.shrink(&mut self.pending_recipients);
        shrinker.shrink(&mut self.appended);
    }

    // Requests

    /// Serves a request about the message of a client.
    pub(super) fn handle(
        &mut self,
        (id, client): (ConnId, &mut Client),
        request: ReceiveRequest,
        storage: &Storage,
        cx: &mut Context<'_>,
    ) {
        match request {
            ReceiveRequest::CheckSpace { size } => cx.effects.respond(id, Self::check_space(storage, size)),
            ReceiveRequest::Begin | ReceiveRequest::BeginWhole { .. } => {
                cx.effects.respond(id, self.begin(id, client, cx.now));
            }
            ReceiveRequest::Spill { mailboxes, bytes } => {
                self.spill(id, client, (mailboxes, bytes), cx.effects)
            }
            ReceiveRequest::Discard => {
                self.discard_body(id, client);
                cx.effects.respond(id, Response::Done);
            }
            ReceiveRequest::Deliver { envelope, bytes, partial_ok, wants_id } => {
                self.deliver(id, client, (envelope, bytes), (partial_ok, wants_id), cx);
            }
        }
    }

    /// MAIL: whether there is room for a message of `size` octets.
    pub(super) fn check_space(storage: &Storage, size: u64) -> Response {
        if let Err(failure) = storage.was_writable() {
            return Response::Failed(failure);
        }
        let wanted = size.saturating_add(size / 2);
        if storage.free_space().is_some_and(|free| free < wanted) {
            Response::Failed(Failure::Full)
        } else {
            Response::Done
        }
    }

    /// DATA: whether a message may begin.
    pub(super) fn begin(&mut self, id: ConnId, client: &mut Client, now: Duration) -> Response {
        if self.deliveries >= self.limits.queue_size {
            METRICS.queue_full.inc();
            return Response::Failed(Failure::TempFail);
        }
        if !self.bodies.can_begin(id, now) {
            return Response::Failed(Failure::Full);
        }
        self.discard_body(id, client);
        self.bodies.begin(id);
        client.inbound = Some(Box::new(Inbound::Receiving(None)));
        self.inbound += 1;
        METRICS.bodies.set(self.inbound as u64);
        Response::Done
    }

    /// Moves message data to a file because memory has no room for it.
    pub(super) fn spill(
        &mut self,
        id: ConnId,
        client: &mut Client,
        (mailboxes, bytes): (Vec<Mailbox>, Vec<u8>),
        effects: &mut Effects,
    ) {
        let Some(Inbound::Receiving(spilled)) = client.inbound.as_deref_mut() else {
            return effects.fail(id, Failure::TempFail);
        };
        if !self.bodies.reserve_file(id, self.orphaned_files()) {
            return effects.fail(id, Failure::Full);
        }
        let to = match spilled.take() {
            Some(spilled) => SpillTarget::Existing(spilled),
            None => match self.new_unique_name() {
                Ok(name) => SpillTarget::New(mailboxes, name, self.permits.grant()),
                Err(failure) => return effects.fail(id, failure),
            },
        };
        self.bodies.hand_over(id, bytes.capacity() as u64);
        effects.run(Job::Spill { conn: id, to, bytes, last: None });
    }

    /// The end of a message: makes it durable and visible.
    pub(super) fn deliver(
        &mut self,
        id: ConnId,
        client: &mut Client,
        (Envelope { to, sent_copy_for, .. }, bytes): (Envelope, Vec<u8>),
        (partial_ok, wants_id): (bool, bool),
        cx: &mut Context<'_>,
    ) {
        let wanted = if wants_id { WantedResponse::Id } else { WantedResponse::Results };
        let to = to.into_iter().map(Ok).collect();
        let routing = Routing { to, partial_ok, sent_copy_for, append: None };
        self.end_of_message((id, client), (routing, bytes), wanted, cx);
    }

    /// The end of a message that the owner of a folder puts there (APPEND).
    pub(super) fn append(
        &mut self,
        id: ConnId,
        client: &mut Client,
        (folder, append, bytes): (Mailbox, Append, Vec<u8>),
        cx: &mut Context<'_>,
    ) {
        let to = vec![Ok(Recipient::owner_of(folder))];
        let routing = Routing { to, partial_ok: false, sent_copy_for: None, append: Some(append) };
        self.end_of_message((id, client), (routing, bytes), WantedResponse::Uid, cx);
    }

    fn end_of_message(
        &mut self,
        (id, client): (ConnId, &mut Client),
        (routing, bytes): (Routing, Vec<u8>),
        wanted: WantedResponse,
        cx: &mut Context<'_>,
    ) {
        let Some(Inbound::Receiving(spilled)) = client.inbound.as_deref_mut() else {
            return cx.effects.fail(id, Failure::TempFail);
        };
        let spilled = spilled.take();
        self.bodies.hand_over(id, bytes.capacity() as u64);
        let in_file = spilled.as_deref().map_or(0, SpilledMessage::bytes);
        let size = in_file + bytes.len() as u64;
        let token = AckToken::default();
        let pending = Pending { token, since: cx.now, size, reserved: Vec::new(), wanted };
        let message = ReceivedMessage { routing, spilled, bytes };
        client.inbound = Some(Box::new(Inbound::LookingUpQuotas(pending, message, Uncounted::default())));
        self.begin_recipients(id, client, cx);
    }

    // Completions

    /// A worker has written a part of a message to its file, or has failed to.
    pub(super) fn body_spilled(
        &mut self,
        id: ConnId,
        client: &mut Client,
        result: Result<Box<SpilledMessage>, Failure>,
        effects: &mut Effects,
    ) {
        self.bodies.hand_over(id, 0); // the worker has written its octets and freed them
        match (result, client.inbound.as_deref_mut()) {
            (Ok(spilled), Some(Inbound::Receiving(file))) => {
                *file = Some(spilled);
                effects.respond(id, Response::Done);
            }
            (result, _) => effects.fail(id, result.err().unwrap_or(Failure::TempFail)),
        }
    }

    /// A worker has counted the mailboxes of a message.
    pub(super) fn usage_counted(
        &mut self,
        (id, token): (ConnId, &AckToken),
        clients: &mut Clients,
        counts: Result<Vec<(Mailbox, Usage)>, Failure>,
        cx: &mut Context<'_>,
    ) {
        match (self.take_awaited(token, id, clients), counts) {
            (Some((client, Inbound::CheckingQuota(pending, message))), Ok(counts)) => {
                client.inbound = Some(Box::new(Inbound::Reserving(pending, message, counts.into_iter())));
                self.begin_recipients(id, client, cx);
            }
            (Some((_, inbound)), counts) => {
                self.complete(id, inbound, Err(counts.err().unwrap_or(Failure::TempFail)), cx);
            }
            (None, counts) => drop_deferred(counts),
        }
    }

    /// Passes a message on to the disk, after its room is reserved.
    pub(super) fn pass_to_disk(
        &mut self,
        id: ConnId,
        client: &mut Client,
        (pending, message): (Pending, ReceivedMessage),
        cx: &mut Context<'_>,
    ) {
        let ReceivedMessage { routing, spilled, bytes } = message;
        let refused = routing.to.iter().filter(|recipient| recipient.is_err()).count();
        let is_refused = if routing.partial_ok { refused == routing.to.len() } else { refused > 0 };
        if is_refused {
            return self.complete(id, Inbound::Committing(pending), Err(Failure::Quota), cx);
        }
        if let Some(mut spilled) = spilled {
            spilled.date = routing.append.as_ref().and_then(|append| append.date);
            let (to, last) = (SpillTarget::Existing(spilled), Some(pending.token.clone()));
            cx.effects.run(Job::Spill { conn: id, to, bytes, last });
            client.inbound = Some(Box::new(Inbound::Sealing(pending, routing)));
            return;
        }
        match self.new_unique_name() {
            Ok(name) => self.commit(id, client, (pending, routing), Content::Memory(name, bytes), cx),
            Err(failure) => self.complete(id, Inbound::Committing(pending), Err(failure), cx),
        }
    }

    /// A worker has made the file of a message durable, or has failed to.
    pub(super) fn body_sealed(
        &mut self,
        (id, token): (ConnId, &AckToken),
        clients: &mut Clients,
        result: Result<Box<SpilledMessage>, Failure>,
        cx: &mut Context<'_>,
    ) {
        match (self.take_awaited(token, id, clients), result) {
            (Some((client, Inbound::Sealing(pending, routing))), Ok(spilled)) => {
                self.commit(id, client, (pending, routing), Content::SyncedFile(spilled), cx);
            }
            (Some((_, inbound)), result) => {
                self.complete(id, inbound, Err(result.err().unwrap_or(Failure::TempFail)), cx);
            }
            (None, _) => {}
        }
    }

    fn commit(
        &mut self,
        id: ConnId,
        client: &mut Client,
        (pending, routing): (Pending, Routing),
        content: Content,
        cx: &mut Context<'_>,
    ) {
        let Routing { to, partial_ok, sent_copy_for: sent, append } = routing;
        self.deliveries += 1;
        cx.effects.deliver(Delivery {
            from: id,
            to,
            partial_ok,
            sent_copy_for: sent,
            append,
            content,
            ack_token: pending.token.clone(),
        });
        client.inbound = Some(Box::new(Inbound::Committing(pending)));
    }

    /// The committer has delivered a message, or has refused it.
    pub(super) fn delivered(
        &mut self,
        (id, token): (ConnId, &AckToken),
        clients: &mut Clients,
        result: Result<DeliveryReceipt, Failure>,
        cx: &mut Context<'_>,
    ) {
        self.deliveries -= 1;
        match (self.take_awaited(token, id, clients), result) {
            (Some((_, inbound)), result) => self.complete(id, inbound, result, cx),
            (None, result) => drop_deferred(result),
        }
    }

    /// Takes the message of this token from the client that waits for it. Returns `None` for an abandoned message, and
    /// counts one less of those.
    fn take_awaited<'a>(
        &mut self,
        token: &AckToken,
        id: ConnId,
        clients: &'a mut Clients,
    ) -> Option<(&'a mut Client, Inbound)> {
        let is_ours = |inbound: &mut Box<Inbound>| {
            inbound.pending().is_some_and(|pending| pending.token.is_same(token))
        };
        let found = clients.get_mut(id).and_then(|client| {
            let inbound = client.inbound.take_if(is_ours)?;
            Some((client, *inbound))
        });
        if found.is_none() {
            self.abandoned = self.abandoned.saturating_sub(1);
        }
        found
    }

    /// Ends a message that was taken from its client. The response may wait until the indexes have the new files.
    pub(super) fn complete(
        &mut self,
        id: ConnId,
        inbound: Inbound,
        result: Result<DeliveryReceipt, Failure>,
        cx: &mut Context<'_>,
    ) {
        self.release_body(id);
        let Some(Pending { reserved, size, wanted, .. }) = inbound.into_pending() else { return };
        self.end_delivery(id, (reserved, size, wanted), result, cx);
    }

    /// Refuses the messages that the disk has not stored within the limit. The client will send its message again, so
    /// the first copy must not be delivered: the committer removes it.
    pub(super) fn expire_deliveries(&mut self, clients: &mut Clients, cx: &mut Context<'_>) {
        let (timeout, now) = (self.limits.delivery_timeout, cx.now);
        let claim = |pending: &Pending| {
            if pending.since + timeout.0 <= now { pending.token.claim() } else { None }
        };
        let why = format!("delivery timed out, message refused: not durable in {timeout}");
        self.abandon_deliveries((MAX_EXPIRED_PER_TICK, claim), &why, clients, cx);
    }

    /// The server ends: refuses the messages that will certainly not become visible in a mailbox. The others get no
    /// reply, because no thread is left to remove their files.
    pub(super) fn abandon_unpublished(&mut self, clients: &mut Clients, cx: &mut Context<'_>) {
        let claim = |pending: &Pending| pending.token.cancel_if_unpublished();
        let why = "message refused: not durable before the shutdown";
        self.abandon_deliveries((usize::MAX, claim), why, clients, cx);
    }

    fn abandon_deliveries(
        &mut self,
        (max, claim): (usize, impl Fn(&Pending) -> Option<()>),
        why: &str,
        clients: &mut Clients,
        cx: &mut Context<'_>,
    ) {
        if self.inbound == 0 {
            return;
        }
        let is_claimed = |inbound: &Inbound| inbound.pending().and_then(&claim).is_some();
        let has_claimed = |client: &Client| client.inbound.as_deref().is_some_and(is_claimed);
        let claimed = clients.iter().filter(|(_, client)| has_claimed(client)).map(|(id, _)| id);
        let claimed: Vec<ConnId> = claimed.take(max).collect();
        for id in claimed {
            let Some(inbound) = clients.get_mut(id).and_then(|client| client.inbound.take()) else {
                continue;
            };
            log::error!("{id}: {why}");
            // A thread that holds the message sends a completion.
            self.abandoned += usize::from(inbound.awaits_completion());
            self.complete(id, *inbound, Err(Failure::TempFail), cx);
        }
    }

    /// Discards the message of a client, if it has one: releases its share of memory and has its file removed.
    pub(super) fn discard_body(&mut self, id: ConnId, client: &mut Client) {
        if client.inbound.take().is_some() {
            self.release_body(id);
        }
    }

    fn release_body(&mut self, id: ConnId) {
        self.bodies.end(id);
        self.inbound -= 1;
        METRICS.bodies.set(self.inbound as u64);
    }

    pub(super) fn connection_closed(&mut self, id: ConnId) {
        self.bodies.remove(id);
    }

    fn new_unique_name(&mut self) -> Result<UniqueName, Failure> {
        let random = getrandom::u64().map_err(|error| {
            log::error!("no random numbers: {error}");
            Failure::TempFail
        })?;
        Ok(self.name_generator.next(SystemTime::now(), random))
    }
}

/// Bodies that may wait for memory.
const MAX_WAITING_BODIES: usize = 1000;
/// Messages that are abandoned in one tick: if a disk hangs, each connection may have one.
const MAX_EXPIRED_PER_TICK: usize = 1000;

impl ReceiveLimits {
    fn of(limits: &Limits) -> Self {
        Self {
            queue_size: limits.delivery.queue_size,
            delivery_timeout: limits.delivery.timeout,
            spill_threshold: limits.delivery.spill_threshold.0,
        }
    }
}
