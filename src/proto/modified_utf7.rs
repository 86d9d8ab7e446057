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
            let octets = BASE64.decode(run).ok().filter(|octets| octets.len() % 2 == 0)?;
            let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            decoded.push_str(&String::from_utf16(&units.collect::<Vec<_>>()).ok()?);
        }
        decoded.push_str(plain);
    }
    (encode(&decoded) == text).then_some(decoded)
}

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
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(text) = decode(&octets) {
                prop_assert_eq!(encode(&text).into_bytes(), octets);
            }
        }
    }
}
