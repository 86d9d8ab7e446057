//! What a session does, and its transcript sees.

use super::{Conn, World};
use crate::{
    clock::Now,
    proto::{
        Cx, Session, Step,
        buffer::{Inbox, Outbox},
        request::{Answer, Directory, Lookup},
        smtp::address::Address,
    },
    transcript::Record,
};

impl Conn {
    /// Has everything written down from here on.
    pub fn write_down(&mut self, record: Record) {
        self.record = Some(Box::new(record));
    }

    /// Lets the session act, and the transcript see what comes of it.
    pub(super) fn act(
        &mut self,
        directory: &dyn Directory,
        now: Now,
        act: impl FnOnce(&mut dyn Session, &Cx<'_>, &mut Inbox, &mut Outbox) -> Step,
    ) -> Step {
        let cx = Cx { now, directory };
        let session = &mut *self.session;
        let inbox = &mut self.inbox;
        let outbox = &mut self.outbox;
        match &mut self.record {
            Some(record) => record.watch(session, (inbox, outbox), &cx, act),
            None => act(session, &cx, inbox, outbox),
        }
    }

    /// Gives the session its answer.
    pub(super) fn reply(&mut self, answer: Answer, world: &mut dyn World, now: Now) -> Step {
        let id = self.caller.id;
        let told = &answer;
        self.record(|record, _| record.answered(told, &world.changes(id), now));
        self.act(world.directory(), now, |session, cx, _, out| session.answer(cx, answer, out))
    }

    /// Notes that the connection ends for a reason that the session knows nothing of.
    pub(super) fn cut(&mut self, why: &str) {
        self.record(|record, _| record.cut(why));
    }

    /// The client is too slow for the session.
    pub(super) fn expire_session(&mut self, now: Now) {
        self.record(|record, _| record.waited(now));
        self.act(&Nobody, now, |session, _, _, out| {
            session.expire(out);
            Step::Close
        });
    }

    /// The server stops.
    pub(super) fn stop_session(&mut self, now: Now) -> Step {
        self.record(|record, _| record.stopped(now));
        self.act(&Nobody, now, |session, _, _, out| session.stop(out))
    }

    /// Does that to the transcript, if there is one.
    pub(super) fn record(&mut self, note: impl FnOnce(&mut Record, &Inbox)) {
        if let Some(record) = &mut self.record {
            note(record, &self.inbox);
        }
    }
}

/// The directory of a session that asks nothing.
struct Nobody;

impl Directory for Nobody {
    fn lookup(&self, _: &Address) -> Lookup {
        Lookup::Unknown
    }
}
