//! SEARCH, with plain results and as ESEARCH (RFC 4731).

use std::sync::Arc;

use super::{
    command::{self, SearchReturn},
    command_state::{FoundModSeqs, SearchPlan, SearchResults, SearchStep, Tag},
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
        let view = Arc::clone(&selected.view);
        let results = SearchResults::new(tag, plan, (uids, view), (state, has_gone));
        self.state = State::SendingResults(Box::new(results));
        Step::Continue
    }

    /// Counts or writes the next results.
    pub(super) fn results_step(&mut self, mut results: Box<SearchResults>, out: &mut Outbox) -> Step {
        self.work += WORK_OF_RESULTS;
        let is_done = match results.step {
            SearchStep::Counting => {
                if !results.count() {
                    results.begin(out);
                }
                false
            }
            SearchStep::Writing => !results.write(out),
        };
        if !is_done {
            self.state = State::SendingResults(results);
            return Step::Continue;
        }
        let SearchResults { tag, plan, modseqs, has_gone, .. } = *results;
        match modseqs.for_response(plan.returned.as_deref()).filter(|_| plan.has_modseq) {
            Some(modseq) if plan.returned.is_some() => out.push(format!(" MODSEQ {modseq}").as_bytes()),
            Some(modseq) => out.push(format!(" (MODSEQ {modseq})").as_bytes()),
            None => {}
        }
        out.push(b"\r\n");
        let text = if has_gone { reply::SOME_GONE } else { reply::DONE };
        let ending = TaggedReply { tag, condition: Condition::Ok, code: ResponseCode::OfText, text };
        self.conclude(ending, plan.by_uid, out)
    }
}

impl SearchResults {
    fn new(
        tag: Tag,
        plan: SearchPlan,
        (uids, view): (NumberSet, Arc<FolderState>),
        (state, has_gone): (Arc<FolderState>, bool),
    ) -> Self {
        let (next, next_number, numbers, modseqs) = Default::default();
        let step = SearchStep::Counting;
        Self { tag, plan, uids, view, state, has_gone, step, next, next_number, numbers, modseqs }
    }

    /// The numbers to show, or UIDs.
    fn shown(&self) -> &NumberSet {
        if self.plan.by_uid { &self.uids } else { &self.numbers }
    }

    /// Turns the next UIDs into numbers. Returns whether there are more.
    fn count(&mut self) -> bool {
        let mut left = COUNTED_PER_STEP;
        while left > 0
            && let Some(range) = self.uids.range(self.next)
        {
            left -= 1;
            let (first, last) = (*range.start(), *range.end());
            if self.plan.has_modseq {
                let messages = &self.state.messages;
                let from = messages.partition_point(|message| message.uid < first.max(self.next_number));
                let mut rest = messages[from..].iter().take_while(|message| message.uid <= last);
                for message in rest.by_ref().take(left) {
                    left -= 1;
                    self.modseqs.add(message.modseq);
                }
                if let Some(message) = rest.next() {
                    self.next_number = message.uid;
                    return true;
                }
            }
            let below = |uid: u32| self.view.messages.partition_point(|message| message.uid < uid);
            let run = below(first)..last.checked_add(1).map_or(self.view.messages.len(), below);
            if !run.is_empty() {
                numbers::push_numbers(&run, &mut self.numbers);
            }
            (self.next, self.next_number) = (self.next + 1, 0);
        }
        self.next < self.uids.ranges_count()
    }

    /// Begins the response. Its line ends after the numbers.
    fn begin(&mut self, out: &mut Outbox) {
        let start = out.buffer().len();
        untagged(out.buffer(), |line| match &self.plan.returned {
            None => {
                line.atom("SEARCH");
            }
            Some(returned) => write_results(self, returned, line),
        });
        let end = out.buffer().len() - b"\r\n".len();
        out.buffer().truncate(end.max(start));
        let has_all =
            self.plan.returned.as_ref().is_none_or(|returned| returned.contains(&SearchReturn::All));
        self.next = if has_all { 0 } else { self.shown().ranges_count() };
        if has_all && self.plan.returned.is_some() && !self.shown().is_empty() {
            out.push(b" ALL ");
        }
        self.step = SearchStep::Writing;
    }

    /// Writes the next numbers: as a set for ESEARCH, else one by one. Returns whether there are more.
    fn write(&mut self, out: &mut Outbox) -> bool {
        let mut text = String::new();
        let is_set = self.plan.returned.is_some();
        while text.len() < OCTETS_PER_STEP
            && let Some(range) = self.shown().range(self.next)
        {
            let (from, to) = (*range.start(), *range.end());
            let number = from.max(self.next_number);
            if is_set {
                let comma = if self.next > 0 { "," } else { "" };
                match from == to {
                    true => text.push_str(&format!("{comma}{from}")),
                    false => text.push_str(&format!("{comma}{from}:{to}")),
                }
            } else {
                text.push_str(&format!(" {number}"));
                if number < to {
                    self.next_number = number + 1;
                    continue;
                }
            }
            (self.next, self.next_number) = (self.next + 1, 0);
        }
        out.push(text.as_bytes());
        self.next < self.shown().ranges_count()
    }
}

impl FoundModSeqs {
    fn add(&mut self, modseq: u64) {
        self.first.get_or_insert(modseq);
        self.last = Some(modseq);
        self.highest = self.highest.max(Some(modseq));
    }

    /// The sequence in the response (RFC 7162 section 3.1.10): of the lowest and highest message alone, if the client has asked for no
    /// others. The state is that of the search, which may be newer than the client's.
    fn for_response(self, returned: Option<&[SearchReturn]>) -> Option<u64> {
        let only =
            |of: &[SearchReturn]| returned.is_some_and(|returned| returned.iter().all(|it| of.contains(it)));
        use SearchReturn::{Max, Min};
        match () {
            () if only(&[Min]) => self.first,
            () if only(&[Max]) => self.last,
            () if only(&[Min, Max]) => self.first.max(self.last),
            () => self.highest,
        }
    }
}

/// Writes the results of ESEARCH without ALL, which comes at the end.
fn write_results(results: &SearchResults, returned: &[SearchReturn], line: &mut Items<'_>) {
    line.atom("ESEARCH").list(|list| {
        list.atom("TAG").string(&results.tag);
    });
    if results.plan.by_uid {
        line.atom("UID");
    }
    let lowest = results.shown().range(0).map(|range| *range.start());
    if let Some(lowest) = lowest.filter(|_| returned.contains(&SearchReturn::Min)) {
        line.atom("MIN").number(lowest);
    }
    if lowest.is_some() && returned.contains(&SearchReturn::Max) {
        line.atom("MAX").number(results.shown().largest());
    }
    if returned.contains(&SearchReturn::Count) {
        line.atom("COUNT").number(results.numbers.count());
    }
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
/// Ranges of UIDs, and messages in them, that one step counts.
const COUNTED_PER_STEP: usize = 4096;
/// The work of one step of results, in mailboxes that are examined.
const WORK_OF_RESULTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::numbers::tests::sparse;

    /// The response to a search in a large folder that has found these UIDs, and the number of steps.
    fn response(uids: NumberSet, by_uid: bool, returned: Option<Vec<SearchReturn>>) -> (String, usize) {
        let view = Arc::new(sparse(100_000));
        let plan = SearchPlan { by_uid, returned, has_modseq: true };
        let mut results = SearchResults::new(b"a".to_vec(), plan, (uids, Arc::clone(&view)), (view, false));
        let (mut out, mut steps) = (Outbox::default(), 1);
        while results.count() {
            steps += 1;
        }
        results.begin(&mut out);
        let mut before = out.pending().len();
        while results.write(&mut out) {
            steps += 1;
            assert!(out.pending().len() - before < OCTETS_PER_STEP + 30);
            before = out.pending().len();
        }
        let modseq = results.modseqs.for_response(results.plan.returned.as_deref());
        (format!("{} {modseq:?}", String::from_utf8_lossy(out.pending())), steps)
    }

    #[test]
    fn y164_results_of_a_search_in_a_large_folder_are_counted_and_written_in_steps() {
        use SearchReturn::{All, Count, Max, Min};
        let all = || NumberSet::of_range(1, 200_001);
        let odd = || {
            let mut uids = NumberSet::default();
            (1..50_000).for_each(|n| uids.push(4 * n));
            uids
        };
        let counting = 100_000_usize.div_ceil(COUNTED_PER_STEP - 1);
        let (text, steps) = response(all(), false, Some(vec![Min, Max, Count, All]));
        assert_eq!(text, "* ESEARCH (TAG \"a\") MIN 1 MAX 100000 COUNT 100000 ALL 1:100000 Some(100000)");
        assert_eq!(steps, counting);
        let (text, steps) = response(all(), false, None);
        assert!(text.starts_with("* SEARCH 1 2 3 ") && text.ends_with(" 99999 100000 Some(100000)"));
        assert_eq!(steps, counting + text.len() / OCTETS_PER_STEP);
        let (text, _) = response(odd(), false, Some(vec![Count, All]));
        assert!(text.starts_with("* ESEARCH (TAG \"a\") COUNT 49999 ALL 2,4,6,"), "{}", &text[..80]);
        let (text, _) = response(odd(), true, Some(vec![Min]));
        assert_eq!(text, "* ESEARCH (TAG \"a\") UID MIN 4 Some(2)");
        let (text, _) = response(NumberSet::default(), true, None);
        assert_eq!(text, "* SEARCH None");
    }
}
