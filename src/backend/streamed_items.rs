//! New messages for the streams of MailHog's clients. Plain data.
//!
//! The rule: a message is rendered once for any number of streams. Those that ask while a worker renders it wait for the same
//! result, and the last results are kept for those that ask later.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
};

use crate::{
    proto::{
        http::api::{MailboxScope, Outcome, SharedOctets},
        request::{ConnId, Failure},
    },
    workers::job::ApiOutcome,
};

/// The mailboxes that a stream reaches, whose addresses are in the item, and the id of the message.
type Key = (MailboxScope, String);

#[derive(Debug, Default)]
pub(super) struct StreamedItems {
    rendering: HashMap<Key, Rendering>,
    /// By the connection that the job names: the first that asked.
    jobs: HashMap<ConnId, Key>,
    /// The last results, the oldest first.
    recent: VecDeque<(Key, SharedOctets)>,
    /// Octets of the last results.
    octets: usize,
    last_number: u64,
}

#[derive(Debug)]
struct Rendering {
    waiting: Vec<ConnId>,
    /// Keeps the job alive, whichever of the connections ends.
    _client: Arc<()>,
}

/// The answer to a stream that asks for a message.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is here.
    Ready(SharedOctets),
    /// A worker renders it already.
    Waits,
    /// A worker has to render it, for this client.
    Renders(Weak<()>),
}

impl StreamedItems {
    /// A stream asks for a message.
    pub(super) fn ask(&mut self, id: ConnId, scope: &MailboxScope, message: &str) -> Asked {
        let key = (scope.clone(), message.to_owned());
        if let Some((_, item)) = self.recent.iter().find(|(known, _)| *known == key) {
            return Asked::Ready(item.clone());
        }
        if let Some(rendering) = self.rendering.get_mut(&key) {
            rendering.waiting.push(id);
            return Asked::Waits;
        }
        let client = Arc::new(());
        let asked = Asked::Renders(Arc::downgrade(&client));
        self.jobs.insert(id, key.clone());
        self.rendering.insert(key, Rendering { waiting: vec![id], _client: client });
        asked
    }

    /// True if a job that names the connection renders a message.
    pub(super) fn is_job(&self, id: ConnId) -> bool {
        self.jobs.contains_key(&id)
    }

    /// A job has ended. Returns the connections that wait for its message.
    pub(super) fn finished(
        &mut self,
        id: ConnId,
        result: Result<ApiOutcome, Failure>,
    ) -> (Vec<ConnId>, Result<SharedOctets, Failure>) {
        let rendering = self.jobs.remove(&id).and_then(|key| self.rendering.remove_entry(&key));
        // invariant: the caller has asked whether it is a job
        let Some((key, Rendering { waiting, .. })) = rendering else {
            return (Vec::new(), Err(Failure::TempFail));
        };
        let document = match result {
            Ok(ApiOutcome::Document { document, .. }) if document.outcome == Outcome::Done => document,
            // A mailbox that cannot be read hides the message.
            Ok(_) => return (waiting, Err(Failure::Gone)),
            Err(failure) => return (waiting, Err(failure)),
        };
        self.last_number += 1;
        let item = SharedOctets { number: self.last_number, octets: Arc::new(document.bytes) };
        self.octets += item.octets.len();
        self.recent.push_back((key, item.clone()));
        while (self.recent.len() > MAX_RECENT || self.octets > MAX_RECENT_OCTETS)
            && let Some((_, oldest)) = self.recent.pop_front()
        {
            self.octets -= oldest.octets.len();
        }
        (waiting, Ok(item))
    }

    /// Forgets the last results, because no stream is left.
    pub(super) fn clear(&mut self) {
        (self.recent, self.octets) = (VecDeque::new(), 0);
    }
}

/// Messages that are kept for streams that ask later.
const MAX_RECENT: usize = 256;
/// Octets of the messages that are kept.
const MAX_RECENT_OCTETS: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::api::Document;

    fn outcome(octets: usize) -> Result<ApiOutcome, Failure> {
        Ok(ApiOutcome::of(Document::new("application/json", vec![b'x'; octets])))
    }

    #[test]
    fn v96_hundreds_of_streams_have_one_job_for_a_message() {
        let mut items = StreamedItems::default();
        let scope = MailboxScope::All;
        let Asked::Renders(client) = items.ask(ConnId(1), &scope, "a1") else { panic!("it is new") };
        (2..=500).for_each(|id| assert!(matches!(items.ask(ConnId(id), &scope, "a1"), Asked::Waits)));
        assert!(client.strong_count() == 1 && items.is_job(ConnId(1)) && !items.is_job(ConnId(2)));
        let (waiting, Ok(item)) = items.finished(ConnId(1), outcome(9)) else { panic!("it is one") };
        assert_eq!((waiting.len(), item.octets.len()), (500, 9));
        // A slow one asks later, and gets the same octets.
        let Asked::Ready(later) = items.ask(ConnId(501), &scope, "a1") else { panic!("it is kept") };
        assert!(Arc::ptr_eq(&later.octets, &item.octets));
    }

    #[test]
    fn v96_the_messages_that_are_kept_have_a_bound() {
        let mut items = StreamedItems::default();
        let mut render = |id: u64, octets| {
            assert!(matches!(items.ask(ConnId(id), &MailboxScope::All, &id.to_string()), Asked::Renders(_)));
            assert!(items.finished(ConnId(id), outcome(octets)).1.is_ok());
            (items.recent.len(), items.octets)
        };
        (0..1000).for_each(|id| assert!(render(id, 10).0 <= MAX_RECENT));
        assert_eq!(render(1000, MAX_RECENT_OCTETS), (1, MAX_RECENT_OCTETS));
        assert_eq!(render(1001, MAX_RECENT_OCTETS + 1), (0, 0));
    }

    #[test]
    fn v96_a_message_that_has_gone_fails_for_all_who_wait() {
        let mut items = StreamedItems::default();
        let own = MailboxScope::One(crate::proto::request::Mailbox::named("ann@a.test").unwrap());
        assert!(matches!(items.ask(ConnId(1), &MailboxScope::All, "a1"), Asked::Renders(_)));
        assert!(matches!(items.ask(ConnId(2), &own, "a1"), Asked::Renders(_)), "its recipients are others");
        assert!(matches!(items.ask(ConnId(3), &own, "a1"), Asked::Waits));
        let finished = items.finished(ConnId(2), Err(Failure::Gone));
        assert_eq!(finished, (vec![ConnId(2), ConnId(3)], Err(Failure::Gone)));
        assert!(matches!(items.ask(ConnId(3), &own, "a1"), Asked::Renders(_)));
    }
}
