//! Modified UTF-7, in which names of mailboxes stand on the wire and on the disk (RFC 3501 section 5.1.3).

use base64::{
    Engine,
    alphabet::IMAP_MUTF7,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

/// Encodes text: `&` as `&-`, and each run of characters beyond ASCII as `&`, its UTF-16 in base64, and `-`.
pub fn encode(text: &str) -> String {
    let escaped: Vec<String> = text.split('&').map(encode_keeping_ampersands).collect();
    escaped.join("&-")
}

/// The same for text in which an ampersand is encoded already.
pub(super) fn encode_keeping_ampersands(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, other) = rest.split_at(rest.find(|c: char| !c.is_ascii()).unwrap_or(rest.len()));
        let (run, after) = other.split_at(other.find(|c: char| c.is_ascii()).unwrap_or(other.len()));
        encoded.push_str(plain);
        if !run.is_empty() {
            let utf16: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            encoded.push('&');
            BASE64.encode_string(utf16, &mut encoded);
            encoded.push('-');
        }
        rest = after;
    }
    encoded
}

/// Decodes text. `None` if it is not what [`encode`] writes, so that one name has one spelling.
pub fn decode(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let mut parts = text.split('&');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let (run, plain) = part.split_once('-')?;
        if run.is_empty() {
            decoded.push('&');
        } else {
            decoded.push_str(&decode_run(run)?);
        }
        decoded.push_str(plain);
    }
    (encode(&decoded) == text).then_some(decoded)
}

/// Whether each `&` begins `&-`, or base64 of a character or more that `-` ends.
pub(super) fn has_whole_runs(text: &[u8]) -> bool {
    text.split(|&octet| octet == b'&').skip(1).all(|part| {
        let run = run_length(part);
        part.get(run) == Some(&b'-') && (run == 0 || run >= SHORTEST_RUN)
    })
}

/// The text that a name which [`decode`] refuses most likely means: `é` stands for itself, `R&D` has a plain ampersand, and the
/// `-` at the end of `&AOk` was forgotten. `None` if that cannot be told.
pub(super) fn guess(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('&');
    let mut guess = parts.next()?.to_owned();
    for part in parts {
        let (run, after) = part.split_at(run_length(part.as_bytes()));
        let after_dash = after.strip_prefix('-');
        match decode_run(run) {
            Some(decoded) if !run.is_empty() => guess.push_str(&(decoded + after_dash.unwrap_or(after))),
            _ if run.len() >= SHORTEST_RUN && after_dash.is_some() => return None,
            _ if run.is_empty() => guess.push_str(&format!("&{}", after_dash.unwrap_or(after))),
            _ => guess.push_str(&format!("&{part}")),
        }
    }
    Some(guess)
}

/// The number of letters of base64 at the begin of a text.
fn run_length(text: &[u8]) -> usize {
    let is_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b',');
    text.iter().position(|octet| !is_base64(octet)).unwrap_or(text.len())
}

/// The characters of a run of base64.
fn decode_run(run: &str) -> Option<String> {
    let octets = BASE64.decode(run).ok().filter(|octets| octets.len() % 2 == 0)?;
    let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    String::from_utf16(&units.collect::<Vec<_>>()).ok()
}

/// The letters of base64 of one character of 16 bits.
const SHORTEST_RUN: usize = 3;

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_encoded_as_the_rfc_shows() {
        for (text, encoded) in [
            ("", ""),
            ("Sent Items", "Sent Items"),
            ("R&D", "R&-D"),
            ("&", "&-"),
            ("~peter.mail.台北.日本語", "~peter.mail.&U,BTFw-.&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("\u{1f4ec}&é", "&2D3c7A-&-&AOk-"),
        ] {
            assert_eq!((encode(text).as_str(), decode(encoded.as_bytes()).as_deref()), (encoded, Some(text)));
        }
    }

    #[test]
    fn another_spelling_is_no_name() {
        for text in ["&", "R&D", "&AGE-", "&APw", "&APw-&APw-", "&APx-", "&2D0-", "&A-", "ü", "&Jjo!"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "(.|&|-|[a-z]){0,20}") {
            prop_assert_eq!(decode(encode(&text).as_bytes()), Some(text));
        }

        #[test]
        fn the_guess_of_any_text_without_ampersands_and_of_any_good_name_is_the_text(text in "(.|-|[a-z]){0,20}") {
            prop_assume!(!text.contains('&'));
            prop_assert_eq!(guess(text.as_bytes()), Some(text.clone()));
            prop_assert_eq!(guess(encode(&text).as_bytes()), Some(text));
        }

        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let guess = guess(&octets);
            if let Some(text) = decode(&octets) {
                prop_assert!(has_whole_runs(&octets));
                prop_assert_eq!(guess, Some(text.clone()));
                prop_assert_eq!(encode(&text).into_bytes(), octets);
            }
        }
    }
}
