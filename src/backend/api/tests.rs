//! Subscriptions and finished requests, without a thread.

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
    MailEvent { kind: MailChange::New, mailbox, id: json.into(), tagged: None, is_copy, json: json.into() }
}

fn subscribe(subscriptions: &mut Subscriptions, id: u64, scope: MailboxScope, effects: &mut Effects) {
    ask(subscriptions, id, ApiRequest::new(scope, ApiAction::Subscribe), effects);
}

fn ask(subscriptions: &mut Subscriptions, id: u64, request: ApiRequest, effects: &mut Effects) {
    ask_with(subscriptions, id, request, &mut DocumentMemory::new(1 << 20), effects);
}

fn ask_with(
    subscriptions: &mut Subscriptions,
    id: u64,
    request: ApiRequest,
    documents: &mut DocumentMemory,
    effects: &mut Effects,
) {
    let (mut client, mut logins) = (Client::default(), SessionLogins::default());
    let key = ClientKey::Address([192, 0, 2, 1].into());
    let memory = (documents, Duration::ZERO);
    subscriptions.handle((ConnId(id), &mut client, &key), request, &mut logins, memory, effects);
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
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
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
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
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
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
    subscriptions.sessions_changed();
    assert!(!subscriptions.has_events(), "nobody looks");
    for id in 1..=2 {
        ask(&mut subscriptions, id, ApiRequest::new(MailboxScope::All, ApiAction::Watch), &mut effects);
    }
    assert_eq!(jobs(&mut effects), ["c1 Done", "c2 Done"], "no mailbox is compared");
    (0..100).for_each(|_| subscriptions.sessions_changed());
    subscriptions.connection_closed(ConnId(1), &mut effects);
    assert_eq!(subscriptions.take_events(), [(ConnId(2), SessionEvent::Sessions)]);
    assert!(!subscriptions.has_events());
}

#[test]
fn v27_a_stream_gets_no_change_from_before_it_began() {
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
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
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
    subscribe(&mut subscriptions, 1, MailboxScope::All, &mut effects);
    subscribe(&mut subscriptions, 2, MailboxScope::All, &mut effects);
    [1, 2].iter().for_each(|id| subscriptions.connection_closed(ConnId(*id), &mut effects));
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
fn v96_a_new_message_is_rendered_once_for_all_streams_and_is_in_memory_once() {
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
    let mut documents = DocumentMemory::new(1 << 20);
    (0..500).for_each(|id| subscribe(&mut subscriptions, id, MailboxScope::All, &mut effects));
    (0..2).for_each(|_| subscriptions.compared(Ok(Vec::new()), &mut effects));
    jobs(&mut effects);
    for id in 0..500 {
        let request = ApiRequest::new(MailboxScope::All, ApiAction::Streamed("a1".into()));
        ask_with(&mut subscriptions, id, request, &mut documents, &mut effects);
    }
    // One of them goes, and it is the one that the job names.
    subscriptions.connection_closed(ConnId(0), &mut effects);
    assert_eq!(jobs(&mut effects).len(), 1);
    let document = Document::new("application/json", vec![b'x'; 1 << 20]);
    subscriptions.item_rendered(
        ConnId(0),
        Ok(ApiOutcome::of(document)),
        (&mut documents, Duration::ZERO),
        &mut effects,
    );
    let mut served = 0;
    while let Some(effect) = effects.next() {
        assert!(matches!(effect, Effect::Respond(_, Response::Item(_))), "{effect:?}");
        served += 1;
    }
    assert_eq!(served, 500);
    assert!(documents.reserve(ConnId(999), HeldDocument::new(1 << 20, 0), Duration::ZERO), "there is room");
}

#[test]
fn v86_events_that_wait_are_bounded_and_no_session_misses_a_change() {
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
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
    for (outcomes, has_changed, is_known) in cases.into_iter().chain([(outcomes(deletions), true, false)]) {
        for outcome in outcomes {
            let mut quotas = QuotaCache::new(1, Duration::from_secs(60));
            quotas.insert(ann(), Usage { bytes: 10, messages: 1 }, Duration::ZERO, Duration::ZERO);
            let (mut client, mut documents) = (Client::default(), DocumentMemory::new(1 << 20));
            let (client, now) = ((ConnId(1), &mut client), (&mut documents, Duration::ZERO));
            let changed = request_finished(client, Ok(outcome), now, &mut quotas, &mut Effects::default());
            assert_eq!(changed, has_changed);
            assert_eq!(quotas.usage(&ann(), Duration::ZERO).is_some(), is_known);
        }
    }
}

#[test]
fn without_subscriptions_nothing_is_compared() {
    let (mut subscriptions, mut effects) = (Subscriptions::new(None, 100), Effects::default());
    subscriptions.mailboxes_changed(&mut effects);
    subscribe(&mut subscriptions, 1, MailboxScope::All, &mut effects);
    subscriptions.connection_closed(ConnId(1), &mut effects);
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
