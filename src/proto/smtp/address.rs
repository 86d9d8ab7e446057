//! Mail addresses, and the paths of MAIL and RCPT (RFC 5321 section 4.1.2).
//!
//! The rule: an address that this file returns is printable text of bounded length, safe for a header or a
//! log line. Text above ASCII is in normal form C. It contains no controls, no invisible characters, and none
//! that change the direction of text (RFC 6531, RFC 6532 section 3.1).

use std::{borrow::Cow, fmt};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

use crate::{
    printable::{is_hidden, is_variation_selector},
    proto::{mailbox::Mailbox, syntax::Syntax},
};

/// A mail address: the local part unquoted, the domain in lower case and as A-labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    local: String,
    domain: Option<String>,
}

/// The address of MAIL FROM; `None` for bounces.
pub type ReversePath = Option<Address>;

/// A path or an address does not follow the accepted syntax, or a part of it is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPath;

/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
const DOMAIN: usize = 255;
/// The longest path with its angle brackets, in octets (RFC 5321 section 4.5.3.1.3). A local part has no limit of its
/// own: RFC 5321 section 4.5.3.1.1 requires 64 octets, but lists and forwarders encode whole addresses in it (VERP,
/// SRS), and the sender cannot choose another one.
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

    /// The address of a mailbox, from its local part and domain.
    pub(in crate::proto) fn of_parts(local: String, domain: Option<String>) -> Self {
        Self { local, domain }
    }

    /// Parses an address without angle brackets, as it stands in a configuration, in the files of accounts and
    /// aliases, in a login or on a command line. All of them have this one reading.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        Self::read(text, Syntax::Forgiving)
    }

    /// True if the grammar requires quotes around the local part.
    pub fn needs_quotes(&self) -> bool {
        !is_dot_string(&self.local)
    }

    /// The address in a domain, if it has none.
    pub fn in_domain(self, domain: &str) -> Self {
        Self { domain: self.domain.or_else(|| Some(domain.to_owned())), ..self }
    }

    /// The same address in the form in which addresses are compared.
    pub fn canonical(&self) -> Self {
        Self { local: self.folded_local(), domain: self.domain.clone() }
    }

    /// The local part in the form in which local parts are compared.
    pub fn folded_local(&self) -> String {
        fold_local(&self.local)
    }

    /// Parses an address that may be internationalized. Normalisation to form C comes first, because it may
    /// turn other characters into characters of the grammar.
    fn read(text: &str, syntax: Syntax) -> Result<Self, BadPath> {
        let text: Cow<'_, str> =
            if text.is_ascii() { Cow::Borrowed(text) } else { text.nfc().collect::<String>().into() };
        let (local, rest) = local_part(&text, syntax)?;
        let domain = match rest.strip_prefix('@') {
            None if rest.is_empty() => None,
            None => return Err(BadPath),
            Some(domain) => Some(self::domain(domain)?),
        };
        Ok(Self { local, domain })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.needs_quotes() {
            let quoted = self.local.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "\"{quoted}\"")?;
        } else {
            f.write_str(&self.local)?;
        }
        self.domain.as_ref().map_or(Ok(()), |domain| write!(f, "@{domain}"))
    }
}

impl From<&Mailbox> for Address {
    fn from(mailbox: &Mailbox) -> Self {
        let (local, domain) = mailbox.address_parts();
        Self { local, domain }
    }
}

/// A local part in the form in which local parts are compared: in lower case and normal form C.
pub fn fold_local(local: &str) -> String {
    if local.is_ascii() {
        local.to_ascii_lowercase()
    } else {
        with_final_sigmas(&local.to_lowercase().nfc().collect::<String>())
    }
}

/// Writes each sigma as Greek does: `ς` at the end of a word, `σ` elsewhere. Both have the capital `Σ`, so the letters
/// beside it decide. (`to_lowercase` asks the characters after a dot too, and leaves small letters as they are.)
fn with_final_sigmas(text: &str) -> String {
    let mut before = None;
    let mut rest = text.chars().peekable();
    let mut written = String::with_capacity(text.len());
    while let Some(c) = rest.next() {
        let ends_word =
            before.is_some_and(char::is_alphabetic) && !rest.peek().is_some_and(|c| c.is_alphabetic());
        written.push(match c {
            'σ' | 'ς' if ends_word => 'ς',
            'σ' | 'ς' => 'σ',
            other => other,
        });
        before = Some(c);
    }
    written
}

/// A domain in the form in which domains are compared: in lower case, as A-labels.
pub fn fold_domain(text: &str) -> Result<String, BadPath> {
    domain(&text.nfc().collect::<String>())
}

/// Parses the path at the beginning of `text`, and returns it with the rest. The forgiving syntax has three more
/// forms: no angle brackets, blanks inside them, and a local part that had to be quoted. A source route is parsed and
/// dropped (RFC 5321 appendix C). The caller decides from the parameters if the path may have octets above 0x7f.
pub fn path(text: &[u8], syntax: Syntax) -> Result<(ReversePath, &[u8]), BadPath> {
    let (inside, rest) = match text {
        [b'<', inner @ ..] => {
            let end = closing_bracket(inner).ok_or(BadPath)?;
            (&inner[..end], &inner[end + 1..])
        }
        _ if syntax.is_forgiving() => text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len())),
        _ => return Err(BadPath),
    };
    if inside.len() + 2 > PATH {
        return Err(BadPath);
    }
    if inside.is_empty() {
        return if text.starts_with(b"<") { Ok((None, rest)) } else { Err(BadPath) };
    }
    let inside = std::str::from_utf8(inside).map_err(|_| BadPath)?;
    let inside = if syntax.is_forgiving() { inside.trim_matches(' ') } else { inside };
    Ok((Some(Address::read(without_route(inside)?, syntax)?), rest))
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
    let (route, mailbox) = inside.split_once(':').ok_or(BadPath)?;
    for hop in route.split(',') {
        domain(hop.strip_prefix('@').ok_or(BadPath)?)?;
    }
    Ok(mailbox)
}

fn local_part(text: &str, syntax: Syntax) -> Result<(String, &str), BadPath> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_string(quoted);
    }
    let (local, rest) = text.split_at(text.find('@').unwrap_or(text.len()));
    // Some providers gave out `a..b@` and `ab.@`, and their users cannot choose another address. Such a name is read as
    // if it were quoted, and written so wherever this server writes it.
    let as_quoted = || {
        let specials = |c: char| is_atext(c) || UNQUOTED_SPECIALS.contains(c);
        syntax.is_forgiving() && rest.starts_with('@') && !local.is_empty() && local.chars().all(specials)
    };
    if is_dot_string(local) || as_quoted() { Ok((local.to_owned(), rest)) } else { Err(BadPath) }
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
            _ => return Err(BadPath),
        }
    }
}

/// Whether a text is a "String": an atom, or quoted (RFC 5321 section 4.1.2).
pub(super) fn is_string(text: &str) -> bool {
    match text.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted).is_ok_and(|(_, rest)| rest.is_empty()),
        None => !text.is_empty() && text.chars().all(is_atext),
    }
}

/// Characters that a local part may have without quotes in the forgiving syntax, beside those of the grammar. Blanks,
/// quotes, backslashes and further `@`, `<` or `>` would leave the end of the name or of the path uncertain.
const UNQUOTED_SPECIALS: &str = ".,:;()[]";

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
        return ascii.map(Cow::into_owned).map_err(|_| BadPath);
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
    if good && text.len() <= DOMAIN { Ok(text.to_ascii_lowercase()) } else { Err(BadPath) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, BadPath> {
        path(text.as_bytes(), Syntax::Exact).map(|(path, _)| path.map_or("<>".into(), |a| a.to_string()))
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
        let long = format!("<{}@x.test>", "a".repeat(248));
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
            assert_eq!(read(text), Err(BadPath), "{text:?}");
        }
        for octets in
            [&b"<a\xff@b>"[..], b"<a@b\xc3>", b"<\xc0\xae@b>", b"<\xed\xa0\x80@b>", b"<\"\xe2\x82\"@b>"]
        {
            assert_eq!(path(octets, Syntax::Forgiving), Err(BadPath), "{octets:?}");
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
            assert_eq!(read(text), Err(BadPath), "{text:?}");
        }
        let long = format!("<{}@x.test>", "ø".repeat(124));
        assert_eq!(read(&long), Err(BadPath), "octets are counted, not characters");
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

    fn forgiven(text: &str) -> Result<String, BadPath> {
        path(text.as_bytes(), Syntax::Forgiving).map(|(path, _)| path.map_or("<>".into(), |a| a.to_string()))
    }

    #[test]
    fn w02_brackets_may_be_left_out_and_blanks_stand_inside_them() {
        let (path, rest) = path(b"bob@example.test SIZE=5", Syntax::Forgiving).unwrap();
        assert_eq!(path.unwrap().to_string(), "bob@example.test");
        assert_eq!(rest, b" SIZE=5");
        assert_eq!(forgiven("< bob@example.test >").as_deref(), Ok("bob@example.test"));
        assert_eq!(forgiven("<\" bob\"@example.test>").as_deref(), Ok("\" bob\"@example.test"));
    }

    #[test]
    fn w03_a_local_part_that_had_to_be_quoted_is_read_as_if_it_were() {
        for (text, address) in [
            ("<a..b@docomo.test>", "\"a..b\"@docomo.test"),
            ("<ab.@docomo.test>", "\"ab.\"@docomo.test"),
            ("<.ab@docomo.test>", "\".ab\"@docomo.test"),
            ("<...@docomo.test>", "\"...\"@docomo.test"),
            ("<jörg..b@docomo.test>", "\"jörg..b\"@docomo.test"),
            ("<a,b@x.test>", "\"a,b\"@x.test"),
            ("<a:b@x.test>", "\"a:b\"@x.test"),
            ("<a(b)[c];@x.test>", "\"a(b)[c];\"@x.test"),
            ("<@one.test:a..b@x.test>", "\"a..b\"@x.test"),
            ("a..b@x.test", "\"a..b\"@x.test"),
        ] {
            assert_eq!(forgiven(text).as_deref(), Ok(address), "{text}");
            assert_eq!(forgiven(&format!("<{address}>")).as_deref(), Ok(address), "{text}: as it is written");
            assert_eq!(read(text), Err(BadPath), "{text}: not in the grammar");
        }
        for text in [
            "<.!>",
            "<;cmd;>",
            "<a..b>",
            "<@x.test>",
            "<a b@x.test>",
            "<a@b@x.test>",
            "<a\\b@x.test>",
            "<a\"b@x.test>",
            "<a\r.@x.test>",
            "<a\0.@x.test>",
            "<a..b@x..test>",
            "<a\u{202e}..b@x.test>",
            "<a>b..c@x.test>",
        ] {
            let path = path(text.as_bytes(), Syntax::Forgiving);
            assert!(!matches!(path, Ok((_, b""))), "{text:?}: {path:?}");
        }
    }

    #[test]
    fn w11_a_local_part_may_fill_the_path() {
        let local = "srs0=".repeat(48);
        let text = format!("<{local}@sixteen.test>");
        assert_eq!(read(&text).as_deref(), Ok(&text[1..text.len() - 1]));
        assert_eq!(read(&format!("<{}@x.test>", "a".repeat(247))).map(|address| address.len()), Ok(254));
        assert_eq!(forgiven(&format!("<{}@x.test>", "a".repeat(248))), Err(BadPath));
    }

    #[test]
    fn w08_two_forms_of_one_address_are_compared_alike() {
        let key = |text: &str| {
            let address = Address::parse(text).unwrap();
            (address.folded_local(), address.domain().map(str::to_owned))
        };
        for (one, other) in [
            ("bob@bücher.test", "BOB@xn--BCHER-kva.test"),
            ("\"bob\"@BÜCHER.test", "bob@bu\u{308}cher.test"),
            ("JÖRG@x.test", "jo\u{308}rg@x.test"),
            ("a..b@x.test", "\"A..b\"@X.test"),
            ("νίκος.παπάς@x.test", "ΝΊΚΟΣ.ΠΑΠΆΣ@x.test"),
            ("σοφίας-2@x.test", "ΣΟΦΊΑΣ-2@x.test"),
            ("οδός@x.test", "οδόσ@x.test"),
            ("σας.σ@x.test", "ΣΑΣ.Σ@x.test"),
            ("ǰς@x.test", "J\u{30c}Σ@x.test"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_eq!(fold_local("Νίκος.Παπάς"), "νίκος.παπάς", "the usual spelling names the directory");
        assert_ne!(key("\u{131}@b.test"), key("i@b.test"));
        assert_eq!(fold_domain("BU\u{308}CHER.test").as_deref(), Ok("xn--bcher-kva.test"));
    }
}
