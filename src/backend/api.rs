//! Requests of the web API, and the sessions that have subscribed to changes of mailboxes.
//!
//! While there are subscriptions, a worker compares the mailboxes with the last comparison: at once after a delivery or a
//! change of this server, and each second, because other programs change them too. One comparison serves all sessions.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use super::{
    clients::Client,
    document_memory::DocumentMemory,
    effects::Effects,
    fair_queue::ClientKey,
    quota::QuotaCache,
    session_logins::SessionLogins,
    streamed_items::{Asked, StreamedItems},
    web_queue::WebQueue,
};
use crate::{
    capacity::Shrinker,
    proto::{
        HeldDocument, SessionEvent,
        http::api::{ApiAction, ApiRequest, MailEvent, MailboxScope, SharedOctets},
        request::{ConnId, Failure, Response},
    },
    thread_limits::WEB_THREADS,
    transcript::Archive,
    workers::{
        Job,
        job::{ApiOutcome, Changes},
        prune_event,
    },
};

/// The requests of sessions that wait for a worker, and their subscriptions.
#[derive(Debug)]
pub(super) struct Subscriptions {
    queue: WebQueue,
    streamed: StreamedItems,
    active: HashMap<ConnId, Subscription>,
    comparison: Comparison,
    /// Sessions whose subscription begins after the comparison that runs.
    beginning: Vec<ConnId>,
    /// Sessions that subscribed while it ran. It may have seen a mailbox before that, so theirs begins after the next one.
    late: Vec<ConnId>,
    /// Events that no session has yet, each with its number.
    events: VecDeque<(u64, Arc<MailEvent>)>,
    /// The number of the event that comes next into the queue.
    next_event: u64,
    /// The transcripts of the last sessions; `None` if sessions have none.
    archive: Option<Arc<Archive>>,
    /// Sessions that show transcripts.
    watchers: HashSet<ConnId>,
    /// True if transcripts have changed, and those that show them have no event yet.
    sessions_changed: bool,
}

#[derive(Debug)]
struct Subscription {
    scope: MailboxScope,
    /// The number of its first event; `None` before it begins.
    from: Option<u64>,
}

/// The comparison of the mailboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Comparison {
    /// No worker compares.
    #[default]
    Idle,
    /// A worker compares.
    Running,
    /// A worker compares, and a change that it may have missed needs another comparison.
    Outdated,
}

impl Subscriptions {
    /// `capacity`: requests that may wait for a worker.
    pub(super) fn new(archive: Option<Arc<Archive>>, capacity: usize) -> Self {
        Self {
            queue: WebQueue::new(WEB_THREADS, capacity),
            streamed: StreamedItems::default(),
            active: HashMap::new(),
            comparison: Comparison::default(),
            beginning: Vec::new(),
            late: Vec::new(),
            events: VecDeque::new(),
            next_event: 0,
            archive,
            watchers: HashSet::new(),
            sessions_changed: false,
        }
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        self.queue.shrink(shrinker);
        shrinker.shrink(&mut self.active);
        shrinker.shrink(&mut self.watchers);
    }

    /// Serves a request of the client with that key.
    pub(super) fn handle(
        &mut self,
        (id, client, key): (ConnId, &mut Client, &ClientKey),
        request: ApiRequest,
        logins: &mut SessionLogins,
        (documents, now): (&mut DocumentMemory, Duration),
        effects: &mut Effects,
    ) {
        let reading = client.reading.take();
        let waiting = match &request.action {
            ApiAction::Subscribe => {
                logins.begin_stream(id);
                let is_first = self.active.is_empty();
                self.active.insert(id, Subscription { scope: request.scope, from: None });
                self.late.push(id);
                return self.compare(is_first, effects);
            }
            ApiAction::Watch => {
                logins.begin_stream(id);
                self.watchers.insert(id);
                self.set_watched();
                return effects.respond(id, Response::Done);
            }
            ApiAction::Streamed(message) => match self.streamed.ask(id, &request.scope, message) {
                Asked::Ready(item) => return self.send_item(id, item, (documents, now), effects),
                Asked::Waits => return,
                Asked::Renders(waiting) => waiting,
            },
            _ => {
                let waiting = client.waiting.insert(Arc::new(()));
                Arc::downgrade(waiting)
            }
        };
        // A health check must not wait for searches.
        let is_urgent = request.action == ApiAction::Ready;
        let job = Job::Api { conn: id, request, reading, client: waiting };
        if is_urgent {
            return effects.run(job);
        }
        if let Some(lost) = self.queue.push(key, id, job, effects) {
            if self.streamed.is_job(lost) {
                self.item_rendered(lost, Err(Failure::TempFail), (documents, now), effects);
            } else {
                effects.fail(lost, Failure::TempFail);
            }
        }
    }

    /// A worker has ended a job of the web API, or the job was lost.
    pub(super) fn job_finished(&mut self, id: ConnId, effects: &mut Effects) {
        self.queue.finished(id, effects);
    }

    /// True if a job that names this connection renders a message for streams.
    pub(super) fn is_rendering(&self, id: ConnId) -> bool {
        self.streamed.is_job(id)
    }

    /// A worker has rendered a message for streams.
    pub(super) fn item_rendered(
        &mut self,
        id: ConnId,
        result: Result<ApiOutcome, Failure>,
        (documents, now): (&mut DocumentMemory, Duration),
        effects: &mut Effects,
    ) {
        let (waiting, result) = self.streamed.finished(id, result);
        for id in waiting {
            match &result {
                Ok(item) => self.send_item(id, item.clone(), (&mut *documents, now), effects),
                Err(failure) => effects.fail(id, *failure),
            }
        }
    }

    fn send_item(
        &self,
        id: ConnId,
        item: SharedOctets,
        (documents, now): (&mut DocumentMemory, Duration),
        effects: &mut Effects,
    ) {
        let held = HeldDocument { shared: Some(item.size()), ..HeldDocument::default() };
        // A client that has gone never sends it, and nothing would remove its entry.
        if !self.active.contains_key(&id) || documents.reserve(id, held, now) {
            effects.respond(id, Response::Item(item));
        } else {
            effects.fail(id, Failure::Busy);
        }
    }

    fn set_watched(&self) {
        if let Some(archive) = &self.archive {
            archive.set_watched(!self.watchers.is_empty());
        }
    }

    /// The transcripts of the last sessions have changed.
    pub(super) fn sessions_changed(&mut self) {
        self.sessions_changed = !self.watchers.is_empty();
    }

    /// The connection is closed. A response that is outstanding still follows, because the client waits for it. A request
    /// that waits and would change nothing is not served.
    pub(super) fn connection_closed(&mut self, id: ConnId, effects: &mut Effects) {
        if self.active.remove(&id).is_some() && self.active.is_empty() {
            self.streamed.clear();
        }
        if self.watchers.remove(&id) {
            self.set_watched();
        }
        // Other streams may wait for the message of this one.
        let is_useless = |job: &Job| match job {
            Job::Api { request: ApiRequest { action: ApiAction::Streamed(_), .. }, .. } => false,
            Job::Api { request, .. } => !request.action.changes_mail(),
            _ => false,
        };
        if self.queue.remove_if(id, is_useless) {
            effects.fail(id, Failure::TempFail);
        }
    }

    /// True if some session has subscribed, or waits for a response.
    pub(super) fn has_subscribers(&self) -> bool {
        !self.active.is_empty() || !self.late.is_empty()
    }

    /// Mailboxes may have changed.
    pub(super) fn mailboxes_changed(&mut self, effects: &mut Effects) {
        if self.has_subscribers() {
            self.compare(false, effects);
        }
    }

    fn compare(&mut self, reset: bool, effects: &mut Effects) {
        if self.comparison == Comparison::Idle {
            self.comparison = Comparison::Running;
            self.beginning.append(&mut self.late);
            effects.run(Job::CompareMailboxes { reset });
        } else {
            self.comparison = Comparison::Outdated;
        }
    }

    /// A worker has compared the mailboxes. The subscriptions that waited for it begin here.
    pub(super) fn compared(&mut self, result: Result<Vec<MailEvent>, Failure>, effects: &mut Effects) {
        let is_outdated = self.comparison == Comparison::Outdated;
        self.comparison = Comparison::Idle;
        match result {
            Ok(events) => {
                let numbers = self.next_event..;
                self.next_event += events.len() as u64;
                self.events.extend(numbers.zip(events.into_iter().map(Arc::new)));
                if self.events.len() > MAX_WAITING {
                    self.replace_events();
                }
                for id in self.beginning.drain(..) {
                    if let Some(subscription) = self.active.get_mut(&id) {
                        subscription.from = Some(self.next_event);
                    }
                    effects.respond(id, Response::Done);
                }
            }
            Err(failure) => {
                for id in self.beginning.drain(..) {
                    self.active.remove(&id);
                    effects.fail(id, failure);
                }
            }
        }
        if is_outdated {
            self.mailboxes_changed(effects);
        }
    }

    /// Replaces the events that wait by one for each mailbox, with the number of its last event: the list is to be read again.
    fn replace_events(&mut self) {
        let mut seen = HashSet::new();
        for (number, event) in mem::take(&mut self.events).into_iter().rev() {
            // The last one is for those who see all mailboxes, too.
            let is_copy = !seen.is_empty();
            if seen.insert(event.mailbox.clone()) {
                self.events.push_front((number, Arc::new(prune_event(&event.mailbox, is_copy))));
            }
        }
    }

    /// True if sessions have events to come.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty() || self.sessions_changed
    }

    /// Removes and returns the events of this turn, each for every session that it concerns.
    pub(super) fn take_events(&mut self) -> Vec<(ConnId, SessionEvent)> {
        let mut events = Vec::new();
        if mem::take(&mut self.sessions_changed) {
            events.extend(self.watchers.iter().map(|id| (*id, SessionEvent::Sessions)));
        }
        let count = (MAX_DISPATCHES_PER_TURN / self.active.len().max(1)).max(1);
        for (number, event) in self.events.drain(..count.min(self.events.len())) {
            let concerned = self.active.iter().filter(|(_, subscription)| {
                let has_begun = subscription.from.is_some_and(|from| from <= number);
                has_begun && subscription.scope.concerns(&event)
            });
            events.extend(concerned.map(|(id, _)| (*id, SessionEvent::Mail(Arc::clone(&event)))));
        }
        events
    }
}

/// Pairs of an event and a subscription that are looked at in a turn: about a millisecond.
const MAX_DISPATCHES_PER_TURN: usize = 4096;
/// Events that wait for the sessions: a few megabytes.
const MAX_WAITING: usize = 4096;

/// A worker has served a request. Returns whether it has changed mailboxes.
pub(super) fn request_finished(
    (id, client): (ConnId, &mut Client),
    result: Result<ApiOutcome, Failure>,
    (documents, now): (&mut DocumentMemory, Duration),
    quotas: &mut QuotaCache,
    effects: &mut Effects,
) -> bool {
    match result {
        Ok(ApiOutcome::Document { document, reading, changes }) => {
            // A client that has gone never reads it, and nothing would remove its entry.
            if client.is_closed() || documents.reserve(id, HeldDocument::new(document.bytes.len(), 0), now) {
                client.reading = reading;
                effects.respond(id, Response::Document(document));
            } else {
                effects.fail(id, Failure::Busy);
            }
            apply_changes(&changes, quotas)
        }
        Ok(ApiOutcome::PartlyDone { failure, changes }) => {
            effects.fail(id, failure);
            apply_changes(&changes, quotas)
        }
        Ok(ApiOutcome::Composed(result)) => {
            effects.respond(id, Response::Composed(result));
            false
        }
        Ok(ApiOutcome::Chunk { bytes, reading }) => {
            let last = reading.is_none();
            client.reading = reading;
            effects.respond(id, Response::Chunk { bytes, last });
            false
        }
        Err(failure) => {
            effects.fail(id, failure);
            false
        }
    }
}

/// Forgets the usage of mailboxes that have become smaller. Returns whether mailboxes have changed.
pub(super) fn apply_changes(changes: &Changes, quotas: &mut QuotaCache) -> bool {
    if let Changes::Deletions(mailboxes) = changes {
        mailboxes.iter().for_each(|mailbox| quotas.invalidate(mailbox));
    }
    *changes != Changes::None
}

#[cfg(test)]
mod tests;
