//! Logging in: from the password to the open mailbox.

use std::{sync::Arc, time::Duration};

use super::{
    reply,
    session::{Pop3, State},
    visit::Visit,
};
use crate::proto::{
    Cx, Step,
    ask::{Ask, Fault, Mailbox, Maildrop, Secret},
    buf::Outbox,
    event::Event,
};

impl Pop3 {
    pub(super) fn verified(&mut self, cx: &Cx<'_>, user: String, mailbox: Mailbox, out: &mut Outbox) -> Step {
        out.tell(Event::Login { user, ok: true });
        self.open(cx, mailbox, cx.now.steady)
    }

    pub(super) fn open(&mut self, cx: &Cx<'_>, mailbox: Mailbox, since: Duration) -> Step {
        self.state = State::AwaitingOpen { mailbox: mailbox.clone(), since };
        Step::Ask(Ask::Open { mailbox, now: cx.now.steady })
    }

    pub(super) fn denied(
        &mut self,
        user: String,
        password: Secret,
        after: Duration,
        out: &mut Outbox,
    ) -> Step {
        out.tell(Event::Login { user: user.clone(), ok: false });
        let last = self.wrong.count(user, password, self.rules.limits.failed_logins);
        self.state = State::HoldingBack { last };
        Step::Pause(after)
    }

    pub(super) fn not_opened(
        &mut self,
        cx: &Cx<'_>,
        mailbox: Mailbox,
        since: Duration,
        fault: Fault,
        out: &mut Outbox,
    ) -> Step {
        let waited = cx.now.steady.saturating_sub(since);
        if fault == Fault::InUse && waited < self.rules.limits.pop3_lock_wait.0 {
            self.state = State::Queueing { mailbox, since };
            return Step::Pause(QUEUE_PACE);
        }
        self.state = State::Authorization { user: None };
        self.refuse(out, "login", reply::fault(fault))
    }

    pub(super) fn opened(&mut self, mailbox: Mailbox, maildrop: Arc<dyn Maildrop>, out: &mut Outbox) -> Step {
        let (messages, octets) = (maildrop.len(), maildrop.total());
        out.line(&format!("+OK {messages} messages ({octets} octets)"));
        let read_only = mailbox.folder().is_some();
        out.tell(Event::Opened { mailbox, messages, octets });
        self.errors = 0;
        self.wrong.clear();
        self.state = State::Transaction(Visit::new(maildrop, read_only));
        Step::Again
    }
}

/// How often a login asks again for a mailbox that another session has.
const QUEUE_PACE: Duration = Duration::from_millis(100);
