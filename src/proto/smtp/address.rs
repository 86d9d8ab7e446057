//! Mail addresses, and the paths of MAIL and RCPT (RFC 5321 section 4.1.2).
//!
//! The rule: an address that this file returns is printable text of bounded length, safe for a header or a
//! log line. Text above ASCII is in normal form C. It contains no controls, no invisible characters, and none
//! that change the direction of text (RFC 6531, RFC 6532 section 3.1).

use std::{borrow::Cow, fmt};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

use crate::printable::{is_hidden, is_variation_selector};

/// A mail address: the local part unquoted, the domain in lower case and as A-labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    local: String,
    domain: Option<String>,
}

/// The address of MAIL FROM; `None` for bounces.
pub type ReversePath = Option<Address>;

/// The reason for refusing a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// It does not follow the grammar, or a part is too long.
    Syntax,
    /// It has octets above 0x7f, which are not allowed here.
    NotAscii,
}

/// The longest local part, in octets. RFC 5321 section 4.5.3.1.1 requires 64, but mailing lists encode longer
/// ones.
const LOCAL_PART: usize = 128;
/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
const DOMAIN: usize = 255;
/// The longest path with its angle brackets, in octets (RFC 5321 section 4.5.3.1.3).
const PATH: usize = 256;

impl Address {
    /// The part before the `@`, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the `@` in lower case, as A-labels (`xn--...`). Only `<postmaster>` and similar
    /// addresses have none.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Parses an ASCII address without angle brackets.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        if text.is_ascii() { Self::read(text) } else { Err(BadPath::NotAscii) }
    }

    /// Parses an address that may be internationalized. Normalisation to form C comes first, because it may
    /// turn other characters into characters of the grammar.
    fn read(text: &str) -> Result<Self, BadPath> {
        let text: Cow<'_, str> =
            if text.is_ascii() { Cow::Borrowed(text) } else { text.nfc().collect::<String>().into() };
        let (local, rest) = local_part(&text)?;
        let domain = match rest.strip_prefix('@') {
            None if rest.is_empty() => None,
            None => return Err(BadPath::Syntax),
            Some(domain) => Some(self::domain(domain)?),
        };
        Ok(Self { local, domain })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            f.write_str(&self.local)?;
        } else {
            let quoted = self.local.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "\"{quoted}\"")?;
        }
        self.domain.as_ref().map_or(Ok(()), |domain| write!(f, "@{domain}"))
    }
}

/// Parses the path at the beginning of `text`, and returns it with the rest. With `bare`, it also accepts an
/// address without angle brackets, as people type it. A source route is parsed and dropped (RFC 5321 appendix
/// C). The caller decides from the parameters if the path may have octets above 0x7f.
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
    let inside = std::str::from_utf8(inside).map_err(|_| BadPath::Syntax)?;
    Ok((Some(Address::read(without_route(inside)?)?), rest))
}

/// The position of the first `>` outside quotes.
fn closing_bracket(text: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
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

/// Removes the route from `@one,@two:user@domain`.
fn without_route(inside: &str) -> Result<&str, BadPath> {
    if !inside.starts_with('@') {
        return Ok(inside);
    }
    let (route, mailbox) = inside.split_once(':').ok_or(BadPath::Syntax)?;
    for hop in route.split(',') {
        domain(hop.strip_prefix('@').ok_or(BadPath::Syntax)?)?;
    }
    Ok(mailbox)
}

fn local_part(text: &str) -> Result<(String, &str), BadPath> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let (local, rest) = text.split_at(text.find('@').unwrap_or(text.len()));
            if !is_dot_string(local) {
                return Err(BadPath::Syntax);
            }
            (local.to_owned(), rest)
        }
    };
    if local.len() > LOCAL_PART { Err(BadPath::Syntax) } else { Ok((local, rest)) }
}

/// Parses a quoted string after its opening quote. Returns its content, and the text after the closing quote.
fn quoted_string(text: &str) -> Result<(String, &str), BadPath> {
    let mut content = String::new();
    let mut rest = text.chars();
    loop {
        let c = match rest.next() {
            Some('"') => return Ok((content, rest.as_str())),
            Some('\\') => rest.next(),
            other => other,
        };
        match c {
            Some(c @ ' '..='~') => content.push(c),
            Some(c) if is_harmless(c) => content.push(c),
            _ => return Err(BadPath::Syntax),
        }
    }
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_harmless(c)
}

/// True if a character above ASCII is safe in a header and for a reader: no control, no line or paragraph
/// separator, no character that changes the direction of text (such as U+202E), and no invisible one (such as
/// U+200B), because it would make two different addresses look the same. (RFC 8264 section 9.13 excludes
/// invisible characters from identifiers too.)
fn is_harmless(c: char) -> bool {
    !c.is_ascii() && !is_hidden(c) && !is_variation_selector(c)
}

/// Parses a domain name or an address literal, and converts it to lower case. Underscores are accepted,
/// because they are in use although the grammar excludes them. U-labels become A-labels, because domains are
/// compared by A-labels (RFC 5890 section 2.3.2.4).
fn domain(text: &str) -> Result<String, BadPath> {
    if !text.is_ascii() {
        let ascii =
            Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify);
        return ascii.map(Cow::into_owned).map_err(|_| BadPath::Syntax);
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = match text.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(|literal| {
            !literal.is_empty() && literal.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-".contains(&b))
        }),
        None => text.split('.').all(label),
    };
    if good && text.len() <= DOMAIN { Ok(text.to_ascii_lowercase()) } else { Err(BadPath::Syntax) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, BadPath> {
        path(text.as_bytes(), false).map(|(path, _)| path.map_or("<>".into(), |a| a.to_string()))
    }

    #[test]
    fn a02_a03_a17_paths_are_read_as_the_grammar_says() {
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
    fn a04_a05_a10_what_is_not_in_the_grammar_is_refused() {
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
        assert_eq!(Address::parse("bøb@example.test"), Err(BadPath::NotAscii));
        for octets in
            [&b"<a\xff@b>"[..], b"<a@b\xc3>", b"<\xc0\xae@b>", b"<\xed\xa0\x80@b>", b"<\"\xe2\x82\"@b>"]
        {
            assert_eq!(path(octets, false), Err(BadPath::Syntax), "{octets:?}");
        }
    }

    #[test]
    fn a11_characters_above_ascii_are_normalised_or_refused() {
        for (text, address) in [
            ("<bøb@example.test>", "bøb@example.test"),
            ("<jose\u{301}@example.test>", "jos\u{e9}@example.test"),
            ("<\"Bø b\"@example.test>", "\"Bø b\"@example.test"),
            ("<用户@例子.example>", "用户@xn--fsqu00a.example"),
            // Characters that only look like a slash or a dot do not count as one.
            ("<a\u{2215}b@example.test>", "a\u{2215}b@example.test"),
            ("<a\u{ff0f}b@example.test>", "a\u{ff0f}b@example.test"),
            ("<a\u{2024}b@example.test>", "a\u{2024}b@example.test"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(address), "{text}");
        }
        for text in [
            "<a\u{202e}b@example.test>",
            "<a\u{200b}b@example.test>",
            "<a\u{200d}b@example.test>",
            "<\u{feff}ab@example.test>",
            "<\"a \u{2060}b\"@example.test>",
            "<a\u{ad}b@example.test>",
            "<a\u{fe0f}b@example.test>",
            "<a\u{e0041}b@example.test>",
            "<a\u{85}b@example.test>",
            "<\"a\u{9b}b\"@example.test>",
            "<a\u{2028}b@example.test>",
            "<a\u{37e}b@example.test>", // normal form C turns it into a semicolon
            "<a@b\u{ff0f}c.test>",
            "<a@b\u{2024}\u{2024}c.test>",
            "<a@b\u{202e}c.test>",
            "<a@[ø]>",
        ] {
            assert_eq!(read(text), Err(BadPath::Syntax), "{text:?}");
        }
        let long = format!("<{}@x.test>", "ø".repeat(65));
        assert_eq!(read(&long), Err(BadPath::Syntax), "octets are counted, not characters");
    }

    #[test]
    fn a12_domains_are_compared_as_a_labels_and_local_parts_keep_their_case() {
        for domain in ["bücher.example", "BÜCHER.Example", "bu\u{308}cher.example", "XN--BCHER-KVA.example"]
        {
            assert_eq!(read(&format!("<a@{domain}>")).as_deref(), Ok("a@xn--bcher-kva.example"), "{domain}");
        }
        // The Cyrillic а differs from the Latin one, and ı differs from i.
        assert_eq!(read("<a@b\u{430}nk.example>").as_deref(), Ok("a@xn--bnk-6cd.example"));
        assert_eq!(read("<\u{131}@b.test>").as_deref(), Ok("\u{131}@b.test"));
        assert_eq!(read("<Ünal@b.test>").as_deref(), Ok("Ünal@b.test"));
    }

    #[test]
    fn people_may_leave_out_the_brackets_where_that_is_allowed() {
        let (path, rest) = path(b"bob@example.test SIZE=5", true).unwrap();
        assert_eq!(path.unwrap().to_string(), "bob@example.test");
        assert_eq!(rest, b" SIZE=5");
    }
}
