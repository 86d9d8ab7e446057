//! AUTH (RFC 4954) with PLAIN and LOGIN, and STARTTLS (RFC 3207).
//!
//! The rule: octets that a client sends in an exchange are never in a reply, and never in the log.

use super::{
    command,
    refusal::CommandOutcome,
    reply::{self, Reply},
    session_config::AuthPolicy,
    state::{SaslExchange, SmtpSession, State},
};
use crate::proto::{
    Step,
    buffer::{Inbox, Line, Outbox},
    event::Event,
    request::{Failure, Mailbox, Request, Response},
    sasl::{self, BadResponse, Credentials},
    telnet,
};

impl SmtpSession {
    /// True if AUTH is possible on this connection now.
    pub(super) fn offers_auth(&self) -> bool {
        let clear_enough = self.config.protocol.policy.auth == AuthPolicy::InClear || self.is_encrypted;
        self.config.protocol.policy.auth != AuthPolicy::Off && clear_enough && self.user.is_none()
    }

    pub(super) fn auth(&mut self, argument: &[u8]) -> Result<CommandOutcome, Reply> {
        if self.user.is_some() {
            return Err(reply::BAD_SEQUENCE.with_text("You are logged in already"));
        }
        if !self.offers_auth() {
            return Err(if self.config.protocol.policy.starttls {
                reply::ENCRYPTION_NEEDED
            } else {
                reply::ENCRYPTION_NEEDED.with_text(reply::NO_LOGIN_IN_CLEAR)
            });
        }
        let (mechanism, initial) = command::split(argument);
        let exchange = match mechanism.to_ascii_uppercase().as_slice() {
            b"PLAIN" => SaslExchange::Plain,
            b"LOGIN" => SaslExchange::LoginUser,
            b"" => return Err(reply::BAD_ARGUMENT),
            _ => return Err(reply::UNKNOWN_MECHANISM),
        };
        match initial {
            b"" => Ok(self.challenge(exchange)),
            b"=" => self.sasl_response(exchange, Vec::new()), // an empty response (RFC 4954 section 4)
            text => self.sasl_response(exchange, sasl::decode(text).map_err(sasl_refusal)?),
        }
    }

    fn challenge(&mut self, exchange: SaslExchange) -> CommandOutcome {
        let challenge = exchange.challenge();
        self.state = State::Auth(exchange);
        CommandOutcome::Reply(challenge)
    }

    fn sasl_response(&mut self, exchange: SaslExchange, response: Vec<u8>) -> Result<CommandOutcome, Reply> {
        let credentials = match exchange {
            SaslExchange::Plain => Credentials::plain(&response),
            SaslExchange::LoginUser => return Ok(self.challenge(SaslExchange::LoginPassword(response))),
            SaslExchange::LoginPassword(user) => Credentials::new("LOGIN", user, response),
        };
        let credentials = credentials.map_err(sasl_refusal)?;
        let user = credentials.user.clone();
        let password = credentials.password.clone();
        self.state = State::AwaitingVerify(credentials);
        Ok(CommandOutcome::Request(Request::Verify { user, password }))
    }

    /// Processes the client's next line in an exchange.
    pub(super) fn auth_step(&mut self, exchange: SaslExchange, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        let line = match inbox.line(sasl::LINE, self.config.limits.connections.line_discard_limit) {
            Line::Partial => {
                self.state = State::Auth(exchange);
                return Step::Idle;
            }
            Line::NoLineEnd => return self.close_with(out, "endless line", &reply::TOO_MUCH),
            Line::TooLong => return self.refuse(out, b"AUTH", &reply::EXCHANGE_TOO_LONG),
            Line::Complete(line) => telnet::typed_line(line, self.lenient(), out),
        };
        if !self.lenient() {
            if !line.ends_with(b"\r\n") {
                return self.close_with(out, "bare LF", &reply::BAD_LINE);
            }
            if !inbox.is_empty() {
                return self.close_with_at(out, "improper pipelining", &reply::ILLEGAL_PIPELINING, b"AUTH");
            }
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let said = match text {
            b"*" => Err(reply::CANCELLED),
            text => sasl::decode(text)
                .map_err(sasl_refusal)
                .and_then(|response| self.sasl_response(exchange, response)),
        };
        self.finish_command(said, b"AUTH", out)
    }

    pub(super) fn verified(
        &mut self,
        Credentials { mechanism, user, password }: Credentials,
        answer: Response,
        out: &mut Outbox,
    ) -> Step {
        match answer {
            Response::Verified(mailbox) => {
                self.logged_in(mailbox);
                reply::AUTHENTICATED.write(out);
                out.push_event(Event::Login { user, mechanism, ok: true });
                Step::Continue
            }
            Response::Failed(Failure::AuthFailed { delay }) => {
                out.push_event(Event::Login { user: user.clone(), mechanism, ok: false });
                let last = self.failed_credentials.record(
                    user,
                    password,
                    self.config.limits.auth.max_failures_per_connection,
                );
                self.state = State::DelayingReply { last };
                Step::Pause(delay)
            }
            Response::Failed(Failure::Busy) => {
                write_temporary_failure(&reply::failure_reply(Failure::Busy), out)
            }
            _ => write_temporary_failure(&reply::CANNOT_AUTHENTICATE, out),
        }
    }

    fn logged_in(&mut self, mailbox: Mailbox) {
        self.user = Some(mailbox);
        self.record_service();
        self.failed_credentials.clear();
        self.errors = 0;
    }

    /// Writes the reply to a wrong password, after its delay.
    pub(super) fn refuse_login(&mut self, last: bool, out: &mut Outbox) -> Step {
        match self.refuse(out, b"AUTH", &reply::AUTH_FAILED) {
            Step::Close => Step::Close,
            _ if last => self.close_with(out, "too many wrong passwords", &reply::TOO_MUCH),
            step => step,
        }
    }

    pub(super) fn starttls(&mut self, argument: &[u8], inbox: &Inbox, out: &mut Outbox) -> Step {
        if self.is_encrypted {
            let reply = reply::BAD_SEQUENCE.with_text("TLS is active already");
            return self.refuse(out, b"STARTTLS", &reply);
        }
        if !argument.is_empty() {
            return self.refuse(out, b"STARTTLS", &reply::BAD_ARGUMENT);
        }
        // Octets after the command came in clear text, perhaps from an attacker in between. They must not
        // become part of the encrypted session (CVE-2011-0411). Lenient listeners enforce this too.
        if !inbox.is_empty() {
            let why = "clear text behind STARTTLS";
            return self.close_with_at(out, why, &reply::ILLEGAL_PIPELINING, b"STARTTLS");
        }
        reply::START_TLS.write(out);
        Step::StartTls
    }
}

/// Writes a reply for a failure of the server. It does not count as an error of the client.
fn write_temporary_failure(reply: &Reply, out: &mut Outbox) -> Step {
    reply.write(out);
    out.push_event(Event::Refused { what: "AUTH".into(), reply: reply.codes() });
    Step::Continue
}

fn sasl_refusal(why: BadResponse) -> Reply {
    match why {
        BadResponse::Malformed => reply::BAD_RESPONSE,
        BadResponse::OtherIdentity => reply::AUTH_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        rc::Rc,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{
        clock::Now,
        limits::Limits,
        proto::{
            Context, Encryption, Session,
            dot::LineEndings,
            request::{ConnId, Lookup},
            smtp::{Kind, Persona, Policy, SessionConfig, SmtpConfig, address::Address},
            syntax::Syntax,
        },
    };

    /// Everything that a session writes to the client and to the log.
    fn everything_said(auth: AuthPolicy, lines: &[&str], answer: fn() -> Response) -> String {
        let policy = Policy { kind: Kind::Submission, auth, starttls: true, trusted: false };
        let (line_endings, limits) = (LineEndings::Lenient, Limits::for_development());
        let rules = SessionConfig {
            hostname: "mx.test".into(),
            line_endings,
            syntax: Syntax::default(),
            limits,
            pedantic: false,
            protocol: SmtpConfig { persona: Persona::Modern, policy },
        };
        let mut session = SmtpSession::new(Rc::new(rules), [192, 0, 2, 1].into(), ConnId(1));
        let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
        let cx = Context { now, directory: &|_: &Address| Lookup::Unknown };
        let (mut inbox, mut out) = (Inbox::default(), Outbox::default());
        for line in lines {
            inbox.push(format!("{line}\r\n").as_bytes());
            let mut step = session.step(&cx, &mut inbox, &mut out);
            loop {
                step = match step {
                    Step::Idle | Step::Close | Step::Abort => break,
                    Step::Request(_) => session.respond(&cx, answer(), &mut out),
                    Step::StartTls => {
                        session.tls_started(&cx, Encryption { version: "1.3", cipher: "" });
                        Step::Continue
                    }
                    Step::Continue | Step::Pause(_) => session.step(&cx, &mut inbox, &mut out),
                };
            }
        }
        let events = out.take_events();
        format!("{}{events:?}", String::from_utf8_lossy(out.pending()))
    }

    #[test]
    fn t20_no_password_is_said_or_logged_wherever_it_comes() {
        // The user bob and the password hunter2hunter2, encoded for PLAIN and for LOGIN.
        let (plain, user, password) = ("AGJvYgBodW50ZXIyaHVudGVyMg==", "Ym9i", "aHVudGVyMmh1bnRlcjI=");
        let answers: [fn() -> Response; 3] = [
            || Response::Failed(Failure::AuthFailed { delay: Duration::ZERO }),
            || Response::Failed(Failure::Busy),
            || Response::Verified(Mailbox::named("bob").unwrap()),
        ];
        let initial = format!("AUTH PLAIN {plain}");
        let tab = format!("AUTH\tPLAIN {plain}");
        let nul = format!("{initial}\0");
        let login = format!("auth login {user}");
        for auth in [AuthPolicy::Off, AuthPolicy::UnderTls, AuthPolicy::InClear] {
            for answer in answers {
                for lines in [
                    &[initial.as_str(), "EHLO x", &initial, "MAIL FROM:<>", &initial, &initial][..],
                    &["EHLO x", "AUTH PLAIN", plain, plain, "NOOP"],
                    &["EHLO x", "AUTH LOGIN", user, password, password],
                    &["EHLO x", &login, password, password, "STARTTLS", password, "EHLO x", &login, password],
                    &["EHLO x", &tab, password, &nul, "AUTH XLOGIN", user, password],
                    &["EHLO x", "AUTH PLAIN", &password[1..], "AUTH LOGIN", "*", password],
                ] {
                    let said = everything_said(auth, lines, answer);
                    for secret in [plain, password, &password[1..], "hunter2"] {
                        assert!(!said.contains(secret), "{auth:?} {lines:?}: {said}");
                    }
                }
            }
        }
    }
}
