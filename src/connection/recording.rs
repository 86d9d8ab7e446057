//! Calls into the session, observed by its transcript.

use super::{Connection, RequestHandler};
use crate::{
    clock::Now,
    proto::{
        Context, EndReason, Session, SessionEvent, Step,
        buffer::{Inbox, Outbox},
        request::{AccountDirectory, Lookup, Response},
        smtp::address::Address,
    },
    transcript::Recorder,
};

impl Connection {
    /// Records everything from now on.
    pub fn set_transcript(&mut self, record: Recorder) {
        self.transcript = Some(Box::new(record));
    }

    /// Runs `act` on the session while the transcript observes it.
    pub(super) fn call_session(
        &mut self,
        directory: &dyn AccountDirectory,
        now: Now,
        act: impl FnOnce(&mut dyn Session, &Context<'_>, &mut Inbox, &mut Outbox) -> Step,
    ) -> Step {
        self.before_call = Some(self.output_mark());
        let cx = Context { now, directory };
        let session = &mut *self.session;
        let inbox = &mut self.inbox;
        let outbox = &mut self.outbox;
        let step = match &mut self.transcript {
            Some(record) => record.observe(session, (inbox, outbox), &cx, act),
            None => act(session, &cx, inbox, outbox),
        };
        self.before_call = None;
        step
    }

    /// Passes a response to the session.
    pub(super) fn respond(&mut self, response: Response, world: &mut dyn RequestHandler, now: Now) -> Step {
        let id = self.peer_info.id;
        // A session without a transcript must not keep them either.
        let (recorded, changes) = (&response, world.spool_changes(id));
        self.with_transcript(|record, _| record.record_response(recorded, &changes, now));
        self.call_session(world.directory(), now, |session, cx, _, out| session.respond(cx, response, out))
    }

    /// Passes an event to the session.
    pub(super) fn session_event(&mut self, event: &SessionEvent, now: Now) {
        self.with_transcript(|record, _| record.record_event(event, now));
        self.call_session(&no_accounts, now, |session, _, _, out| {
            session.notify(event, out);
            Step::Idle
        });
    }

    /// Records that the connection ends for a reason that the session does not know.
    pub(super) fn record_abort(&mut self, why: &str) {
        self.with_transcript(|record, _| record.record_abort(why));
    }

    /// Tells the session that its client is too slow.
    pub(super) fn session_timeout(&mut self, now: Now) {
        self.with_transcript(|record, _| record.record_timeout(now));
        self.call_session(&no_accounts, now, |session, _, _, out| {
            session.on_timeout(out);
            Step::Close
        });
    }

    /// Lets the session show its client that the connection lives. Returns true if it has done so.
    pub(super) fn session_keep_alive(&mut self, now: Now) -> bool {
        let mut is_alive = false;
        self.call_session(&no_accounts, now, |session, cx, _, out| {
            is_alive = session.keep_alive(cx.now, out);
            Step::Idle
        });
        is_alive
    }

    /// Tells the session that the server ends it.
    pub(super) fn session_end(&mut self, why: EndReason, now: Now) -> Step {
        self.with_transcript(|record, _| record.record_server_end(why, now));
        self.call_session(&no_accounts, now, |session, _, _, out| session.end(why, out))
    }

    /// Runs `note` on the transcript, if there is one.
    pub(super) fn with_transcript(&mut self, note: impl FnOnce(&mut Recorder, &Inbox)) {
        if let Some(record) = &mut self.transcript {
            note(record, &self.inbox);
        }
    }
}

/// The directory for calls in which the session looks up no address.
fn no_accounts(_: &Address) -> Lookup {
    Lookup::Unknown
}
