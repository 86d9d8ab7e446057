//! The values of search words: texts, sizes and dates.

use crate::mime::date::Date;

/// A text for comparisons: in lower case, with single blanks, and without the punctuation that addresses and sentences have.
pub(super) fn cleaned(text: &str) -> String {
    let is_blank =
        |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | ',' | ';' | '(' | ')' | '\u{feff}');
    let mut clean = String::with_capacity(text.len());
    for word in text.split(is_blank).filter(|word| !word.is_empty()) {
        if !clean.is_empty() {
            clean.push(' ');
        }
        // One character after the other, because a final sigma would depend on its neighbours.
        clean.extend(word.chars().flat_map(char::to_lowercase));
    }
    clean
}

/// A number of octets, with a unit of 1024 or its square: `2000`, `10k`, `1.5 MB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim_start() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok().filter(|_| number.starts_with(|c: char| c.is_ascii_digit()))?;
    // A number that is too large becomes the largest one.
    Some((number * unit) as u64)
}

/// A time in seconds since 1970: a year, a month, a day, or a day and a time; or those seconds, or milliseconds. `zone` is the
/// number of seconds that a clock without a zone is ahead of UTC, when it shows that time.
pub(super) fn time(text: &str, zone: &dyn Fn(i64) -> i32) -> Option<i64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number && (9..=10).contains(&text.len()) {
        return text.parse().ok();
    }
    if is_number && (12..=13).contains(&text.len()) {
        return Some(text.parse::<i64>().ok()? / 1000);
    }
    let begins_with_year = text.get(..4).is_some_and(|year| year.bytes().all(|b| b.is_ascii_digit()));
    let (mut written, mut has_zone) = (text.to_owned(), has_zone(text));
    if begins_with_year {
        written = text.replace('/', "-");
        if !text.contains(':') {
            let missing = match written.matches('-').count() {
                0 if text.len() == 4 => "-01-01",
                1 => "-01",
                2 => "",
                _ => return None,
            };
            written += &format!("{missing}T00:00:00");
            has_zone = false;
        }
    }
    let seconds = Date::parse(written.as_bytes())?.seconds();
    let seconds = if has_zone { seconds } else { seconds - i64::from(zone(seconds)) };
    // Back and forth, so that a query holds a time that it can write.
    Some(Date::from_seconds(seconds).seconds())
}

/// True if a date names its zone after the time: `10:00Z`, `10:00:00 +0100`, `10:00 GMT`.
fn has_zone(text: &str) -> bool {
    let Some((_, after)) = text.split_once(':') else { return false };
    let is_half = |word: &str| ["am", "pm"].iter().any(|half| word.eq_ignore_ascii_case(half));
    let mut words = after.split(|c: char| c.is_whitespace() || c.is_ascii_digit() || matches!(c, ':' | '.'));
    words.any(|word| !word.is_empty() && !is_half(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_octets_or_have_a_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("2000", Some(2000)),
            ("10k", Some(10_240)),
            ("10 KB", Some(10_240)),
            ("1.5m", Some(1_572_864)),
            ("99999999999999999999999m", Some(u64::MAX)),
            ("", None),
            ("k", None),
            (".5k", None),
            ("1.2.3", None),
            ("1g", None),
            ("-1", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_in_the_zone_of_the_caller_unless_they_name_one() {
        let midnight = 1_795_132_800; // 2026-11-20
        for (text, expected) in [
            ("2026-11-20", Some(midnight - 3600)),
            ("2026/11/20", Some(midnight - 3600)),
            ("2026-11", Some(1_793_491_200 - 3600)),
            ("2026", Some(1_767_225_600 - 3600)),
            ("2026-11-20 10:00", Some(midnight + 9 * 3600)),
            ("2026-11-20T10:00:05", Some(midnight + 9 * 3600 + 5)),
            ("2026-11-20T10:00:05Z", Some(midnight + 36_005)),
            ("2026-11-20T10:00:05.007z", Some(midnight + 36_005)),
            ("2026-11-20T10:00:05-01:00", Some(midnight + 39_605)),
            ("Fri, 20 Nov 2026 10:00:05 +0000", Some(midnight + 36_005)),
            ("20 Nov 2026 10:00 pm", Some(midnight + 21 * 3600)),
            ("1795132800", Some(midnight)),
            ("1795132800999", Some(midnight)),
            ("yesterday", None),
            ("2026-13-01", None),
            ("2026-02-30", None),
            ("20261120", None),
            ("2026-11-20-1", None),
            ("20é6", None),
            ("", None),
        ] {
            assert_eq!(time(text, &|_| 3600), expected, "{text}");
        }
    }

    #[test]
    fn texts_are_compared_without_case_and_punctuation() {
        assert_eq!(cleaned(" Zoë\t\"Q\" <Z@B.test>;\r\n(x),\u{feff}É "), "zoë q z@b.test x é");
        assert_eq!(cleaned(" ,;\n"), "");
        assert_eq!(cleaned("ΑΣ"), "ασ");
    }
}
