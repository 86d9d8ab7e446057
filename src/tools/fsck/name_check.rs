//! Problems of a message file's name, and the corrected name.

use super::{finding::shown, problem::Problem};
use crate::{
    maildir::{Subdir, name},
    printable::counted,
    tools::measure::Measure,
};

/// Checks the name of a message file. Returns its problems with details, and the corrected name, with the
/// same identity and flags. Without a measure, the sizes in the name are right.
pub(crate) fn check(
    place: Subdir,
    file: &[u8],
    measure: Option<&Measure>,
) -> (Vec<(Problem, String)>, Vec<u8>) {
    let mut problems = Vec::new();
    let info = name::info(file);
    let (base, rest) = file.split_at(info.unwrap_or(file.len()));
    let mut corrected =
        measure.map_or_else(|| base.to_vec(), |measure| check_sizes(base, measure, &mut problems));
    if memchr::memchr(b':', base).is_some() || memchr::memchr(b':', rest.get(1..).unwrap_or(b"")).is_some() {
        problems.push((Problem::StrayColon, "a colon that does not begin flags (:2,)".into()));
    }
    corrected.extend_from_slice(rest);
    if info.is_some() {
        let flags = name::flags(file);
        if place == Subdir::New {
            problems.push((Problem::FlagsInNew, "flags are for cur/".into()));
        }
        let unknown: Vec<u8> = flags.iter().copied().filter(|flag| !is_known(*flag)).collect();
        if !flags.is_sorted_by(|a, b| a < b) {
            problems.push((Problem::UnsortedFlags, format!("flags {}", shown(flags))));
            // An unknown flag may be followed by any text, so the order stays.
            if unknown.is_empty() {
                corrected = name::with_flags(&corrected, flags);
            }
        }
        if !unknown.is_empty() {
            problems.push((Problem::UnknownFlags, format!("flags {}", shown(&unknown))));
        }
    }
    if std::str::from_utf8(file).is_err() {
        problems.push((Problem::NotUtf8, "octets that are not text".into()));
    }
    (problems, corrected)
}

/// Checks the sizes in a name without flags. Returns the name with the right ones.
fn check_sizes(base: &[u8], measure: &Measure, problems: &mut Vec<(Problem, String)>) -> Vec<u8> {
    let mut corrected = base.to_vec();
    if let Some(number) = number_in_name(base, b'S').filter(|number| *number != measure.bytes) {
        let detail = format!("the name says S={number}, the file has {}", counted(measure.bytes, "octet"));
        problems.push((Problem::WrongNameSize, detail));
        corrected = with_number(&corrected, b'S', measure.bytes);
    }
    // Dovecot does not count the line end added after the last line; restante does.
    let octets = [measure.octets, measure.virtual_size()];
    if let Some(number) = number_in_name(base, b'W').filter(|number| !octets.contains(number)) {
        let detail = format!(
            "the name says W={number}, the message has {} on the wire",
            counted(measure.octets, "octet")
        );
        problems.push((Problem::WrongNameWireSize, detail));
        corrected = with_number(&corrected, b'W', measure.virtual_size());
    }
    corrected
}

/// True for the flags of the Maildir specification, and for the letters that Dovecot gives to keywords.
fn is_known(flag: u8) -> bool {
    b"DFPRST".contains(&flag) || flag.is_ascii_lowercase()
}

/// Finds a field like `,S=123` in a name without flags. Returns its range and its number.
fn field(base: &[u8], key: u8) -> Option<(std::ops::Range<usize>, u64)> {
    let from = name::identity(base).len();
    let start = memchr::memmem::find(&base[from..], &[b',', key, b'='])? + from + 3;
    let digits = base[start..].iter().take_while(|octet| octet.is_ascii_digit()).count();
    let range = start..start + digits;
    let number = std::str::from_utf8(&base[range.clone()]).ok()?.parse().ok()?;
    Some((range, number))
}

pub(crate) fn number_in_name(base: &[u8], key: u8) -> Option<u64> {
    field(base, key).map(|(_, number)| number)
}

/// Replaces the number of a field, if the name has it.
fn with_number(base: &[u8], key: u8, number: u64) -> Vec<u8> {
    let Some((range, _)) = field(base, key) else { return base.to_vec() };
    [&base[..range.start], number.to_string().as_bytes(), &base[range.end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(place: Subdir, file: &str) -> (Vec<Problem>, String) {
        let measure = Measure::of(&b"ten\noctets"[..]).unwrap();
        let (problems, right) = check(place, file.as_bytes(), Some(&measure));
        (problems.into_iter().map(|(problem, _)| problem).collect(), String::from_utf8(right).unwrap())
    }

    #[test]
    fn names_are_corrected_and_their_identity_and_flags_stay() {
        use Problem::*;
        for (file, problems, right) in [
            ("1.a.h", &[][..], "1.a.h"),
            ("1.a.h,S=10,W=11:2,RS", &[], "1.a.h,S=10,W=11:2,RS"),
            ("1.a.h,S=10,W=13:2,", &[], "1.a.h,S=10,W=13:2,"),
            ("1.a.h,S=9:2,SR", &[WrongNameSize, UnsortedFlags], "1.a.h,S=10:2,RS"),
            ("1.a.h,W=12,S=1", &[WrongNameSize, WrongNameWireSize], "1.a.h,W=11,S=10"),
            ("1.a.h:2,SS", &[UnsortedFlags], "1.a.h:2,S"),
            ("1.a.h:2,XSa", &[UnsortedFlags, UnknownFlags], "1.a.h:2,XSa"),
            ("1.a.h;2,RS", &[], "1.a.h;2,RS"),
            ("1.a:b", &[StrayColon], "1.a:b"),
            ("1.a:2,S:2,R", &[StrayColon, UnsortedFlags, UnknownFlags], "1.a:2,S:2,R"),
            ("1.a:1,S=4", &[StrayColon, WrongNameSize], "1.a:1,S=10"),
        ] {
            let (found, name) = checked(Subdir::Cur, file);
            let expected: std::collections::BTreeSet<_> = problems.iter().collect();
            assert_eq!(found.iter().collect::<std::collections::BTreeSet<_>>(), expected, "{file}");
            assert_eq!(name, right, "{file}");
        }
        assert_eq!(checked(Subdir::New, "1.a:2,").0, [FlagsInNew]);
    }

    #[test]
    fn a_right_name_stays_right() {
        for file in ["1.a.h,S=9:2,SR", "1.a.h,W=12,S=1", "1.a.h:2,TTS"] {
            let (_, right) = checked(Subdir::Cur, file);
            assert_eq!(checked(Subdir::Cur, &right), (Vec::new(), right.clone()), "{file}");
        }
    }
}
