//! The mistakes that the JSON reader finds, in words for people who edit the file by hand.

use serde::de::{DeserializeOwned, Error as _};

use crate::{command_hint::restante, limits::in_plain_types, near_name::nearest};

/// Reads the whole file.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    if text.trim().is_empty() { Err(serde_json::Error::custom(EMPTY)) } else { serde_json::from_str(text) }
}

/// The message of the reader in plain words, or as it is if it is plain already.
pub(super) fn in_plain_words(told: &str) -> String {
    // The reader takes the place of the outer mistake from the end of this text.
    let (told, place) = told.rfind(" at line ").map_or((told, ""), |at| told.split_at(at));
    let known = WORDS.iter().find(|(words, _)| told.starts_with(words)).map(|(_, plain)| (*plain).to_owned());
    let known = known.or_else(|| told.starts_with(NO_HASH).then(no_hash));
    let plain = known.or_else(|| unknown_key(told)).unwrap_or_else(|| told.to_owned());
    plain + place
}

/// The message of serde for a value of the wrong type, without the value, which may be a password.
pub(super) fn without_value(told: &str) -> String {
    let parts = told.strip_prefix(WRONG_TYPE).and_then(|rest| rest.rsplit_once(", expected "));
    let word = parts.and_then(|(value, _)| value.split(['"', '`']).next());
    match (parts, word) {
        (Some((_, expected)), Some(word)) => {
            in_plain_types(&format!("{WRONG_TYPE}{}, expected {expected}", word.trim_end()))
        }
        _ => told.to_owned(),
    }
}

const WRONG_TYPE: &str = "invalid type: ";

/// The sentence for a key that does not exist, with the one that is meant.
fn unknown_key(told: &str) -> Option<String> {
    let (key, known) = told.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    Some(match nearest(key, known.iter().copied()) {
        Some(meant) => format!("unknown key `{key}`: did you mean `{meant}`?"),
        None => format!("unknown key `{key}`: the keys are `{}`", known.join("`, `")),
    })
}

/// The sentence for an account without a password. `restante user passwd` changes no file that has a mistake.
fn no_hash() -> String {
    let passwd = restante(&["user", "passwd", "NAME"]);
    format!(
        "there is no `password_hash`: add \"password_hash\": \"!\", which fits no password, then {passwd}"
    )
}

const NO_HASH: &str = "missing field `password_hash`";
/// The sentence about a file without anything in it.
const EMPTY: &str =
    "the file is empty: if it had accounts, restore it from the backup; a file without any has {}";

/// The sentence for a file that ends too early. A person who edits it may have forgotten a sign; a full disk or a copy that was
/// interrupted takes accounts away.
macro_rules! cut_off {
    ($missing:literal) => {
        concat!(
            "the file ends too early, ",
            $missing,
            " is missing: if it was cut off, restore it from the backup"
        )
    };
}

/// The start of what the reader says, and the sentence for it.
const WORDS: &[(&str, &str)] = &[
    ("EOF while parsing an object", cut_off!("a \"}\"")),
    ("EOF while parsing a list", cut_off!("a \"]\"")),
    ("EOF while parsing a string", cut_off!("a closing quote")),
    ("EOF while parsing a value", cut_off!("a value")),
    ("trailing comma", "a comma stands before the closing bracket: remove it"),
    ("key must be a string", "a name in double quotes is needed here, like \"bob@example.test\""),
    ("expected `,` or `}`", "a \",\" or a \"}\" is missing before this"),
    ("expected `,` or `]`", "a \",\" or a \"]\" is missing before this"),
    ("expected `:`", "a \":\" is missing after the name"),
    ("expected value", "a value is needed here: a text in double quotes, a number, true, false, { } or [ ]"),
    ("trailing characters", "something follows after the last \"}\": remove it, or put it inside"),
    ("expected ident", "no JSON: a text stands in double quotes, and the file begins with {"),
    ("control character", "a closing quote is missing in this line"),
    ("invalid escape", "a \"\\\" in a text is written twice: \"\\\\\""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::UserFile;

    #[test]
    fn n22_slips_in_json_are_told_in_plain_words_and_keys_with_the_one_that_is_meant() {
        let keys = "`password_hash`, `inbox`, `disabled`, `addresses`, `quota`";
        for (told, plain) in [
            (
                "EOF while parsing an object",
                "the file ends too early, a \"}\" is missing: if it was cut off, restore it from the backup",
            ),
            (
                "unknown field `pasword_hash`, expected one of",
                "unknown key `pasword_hash`: did you mean `password_hash`?",
            ),
            (
                "unknown field `password`, expected one of",
                "unknown key `password`: did you mean `password_hash`?",
            ),
            ("expected ident", "no JSON: a text stands in double quotes"),
            ("unknown field `Quota`, expected one of", "unknown key `Quota`: did you mean `quota`?"),
            (
                "unknown field `colour`, expected one of",
                "unknown key `colour`: the keys are `password_hash`, `inbox`",
            ),
        ] {
            let told = if told.ends_with("of") { format!("{told} {keys}") } else { told.to_owned() };
            assert!(in_plain_words(&told).starts_with(plain), "{told}: {}", in_plain_words(&told));
        }
        assert_eq!(in_plain_words("not a password hash"), "not a password hash");
    }

    fn file(text: &str) -> (tempfile::TempDir, UserFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        std::fs::write(&path, text).unwrap();
        (directory, UserFile::at(path))
    }

    #[test]
    fn n156_a_file_that_is_cut_off_is_to_be_restored_and_not_begun_anew() {
        let whole = "{\n\"a@b\": {\"password_hash\": \"!\", \"addresses\": [\"c@b\"]}\n}";
        for end in 1..whole.len() {
            let (_directory, file) = file(&whole[..end]);
            let error = file.users().unwrap_err().to_string();
            assert!(error.ends_with(" is missing: if it was cut off, restore it from the backup"), "{error}");
            assert!(!error.contains("{}"), "{error}");
        }
        for text in ["", "\n", " \n\t\n"] {
            let (_directory, file) = file(text);
            let error = file.users().unwrap_err().to_string();
            let told =
                "line 1, column 1: the file is empty: if it had accounts, restore it from the backup; ";
            assert!(error.contains(told), "{error}");
        }
    }
}
