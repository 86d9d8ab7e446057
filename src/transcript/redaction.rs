//! Masks passwords in the client's lines of a transcript.
//!
//! The rules: a mask consists of constants, so that it does not even reveal the length of a secret. Different
//! secrets of a session get different numbers. The session reacts to the mask as to the original, so that the
//! transcript can be replayed.

mod imap;

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::proto::{
    SessionPhase, http, is_http_method, loggable, pop3,
    protocol::Protocol,
    sasl::{self, BadResponse, Credentials},
    smtp::command,
    syntax::Syntax,
    telnet,
};

/// The secrets of a session.
#[derive(Debug)]
pub(super) struct Redactor {
    protocol: Protocol,
    /// The longest command line, in octets.
    max_line: usize,
    /// True if the session applies typed corrections, such as backspace.
    lenient: bool,
    /// True after AUTH. An unknown command may then be a password.
    auth_seen: bool,
    /// True if the last command was AUTH.
    in_sasl_exchange: bool,
    /// True if the last USER had more than a name.
    user_hidden: bool,
    /// The user name in an exchange that sends it before the password.
    user_name: Vec<u8>,
    /// Digests of the tags of IMAP that were masked with their lines, and whose replies have not come.
    hidden_tags: Vec<u32>,
    /// Digests of the secrets, in order of appearance.
    seen: Vec<u32>,
}

impl Redactor {
    /// A redactor that has seen no secret. A command line has at most `max_line` octets.
    pub(super) fn new(protocol: Protocol, max_line: usize, lenient: bool) -> Self {
        Self {
            protocol,
            max_line,
            lenient,
            auth_seen: false,
            in_sasl_exchange: false,
            user_hidden: false,
            user_name: Vec::new(),
            hidden_tags: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// True if the session speaks HTTP.
    pub(super) fn is_http(&self) -> bool {
        self.protocol == Protocol::Http
    }

    /// True if the session speaks IMAP.
    pub(super) fn is_imap(&self) -> bool {
        self.protocol == Protocol::Imap
    }

    /// True during an exchange of AUTH, and after a USER with more than a name. The name is then as secret as the
    /// password.
    pub(super) fn hides_user(&self) -> bool {
        self.in_sasl_exchange || self.user_hidden
    }

    /// Masks a line, including its end. `phase` is the session's phase before the line.
    pub(super) fn redact_line(&mut self, line: &[u8], phase: SessionPhase) -> Vec<u8> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let end = &line[text.len()..];
        let shown = match phase {
            SessionPhase::AuthPlain | SessionPhase::AuthUser | SessionPhase::AuthPassword => {
                self.redact_response(text, phase, sasl::LINE - b"\r\n".len())
            }
            // Typed corrections are applied before the line is recorded, because the deleted text may be a
            // password.
            _ if self.protocol == Protocol::Imap => self.redact_imap(text, phase),
            _ if self.lenient => {
                let typed = telnet::as_typed(text);
                let masked = self.redact_command(&typed.text);
                let is_changed = masked.is_some() || typed.text != text;
                // A replay must ask for the same timing marks.
                let requests = typed.requests();
                is_changed.then(|| [requests, masked.unwrap_or(typed.text)].concat())
            }
            _ => self.redact_command(text),
        };
        match shown {
            Some(shown) => [shown.as_slice(), end].concat(),
            None => line.to_vec(),
        }
    }

    /// Masks a command. `None` if it contains no secret. Most listeners accept blanks before it.
    fn redact_command(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if self.protocol == Protocol::Http {
            return redact_request_line(line);
        }
        let text = Syntax::Forgiving.command(line);
        let blanks = &line[..line.len() - text.len()];
        Some([blanks, &self.redact_words(text, blanks.len())?].concat())
    }

    /// The same, without the `blanks` before the command.
    fn redact_words(&mut self, text: &[u8], blanks: usize) -> Option<Vec<u8>> {
        let max_line = self.max_line.saturating_sub(blanks);
        let (verb, argument) = command::split(text);
        let name = verb.to_ascii_uppercase();
        let nul = if text.contains(&0) { "\0" } else { "" };
        self.in_sasl_exchange = name == b"AUTH";
        match name.as_slice() {
            b"AUTH" => {
                self.auth_seen = true;
                let (mechanism, response) = command::split(argument);
                let phase = match mechanism.to_ascii_uppercase().as_slice() {
                    b"PLAIN" => SessionPhase::AuthPlain,
                    b"LOGIN" => SessionPhase::AuthUser,
                    b"" => return None,
                    _ => {
                        let known = MECHANISMS.contains(&mechanism.to_ascii_uppercase().as_slice());
                        let mechanism = if known { mechanism } else { HIDDEN };
                        let rest = if response.is_empty() { "" } else { " ***" };
                        return Some([verb, b" ", mechanism, rest.as_bytes(), nul.as_bytes()].concat());
                    }
                };
                let max_line = self.max_line.max(sasl::LINE).saturating_sub(blanks);
                let shown =
                    self.redact_response(response, phase, max_line - verb.len() - mechanism.len() - 4)?;
                let (before, behind) = text.split_at(text.trim_ascii_end().len());
                Some([&before[..before.len() - response.len()], &shown, nul.as_bytes(), behind].concat())
            }
            b"PASS" if self.protocol == Protocol::Pop3 && text.len() > verb.len() => {
                // Everything after the first blank is the password (RFC 1939 section 7).
                let shown =
                    self.redact_secret(&text[verb.len() + 1..], max_line.saturating_sub(b"PASS \r\n".len()));
                Some([verb, b" ", &shown].concat())
            }
            b"USER" if self.protocol == Protocol::Pop3 => {
                let name = pop3::loggable_user(argument);
                self.user_hidden = name.len() < argument.trim_ascii().len();
                self.user_hidden.then(|| Self::hide_rest(&[verb, b" ", name, b" "].concat(), text, max_line))
            }
            b"APOP" if !argument.is_empty() => Some([verb, b" ***"].concat()),
            b"PASS" | b"APOP" if self.is_known_command(&name) => None,
            // A password in the wrong place: `STAT PASS secret`.
            name if self.is_known_command(name) => {
                let Cow::Owned(shown) = loggable::argument(self.protocol, verb, argument) else {
                    return None;
                };
                let before = text.trim_ascii_end().len() - argument.len();
                Some(Self::mask_command([&text[..before], &shown].concat(), text, max_line))
            }
            name => {
                let word = (1..=8).contains(&verb.len()) && verb.iter().all(u8::is_ascii_alphabetic);
                let near = |secret: &[u8]| text.to_ascii_uppercase().windows(4).any(|at| at == secret);
                let hides = near(b"PASS") || near(b"AUTH") || self.auth_seen || !word;
                match (hides, argument) {
                    _ if text.is_empty() => None,
                    (true, _) if is_http_method(name) => Some([verb, b" ***"].concat()),
                    (true, _) => Some([HIDDEN, nul.as_bytes()].concat()),
                    (false, b"") => None,
                    (false, _) => Some([verb, b" ***", nul.as_bytes()].concat()),
                }
            }
        }
    }

    /// The beginning of a command, and a mask for the rest of it. A control character, or too many octets, are still there.
    fn hide_rest(beginning: &[u8], text: &[u8], max_line: usize) -> Vec<u8> {
        let is_too_long = text.len() + b"\r\n".len() > max_line;
        let mask = if is_too_long { b"*".repeat(max_line + 1) } else { HIDDEN.to_vec() };
        let control: &[u8] = if text.iter().any(u8::is_ascii_control) { b"\0" } else { b"" };
        [beginning, &mask[..], control].concat()
    }

    /// A command whose argument is masked already. It still has a NUL or another control character, which sessions treat
    /// in different ways, and still exceeds each of the limits of a line.
    fn mask_command(mut masked: Vec<u8>, text: &[u8], max_line: usize) -> Vec<u8> {
        for limit in [MAX_PEDANTIC_LINE, max_line] {
            if text.len() + b"\r\n".len() > limit {
                masked.resize(masked.len().max(limit), b'*');
            }
        }
        if text.contains(&0) {
            masked.push(0);
        } else if text.iter().any(u8::is_ascii_control) {
            masked.push(1);
        }
        masked
    }

    fn is_known_command(&self, name: &[u8]) -> bool {
        (self.protocol.vocabulary().command)(name).is_some()
            || (self.protocol != Protocol::Pop3 && command::is_bdat(name))
    }

    /// Masks a response to a challenge. The server accepts or rejects the mask exactly as it does the
    /// original.
    fn redact_response(&mut self, text: &[u8], phase: SessionPhase, max_line: usize) -> Option<Vec<u8>> {
        if matches!(text, b"" | b"*" | b"=") {
            return None;
        }
        if text.len() > max_line {
            return Some(b"*".repeat(max_line + 1));
        }
        let Ok(message) = sasl::decode(text) else { return Some(HIDDEN.to_vec()) };
        let message = match phase {
            SessionPhase::AuthPlain => match Credentials::plain(&message) {
                Ok(Credentials { user, password, .. }) => {
                    let mask = self.mask_of_credentials(user.as_bytes(), password.reveal());
                    [b"\0user\0", mask.as_slice()].concat()
                }
                Err(BadResponse::OtherIdentity) => b"other\0user\0***".to_vec(),
                Err(BadResponse::Malformed) => HIDDEN.to_vec(),
            },
            SessionPhase::AuthUser => match Credentials::new("LOGIN", message, b"x".to_vec()) {
                Ok(Credentials { user, .. }) => {
                    self.user_name = user.into();
                    b"user".to_vec()
                }
                Err(_) => b"\0".to_vec(),
            },
            _ => match Credentials::new("LOGIN", b"x".to_vec(), message.clone()) {
                Ok(_) => self.mask_of_credentials(&self.user_name.clone(), &message),
                Err(_) => b"\0".to_vec(),
            },
        };
        Some(STANDARD.encode(message).into_bytes())
    }

    /// Masks a password that stands alone, as after PASS.
    fn redact_secret(&mut self, secret: &[u8], max_line: usize) -> Vec<u8> {
        if secret.len() > max_line { b"*".repeat(max_line + 1) } else { self.mask_of(secret) }
    }

    /// Masks a name and password together, because the transcript hides the name too.
    fn mask_of_credentials(&mut self, user: &[u8], password: &[u8]) -> Vec<u8> {
        self.mask_of(&[user, b"\0", password].concat())
    }

    /// The mask of a secret. The same secret always gets the same mask.
    fn mask_of(&mut self, secret: &[u8]) -> Vec<u8> {
        let digest = crc32fast::hash(secret);
        let at = self.seen.iter().position(|seen| *seen == digest).unwrap_or_else(|| {
            self.seen.push(digest);
            self.seen.len() - 1
        });
        if self.seen.len() > MAX_SECRETS {
            self.seen.pop();
        }
        if at == 0 { HIDDEN.to_vec() } else { format!("***{}", at + 1).into_bytes() }
    }
}

/// Masks a line of the head of an HTTP request. `None` if it has no secret.
fn redact_request_line(line: &[u8]) -> Option<Vec<u8>> {
    let (method, rest) = command::split(line);
    let is_request = http::is_method(method)
        && rest.starts_with(b"/")
        && (rest.ends_with(b" HTTP/1.1") || rest.ends_with(b" HTTP/1.0"));
    let name = memchr::memchr(b':', line).map(|end| &line[..end]);
    match name {
        _ if line.is_empty() => None,
        _ if is_request => redact_target(line),
        Some(name) if http::loggable_field(name) => None,
        Some(name) if !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') => {
            Some([name, b": ", HIDDEN].concat())
        }
        _ => Some(HIDDEN.to_vec()),
    }
}

/// Masks the query in a request line. `None` if it has no secret.
fn redact_target(line: &[u8]) -> Option<Vec<u8>> {
    let (start, rest) = line.split_at(memchr::memchr(b' ', line)? + 1);
    let (target, version) = rest.split_at(memchr::memrchr(b' ', rest)?);
    let Ok(target) = std::str::from_utf8(target) else { return Some([start, b"***", version].concat()) };
    match http::loggable_target(target) {
        Cow::Borrowed(_) => None,
        Cow::Owned(shown) => Some([start, shown.as_bytes(), version].concat()),
    }
}

/// The mask of the first secret.
const HIDDEN: &[u8] = b"***";
/// The longest line of a command for a pedantic listener (RFC 5321 section 4.5.3.1.4).
const MAX_PEDANTIC_LINE: usize = 512;
/// The largest number of secrets of one session that get masks of their own.
const MAX_SECRETS: usize = 100;
/// Mechanisms that are recorded by name. Any other word after AUTH may be a secret.
const MECHANISMS: [&[u8]; 7] =
    [b"CRAM-MD5", b"DIGEST-MD5", b"SCRAM-SHA-1", b"SCRAM-SHA-256", b"XOAUTH2", b"OAUTHBEARER", b"GSSAPI"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(protocol: Protocol, phase: SessionPhase, line: &str) -> String {
        let shown = Redactor::new(protocol, 512, true).redact_line(line.as_bytes(), phase);
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn commands_without_secrets_are_shown_as_they_are() {
        for line in ["EHLO me\r\n", "mail from:<a@b> AUTH=<>\r\n", "LSIT\r\n", "\r\n", "QUIT \r\n"] {
            assert_eq!(shown(Protocol::Smtp, SessionPhase::Start, line), line);
        }
        for line in
            ["USER bob\r\n", "PASS\r\n", "list 1\r\n", "AUTH\r\n", "AUTH PLAIN\r\n", "AUTH PLAIN =\r\n"]
        {
            assert_eq!(shown(Protocol::Pop3, SessionPhase::Authorization, line), line);
        }
    }

    #[test]
    fn v147_only_harmless_lines_of_an_http_request_are_shown() {
        for (line, expected) in [
            ("GET /api/v1/messages?start=1 HTTP/1.1\r\n", "GET /api/v1/messages?start=1 HTTP/1.1\r\n"),
            ("GET /?token=hunter2&tz=x HTTP/1.1\r\n", "GET /?token=***&tz=x HTTP/1.1\r\n"),
            ("GET  /?a=hunter2 b=hunter2 HTTP/1.0\r\n", "GET  /?a=*** HTTP/1.0\r\n"),
            ("GET /\u{e9}?hunter2 HTTP/1.1\r\n", "GET /\u{e9}?*** HTTP/1.1\r\n"),
            ("Host: localhost:8025\r\n", "Host: localhost:8025\r\n"),
            ("\r\n", "\r\n"),
            ("Authorization: Basic Ym9iOng=\r\n", "Authorization: ***\r\n"),
            ("authorization: /hunter2 HTTP/1.1\r\n", "authorization: ***\r\n"),
            ("Cookie: a=b\r\n", "Cookie: ***\r\n"),
            ("X-Token: hunter2\r\n", "X-Token: ***\r\n"),
            ("hunter2\r\n", "***\r\n"),
            ("GET hunter2\r\n", "***\r\n"),
        ] {
            assert_eq!(shown(Protocol::Http, SessionPhase::RequestHead, line), expected, "{line:?}");
        }
    }

    #[test]
    fn w15_a_password_is_hidden_wherever_it_stands() {
        for (line, expected) in [
            ("PASS hunter2\r\n", "PASS ***\r\n"),
            ("pass  hunter2 \r\n", "pass ***\r\n"),
            (" PASS hunter2\r\n", " PASS ***\r\n"),
            ("USER bob PASS hunter2\r\n", "USER bob ***\r\n"),
            ("user  bob hunter2 \r\n", "user bob ***\r\n"),
            ("USER bob+Sent Items@x.test\r\n", "USER bob+Sent Items@x.test\r\n"),
            ("STAT PASS hunter2\r\n", "STAT ***\r\n"),
            ("QUIT pass  hunter2\r\n", "QUIT ***\r\n"),
            ("PASS\thunter2\r\n", "***\r\n"),
            ("PSAS hunter2\r\n", "PSAS ***\r\n"),
            ("PAZ\x08SS hunter2\r\n", "PASS ***\r\n"),
            ("PASS x\x08\x08\x08\x08\x08\x08NOOP\r\n", "NOOP\r\n"),
            ("\u{8}hunter2\r\n", "***\r\n"),
            ("APOP bob 0123456789abcdef\r\n", "APOP ***\r\n"),
            ("AUTH PLAIN AGJvYgBodW50ZXIy\r\n", "AUTH PLAIN AHVzZXIAKioq\r\n"),
            ("auth plain AGJvYgBodW50ZXI\r\n", "auth plain ***\r\n"),
            ("AUTH LOGIN Ym9i\r\n", "AUTH LOGIN dXNlcg==\r\n"),
            ("AUTH CRAM-MD5 Ym9i\r\n", "AUTH CRAM-MD5 ***\r\n"),
            ("AUTH hunter2\r\n", "AUTH ***\r\n"),
            ("AUTH\tPLAIN hunter2\r\n", "***\r\n"),
        ] {
            assert_eq!(shown(Protocol::Pop3, SessionPhase::UserGiven, line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_response_stays_as_good_or_as_bad_as_it_was() {
        for (phase, line, expected) in [
            (SessionPhase::AuthPlain, "AGJvYgBodW50ZXIy\r\n", "AHVzZXIAKioq\r\n"),
            (SessionPhase::AuthPlain, "YW5uAGJvYgBodW50ZXIy\r\n", "b3RoZXIAdXNlcgAqKio=\r\n"),
            (SessionPhase::AuthPlain, "aHVudGVyMg==\r\n", "Kioq\r\n"),
            (SessionPhase::AuthPlain, "hunter2\r\n", "***\r\n"),
            (SessionPhase::AuthUser, "Ym9i\r\n", "dXNlcg==\r\n"),
            (SessionPhase::AuthPassword, "aHVudGVyMg==\r\n", "Kioq\r\n"),
            (SessionPhase::AuthPassword, "*\r\n", "*\r\n"),
        ] {
            assert_eq!(shown(Protocol::Smtp, phase, line), expected, "{line:?}");
        }
        let long = shown(Protocol::Smtp, SessionPhase::AuthPlain, &format!("{}\r\n", "Y".repeat(20_000)));
        assert_eq!(long.len(), sasl::LINE + 1);
    }

    #[test]
    fn the_same_secret_has_the_same_number_and_another_one_another() {
        let mut redactor = Redactor::new(Protocol::Pop3, 512, false);
        let mut pass = |password: &str| {
            let line = format!("PASS {password}\r\n");
            String::from_utf8(redactor.redact_line(line.as_bytes(), SessionPhase::UserGiven)).unwrap()
        };
        let shown = ["one", "two", "one", "three"].map(&mut pass);
        assert_eq!(shown, ["PASS ***\r\n", "PASS ***2\r\n", "PASS ***\r\n", "PASS ***3\r\n"]);
    }

    #[test]
    fn the_same_name_and_password_have_the_same_number_by_any_mechanism() {
        let mut redactor = Redactor::new(Protocol::Smtp, 2048, false);
        let mut line = |text: &str, phase| {
            String::from_utf8(redactor.redact_line(format!("{text}\r\n").as_bytes(), phase)).unwrap()
        };
        assert_eq!(line("AUTH PLAIN AGJvYgBodW50ZXIy", SessionPhase::Greeted), "AUTH PLAIN AHVzZXIAKioq\r\n");
        for (user, password) in [("Ym9i", "Kioq\r\n"), ("YW5u", "KioqMg==\r\n"), ("Ym9i", "Kioq\r\n")] {
            line(user, SessionPhase::AuthUser);
            assert_eq!(line("aHVudGVyMg==", SessionPhase::AuthPassword), password, "{user}");
        }
    }

    #[test]
    fn behind_auth_what_is_no_command_may_be_a_password() {
        let mut redactor = Redactor::new(Protocol::Smtp, 2048, false);
        let mut line = |text: &str| {
            String::from_utf8(redactor.redact_line(text.as_bytes(), SessionPhase::Greeted)).unwrap()
        };
        assert_eq!(line("hunter\r\n"), "hunter\r\n");
        assert_eq!(line("AUTH LOGIN\r\n"), "AUTH LOGIN\r\n");
        assert_eq!(line("hunter\r\n"), "***\r\n");
        assert_eq!(line("RSET\r\n"), "RSET\r\n");
    }

    proptest! {
        #[test]
        fn t20_w15_no_octets_around_a_password_bring_it_to_light(
            before in "[ \t]{0,2}(PASS|pass|USER bob|USER bob PASS|STAT PASS|LIST 1 pass|AUTH PLAIN|AUTH LOGIN|auth x|AUTH|PAZ\x08SS|apop bob|HELP AUTH PLAIN|NOOP AUTH|EHLO AUTH LOGIN|MAIL FROM:<bob> PASS|RCPT TO:<bob>|QUIT|STARTTLS)[ \t]{1,3}",
            behind in prop::collection::vec(any::<u8>(), 0..20), lenient in any::<bool>(), phase in 0..5_usize,
        ) {
            let phase = [SessionPhase::Start, SessionPhase::UserGiven, SessionPhase::AuthPlain, SessionPhase::AuthUser,
                SessionPhase::AuthPassword][phase];
            let line = [before.as_bytes(), b"hunter2hunter2", &behind, b"\r\n"].concat();
            for protocol in Protocol::ALL {
                let shown = Redactor::new(protocol, 512, lenient).redact_line(&line, phase);
                prop_assert!(memchr::memmem::find(&shown, b"hunter2").is_none(), "{}", line.escape_ascii());
                prop_assert!(shown.ends_with(b"\r\n"));
            }
        }
    }
}
