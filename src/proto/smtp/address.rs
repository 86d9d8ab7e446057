//! Mail addresses and the paths of MAIL and RCPT (RFC 5321 section 4.1.2).
//!
//! The rule: what leaves this file is printable ASCII of bounded length, so that it may stand in a header
//! or a log line; what is refused leaves nothing.

use std::fmt;

/// A mail address: the local part unquoted, the domain in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    local: String,
    domain: Option<String>,
}

/// The address of MAIL FROM: nobody for bounces.
pub type ReversePath = Option<Address>;

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// It does not follow the grammar, or a part is too long.
    Syntax,
    /// It has octets above 0x7f, which need SMTPUTF8.
    NotAscii,
}

/// Octets in a local part. RFC 5321 section 4.5.3.1.1 asks for 64; mailing lists encode longer ones.
const LOCAL_PART: usize = 128;
/// Octets in a domain (RFC 5321 section 4.5.3.1.2).
const DOMAIN: usize = 255;
/// Octets in a path with its angle brackets (RFC 5321 section 4.5.3.1.3).
const PATH: usize = 256;

impl Address {
    /// The part before the `@`, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the `@` in lower case; only `<postmaster>` and its like have none.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Reads an address without angle brackets.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let text = text.as_bytes();
        let (local, rest) = local_part(text)?;
        let domain = match rest {
            [] => None,
            [b'@', domain @ ..] => Some(self::domain(domain)?),
            _ => return Err(BadPath::Syntax),
        };
        Ok(Self { local, domain })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(self.local.as_bytes()) {
            f.write_str(&self.local)?;
        } else {
            let quoted = self.local.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "\"{quoted}\"")?;
        }
        self.domain.as_ref().map_or(Ok(()), |domain| write!(f, "@{domain}"))
    }
}

/// Reads the path that begins `text` and returns it with what follows it. `bare` also takes an address
/// without angle brackets, as people type it. A source route is read and dropped (RFC 5321 appendix C).
pub fn path(text: &[u8], bare: bool) -> Result<(ReversePath, &[u8]), BadPath> {
    let (inside, rest) = match text {
        [b'<', inner @ ..] => {
            let end = closing_bracket(inner).ok_or(BadPath::Syntax)?;
            (&inner[..end], &inner[end + 1..])
        }
        _ if bare => text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len())),
        _ => return Err(BadPath::Syntax),
    };
    if inside.len() + 2 > PATH {
        return Err(BadPath::Syntax);
    }
    if inside.is_empty() {
        return if text.starts_with(b"<") { Ok((None, rest)) } else { Err(BadPath::Syntax) };
    }
    let mailbox = without_route(inside)?;
    let mailbox = std::str::from_utf8(mailbox).map_err(|_| BadPath::NotAscii)?;
    Ok((Some(Address::parse(mailbox)?), rest))
}

/// Where the `>` is that is not inside quotes.
fn closing_bracket(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|&b| {
        let end = !quoted && b == b'>';
        if escaped {
            escaped = false;
        } else if quoted && b == b'\\' {
            escaped = true;
        } else if b == b'"' {
            quoted = !quoted;
        }
        end
    })
}

/// `@one,@two:user@domain` without its route.
fn without_route(inside: &[u8]) -> Result<&[u8], BadPath> {
    if !inside.starts_with(b"@") {
        return Ok(inside);
    }
    let colon = memchr::memchr(b':', inside).ok_or(BadPath::Syntax)?;
    for hop in inside[..colon].split(|&b| b == b',') {
        domain(hop.strip_prefix(b"@").ok_or(BadPath::Syntax)?)?;
    }
    Ok(&inside[colon + 1..])
}

fn local_part(text: &[u8]) -> Result<(String, &[u8]), BadPath> {
    let (local, rest) = match text {
        [b'"', quoted @ ..] => quoted_string(quoted)?,
        _ => {
            let end = memchr::memchr(b'@', text).unwrap_or(text.len());
            ascii(&text[..end])?;
            if !is_dot_string(&text[..end]) {
                return Err(BadPath::Syntax);
            }
            (text[..end].to_vec(), &text[end..])
        }
    };
    if local.len() > LOCAL_PART {
        return Err(BadPath::Syntax);
    }
    let local = String::from_utf8(local).map_err(|_| BadPath::NotAscii)?;
    Ok((local, rest))
}

/// The content of a quoted string whose first quote is already read, and what follows the last one.
fn quoted_string(text: &[u8]) -> Result<(Vec<u8>, &[u8]), BadPath> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let octet = match text.get(at) {
            Some(b'"') => return Ok((content, &text[at + 1..])),
            Some(b'\\') => {
                at += 1;
                text.get(at)
            }
            other => other,
        };
        match octet {
            Some(b' '..=b'~') => content.extend(octet),
            Some(0x80..) => return Err(BadPath::NotAscii),
            _ => return Err(BadPath::Syntax),
        }
        at += 1;
    }
}

fn is_dot_string(text: &[u8]) -> bool {
    text.split(|&b| b == b'.').all(|atom| !atom.is_empty() && atom.iter().all(|&b| is_atext(b)))
}

fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b)
}

/// A domain name or an address literal, in lower case. Underscores are not in the grammar but in the world.
fn domain(text: &[u8]) -> Result<String, BadPath> {
    ascii(text)?;
    let label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
    };
    let good = match text {
        [b'[', literal @ .., b']'] => {
            !literal.is_empty() && literal.iter().all(|b| b.is_ascii_alphanumeric() || b".:-".contains(b))
        }
        name => name.split(|&b| b == b'.').all(label),
    };
    if !good || text.len() > DOMAIN {
        return Err(BadPath::Syntax);
    }
    Ok(text.iter().map(|b| char::from(b.to_ascii_lowercase())).collect())
}

fn ascii(text: &[u8]) -> Result<(), BadPath> {
    if text.is_ascii() { Ok(()) } else { Err(BadPath::NotAscii) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, BadPath> {
        path(text.as_bytes(), false).map(|(path, _)| path.map_or("<>".into(), |a| a.to_string()))
    }

    #[test]
    fn paths_are_read_as_the_grammar_says() {
        for (text, address) in [
            ("<>", "<>"),
            ("<bob@Example.TEST>", "bob@example.test"),
            ("<\"bob\"@example.test>", "bob@example.test"),
            ("<\"a b\"@example.test>", "\"a b\"@example.test"),
            ("<\"a\\\"b>\"@example.test>", "\"a\\\"b>\"@example.test"),
            ("<@one.test,@two.test:bob@example.test>", "bob@example.test"),
            ("<postmaster>", "postmaster"),
            ("<bob@[127.0.0.1]>", "bob@[127.0.0.1]"),
            ("<bob@[IPv6:::1]>", "bob@[ipv6:::1]"),
            ("<\"\"@example.test>", "\"\"@example.test"),
            ("<u%d@host.test> SIZE=5", "u%d@host.test"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_not_in_the_grammar_is_refused() {
        let long = format!("<{}@x.test>", "a".repeat(129));
        let longer = format!("<{}@x.test>", "a.".repeat(130));
        for text in [
            "bob@example.test",
            "<bob@example.test",
            "< bob@x>",
            "<.!>",
            "<.!@d>",
            "<a..b@c>",
            "<a@>",
            "<@>",
            "<@a:>",
            "<;cmd;>",
            "<a@b@c>",
            "<a@b c>",
            "<a\r@b>",
            "<a\0@b>",
            "<\"a\0\"@b>",
            "<\"a\r\n\"@b>",
            "<a@-b>",
            "<a@b..c>",
            "<a@[]>",
            "<a b@c>",
            "<\"a\"b@c>",
            &long,
            &longer,
            "",
        ] {
            assert_eq!(read(text), Err(BadPath::Syntax), "{text:?}");
        }
        assert_eq!(read("<bøb@example.test>"), Err(BadPath::NotAscii));
        assert_eq!(read("<\"bø\"@example.test>"), Err(BadPath::NotAscii));
        assert_eq!(path(b"<a\xff@b>", false), Err(BadPath::NotAscii));
    }

    #[test]
    fn people_may_leave_out_the_brackets_where_that_is_allowed() {
        let (path, rest) = path(b"bob@example.test SIZE=5", true).unwrap();
        assert_eq!(path.unwrap().to_string(), "bob@example.test");
        assert_eq!(rest, b" SIZE=5");
    }
}
