//! Processes the responses of the backend to commands.

use super::{
    plans::Tag,
    reply,
    request::{ImapResponse, Refusal},
    response::writer::Condition,
    state::{After, AfterClose, Code, Ending, ImapSession, Pending},
};
use crate::proto::{
    Context, Step,
    buffer::Outbox,
    event::{ChangeCommand, Event},
    request::{Failure, Mailbox, Response},
};

impl ImapSession {
    pub(super) fn answered(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        pending: Pending,
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        match (pending, response) {
            (Pending::Fetch(fetching), response) => self.fetched(tag, fetching, response, out),
            (Pending::MarkSeen(plan), response) => self.marked_seen(tag, plan, response, out),
            (Pending::Append(appending), response) => self.append_response(cx, tag, appending, response, out),
            // A mailbox that could not be closed is closed for the client all the same.
            (Pending::Close(then), _) => self.closed(tag, then, out),
            (Pending::Refresh { after, is_needed }, response) => {
                self.refreshed(tag, (after, is_needed), response, out)
            }
            (pending, Response::Failed(failure)) => self.failed(&tag, &pending, failure, out),
            (pending, Response::Imap(ImapResponse::Refused(refusal))) => {
                let may_create = matches!(pending, Pending::Copy { .. });
                self.no(&tag, what(&pending), reply::refusal_text(refusal, may_create), out)
            }
            (Pending::Select { folder, read_only }, Response::Imap(ImapResponse::State(state))) => {
                self.opened(&tag, folder, read_only, state, out)
            }
            (Pending::ExpungeAndClose, Response::Imap(ImapResponse::Expunged { removed, .. })) => {
                self.log_change(ChangeCommand::Expunge, None, removed, out);
                self.close(tag, AfterClose::Reply)
            }
            (Pending::Expunge, Response::Imap(ImapResponse::Expunged { state, removed })) => {
                self.log_change(ChangeCommand::Expunge, None, removed, out);
                if let Some(state) = state {
                    self.set_newest(state);
                }
                self.expunged(tag, out)
            }
            (Pending::Store(plan), Response::Imap(response)) => self.stored(tag, plan, response, out),
            (Pending::Search(plan), Response::Imap(response)) => self.searched(tag, plan, response, out),
            (Pending::Copy { to, is_move }, Response::Imap(response)) => {
                self.copied(tag, (to, is_move), response, out)
            }
            (Pending::List(list), Response::Imap(response)) => self.listed(tag, list, response, out),
            (Pending::Status(name, items), Response::Imap(ImapResponse::Status(numbers))) => {
                super::mailboxes::write_status(&name, &items, &numbers, out.buffer());
                self.conclude_ok(tag, true, out)
            }
            (Pending::Change, Response::Imap(ImapResponse::Created(made))) => {
                self.made.extend(made);
                self.conclude_ok(tag, true, out)
            }
            (Pending::Change, Response::Imap(ImapResponse::Done)) => self.conclude_ok(tag, true, out),
            (Pending::Usage(name), Response::Imap(ImapResponse::Usage { octets, messages })) => {
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
        (after, is_needed): (After, bool),
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        match response {
            Response::Imap(ImapResponse::State(state)) => {
                self.set_newest(state);
                self.tell_news(None, true, after, out)
            }
            Response::Failed(Failure::NoFolder)
            | Response::Imap(ImapResponse::Refused(Refusal::NoFolder)) => {
                if let Some(selected) = &mut self.selected {
                    selected.is_gone = true;
                }
                match is_needed {
                    true => self.close_with(out, "the mailbox is gone", reply::MAILBOX_GONE),
                    false => self.tell_news(None, true, after, out),
                }
            }
            Response::Failed(failure) if is_needed => {
                self.no(&tag, "NOOP", reply::failure_text(failure), out)
            }
            // The command has succeeded without it.
            _ => self.tell_news(None, true, after, out),
        }
    }

    fn failed(&mut self, tag: &[u8], pending: &Pending, failure: Failure, out: &mut Outbox) -> Step {
        let text = match failure {
            Failure::NoFolder => {
                reply::refusal_text(Refusal::NoFolder, matches!(pending, Pending::Copy { .. }))
            }
            failure => reply::failure_text(failure),
        };
        self.no(tag, what(pending), text, out)
    }

    /// NOOP and CHECK: asks for the newest state.
    pub(super) fn refresh(&mut self, tag: Tag, out: &mut Outbox) -> Step {
        if self.selected.is_none() {
            return self.done(&tag, out);
        }
        let ending =
            Ending { tag: tag.clone(), condition: Condition::Ok, code: Code::OfText, text: reply::DONE };
        let pending = Pending::Refresh { after: After::Reply(ending), is_needed: true };
        self.await_response(tag, pending, super::request::ImapRequest::Refresh)
    }
}

/// The command, for the log.
fn what(pending: &Pending) -> &'static str {
    match pending {
        Pending::Close(_) | Pending::ExpungeAndClose => "CLOSE",
        Pending::Select { .. } => "SELECT",
        Pending::Refresh { .. } => "NOOP",
        Pending::Expunge => "EXPUNGE",
        Pending::Store(_) | Pending::MarkSeen(_) => "STORE",
        Pending::Fetch(_) => "FETCH",
        Pending::Search(_) => "SEARCH",
        Pending::Copy { is_move: true, .. } => "MOVE",
        Pending::Copy { is_move: false, .. } => "COPY",
        Pending::List(_) => "LIST",
        Pending::Status(..) => "STATUS",
        Pending::Change => "mailbox",
        Pending::Usage(_) => "GETQUOTA",
        Pending::Append(_) => "APPEND",
    }
}
