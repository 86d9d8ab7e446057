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

/// The known name that is meant by a refused one: of those that are near enough, the nearest, and of several the first.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = most_in_refused(typed);
    let near = known.into_iter().filter_map(|known| Some((slips(typed, known, most)?, known)));
    near.min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

/// The slips in the longest name.
const MOST: usize = 3;

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
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    #[test]
    fn a_name_of_any_length_is_compared_at_once() {
        let (long, begun) = ("attachments".repeat(1_000_000), Instant::now());
        assert_eq!(nearest(&long, ["attachments"]), None);
        assert_eq!(slips(&long, "attachments", 3), None);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
