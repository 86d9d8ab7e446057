//! FETCH: asks the backend for one piece of the responses after the other, while the outbox has room for it, or the client has
//! read all but the last one.

use std::{mem, sync::Arc};

use super::{
    command::{self, FlagChange},
    fetch_item::FetchItem,
    flags::Flags,
    news::{OwnChange, Report},
    numbers,
    plans::{FetchPlan, Fetching, Tag},
    reply,
    request::{self, FetchPosition, FetchedPiece, ImapRequest, ImapResponse, MessageState},
    response::writer::Condition,
    sequence_set::NumberSet,
    state::{After, Code, Ending, ImapSession, Pending, State},
};
use crate::proto::{Step, buffer::Outbox, event::Event, request::Response};

impl ImapSession {
    pub(super) fn fetch(&mut self, tag: Tag, fetch: command::Fetch, out: &mut Outbox) -> Step {
        let command::Fetch { messages, mut items, changed_since } = fetch;
        if changed_since.is_some() || items.contains(&FetchItem::ModSeq) {
            self.enable_condstore(out);
        }
        let Some(selected) = &self.selected else { return self.no_folder(&tag, out) };
        let by_uid = messages.by_uid;
        let Some(named) = numbers::named(&selected.view, &messages) else {
            return self.refuse(&tag, Condition::Bad, "FETCH", reply::NO_SUCH_NUMBER, out);
        };
        let named = || {
            let is_named = |message: &&MessageState| changed_since.is_none_or(|since| message.modseq > since);
            named.iter().copied().flatten().filter(is_named)
        };
        let uids = numbers::uids(named());
        let marks_seen = !selected.read_only && items.iter().any(FetchItem::marks_seen);
        let unseen = match marks_seen {
            true => numbers::uids(named().filter(|message| !message.flags.intersects(Flags::SEEN))),
            false => NumberSet::default(),
        };
        if by_uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        self.work += selected.view.messages.len() / MESSAGES_OF_WORK;
        let plan = FetchPlan { by_uid, uids, items, unseen };
        if plan.unseen.is_empty() {
            return self.begin_fetch(tag, plan, out);
        }
        let store = request::Store {
            uids: plan.unseen.clone(),
            change: FlagChange::Add,
            flags: Flags::SEEN,
            keywords: Vec::new(),
            unchanged_since: None,
        };
        self.await_response(tag, Pending::MarkSeen(plan), ImapRequest::Store(Box::new(store)))
    }

    /// The messages are marked as seen. If they are not, the client reads them all the same.
    pub(super) fn marked_seen(
        &mut self,
        tag: Tag,
        mut plan: FetchPlan,
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        let Response::Imap(ImapResponse::Stored { state: Some(state), .. }) = response else {
            return self.begin_fetch(tag, plan, out);
        };
        // The response with the message tells the change (RFC 3501 section 6.4.5).
        let items = [FetchItem::Flags, FetchItem::ModSeq];
        for item in items.into_iter().take(1 + usize::from(self.condstore)) {
            if !plan.items.contains(&item) {
                plan.items.insert(usize::from(plan.by_uid), item);
            }
        }
        let own = OwnChange {
            uids: mem::take(&mut plan.unseen),
            change: FlagChange::Add,
            flags: Flags::SEEN,
            report: Report::Nothing,
        };
        self.set_newest(state);
        self.tell_news(Some(own), false, After::Fetch(tag, plan), out)
    }

    pub(super) fn begin_fetch(&mut self, tag: Tag, plan: FetchPlan, out: &mut Outbox) -> Step {
        let FetchPlan { by_uid, uids, items, .. } = plan;
        let Some(selected) = &self.selected else { return self.no_folder(&tag, out) };
        if uids.is_empty() {
            return self.conclude_ok(tag, by_uid, out);
        }
        let state = Arc::clone(&selected.view);
        let (uids, items) = (Arc::new(uids), items.into());
        let recent = Arc::new(selected.recent.clone());
        let fetch = request::Fetch { state, uids, items, recent, position: FetchPosition::default() };
        self.request_piece(tag, Fetching { by_uid, fetch, has_gone: false })
    }

    pub(super) fn request_piece(&mut self, tag: Tag, fetching: Fetching) -> Step {
        let request = ImapRequest::Fetch(Box::new(fetching.fetch.clone()));
        self.await_response(tag, Pending::Fetch(fetching), request)
    }

    pub(super) fn fetched(
        &mut self,
        tag: Tag,
        mut fetching: Fetching,
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        let FetchedPiece { octets, next, has_gone, whole } = match response {
            Response::Imap(ImapResponse::Fetched(piece)) => piece,
            Response::Failed(_) if fetching.is_inside() => {
                return self.abort(out, "message could not be read to its end");
            }
            Response::Failed(failure) => return self.no(&tag, "FETCH", reply::failure_text(failure), out),
            _ => return self.close_with(out, "internal error", reply::INTERNAL),
        };
        let has_all_before = out.is_empty();
        out.append(octets);
        whole.into_iter().for_each(|octets| out.push_event(Event::Read { octets }));
        fetching.has_gone |= has_gone;
        if let Some(position) = next {
            fetching.fetch.position = position;
            // The next piece is prepared while the client reads this one. A client that has not read the one before gets none
            // ahead.
            if has_all_before {
                return self.request_piece(tag, fetching);
            }
            self.state = State::Fetching(tag, Box::new(fetching));
            return Step::Continue;
        }
        // A UID that is not there names no message, and so does one that is gone.
        if fetching.by_uid || !fetching.has_gone {
            return self.conclude_ok(tag, fetching.by_uid, out);
        }
        let ending = Ending { tag, condition: Condition::No, code: Code::OfText, text: reply::SOME_GONE };
        self.conclude(ending, false, out)
    }
}

/// Messages of a folder that a step may name at the cost of one mailbox that is examined.
const MESSAGES_OF_WORK: usize = 256;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        limits::Limits,
        proto::{
            dot::LineEndings,
            imap::session_config::{ImapConfig, SessionConfig},
            syntax::Syntax,
        },
    };

    #[test]
    fn y113_a_slow_client_has_one_piece_ahead_at_most() {
        let protocol = ImapConfig { starttls: false, plaintext_auth: true, withheld: Vec::new() };
        let mut session = ImapSession::new(Rc::new(SessionConfig {
            hostname: "mx.example.test".into(),
            line_endings: LineEndings::Lenient,
            syntax: Syntax::Exact,
            limits: Limits::default(),
            pedantic: false,
            protocol,
        }));
        let position = |uid| FetchPosition { uid, ..FetchPosition::default() };
        let fetching = |uid| {
            let (state, uids, items, recent) = Default::default();
            let items: Vec<FetchItem> = items;
            let fetch = request::Fetch { state, uids, items: items.into(), recent, position: position(uid) };
            Fetching { by_uid: true, fetch, has_gone: false }
        };
        let piece = |uid| {
            let (has_gone, whole) = Default::default();
            let piece = FetchedPiece { octets: vec![b'x'; 1000], next: Some(position(uid)), has_gone, whole };
            Response::Imap(ImapResponse::Fetched(piece))
        };
        let mut out = Outbox::default();
        let step = session.fetched(b"a".to_vec(), fetching(1), piece(2), &mut out);
        assert!(matches!(step, Step::Request(_)), "the client has read everything before");
        let step = session.fetched(b"a".to_vec(), fetching(2), piece(3), &mut out);
        assert!(matches!(step, Step::Continue), "one piece is ahead of it");
        assert!(matches!(session.state, State::Fetching(..)));
        out.consume(2000);
        let step = session.fetched(b"a".to_vec(), fetching(3), piece(4), &mut out);
        assert!(matches!(step, Step::Request(_)));
    }
}
