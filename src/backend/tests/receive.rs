use super::{
    super::{
        clients::Clients,
        effects::{Effect, Effects},
        quota::QuotaCache,
        receive::{Context, Receiver},
    },
    *,
};
use crate::{
    delivery::{Content, Delivery},
    index::Registry,
    limits::Limits,
    maildir::Usage,
    proto::{
        request::{Envelope, Recipient},
        smtp::address::Address,
    },
    workers::{AckToken, DeliveryReceipt, Job, SpilledMessage, spill},
};

const PATIENCE: Duration = Duration::from_secs(90);

/// The receiver and the parts that it uses.
pub(super) struct Bench {
    pub(super) fixture: Fixture,
    pub(super) receiver: Receiver,
    pub(super) clients: Clients,
    pub(super) quotas: QuotaCache,
    pub(super) index: Registry,
    pub(super) accounts: Accounts,
    pub(super) effects: Effects,
    pub(super) now: Duration,
}

impl Bench {
    /// A bench with a client at DATA.
    pub(super) fn new() -> Self {
        let fixture = Fixture::new();
        let receiver = Receiver::new("mx.example.test", &Limits::default(), 8, &fixture.waker);
        let accounts = fixture.accounts();
        let mut bench = Self {
            fixture,
            receiver,
            clients: Clients::default(),
            quotas: QuotaCache::new(10, Duration::from_secs(60)),
            index: Registry::new(&Limits::default(), 10),
            accounts,
            effects: Effects::default(),
            now: SECOND,
        };
        bench.begin(CLIENT);
        bench
    }

    fn parts(&mut self) -> (&mut Receiver, &mut Clients, Context<'_>) {
        let Self { receiver, clients, quotas, index, accounts, effects, now, .. } = self;
        (receiver, clients, Context { now: *now, accounts, quotas, index, effects })
    }

    pub(super) fn begin(&mut self, id: ConnId) {
        self.clients.request(id);
        let client = self.clients.get_mut(id).unwrap();
        let begun = self.receiver.begin(id, client, self.now);
        assert!(matches!(begun, Response::Done), "{begun:?}");
        self.clients.respond(id, begun);
    }

    /// One turn of the loop.
    pub(super) fn go_on(&mut self) {
        let (receiver, clients, mut cx) = self.parts();
        receiver.continue_recipients(clients, &mut cx);
    }

    pub(super) fn deliver(&mut self, to: &[&str], bytes: &[u8], partly: bool) {
        self.deliver_from(CLIENT, to, bytes, partly);
    }

    pub(super) fn deliver_from(&mut self, id: ConnId, to: &[&str], bytes: &[u8], partly: bool) {
        let recipient = |user: &&str| Recipient {
            address: Address::parse(mailbox(user).as_str()).unwrap(),
            mailbox: mailbox(user),
            folder: None,
        };
        let to = to.iter().map(recipient).collect();
        let envelope = Envelope {
            id: "1".into(),
            from: None,
            utf8: false,
            to,
            has_several_addresses: false,
            sent_copy_for: None,
        };
        self.clients.request(id);
        let (receiver, clients, mut cx) = self.parts();
        let Some(client) = clients.get_mut(id) else { return };
        receiver.deliver(id, client, (envelope, bytes.to_vec()), (partly, false), &mut cx);
    }

    /// Spills a few bytes, as a worker does.
    fn spill(&mut self) {
        let client = self.clients.get_mut(CLIENT).unwrap();
        self.receiver.spill(CLIENT, client, (vec![mailbox("ann")], b"a\n".to_vec()), &mut self.effects);
        let Some(Effect::Run(Job::Spill { to, bytes, .. })) = self.effects.next() else { panic!("no spill") };
        let spilled = spill::spill(&self.fixture.storage, to, &bytes, false);
        self.receiver.body_spilled(CLIENT, client, spilled, &mut self.effects);
        assert_eq!(effect_texts(&mut self.effects), ["c1 done"]);
    }

    fn sealed(&mut self, token: &AckToken, result: Result<Box<SpilledMessage>, Failure>) {
        let (receiver, clients, mut cx) = self.parts();
        receiver.body_sealed((CLIENT, token), clients, result, &mut cx);
    }

    fn counted(&mut self, token: &AckToken, counts: Result<Vec<(Mailbox, Usage)>, Failure>) {
        let (receiver, clients, mut cx) = self.parts();
        receiver.usage_counted((CLIENT, token), clients, counts, &mut cx);
    }

    pub(super) fn delivered(&mut self, token: &AckToken, result: Result<DeliveryReceipt, Failure>) {
        let (receiver, clients, mut cx) = self.parts();
        receiver.delivered((CLIENT, token), clients, result, &mut cx);
    }

    fn give_up_late_ones(&mut self) {
        let (receiver, clients, mut cx) = self.parts();
        receiver.expire_deliveries(clients, &mut cx);
    }

    pub(super) fn give_up_unpublished(&mut self) {
        let (receiver, clients, mut cx) = self.parts();
        receiver.abandon_unpublished(clients, &mut cx);
    }

    /// Takes the delivery that was queued for the committer.
    #[track_caller]
    pub(super) fn delivery(&mut self) -> Delivery {
        match self.effects.next() {
            Some(Effect::Deliver(delivery)) => delivery,
            other => panic!("{other:?}"),
        }
    }

    fn bobs_usage(&self) -> u64 {
        self.quotas.usage(&mailbox("bob"), self.now).unwrap().bytes
    }

    #[track_caller]
    pub(super) fn expect_effects(&mut self, expected: &[&str]) {
        assert_eq!(effect_texts(&mut self.effects), expected);
    }

    #[track_caller]
    pub(super) fn is_at_rest(&mut self) {
        self.expect_effects(&[]);
        assert_eq!(self.receiver.queue_counts(), [0, 0, 0]);
        assert!(self.receiver.is_idle());
    }
}

fn receipt(faults: Vec<Option<Failure>>) -> DeliveryReceipt {
    DeliveryReceipt { arrivals: Vec::new(), failures: faults }
}

#[test]
fn a_message_goes_to_the_committer_and_its_client_hears_what_became_of_it() {
    for (result, response) in [
        (Ok(receipt(vec![None])), "c1 delivered ok"),
        (Ok(receipt(vec![None, Some(Failure::Full)])), "c1 delivered ok Full"),
        (Err(Failure::Full), "c1 failed Full"),
    ] {
        let mut bench = Bench::new();
        bench.deliver(&["ann"], b"a\n", false);
        let delivery = bench.delivery();
        assert_eq!(bench.receiver.queue_counts(), [1, 1, 0]);
        bench.delivered(&delivery.ack_token, result);
        bench.expect_effects(&[response]);
        bench.is_at_rest();
    }
}

#[test]
fn a_file_is_sealed_before_the_committer_has_it_and_removed_where_it_can_not_be() {
    for fails in [false, true] {
        let mut bench = Bench::new();
        bench.spill();
        bench.deliver(&["ann"], b"b\n", false);
        let Some(Effect::Run(Job::Spill { to, bytes, last: Some(token), .. })) = bench.effects.next() else {
            panic!("not sealed")
        };
        let sealed = spill::spill(&bench.fixture.storage, to, &bytes, true);
        let result = if fails { sealed.and(Err(Failure::Full)) } else { sealed };
        bench.sealed(&token, result);
        if fails {
            bench.expect_effects(&["c1 failed Full"]);
        } else {
            let delivery = bench.delivery();
            assert!(matches!(&delivery.content, Content::SyncedFile(spilled) if spilled.bytes() == 4));
            drop(delivery); // as if the queue of the committer were full
            bench.delivered(&token, Err(Failure::TempFail));
            bench.expect_effects(&["c1 failed TempFail"]);
        }
        bench.is_at_rest();
        let tmp = bench.fixture.home.path().join("spool/ann@example.test/tmp");
        assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0);
    }
}

#[test]
fn a_quota_is_counted_once_and_holds_until_the_message_has_its_end() {
    let mut bench = Bench::new();
    bench.deliver(&["ann", "bob"], &[b'x'; 40], false);
    let Some(Effect::Run(Job::CountUsage { token, mailboxes, .. })) = bench.effects.next() else {
        panic!("not counted")
    };
    assert_eq!(mailboxes, [mailbox("bob")]);
    bench.counted(&token, Ok(vec![(mailbox("bob"), Usage { bytes: 10, messages: 1 })]));
    bench.delivery();
    assert_eq!(bench.bobs_usage(), 50, "reserved before it is there");
    bench.delivered(&token, Err(Failure::TempFail));
    assert_eq!(
        (effect_texts(&mut bench.effects), bench.bobs_usage()),
        (vec!["c1 failed TempFail".into()], 10)
    );

    bench.begin(CLIENT);
    bench.deliver(&["bob"], &[b'x'; 91], false);
    bench.expect_effects(&["c1 failed Quota"]); // not counted again
    bench.is_at_rest();
}

#[test]
fn a_full_mailbox_refuses_a_message_for_all_or_for_itself() {
    for partly in [false, true] {
        let mut bench = Bench::new();
        bench.quotas.insert(mailbox("bob"), Usage { bytes: 90, messages: 1 }, bench.now, bench.now);
        bench.deliver(&["ann", "bob"], &[b'x'; 20], partly);
        assert_eq!(bench.bobs_usage(), 90);
        if !partly {
            bench.expect_effects(&["c1 failed Quota"]);
            bench.is_at_rest();
            continue;
        }
        let delivery = bench.delivery();
        assert!(matches!(&delivery.to[..], [Ok(_), Err(Failure::Quota)]));
        bench.delivered(&delivery.ack_token, Ok(receipt(vec![None, Some(Failure::Quota)])));
        bench.expect_effects(&["c1 delivered ok Quota"]);
        bench.is_at_rest();
    }
}

#[test]
fn a_message_that_the_disk_does_not_store_is_refused_in_time_and_comes_to_nothing_later() {
    let mut bench = Bench::new();
    bench.deliver(&["ann"], b"a\n", false);
    let token = bench.delivery().ack_token;
    bench.now = SECOND + PATIENCE - Duration::from_millis(1);
    bench.give_up_late_ones();
    bench.expect_effects(&[]);
    bench.now = SECOND + PATIENCE;
    bench.give_up_late_ones();
    bench.expect_effects(&["c1 failed TempFail"]);
    assert!(token.is_claimed() && !bench.receiver.is_idle(), "the committer has to take it back");

    // Its client sends another message, which the result of the first one does not affect.
    bench.begin(CLIENT);
    bench.deliver(&["ann"], b"b\n", false);
    let second = bench.delivery().ack_token;
    bench.delivered(&token, Err(Failure::TempFail));
    bench.expect_effects(&[]);
    bench.delivered(&second, Ok(receipt(vec![None])));
    bench.expect_effects(&["c1 delivered ok"]);
    bench.is_at_rest();
}

#[test]
fn a_client_that_closes_leaves_nothing_of_a_message_that_has_no_end() {
    let mut bench = Bench::new();
    bench.spill();
    bench.clients.request(CLIENT);
    assert!(bench.clients.close(CLIENT).is_none(), "a response is owed to it");
    let mut client = bench.clients.respond(CLIENT, Response::Done).unwrap();
    bench.receiver.discard_body(CLIENT, &mut client);
    bench.is_at_rest();
}
