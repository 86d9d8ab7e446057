//! The login: STARTTLS, LOGIN, AUTHENTICATE PLAIN (RFC 4616) with or without its response in the same line (RFC 4959).

use std::time::Duration;

use super::{
    command_state::Tag,
    reply,
    request::{ImapRequest, ImapResponse, Refusal},
    response::writer::{Condition, Items, continuation},
    state::{ImapSession, State},
};
use crate::proto::{
    Step,
    buffer::{Inbox, Line, Outbox},
    event::Event,
    request::{Failure, Mailbox, Request, Response, Secret},
    sasl::{self, BadResponse, Credentials},
};

impl ImapSession {
    /// Octets after STARTTLS in clear text may come from an attacker. They are never run as commands, neither now nor
    /// under TLS. `last`: no input follows the command.
    pub(super) fn starttls(&mut self, tag: &Tag, last: bool, out: &mut Outbox) -> Step {
        if self.is_encrypted {
            self.refuse(tag, Condition::Bad, "STARTTLS", reply::TLS_ALREADY, out)
        } else if !self.config.protocol.starttls {
            self.refuse(tag, Condition::No, "STARTTLS", reply::NO_TLS, out)
        } else if !last {
            self.close_with(out, "clear text after STARTTLS", reply::PIPELINED_AFTER_STARTTLS)
        } else {
            self.write(tag, Condition::Ok, reply::BEGIN_TLS, out);
            Step::StartTls
        }
    }

    pub(super) fn login(&mut self, tag: Tag, user: Vec<u8>, password: &Secret, out: &mut Outbox) -> Step {
        if !self.passwords_allowed() {
            return self.refuse(&tag, Condition::No, "LOGIN", reply::TLS_NEEDED, out);
        }
        match Credentials::new("LOGIN", user, password.reveal().to_vec()) {
            Ok(credentials) => self.verify(tag, credentials),
            // No account has such a name, or a password with a NUL.
            Err(_) => self.refuse(&tag, Condition::No, "LOGIN", reply::WRONG_PASSWORD, out),
        }
    }

    pub(super) fn authenticate(
        &mut self,
        tag: Tag,
        mechanism: &str,
        initial: Option<Vec<u8>>,
        out: &mut Outbox,
    ) -> Step {
        if mechanism != "PLAIN" {
            return self.refuse(&tag, Condition::No, "AUTHENTICATE", reply::NO_SUCH_MECHANISM, out);
        }
        if !self.passwords_allowed() {
            return self.refuse(&tag, Condition::No, "AUTHENTICATE", reply::TLS_NEEDED, out);
        }
        match initial.as_deref() {
            None => {
                continuation(out.buffer(), ""); // an empty challenge, including the blank (RFC 3501 section 7.5)
                self.state = State::Plain { tag };
                Step::Continue
            }
            Some(b"=") => self.sasl_response(tag, b"", out), // an empty response
            Some(text) => self.sasl_response(tag, text, out),
        }
    }

    /// Processes the client's line after the challenge.
    pub(super) fn plain_step(&mut self, tag: Tag, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        let line = inbox.line(sasl::LINE, self.config.limits.connections.line_discard_limit);
        let line = match self.typed(line, out) {
            Line::Partial => {
                self.state = State::Plain { tag };
                return Step::Idle;
            }
            Line::NoLineEnd => return self.close_with(out, "endless line", reply::TOO_LONG),
            Line::TooLong => {
                self.state = State::Ready;
                return self.refuse(&tag, Condition::Bad, "AUTHENTICATE", reply::TOO_LONG, out);
            }
            Line::Complete(line) if self.is_bare(&line) => return self.refuse_bare_line_feed(out),
            Line::Complete(line) => line,
        };
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.state = State::Ready;
        if text == b"*" {
            self.refuse(&tag, Condition::Bad, "AUTHENTICATE", reply::CANCELLED, out)
        } else {
            self.sasl_response(tag, text, out)
        }
    }

    fn sasl_response(&mut self, tag: Tag, text: &[u8], out: &mut Outbox) -> Step {
        match sasl::decode(text).and_then(|message| Credentials::plain(&message)) {
            Ok(credentials) => self.verify(tag, credentials),
            Err(BadResponse::Malformed) => {
                self.refuse(&tag, Condition::Bad, "AUTHENTICATE", reply::BAD_RESPONSE, out)
            }
            Err(BadResponse::OtherIdentity) => {
                self.refuse(&tag, Condition::No, "AUTHENTICATE", reply::WRONG_PASSWORD, out)
            }
        }
    }

    fn verify(&mut self, tag: Tag, credentials: Credentials) -> Step {
        let (user, password) = (credentials.user.clone(), credentials.password.clone());
        self.state = State::AwaitingVerify { tag, credentials };
        Step::Request(Request::Verify { user, password })
    }

    pub(super) fn verified(
        &mut self,
        tag: Tag,
        credentials: Credentials,
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        self.state = State::Ready;
        match response {
            Response::Verified(mailbox) => {
                let Credentials { mechanism, user, .. } = credentials;
                self.login_steps += 1;
                self.logins += 1;
                out.push_event(Event::Login { user, mechanism, ok: true });
                let user = mailbox.without_folder();
                self.state = State::AwaitingPrepare { tag, user: user.clone() };
                Step::Request(Request::Imap(ImapRequest::Prepare { mailbox: user }))
            }
            Response::Failed(Failure::AuthFailed { delay }) => {
                self.delay_refusal(tag, credentials, delay, out)
            }
            Response::Failed(failure) => {
                self.refuse(&tag, Condition::No, "login", reply::failure_text(failure), out)
            }
            _ => self.close_with(out, "internal error", reply::INTERNAL),
        }
    }

    fn delay_refusal(
        &mut self,
        tag: Tag,
        Credentials { mechanism, user, password }: Credentials,
        delay: Duration,
        out: &mut Outbox,
    ) -> Step {
        out.push_event(Event::Login { user: user.clone(), mechanism, ok: false });
        let most = self.config.limits.auth.max_failures_per_connection;
        let last = self.failed_credentials.record(user, password, most);
        self.state = State::DelayingReply { tag, last };
        Step::Pause(delay)
    }

    /// Writes the delayed reply to a wrong password.
    pub(super) fn refuse_login(&mut self, tag: &Tag, last: bool, out: &mut Outbox) -> Step {
        self.state = State::Ready;
        if last {
            self.write(tag, Condition::No, reply::WRONG_PASSWORD, out);
            return self.close_with(out, "too many wrong passwords", reply::TOO_MANY_PASSWORDS);
        }
        self.refuse(tag, Condition::No, "login", reply::WRONG_PASSWORD, out)
    }

    /// The folders of the user are there.
    pub(super) fn prepared(
        &mut self,
        tag: &Tag,
        user: Mailbox,
        response: Response,
        out: &mut Outbox,
    ) -> Step {
        self.state = State::Ready;
        match response {
            Response::Imap(ImapResponse::Refused(refusal @ Refusal::TooManySessions)) => {
                self.no(tag, "login", reply::refusal_text(refusal, false), out)
            }
            // A folder that could not be made is no reason to refuse the others.
            Response::Imap(ImapResponse::Done | ImapResponse::Refused(_)) => {
                self.user = Some(user);
                self.errors = 0;
                self.failed_credentials.clear();
                let code = |code: &mut Items<'_>| {
                    code.atom("CAPABILITY");
                    self.write_capabilities(code);
                };
                self.write_with(tag, Condition::Ok, code, reply::LOGGED_IN, out);
                Step::Continue
            }
            Response::Failed(failure) => {
                self.refuse(tag, Condition::No, "login", reply::failure_text(failure), out)
            }
            _ => self.close_with(out, "internal error", reply::INTERNAL),
        }
    }
}
