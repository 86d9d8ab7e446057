//! The share of the backend in a turn of the loop: a bound on the events and completions that it handles before
//! connections continue. The rest is for the next turn, which begins at once.

use std::{os::fd::BorrowedFd, time::Duration};

use super::{imap_context, state::Backend};
use crate::{
    index::{job::MailboxChange, watcher::WatcherReport},
    proto::SessionEvent,
};

impl Backend {
    /// Begins a turn of the loop, at this time on the steady clock.
    pub fn begin_turn(&mut self, now: Duration) {
        self.now = now;
        self.index.begin_turn();
        self.maildrops.begin_turn();
        self.turn_budget.events.renew();
        self.turn_budget.completions.renew();
        // Changes during the delivery of earlier events are one event more, so the queue never grows beyond the sessions.
        if !self.events.is_empty() {
            return;
        }
        for MailboxChange { mailbox, messages, mut sessions } in self.index.take_changes() {
            let Self { folders, maildrops, index, effects, .. } = self;
            folders.index_changed(&mailbox, &mut imap_context::FolderContext { maildrops, index, effects });
            sessions.retain(|id| !folders.has_session(&mailbox, *id));
            let event = SessionEvent::MailboxChanged { mailbox, messages };
            self.events.extend(sessions.into_iter().map(|id| (id, event.clone())));
        }
        self.events.extend(self.folders.take_events());
        self.events.extend(self.subscriptions.take_events());
        self.run_effects();
    }

    /// Whether [`Backend::complete`] must not be called again in this turn.
    pub fn is_turn_spent(&self) -> bool {
        self.turn_budget.completions.is_spent()
    }

    /// Whether a message to many mailboxes is not done yet.
    pub fn has_pending_recipients(&self) -> bool {
        self.receiver.has_pending_recipients()
    }

    /// Whether work is left for the next turn, which begins at once.
    pub fn has_more_work(&self) -> bool {
        self.turn_budget.events.is_spent()
            || self.turn_budget.completions.is_spent()
            || self.mailbox_events.has_barrier()
            || self.index.is_spent()
            || self.index.has_changes()
            || self.folders.has_events()
            || self.subscriptions.has_events()
            || self.auth.logins.has_unchecked()
            || self.receiver.can_admit()
            || !self.events.is_empty()
            || self.clients.has_responses()
            || self.receiver.has_pending_recipients()
            || self.auth.has_more_work()
    }

    /// Becomes readable with each event of the watcher. `None` if nothing is watched.
    pub fn mailbox_events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.mailbox_events.as_fd()
    }

    /// The watcher has events, for [`Backend::poll_mailbox_events`] to handle.
    pub fn mailbox_events_readable(&mut self) {
        self.mailbox_events.set_readable();
    }

    /// Handles the events of the watcher. Must be called before completions are handled, so that no session gets a
    /// mailbox without the changes that were seen earlier.
    pub fn poll_mailbox_events(&mut self, now: Duration) {
        let (receiver, clients, mut cx) = self.receiver_parts();
        receiver.continue_recipients(clients, &mut cx);
        receiver.admit_waiting(clients, &mut cx);
        self.auth.logins.check(&self.accounts);
        self.auth.dispatch_checks(&self.accounts, self.now, &mut self.effects);
        self.index.set_time(now);
        let index = &mut self.index;
        self.mailbox_events.read(&mut self.turn_budget.events, |report| match report {
            WatcherReport::Overflow => index.events_lost(),
            WatcherReport::Event(event) => index.on_event(event),
            WatcherReport::Barrier(barrier) => index.barrier_reached(barrier),
        });
        self.run_effects();
    }
}
