//! What the desk does for each recipient of a message: quotas are looked up and reserved before it goes to the disk, and
//! afterwards the index of each mailbox hears of it.
//!
//! The rule: a message to a few mailboxes goes on at once; one to more has its share of each turn of the loop, and so
//! have the others like it.

use std::vec;

use super::{
    Desk,
    mail_in::{Ended, Stage},
};
use crate::{
    closing::release,
    maildir::Usage,
    metrics::METRICS,
    proto::ask::{Answer, ConnId, Fault, Mailbox},
    work::{Arrival, Receipt},
};

/// A message that is to go on in the next turn.
pub(super) enum Walk {
    /// On its way to the disk.
    In(ConnId),
    /// On its way back.
    Back(Box<Returning>),
}

/// A message that the committer is done with, or that is refused.
pub(super) struct Returning {
    from: ConnId,
    /// What is still reckoned to mailboxes that have not got it.
    taken_back: vec::IntoIter<Mailbox>,
    size: u64,
    arrivals: vec::IntoIter<Arrival>,
    /// `None`: it was given at once.
    answer: Option<Answer>,
}

/// How far a message has come with its share of a turn.
pub(super) enum Way {
    /// Its share is used up.
    Further,
    /// A thread has it.
    Away,
    Answered(Answer),
}

impl Desk {
    /// A message goes on: at once if it is to a few mailboxes.
    pub(super) fn walk(&mut self, from: ConnId) -> Option<Answer> {
        let ended = self.drafts.get(&from).and_then(|incoming| incoming.ended.as_ref());
        if ended.is_some_and(|ended| ended.to.len() > AT_ONCE) {
            self.awaited.insert(from);
            self.walks.push_back(Walk::In(from));
            self.look_again();
            return None;
        }
        let mut all = usize::MAX;
        match self.go_in(from, &mut all) {
            Way::Answered(answer) => Some(answer),
            Way::Away | Way::Further => None,
        }
    }

    /// Gives each of the messages under way a share of this turn, until all of it is used up.
    pub(super) fn go_on(&mut self) {
        let mut left = MAILBOXES_A_TURN;
        while left > 0
            && let Some(walk) = self.walks.pop_front()
        {
            let share = SHARE.min(left);
            let mut unused = share;
            match walk {
                Walk::In(from) => match self.go_in(from, &mut unused) {
                    Way::Further => self.walks.push_back(Walk::In(from)),
                    Way::Away => {}
                    Way::Answered(answer) => self.answer(from, answer),
                },
                Walk::Back(mut returning) => {
                    if !self.go_back(&mut returning, &mut unused) {
                        self.walks.push_back(Walk::Back(returning));
                    } else if let Some(answer) = returning.answer {
                        self.answer(returning.from, answer);
                    }
                }
            }
            left -= (share - unused).max(1);
        }
        if !self.walks.is_empty() {
            self.look_again();
        }
    }

    /// The way to the disk, over so many mailboxes at most.
    fn go_in(&mut self, from: ConnId, left: &mut usize) -> Way {
        let ended = self.drafts.get_mut(&from).and_then(|incoming| incoming.ended.take());
        let Some(mut ended) = ended else { return Way::Away }; // it was given up
        let stage = std::mem::replace(&mut ended.stage, Stage::Away);
        let next = match stage {
            Stage::Asking(at, uncounted) => self.ask_quotas(&ended, at, uncounted, left),
            Stage::Learning(counts) => self.learn_counts(counts, left),
            Stage::Reserving => self.reserve_all(&mut ended, from, left),
            Stage::Reserved | Stage::Away => stage,
        };
        let is_reserved = matches!(next, Stage::Reserved);
        let uncounted = match next {
            Stage::Asking(at, uncounted) if at > ended.to.len() => Some(uncounted),
            next => {
                ended.stage = next;
                None
            }
        };
        let (decision, is_away) = (ended.decision.clone(), matches!(ended.stage, Stage::Away));
        self.drafts.entry(from).or_default().ended = Some(ended);
        let answer = match uncounted {
            Some(uncounted) if uncounted.is_empty() => {
                self.set_stage(from, Stage::Reserving);
                return self.go_in(from, left);
            }
            Some(uncounted) => self.count(from, uncounted, decision),
            None if is_reserved => {
                self.set_stage(from, Stage::Away);
                self.send_off(from)
            }
            None if is_away => None,
            None if *left > 0 => return self.go_in(from, left),
            None => return Way::Further,
        };
        answer.map_or(Way::Away, Way::Answered)
    }

    fn set_stage(&mut self, from: ConnId, stage: Stage) {
        if let Some(ended) = self.drafts.get_mut(&from).and_then(|incoming| incoming.ended.as_mut()) {
            ended.stage = stage;
        }
    }

    /// Looks for mailboxes whose quota asks for a count.
    fn ask_quotas(
        &self,
        ended: &Ended,
        mut at: usize,
        mut uncounted: Vec<Mailbox>,
        left: &mut usize,
    ) -> Stage {
        while *left > 0 && at <= ended.to.len() {
            let mailbox = match ended.to.get(at) {
                Some(recipient) => recipient.as_ref().ok().map(|recipient| &recipient.mailbox),
                None => ended.sent.as_ref().filter(|sent| !uncounted.contains(sent)),
            };
            let mailbox = mailbox.filter(|mailbox| self.is_to_be_counted(mailbox));
            uncounted.extend(mailbox.cloned());
            (at, *left) = (at + 1, *left - 1);
        }
        Stage::Asking(at, uncounted)
    }

    fn learn_counts(&mut self, mut counts: vec::IntoIter<(Mailbox, Usage)>, left: &mut usize) -> Stage {
        while *left > 0 {
            let Some((mailbox, usage)) = counts.next() else { return Stage::Reserving };
            self.tally.learn(mailbox, usage, self.now);
            *left -= 1;
        }
        Stage::Learning(counts)
    }

    /// Sees that the message fits into its mailboxes.
    fn reserve_all(&mut self, ended: &mut Ended, from: ConnId, left: &mut usize) -> Stage {
        while *left > 0 {
            *left -= 1;
            let Some(recipient) = ended.to.get_mut(ended.reserved.len()) else {
                if let Some(sender) = ended.sent.take() {
                    if self.reserve(&sender, ended.size) {
                        ended.sent = Some(sender);
                    } else {
                        log::info!("{from}: {sender} is over quota and keeps no copy of what was sent");
                    }
                }
                ended.reserved.push(ended.sent.clone());
                return Stage::Reserved;
            };
            let mailbox = recipient.as_ref().ok().map(|recipient| recipient.mailbox.clone());
            let mailbox = mailbox.filter(|mailbox| self.reserve(mailbox, ended.size));
            if mailbox.is_none() {
                *recipient = Err(Fault::Quota);
            }
            ended.reserved.push(mailbox);
        }
        Stage::Reserving
    }

    /// The end of a message, whatever it is. `None`: the answer comes later.
    pub(super) fn finish(&mut self, from: ConnId, result: Result<Receipt, Fault>) -> Option<Answer> {
        let ended = self.drafts.get_mut(&from).and_then(|incoming| incoming.ended.take());
        self.discard(from);
        let (reserved, size) = match ended {
            Some(mut ended) => {
                let reserved = std::mem::take(&mut ended.reserved);
                let size = ended.size;
                if ended.to.len() > AT_ONCE {
                    release(ended);
                }
                (reserved, size)
            }
            None => (Vec::new(), 0),
        };
        let faults = result.as_ref().map_or(&[][..], |receipt| &receipt.faults);
        let got = |at: usize| result.is_ok() && faults.get(at).is_none_or(Option::is_none);
        let taken_back: Vec<Mailbox> = reserved
            .into_iter()
            .enumerate()
            .filter_map(|(at, mailbox)| mailbox.filter(|_| !got(at)))
            .collect();
        let (arrivals, answer) = match result {
            Ok(Receipt { arrivals, faults }) => {
                let is_partly = faults.iter().any(Option::is_some);
                (arrivals, if is_partly { Answer::Partly(faults) } else { Answer::Delivered })
            }
            Err(fault) => (Vec::new(), Answer::Failed(fault)),
        };
        METRICS.deliveries.add(arrivals.len() as u64);
        let is_long = taken_back.len() + arrivals.len() > AT_ONCE;
        // Only what has arrived is to be known before the answer: the next login sees it.
        let (now, later) =
            if is_long && !arrivals.is_empty() { (None, Some(answer)) } else { (Some(answer), None) };
        let (taken_back, arrivals) = (taken_back.into_iter(), arrivals.into_iter());
        let mut returning = Returning { from, taken_back, size, arrivals, answer: later };
        if is_long {
            self.awaited.extend(returning.answer.as_ref().map(|_| from));
            self.walks.push_back(Walk::Back(Box::new(returning)));
            self.look_again();
        } else {
            let mut all = usize::MAX;
            self.go_back(&mut returning, &mut all);
        }
        now
    }

    /// The way back, over so many mailboxes at most: whether it is at its end.
    fn go_back(&mut self, returning: &mut Returning, left: &mut usize) -> bool {
        while *left > 0 {
            *left -= 1;
            if let Some(mailbox) = returning.taken_back.next() {
                self.tally.take_back(&mailbox, returning.size);
            } else if let Some(Arrival { mailbox, maildir, found }) = returning.arrivals.next() {
                self.note(returning.from, "delivered", &mailbox, (found.place, &found.name));
                self.registry.delivered(&mailbox, maildir, found);
            } else {
                return true;
            }
        }
        false
    }
}

/// Recipients of a message that are no reason to wait for the next turn: fewer than most lists have.
const AT_ONCE: usize = 64;
/// Mailboxes that one message goes on by, before another has its turn.
const SHARE: usize = 500;
/// Mailboxes of all messages in one turn: some microseconds each.
const MAILBOXES_A_TURN: usize = 2000;

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc::Receiver},
        time::Duration,
    };

    use super::*;
    use crate::{
        accounts::Accounts,
        config::Config,
        conn::World,
        maildir::{Found, Place, scan::Stamp},
        proto::{
            ask::{Ask, Envelope, Recipient},
            smtp::address::Address,
        },
        work::{Bell, Done, Returns},
    };

    struct Office {
        _home: tempfile::TempDir,
        _poll: mio::Poll,
        results: Receiver<Done>,
        desk: Desk,
    }

    fn mailbox(n: usize) -> Mailbox {
        Mailbox::named(&format!("user{n}")).unwrap()
    }

    impl Office {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let loopback = "127.0.0.1:0".parse().unwrap();
            let config = Config::development(home.path().to_owned(), loopback, loopback).unwrap();
            let poll = mio::Poll::new().unwrap();
            let bell = Arc::new(Bell::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
            let (returns, results) = Returns::new(Arc::clone(&bell));
            let accounts = Accounts::open_house(&["localhost".into()]);
            let desk = Desk::open(&config, accounts, &bell, &returns).unwrap();
            Self { _home: home, _poll: poll, results, desk }
        }

        /// A message to so many mailboxes comes to its end.
        fn deliver(&mut self, from: u64, mailboxes: usize) -> Option<Answer> {
            let address = Address::parse("all@localhost").unwrap();
            let recipient = |n| Recipient { address: address.clone(), mailbox: mailbox(n), folder: None };
            let to = (0..mailboxes).map(recipient).collect();
            let envelope = Envelope { id: "1".into(), from: None, utf8: false, to, sent: None };
            assert!(matches!(self.desk.ask(ConnId(from), Ask::Begin), Some(Answer::Ready)));
            self.desk.ask(ConnId(from), Ask::Deliver { envelope, bytes: b"x\n".to_vec(), partly: false })
        }

        /// One turn of the loop, in which workers say nothing.
        fn turn(&mut self) {
            self.desk.notice(Duration::ZERO);
        }

        /// Mailboxes that the message has been through.
        fn passed(&self, from: u64) -> usize {
            let ended = self.desk.drafts[&ConnId(from)].ended.as_ref().unwrap();
            match &ended.stage {
                Stage::Asking(at, _) => *at,
                Stage::Reserving => ended.to.len() + 1 + ended.reserved.len(),
                _ => 2 * (ended.to.len() + 1),
            }
        }
    }

    #[test]
    fn a_message_to_thousands_has_its_share_of_each_turn_and_holds_up_no_other() {
        for mailboxes in [10_000, 20_000] {
            let mut office = Office::new();
            assert!(office.deliver(1, mailboxes).is_none() && office.deliver(2, mailboxes).is_none());
            for turn in 1..mailboxes / 1000 {
                office.turn();
                let passed = [office.passed(1), office.passed(2)];
                assert_eq!(passed, [turn * MAILBOXES_A_TURN / 2; 2]);
            }
            assert!(office.results.try_iter().count() > 0, "the next turn begins at once");
            assert!(office.deliver(3, 1).is_none());
            assert_eq!(office.desk.deliveries, 1, "the short one is with the committer already");
        }
    }

    #[test]
    fn one_that_is_given_up_on_its_way_is_answered_at_once_and_leaves_nothing() {
        let mut office = Office::new();
        assert!(office.deliver(1, 5000).is_none());
        (0..4).for_each(|_| office.turn());
        assert!(!office.desk.is_idle());
        office.desk.give_up_unpublished();
        let (id, answer) = office.desk.next_answer().unwrap();
        assert!(id == ConnId(1) && matches!(answer, Answer::Failed(Fault::Broken)));
        assert!(office.desk.is_idle() && office.desk.given_up == 0, "no thread has it");
        (0..4).for_each(|_| office.turn());
        assert!(office.desk.walks.is_empty() && office.desk.drafts.is_empty());
    }

    /// Mailboxes of which a turn of the loop tells the index.
    fn told_a_turn(arrivals: usize) -> Vec<usize> {
        let mut office = Office::new();
        let arrival = |n: usize| Arrival {
            mailbox: mailbox(n),
            maildir: (0, 0),
            found: Found {
                name: b"1.x.y"[..].into(),
                place: Place::New,
                stamp: Stamp { inode: 1, bytes: 1, modified: (0, 0) },
                octets: 1,
            },
        };
        let receipt =
            Receipt { arrivals: (0..arrivals).map(arrival).collect(), faults: vec![None; arrivals] };
        assert!(office.desk.finish(ConnId(1), Ok(receipt)).is_none());
        let mut told = Vec::new();
        while let Some(Walk::Back(returning)) = office.desk.walks.front() {
            let before = returning.arrivals.len();
            assert!(office.desk.next_answer().is_none(), "a login that follows has to see it");
            office.turn();
            let left = office.desk.walks.front().map_or(0, |walk| match walk {
                Walk::Back(returning) => returning.arrivals.len(),
                Walk::In(_) => 0,
            });
            told.push(before - left);
        }
        assert!(matches!(office.desk.next_answer(), Some((ConnId(1), Answer::Delivered))));
        told
    }

    #[test]
    fn the_index_hears_of_thousands_of_arrivals_some_a_turn_and_the_answer_follows() {
        for arrivals in [5000, 10_000] {
            let told = told_a_turn(arrivals);
            assert_eq!(told.iter().sum::<usize>(), arrivals);
            assert!(
                told.len() >= arrivals / MAILBOXES_A_TURN
                    && told.iter().all(|told| *told <= MAILBOXES_A_TURN)
            );
        }
    }
}
