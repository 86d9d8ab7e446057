//! STORE, EXPUNGE, COPY and MOVE.

use std::sync::Arc;

use super::{
    command::{self, Messages},
    command_state::{CopyPlan, StorePlan, Tag},
    flags::Flags,
    mailbox_name::MailboxName,
    numbers,
    parser::{Expected, expected},
    reply::{self, ReplyText},
    request::{self, FolderState, ImapRequest, ImapResponse},
    response::writer::Condition,
    sequence_set::{NumberSet, SequenceSet},
    state::{ImapSession, ResponseCode, TaggedReply, WaitingCommand},
    updates::{OwnChange, StoreReport},
};
use crate::{
    imap_characters::is_atom,
    proto::{
        Step,
        buffer::Outbox,
        event::ChangeCommand,
        imap::{command_table::CommandSpec, state::AfterUpdates},
        request::Failure,
    },
};

/// The flags and keywords that a client names. `\Recent` is left out: no client can change it.
pub(super) fn named_flags(names: &[Vec<u8>]) -> Result<(Flags, Vec<String>), Expected> {
    let (mut flags, mut keywords) = (Flags::empty(), Vec::new());
    for name in names {
        match (Flags::of_name(name), std::str::from_utf8(name)) {
            (Some(flag), _) => flags = flags.with(flag),
            _ if name.eq_ignore_ascii_case(b"\\Recent") => {}
            _ if name.starts_with(b"\\") => return Err(expected::KNOWN_FLAG),
            (None, Ok(keyword)) if is_atom(name) && name.len() <= MAX_KEYWORD => {
                keywords.push(keyword.to_owned())
            }
            _ => return Err(expected::SHORT_KEYWORD),
        }
    }
    Ok((flags, keywords))
}

impl ImapSession {
    pub(super) fn store(
        &mut self,
        tag: Tag,
        row: &'static CommandSpec,
        store: command::Store,
        out: &mut Outbox,
    ) -> Step {
        let command::Store { messages, change, flags, silent, unchanged_since } = store;
        let (flags, keywords) = match named_flags(&flags) {
            Ok(named) => named,
            Err(expected) => return self.refuse_malformed(&tag, Some(row), expected, out),
        };
        if unchanged_since.is_some() {
            self.enable_condstore(out);
        }
        let uids = match self.changeable(&messages) {
            Ok(uids) => uids,
            Err((condition, text)) => return self.refuse(&tag, condition, row.name, text, out),
        };
        if uids.is_empty() {
            return self.conclude_ok(tag, messages.by_uid, out);
        }
        let uids = Arc::new(uids);
        let request = request::Store {
            uids: Arc::clone(&uids),
            change,
            flags,
            keywords: keywords.clone(),
            unchanged_since,
        };
        let plan = StorePlan { by_uid: messages.by_uid, uids, change, flags, keywords, silent };
        self.await_response(tag, WaitingCommand::Store(plan), ImapRequest::Store(Box::new(request)))
    }

    /// The UIDs of messages that the client changes.
    fn changeable(&mut self, messages: &Messages) -> Result<NumberSet, (Condition, ReplyText)> {
        match &self.selected {
            None => Err((Condition::Bad, reply::SELECT_FIRST)),
            Some(selected) if selected.read_only => Err((Condition::No, reply::READ_ONLY)),
            Some(_) => self.uids(messages),
        }
    }

    /// The UIDs of messages that the client names. Unknown UIDs are no mistake (RFC 9051 section 6.4.9), unless one of them may be
    /// that of an APPEND: OK would claim a change that nobody has made. The next UID of a view may be above that message, which the view
    /// lacks all the same.
    fn uids(&mut self, messages: &Messages) -> Result<NumberSet, (Condition, ReplyText)> {
        let Some(selected) = &self.selected else { return Err((Condition::Bad, reply::SELECT_FIRST)) };
        let runs = numbers::named(&selected.view, messages).ok_or((Condition::Bad, reply::NO_SUCH_NUMBER))?;
        let last_seen = selected.view.messages.last().map_or(0, |last| last.uid);
        let largest = messages.set.largest_named();
        let is_unseen = |from| messages.by_uid && largest >= from && largest > last_seen;
        match selected.behind_from.is_some_and(is_unseen) {
            true => Err((Condition::No, reply::failure_text(Failure::TempFail))),
            false => Ok(numbers::uids(&selected.view, &runs)),
        }
    }

    pub(super) fn stored(
        &mut self,
        tag: Tag,
        plan: StorePlan,
        response: ImapResponse,
        out: &mut Outbox,
    ) -> Step {
        let ImapResponse::Stored { state, modified, is_partial, interruption } = response else {
            return self.close_with(out, "internal error", reply::INTERNAL);
        };
        let StorePlan { by_uid, uids, change, flags, keywords, silent } = plan;
        let named = self.selected.as_ref().map_or(0, |selected| numbers::count(&selected.view, &uids));
        let changed = interruption.map_or(named.saturating_sub(modified.count()), |it| it.done);
        self.log_change(ChangeCommand::Store, None, changed, out);
        let report = match silent {
            false => StoreReport::Flags,
            true if self.condstore => StoreReport::ModSeq,
            true => StoreReport::Nothing,
        };
        let modified = match &self.selected {
            Some(selected) if !by_uid => numbers::numbers(&selected.view, &modified),
            _ => modified,
        };
        let (condition, code, text) = match (modified.is_empty(), is_partial && !by_uid) {
            (false, _) => (Condition::Ok, ResponseCode::Modified(modified), reply::SOME_MODIFIED),
            (true, true) => (Condition::No, ResponseCode::OfText, reply::SOME_GONE),
            (true, false) => (Condition::Ok, ResponseCode::OfText, reply::DONE),
        };
        // Without a state, a later event tells the new flags.
        let own = state.map(|state| {
            let flags = flags.with(keyword_flags(&state, &keywords));
            self.set_newest(state);
            OwnChange { uids, change, flags, report }
        });
        let after = match interruption {
            Some(interruption) => AfterUpdates::Refuse { tag, what: "STORE", interruption },
            None => AfterUpdates::Reply(TaggedReply { tag, condition, code, text }),
        };
        self.send_updates(own, by_uid, after, out)
    }

    /// EXPUNGE, and UID EXPUNGE with a set.
    pub(super) fn expunge(&mut self, tag: Tag, set: Option<SequenceSet>, out: &mut Outbox) -> Step {
        let Some(selected) = &self.selected else { return self.no_folder(&tag, out) };
        if selected.read_only {
            return self.no(&tag, "EXPUNGE", reply::READ_ONLY, out);
        }
        let uids = match set.map(|set| self.uids(&Messages { set, by_uid: true })) {
            None => None,
            Some(Ok(uids)) => Some(uids),
            Some(Err((condition, text))) => return self.refuse(&tag, condition, "EXPUNGE", text, out),
        };
        if uids.as_ref().is_some_and(NumberSet::is_empty) {
            return self.conclude_ok(tag, true, out);
        }
        self.await_response(tag, WaitingCommand::Expunge, ImapRequest::Expunge { uids })
    }

    pub(super) fn expunged(&mut self, tag: Tag, out: &mut Outbox) -> Step {
        let highest = self.selected.as_ref().map(|selected| selected.newest.highest_modseq);
        let code = match highest.filter(|_| self.condstore) {
            Some(highest) => ResponseCode::HighestModSeq(highest),
            None => ResponseCode::OfText,
        };
        self.conclude(TaggedReply { tag, condition: Condition::Ok, code, text: reply::DONE }, true, out)
    }

    pub(super) fn copy(
        &mut self,
        tag: Tag,
        messages: &Messages,
        to: MailboxName,
        is_move: bool,
        out: &mut Outbox,
    ) -> Step {
        let what = if is_move { "MOVE" } else { "COPY" };
        let to = match self.mailbox(to) {
            Ok(to) => to,
            Err(mistake) => return self.refuse_name(&tag, what, &mistake, out),
        };
        let uids = if is_move { self.changeable(messages) } else { self.uids(messages) };
        match uids {
            Err((condition, text)) => self.refuse(&tag, condition, what, text, out),
            // A client that retries a MOVE which has succeeded would take NO for a reason to bring the messages back.
            Ok(uids) if uids.is_empty() => self.conclude_ok(tag, true, out),
            Ok(uids) => {
                let numbered = (!messages.by_uid).then(|| uids.count());
                let pending = WaitingCommand::Copy(CopyPlan { to: to.clone(), is_move, numbered });
                self.await_response(tag, pending, ImapRequest::Copy { uids, to, is_move })
            }
        }
    }

    pub(super) fn copied(
        &mut self,
        tag: Tag,
        plan: CopyPlan,
        response: ImapResponse,
        out: &mut Outbox,
    ) -> Step {
        let ImapResponse::Copied { state, uid_validity, messages, from, to, interruption } = response else {
            return self.close_with(out, "internal error", reply::INTERNAL);
        };
        let CopyPlan { to: target, is_move, numbered } = plan;
        let command = if is_move { ChangeCommand::Move } else { ChangeCommand::Copy };
        self.log_change(command, Some(target), messages, out);
        // A number names a message that the client still sees, and OK would claim that it is in the other mailbox.
        let has_gone = numbered.is_some_and(|named| messages < named);
        let condition = if has_gone && messages == 0 { Condition::No } else { Condition::Ok };
        let text = if has_gone { reply::SOME_GONE } else { reply::DONE };
        if let Some(state) = state {
            self.set_newest(state);
        }
        let code = match from.is_empty() || to.is_empty() {
            true => ResponseCode::OfText,
            false => ResponseCode::CopyUid { uid_validity, from, to },
        };
        let mut ending = TaggedReply { tag, condition, code, text };
        // The client must know the new UIDs before the old ones go (RFC 6851 section 4.3).
        if is_move && let ResponseCode::CopyUid { .. } = &ending.code {
            let code = std::mem::replace(&mut ending.code, ResponseCode::OfText);
            self.write_with(b"*", Condition::Ok, |items| code.write(reply::MOVED, items), reply::MOVED, out);
        }
        match interruption {
            Some(interruption) => {
                let after = AfterUpdates::Refuse { tag: ending.tag, what: "MOVE", interruption };
                self.send_updates(None, true, after, out)
            }
            None => self.conclude(ending, true, out),
        }
    }
}

/// The flags of keywords in a folder.
fn keyword_flags(state: &FolderState, keywords: &[String]) -> Flags {
    let is_named = |name: &str| keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(name));
    let named = state.keywords.iter().enumerate().filter(|(_, name)| is_named(name));
    named.fold(Flags::empty(), |flags, (number, _)| flags.with(Flags::of_keyword(number)))
}

/// The longest keyword that a client can set, in characters.
const MAX_KEYWORD: usize = 100;
