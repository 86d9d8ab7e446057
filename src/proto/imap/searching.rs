//! SEARCH, with plain results and as ESEARCH (RFC 4731).

use std::sync::Arc;

use super::{
    command::{self, SearchReturn},
    command_state::{SearchPlan, SearchResults, Tag},
    numbers, reply,
    request::{self, FolderState, ImapRequest, ImapResponse},
    response::writer::{Condition, Items, status, untagged},
    search_key::SearchKey,
    sequence_set::NumberSet,
    state::{ImapSession, ResponseCode, State, TaggedReply, WaitingCommand},
};
use crate::proto::{Step, buffer::Outbox};

impl ImapSession {
    pub(super) fn search(&mut self, tag: Tag, search: command::Search, out: &mut Outbox) -> Step {
        let command::Search { by_uid, returned, charset, key } = search;
        let is_known = |name: &String| ["UTF-8", "US-ASCII"].contains(&name.as_str());
        if charset.as_ref().is_some_and(|name| !is_known(name)) {
            let code = |code: &mut Items<'_>| {
                code.atom("BADCHARSET").list(|list| {
                    list.atom("US-ASCII").atom("UTF-8");
                });
            };
            let text = reply::BAD_CHARSET.text(self.language);
            status(out.buffer(), Some(&tag), Condition::No, code, text);
            return Step::Continue;
        }
        if key.texts() > MAX_TEXTS {
            return self.no(&tag, "SEARCH", reply::TOO_MANY_TEXTS, out);
        }
        let has_modseq = has_modseq(&key);
        if has_modseq {
            self.enable_condstore(out);
        }
        let Some(selected) = &self.selected else { return self.no_folder(&tag, out) };
        let recent = selected.recent.clone();
        let request = request::Search { state: Arc::clone(&selected.view), recent, key };
        let plan = SearchPlan { by_uid, returned, has_modseq };
        self.await_response(tag, WaitingCommand::Search(plan), ImapRequest::Search(Box::new(request)))
    }

    pub(super) fn searched(
        &mut self,
        tag: Tag,
        plan: SearchPlan,
        response: ImapResponse,
        out: &mut Outbox,
    ) -> Step {
        let ImapResponse::Found { uids, state, has_gone } = response else {
            return self.close_with(out, "internal error", reply::INTERNAL);
        };
        let Some(selected) = &self.selected else { return self.no_folder(&tag, out) };
        let SearchPlan { by_uid, returned, has_modseq } = plan;
        let view = Arc::clone(&selected.view);
        let numbers = numbers::numbers(&view, &uids);
        let shown = if by_uid { &uids } else { &numbers };
        let modseq = if has_modseq { highest_modseq(&state, &uids, returned.as_deref()) } else { None };
        let is_set = returned.is_some();
        let start = out.buffer().len();
        untagged(out.buffer(), |line| match &returned {
            None => {
                line.atom("SEARCH");
            }
            Some(returned) => write_results(&tag, by_uid, shown, &numbers, returned, line),
        });
        // The line ends after the numbers.
        let end = out.buffer().len() - b"\r\n".len();
        out.buffer().truncate(end.max(start));
        let has_all = returned.as_ref().is_none_or(|returned| returned.contains(&SearchReturn::All));
        let mut ranges = Vec::new();
        if has_all && !shown.is_empty() {
            if is_set {
                out.push(b" ALL ");
            }
            ranges = shown.ranges().map(|range| (*range.start(), *range.end())).collect();
            ranges.reverse();
        }
        self.state =
            State::SendingResults(Box::new(SearchResults { tag, by_uid, ranges, is_set, modseq, has_gone }));
        Step::Continue
    }

    /// Tells the next numbers.
    pub(super) fn results_step(&mut self, mut found: Box<SearchResults>, out: &mut Outbox) -> Step {
        let mut text = String::new();
        while text.len() < OCTETS_PER_STEP
            && let Some((from, to)) = found.ranges.pop()
        {
            match found.is_set {
                true => {
                    let comma = if found.ranges.is_empty() { "" } else { "," };
                    match from == to {
                        true => text.push_str(&format!("{from}{comma}")),
                        false => text.push_str(&format!("{from}:{to}{comma}")),
                    }
                }
                false => {
                    text.push_str(&format!(" {from}"));
                    found.ranges.extend((from < to).then(|| (from + 1, to)));
                }
            }
        }
        out.push(text.as_bytes());
        if !found.ranges.is_empty() {
            self.state = State::SendingResults(found);
            return Step::Continue;
        }
        let SearchResults { tag, by_uid, is_set, modseq, has_gone, .. } = *found;
        match modseq {
            Some(modseq) if is_set => out.push(format!(" MODSEQ {modseq}").as_bytes()),
            Some(modseq) => out.push(format!(" (MODSEQ {modseq})").as_bytes()),
            None => {}
        }
        out.push(b"\r\n");
        let text = if has_gone { reply::SOME_GONE } else { reply::DONE };
        self.conclude(
            TaggedReply { tag, condition: Condition::Ok, code: ResponseCode::OfText, text },
            by_uid,
            out,
        )
    }
}

/// Writes the results of ESEARCH without ALL, which comes at the end.
fn write_results(
    tag: &[u8],
    by_uid: bool,
    shown: &NumberSet,
    numbers: &NumberSet,
    returned: &[SearchReturn],
    line: &mut Items<'_>,
) {
    line.atom("ESEARCH").list(|list| {
        list.atom("TAG").string(tag);
    });
    if by_uid {
        line.atom("UID");
    }
    let lowest = shown.ranges().next().map(|range| *range.start());
    if let Some(lowest) = lowest.filter(|_| returned.contains(&SearchReturn::Min)) {
        line.atom("MIN").number(lowest);
    }
    if lowest.is_some() && returned.contains(&SearchReturn::Max) {
        line.atom("MAX").number(shown.largest());
    }
    if returned.contains(&SearchReturn::Count) {
        let count = numbers.ranges().map(|range| u64::from(range.end() - range.start()) + 1).sum::<u64>();
        line.atom("COUNT").number(count);
    }
}

/// The highest modification sequence of the messages that the result names (RFC 7162 section 3.1.10): of the lowest and
/// highest alone, if the client has asked for no others. The state is that of the search, which may be newer than the client's.
fn highest_modseq(state: &FolderState, uids: &NumberSet, returned: Option<&[SearchReturn]>) -> Option<u64> {
    let mut messages = numbers::with_uids(state, uids).map(|(_, message)| message);
    let only =
        |of: &[SearchReturn]| returned.is_some_and(|returned| returned.iter().all(|it| of.contains(it)));
    use SearchReturn::{Max, Min};
    let (first, rest) = match () {
        () if only(&[Min]) => (messages.next(), None),
        () if only(&[Max]) => (messages.last(), None),
        () if only(&[Min, Max]) => {
            let first = messages.next();
            (first, messages.last())
        }
        () => (messages.max_by_key(|message| message.modseq), None),
    };
    first.into_iter().chain(rest).map(|message| message.modseq).max()
}

fn has_modseq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::And(keys) => keys.iter().any(has_modseq),
        SearchKey::Or(one, other) => has_modseq(one) || has_modseq(other),
        SearchKey::Not(key) => has_modseq(key),
        _ => false,
    }
}

/// Octets of numbers that one step writes.
const OCTETS_PER_STEP: usize = 16 * 1024;
/// The most BODY and TEXT keys of one search. A worker that compares a message with each of them stops only after it.
const MAX_TEXTS: usize = 100;
