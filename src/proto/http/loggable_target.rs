//! The target of a request in a transcript.
//!
//! The rules: the parameters that this server reads are shown. The value of any other may be a secret, such as a token that a
//! client sends to every server, and so may a word that stands alone. The session reacts to the mask as to the original.

use std::borrow::Cow;

use super::target::decode;

/// The target of a request line, with masks in its query.
pub fn loggable_target(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else { return target.into() };
    let pairs: Vec<Cow<'_, str>> = query.split('&').map(masked_pair).collect();
    if pairs.iter().all(|pair| matches!(pair, Cow::Borrowed(_))) {
        return target.into();
    }
    format!("{path}?{}", pairs.join("&")).into()
}

fn masked_pair(pair: &str) -> Cow<'_, str> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let is_read = decode(name, true).is_some_and(|name| READ.contains(&name.as_str()));
    // A secret may end in the equals signs of base64.
    let is_empty = value.bytes().all(|octet| octet == b'=');
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.'));
    // A target with a bad escape, or with a fragment, is refused.
    let fault = if pair.contains('#') {
        "#"
    } else if decode(name, true).is_none() || decode(value, true).is_none() {
        "%"
    } else {
        ""
    };
    match () {
        () if is_read || pair.is_empty() => pair.into(),
        () if is_name && !is_empty => format!("{name}=***{fault}").into(),
        () => format!("***{fault}").into(),
    }
}

/// The parameters that routes read.
const READ: [&str; 9] = ["query", "start", "limit", "from", "kind", "timeout", "tz", "embed", "emailaddress"];
/// Octets of a name that is shown.
const MAX_NAME: usize = 40;

#[cfg(test)]
mod tests {
    use super::{super::target::Target, *};

    #[test]
    fn v147_only_parameters_that_the_server_reads_are_shown() {
        for (target, expected) in [
            (
                "/api/v1/messages?start=1&limit=5&tz=Europe/Paris",
                "/api/v1/messages?start=1&limit=5&tz=Europe/Paris",
            ),
            ("/api/v1/search?query=to%3Abob&%71uery=x", "/api/v1/search?query=to%3Abob&%71uery=x"),
            ("/?", "/?"),
            ("/?&", "/?&"),
            ("/livez", "/livez"),
            ("/api/v1/messages?token=hunter2&start=1", "/api/v1/messages?token=***&start=1"),
            ("/?access_token=hunter2&api-key=hunter2", "/?access_token=***&api-key=***"),
            ("/?Query=hunter2", "/?Query=***"),
            ("/?hunter2", "/?***"),
            ("/?aHVudGVyMg==", "/?***"),
            ("/?hunter2%zz", "/?***%"),
            ("/?pass=hunter2%", "/?pass=***%"),
            ("/?pass=hunter2#x", "/?pass=***#"),
            ("/?pass=hunter2?x=hunter2", "/?pass=***"),
            ("/?hunter2 x=1", "/?***"),
        ] {
            let shown = loggable_target(target);
            assert_eq!(shown, expected, "{target}");
            assert_eq!(Target::parse(&shown).is_some(), Target::parse(target).is_some(), "{target}");
        }
    }
}
