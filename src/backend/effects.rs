//! The effects that the parts of the backend request, in order: responses, jobs and deliveries. Plain data, so that a
//! test can examine it.

use std::collections::VecDeque;

use crate::{
    capacity::Shrinker,
    delivery::Delivery,
    proto::request::{ConnId, Failure, Response},
    workers::Job,
};

/// An action that a part of the backend asks for.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send a response to a session.
    Respond(ConnId, Response),
    /// Queue a job for a worker.
    Run(Job),
    /// Queue a message for the committer.
    Deliver(Delivery),
}

/// Requested effects, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Effects(VecDeque<Effect>);

impl Effects {
    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.0);
    }

    pub(super) fn respond(&mut self, to: ConnId, response: Response) {
        self.0.push_back(Effect::Respond(to, response));
    }

    pub(super) fn fail(&mut self, to: ConnId, failure: Failure) {
        self.respond(to, Response::Failed(failure));
    }

    pub(super) fn run(&mut self, job: Job) {
        self.0.push_back(Effect::Run(job));
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.0.push_back(Effect::Deliver(delivery));
    }

    pub(super) fn next(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }
}
