//! The field `Accept-Language`: the language of a browser (RFC 9110 section 12.5.4).

use crate::language::Language;

/// The language that a field `Accept-Language` prefers; of two with the same weight, the first one.
pub(super) fn preferred(field: &str) -> Language {
    let mut best = (0, Language::default());
    for range in field.split(',') {
        let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let language = match primary {
            _ if primary.eq_ignore_ascii_case("fr") => Language::French,
            _ if primary.eq_ignore_ascii_case("en") => Language::English,
            _ => continue,
        };
        let weight = weight(parameters);
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
}

/// The weight of a range in thousandths (RFC 9110 section 12.4.2).
fn weight(parameters: &str) -> u32 {
    let Some(value) = parameters.trim().strip_prefix("q=") else { return 1000 };
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let thousandths = format!("{fraction:0<3}").get(..3).and_then(|digits| digits.parse::<u32>().ok());
    match (whole.parse::<u32>(), thousandths) {
        (Ok(whole), Some(fraction)) => (whole.min(1) * 1000 + fraction).min(1000),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_language_that_it_prefers() {
        for (field, expected) in [
            ("", Language::English),
            ("fr", Language::French),
            ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", Language::French),
            ("en-GB,en;q=0.9,fr;q=0.8", Language::English),
            ("de, fr;q=0.5, en;q=0.4", Language::French),
            ("FR-ca;q=0.1", Language::French),
            ("de", Language::English),
            ("fr;q=0, en;q=0", Language::English),
            ("fr;q=x", Language::English),
            ("en;q=0.5, fr;q=0.55", Language::French),
        ] {
            assert_eq!(preferred(field), expected, "{field}");
        }
    }
}
