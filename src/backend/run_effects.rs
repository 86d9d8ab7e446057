//! Carries out the effects that the parts of the backend and the index request.

use super::{effects::Effect, imap_context, state::Backend};
use crate::{proto::request::Access, workers::Job};

impl Backend {
    /// Carries out the effects of the parts and of the index, and those that follow from them at once.
    pub(super) fn run_effects(&mut self) {
        loop {
            self.collect_index_effects();
            let Some(effect) = self.effects.next() else { return };
            let lost = match effect {
                Effect::Respond(id, response) => {
                    if let Some(client) = self.clients.respond(id, response) {
                        self.release(id, client);
                    }
                    None
                }
                Effect::Run(job) => self.workers.submit(job),
                Effect::Deliver(delivery) => self.workers.deliver(delivery),
            };
            // The queue is full, so the job will never run.
            if let Some(completion) = lost {
                self.dispatch_completion(completion);
            }
        }
    }

    /// Collects the effects that the index requests.
    fn collect_index_effects(&mut self) {
        self.index.apply_events();
        for (id, job) in self.index.take_jobs() {
            self.effects.run(Job::Index(id, job));
        }
        for (id, result) in self.index.take_login_results() {
            let Self { clients, maildrops, folders, index, effects, .. } = self;
            let Some(client) = clients.get_mut(id) else { continue };
            if client.maildrop.as_ref().is_some_and(|maildrop| maildrop.access == Access::Shared) {
                folders.index_ready(
                    (id, client),
                    result,
                    &mut imap_context::FolderContext { maildrops, index, effects },
                );
            } else {
                maildrops.index_ready((id, client), result, index, effects);
            }
        }
    }
}
