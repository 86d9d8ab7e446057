//! Reads the octets that an IMAP server has sent as a client does, with `imap-codec`, which knows nothing of this server.

use imap_codec::{GreetingCodec, ResponseCodec, decode::Decoder};
use regex::bytes::Regex;

/// Checks that a session was a greeting and whole responses.
pub(crate) fn check(octets: &[u8]) -> Result<(), String> {
    let shown = |octets: &[u8]| octets[..octets.len().min(200)].escape_ascii().to_string();
    let greeting = GreetingCodec::new().decode(octets).map(|(rest, _)| rest);
    // A server that is full says no more than BYE.
    let mut rest = greeting.unwrap_or(octets);
    while !rest.is_empty() {
        if let Some(found) = BEYOND_THE_CODEC.iter().find_map(|line| Regex::new(line).unwrap().find(rest)) {
            rest = &rest[found.end()..];
            continue;
        }
        match ResponseCodec::new().decode(rest) {
            Ok((after, _)) => rest = after,
            Err(error) => return Err(format!("imap-codec cannot read {}: {error:?}", shown(rest))),
        }
    }
    Ok(())
}

/// Lines that the codec has no grammar for, in the form of their RFCs.
const BEYOND_THE_CODEC: [&str; 2] = [
    // RFC 4731 section 3.1. The tag is a string (RFC 4466 section 2.6.2).
    r#"^\* ESEARCH \(TAG "[^"\r\n]+"\)( UID)?( (MIN|MAX|COUNT|MODSEQ) \d+| ALL [1-9][0-9:,]*)*\r\n"#,
    // RFC 5258 section 6: the extended data of LIST.
    r#"^\* LIST \([^()\r\n]*\) "\." ("[^"\r\n]*"|[^ \r\n]+) \("CHILDINFO" \(("SUBSCRIBED"|"SPECIAL-USE"| )+\)\)\r\n"#,
];
