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

use super::{clients::Client, document_memory::DocumentMemory, effects::Effects, quota::QuotaCache};
use crate::{
    capacity::Shrinker,
    proto::{
        SessionEvent,
        http::api::{ApiAction, ApiRequest, MailEvent, MailboxScope},
        request::{ConnId, Failure, Response},
    },
    transcript::Archive,
    workers::{
        Job,
        job::{ApiOutcome, Changes},
        prune_event,
    },
};

/// The subscriptions of sessions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
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
    pub(super) fn new(archive: Option<Arc<Archive>>) -> Self {
        Self { archive, ..Self::default() }
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.active);
        shrinker.shrink(&mut self.watchers);
    }

    /// Serves a request.
    pub(super) fn handle(
        &mut self,
        (id, client): (ConnId, &mut Client),
        request: ApiRequest,
        effects: &mut Effects,
    ) {
        let reading = client.reading.take();
        if request.action == ApiAction::Subscribe {
            let is_first = self.active.is_empty();
            self.active.insert(id, Subscription { scope: request.scope, from: None });
            self.late.push(id);
            return self.compare(is_first, effects);
        }
        if request.action == ApiAction::Watch {
            self.watchers.insert(id);
            self.set_watched();
            return effects.respond(id, Response::Done);
        }
        effects.run(Job::Api { conn: id, request, reading });
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

    /// The connection is closed. A response that is outstanding still follows, because the client waits for it.
    pub(super) fn connection_closed(&mut self, id: ConnId) {
        self.active.remove(&id);
        if self.watchers.remove(&id) {
            self.set_watched();
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
                has_begun
                    && match &subscription.scope {
                        MailboxScope::All => !event.is_copy,
                        MailboxScope::One(mailbox) => *mailbox == event.mailbox,
                    }
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
            if client.is_closed() || documents.reserve(id, document.bytes.len(), now) {
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
fn apply_changes(changes: &Changes, quotas: &mut QuotaCache) -> bool {
    if let Changes::Deletions(mailboxes) = changes {
        mailboxes.iter().for_each(|mailbox| quotas.invalidate(mailbox));
    }
    *changes != Changes::None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{clients::Clients, effects::Effect},
        maildir::Usage,
        proto::{
            http::api::{Document, MailChange},
            request::Mailbox,
        },
    };

    fn event(mailbox: &str, is_copy: bool, json: &str) -> MailEvent {
        let mailbox = Mailbox::named(mailbox).unwrap();
        MailEvent { kind: MailChange::New, mailbox, id: json.into(), is_copy, json: json.into() }
    }

    fn subscribe(subscriptions: &mut Subscriptions, id: u64, scope: MailboxScope, effects: &mut Effects) {
        let mut client = Client::default();
        let request = ApiRequest { scope, action: ApiAction::Subscribe };
        subscriptions.handle((ConnId(id), &mut client), request, effects);
    }

    fn jobs(effects: &mut Effects) -> Vec<String> {
        std::iter::from_fn(|| effects.next())
            .map(|effect| match effect {
                Effect::Run(Job::CompareMailboxes { reset }) => format!("compare reset={reset}"),
                Effect::Respond(id, response) => format!("{id} {response:?}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn each_session_gets_the_events_of_its_mailboxes_once() {
        let (mut subscriptions, mut effects) = (Subscriptions::default(), Effects::default());
        let bob = MailboxScope::One(Mailbox::named("bob@a.test").unwrap());
        subscribe(&mut subscriptions, 1, MailboxScope::All, &mut effects);
        subscribe(&mut subscriptions, 2, bob, &mut effects);
        assert_eq!(jobs(&mut effects), ["compare reset=true"]);
        subscriptions.compared(Ok(Vec::new()), &mut effects);
        assert_eq!(jobs(&mut effects), ["c1 Done", "compare reset=false"]);
        subscriptions.compared(Ok(Vec::new()), &mut effects);
        assert_eq!(jobs(&mut effects), ["c2 Done"]);
        let events = vec![
            event("ann@a.test", false, "1"),
            event("bob@a.test", true, "1"),
            event("ann@a.test", false, "2"),
        ];
        subscriptions.compared(Ok(events), &mut effects);
        assert!(jobs(&mut effects).is_empty() && subscriptions.has_events());
        let mut events: Vec<(u64, String)> = subscriptions
            .take_events()
            .into_iter()
            .map(|(id, event)| match event {
                SessionEvent::Mail(event) => (id.0, event.json.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        events.sort();
        assert_eq!(events, [(1, "1".into()), (1, "2".into()), (2, "1".into())]);
        assert!(!subscriptions.has_events());
    }

    #[test]
    fn r13_a_storm_of_events_for_many_sessions_is_spread_over_turns() {
        let (mut subscriptions, mut effects) = (Subscriptions::default(), Effects::default());
        (0..1000).for_each(|id| subscribe(&mut subscriptions, id, MailboxScope::All, &mut effects));
        for _ in 0..2 {
            subscriptions.compared(Ok(Vec::new()), &mut effects);
        }
        let storm = (0..1000).map(|n| event("ann@a.test", false, &n.to_string())).collect();
        subscriptions.compared(Ok(storm), &mut effects);
        let (mut turns, mut dispatched) = (0, 0);
        while subscriptions.has_events() {
            let events = subscriptions.take_events().len();
            assert!((1..=MAX_DISPATCHES_PER_TURN).contains(&events));
            (turns, dispatched) = (turns + 1, dispatched + events);
        }
        assert_eq!((turns, dispatched), (250, 1_000_000));
    }

    #[test]
    fn v67_those_who_show_sessions_get_one_event_for_any_number_of_changes() {
        let (mut subscriptions, mut effects) = (Subscriptions::default(), Effects::default());
        subscriptions.sessions_changed();
        assert!(!subscriptions.has_events(), "nobody looks");
        for id in 1..=2 {
            let mut client = Client::default();
            let request = ApiRequest { scope: MailboxScope::All, action: ApiAction::Watch };
            subscriptions.handle((ConnId(id), &mut client), request, &mut effects);
        }
        assert_eq!(jobs(&mut effects), ["c1 Done", "c2 Done"], "no mailbox is compared");
        (0..100).for_each(|_| subscriptions.sessions_changed());
        subscriptions.connection_closed(ConnId(1));
        assert_eq!(subscriptions.take_events(), [(ConnId(2), SessionEvent::Sessions)]);
        assert!(!subscriptions.has_events());
    }

    #[test]
    fn v27_a_stream_gets_no_change_from_before_it_began() {
        let (mut subscriptions, mut effects) = (Subscriptions::default(), Effects::default());
        subscribe(&mut subscriptions, 1, MailboxScope::All, &mut effects);
        subscriptions.compared(Ok(Vec::new()), &mut effects);
        subscriptions.mailboxes_changed(&mut effects);
        jobs(&mut effects);
        // The comparison runs, and may have seen the mailbox of this event before the second session came.
        subscribe(&mut subscriptions, 2, MailboxScope::All, &mut effects);
        subscriptions.compared(Ok(vec![event("ann@a.test", false, "before")]), &mut effects);
        assert_eq!(jobs(&mut effects), ["compare reset=false"], "the second one still waits");
        subscriptions.compared(Ok(vec![event("ann@a.test", false, "between")]), &mut effects);
        assert_eq!(jobs(&mut effects), ["c2 Done"]);
        subscriptions.mailboxes_changed(&mut effects);
        subscriptions.compared(Ok(vec![event("ann@a.test", false, "after")]), &mut effects);
        let mut told: Vec<(u64, String)> = Vec::new();
        while subscriptions.has_events() {
            told.extend(subscriptions.take_events().into_iter().map(|(id, event)| match event {
                SessionEvent::Mail(event) => (id.0, event.json.clone()),
                other => panic!("{other:?}"),
            }));
        }
        told.sort();
        let all = [(1, "after"), (1, "before"), (1, "between"), (2, "after")];
        assert_eq!(told, all.map(|(id, text)| (id, text.to_owned())));
    }

    #[test]
    fn v27_a_client_that_goes_while_its_stream_begins_has_its_response() {
        let (mut subscriptions, mut effects) = (Subscriptions::default(), Effects::default());
        subscribe(&mut subscriptions, 1, MailboxScope::All, &mut effects);
        subscribe(&mut subscriptions, 2, MailboxScope::All, &mut effects);
        [1, 2].iter().for_each(|id| subscriptions.connection_closed(ConnId(*id)));
        subscriptions.compared(Ok(Vec::new()), &mut effects);
        subscriptions.compared(Ok(Vec::new()), &mut effects);
        assert_eq!(jobs(&mut effects), ["compare reset=true", "c1 Done", "compare reset=false", "c2 Done"]);
        assert!(!subscriptions.has_subscribers());
    }

    #[test]
    fn v85_a_document_for_a_client_that_has_gone_takes_no_memory() {
        let (mut clients, mut documents) = (Clients::default(), DocumentMemory::new(1 << 20));
        let mut quotas = QuotaCache::new(1, Duration::ZERO);
        let mut finish = |id, is_gone: bool| {
            let mut effects = Effects::default();
            clients.request(id);
            if is_gone {
                documents.record(id, None, Duration::ZERO);
                assert!(clients.close(id).is_none(), "its response is outstanding");
            }
            let document = Document::new("text/plain", vec![b'x'; 1 << 20]);
            let outcome = ApiOutcome::Document { document, reading: None, changes: Changes::None };
            let client = clients.get_mut(id).unwrap();
            let now = (&mut documents, Duration::ZERO);
            request_finished((id, client), Ok(outcome), now, &mut quotas, &mut effects);
            let Some(Effect::Respond(to, response)) = effects.next() else { panic!("no response") };
            let is_served = matches!(response, Response::Document(_));
            assert_eq!((to, clients.respond(id, response).is_some()), (id, is_gone));
            is_served
        };
        for id in 1..=20 {
            finish(ConnId(id), true);
        }
        assert!(finish(ConnId(21), false), "there is room");
    }

    #[test]
    fn v86_events_that_wait_are_bounded_and_no_session_misses_a_change() {
        let (mut subscriptions, mut effects) = (Subscriptions::default(), Effects::default());
        let own = |user: &str| MailboxScope::One(Mailbox::named(&format!("{user}@a.test")).unwrap());
        for (id, scope) in (1..).zip([MailboxScope::All, own("ann"), own("bob"), own("eve")]) {
            subscribe(&mut subscriptions, id, scope, &mut effects);
        }
        (0..2).for_each(|_| subscriptions.compared(Ok(Vec::new()), &mut effects));
        // One comparison after the other, and no turn between them.
        for _ in 0..10 {
            let of = |mailbox| (0..1000).map(move |n| event(mailbox, false, &n.to_string()));
            subscriptions.compared(Ok(of("ann@a.test").collect()), &mut effects);
            assert!(subscriptions.events.len() <= MAX_WAITING, "{}", subscriptions.events.len());
        }
        // A session that begins here learns only of later changes.
        subscribe(&mut subscriptions, 5, own("ann"), &mut effects);
        subscriptions.compared(Ok(Vec::new()), &mut effects);
        let last = (0..=MAX_WAITING).map(|n| event("bob@a.test", true, &n.to_string()));
        subscriptions.compared(Ok(last.collect()), &mut effects);
        let mut told: Vec<(u64, &str)> = Vec::new();
        while subscriptions.has_events() {
            told.extend(subscriptions.take_events().into_iter().map(|(id, event)| match event {
                SessionEvent::Mail(event) => (id.0, event.kind.name()),
                other => panic!("{other:?}"),
            }));
        }
        told.sort_unstable();
        assert_eq!(told, [(1, "prune"), (2, "prune"), (3, "prune")]);
    }

    #[test]
    fn v88_v89_usage_is_counted_anew_after_a_deletion_a_failed_one_too_and_not_after_a_mark() {
        let ann = || Mailbox::named("ann@a.test").unwrap();
        let outcomes = |changes: fn() -> Changes| {
            let document = Document::ok();
            let failed = ApiOutcome::PartlyDone { failure: Failure::TempFail, changes: changes() };
            [ApiOutcome::Document { document, reading: None, changes: changes() }, failed]
        };
        let deletions = || Changes::Deletions(vec![Mailbox::named("ann@a.test").unwrap()]);
        let cases = [(outcomes(|| Changes::None), false, true), (outcomes(|| Changes::Marks), true, true)];
        for (outcomes, has_changed, is_known) in cases.into_iter().chain([(outcomes(deletions), true, false)])
        {
            for outcome in outcomes {
                let mut quotas = QuotaCache::new(1, Duration::from_secs(60));
                quotas.insert(ann(), Usage { bytes: 10, messages: 1 }, Duration::ZERO);
                let (mut client, mut documents) = (Client::default(), DocumentMemory::new(1 << 20));
                let (client, now) = ((ConnId(1), &mut client), (&mut documents, Duration::ZERO));
                let changed =
                    request_finished(client, Ok(outcome), now, &mut quotas, &mut Effects::default());
                assert_eq!(changed, has_changed);
                assert_eq!(quotas.usage(&ann(), Duration::ZERO).is_some(), is_known);
            }
        }
    }

    #[test]
    fn without_subscriptions_nothing_is_compared() {
        let (mut subscriptions, mut effects) = (Subscriptions::default(), Effects::default());
        subscriptions.mailboxes_changed(&mut effects);
        subscribe(&mut subscriptions, 1, MailboxScope::All, &mut effects);
        subscriptions.connection_closed(ConnId(1));
        subscriptions.compared(Ok(Vec::new()), &mut effects);
        subscriptions.mailboxes_changed(&mut effects);
        assert_eq!(
            jobs(&mut effects),
            ["compare reset=true", "c1 Done"],
            "a closed client waits for its response"
        );
        subscribe(&mut subscriptions, 2, MailboxScope::All, &mut effects);
        assert_eq!(jobs(&mut effects), ["compare reset=true"], "old changes are none of its");
        subscriptions.compared(Err(Failure::TempFail), &mut effects);
        assert_eq!(jobs(&mut effects), ["c2 Failed(TempFail)"]);
        assert!(!subscriptions.has_subscribers());
    }
}
