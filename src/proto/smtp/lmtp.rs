//! The replies of LMTP (RFC 2033), which differ from SMTP: at the end of a message every accepted RCPT has a
//! reply of its own, and the results may differ. There may be thousands of replies, so each step writes some
//! of them.

use std::{collections::HashMap, mem};

use super::{
    reply::{self, Reply},
    state::{AfterReplies, PendingReply, RecipientReplies, SmtpSession, State},
};
use crate::proto::{
    Step,
    buffer::Outbox,
    destinations::Destinations,
    event::Event,
    request::{Failure, Mailbox},
};

impl SmtpSession {
    /// Writes the same reply for every accepted RCPT.
    pub(super) fn write_reply_per_recipient(
        &mut self,
        reply: Reply,
        then: AfterReplies,
        out: &mut Outbox,
    ) -> Step {
        self.begin_replies(reply, HashMap::new(), then, out)
    }

    /// Reports to the client and to the log which recipients have the message. `failures` has one item for each
    /// recipient of the envelope.
    pub(super) fn delivered_partly(
        &mut self,
        message: PendingReply,
        failures: &[Option<Failure>],
        out: &mut Outbox,
    ) -> Step {
        let PendingReply { accepted, queued, to } = message;
        let got = failures.iter().filter(|failure| failure.is_none()).count();
        let of = |(at, mailbox)| {
            let failure = failures.get(at).copied().unwrap_or(Some(Failure::TempFail))?;
            Some((mailbox, failure))
        };
        let failures = to.into_iter().enumerate().filter_map(of).collect();
        self.begin_replies(queued, failures, AfterReplies::LogForSome(accepted, got), out)
    }

    fn begin_replies(
        &mut self,
        reply: Reply,
        failures: HashMap<Mailbox, Failure>,
        then: AfterReplies,
        out: &mut Outbox,
    ) -> Step {
        let rcpts = mem::take(&mut self.accepted).into_iter();
        self.write_next_replies(
            Box::new(RecipientReplies { rcpts, reply, failures, to: Vec::new(), then }),
            out,
        )
    }

    /// Writes the next replies. After the last one, ends the message.
    pub(super) fn write_next_replies(
        &mut self,
        mut replies: Box<RecipientReplies>,
        out: &mut Outbox,
    ) -> Step {
        let before = self.work;
        for _ in 0..REPLIES_A_STEP {
            let Some((address, destinations)) = replies.rcpts.next() else {
                return self.end_of_message(replies.then, replies.to, out);
            };
            self.work += 1;
            match self.failure_among(&replies.failures, &destinations) {
                None => {
                    replies.reply.with_recipient(&address).write(out);
                    // One more than the log shows tells that there are more.
                    replies.to.extend((replies.to.len() <= Event::MAX_LISTED).then(|| address.to_string()));
                }
                Some(failure) => {
                    let reply = reply::failure_reply(failure);
                    reply.with_recipient(&address).write(out);
                    out.push_event(Event::Refused {
                        what: format!("message to <{address}>"),
                        reply: reply.codes(),
                    });
                }
            }
            if self.work - before >= REPLIES_A_STEP {
                break;
            }
        }
        self.state = State::WritingReplies(replies);
        Step::Continue
    }

    /// The failure of the first of these mailboxes that has one. A second delivery to the others is better
    /// than none to this one.
    fn failure_among(
        &mut self,
        failures: &HashMap<Mailbox, Failure>,
        destinations: &Destinations,
    ) -> Option<Failure> {
        if failures.is_empty() {
            return None;
        }
        self.work += destinations.len();
        destinations.iter().find_map(|to| failures.get(&to.mailbox).copied())
    }
}

/// The largest number of replies that one step writes.
const REPLIES_A_STEP: usize = 64;

#[cfg(test)]
mod tests {
    use std::{
        rc::Rc,
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{
        clock::Now,
        limits::{Limits, Size},
        proto::{
            Context, EndReason, Session,
            buffer::Inbox,
            destinations::Group,
            dot::LineEndings,
            request::{AccountDirectory, ConnId, Lookup, ReceiveRequest, Request, Response},
            smtp::{Kind, Persona, Policy, SessionConfig, SmtpConfig, address::Address},
            syntax::Syntax,
        },
    };

    /// A directory in which every address is an alias. The number in the address is the number of leading
    /// mailboxes that the alias leaves out.
    fn lists_of(mailboxes: u32, lists: u32) -> impl AccountDirectory {
        let mailbox = |n: u32| Mailbox::named(&format!("user{n:06}")).unwrap();
        let all: Arc<[Mailbox]> = (0..mailboxes).map(mailbox).collect();
        let lists: Vec<Arc<[u32]>> = (0..lists).map(|n| (n..mailboxes).collect()).collect();
        move |address: &Address| {
            let list = address.local().parse::<usize>().unwrap() % lists.len();
            Lookup::Local(Group::new(all.clone(), lists[list].clone()).in_folder(None))
        }
    }

    struct Talk {
        session: SmtpSession,
        inbox: Inbox,
        out: Outbox,
        directory: Box<dyn AccountDirectory>,
        /// The largest work and the largest reply in octets of one step.
        most: (usize, usize),
        work: usize,
        /// The number of mailboxes named in each spill.
        spilled_to: Vec<usize>,
    }

    impl Talk {
        fn new(directory: impl AccountDirectory + 'static) -> Self {
            let policy = Policy { kind: Kind::Lmtp, ..Policy::default() };
            let mut limits = Limits::for_development();
            (limits.smtp.max_recipients, limits.delivery.spill_threshold) = (10_000, Size::kib(4));
            let (hostname, line_endings, syntax) = ("mx".into(), LineEndings::Lenient, Syntax::default());
            let protocol = SmtpConfig { persona: Persona::Modern, policy };
            let rules = SessionConfig { hostname, line_endings, syntax, limits, pedantic: false, protocol };
            let session = SmtpSession::new(Rc::new(rules), [127, 0, 0, 1].into(), ConnId(1));
            let (inbox, out) = (Inbox::default(), Outbox::default());
            Self {
                session,
                inbox,
                out,
                directory: Box::new(directory),
                most: (0, 0),
                work: 0,
                spilled_to: Vec::new(),
            }
        }

        /// Changes the limits before the first command.
        fn limit(&mut self, change: impl FnOnce(&mut Limits)) {
            change(&mut Rc::get_mut(&mut self.session.config).unwrap().limits);
        }

        /// Sends the text, gives this response to the delivery, and returns the replies.
        fn say(&mut self, text: &str, answer: impl Fn(usize) -> Response) -> Vec<String> {
            self.inbox.push(text.as_bytes());
            let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
            let mut step = Step::Continue;
            loop {
                let before = self.out.pending().len();
                let cx = Context { now, directory: &*self.directory };
                step = match step {
                    Step::Request(Request::Receive(ReceiveRequest::Deliver { envelope, .. })) => {
                        self.session.respond(&cx, answer(envelope.to.len()), &mut self.out)
                    }
                    Step::Request(Request::Receive(ReceiveRequest::Spill { mailboxes, .. })) => {
                        self.spilled_to.push(mailboxes.len());
                        self.session.respond(&cx, Response::Done, &mut self.out)
                    }
                    Step::Request(_) => self.session.respond(&cx, Response::Done, &mut self.out),
                    Step::Continue => self.session.step(&cx, &mut self.inbox, &mut self.out),
                    _ => break,
                };
                let work = self.session.take_work();
                let said = self.out.pending().len() - before;
                self.most = (self.most.0.max(work), self.most.1.max(said));
                self.work += work;
            }
            let said = String::from_utf8(self.out.pending().to_vec()).unwrap();
            self.out.discard();
            said.lines().map(str::to_owned).collect()
        }

        /// Sends a message to this number of aliases, and returns the replies to its end.
        fn message(&mut self, aliases: usize, answer: impl Fn(usize) -> Response) -> Vec<String> {
            self.say("LHLO x\r\nMAIL FROM:<a@b.test>\r\n", &answer);
            let rcpts: String = (0..aliases).map(|n| format!("RCPT TO:<{n}@c.test>\r\n")).collect();
            let replies = self.say(&rcpts, &answer);
            assert!(replies.len() == aliases && replies.iter().all(|reply| reply.starts_with("250 ")));
            self.say("DATA\r\n", &answer);
            self.say("x\r\n.\r\n", &answer)
        }
    }

    /// An alias of 1,000 mailboxes that is named 1,000 times must not be walked through 1,000 times.
    #[test]
    fn an_alias_that_is_named_again_costs_no_more_for_its_mailboxes() {
        for (aliases, mailboxes) in [(1000, 1000), (2000, 1000), (1000, 2000)] {
            let mut talk = Talk::new(lists_of(mailboxes, 1));
            let replies = talk.message(aliases, |_| Response::Delivered(Vec::new()));
            assert_eq!(replies.len(), aliases);
            assert_eq!(talk.work, mailboxes as usize + aliases, "its mailboxes once, and a reply each");
        }
    }

    #[test]
    fn each_alias_of_other_mailboxes_is_one_step_and_counts_them() {
        let mut talk = Talk::new(lists_of(1000, 100));
        talk.message(100, |_| Response::Delivered(Vec::new()));
        assert_eq!(talk.most.0, 1000);
        assert_eq!(talk.work, (0..100).map(|n| 1000 - n).sum::<usize>() + 100);
    }

    #[test]
    fn thousands_of_replies_are_said_some_at_a_time_and_in_order() {
        let mut most = Vec::new();
        for aliases in [500, 5000] {
            let mut talk = Talk::new(lists_of(10, 10));
            // The fourth mailbox belongs to the first four of every ten aliases.
            let failures = |to| (0..to).map(|n| (n == 3).then_some(Failure::Quota)).collect();
            let replies = talk.message(aliases, |to| Response::Delivered(failures(to)));
            for (n, reply) in replies.iter().enumerate() {
                let code = if n % 10 <= 3 { "452 4.2.2" } else { "250 2.0.0" };
                assert!(reply.starts_with(&format!("{code} <{n}@c.test> ")), "{n}: {reply}");
            }
            assert_eq!(replies.len(), aliases);
            let events = talk.out.take_events();
            let refused = events.iter().filter(|event| matches!(event, Event::Refused { .. })).count();
            assert_eq!(refused, aliases * 4 / 10);
            assert!(
                matches!(events.last(), Some(Event::Accepted { recipients: 9, to, .. }) if to.len() == 9)
            );
            most.push(talk.most);
        }
        assert!(most.iter().all(|(work, said)| *work <= 80 && *said <= 64 * 80), "{most:?}");
    }

    #[test]
    fn a_long_message_to_thousands_names_them_for_its_first_part_only() {
        let mut talk = Talk::new(lists_of(5000, 1));
        talk.say("LHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<1@c.test>\r\nDATA\r\n", |_| Response::Done);
        for _ in 0..10 {
            talk.say(&"x\r\n".repeat(2000), |_| Response::Done);
        }
        assert!(talk.spilled_to.len() > 3 && talk.spilled_to[0] == 5000, "{:?}", talk.spilled_to);
        assert!(talk.spilled_to[1..].iter().all(|mailboxes| *mailboxes == 0), "{:?}", talk.spilled_to);
    }

    #[test]
    fn r15_no_message_goes_to_more_mailboxes_than_can_be_open() {
        for (max_mailboxes, codes) in [(15, ["250 ", "250 "]), (14, ["250 ", "451 "]), (9, ["451 ", "451 "])]
        {
            let mut talk = Talk::new(lists_of(15, 10));
            talk.limit(|limits| limits.smtp.max_mailboxes = max_mailboxes);
            let delivered = |_| Response::Delivered(Vec::new());
            talk.say("LHLO x\r\nMAIL FROM:<a@b.test>\r\n", delivered);
            // The list 5 has ten mailboxes, and the list 0 has these and five more.
            let replies = talk.say("RCPT TO:<5@c.test>\r\nRCPT TO:<0@c.test>\r\n", delivered);
            assert!(replies.iter().zip(codes).all(|(reply, code)| reply.starts_with(code)), "{replies:?}");
        }
    }

    #[test]
    fn a_server_that_stops_says_the_replies_that_are_left_first() {
        let mut talk = Talk::new(lists_of(10, 1));
        talk.say("LHLO x\r\nMAIL FROM:<a@b.test>\r\n", |_| Response::Done);
        let rcpts: String = (0..200).map(|n| format!("RCPT TO:<{n}@c.test>\r\n")).collect();
        talk.say(&(rcpts + "DATA\r\n"), |_| Response::Done);
        let step = talk.session.reply_to_message(reply::queued("1"), AfterReplies::Nothing, &mut talk.out);
        let ends = talk.session.end(EndReason::Shutdown, &mut talk.out);
        assert!(matches!(step, Step::Continue) && matches!(ends, Step::Idle));
        let replies = talk.say("", |_| Response::Done);
        assert_eq!(
            (replies.len(), &replies[199][..15], &replies[200][..4]),
            (201, "250 2.0.0 <199@", "421 ")
        );
    }
}
