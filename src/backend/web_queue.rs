//! Jobs of the web API that wait for a worker. Plain data.
//!
//! The rule: clients take turns, and one client has all workers but one at most, so a client with many expensive requests
//! keeps no other waiting.

use super::{
    effects::Effects,
    fair_queue::{ClientKey, FairQueue},
};
use crate::{capacity::Shrinker, metrics::METRICS, proto::request::ConnId, workers::Job};

#[derive(Debug)]
pub(super) struct WebQueue {
    waiting: FairQueue<Job>,
    /// The jobs that workers run: no more than there are workers.
    running: Vec<(ConnId, ClientKey)>,
    workers: usize,
}

impl WebQueue {
    /// For that number of workers, with room for `capacity` jobs.
    pub(super) fn new(workers: usize, capacity: usize) -> Self {
        Self { waiting: FairQueue::new(capacity), running: Vec::new(), workers }
    }

    /// Runs a job, or queues it. Returns the connection whose job lost its place, if the queue is full.
    pub(super) fn push(
        &mut self,
        client: &ClientKey,
        id: ConnId,
        job: Job,
        effects: &mut Effects,
    ) -> Option<ConnId> {
        // While a worker is free, clients that may have it have nothing waiting.
        if may_begin(&self.running, self.workers, client) {
            self.running.push((id, client.clone()));
            effects.run(job);
            return None;
        }
        METRICS.web_queue.inc();
        let (lost, _) = self.waiting.push(client, id, job)?;
        METRICS.web_queue.sub(1);
        METRICS.queue_full.inc();
        Some(lost)
    }

    /// A worker has ended a job, or it was lost.
    pub(super) fn finished(&mut self, id: ConnId, effects: &mut Effects) {
        self.running.retain(|(running, _)| *running != id);
        let Self { waiting, running, workers } = self;
        while let Some((id, client, job)) = waiting.next(|client| may_begin(running, *workers, client)) {
            METRICS.web_queue.sub(1);
            running.push((id, client));
            effects.run(job);
        }
    }

    /// Removes the job of a connection if it still waits and `is_useless`. Returns whether it did.
    pub(super) fn remove_if(&mut self, id: ConnId, is_useless: impl FnOnce(&Job) -> bool) -> bool {
        if !self.waiting.get(id).is_some_and(is_useless) {
            return false;
        }
        METRICS.web_queue.sub(1);
        self.waiting.remove(id).is_some()
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        self.waiting.shrink(shrinker);
    }
}

/// Whether a worker is free for the next job of a client, beside those that are running.
fn may_begin(running: &[(ConnId, ClientKey)], workers: usize, client: &ClientKey) -> bool {
    let share = workers.saturating_sub(1).max(1);
    running.len() < workers && running.iter().filter(|(_, of)| of == client).count() < share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::effects::Effect,
        proto::http::api::{ApiAction, ApiRequest, MailboxScope},
    };

    fn client(name: &str) -> ClientKey {
        ClientKey::User(name.into())
    }

    fn job(id: u64) -> Job {
        let request = ApiRequest::new(MailboxScope::All, ApiAction::Info);
        Job::Api { conn: ConnId(id), request, reading: None, client: std::sync::Weak::new() }
    }

    /// The connections whose jobs have begun since the last call.
    fn begun(effects: &mut Effects) -> Vec<u64> {
        let conn = |effect| match effect {
            Effect::Run(Job::Api { conn, .. }) => conn.0,
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| effects.next()).map(conn).collect()
    }

    #[test]
    fn v97_a_client_with_many_requests_leaves_a_worker_to_the_others() {
        let (mut queue, mut effects) = (WebQueue::new(3, 100), Effects::default());
        for id in 10..20 {
            queue.push(&client("greedy"), ConnId(id), job(id), &mut effects);
        }
        assert_eq!(begun(&mut effects), [10, 11], "two of three workers");
        queue.push(&client("ann"), ConnId(1), job(1), &mut effects);
        assert_eq!(begun(&mut effects), [1], "at once");
        queue.push(&client("bob"), ConnId(2), job(2), &mut effects);
        queue.push(&client("ann"), ConnId(3), job(3), &mut effects);
        assert!(begun(&mut effects).is_empty());
        for (finished, next) in [(10, [12]), (11, [2]), (12, [3]), (2, [13]), (1, [14])] {
            queue.finished(ConnId(finished), &mut effects);
            assert_eq!(begun(&mut effects), next, "after {finished}");
        }
    }

    #[test]
    fn v97_a_full_queue_refuses_the_client_that_fills_it() {
        let (mut queue, mut effects) = (WebQueue::new(2, 3), Effects::default());
        let mut push = |name, id| queue.push(&client(name), ConnId(id), job(id), &mut effects);
        assert_eq!([10, 11, 12, 13].map(|id| push("greedy", id)), [None; 4], "one of them runs");
        assert_eq!(push("ann", 1), None, "it runs");
        assert_eq!(push("ann", 2), Some(ConnId(13)));
        assert!(!queue.remove_if(ConnId(10), |_| true), "it runs");
        assert!(!queue.remove_if(ConnId(11), |_| false) && queue.remove_if(ConnId(11), |_| true));
    }
}
