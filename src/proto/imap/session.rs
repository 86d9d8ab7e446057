//! An IMAP session: dispatches steps and responses. All of its files act on `state`; none reads a clock, a socket or a
//! disk.

use std::{mem, sync::Arc};

use super::{
    command_state::SearchStep,
    reply,
    response::writer::{Condition, Items, status},
    state::{AfterUpdates, ImapSession, State, WaitingCommand},
};
use crate::{
    clock::Now,
    language::Language,
    proto::{
        Context, Encryption, EndReason, Progress, ProgressCounts, ResetOn, Session, SessionEvent,
        SessionPhase, SessionStage, Step, Timeouts,
        buffer::{Inbox, Outbox},
        request::Response,
    },
};

impl ImapSession {
    /// True if the client has read the beginning of a response, so that any text would be a part of it.
    fn is_inside_response(&self) -> bool {
        match &self.state {
            State::SendingResults(results) => results.step == SearchStep::Writing,
            State::Fetching(_, fetching) => fetching.is_inside(),
            State::Awaiting(_, pending) => {
                matches!(&**pending, WaitingCommand::Fetch(fetching) if fetching.is_inside())
            }
            _ => false,
        }
    }

    fn is_folder_gone(&self) -> bool {
        self.selected.as_ref().is_some_and(|selected| selected.is_gone)
    }
}

impl Session for ImapSession {
    fn greet(&mut self, _: &Context<'_>, out: &mut Outbox) -> Step {
        let code = |code: &mut Items<'_>| {
            code.atom("CAPABILITY");
            self.write_capabilities(code);
        };
        let text = format!("{} restante", self.config.hostname);
        status(out.buffer(), None, Condition::Ok, code, &text);
        Step::Continue
    }

    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if let (State::Ready, Some(why)) = (&self.state, self.ending) {
            return self.close_with(out, why.words(), reply::farewell(why));
        }
        match mem::replace(&mut self.state, State::Over) {
            State::Ready | State::Idling { .. } if self.is_folder_gone() => {
                self.close_with(out, "the mailbox is gone", reply::MAILBOX_GONE)
            }
            State::Ready => {
                self.state = State::Ready;
                self.command_step(cx, inbox, out)
            }
            State::Discarding(discarding) => self.discard_step(discarding, inbox, out),
            State::Plain { tag } => self.plain_step(tag, inbox, out),
            State::DelayingReply { tag, last } => self.refuse_login(&tag, last, out),
            State::SendingUpdates(updates, after) => self.updates_step(updates, after, out),
            State::SendingResults(found) => self.results_step(found, out),
            State::Listing(listing) => self.listing_step(listing, out),
            State::Selecting(tag, selection, plan) => self.selecting_step(tag, selection, plan, out),
            State::Fetching(tag, fetching) => self.request_piece(tag, *fetching),
            State::Idling { tag, since } => self.idle_step(cx, tag, since, inbox, out),
            State::Appending(tag, appending) => self.append_step(cx, tag, appending, inbox, out),
            state => {
                self.state = state;
                Step::Idle
            }
        }
    }

    fn respond(&mut self, cx: &Context<'_>, response: Response, out: &mut Outbox) -> Step {
        match (mem::replace(&mut self.state, State::Over), response) {
            (State::AwaitingVerify { tag, credentials }, response) => {
                self.verified(tag, credentials, response, out)
            }
            (State::AwaitingPrepare { tag, user }, response) => self.prepared(&tag, user, response, out),
            (State::Awaiting(tag, pending), response) => {
                self.handle_response(cx, tag, *pending, response, out)
            }
            // No other response follows a request of this session.
            _ => self.close_with(out, "internal error", reply::INTERNAL),
        }
    }

    fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {
        // Forgets everything that the client sent, but keeps the counts of its errors and attempts.
        self.is_encrypted = true;
        self.login_steps += 1;
        self.reader.reset();
        self.language = Language::English;
        self.state = State::Ready;
    }

    fn session_phase(&self) -> SessionPhase {
        match &self.state {
            _ if self.is_inside_response() => SessionPhase::Sending,
            State::Ready if self.reader.octets() > 0 => SessionPhase::Literal,
            State::Discarding(_) => SessionPhase::Literal,
            State::Ready if self.user.is_none() => SessionPhase::Authorization,
            State::Ready if self.selected.is_none() => SessionPhase::Authenticated,
            State::Ready => SessionPhase::Selected,
            State::Plain { .. } => SessionPhase::AuthPlain,
            State::Idling { .. } => SessionPhase::Idling,
            State::Appending(..) => SessionPhase::Message,
            State::Over => SessionPhase::Ended,
            _ => SessionPhase::Pending,
        }
    }

    fn timeouts(&self) -> Timeouts {
        let limits = &self.config.limits;
        let (read, reset_on) = match self.state {
            State::Discarding(_) | State::Appending(..) => (limits.smtp.data_timeout, ResetOn::Octet),
            _ if self.user.is_none() => (limits.imap.login_timeout, ResetOn::Progress),
            State::Idling { .. } => (limits.imap.idle_notify_interval, ResetOn::Command),
            _ => (limits.imap.idle_timeout, ResetOn::Command),
        };
        Timeouts { read: read.0, reset_on, write: limits.imap.write_timeout.0, session: None }
    }

    fn progress(&self) -> Progress {
        let rate = self.config.limits.smtp.min_data_rate;
        let stage = match &self.state {
            _ if self.user.is_none() => SessionStage::Unidentified,
            State::Appending(_, appending) => SessionStage::Trusted(Some(appending.progress(rate))),
            State::Awaiting(_, pending) => match &**pending {
                WaitingCommand::Append(appending) if appending.is_final() => SessionStage::Delivering,
                WaitingCommand::Append(appending) => SessionStage::Trusted(Some(appending.progress(rate))),
                _ => SessionStage::Trusted(None),
            },
            _ => SessionStage::Trusted(None),
        };
        let counts =
            ProgressCounts { commands: self.login_steps, advances: self.login_steps, served: self.logins };
        Progress { stage, counts }
    }

    fn take_work(&mut self) -> usize {
        mem::take(&mut self.work)
    }

    /// The updates are sent with the next command, or in the next step of IDLE.
    fn notify(&mut self, event: &SessionEvent, _: &mut Outbox) {
        match (event, &mut self.selected) {
            (SessionEvent::FolderChanged(state), _) => self.set_newest(Arc::clone(state)),
            (SessionEvent::FolderGone(folder), Some(selected)) => {
                selected.is_gone |= selected.folder == *folder
            }
            _ => {}
        }
    }

    fn request_spill(&mut self) {
        if let State::Appending(_, appending) = &mut self.state {
            appending.request_spill();
        }
    }

    fn keep_alive(&mut self, now: Now, out: &mut Outbox) -> bool {
        match self.state {
            State::Idling { since, .. } if !self.is_over(since, now) => {
                self.write_still_here(out);
                true
            }
            _ => false,
        }
    }

    fn on_timeout(&mut self, out: &mut Outbox) {
        self.close_with(out, "timeout", reply::TOO_SLOW);
    }

    fn end(&mut self, why: EndReason, out: &mut Outbox) -> Step {
        match &self.state {
            // The changes of a command are on their way to the disk, and its reply comes soon.
            State::Awaiting(_, pending) if is_change(pending) => {
                self.ending = Some(why);
                Step::Idle
            }
            // They are made, and the reply follows the updates.
            State::SendingUpdates(_, after) if ends_change(after) => {
                self.ending = Some(why);
                Step::Continue
            }
            _ if self.is_inside_response() => self.abort(out, why.words()),
            _ => self.close_with(out, why.words(), reply::farewell(why)),
        }
    }
}

/// Whether the client has to learn that a change has been made, because it would make it again.
fn is_change(pending: &WaitingCommand) -> bool {
    match pending {
        WaitingCommand::Append(appending) => appending.is_final(),
        WaitingCommand::Copy(_) => true,
        WaitingCommand::Refresh { after, .. } => ends_change(after),
        _ => false,
    }
}

/// Whether a reply may be that of a change. That of NOOP and CHECK is none.
fn ends_change(after: &AfterUpdates) -> bool {
    matches!(after, AfterUpdates::Reply(_) | AfterUpdates::Refuse { .. })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::{super::updates::Updates, *};
    use crate::{
        limits::Limits,
        proto::{
            dot::LineEndings,
            imap::{
                session_config::{ImapConfig, SessionConfig},
                state::{ResponseCode, TaggedReply},
            },
            syntax::Syntax,
        },
    };

    fn sending_updates(after: AfterUpdates) -> ImapSession {
        let protocol = ImapConfig { starttls: false, plaintext_auth: true, withheld: Vec::new() };
        let mut session = ImapSession::new(Rc::new(SessionConfig {
            hostname: "mx.example.test".into(),
            line_endings: LineEndings::Lenient,
            syntax: Syntax::Exact,
            limits: Limits::default(),
            pedantic: false,
            protocol,
        }));
        let updates = Updates::new((Arc::default(), Arc::default()), None, (Arc::default(), false), true);
        session.state = State::SendingUpdates(Box::new(updates), Box::new(after));
        session
    }

    fn done() -> TaggedReply {
        let (condition, code) = (Condition::Ok, ResponseCode::OfText);
        TaggedReply { tag: b"a".to_vec(), condition, code, text: reply::DONE }
    }

    #[test]
    fn n181_the_reply_to_a_change_follows_its_updates_before_the_session_ends() {
        let mut session = sending_updates(AfterUpdates::Reply(done()));
        let mut out = Outbox::default();
        assert!(matches!(session.end(EndReason::LoginRevoked, &mut out), Step::Continue));
        while let State::SendingUpdates(updates, after) = mem::replace(&mut session.state, State::Ready) {
            session.updates_step(updates, after, &mut out);
        }
        assert_eq!(out.pending(), b"a OK Done\r\n");
        assert_eq!(session.ending, Some(EndReason::LoginRevoked));
    }

    #[test]
    fn n181_noop_needs_no_reply_before_the_session_ends() {
        let mut session = sending_updates(AfterUpdates::Refreshed(done()));
        let mut out = Outbox::default();
        assert!(matches!(session.end(EndReason::LoginRevoked, &mut out), Step::Close));
        assert!(out.pending().starts_with(b"* BYE "), "{:?}", out.pending());
    }
}
