//! An SMTP session: dispatches commands and responses. `transaction` builds a message, `data`, `bdat` and
//! `end_of_data` handle its data, `login` has AUTH and STARTTLS, `lmtp` has the replies of LMTP, and
//! `refusal` has refusals. All of them act on `state`; none reads a clock, a socket or a disk.

use std::mem;

use super::{
    command,
    command_table::Verb,
    message_body::Framing,
    refusal::CommandOutcome,
    reply,
    session_config::{Kind, Persona},
    state::{ADVANCE_BODY, ADVANCE_SENDER, ADVANCE_TLS, AfterReplies, OpenTransaction, SmtpSession, State},
};
use crate::proto::{
    Context, Encryption, EndReason, Progress, ResetOn, Session, SessionPhase, SessionStage, Step,
    TLS_HANDSHAKE, Timeouts,
    buffer::{Inbox, Line, Outbox},
    dot::Decoder,
    event::Event,
    is_http_method, is_http_request,
    request::{Failure, Response},
    sasl, telnet,
};

impl SmtpSession {
    fn command_step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if self.client.is_none() && inbox.line_start().starts_with(TLS_HANDSHAKE) {
            return self.close_with(out, "TLS handshake", &reply::NOT_TLS);
        }
        // Two rules end a session at HTTP: this one sees a line that is too long to be read whole, and the one in `command` a method
        // without a target.
        if is_http_request(inbox.line_start()) {
            return self.close_with(out, "HTTP", &reply::NOT_SMTP);
        }
        let limits = &self.config.limits;
        let start = self.config.syntax().command(inbox.line_start());
        // AUTH may include its initial response.
        let may_be_long = self.offers_auth() && command::is_auth(start);
        let longest = if may_be_long {
            limits.smtp.max_line_length.max(sasl::LINE)
        } else {
            limits.smtp.max_line_length
        };
        let bdat = mem::take(&mut self.in_bdat) || command::is_bdat(start);
        match inbox.line(longest, limits.connections.line_discard_limit) {
            Line::Partial => {
                self.in_bdat = bdat;
                Step::Idle
            }
            // The announced size is lost with the line.
            Line::TooLong if bdat => self.close_with(out, "invalid BDAT size", &reply::BAD_CHUNK),
            Line::NoLineEnd => self.close_with(out, "endless line", &reply::TOO_MUCH),
            Line::TooLong => self.refuse(out, b"long line", &reply::LINE_TOO_LONG),
            Line::Complete(line) if self.lenient() => {
                let line = telnet::typed_line(line, true, out);
                self.command(cx, &line, inbox, out)
            }
            // An attacker may have smuggled in the octets after a bare LF as a command, so the session reads
            // no more from this client.
            Line::Complete(line) if !line.ends_with(b"\r\n") => {
                self.close_with(out, "bare LF", &reply::BAD_LINE)
            }
            Line::Complete(line) => self.command(cx, &line, inbox, out),
        }
    }

    fn command(&mut self, cx: &Context<'_>, line: &[u8], inbox: &Inbox, out: &mut Outbox) -> Step {
        let line = self.config.syntax().command(line);
        let (verb, argument) = command::split(line);
        if is_http_method(verb) {
            return self.close_with(out, "HTTP", &reply::NOT_SMTP);
        }
        self.auth_seen |= command::is_auth(line);
        if command::is_bdat(line) {
            return self.bdat(line, out);
        }
        if self.config.pedantic
            && let Some(broken) = self.violated_rule(line, self.config.command(verb))
        {
            return self.refuse(out, line, &broken);
        }
        if memchr::memchr(0, line).is_some() {
            return self.refuse(out, line, &reply::BAD_LINE);
        }
        let Some(rule) = self.config.command(verb) else {
            return self.refuse(out, line, &reply::UNKNOWN_COMMAND);
        };
        if self.config.pedantic && self.is_out_of_sync(rule.verb, inbox) {
            return self.close_with_at(out, "improper pipelining", &reply::ILLEGAL_PIPELINING, line);
        }
        if !rule.allowed.contains(&self.phase()) {
            return self.refuse(out, line, &self.out_of_order(rule));
        }
        if rule.verb.is_junk() && self.is_over_junk_limit() {
            return self.close_with(out, "junk commands", &reply::TOO_MUCH);
        }
        let in_step = self.lenient() || inbox.is_empty();
        let no_argument = argument.is_empty();
        let done = match rule.verb {
            Verb::Unimplemented | Verb::Bdat => Err(self.not_implemented(rule)),
            Verb::Data | Verb::Rset | Verb::Quit if !no_argument => Err(reply::BAD_ARGUMENT),
            // A client that continues before it has read these replies may be under attack (fault C10). EHLO
            // followed by QUIT is an exception, because Thunderbird's account set-up sends them together.
            Verb::Data if !in_step => {
                return self.close_with_at(out, "improper pipelining", &reply::ILLEGAL_PIPELINING, line);
            }
            Verb::Ehlo | Verb::Helo | Verb::Lhlo if !in_step && !is_only_quit(inbox) => {
                return self.close_with_at(out, "improper pipelining", &reply::ILLEGAL_PIPELINING, line);
            }
            Verb::Auth if !in_step => {
                return self.close_with_at(out, "improper pipelining", &reply::ILLEGAL_PIPELINING, line);
            }
            Verb::Auth => self.auth(argument),
            Verb::Starttls => return self.starttls(argument, inbox, out),
            Verb::Ehlo | Verb::Lhlo => self.hello(argument, true),
            Verb::Helo => self.hello(argument, false),
            Verb::Mail => self.mail(cx, argument),
            Verb::Rcpt => self.rcpt(cx, argument),
            Verb::Data => self.data(),
            Verb::Rset => Ok(self.reset_transaction(reply::OK)),
            Verb::Noop => Ok(CommandOutcome::Reply(reply::OK)),
            Verb::Vrfy if no_argument => Err(reply::BAD_ARGUMENT),
            Verb::Vrfy => Ok(CommandOutcome::Reply(reply::CANNOT_VERIFY)),
            Verb::Help => self.help(argument),
            Verb::Quit => {
                reply::BYE.write(out);
                return Step::Close;
            }
        };
        self.finish_command(done, line, out)
    }
}

impl Session for SmtpSession {
    fn greet(&mut self, _: &Context<'_>, out: &mut Outbox) -> Step {
        let protocol = match self.config.protocol.persona {
            _ if self.config.is_lmtp() => "LMTP",
            Persona::Modern => "ESMTP",
            Persona::Rfc821 => "SMTP",
        };
        out.line(&format!("220 {} {protocol} restante", self.config.hostname));
        Step::Continue
    }

    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Idle) {
            State::Data(body) => self.data_step(cx, body, inbox, out),
            State::Chunks(body) if body.is_spill_requested() => self.spill_now(body),
            State::SkippingChunk(chunk) => self.skip_chunk_step(cx, chunk, inbox, out),
            State::Auth(exchange) => self.auth_step(exchange, inbox, out),
            State::DelayingReply { last } => self.refuse_login(last, out),
            State::WritingReplies(replies) => self.write_next_replies(replies, out),
            state => {
                self.state = state;
                self.command_step(cx, inbox, out)
            }
        }
    }

    fn respond(&mut self, cx: &Context<'_>, response: Response, out: &mut Outbox) -> Step {
        let failure = match response {
            Response::Failed(failure) => Some(failure),
            _ => None,
        };
        let next = match (mem::replace(&mut self.state, State::Idle), failure) {
            (State::AwaitingVerify(credentials), _) => return self.verified(credentials, response, out),
            (State::AwaitingSpace(envelope), None) => {
                reply::SENDER_OK.write(out);
                self.record_advance(ADVANCE_SENDER);
                State::Transaction(Box::new(OpenTransaction::new(envelope)))
            }
            (State::AwaitingBegin(envelope, None), None) => {
                reply::GO_AHEAD.write(out);
                self.record_advance(ADVANCE_BODY);
                let framing = Framing::Dot(Decoder::new(self.config.line_endings));
                State::Data(self.begin_data(cx, *envelope, framing))
            }
            (State::AwaitingBegin(envelope, Some(chunk)), failure) => {
                self.record_advance(ADVANCE_BODY);
                let mut body = self.begin_data(cx, *envelope, self.bdat_framing(chunk));
                if let Some(failure) = failure {
                    body.refuse(self.failure_reply(failure));
                }
                State::Data(body)
            }
            (State::AwaitingSpill(body), None) if body.is_between_chunks() => State::Chunks(body),
            (State::AwaitingSpill(body), None) => State::Data(body),
            (State::AwaitingDelivery(message), _) => return self.delivered(*message, &response, out),
            (State::AwaitingDiscard { reply, last: true }, _) => {
                return self.reply_to_message(reply, AfterReplies::Nothing, out);
            }
            (State::AwaitingDiscard { reply, last: false }, _) => {
                reply.write(out);
                self.state = State::RefusedMessage(reply, 0);
                return self.after_message(out);
            }
            // A body that cannot be stored is read to its end, like any other refused body.
            (State::AwaitingSpill(mut body), Some(failure)) => {
                body.refuse(self.failure_reply(failure));
                if body.is_between_chunks() { State::Chunks(body) } else { State::Data(body) }
            }
            (state, failure) => {
                let what = if matches!(state, State::AwaitingSpace(_)) { "MAIL" } else { "message" };
                let reply = self.failure_reply(failure.unwrap_or(Failure::TempFail));
                reply.write(out);
                out.push_event(Event::Refused { what: what.into(), reply: reply.codes() });
                return self.after_message(out);
            }
        };
        self.state = next;
        Step::Continue
    }

    fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {
        // Forgets everything that the client sent, but keeps the counts of its errors and attempts.
        self.is_encrypted = true;
        self.client = None;
        self.user = None;
        self.state = State::Idle;
        self.record_advance(ADVANCE_TLS);
    }

    fn session_phase(&self) -> SessionPhase {
        match (&self.state, self.phase()) {
            (State::Data(body) | State::AwaitingSpill(body), _) if body.is_bdat() => SessionPhase::Chunk,
            (State::Data(_) | State::AwaitingSpill(_), _) => SessionPhase::Data,
            (State::SkippingChunk(_), _) => SessionPhase::Chunk,
            (State::Auth(exchange), _) => exchange.session_phase(),
            (State::Idle | State::Transaction(_) | State::Chunks(_) | State::RefusedMessage(..), phase) => {
                phase.session_phase()
            }
            _ => SessionPhase::Pending,
        }
    }

    fn timeouts(&self) -> Timeouts {
        let limits = &self.config.limits;
        let (limit, renewed_by) = match (&self.state, &self.client) {
            (State::Data(_) | State::SkippingChunk(_), _) => (limits.smtp.data_timeout, ResetOn::Octet),
            (_, None) => (limits.smtp.greeting_timeout, ResetOn::Progress),
            _ if self.is_trusted_client() => (limits.smtp.command_timeout, ResetOn::Command),
            _ => (limits.smtp.command_timeout, ResetOn::Progress),
        };
        let (write, lifetime) = (limits.smtp.write_timeout.0, Some(limits.smtp.session_timeout.0));
        Timeouts { read: limit.0, reset_on: renewed_by, write, session: lifetime }
    }

    fn progress(&self) -> Progress {
        let body = match &self.state {
            State::Data(body) | State::Chunks(body) | State::AwaitingSpill(body) => {
                Some(body.progress(self.config.limits.smtp.min_data_rate))
            }
            _ => None,
        };
        let at = match (&self.state, body) {
            (State::AwaitingDelivery(_), _) => SessionStage::Delivering,
            (_, body) if self.is_trusted_client() => SessionStage::Trusted(body),
            (_, Some(body)) => SessionStage::Body(body),
            _ if self.client.is_none() || self.config.protocol.policy.kind == Kind::Submission => {
                SessionStage::Unidentified
            }
            _ => SessionStage::Idle,
        };
        Progress { stage: at, counts: self.counts }
    }

    fn take_work(&mut self) -> usize {
        mem::take(&mut self.work)
    }

    fn request_spill(&mut self) {
        if let State::Data(body) | State::Chunks(body) = &mut self.state {
            body.request_spill();
        }
    }

    fn on_timeout(&mut self, out: &mut Outbox) {
        self.close_with(out, "timeout", &reply::TOO_SLOW);
    }

    fn end(&mut self, why: EndReason, out: &mut Outbox) -> Step {
        self.ending = Some(why);
        match self.state {
            State::AwaitingDelivery(_) | State::AwaitingDiscard { .. } | State::WritingReplies(_) => {
                Step::Idle
            }
            _ => self.close_with(out, why.words(), &reply::farewell(why)),
        }
    }
}

/// True if the only input is a QUIT.
fn is_only_quit(inbox: &Inbox) -> bool {
    inbox.unread().trim_ascii_end().eq_ignore_ascii_case(b"QUIT")
}
