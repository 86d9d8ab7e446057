//! The login, from the password in USER and PASS or in AUTH PLAIN (RFC 5034) to the open mailbox.

use std::{sync::Arc, time::Duration};

use super::{
    command_table::CommandSpec,
    maildrop_view::MaildropView,
    pedantic::bare_line_feed,
    reply,
    state::{Pop3Session, State},
};
use crate::{
    printable::counted,
    proto::{
        Context, Progress, ProgressCounts, SessionStage, Step,
        buffer::{Inbox, Line, Outbox},
        event::Event,
        request::{Access, Failure, Mailbox, Maildrop, MaildropRequest, Request},
        sasl::{self, BadResponse, Credentials},
        telnet,
    },
};

impl Pop3Session {
    /// The progress of the login. Only a step towards the login counts, and USER counts once for each
    /// password.
    pub(super) fn login_progress(&self) -> Progress {
        use State::{Authorization, AwaitingUpdate, AwaitingVerify, DelayingReply, Expiring, Over, Plain};
        let at = match self.state {
            Authorization { .. } | Plain | DelayingReply { .. } | AwaitingVerify(_) | Over => {
                SessionStage::Unidentified
            }
            Expiring { .. } | AwaitingUpdate { .. } => SessionStage::Delivering,
            _ => SessionStage::Trusted(None),
        };
        let counts =
            ProgressCounts { commands: self.login_steps, advances: self.login_steps, served: self.logins };
        Progress { stage: at, counts }
    }

    /// Octets after STLS in clear text may come from an attacker. They are never run as commands, neither now
    /// nor under TLS.
    pub(super) fn stls(
        &mut self,
        rule: &CommandSpec,
        argument: Option<&[u8]>,
        last: bool,
        out: &mut Outbox,
    ) -> Step {
        match (argument, self.is_encrypted, self.config.protocol.stls) {
            (Some(_), ..) => self.refuse_arguments(rule, out),
            (None, true, _) => self.refuse(out, rule.name, reply::TLS_ALREADY),
            (None, false, false) => self.refuse(out, rule.name, reply::NO_TLS),
            (None, false, true) if !last => {
                self.close_with(out, "clear text after STLS", reply::PIPELINED_AFTER_STLS)
            }
            (None, false, true) => {
                reply::BEGIN_TLS.write_ok(self.language, out);
                Step::StartTls
            }
        }
    }

    /// True if the client may send a password on this connection.
    pub(super) fn passwords_allowed(&self) -> bool {
        self.config.protocol.plaintext_auth || self.is_encrypted
    }

    /// AUTH with a mechanism, and perhaps with an initial response.
    pub(super) fn auth(&mut self, argument: &[u8], out: &mut Outbox) -> Step {
        let mut words = argument.splitn(2, |&b| b == b' ');
        let mechanism = words.next().unwrap_or_default();
        if !mechanism.eq_ignore_ascii_case(b"PLAIN") {
            return self.refuse(out, "AUTH", reply::NO_SUCH_MECHANISM);
        }
        match words.next() {
            None => {
                out.line("+ "); // an empty challenge, including the blank (RFC 5034 section 4)
                self.state = State::Plain;
                Step::Continue
            }
            Some(b"=") => self.sasl_response(b"", out), // an empty response
            Some(text) => self.sasl_response(text, out),
        }
    }

    /// Processes the client's line after the challenge.
    pub(super) fn plain_step(&mut self, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        let line = match inbox.line(sasl::LINE, self.config.limits.connections.line_discard_limit) {
            Line::Partial => {
                self.state = State::Plain;
                return Step::Idle;
            }
            Line::NoLineEnd => return self.close_with(out, "endless line", reply::LINE_TOO_LONG),
            Line::TooLong => {
                self.state = State::Authorization { user: None };
                return self.refuse(out, "AUTH", reply::LINE_TOO_LONG);
            }
            Line::Complete(line) if self.config.pedantic && !line.ends_with(b"\r\n") => {
                return bare_line_feed(out);
            }
            Line::Complete(line) => telnet::typed_line(line, self.lenient(), out),
        };
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.state = State::Authorization { user: None };
        if text == b"*" { self.refuse(out, "AUTH", reply::CANCELLED) } else { self.sasl_response(text, out) }
    }

    fn sasl_response(&mut self, text: &[u8], out: &mut Outbox) -> Step {
        match sasl::decode(text).and_then(|message| Credentials::plain(&message)) {
            Ok(credentials) => self.verify(credentials),
            Err(BadResponse::Malformed) => self.refuse(out, "AUTH", reply::BAD_RESPONSE),
            Err(BadResponse::OtherIdentity) => self.refuse(out, "AUTH", reply::WRONG_PASSWORD),
        }
    }

    pub(super) fn verify(&mut self, credentials: Credentials) -> Step {
        let user = credentials.user.clone();
        let password = credentials.password.clone();
        self.state = State::AwaitingVerify(credentials);
        Step::Request(Request::Verify { user, password })
    }

    pub(super) fn verified(
        &mut self,
        cx: &Context<'_>,
        Credentials { mechanism, user, .. }: Credentials,
        mailbox: Mailbox,
        out: &mut Outbox,
    ) -> Step {
        self.login_steps += 1;
        self.logins += 1;
        out.push_event(Event::Login { user: loggable(&user, mechanism), mechanism, ok: true });
        self.open(cx, mailbox, cx.now.monotonic)
    }

    pub(super) fn open(&mut self, cx: &Context<'_>, mailbox: Mailbox, since: Duration) -> Step {
        self.state = State::AwaitingOpen { mailbox: mailbox.clone(), since };
        Step::Request(Request::Maildrop(MaildropRequest::Open {
            mailbox,
            access: Access::Exclusive,
            now: cx.now.monotonic,
        }))
    }

    pub(super) fn delay_refusal(
        &mut self,
        Credentials { mechanism, user, password }: Credentials,
        delay: Duration,
        out: &mut Outbox,
    ) -> Step {
        out.push_event(Event::Login { user: loggable(&user, mechanism), mechanism, ok: false });
        let last = self.failed_credentials.record(
            user,
            password,
            self.config.limits.auth.max_failures_per_connection,
        );
        self.state = State::DelayingReply { last };
        Step::Pause(delay)
    }

    pub(super) fn open_failed(
        &mut self,
        cx: &Context<'_>,
        mailbox: Mailbox,
        since: Duration,
        failure: Failure,
        out: &mut Outbox,
    ) -> Step {
        let waited = cx.now.monotonic.saturating_sub(since);
        if failure == Failure::InUse && waited < self.config.limits.pop3.lock_timeout.0 {
            self.state = State::WaitingForLock { mailbox, since };
            return Step::Pause(LOCK_RETRY_INTERVAL);
        }
        self.state = State::Authorization { user: None };
        self.refuse(out, "login", reply::failure_text(failure))
    }

    pub(super) fn opened(&mut self, mailbox: Mailbox, maildrop: Arc<dyn Maildrop>, out: &mut Outbox) -> Step {
        let messages = maildrop.len();
        let octets = maildrop.total();
        out.line(&format!("+OK {} ({})", counted(messages, "message"), counted(octets, "octet")));
        let read_only = mailbox.folder().is_some();
        out.push_event(Event::Opened { mailbox, messages, octets: Some(octets) });
        self.errors = 0;
        self.failed_credentials.clear();
        self.state = State::Transaction(Box::new(MaildropView::new(maildrop, read_only)));
        Step::Continue
    }
}

/// The user name for the log.
fn loggable(user: &str, mechanism: &str) -> String {
    let shown = if mechanism == USER { loggable_user(user.as_bytes()) } else { user.as_bytes() };
    String::from_utf8_lossy(shown).into_owned()
}

/// The part of the argument of USER that may be logged and recorded. People type `USER bob PASS secret` on one line, so
/// anything after the name may be a password. The name of a folder may have blanks: `bob+Sent Items@example.test`.
pub fn loggable_user(argument: &[u8]) -> &[u8] {
    let name = argument.trim_ascii();
    let mut end = 0;
    for word in name.split(u8::is_ascii_whitespace) {
        let next = end + usize::from(end > 0) + word.len();
        let in_folder = name[..end].contains(&b'+') && !name[..end].contains(&b'@');
        if end > 0 && (!in_folder || word.eq_ignore_ascii_case(b"PASS")) {
            return &name[..end];
        }
        end = next;
    }
    name
}

/// True if a line, or its beginning, is an AUTH command.
pub(super) fn is_auth(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "))
}

/// The name of USER and PASS in the log, beside the mechanisms of AUTH.
pub(super) const USER: &str = "USER";
/// The interval between attempts to lock a mailbox that another session has open.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::loggable_user;

    #[test]
    fn w15_only_the_name_after_user_is_logged() {
        for (argument, shown) in [
            ("bob", "bob"),
            ("  bob@example.test ", "bob@example.test"),
            ("bob PASS secret", "bob"),
            ("bob  secret", "bob"),
            ("bob\tsecret", "bob"),
            ("bob@example.test pass secret", "bob@example.test"),
            ("bob+Sent Items", "bob+Sent Items"),
            ("bob+Sent Items@example.test", "bob+Sent Items@example.test"),
            ("bob+Sent Items@example.test secret", "bob+Sent Items@example.test"),
            ("bob+Sent PASS secret", "bob+Sent"),
            ("", ""),
        ] {
            assert_eq!(loggable_user(argument.as_bytes()), shown.as_bytes(), "{argument}");
        }
    }
}
