//! Processes the responses of the backend to commands.

use super::{
    command_state::{CopyPlan, Tag},
    reply,
    request::{ImapResponse, Refusal},
    response::writer::Condition,
    state::{AfterClose, AfterUpdates, ImapSession, ResponseCode, TaggedReply, WaitingCommand},
};
use crate::proto::{
    Context, Step,
    buffer::Outbox,
    event::{ChangeCommand, Event},
    request::{Failure, Mailbox, Response},
};

impl ImapSession {
    pub(super) fn handle_response(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        pending: WaitingCommand,
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        match (pending, response) {
            (WaitingCommand::Fetch(fetching), response) => self.fetched(tag, fetching, response, out),
            (WaitingCommand::MarkSeen(plan), response) => self.marked_seen(tag, plan, response, out),
            (WaitingCommand::Append(appending), response) => {
                self.append_response(cx, tag, appending, response, out)
            }
            // A mailbox that could not be closed is closed for the client all the same.
            (WaitingCommand::Close(then), _) => self.closed(tag, then, out),
            (WaitingCommand::Refresh { after, is_needed }, response) => {
                self.refreshed(tag, (after, is_needed), response, out)
            }
            (pending, Response::Failed(failure)) => self.failed(&tag, &pending, failure, out),
            (pending, Response::Imap(ImapResponse::Refused(refusal))) => {
                let may_create = matches!(pending, WaitingCommand::Copy(_));
                self.no(&tag, command_name(&pending), reply::refusal_text(refusal, may_create), out)
            }
            (WaitingCommand::Select { folder, read_only }, Response::Imap(ImapResponse::State(state))) => {
                self.opened(&tag, folder, read_only, state, out)
            }
            (
                pending @ (WaitingCommand::Expunge | WaitingCommand::ExpungeAndClose),
                Response::Imap(ImapResponse::Expunged { state, removed, interruption }),
            ) => {
                self.log_change(ChangeCommand::Expunge, None, removed, out);
                if let Some(state) = state {
                    self.set_newest(state);
                }
                match (interruption, &pending) {
                    (Some(interruption), _) => {
                        let after = AfterUpdates::Refuse { tag, what: command_name(&pending), interruption };
                        self.send_updates(None, true, after, out)
                    }
                    (None, WaitingCommand::Expunge) => self.expunged(tag, out),
                    (None, _) => self.close(tag, AfterClose::Reply),
                }
            }
            (WaitingCommand::Store(plan), Response::Imap(response)) => self.stored(tag, plan, response, out),
            (WaitingCommand::Search(plan), Response::Imap(response)) => {
                self.searched(tag, plan, response, out)
            }
            (WaitingCommand::Copy(plan), Response::Imap(response)) => self.copied(tag, plan, response, out),
            (WaitingCommand::List(list), Response::Imap(response)) => self.listed(tag, list, response, out),
            (WaitingCommand::Status(name, items), Response::Imap(ImapResponse::Status(numbers))) => {
                super::mailboxes::write_status(&name, &items, &numbers, out.buffer());
                self.conclude_ok(tag, true, out)
            }
            (WaitingCommand::ChangeFolders, Response::Imap(ImapResponse::Created(made))) => {
                self.created.extend(made);
                self.conclude_ok(tag, true, out)
            }
            (WaitingCommand::ChangeFolders, Response::Imap(ImapResponse::Done)) => {
                self.conclude_ok(tag, true, out)
            }
            (WaitingCommand::Usage(name), Response::Imap(ImapResponse::Usage { octets, messages })) => {
                self.used(cx, tag, name, (octets, messages), out)
            }
            // No other response follows these requests.
            _ => self.close_with(out, "internal error", reply::INTERNAL),
        }
    }

    /// Logs a change of messages of the selected mailbox.
    pub(super) fn log_change(
        &self,
        command: ChangeCommand,
        to: Option<Mailbox>,
        messages: u64,
        out: &mut Outbox,
    ) {
        if let Some(selected) = &self.selected {
            let mailbox = selected.folder.clone();
            out.push_event(Event::FolderChanged { command, mailbox, to, messages });
        }
    }

    fn refreshed(
        &mut self,
        tag: Tag,
        (after, is_needed): (AfterUpdates, bool),
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        match response {
            Response::Imap(ImapResponse::State(state)) => {
                self.set_newest(state);
                // Any other state may be one that was begun before the message came.
                if let Some(selected) = &mut self.selected {
                    selected.behind_from = None;
                }
                self.send_updates(None, true, after, out)
            }
            Response::Failed(Failure::NoFolder)
            | Response::Imap(ImapResponse::Refused(Refusal::NoFolder)) => {
                if let Some(selected) = &mut self.selected {
                    selected.is_gone = true;
                }
                match is_needed {
                    true => self.close_with(out, "the mailbox is gone", reply::MAILBOX_GONE),
                    false => self.send_updates(None, true, after, out),
                }
            }
            Response::Failed(failure) if is_needed => {
                self.no(&tag, "NOOP", reply::failure_text(failure), out)
            }
            // The command has succeeded without it.
            _ => {
                if let Some(selected) = &mut self.selected {
                    let next = selected.view.uid_next;
                    selected.behind_from = selected.behind_from.or(Some(next));
                }
                self.send_updates(None, true, after, out)
            }
        }
    }

    fn failed(&mut self, tag: &[u8], pending: &WaitingCommand, failure: Failure, out: &mut Outbox) -> Step {
        let text = match failure {
            Failure::NoFolder => {
                reply::refusal_text(Refusal::NoFolder, matches!(pending, WaitingCommand::Copy(_)))
            }
            failure => reply::failure_text(failure),
        };
        self.no(tag, command_name(pending), text, out)
    }

    /// NOOP and CHECK: asks for the newest state.
    pub(super) fn refresh(&mut self, tag: Tag, out: &mut Outbox) -> Step {
        if self.selected.is_none() {
            return self.done(&tag, out);
        }
        let ending = TaggedReply {
            tag: tag.clone(),
            condition: Condition::Ok,
            code: ResponseCode::OfText,
            text: reply::DONE,
        };
        let pending = WaitingCommand::Refresh { after: AfterUpdates::Refreshed(ending), is_needed: true };
        self.await_response(tag, pending, super::request::ImapRequest::Refresh)
    }
}

/// The command, for the log.
fn command_name(pending: &WaitingCommand) -> &'static str {
    match pending {
        WaitingCommand::Close(_) | WaitingCommand::ExpungeAndClose => "CLOSE",
        WaitingCommand::Select { .. } => "SELECT",
        WaitingCommand::Refresh { .. } => "NOOP",
        WaitingCommand::Expunge => "EXPUNGE",
        WaitingCommand::Store(_) | WaitingCommand::MarkSeen(_) => "STORE",
        WaitingCommand::Fetch(_) => "FETCH",
        WaitingCommand::Search(_) => "SEARCH",
        WaitingCommand::Copy(CopyPlan { is_move: true, .. }) => "MOVE",
        WaitingCommand::Copy(CopyPlan { is_move: false, .. }) => "COPY",
        WaitingCommand::List(_) => "LIST",
        WaitingCommand::Status(..) => "STATUS",
        WaitingCommand::ChangeFolders => "mailbox",
        WaitingCommand::Usage(_) => "GETQUOTA",
        WaitingCommand::Append(_) => "APPEND",
    }
}
