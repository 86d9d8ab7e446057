//! Reads the octets that an IMAP server has sent as a client does, with `imap-codec`, which knows nothing of this server.

use std::sync::LazyLock;

use imap_codec::{GreetingCodec, ResponseCodec, decode::Decoder};
use regex::bytes::Regex;

/// Checks that a session was a greeting and whole responses.
pub(crate) fn check(octets: &[u8]) -> Result<(), String> {
    let shown = |octets: &[u8]| octets[..octets.len().min(200)].escape_ascii().to_string();
    // The codec takes texts of ASCII alone (RFC 5255 section 3.1 allows others).
    let octets: Vec<u8> = octets.iter().map(|octet| if octet.is_ascii() { *octet } else { b'?' }).collect();
    let octets = octets.as_slice();
    let greeting = GreetingCodec::new().decode(octets).map(|(rest, _)| rest);
    // A server that is full says no more than BYE.
    let mut rest = greeting.unwrap_or(octets);
    while !rest.is_empty() {
        if let Some(found) = BEYOND.iter().find_map(|line| line.find(rest)) {
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

static BEYOND: LazyLock<[Regex; 5]> =
    LazyLock::new(|| BEYOND_THE_CODEC.map(|line| Regex::new(line).unwrap()));

/// Lines that the codec has no grammar for, in the form of their RFCs.
const BEYOND_THE_CODEC: [&str; 5] = [
    // The answer to a telnet that asks for a timing mark (RFC 860), with a `?` for each octet that is no ASCII.
    r"^\?\?\x06",
    // The codec reads seven levels of parts, and no deeper ones.
    r"^\* [0-9]+ FETCH \((BODY|BODYSTRUCTURE) \({7}[^\r\n]*\)\r\n",
    // RFC 5255 section 3.3.
    r#"^\* LANGUAGE \([a-z-]+( [a-z-]+)*\)\r\n"#,
    // RFC 4731 section 3.1. The tag is a string (RFC 4466 section 2.6.2).
    r#"^\* ESEARCH \(TAG "[^"\r\n]+"\)( UID)?( (MIN|MAX|COUNT|MODSEQ) \d+| ALL [1-9][0-9:,]*)*\r\n"#,
    // RFC 5258 section 6: the extended data of LIST.
    r#"^\* LIST \([^()\r\n]*\) "\." ("[^"\r\n]*"|[^ \r\n]+) \("CHILDINFO" \(("SUBSCRIBED"|"SPECIAL-USE"| )+\)\)\r\n"#,
];
