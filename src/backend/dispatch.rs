//! The way of a request to its part of the backend, of a completion, and of what the parts ask for.

use std::net::IpAddr;

use super::*;

impl Backend {
    pub(super) fn receiver_parts(&mut self) -> (&mut Receiver, &mut Clients, Context<'_>) {
        let Self { receiver, clients, accounts, quotas, index, effects, now, .. } = self;
        (receiver, clients, Context { now: *now, accounts, quotas, index, effects })
    }

    /// Passes a request to its part. The part responds now or after a completion.
    pub(super) fn dispatch(&mut self, (id, peer): (ConnId, IpAddr), request: Request) {
        let Self {
            auth,
            receiver,
            maildrops,
            folders,
            quotas,
            subscriptions,
            accounts,
            chaos,
            clients,
            index,
            effects,
            now,
            ..
        } = self;
        let Some(client) = clients.get_mut(id) else { return };
        let mut cx = Context { now: *now, accounts, quotas, index, effects };
        match request {
            Request::Verify { user, password } => {
                auth.verify((id, peer), (&user, password), accounts, *now, effects);
                auth.dispatch_checks(accounts, *now, effects);
            }
            Request::Receive(request) => receiver.handle((id, client), request, &self.storage, &mut cx),
            Request::Maildrop(request) => maildrops.handle((id, client), request, *now, index, effects),
            Request::Api(ApiRequest { action: ApiAction::Chaos(set), .. }) => {
                *chaos = set.unwrap_or(*chaos);
                let document = Document::json(printable::json(chaos, false));
                effects.respond(id, Response::Document(document));
            }
            Request::Api(request) => subscriptions.handle((id, client), request, effects),
            Request::Imap(request) => {
                let cx = &mut imap::Context { maildrops, index, effects };
                let mut parts = imap::Parts { folders, receiver, accounts, quotas, now: *now };
                if let Some(request) = parts.handle((id, client), request, cx) {
                    folders.handle((id, client), request, *now, cx);
                }
            }
        }
    }

    /// Passes a completion to its part.
    pub(super) fn dispatch_completion(&mut self, completion: Completion) {
        self.record_changes(&completion);
        let Self {
            auth,
            receiver,
            maildrops,
            folders,
            quotas,
            subscriptions,
            documents,
            accounts,
            clients,
            index,
            effects,
            now,
            ..
        } = self;
        let client = completion.conn().and_then(|id| Some((id, clients.get_mut(id)?)));
        match (completion, client) {
            (Completion::Counted(id, token, counts), _) => {
                let mut cx = Context { now: *now, accounts, quotas, index, effects };
                receiver.usage_counted((id, &token), clients, counts, &mut cx);
            }
            (Completion::Spilled(id, Some(token), result), _) => {
                let mut cx = Context { now: *now, accounts, quotas, index, effects };
                receiver.body_sealed((id, &token), clients, result, &mut cx);
            }
            (Completion::Delivered(id, token, result), _) => {
                let mut cx = Context { now: *now, accounts, quotas, index, effects };
                receiver.delivered((id, &token), clients, result, &mut cx);
                while let Some((id, copy)) = receiver.appended.pop_front() {
                    folders.appended(id, copy, &mut imap::Context { maildrops, index, effects });
                }
                subscriptions.mailboxes_changed(effects);
            }
            (Completion::Verified(id, verdict), _) => auth.verified(id, verdict, accounts, *now, effects),
            (Completion::Spilled(_, None, result), Some((id, client))) => {
                receiver.body_spilled(id, client, result, effects)
            }
            (Completion::Opened(_, result), Some(client)) if client.1.has_open_folder() => {
                Folders::reopened(client, result, &mut imap::Context { maildrops, index, effects });
            }
            (Completion::Opened(_, result), Some(client)) => {
                maildrops.open_finished(client, result, index, effects)
            }
            (Completion::Folder(key, result), _) => {
                let cx = &mut imap::Context { maildrops, index, effects };
                let changes = folders.job_finished(&key, result, cx);
                while let Some((id, mailbox, append, bytes)) = folders.take_append() {
                    let Some(client) = clients.get_mut(id) else { continue };
                    let mut parts = imap::Parts { folders, receiver, accounts, quotas, now: *now };
                    parts.append((id, client), (mailbox, append, bytes), (cx.index, cx.effects));
                }
                if api::apply_changes(&changes, quotas) {
                    subscriptions.mailboxes_changed(effects);
                }
            }
            (Completion::Folders(id, result), _) => {
                let changes = folders.folders_finished(id, result, (quotas, *now), effects);
                if api::apply_changes(&changes, quotas) {
                    subscriptions.mailboxes_changed(effects);
                }
            }
            (Completion::Imap(_, result), Some((id, client))) => {
                Folders::read_finished((id, client), result, effects);
            }
            (Completion::Read(_, message, result), Some(client)) => {
                Maildrops::read_finished(client, message, result, index, effects);
            }
            (Completion::Updated(_, done, result), Some(client)) => {
                maildrops.update_finished(client, done, result, index, quotas, effects);
                subscriptions.mailboxes_changed(effects);
            }
            (Completion::Unlocked(mailbox), _) => maildrops.lock_released(&mailbox, clients, index, effects),
            (Completion::Index(id, result), _) => index.complete(id, result),
            (Completion::Api(_, result), Some(client)) => {
                if api::request_finished(client, result, (documents, *now), quotas, effects) {
                    subscriptions.mailboxes_changed(effects);
                }
            }
            (Completion::MailChanged(result), _) => subscriptions.compared(result, effects),
            (Completion::SessionsChanged, _) => subscriptions.sessions_changed(),
            (Completion::AccountsLoaded(accounts), _) => self.replace_accounts(accounts),
            // No response is outstanding, because the client has gone.
            (
                Completion::Spilled(..)
                | Completion::Opened(..)
                | Completion::Read(..)
                | Completion::Api(..)
                | Completion::Imap(..)
                | Completion::Updated(..),
                None,
            ) => {}
        }
    }

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
    pub(super) fn collect_index_effects(&mut self) {
        self.index.apply_events();
        for (id, job) in self.index.take_jobs() {
            self.effects.run(Job::Index(id, job));
        }
        for (id, result) in self.index.take_login_results() {
            let Self { clients, maildrops, folders, index, effects, .. } = self;
            let Some(client) = clients.get_mut(id) else { continue };
            if client.maildrop.as_ref().is_some_and(|maildrop| maildrop.access == Access::Shared) {
                folders.index_ready((id, client), result, &mut imap::Context { maildrops, index, effects });
            } else {
                maildrops.index_ready((id, client), result, index, effects);
            }
        }
    }
}
