//! The commands that greet, build a message, and explain.

use std::mem;

use super::{
    command,
    refusal::CommandOutcome,
    reply::{self, Reply},
    session_config::{AuthPolicy, Kind},
    state::{
        ADVANCE_HELLO, ADVANCE_HELLO_AFTER_TLS, ADVANCE_SENDER, ClientIdentity, OpenTransaction, SmtpSession,
        State,
    },
    trace,
};
use crate::proto::{
    Context, is_limit_reached,
    recipients::{NotAdded, RecipientBounds},
    request::{Envelope, Failure, Lookup, Mailbox, ReceiveRequest, Request},
};

impl SmtpSession {
    pub(super) fn hello(&mut self, argument: &[u8], extended: bool) -> Result<CommandOutcome, Reply> {
        let name = command::client_name(argument, self.config.syntax())?;
        // Its address stands for a name that must not be in a header.
        let name = name.unwrap_or_else(|| trace::address_literal(self.peer));
        // A repeated hello does not advance the session.
        if self.client.is_none() {
            self.record_advance(if self.is_encrypted { ADVANCE_HELLO_AFTER_TLS } else { ADVANCE_HELLO });
        }
        self.client = Some(ClientIdentity { name, extended });
        let mut lines = vec![self.config.hostname.clone()];
        if extended {
            lines.extend(self.extensions());
        }
        Ok(self.reset_transaction(Reply::new(250, "", "").with_text(lines.join("\n"))))
    }

    /// The extensions that EHLO lists: those that work on this connection now.
    fn extensions(&self) -> Vec<String> {
        let size = self.config.limits.smtp.max_message_size.0;
        let recipients = self.max_recipients();
        let mut lines = vec![
            "PIPELINING".into(),
            format!("SIZE {size}"),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "ENHANCEDSTATUSCODES".into(),
            "CHUNKING".into(),
            format!("LIMITS RCPTMAX={recipients}"),
        ];
        if self.config.protocol.policy.starttls && !self.is_encrypted {
            lines.push("STARTTLS".into());
        }
        if self.offers_auth() {
            lines.push("AUTH PLAIN LOGIN".into());
        }
        lines.push("HELP".into());
        lines
    }

    /// The recipient limit of one message. LIMITS announces it (RFC 9422), and RCPT enforces it.
    fn max_recipients(&self) -> usize {
        let limits = &self.config.limits;
        if self.is_authenticated() {
            limits.smtp.max_recipients
        } else {
            limits.smtp.max_recipients_unauthenticated
        }
    }

    /// The reply to message data without a recipient. LMTP has another code (RFC 2033 section 4.2).
    pub(super) fn no_recipients(&self) -> Reply {
        if self.config.is_lmtp() { reply::NO_RECIPIENTS_LMTP } else { reply::NO_RECIPIENTS }
    }

    /// Discards the message begun, and returns the reply. If the backend has chunks of it, they are discarded
    /// first.
    pub(super) fn reset_transaction(&mut self, reply: Reply) -> CommandOutcome {
        self.accepted.clear();
        match mem::replace(&mut self.state, State::Idle) {
            State::Chunks(_) => {
                self.state = State::AwaitingDiscard { reply, last: true };
                CommandOutcome::Request(Request::Receive(ReceiveRequest::Discard))
            }
            _ => CommandOutcome::Reply(reply),
        }
    }

    pub(super) fn mail(&mut self, cx: &Context<'_>, argument: &[u8]) -> Result<CommandOutcome, Reply> {
        let limits = &self.config.limits;
        let policy = &self.config.protocol.policy;
        if policy.kind == Kind::Submission && self.user.is_none() && !policy.trusted {
            let in_clear = policy.auth == AuthPolicy::UnderTls && !self.is_encrypted;
            return Err(match (in_clear, policy.starttls) {
                (true, true) => reply::TLS_NEEDED,
                (true, false) => reply::TLS_NEEDED.with_text(reply::NO_LOGIN_IN_CLEAR),
                (false, _) => reply::AUTHENTICATION_NEEDED,
            });
        }
        if !self.is_authenticated()
            && is_limit_reached(self.messages, limits.smtp.max_messages_unauthenticated)
        {
            return Err(reply::TOO_MANY_MESSAGES);
        }
        let mail = command::mail(argument, self.config.syntax())?;
        if mail.size > limits.smtp.max_message_size.0 {
            return Err(reply::TOO_BIG);
        }
        if let (Some(user), Some(from)) = (&self.user, &mail.from)
            && !cx.directory.may_send_as(user, from)
        {
            return Err(reply::NOT_YOUR_ADDRESS);
        }
        let id = format!("{}-{}", self.id, self.messages + 1);
        self.accepted.clear();
        self.eight_bit = mail.eight_bit;
        let keeps = |user: &&Mailbox| cx.directory.wants_sent_copy(user);
        let sent = self.user.as_ref().filter(keeps).cloned();
        let envelope = Envelope {
            id,
            from: mail.from,
            utf8: mail.utf8,
            to: Vec::new(),
            has_several_addresses: false,
            sent_copy_for: sent,
        };
        self.state = State::AwaitingSpace(Box::new(envelope));
        Ok(CommandOutcome::Request(Request::Receive(ReceiveRequest::CheckSpace { size: mail.size })))
    }

    pub(super) fn rcpt(&mut self, cx: &Context<'_>, argument: &[u8]) -> Result<CommandOutcome, Reply> {
        let syntax = self.config.syntax();
        let most = self.max_recipients();
        let of_a_bounce = self.config.limits.smtp.max_recipients_null_sender;
        let State::Transaction(transaction) = &mut self.state else { return Err(reply::BAD_SEQUENCE) };
        let OpenTransaction { envelope, known, rcpts } = &mut **transaction;
        let is_held = envelope.from.is_none() && of_a_bounce > 0;
        let most = if is_held { most.min(of_a_bounce) } else { most };
        let address = command::rcpt(argument, syntax, envelope.utf8)?;
        // A repeated recipient counts again, because its lookup costs as much (RFC 5321 section 4.5.3.1.10).
        if *rcpts >= most {
            return Err(reply::TOO_MANY_RECIPIENTS);
        }
        let destinations = match cx.directory.lookup(&address) {
            Lookup::Local(destinations) => destinations,
            Lookup::Foreign => return Err(reply::NO_RELAY),
            Lookup::Unknown => return Err(reply::NO_SUCH_USER),
            Lookup::Refused(code) => return Err(reply::injected_reply(code)),
        };
        let bounds = RecipientBounds { most, max_mailboxes: self.config.limits.smtp.max_mailboxes };
        let (examined, added) = known.add(envelope, (&address, &destinations), bounds, cx.directory);
        self.work += examined;
        added.map_err(|why| match why {
            NotAdded::Full => reply::failure_reply(Failure::Quota),
            NotAdded::TooMany => reply::TOO_MANY_RECIPIENTS,
            NotAdded::ListTooLong => reply::LIST_TOO_LONG,
        })?;
        *rcpts += 1;
        let led_to = ADVANCE_SENDER + *rcpts;
        if self.config.is_lmtp() {
            self.accepted.push((address, destinations));
        }
        self.record_advance(led_to);
        Ok(CommandOutcome::Reply(reply::RECIPIENT_OK))
    }

    pub(super) fn data(&mut self) -> Result<CommandOutcome, Reply> {
        match mem::replace(&mut self.state, State::Idle) {
            State::Transaction(transaction) if !transaction.envelope.to.is_empty() => {
                self.state = State::AwaitingBegin(transaction.envelope, None);
                Ok(CommandOutcome::Request(Request::Receive(ReceiveRequest::Begin)))
            }
            state => {
                self.state = state;
                Err(self.no_recipients())
            }
        }
    }

    pub(super) fn help(&self, argument: &[u8]) -> Result<CommandOutcome, Reply> {
        let text = if argument.is_empty() {
            self.config.overview()
        } else {
            // `HELP MAIL FROM` is about MAIL.
            let (name, _) = command::split(argument);
            let rule = self.config.command(name);
            rule.ok_or_else(|| reply::BAD_ARGUMENT.with_text("No such command, try HELP"))?.help()
        };
        Ok(CommandOutcome::Reply(Reply::new(214, "2.0.0", "").with_text(text)))
    }
}
