//! Messages to thousands of mailboxes.

use super::{
    super::{
        effects::Effect, inbound::Inbound, inbound::PendingRecipients, recipients::MAX_MAILBOXES_PER_TURN,
    },
    receive::Bench,
    *,
};
use crate::{
    maildir::{FileVersion, MessageEntry, Subdir},
    workers::{DeliveredCopy, DeliveryReceipt},
};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user{n}")).collect()
}

impl Bench {
    /// Completes a message to this many mailboxes.
    fn deliver_to_many(&mut self, id: ConnId, mailboxes: usize) {
        if id != CLIENT {
            self.begin(id);
        }
        let to = names(mailboxes);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        self.deliver_from(id, &to, b"x\n", false);
    }

    /// The number of mailboxes that were handled. Each is handled twice: looked up, then reserved.
    fn passed(&self, id: ConnId) -> usize {
        let (_, client) = self.clients.iter().find(|(other, _)| *other == id).unwrap();
        match client.inbound.as_deref().unwrap() {
            Inbound::LookingUpQuotas(.., uncounted) => uncounted.looked_up,
            Inbound::Reserving(pending, message, _) => message.routing.to.len() + 1 + pending.reserved.len(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_message_to_thousands_has_its_share_of_each_turn_and_holds_up_no_other() {
    for mailboxes in [10_000, 20_000] {
        let mut bench = Bench::new();
        bench.deliver_to_many(CLIENT, mailboxes);
        bench.deliver_to_many(OTHER, mailboxes);
        for turn in 1..mailboxes / 1000 {
            bench.go_on();
            assert_eq!([bench.passed(CLIENT), bench.passed(OTHER)], [turn * MAX_MAILBOXES_PER_TURN / 2; 2]);
        }
        bench.expect_effects(&[]);
        bench.deliver_to_many(ConnId(3), 1);
        bench.expect_effects(&["deliver c3"]);
    }
}

#[test]
fn one_that_is_given_up_on_its_way_has_its_response_at_once_and_leaves_nothing() {
    let mut bench = Bench::new();
    bench.deliver_to_many(CLIENT, 5000);
    (0..4).for_each(|_| bench.go_on());
    assert!(!bench.receiver.is_idle());
    bench.give_up_unpublished();
    bench.expect_effects(&["c1 failed TempFail"]);
    (0..4).for_each(|_| bench.go_on());
    bench.is_at_rest(); // no thread held it
}

#[test]
fn the_index_hears_of_thousands_of_arrivals_some_a_turn_and_the_response_follows() {
    for arrivals in [5000, 10_000] {
        let mut bench = Bench::new();
        bench.deliver(&["ann"], b"a\n", false);
        let token = bench.delivery().ack_token;
        let arrival = |n: usize| DeliveredCopy {
            mailbox: mailbox(&format!("user{n}")),
            maildir: (0, 0),
            entry: MessageEntry {
                name: b"1.x.y"[..].into(),
                subdir: Subdir::New,
                version: FileVersion { inode: 1, bytes: 1, modified: (0, 0) },
                octets: 1,
            },
        };
        let receipt = DeliveryReceipt {
            arrivals: (0..arrivals).map(arrival).collect(),
            failures: vec![None; arrivals],
        };
        bench.delivered(&token, Ok(receipt));
        let mut turns = 0;
        while let Some(PendingRecipients::AfterDelivery(_)) = bench.receiver.pending_recipients.front() {
            bench.expect_effects(&[]); // the next login has to see the message
            bench.go_on();
            turns += 1;
        }
        assert!(turns >= arrivals / MAX_MAILBOXES_PER_TURN, "{turns} turns");
        assert!(matches!(bench.effects.next(), Some(Effect::Respond(CLIENT, Response::Delivered(_)))));
        bench.is_at_rest();
    }
}
