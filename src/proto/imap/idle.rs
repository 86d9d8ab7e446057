//! IDLE (RFC 2177). The continuation comes first, because clients fail if a response comes before it; then the updates, at
//! once.

use std::time::Duration;

use super::{
    command_state::Tag,
    reply,
    request::ImapRequest,
    response::writer::{Condition, continuation},
    state::{AfterUpdates, ImapSession, State, WaitingCommand},
};
use crate::{
    clock::Now,
    proto::{
        Context, Step,
        buffer::{Inbox, Line, Outbox},
    },
};

impl ImapSession {
    pub(super) fn idle(&mut self, cx: &Context<'_>, tag: Tag, out: &mut Outbox) -> Step {
        continuation(out.buffer(), "idling");
        let since = cx.now.monotonic;
        if self.selected.is_none() {
            self.state = State::Idling { tag, since };
            return Step::Continue;
        }
        let after = AfterUpdates::Idle { tag: tag.clone(), since };
        self.await_response(tag, WaitingCommand::Refresh { after, is_needed: false }, ImapRequest::Refresh)
    }

    pub(super) fn idle_step(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        since: Duration,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        if self.has_updates() {
            return self.send_updates(None, true, AfterUpdates::Idle { tag, since }, out);
        }
        if self.is_over(since, cx.now) {
            return self.close_with(out, "timeout", reply::TOO_SLOW);
        }
        let limits = &self.config.limits;
        match self.typed(inbox.line(MAX_LINE, limits.connections.line_discard_limit), out) {
            Line::Partial => {
                self.state = State::Idling { tag, since };
                Step::Idle
            }
            Line::NoLineEnd => self.close_with(out, "endless line", reply::TOO_LONG),
            Line::Complete(line) if self.is_bare(&line) => self.refuse_bare_line_feed(out),
            Line::Complete(line) if self.is_done(&line) => self.done(&tag, out),
            Line::Complete(line) if line.trim_ascii().is_empty() && !self.config.pedantic => {
                self.state = State::Idling { tag, since };
                Step::Continue
            }
            Line::Complete(_) | Line::TooLong => {
                self.refuse(&tag, Condition::Bad, "IDLE", reply::DONE_EXPECTED, out)
            }
        }
    }

    /// A strict listener takes no blanks around the word (RFC 3501 section 9, RFC 2177).
    fn is_done(&self, line: &[u8]) -> bool {
        let word =
            if self.config.pedantic { line.strip_suffix(b"\r\n").unwrap_or(line) } else { line.trim_ascii() };
        word.eq_ignore_ascii_case(b"DONE")
    }

    fn has_updates(&self) -> bool {
        self.selected
            .as_ref()
            .is_some_and(|selected| !std::sync::Arc::ptr_eq(&selected.view, &selected.newest))
    }

    /// Whether an IDLE has lasted for as long as it may.
    pub(super) fn is_over(&self, since: Duration, now: Now) -> bool {
        now.monotonic.saturating_sub(since) >= self.config.limits.imap.idle_timeout.0
    }
}

/// The longest line in IDLE, in octets.
const MAX_LINE: usize = 512;
