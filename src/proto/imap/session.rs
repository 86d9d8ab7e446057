//! An IMAP session: dispatches steps and responses. All of its files act on `state`; none reads a clock, a socket or a
//! disk.

use std::mem;

use super::{
    reply,
    state::{ImapSession, State},
};
use crate::proto::{
    Context, Encryption, Progress, ProgressCounts, ResetOn, Session, SessionEvent, SessionPhase,
    SessionStage, Step, Timeouts,
    buffer::{Inbox, Outbox},
    pop3::reply::Language,
    request::Response,
};

impl Session for ImapSession {
    fn greet(&mut self, _: &Context<'_>, out: &mut Outbox) -> Step {
        out.line(&format!("* OK [CAPABILITY {}] {} restante", self.capabilities(), self.config.hostname));
        Step::Continue
    }

    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Over) {
            State::Ready => {
                self.state = State::Ready;
                self.command_step(cx, inbox, out)
            }
            State::Discarding(discarding) => self.discard_step(discarding, inbox, out),
            State::Plain { tag } => self.plain_step(tag, inbox, out),
            State::DelayingReply { tag, last } => self.refuse_login(&tag, last, out),
            state => {
                self.state = state;
                Step::Idle
            }
        }
    }

    fn respond(&mut self, _: &Context<'_>, response: Response, out: &mut Outbox) -> Step {
        match (mem::replace(&mut self.state, State::Over), response) {
            (State::AwaitingVerify { tag, credentials }, response) => {
                self.verified(tag, credentials, response, out)
            }
            (State::AwaitingPrepare { tag, user }, response) => self.prepared(&tag, user, response, out),
            // No other response follows a request of this session.
            _ => self.close_with(out, "internal error", reply::INTERNAL),
        }
    }

    fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {
        // Forgets everything that the client sent, but keeps the counts of its errors and attempts.
        self.is_encrypted = true;
        self.login_steps += 1;
        self.reader.reset();
        self.language = Language::En;
        self.state = State::Ready;
    }

    fn session_phase(&self) -> SessionPhase {
        match &self.state {
            State::Ready if self.reader.octets() > 0 => SessionPhase::Literal,
            State::Discarding(_) => SessionPhase::Literal,
            State::Ready if self.user.is_none() => SessionPhase::Authorization,
            State::Ready => SessionPhase::Authenticated,
            State::Plain { .. } => SessionPhase::AuthPlain,
            State::Over => SessionPhase::Ended,
            _ => SessionPhase::Pending,
        }
    }

    fn timeouts(&self) -> Timeouts {
        let limits = &self.config.limits;
        let (read, reset_on) = match self.state {
            State::Discarding(_) => (limits.smtp.data_timeout, ResetOn::Octet),
            _ if self.user.is_none() => (limits.imap.login_timeout, ResetOn::Progress),
            _ => (limits.imap.idle_timeout, ResetOn::Command),
        };
        Timeouts { read: read.0, reset_on, write: limits.imap.write_timeout.0, session: None }
    }

    fn progress(&self) -> Progress {
        let stage = match self.user {
            None => SessionStage::Unidentified,
            Some(_) => SessionStage::Trusted(None),
        };
        let counts =
            ProgressCounts { commands: self.login_steps, advances: self.login_steps, served: self.logins };
        Progress { stage, counts }
    }

    fn notify(&mut self, _: &SessionEvent, _: &mut Outbox) {}

    fn on_timeout(&mut self, out: &mut Outbox) {
        self.close_with(out, "timeout", reply::TOO_SLOW);
    }

    fn shutdown(&mut self, out: &mut Outbox) -> Step {
        self.close_with(out, "shutting down", reply::SHUTTING_DOWN)
    }
}
