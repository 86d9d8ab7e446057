//! The name that is meant by a mistyped one: the comparison behind every "did you mean". A leaf: imports no other module of
//! the crate.
//!
//! The rules: capitals make no difference. The cost grows with the length of the typed name, never with the product of both
//! lengths, because a client may send a name of any length.

/// The slips of the hand between a typed name and a known one, if there are at most `most`: a letter that is missing, superfluous
/// or wrong, or two neighbours in the wrong order.
pub(crate) fn slips(typed: &str, known: &str, most: usize) -> Option<usize> {
    let known = known.to_lowercase();
    let length = known.chars().count();
    let typed: String = typed.chars().flat_map(char::to_lowercase).take(length + most + 1).collect();
    let is_comparable = length.abs_diff(typed.chars().count()) <= most;
    is_comparable.then(|| strsim::damerau_levenshtein(&typed, &known)).filter(|slips| *slips <= most)
}

/// The most slips in a name that is refused in any case: a third of its letters, from 1 to 3.
pub(crate) fn most_in_refused(typed: &str) -> usize {
    (typed.chars().take(3 * MOST).count() / 3).clamp(1, MOST)
}

/// The most slips between a known name and one that would be accepted otherwise, so that the hint is the reason of the refusal: a
/// quarter of the known letters, at most 2.
pub(crate) fn most_in_accepted(known: &str) -> usize {
    (known.chars().count() / 4).min(2)
}

/// The known name that is meant by a refused one: of those that are near enough, the nearest, and of several the first; if
/// none is, the first that is longer or shorter only at its end.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Option<&'a str> {
    let (most, known) = (most_in_refused(typed), known.into_iter());
    let near = known.clone().filter_map(|known| Some((slips(typed, known, most)?, known)));
    let near = near.min_by_key(|(slips, _)| *slips).map(|(_, known)| known);
    near.or_else(|| known.into_iter().find(|known| is_begin(typed, known)))
}

/// True if one of the names is the beginning of the other one, as `password` is of `password_hash`. A typed beginning of five
/// letters and more may have a slip: `adress` for `addresses`.
pub(crate) fn is_begin(typed: &str, known: &str) -> bool {
    let known = known.to_lowercase();
    let (length, typed_length) = (known.chars().count(), typed.chars().take(MOST_COMPARED).count());
    let shorter = length.min(typed_length);
    if shorter < SHORTEST_BEGIN {
        return false;
    }
    let begin = |text: &str, letters: usize| text.chars().take(letters).collect::<String>();
    if length <= typed_length {
        return begin(&begin(typed, length).to_lowercase(), length) == known;
    }
    let most = if typed_length < SHORTEST_BEGIN_WITH_SLIP { 0 } else { 1 };
    (typed_length - most..=typed_length + most)
        .any(|letters| slips(typed, &begin(&known, letters), most).is_some())
}

/// The slips in the longest name.
const MOST: usize = 3;
/// Letters of a name that are looked at: more than the longest known name has.
const MOST_COMPARED: usize = 100;
/// Letters of the shortest name that counts as the beginning of another one, and of the shortest that may have a slip then.
const SHORTEST_BEGIN: usize = 3;
const SHORTEST_BEGIN_WITH_SLIP: usize = 5;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_name_has_so_many_slips() {
        for (typed, known, expected) in [
            ("quota", "quota", Some(0)),
            ("Quota", "quota", Some(0)),
            ("qouta", "quota", Some(1)),
            ("quot", "quota", Some(1)),
            ("quotas", "quota", Some(1)),
            ("qoutas", "quota", Some(2)),
            ("JÖRG", "jörg", Some(0)),
            ("größe", "größen", Some(1)),
            ("address", "quota", None),
            ("", "id", Some(2)),
            ("", "quota", None),
        ] {
            assert_eq!(slips(typed, known, 2), expected, "{typed} {known}");
            assert_eq!(slips(known, typed, 2), expected, "{known} {typed}");
        }
        assert_eq!(slips("quot", "quota", 0), None);
    }

    #[test]
    fn a_longer_name_may_have_more_slips() {
        for (typed, most) in
            [("", 1), ("to", 1), ("quota", 1), ("domain", 2), ("addresses", 3), ("a".repeat(99).as_str(), 3)]
        {
            assert_eq!(most_in_refused(typed), most, "{typed}");
        }
        for (known, most) in [("to", 0), ("Text", 1), ("Subject", 1), ("Attachments", 2)] {
            assert_eq!(most_in_accepted(known), most, "{known}");
        }
    }

    #[test]
    fn the_nearest_name_is_meant() {
        let known = ["inbox", "disabled", "addresses", "address"];
        for (typed, meant) in [
            ("adress", Some("address")),
            ("adresses", Some("addresses")),
            ("Disable", Some("disabled")),
            ("imbox", Some("inbox")),
            ("disabled_for_now", Some("disabled")),
            ("addr", Some("addresses")),
            ("ad", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    #[test]
    fn n121_a_name_that_is_longer_or_shorter_only_at_its_end_is_meant() {
        let keys = ["password_hash", "inbox", "disabled", "addresses", "quota", "may_send_as", "admin"];
        for (typed, meant) in [
            ("adress", Some("addresses")),
            ("address", Some("addresses")),
            ("Adres", Some("addresses")),
            ("addr", Some("addresses")),
            ("pasword", Some("password_hash")),
            ("may_send", Some("may_send_as")),
            ("administrator", Some("admin")),
            ("may", Some("may_send_as")),
            ("adr", None),
            ("ma", None),
        ] {
            assert_eq!(nearest(typed, keys), meant, "{typed}");
        }
    }

    #[test]
    fn a_name_of_any_length_is_compared_at_once() {
        let (long, begun) = ("attachments".repeat(1_000_000), Instant::now());
        assert_eq!(nearest(&long, ["attachment"]), Some("attachment"), "it begins so");
        assert_eq!(nearest(&long, ["quota"]), None);
        assert_eq!(slips(&long, "attachments", 3), None);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
