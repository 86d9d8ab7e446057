//! The end of a session: QUIT deletes and marks messages (RFC 1939 section 6), and deletes those that are too
//! old (RFC 2449 section 6.7). A session that ends in any other way changes nothing.

use std::time::SystemTime;

use super::{
    maildrop_view::MaildropView,
    session_config::{DAY, Expire},
    state::{Pop3Session, State},
};
use crate::proto::{
    Context, Step,
    request::{MaildropRequest, Request},
};

impl Pop3Session {
    pub(super) fn quit(&mut self, cx: &Context<'_>, mut visit: Box<MaildropView>) -> Step {
        match self.config.protocol.expire {
            _ if visit.read_only => visit.retrieved.clear(),
            Some(Expire::Retrieved) => visit.deleted.extend(&visit.retrieved),
            Some(Expire::Days(days)) => {
                let date = cx.directory.expiry_date(cx.now.wall);
                let now = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let before = now.as_secs().saturating_sub(u64::from(days) * DAY);
                self.state = State::Expiring { visit, before, next: 0 };
                return Step::Continue;
            }
            Some(Expire::Never) | None => {}
        }
        self.update(&visit)
    }

    /// Marks old messages for deletion, a limited number in each step, because a mailbox may have a million.
    pub(super) fn expire_step(&mut self, mut visit: Box<MaildropView>, before: u64, from: usize) -> Step {
        let to = visit.maildrop.len().min(from + MESSAGES_PER_STEP);
        let old: Vec<usize> =
            (from..to).filter(|message| visit.maildrop.delivered_at(*message) < before).collect();
        visit.deleted.extend(old);
        if to < visit.maildrop.len() {
            self.state = State::Expiring { visit, before, next: to };
            return Step::Continue;
        }
        self.update(&visit)
    }

    fn update(&mut self, visit: &MaildropView) -> Step {
        let delete: Vec<usize> = visit.deleted.iter().copied().collect();
        let seen: Vec<usize> = visit.retrieved.difference(&visit.deleted).copied().collect();
        self.state = State::AwaitingUpdate { deleted: delete.len(), seen: seen.len() };
        Step::Request(Request::Maildrop(MaildropRequest::Update { delete, seen }))
    }
}

/// Messages examined in one step.
const MESSAGES_PER_STEP: usize = 64;
