//! The refusals of a pedantic listener, which name the broken rule by RFC and section.
//!
//! The rule: everything that the grammar of the RFCs does not allow is refused, even if they ask a server to
//! tolerate it, and every refusal of a client's mistake names the broken section. Verbs in any case are
//! allowed.

use super::{
    address::{self, Address},
    command,
    command_table::{CommandPhase, CommandSpec, Verb},
    reply::{self, Reply},
    state::SmtpSession,
};
use crate::proto::{buffer::Inbox, sasl, syntax::Syntax};

/// A section and its rule: `RFC 5321 4.1.2: no space after FROM:`.
type Violation = String;

impl SmtpSession {
    /// The reply for the rule that a line breaks by its form alone, before the session interprets it.
    pub(super) fn violated_rule(&self, line: &[u8], rule: Option<&CommandSpec>) -> Option<Reply> {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        let (verb, argument) = command::split(text);
        let takes_addresses =
            matches!(rule.map(|rule| rule.verb), Some(Verb::Mail | Verb::Rcpt | Verb::Vrfy));
        let (reply, why): (_, Violation) = if text.iter().any(u8::is_ascii_control) {
            (reply::BAD_LINE, "RFC 5321 2.4: a command has no control characters".into())
        } else if !takes_addresses && !text.is_ascii() {
            (reply::BAD_LINE, "RFC 5321 2.4: a command is made of ASCII".into())
        } else if text.starts_with(b" ") {
            (reply::UNKNOWN_COMMAND, "RFC 5321 4.1.1: a line begins with the command".into())
        } else if text.ends_with(b" ") {
            (reply::BAD_ARGUMENT, "RFC 5321 4.1.1: no blank before the line end".into())
        } else if text.get(verb.len() + 1) == Some(&b' ') {
            (reply::BAD_ARGUMENT, "RFC 5321 4.1.1: one blank behind the command".into())
        } else if line.len() > self.max_command_len(rule) {
            (reply::LINE_TOO_LONG, line_too_long(self.max_command_len(rule)))
        } else {
            match rule.map(|rule| rule.verb)? {
                Verb::Ehlo | Verb::Helo | Verb::Lhlo => {
                    (reply::BAD_ARGUMENT, name_violation(rule?.name, argument)?)
                }
                Verb::Mail => self.path_violation(argument, b"FROM:", reply::BAD_SENDER)?,
                Verb::Rcpt => self.path_violation(argument, b"TO:", reply::BAD_RECIPIENT)?,
                Verb::Auth | Verb::Starttls
                    if self.client.as_ref().is_some_and(|client| !client.extended) =>
                {
                    (reply::BAD_SEQUENCE, "RFC 5321 2.2.1: extensions come after EHLO, not HELO".into())
                }
                Verb::Auth if argument.windows(2).any(|pair| pair == b"  ") => {
                    (reply::BAD_ARGUMENT, "RFC 4954 4: one blank before the response".into())
                }
                Verb::Noop if !argument.is_empty() && !is_string(argument) => {
                    (reply::BAD_ARGUMENT, "RFC 5321 4.1.1.9: NOOP takes one word, or a text in quotes".into())
                }
                Verb::Vrfy if !argument.is_empty() && !is_name(argument) => {
                    (reply::BAD_ARGUMENT, "RFC 5321 4.1.1.6: VRFY takes a name, or user@domain".into())
                }
                _ => return None,
            }
        };
        Some(reply.with_text(why))
    }

    /// True if the client has sent more than it may before the reply to this command (RFC 2920 section 3.1).
    pub(super) fn is_out_of_sync(&self, verb: Verb, inbox: &Inbox) -> bool {
        let in_a_group = self.client.as_ref().is_some_and(|client| client.extended);
        let ends_a_group = matches!(
            verb,
            Verb::Ehlo
                | Verb::Helo
                | Verb::Lhlo
                | Verb::Data
                | Verb::Vrfy
                | Verb::Noop
                | Verb::Quit
                | Verb::Auth
        );
        !inbox.is_empty() && (ends_a_group || !in_a_group)
    }

    /// The longest command line, its line end included, in octets (RFC 5321 section 4.5.3.1.4). Extensions
    /// add to it.
    fn max_command_len(&self, rule: Option<&CommandSpec>) -> usize {
        match rule.map(|rule| rule.verb) {
            Some(Verb::Auth) => sasl::LINE,
            // SIZE, BODY, SMTPUTF8 and AUTH: RFC 1870, RFC 6152, RFC 6531 and RFC 4954.
            Some(Verb::Mail) => MAX_COMMAND + 26 + 17 + 10 + 500,
            Some(Verb::Rcpt) => MAX_COMMAND + 10,
            _ => MAX_COMMAND,
        }
    }

    /// The violation in the path of MAIL or RCPT, or in the text after it.
    fn path_violation(&self, argument: &[u8], keyword: &[u8], bad: Reply) -> Option<(Reply, Violation)> {
        let name = String::from_utf8_lossy(keyword);
        let wrong = |why: String| Some((reply::BAD_ARGUMENT, why));
        let Some(path) = argument.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword))
        else {
            let section = if keyword == b"TO:" { "RFC 5321 4.1.1.3" } else { "RFC 5321 4.1.1.2" };
            return wrong(format!("{section}: expected {name}<user@domain>"));
        };
        let path = &argument[path.len()..];
        if path.starts_with(b" ") {
            return wrong(format!("RFC 5321 4.1.2: no space after {name}"));
        }
        if !path.starts_with(b"<") {
            return Some((bad, "RFC 5321 4.1.2: the path stands in angle brackets".into()));
        }
        let read = address::path(path, Syntax::Exact);
        let rest = read.as_ref().map_or(&b""[..], |(_, rest)| *rest);
        let inside = &path[1..path.len() - rest.len()];
        let inside = inside.strip_suffix(b">").unwrap_or(inside);
        if inside.starts_with(b"@") {
            return Some((bad, "RFC 5321 C: source routes are obsolete".into()));
        }
        let at = memchr::memrchr(b'@', inside).unwrap_or(inside.len());
        if at > MAX_LOCAL_PART {
            return Some((
                bad,
                format!("RFC 5321 4.5.3.1.1: a local part has at most {MAX_LOCAL_PART} octets"),
            ));
        }
        let may_lack_domain = keyword == b"TO:" && inside.eq_ignore_ascii_case(b"postmaster");
        if let Ok((Some(address), _)) = &read
            && address.domain().is_none()
            && !may_lack_domain
        {
            let why = match keyword {
                b"TO:" => "RFC 5321 4.1.1.3: only <postmaster> is an address without @domain",
                _ => NO_DOMAIN,
            };
            return Some((bad, why.into()));
        }
        // A blank ends the path where its bracket is missing.
        if let Some(domain) = inside.get(at + 1..).filter(|domain| !domain.contains(&b' '))
            && let Some(why) = domain_violation(domain)
        {
            return Some((bad, why.into()));
        }
        if rest.ends_with(b" ") || rest.windows(2).any(|pair| pair == b"  ") {
            return wrong("RFC 5321 4.1.2: one blank before a parameter".into());
        }
        if rest.is_empty() {
            return None;
        }
        let unknown = |why: &str| Some((reply::UNKNOWN_PARAMETER, why.to_owned()));
        if self.client.as_ref().is_some_and(|client| !client.extended) {
            return unknown("RFC 5321 2.2.1: parameters come after EHLO, not HELO");
        }
        let is_auth = |parameter: &&[u8]| {
            parameter.split(|&b| b == b'=').next().is_some_and(|name| name.eq_ignore_ascii_case(b"AUTH"))
        };
        let auth = rest.split(|&b| b == b' ').find(is_auth);
        if !self.offers_auth() && self.user.is_none() && auth.is_some() {
            return unknown("RFC 4954 5: AUTH= is for where AUTH is announced");
        }
        let submitter = auth.and_then(|auth| auth.get(b"AUTH=".len()..)).unwrap_or(b"<>");
        if keyword == b"FROM:"
            && submitter != b"<>"
            && !command::xtext(submitter).is_some_and(|of| is_mailbox(&of))
        {
            return wrong("RFC 4954 5: AUTH= has user@domain in xtext, or <>".into());
        }
        None
    }

    /// Adds the syntax of the command to the text of a refusal that has no other reason, or in a strict listener the broken
    /// rule. A refusal that is not due to a mistake of the client is unchanged.
    pub(super) fn with_citation(&self, reply: &Reply, line: &[u8]) -> Reply {
        if reply.text().starts_with("RFC ") {
            return reply.clone();
        }
        let (verb, _) = command::split(line);
        let rule = self.config.command(verb);
        let why = if self.config.pedantic {
            self.citation(reply, rule)
        } else {
            rule.filter(|_| *reply == reply::BAD_ARGUMENT).map(|rule| format!("Expected {}", rule.syntax))
        };
        match why {
            Some(why) => reply.clone().with_text(why),
            None => reply.clone(),
        }
    }

    fn citation(&self, reply: &Reply, rule: Option<&CommandSpec>) -> Option<Violation> {
        let verb = rule.map(|rule| rule.verb);
        let says = |why: &str| Some(why.to_owned());
        if let Some(broken) = PLAIN.iter().find(|(of, _)| of == reply) {
            return says(broken.1);
        }
        match (reply, verb) {
            _ if *reply == reply::ILLEGAL_PIPELINING => match verb {
                Some(Verb::Starttls) => says("RFC 3207 4.2: nothing is sent behind STARTTLS before TLS"),
                Some(Verb::Auth) => says("RFC 4954 4: the client waits for the challenge"),
                _ => says("RFC 2920 3.1: the client waits for the reply to this command"),
            },
            _ if *reply == reply::LINE_TOO_LONG => Some(line_too_long(MAX_COMMAND)),
            _ if reply.codes() == reply::BAD_SEQUENCE.codes() => match (verb, self.phase()) {
                (Some(Verb::Starttls), _) if self.is_encrypted => says("RFC 3207 4.2: STARTTLS comes once"),
                (Some(Verb::Auth), _) if self.user.is_some() => says("RFC 4954 4: AUTH comes once"),
                (_, CommandPhase::Start) => says("RFC 5321 4.1.4: EHLO or HELO comes first"),
                (Some(Verb::Mail), _) => {
                    says("RFC 5321 4.1.4: a message is begun already, and RSET forgets it")
                }
                (Some(Verb::Auth), _) => says("RFC 4954 4: AUTH comes between two messages"),
                (Some(Verb::Starttls), _) => says("RFC 3207 4: STARTTLS comes between two messages"),
                (_, CommandPhase::Chunks) => says("RFC 3030 2: a message begun with BDAT ends with BDAT"),
                (Some(_), _) => Some(format!("RFC 5321 4.1.4: {} comes after MAIL", rule?.name)),
                _ => None,
            },
            _ if reply.codes() == reply::BAD_ARGUMENT.codes() => {
                let rule = rule?;
                Some(format!("{}: expected {}", rule.section(), rule.syntax))
            }
            _ => None,
        }
    }
}

/// The violation in the argument of EHLO, HELO or LHLO, which must be a domain or an address literal.
fn name_violation(verb: &str, name: &[u8]) -> Option<Violation> {
    let section = if verb == "LHLO" { "RFC 2033 4.1" } else { "RFC 5321 4.1.1.1" };
    match name {
        b"" => Some(format!("{section}: {verb} names the client")),
        [b'[', literal @ .., b']'] if verb == "HELO" && is_literal(literal) => {
            Some(format!("{section}: HELO takes a domain; an address in brackets needs EHLO"))
        }
        [b'[', literal @ .., b']'] if is_literal(literal) => None,
        [b'[', ..] => Some(BAD_LITERAL.into()),
        name if domain_violation(name).is_none() => None,
        _ => Some(format!("{section}: the client's name is a domain: letters, digits, hyphens and dots")),
    }
}

/// The violation in the domain of an address. Whether a label above ASCII can be converted, is seen later.
fn domain_violation(domain: &[u8]) -> Option<&'static str> {
    let labels = domain.split(|&b| b == b'.');
    let edge = |at: Option<&u8>| at.is_some_and(|b| *b != b'-');
    match domain {
        [] => Some(NO_DOMAIN),
        [b'[', literal @ .., b']'] if is_literal(literal) => None,
        [b'[', ..] => Some(BAD_LITERAL),
        _ if labels.clone().any(<[u8]>::is_empty) => {
            Some("RFC 5321 4.1.2: a domain has no dot at an end, and no two together")
        }
        _ if !domain.iter().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(b) || !b.is_ascii()) => {
            Some("RFC 5321 4.1.2: a domain has letters, digits, hyphens and dots")
        }
        _ if !labels.clone().all(|label| edge(label.first()) && edge(label.last())) => {
            Some("RFC 5321 4.1.2: a label of a domain begins and ends with a letter or digit")
        }
        _ if labels.clone().any(|label| label.len() > MAX_LABEL) => {
            Some("RFC 1035 2.3.4: a label of a domain has at most 63 octets")
        }
        _ if domain.len() > MAX_DOMAIN => Some("RFC 5321 4.5.3.1.2: a domain has at most 255 octets"),
        _ => None,
    }
}

fn is_string(argument: &[u8]) -> bool {
    std::str::from_utf8(argument).is_ok_and(address::is_string)
}

/// The name for VRFY: a user, or a user at a domain, and perhaps SMTPUTF8 after it (RFC 5321 section 3.5.1, RFC 6531 section
/// 3.7.4).
fn is_name(argument: &[u8]) -> bool {
    let parameter = b" SMTPUTF8";
    let name = match argument.split_at_checked(argument.len().saturating_sub(parameter.len())) {
        Some((name, end)) if end.eq_ignore_ascii_case(parameter) => name,
        _ => argument,
    };
    address_of(name).is_some()
}

/// Whether a text is an address with a domain.
fn is_mailbox(text: &[u8]) -> bool {
    address_of(text).is_some_and(|address| address.domain().is_some())
}

/// The address that a text is, with the grammar of RFC 5321 and without a source route.
fn address_of(text: &[u8]) -> Option<Address> {
    let path = [b"<", text, b">"].concat();
    let (address, rest) = address::path(&path, Syntax::Exact).ok()?;
    let address = address.filter(|_| rest.is_empty() && !text.starts_with(b"@"))?;
    let domain = text.rsplit(|&b| b == b'@').next().filter(|_| address.domain().is_some());
    domain.is_none_or(|domain| domain_violation(domain).is_none()).then_some(address)
}

/// True if the text is an address literal without its brackets (RFC 5321 section 4.1.3).
fn is_literal(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    match text.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            // `::` stands for two groups at least, and an IPv4 address at the end for two more.
            let groups = address.split(':').filter(|group| !group.is_empty());
            let count: usize = groups.map(|group| if group.contains('.') { 2 } else { 1 }).sum();
            address.parse::<std::net::Ipv6Addr>().is_ok() && (count <= 6 || !address.contains("::"))
        }
        // RFC 5321 allows leading zeros, which the parser of the library does not.
        _ => {
            let number = |snum: &str| {
                (1..=3).contains(&snum.len())
                    && snum.bytes().all(|b| b.is_ascii_digit())
                    && snum.parse::<u16>().is_ok_and(|number| number <= 255)
            };
            text.split('.').count() == 4 && text.split('.').all(number)
        }
    }
}

fn line_too_long(most: usize) -> Violation {
    format!("RFC 5321 4.5.3.1.4: this command line has at most {most} octets")
}

/// Refusals that have exactly one rule.
const PLAIN: &[(Reply, &str)] = &[
    (reply::UNKNOWN_COMMAND, "RFC 5321 4.1.1: no such command"),
    (reply::NOT_SMTP, "RFC 5321 4.1.1: no such command"),
    (reply::NOT_TLS, "RFC 3207 4: TLS begins after STARTTLS"),
    (reply::BAD_LINE, "RFC 5321 2.3.8: a line ends in CR LF, and neither stands alone"),
    (reply::BARE_LINE_END, "RFC 5321 2.3.8: CR and LF stand together, as the end of a line"),
    (reply::NO_RECIPIENTS, "RFC 5321 3.3: message data comes after a RCPT that was accepted"),
    (reply::NO_RECIPIENTS_LMTP, "RFC 2033 4.2: message data comes after a RCPT that was accepted"),
    (reply::UNKNOWN_PARAMETER, "RFC 5321 4.1.1.11: that parameter was not announced"),
    (reply::BAD_SENDER, "RFC 5321 4.1.2: not a path, which is <user@domain> or <>"),
    (reply::BAD_RECIPIENT, "RFC 5321 4.1.2: not a path, which is <user@domain>"),
    (reply::NEEDS_UTF8, "RFC 6531 3.5: an address above ASCII needs SMTPUTF8"),
    (reply::BAD_CHUNK, "RFC 3030 2: expected BDAT <octets> [LAST]"),
    (reply::BAD_RESPONSE, "RFC 4954 4: the response is not base64 of what the mechanism asks for"),
    (reply::EXCHANGE_TOO_LONG, "RFC 4954 4: a line of the exchange has at most 12288 octets"),
    (reply::UNKNOWN_MECHANISM, "RFC 4954 4: that mechanism was not announced"),
];

/// The longest command line, in octets (RFC 5321 section 4.5.3.1.4).
const MAX_COMMAND: usize = 512;
/// The longest local part, in octets (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL_PART: usize = 64;
/// The longest domain, and the longest label of one, in octets (RFC 5321 section 4.5.3.1.2, RFC 1035 section 2.3.4).
const MAX_DOMAIN: usize = 255;
const MAX_LABEL: usize = 63;
const NO_DOMAIN: &str = "RFC 5321 4.1.2: an address has a domain, <user@domain>";
const BAD_LITERAL: &str = "RFC 5321 4.1.3: an address in brackets is [192.0.2.1] or [IPv6:2001:db8::1]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients_are_domains_or_address_literals() {
        for good in ["client.test", "a", "x-1.example", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(name_violation("EHLO", good.as_bytes()), None, "{good}");
        }
        for bad in ["", "under_score.test", "-a.test", "a-.test", "a..b", ".a", "[::1]", "[300.0.0.1]", "a/b"]
        {
            assert!(name_violation("EHLO", bad.as_bytes()).is_some(), "{bad}");
        }
        assert!(name_violation("HELO", b"[192.0.2.1]").is_some());
        assert!(name_violation("EHLO", "a".repeat(64).as_bytes()).is_some());
    }

    #[test]
    fn w22_a_domain_that_is_none_is_named_with_its_mistake() {
        let long = format!("{}.test", "a".repeat(64));
        for good in [
            "here.test",
            "a",
            "1.2",
            "x--y.test",
            "b\u{fc}cher.test",
            "[192.0.2.1]",
            "[192.000.002.001]",
            "[IPv6:::1]",
            "[IPv6:1:2:3:4:5:6::]",
            "[IPv6:1:2:3:4::1.2.3.4]",
            "[IPv6:1:2:3:4:5:6:7:8]",
            "[IPv6:1:2:3:4:5:6:1.2.3.4]",
        ] {
            assert_eq!(domain_violation(good.as_bytes()), None, "{good}");
        }
        for (bad, why) in [
            ("", "an address has a domain"),
            ("b..c", "no two together"),
            ("b.test.", "no dot at an end"),
            (".test", "no dot at an end"),
            ("under_score.test", "letters, digits, hyphens and dots"),
            ("a/b", "letters, digits"),
            ("-a.test", "begins and ends with a letter or digit"),
            ("a-.test", "begins and ends with a letter or digit"),
            (&long, "at most 63 octets"),
            ("[]", "an address in brackets is"),
            ("[abc]", "an address in brackets is"),
            ("[::1]", "an address in brackets is"),
            ("[IPv6:192.0.2.1]", "an address in brackets is"),
            ("[IPv6:1:2:3:4:5:6:7::]", "an address in brackets is"),
            ("[IPv6:::2:3:4:5:6:7:8]", "an address in brackets is"),
            ("[IPv6:1:2:3:4:5::1.2.3.4]", "an address in brackets is"),
            ("[192.0.2.256]", "an address in brackets is"),
            ("[192.0.2]", "an address in brackets is"),
            ("[192.0.2.0001]", "an address in brackets is"),
        ] {
            let told = domain_violation(bad.as_bytes());
            assert!(told.is_some_and(|told| told.contains(why)), "{bad}: {told:?}");
        }
    }

    #[test]
    fn w23_an_argument_of_vrfy_and_noop_is_one_word_or_quoted() {
        for good in [
            "ann",
            "\"ann b\"",
            "ann@here.test",
            "\"a b\"@here.test",
            "ann SMTPUTF8",
            "\u{f8}re@here.test smtputf8",
            "a.b",
        ] {
            assert!(is_name(good.as_bytes()), "{good}");
        }
        for bad in [
            "ann bob",
            "<ann@here.test>",
            "ann@b..c",
            "a..b",
            "@one.test:ann@here.test",
            "\"ann",
            "\"a\"b",
            "ann@[x]",
        ] {
            assert!(!is_name(bad.as_bytes()), "{bad}");
        }
        assert!(is_string(b"x") && is_string(b"\"a b\"") && !is_string(b"a b") && !is_string(b"a@b"));
    }
}
