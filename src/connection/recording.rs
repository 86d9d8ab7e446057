//! What a session does, and its transcript sees.

use super::{Connection, RequestHandler};
use crate::{
    clock::Now,
    proto::{
        Context, Session, Step,
        buffer::{Inbox, Outbox},
        request::{Directory, Lookup, Response},
        smtp::address::Address,
    },
    transcript::Recorder,
};

impl Connection {
    /// Has everything written down from here on.
    pub fn set_transcript(&mut self, record: Recorder) {
        self.transcript = Some(Box::new(record));
    }

    /// Lets the session act, and the transcript see what comes of it.
    pub(super) fn call_session(
        &mut self,
        directory: &dyn Directory,
        now: Now,
        act: impl FnOnce(&mut dyn Session, &Context<'_>, &mut Inbox, &mut Outbox) -> Step,
    ) -> Step {
        let cx = Context { now, directory };
        let session = &mut *self.session;
        let inbox = &mut self.inbox;
        let outbox = &mut self.outbox;
        match &mut self.transcript {
            Some(record) => record.observe(session, (inbox, outbox), &cx, act),
            None => act(session, &cx, inbox, outbox),
        }
    }

    /// Gives the session its answer.
    pub(super) fn respond(&mut self, answer: Response, world: &mut dyn RequestHandler, now: Now) -> Step {
        let id = self.peer_info.id;
        let told = &answer;
        self.with_transcript(|record, _| record.record_response(told, &world.spool_changes(id), now));
        self.call_session(world.directory(), now, |session, cx, _, out| session.respond(cx, answer, out))
    }

    /// Notes that the connection ends for a reason that the session knows nothing of.
    pub(super) fn record_abort(&mut self, why: &str) {
        self.with_transcript(|record, _| record.record_abort(why));
    }

    /// The client is too slow for the session.
    pub(super) fn session_timeout(&mut self, now: Now) {
        self.with_transcript(|record, _| record.record_timeout(now));
        self.call_session(&EmptyDirectory, now, |session, _, _, out| {
            session.on_timeout(out);
            Step::Close
        });
    }

    /// The server stops.
    pub(super) fn session_shutdown(&mut self, now: Now) -> Step {
        self.with_transcript(|record, _| record.record_shutdown(now));
        self.call_session(&EmptyDirectory, now, |session, _, _, out| session.shutdown(out))
    }

    /// Does that to the transcript, if there is one.
    pub(super) fn with_transcript(&mut self, note: impl FnOnce(&mut Recorder, &Inbox)) {
        if let Some(record) = &mut self.transcript {
            note(record, &self.inbox);
        }
    }
}

/// The directory of a session that asks nothing.
struct EmptyDirectory;

impl Directory for EmptyDirectory {
    fn lookup(&self, _: &Address) -> Lookup {
        Lookup::Unknown
    }
}
