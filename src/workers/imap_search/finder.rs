//! Finds many texts in one text.
//!
//! The rule: the work grows with the octets of the text and not with the number of texts that a client names. A few are looked
//! for one after the other. For more, one automaton finds all of them in one pass. It would report texts that are everywhere
//! again and again, so after so many reports it goes on without those that are found.

use std::cell::{Cell, OnceCell};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, automaton::OverlappingState};
use memchr::memmem;

use super::folded::Folded;
use crate::proto::request::Failure;

/// Texts to find, each with a number.
#[derive(Debug, Default)]
pub(super) struct TextSet {
    numbers: Vec<usize>,
    texts: Vec<Folded>,
    all: OnceCell<Option<AhoCorasick>>,
}

/// Whether each text is found, by its number. `None`: not yet.
pub(super) type Hits = [Option<bool>];

/// The work that a search has done, and its end if nobody waits for it.
pub(super) struct Control<'a> {
    is_cancelled: &'a dyn Fn() -> bool,
    compared: Cell<u64>,
    /// Octets between two looks at the client.
    stretch: usize,
}

impl<'a> Control<'a> {
    pub(super) fn new(is_cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { is_cancelled, compared: Cell::new(0), stretch: STRETCH }
    }

    /// Octets that were compared, about as long as a comparison with one text takes.
    pub(super) fn compared(&self) -> u64 {
        self.compared.get()
    }

    /// # Errors
    /// Nobody waits for the result.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if (self.is_cancelled)() { Err(Failure::TempFail) } else { Ok(()) }
    }

    fn charge(&self, octets: usize, cost: u64) {
        self.compared.set(self.compared.get().saturating_add((octets as u64).saturating_mul(cost)));
    }
}

impl TextSet {
    pub(super) fn add(&mut self, number: usize, text: Folded) {
        self.numbers.push(number);
        self.texts.push(text);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Marks the texts that stand in another one. An empty text stands in each.
    pub(super) fn find(&self, text: &Folded, hits: &mut Hits, control: &Control<'_>) -> Result<(), Failure> {
        let (mut from, mut is_first) = (0, true);
        loop {
            control.check()?;
            let left: Vec<usize> =
                (0..self.texts.len()).filter(|at| hits[self.numbers[*at]].is_none()).collect();
            let rest = &text.octets()[from..];
            if left.len() <= FEW {
                return self.find_few(rest, &left, hits, control);
            }
            let built;
            let (automaton, texts) = if is_first {
                let all = self
                    .all
                    .get_or_init(|| self.automaton(&(0..self.texts.len()).collect::<Vec<_>>(), control));
                (all, None)
            } else {
                built = self.automaton(&left, control);
                (&built, Some(&left))
            };
            is_first = false;
            let Some(automaton) = automaton else { return self.find_few(rest, &left, hits, control) };
            let number = |pattern: usize| self.numbers[texts.map_or(pattern, |texts| texts[pattern])];
            match pass(automaton, (text.octets(), from), number, hits, control)? {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    fn find_few(
        &self,
        octets: &[u8],
        texts: &[usize],
        hits: &mut Hits,
        control: &Control<'_>,
    ) -> Result<(), Failure> {
        for at in texts {
            control.check()?;
            control.charge(octets.len(), 1);
            if memmem::find(octets, self.texts[*at].octets()).is_some() {
                hits[self.numbers[*at]] = Some(true);
            }
        }
        Ok(())
    }

    /// `None`: the texts are too many for one.
    fn automaton(&self, texts: &[usize], control: &Control<'_>) -> Option<AhoCorasick> {
        let texts: Vec<&[u8]> = texts.iter().map(|at| self.texts[*at].octets()).collect();
        control.charge(texts.iter().map(|text| text.len()).sum(), COST_OF_BUILDING);
        // The other kinds take memory by the product of texts and letters.
        AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .prefilter(false)
            .build(texts)
            .inspect_err(|error| log::debug!("{error}"))
            .ok()
    }
}

/// Marks the texts of an automaton that end after `from`. Returns the place to go on from after so many reports that an automaton
/// without the texts that are found takes less time.
fn pass(
    automaton: &AhoCorasick,
    (octets, from): (&[u8], usize),
    number: impl Fn(usize) -> usize,
    hits: &mut Hits,
    control: &Control<'_>,
) -> Result<Option<usize>, Failure> {
    // A text that ends in the next stretch may begin in this one.
    let overlap = automaton.max_pattern_len().saturating_sub(1);
    let stretch = control.stretch.max(4 * overlap);
    let (mut begin, mut reports) = (from, 0);
    loop {
        control.check()?;
        let end = octets.len().min(begin.saturating_add(stretch));
        control.charge(end - begin, COST_OF_A_PASS);
        let input = Input::new(octets).range(begin..end);
        let mut state = OverlappingState::start();
        loop {
            automaton.find_overlapping(input.clone(), &mut state);
            let Some(found) = state.get_match() else { break };
            hits[number(found.pattern().as_usize())] = Some(true);
            reports += 1;
            if reports == MAX_REPORTS {
                return Ok(Some(begin.max(found.end().saturating_sub(overlap))));
            }
        }
        if end == octets.len() {
            return Ok(None);
        }
        begin = end - overlap;
    }
}

/// The most texts that are looked for one after the other.
const FEW: usize = 4;
/// Reports of an automaton before another one takes its place.
const MAX_REPORTS: usize = 4096;
/// The cost of an octet in an automaton, and of building one for it, beside that of a comparison with one text.
const COST_OF_A_PASS: u64 = 8;
const COST_OF_BUILDING: u64 = 64;
/// Octets between two looks at the client: some milliseconds.
const STRETCH: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The texts that are found, and the octets that were compared.
    fn found(texts: &[String], text: &str, stretch: usize) -> (Vec<bool>, u64) {
        let mut set = TextSet::default();
        texts.iter().enumerate().for_each(|(number, text)| set.add(number, Folded::new(text)));
        let mut hits = vec![None; texts.len()];
        let control = Control { stretch, ..Control::new(&|| false) };
        set.find(&Folded::new(text), &mut hits, &control).unwrap();
        (hits.iter().map(|hit| *hit == Some(true)).collect(), control.compared())
    }

    proptest! {
        #[test]
        fn y176_texts_are_found_at_once_as_one_after_the_other(
            texts in proptest::collection::vec("[ab]{1,9}", 0..40),
            text in prop_oneof!["[ab]{0,300}", "[ab]{6}".prop_map(|text| text.repeat(300))],
            stretch in 1_usize..400,
        ) {
            let expected: Vec<bool> = texts.iter().map(|wanted| text.contains(wanted.as_str())).collect();
            prop_assert_eq!(found(&texts, &text, stretch).0, expected);
        }
    }

    #[test]
    fn y176_thousands_of_texts_take_as_long_as_a_hundred() {
        let text = "the quick brown fox jumps over the lazy dog. ".repeat(10_000);
        let absent = |count: usize| (0..count).map(|n| format!("absent {n}")).collect::<Vec<_>>();
        let (few, many) = (found(&absent(100), &text, STRETCH).1, found(&absent(4000), &text, STRETCH).1);
        let building = 4000 * 11 * COST_OF_BUILDING;
        assert!(many <= few + building, "{few} {many}");
        // Texts that stand everywhere are reported some times and then left out.
        let everywhere: Vec<String> = (1..300).map(|n| text[..n].trim().to_owned()).collect();
        let (hits, compared) = found(&everywhere, &text, STRETCH);
        assert!(hits.iter().all(|hit| *hit));
        assert!(compared < text.len() as u64 * COST_OF_A_PASS * 4, "{compared}");
    }

    #[test]
    fn y176_a_search_ends_in_the_midst_of_a_text_when_nobody_waits_for_it() {
        let looks = Cell::new(0);
        let is_cancelled = || {
            looks.set(looks.get() + 1);
            looks.get() > 10
        };
        let control = Control { stretch: 1000, ..Control::new(&is_cancelled) };
        let mut set = TextSet::default();
        (0..50).for_each(|number| set.add(number, Folded::new(&format!("absent {number}"))));
        let result = set.find(&Folded::new(&"x".repeat(1 << 20)), &mut [None; 50], &control);
        assert_eq!((result, looks.get()), (Err(Failure::TempFail), 11));
        assert!(control.compared() < 200_000, "{}", control.compared());
    }
}
