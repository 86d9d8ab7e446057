//! Recognises a request of HTTP at a listener for mail.
//!
//! The rule: a session for mail ends at such a request, before any octet after it is a command. A page of any site can make
//! a browser send one to a port on the user's machine, with commands in its body (ALPACA). The browser cannot begin with
//! other octets.

/// True if a word is a method of HTTP.
pub(crate) fn is_http_method(word: &[u8]) -> bool {
    METHODS.iter().any(|method| method.eq_ignore_ascii_case(word))
}

/// True if octets at the beginning of a line are those of an HTTP request: a method, a blank, and the beginning of a target
/// (RFC 9112 section 3). The rest of the line decides nothing, because a page may make it longer than any command. A word of
/// letters is no target, because in IMAP a method may be the tag of a command, and no number is, because people type `DELETE 1`.
pub(crate) fn is_http_request(line_start: &[u8]) -> bool {
    let Some(end) = line_start.iter().take(MAX_METHOD + 1).position(|octet| *octet == b' ') else {
        return false;
    };
    let target = &line_start[end + 1..];
    let letters = target.iter().take_while(|octet| octet.is_ascii_alphabetic()).count();
    let first = target.get(letters).filter(|octet| !octet.is_ascii_whitespace());
    let is_target = first.is_some_and(|octet| letters > 0 || !octet.is_ascii_digit());
    is_target && is_http_method(&line_start[..end])
}

const METHODS: [&[u8]; 9] =
    [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"PATCH", b"TRACE"];
/// The octets of the longest method.
const MAX_METHOD: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v152_a_request_is_told_from_a_command_with_a_method_as_its_tag() {
        for request in [
            "POST / HTTP/1.1\r\n",
            "get /a",
            "OPTIONS * HTTP/1.1",
            "CONNECT mail.test:1143 HTTP/1.1",
            "GET http://127.0.0.1:1143/ HTTP/1.1",
            "POST ***",
        ] {
            assert!(is_http_request(request.as_bytes()), "{request}");
        }
        for other in [
            "",
            "POST",
            "POST ",
            "GET NOOP\r\n",
            "GET LOGIN a b\r\n",
            "PUT  x",
            "a1 GET / HTTP/1.1",
            "POSTS / HTTP/1.1",
            "RETR 1\r\n",
            "DELETE 1\r\n",
            " GET / HTTP/1.1",
        ] {
            assert!(!is_http_request(other.as_bytes()), "{other}");
        }
        let long = format!("POST /{}", "x".repeat(100_000));
        assert!((7..long.len()).all(|length| length > 100 || is_http_request(&long.as_bytes()[..length])));
    }
}
