//! The refusals of a pedantic listener, which name the broken rule by RFC and section.
//!
//! The rule: everything that the grammar of the RFCs does not allow is refused, even if they ask a server to
//! tolerate it, and every refusal of a client's mistake names the broken section. Verbs in any case are
//! allowed.

use super::{
    address, command,
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
        let rest = address::path(path, Syntax::Exact).map_or(&b""[..], |(_, rest)| rest);
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
        if inside[at..].contains(&b'_') {
            return Some((bad, "RFC 5321 4.1.2: a domain has letters, digits, hyphens and dots".into()));
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
        let mut parameters = rest.split(|&b| b == b' ');
        if !self.offers_auth() && self.user.is_none() && parameters.any(command::is_auth) {
            return unknown("RFC 4954 5: AUTH= is for where AUTH is announced");
        }
        None
    }

    /// Adds the broken rule to the text of a refusal. A refusal that is not due to a mistake of the client is
    /// unchanged.
    pub(super) fn with_citation(&self, reply: &Reply, line: &[u8]) -> Reply {
        if !self.config.pedantic || reply.text().starts_with("RFC ") {
            return reply.clone();
        }
        let (verb, _) = command::split(line);
        let rule = self.config.command(verb);
        match self.citation(reply, rule) {
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
    let letters = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    let label = |label: &[u8]| {
        let edge = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
        edge(label.first()) && edge(label.last()) && label.iter().all(letters)
    };
    match name {
        b"" => Some(format!("{section}: {verb} names the client")),
        [b'[', literal @ .., b']'] if verb == "HELO" && is_literal(literal) => {
            Some(format!("{section}: HELO takes a domain; an address in brackets needs EHLO"))
        }
        [b'[', literal @ .., b']'] if is_literal(literal) => None,
        [b'[', ..] => {
            Some("RFC 5321 4.1.3: an address in brackets is [192.0.2.1] or [IPv6:2001:db8::1]".into())
        }
        name if name.len() <= 255 && name.split(|&b| b == b'.').all(label) => None,
        _ => Some(format!("{section}: the client's name is a domain: letters, digits, hyphens and dots")),
    }
}

/// True if the text is an address literal without its brackets (RFC 5321 section 4.1.3).
fn is_literal(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    match text.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<std::net::Ipv6Addr>().is_ok()
        }
        _ => text.parse::<std::net::Ipv4Addr>().is_ok(),
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
    }
}
