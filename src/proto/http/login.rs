//! The login of a request: Basic (RFC 7617), with the passwords and the throttling of every other service.

use super::{
    session_config::LoginPolicy,
    state::{Exchange, HttpSession, State},
    status::{Refusal, Status},
};
use crate::proto::{
    Context, Step,
    buffer::Outbox,
    event::Event,
    request::{Failure, Request, Response, Secret},
    sasl::{self, BadResponse, Credentials},
};

impl HttpSession {
    /// Checks the credentials of a request, if it needs any.
    pub(super) fn authorize(
        &mut self,
        cx: &Context<'_>,
        mut exchange: Box<Exchange>,
        out: &mut Outbox,
    ) -> Step {
        let policy = self.config.protocol.login;
        if policy == LoginPolicy::Off || !exchange.access.is_of_users() {
            return self.receive_body(cx, exchange, None, out);
        }
        if policy == LoginPolicy::UnderTls && !self.is_encrypted {
            return self.refuse(&exchange.head, &TLS_NEEDED, None, out);
        }
        match exchange.head.authorization.take().map(|field| basic(&field)) {
            Some(Ok(credentials)) => {
                let (user, password) = (credentials.user.clone(), credentials.password.clone());
                self.state = State::AwaitingVerify(exchange, credentials);
                Step::Request(Request::Verify { user, password })
            }
            Some(Err(_)) | None => self.refuse_login(&exchange, out),
        }
    }

    pub(super) fn verified(
        &mut self,
        cx: &Context<'_>,
        exchange: Box<Exchange>,
        Credentials { mechanism, user, password }: Credentials,
        answer: Response,
        out: &mut Outbox,
    ) -> Step {
        match answer {
            Response::Verified(mailbox) => {
                // A client sends its password with each request: the log has the first one.
                if self.user.as_ref() != Some(&user) {
                    self.logins += 1;
                    out.push_event(Event::Login { user: user.clone(), mechanism, ok: true });
                    self.user = Some(user);
                }
                self.failed_credentials.clear();
                self.receive_body(cx, exchange, Some(mailbox), out)
            }
            Response::Failed(Failure::AuthFailed { delay }) => {
                out.push_event(Event::Login { user: user.clone(), mechanism, ok: false });
                let most = self.config.limits.auth.max_failures_per_connection;
                let mut exchange = exchange;
                exchange.head.keep_alive &= !self.failed_credentials.record(user, password, most);
                self.state = State::DelayingRefusal(exchange);
                Step::Pause(delay)
            }
            Response::Failed(Failure::Busy) => {
                self.refuse(&exchange.head, &TOO_MANY_LOGINS, Some(("Retry-After", "60")), out)
            }
            Response::Failed(failure) => self.refuse_failure(&exchange.head, failure, out),
            _ => Step::Abort, // no other response follows a password
        }
    }

    /// Asks for a name and a password.
    pub(super) fn refuse_login(&mut self, exchange: &Exchange, out: &mut Outbox) -> Step {
        let challenge = Some(("WWW-Authenticate", "Basic realm=\"restante\", charset=\"UTF-8\""));
        self.refuse(&exchange.head, &LOG_IN, challenge, out)
    }
}

/// The name and the password in a field `Authorization`.
fn basic(field: &Secret) -> Result<Credentials, BadResponse> {
    let (scheme, encoded) = field.reveal().split_at_checked(BASIC.len()).ok_or(BadResponse::Malformed)?;
    if !scheme.eq_ignore_ascii_case(BASIC) {
        return Err(BadResponse::Malformed);
    }
    let message = sasl::decode(encoded.trim_ascii())?;
    let at = memchr::memchr(b':', &message).ok_or(BadResponse::Malformed)?;
    Credentials::new("BASIC", message[..at].to_vec(), message[at + 1..].to_vec())
}

const BASIC: &[u8] = b"Basic ";
const LOG_IN: Refusal = Refusal::new(Status::UNAUTHORIZED, "Name and password of an account are needed");
const TOO_MANY_LOGINS: Refusal =
    Refusal::new(Status::TOO_MANY_REQUESTS, "Too many logins, or wrong passwords: try again in a minute");
const TLS_NEEDED: Refusal =
    Refusal::new(Status::FORBIDDEN, "Passwords are accepted under TLS only: use https");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_ends_the_name() {
        let parse = |field: &str| basic(&Secret::new(field)).map(|found| (found.user, found.password));
        let bob = Ok(("bob".to_owned(), Secret::new("se:cret")));
        assert_eq!(parse("Basic Ym9iOnNlOmNyZXQ="), bob);
        assert_eq!(parse("basic  Ym9iOnNlOmNyZXQ="), bob);
        for bad in
            ["", "Basic", "Basic ", "Basic !", "Basic Ym9i", "Basic OnNlY3JldA==", "Bearer Ym9iOnNlOmNyZXQ="]
        {
            assert_eq!(parse(bad), Err(BadResponse::Malformed), "{bad}");
        }
    }
}
