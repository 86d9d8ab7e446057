//! The text of folder names, and names that differ in case only.
//!
//! A folder is named in modified UTF-7 (RFC 3501 section 5.1.3), whose base64 depends on the case of its letters. Other
//! programs write plain UTF-8, or an ampersand that stands for itself. So names are compared after decoding.

use base64::{
    Engine,
    alphabet::IMAP_MUTF7,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

/// True if both are names of folders and differ in the case of letters only.
pub(super) fn is_same_but_for_case(one: &str, other: &str) -> bool {
    one != other && folded(one) == folded(other)
}

/// A name in lower case, decoded.
fn folded(name: &str) -> String {
    text(name).to_lowercase().replace('ς', "σ") // Σ is the capital of both
}

/// A name, decoded. Text that is not modified UTF-7 stands for itself.
pub(super) fn text(name: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(name.len()), name);
    while let Some((plain, run)) = rest.split_once('&') {
        text.push_str(plain);
        match run.split_once('-').and_then(|(run, after)| Some((decoded(run)?, after))) {
            Some((run, after)) if run.is_empty() => {
                text.push('&');
                rest = after;
            }
            Some((run, after)) => {
                text.push_str(&run);
                rest = after;
            }
            None => {
                text.push('&');
                rest = run;
            }
        }
    }
    text.push_str(rest);
    text
}

/// Decodes the UTF-16 of a run.
fn decoded(run: &str) -> Option<String> {
    let octets = BASE64.decode(run).ok().filter(|octets| octets.len().is_multiple_of(2))?;
    let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w07_names_are_compared_after_decoding() {
        for (one, other, same) in [
            (".Work", ".work", true),
            (".Work.Done", ".WORK.done", true),
            (".&AMQ-pfel", ".&AOQ-PFEL", true),       // Ä and ä
            (".&AOQ-", ".&AOQ-", false),              // the very same
            (".&AOQ-", ".&aoq-", false),              // other characters
            (".&A6MDkQOj-.a", ".&A8MDsQPC-.a", true), // ΣΑΣ and σας
            (".work", ".works", false),
            (".R&-D", ".r&-d", true),
            (".R&D", ".R&-d", true),
            (".Entwürfe", ".entw&APw-rfe", true),
            (".a&b", ".A&B", true),
        ] {
            assert_eq!(is_same_but_for_case(one, other), same, "{one} {other}");
        }
    }
}
