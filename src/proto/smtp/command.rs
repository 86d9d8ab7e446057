//! Parses the arguments of SMTP commands. Nothing here depends on the state of the session.

use super::{
    address::{self, Address, ReversePath},
    reply::{self, Reply},
};
use crate::proto::syntax::Syntax;

/// The arguments of MAIL, parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Mail {
    /// The address for bounces; `None` for `<>`.
    pub from: ReversePath,
    /// Octets announced with SIZE=; 0 if the client announced none.
    pub size: u64,
    /// True with SMTPUTF8: the message and its addresses may be internationalized.
    pub utf8: bool,
    /// True with BODY=8BITMIME: the message may contain octets above 0x7f.
    pub eight_bit: bool,
}

/// The arguments of BDAT, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the command line.
    pub size: u64,
    /// True if they end the message.
    pub last: bool,
}

/// Splits a line into its verb and its argument, without the spaces around them.
pub fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_end();
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii_start())
}

/// Parses the client's name in HELO and EHLO: any printable octets that are harmless in `Received:`. The forgiving
/// syntax accepts every other name too, and returns `None` for it. The name cannot be verified, so it is no reason to
/// refuse the client (RFC 5321 section 4.1.4), whose user often cannot change the name of the machine.
pub fn client_name(argument: &[u8], syntax: Syntax) -> Result<Option<String>, Reply> {
    let good = |b: u8| b.is_ascii_graphic() && !b"()<>\\\";,".contains(&b);
    if argument.is_empty() || argument.iter().any(u8::is_ascii_control) {
        Err(NO_NAME)
    } else if argument.len() <= MAX_CLIENT_NAME && argument.iter().all(|&b| good(b)) {
        Ok(Some(String::from_utf8_lossy(argument).into_owned()))
    } else if syntax.is_forgiving() {
        Ok(None)
    } else {
        Err(NO_NAME)
    }
}

/// Parses the arguments of MAIL.
pub fn mail(argument: &[u8], syntax: Syntax) -> Result<Mail, Reply> {
    let (from, parameters) = path_after(argument, b"FROM:", syntax, reply::BAD_SENDER)?;
    let mut size = None;
    let mut body = None;
    let mut utf8 = None;
    let mut auth = None;
    for parameter in parameters.split(|&b| b == b' ').filter(|p| !p.is_empty()) {
        let (name, value) = match memchr::memchr(b'=', parameter) {
            Some(at) => (&parameter[..at], &parameter[at + 1..]),
            None => (parameter, &b""[..]),
        };
        if name.eq_ignore_ascii_case(b"SIZE") {
            let octets = number(value).ok_or(reply::BAD_ARGUMENT)?;
            reject_duplicate(size.replace(octets))?;
        } else if name.eq_ignore_ascii_case(b"BODY") {
            if !value.eq_ignore_ascii_case(b"7BIT") && !value.eq_ignore_ascii_case(b"8BITMIME") {
                return Err(reply::BAD_ARGUMENT);
            }
            reject_duplicate(body.replace(value.len() == b"8BITMIME".len()))?;
        } else if name.eq_ignore_ascii_case(b"SMTPUTF8") {
            if parameter != name {
                return Err(reply::BAD_ARGUMENT);
            }
            reject_duplicate(utf8.replace(()))?;
        } else if name.eq_ignore_ascii_case(b"AUTH") {
            // The original submitter of the message. The server checks the syntax, but neither trusts nor
            // copies the value (RFC 4954 section 5 allows a server to treat it as <>).
            if value != b"<>" && xtext(value).is_none() {
                return Err(reply::BAD_ARGUMENT);
            }
            reject_duplicate(auth.replace(()))?;
        } else if !is_ignored(name, &[b"RET", b"ENVID"], syntax) {
            return Err(reply::UNKNOWN_PARAMETER);
        }
    }
    let utf8 = utf8.is_some();
    let eight_bit = body.unwrap_or(false);
    let from = from.allowed(utf8)?;
    // A mailbox has a domain (RFC 5321 section 4.1.2).
    if from.as_ref().is_some_and(|from| from.domain().is_none()) && !syntax.is_forgiving() {
        return Err(reply::BAD_SENDER);
    }
    Ok(Mail { from, size: size.unwrap_or(0), utf8, eight_bit })
}

/// Parses the argument of RCPT, which takes neither the null path nor parameters that have an effect. `utf8`: MAIL had
/// SMTPUTF8.
pub fn rcpt(argument: &[u8], syntax: Syntax, utf8: bool) -> Result<Address, Reply> {
    let (to, parameters) = path_after(argument, b"TO:", syntax, reply::BAD_RECIPIENT)?;
    let to = to.allowed(utf8)?.ok_or(reply::BAD_RECIPIENT)?;
    // Only the forgiving syntax completes another name than postmaster with a domain (RFC 5321 section 4.1.1.3).
    let is_whole = to.domain().is_some() || to.local().eq_ignore_ascii_case("postmaster");
    if !is_whole && !syntax.is_forgiving() {
        return Err(reply::BAD_RECIPIENT);
    }
    let mut names = parameters.split(|&b| b == b' ').filter(|parameter| !parameter.is_empty());
    let is_ignored = |parameter: &[u8]| {
        let name = parameter.split(|&b| b == b'=').next().unwrap_or_default();
        is_ignored(name, &[b"NOTIFY", b"ORCPT"], syntax)
    };
    if names.all(is_ignored) { Ok(to) } else { Err(reply::UNKNOWN_PARAMETER) }
}

/// True for a parameter of DSN (RFC 3461) that is accepted without effect. DSN is not announced, because no message
/// leaves this server; but some relays send its parameters all the same, and give the message up at a 555.
fn is_ignored(name: &[u8], ignored: &[&[u8]], syntax: Syntax) -> bool {
    syntax.is_forgiving() && ignored.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// True if this line may contain a password.
pub fn is_auth(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH"))
}

/// True if octets that are not commands may follow this line.
pub fn is_bdat(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"BDAT"))
}

/// Whether a BDAT line has only the blanks and octets of its grammar (RFC 3030 section 2).
pub(super) fn is_exact_bdat(line: &[u8]) -> bool {
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' ')
        && !text.ends_with(b" ")
        && !text.windows(2).any(|pair| pair == b"  ")
}

/// Parses a BDAT line: a number of octets, and LAST for the last chunk. `None` if the number of octets that
/// follow is uncertain. A number above 2^63-1 is invalid.
pub fn bdat(line: &[u8]) -> Option<Chunk> {
    let (verb, argument) = split(line);
    let (size, last) = split(argument);
    let size = number(size).filter(|size| i64::try_from(*size).is_ok())?;
    let good = verb.eq_ignore_ascii_case(b"BDAT") && (last.is_empty() || last.eq_ignore_ascii_case(b"LAST"));
    good.then_some(Chunk { size, last: !last.is_empty() })
}

fn path_after<'a>(
    argument: &'a [u8],
    keyword: &[u8],
    syntax: Syntax,
    bad: Reply,
) -> Result<(Path, &'a [u8]), Reply> {
    let without_blanks = |text: &'a [u8]| if syntax.is_forgiving() { text.trim_ascii_start() } else { text };
    let (word, colon) = keyword.split_at(keyword.len() - 1);
    let path = argument
        .split_at_checked(word.len())
        .filter(|(start, _)| start.eq_ignore_ascii_case(word))
        .and_then(|(_, rest)| without_blanks(rest).strip_prefix(colon))
        .ok_or_else(|| {
            reply::BAD_ARGUMENT
                .with_text(format!("Expected {}<user@domain>", String::from_utf8_lossy(keyword)))
        })?;
    let path = without_blanks(path);
    let (reverse_path, rest) = address::path(path, syntax).map_err(|_| bad.clone())?;
    let ascii = path[..path.len() - rest.len()].is_ascii();
    if syntax.is_forgiving() && has_address(rest) {
        let keyword = String::from_utf8_lossy(keyword);
        let verb = if keyword == "TO:" { "RCPT" } else { "MAIL" };
        return Err(bad.with_text(format!(
            "Expected an address alone in angle brackets: {verb} {keyword}<user@domain>"
        )));
    }
    if rest.is_empty() || rest.starts_with(b" ") {
        Ok((Path { reverse_path, ascii }, rest))
    } else {
        Err(bad)
    }
}

/// True if one of the words after a path has no keyword of a parameter (RFC 5321 section 4.1.2) but characters of an address.
/// Then a person has typed a name before the address, or a blank in it: `Bob <bob@example.test>`.
fn has_address(parameters: &[u8]) -> bool {
    let mut words = parameters.split(|&b| b == b' ');
    words.any(|word| word.iter().take_while(|&&b| b != b'=').any(|b| b"<>@(\"".contains(b)))
}

/// A path that may need SMTPUTF8, which the parameters after it may contain.
struct Path {
    reverse_path: ReversePath,
    ascii: bool,
}

impl Path {
    fn allowed(self, utf8: bool) -> Result<ReversePath, Reply> {
        if utf8 || self.ascii { Ok(self.reverse_path) } else { Err(reply::NEEDS_UTF8) }
    }
}

fn reject_duplicate<T>(earlier: Option<T>) -> Result<(), Reply> {
    earlier.map_or(Ok(()), |_| Err(reply::BAD_ARGUMENT.with_text("A parameter stands there twice")))
}

/// The octets of an xtext (RFC 3461 section 4); `None` if it is none.
pub(super) fn xtext(text: &[u8]) -> Option<Vec<u8>> {
    let hex = |b: u8| char::from(b).to_digit(16).filter(|_| !b.is_ascii_lowercase());
    let (mut octets, mut rest) = (Vec::new(), text);
    loop {
        rest = match rest {
            [] => return Some(octets).filter(|octets| !octets.is_empty()),
            [b'+', high, low, rest @ ..] => {
                octets.push(u8::try_from(16 * hex(*high)? + hex(*low)?).ok()?);
                rest
            }
            [octet @ (b'!'..=b'*' | b','..=b'<' | b'>'..=b'~'), rest @ ..] => {
                octets.push(*octet);
                rest
            }
            _ => return None,
        }
    }
}

/// Parses a number of at most 20 digits (RFC 1870), without sign.
fn number(text: &[u8]) -> Option<u64> {
    let digits = (1..=20).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// The refusal of a HELO, EHLO or LHLO without a name.
const NO_NAME: Reply =
    Reply::new(501, "5.5.4", "Expected the client's name, like mail.example.test or [192.0.2.1]");
/// The longest client name, in octets.
const MAX_CLIENT_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_splits_into_verb_and_argument() {
        assert_eq!(split(b"MAIL FROM:<a@b>  \r\n"), (&b"MAIL"[..], &b"FROM:<a@b>"[..]));
        assert_eq!(split(b"QUIT\r\n"), (&b"QUIT"[..], &b""[..]));
        assert_eq!(split(b"\r\n"), (&b""[..], &b""[..]));
    }

    #[test]
    fn c13_d02_mail_takes_size_and_body_once_each() {
        let size = |text: &[u8]| mail(text, Syntax::Exact).map(|mail| mail.size);
        assert_eq!(size(b"FROM:<a@b> SIZE=99 BODY=8BITMIME"), Ok(99));
        assert_eq!(size(b"from:<>"), Ok(0));
        for bad in ["-1", "+5", "1e9", "", "184467440737095516160", "99999999999999999999"] {
            assert_eq!(size(format!("FROM:<> SIZE={bad}").as_bytes()), Err(reply::BAD_ARGUMENT), "{bad}");
        }
        assert!(size(b"FROM:<> SIZE=1 SIZE=1").is_err());
        assert!(size(b"FROM:<> BODY=BINARYMIME").is_err());
        assert_eq!(size(b"FROM:<> RET=FULL"), Err(reply::UNKNOWN_PARAMETER));
        assert_eq!(size(b"FROM: <a@b>"), Err(reply::BAD_SENDER));
        assert_eq!(size(b"FROM:<a@b>SIZE=1"), Err(reply::BAD_SENDER));
    }

    #[test]
    fn c20_auth_is_an_xtext_that_changes_nothing() {
        let said = |text: &str| mail(text.as_bytes(), Syntax::Exact);
        for good in ["<>", "a@b.test", "e+3Dmc2@example.com", "+0A", "a"] {
            assert_eq!(said(&format!("FROM:<> AUTH={good}")), said("FROM:<>"), "{good}");
        }
        for bad in ["", "a+3d", "a+3", "a+", "a=b", "é", "a\x7f", "a\t"] {
            assert_eq!(said(&format!("FROM:<> AUTH={bad}")), Err(reply::BAD_ARGUMENT), "{bad:?}");
        }
        assert_eq!(said("FROM:<> AUTH"), Err(reply::BAD_ARGUMENT));
        assert!(said("FROM:<> AUTH=<> AUTH=<>").is_err());
    }

    #[test]
    fn addresses_above_ascii_need_smtputf8_wherever_it_stands() {
        let said = |text: &str| {
            mail(text.as_bytes(), Syntax::Exact).map(|mail| (mail.from.unwrap().to_string(), mail.utf8))
        };
        assert_eq!(said("FROM:<é@b.test> SMTPUTF8 SIZE=1"), Ok(("é@b.test".into(), true)));
        assert_eq!(said("FROM:<a@b.test> SIZE=1 smtputf8"), Ok(("a@b.test".into(), true)));
        for needs in ["FROM:<é@b.test>", "FROM:<a@é.test> SIZE=1", "FROM:<\"é\"@b.test> BODY=8BITMIME"] {
            assert_eq!(said(needs), Err(reply::NEEDS_UTF8), "{needs}");
        }
        assert!(said("FROM:<a@b.test> SMTPUTF8 SMTPUTF8").is_err());
        assert_eq!(said("FROM:<a@b.test> SMTPUTF8=yes"), Err(reply::BAD_ARGUMENT));
        assert_eq!(said("FROM:<a@b.test> SMTPUTF8="), Err(reply::BAD_ARGUMENT));
        assert_eq!(rcpt("TO:<é@b.test>".as_bytes(), Syntax::Exact, false), Err(reply::NEEDS_UTF8));
        assert!(rcpt("TO:<é@b.test>".as_bytes(), Syntax::Exact, true).is_ok());
    }

    #[test]
    fn d11_a_bdat_is_counted_or_not_understood() {
        assert_eq!(bdat(b"BDAT 0\r\n"), Some(Chunk { size: 0, last: false }));
        assert_eq!(bdat(b"bdat 86 last\r\n"), Some(Chunk { size: 86, last: true }));
        assert_eq!(bdat(b"BDAT 9223372036854775807\r\n").map(|chunk| chunk.size), Some(i64::MAX as u64));
        for bad in [
            "",
            " ",
            " LAST",
            " -1",
            " +1",
            " 0x10",
            " 1e3",
            " 9223372036854775808",
            " 18446744073709551616",
            " 5 LASR",
            " 5 LAST LAST",
            " 5LAST",
            "\t5",
            "A 5",
            " 5\0",
        ] {
            assert!(is_bdat(format!("BDAT{bad}\r\n").as_bytes()));
            assert_eq!(bdat(format!("BDAT{bad}\r\n").as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn w02_blanks_after_the_colon_and_missing_brackets_are_forgiven() {
        let forgiving = Syntax::Forgiving;
        assert_eq!(mail(b"FROM: a@b.test", forgiving).unwrap().from.unwrap().to_string(), "a@b.test");
        assert_eq!(mail(b"FROM:  <a@b.test>  SIZE=5", forgiving).map(|mail| mail.size), Ok(5));
        assert_eq!(mail(b"FROM: <>", forgiving).map(|mail| mail.from), Ok(None));
        assert_eq!(rcpt(b"TO : <a@b.test>", forgiving, false).unwrap().to_string(), "a@b.test");
        assert!(rcpt(b"TO :<a@b.test>", Syntax::Exact, false).is_err());
        assert_eq!(rcpt(b"TO: <a@b.test>", forgiving, false).unwrap().to_string(), "a@b.test");
        assert_eq!(mail(b"FROM:", forgiving), Err(reply::BAD_SENDER));
    }

    #[test]
    fn u117_a_name_before_the_address_is_told_from_a_parameter() {
        let to = |text: &[u8]| rcpt(text, Syntax::Forgiving, false).map(|to| to.to_string());
        let from = |text: &[u8]| mail(text, Syntax::Forgiving).map(|mail| mail.size);
        let expected = |bad: Reply, example: &str| {
            bad.with_text(format!("Expected an address alone in angle brackets: {example}"))
        };
        for text in [
            &b"TO:Bob <b@c.test>"[..],
            b"TO: Bob Smith <b@c.test>",
            b"TO:\"Bob\" <b@c.test>",
            b"TO:b@c.test (Bob)",
            b"TO:a b@c.test",
            b"TO:<b@c.test> <d@e.test>",
            "TO:Zo\u{e9} <b@c.test>".as_bytes(),
        ] {
            assert_eq!(to(text), Err(expected(reply::BAD_RECIPIENT, "RCPT TO:<user@domain>")));
        }
        assert_eq!(from(b"FROM:a b@c.test"), Err(expected(reply::BAD_SENDER, "MAIL FROM:<user@domain>")));
        assert_eq!(from(b"FROM:<a@b.test> AUTH=<> SIZE=5"), Ok(5));
        assert_eq!(to(b"TO:b@c.test X=<1>"), Err(reply::UNKNOWN_PARAMETER));
        // A listener with exact syntax refuses the path first.
        assert_eq!(rcpt(b"TO:Bob <b@c.test>", Syntax::Exact, false), Err(reply::BAD_RECIPIENT));
    }

    #[test]
    fn w20_only_postmaster_is_an_address_without_a_domain() {
        let from =
            |text: &str, syntax| mail(format!("FROM:<{text}>").as_bytes(), syntax).map(|mail| mail.from);
        let to = |text: &str, syntax| rcpt(format!("TO:<{text}>").as_bytes(), syntax, false);
        for name in ["ann", "postmaster", "\"a@b\"", "@one.test:ann"] {
            assert_eq!(from(name, Syntax::Exact), Err(reply::BAD_SENDER), "{name}");
            assert!(from(name, Syntax::Forgiving).is_ok(), "{name}");
        }
        assert_eq!(to("ann", Syntax::Exact), Err(reply::BAD_RECIPIENT));
        assert!(to("PostMaster", Syntax::Exact).is_ok() && to("ann", Syntax::Forgiving).is_ok());
    }

    #[test]
    fn w21_a_bdat_of_the_grammar_has_single_blanks() {
        for good in ["BDAT 5\r\n", "bdat 5 last\r\n", "BDAT 0 LAST\r\n"] {
            assert!(is_exact_bdat(good.as_bytes()), "{good:?}");
        }
        for bad in ["BDAT  5\r\n", "BDAT 5 \r\n", "BDAT 5  LAST\r\n", "BDAT 5\t\r\n", "BDAT 5\n"] {
            assert!(!is_exact_bdat(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn w14_parameters_of_dsn_are_accepted_without_effect() {
        let plain = mail(b"FROM:<a@b.test>", Syntax::Forgiving);
        assert_eq!(mail(b"FROM:<a@b.test> RET=HDRS ENVID=QQ314159", Syntax::Forgiving), plain);
        assert_eq!(mail(b"FROM:<a@b.test> NOTIFY=NEVER", Syntax::Forgiving), Err(reply::UNKNOWN_PARAMETER));
        let to: &[u8] = b"TO:<a@b.test> notify=SUCCESS,FAILURE ORCPT=rfc822;a@b.test";
        assert!(rcpt(to, Syntax::Forgiving, false).is_ok());
        assert_eq!(rcpt(to, Syntax::Exact, false), Err(reply::UNKNOWN_PARAMETER));
        assert_eq!(rcpt(b"TO:<a@b.test> X=1", Syntax::Forgiving, false), Err(reply::UNKNOWN_PARAMETER));
    }

    #[test]
    fn c16_w04_a_client_name_can_do_no_harm_in_a_header() {
        for syntax in [Syntax::Exact, Syntax::Forgiving] {
            for good in ["[127.0.0.1]", "living_room", "a/b"] {
                assert_eq!(client_name(good.as_bytes(), syntax), Ok(Some(good.into())));
            }
            for bad in [&b""[..], b"a\rb", b"a\x1b", b"a\tb"] {
                assert_eq!(client_name(bad, syntax), Err(NO_NAME), "{bad:?}");
            }
        }
        for odd in [&b"a b"[..], b"a(b)", b"a;b", b"M\xdcLLER-PC", "MÜLLER-PC".as_bytes(), &[b'a'; 256]] {
            assert_eq!(client_name(odd, Syntax::Exact), Err(NO_NAME), "{odd:?}");
            assert_eq!(client_name(odd, Syntax::Forgiving), Ok(None), "{odd:?}");
        }
    }
}
