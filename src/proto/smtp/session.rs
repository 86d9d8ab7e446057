//! One SMTP session: which command is run when, and what becomes of an answer. What builds a message up is in
//! `transaction`, message data in `body`, `bdat` and `end_of_data`, AUTH and STARTTLS in `login`, what LMTP says
//! otherwise in `lmtp`, refusals in `refusal`; all of them act on the `state`, and nothing here reads a clock, a
//! socket or a disk.

use std::mem;

use super::{
    command,
    message_body::Framing,
    refusal::Said,
    reply,
    session_config::{Kind, Persona, Verb},
    state::{BODY, Open, SENDER, Smtp, State, Then, UNDER_TLS},
};
use crate::proto::{
    Cx, Encryption, Patience, Progress, Renewal, Session, SessionPhase, Stage, Step, TLS_HANDSHAKE,
    buffer::{Inbox, Line, Outbox},
    dot::Decoder,
    event::Event,
    request::{Failure, Response},
    sasl, telnet,
};

impl Smtp {
    fn command_step(&mut self, cx: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if self.client.is_none() && inbox.unread().starts_with(TLS_HANDSHAKE) {
            return self.hang_up(out, "TLS handshake", &reply::NOT_TLS);
        }
        let limits = &self.rules.limits;
        // AUTH may bring its first response along.
        let may_be_long = self.offers_auth() && command::is_auth(inbox.unread());
        let longest = if may_be_long { limits.smtp_line.max(sasl::LINE) } else { limits.smtp_line };
        let bdat = mem::take(&mut self.in_bdat) || command::is_bdat(inbox.unread());
        match inbox.line(longest, limits.line_discard) {
            Line::Partial => {
                self.in_bdat = bdat;
                Step::Idle
            }
            // How many octets it counts is gone with it.
            Line::TooLong if bdat => self.hang_up(out, "BDAT that can't be counted", &reply::BAD_CHUNK),
            Line::Endless => self.hang_up(out, "endless line", &reply::TOO_MUCH),
            Line::TooLong => self.refuse(out, b"long line", &reply::LINE_TOO_LONG),
            Line::Complete(line) if self.lenient() => self.command(cx, &telnet::as_typed(&line), inbox, out),
            // What follows an LF of its own could be a command that somebody smuggled in: nothing more is
            // read from this client.
            Line::Complete(line) if !line.ends_with(b"\r\n") => {
                self.hang_up(out, "bare LF", &reply::BAD_LINE)
            }
            Line::Complete(line) => self.command(cx, &line, inbox, out),
        }
    }

    fn command(&mut self, cx: &Cx<'_>, line: &[u8], inbox: &Inbox, out: &mut Outbox) -> Step {
        let (verb, argument) = command::split(line);
        if command::is_http(verb) {
            return self.hang_up(out, "HTTP", &reply::NOT_SMTP);
        }
        self.secretive |= command::is_auth(line);
        if command::is_bdat(line) {
            return self.bdat(line, out);
        }
        if self.rules.pedantic
            && let Some(broken) = self.violated_rule(line, self.rules.command(verb))
        {
            return self.refuse(out, line, &broken);
        }
        if memchr::memchr(0, line).is_some() {
            return self.refuse(out, line, &reply::BAD_LINE);
        }
        let Some(rule) = self.rules.command(verb) else {
            return self.refuse(out, line, &reply::UNKNOWN_COMMAND);
        };
        if self.rules.pedantic && self.is_out_of_sync(rule.verb, inbox) {
            return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line);
        }
        if !rule.allowed.contains(&self.phase()) {
            return self.refuse(out, line, &reply::BAD_SEQUENCE);
        }
        if rule.junk && self.over_junk() {
            return self.hang_up(out, "junk commands", &reply::TOO_MUCH);
        }
        let in_step = self.lenient() || inbox.is_empty();
        let no_argument = argument.is_empty();
        let done = match rule.verb {
            Verb::Absent | Verb::Bdat => Err(reply::NOT_IMPLEMENTED),
            Verb::Data | Verb::Rset | Verb::Quit if !no_argument => Err(reply::BAD_ARGUMENT),
            // A client that talks on before it has read these replies may be tricked into it (fault C10);
            // Thunderbird's account set-up alone sends EHLO and QUIT together.
            Verb::Data if !in_step => return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line),
            Verb::Ehlo | Verb::Helo | Verb::Lhlo if !in_step && !is_only_quit(inbox) => {
                return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line);
            }
            Verb::Auth if !in_step => return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line),
            Verb::Auth => self.auth(argument),
            Verb::Starttls => return self.starttls(argument, inbox, out),
            Verb::Ehlo | Verb::Lhlo => self.hello(argument, true),
            Verb::Helo => self.hello(argument, false),
            Verb::Mail => self.mail(cx, argument),
            Verb::Rcpt => self.rcpt(cx, argument),
            Verb::Data => self.data(),
            Verb::Rset => Ok(self.reset_transaction(reply::OK)),
            Verb::Noop => Ok(Said::Reply(reply::OK)),
            Verb::Vrfy if no_argument => Err(reply::BAD_ARGUMENT),
            Verb::Vrfy => Ok(Said::Reply(reply::CANNOT_VERIFY)),
            Verb::Help => self.help(argument),
            Verb::Quit => {
                reply::BYE.write(out);
                return Step::Close;
            }
        };
        self.say(done, line, out)
    }
}

impl Session for Smtp {
    fn greet(&mut self, _: &Cx<'_>, out: &mut Outbox) -> Step {
        let protocol = match self.rules.persona {
            _ if self.rules.is_lmtp() => "LMTP",
            Persona::Modern => "ESMTP",
            Persona::Rfc821 => "SMTP",
        };
        out.line(&format!("220 {} {protocol} restante", self.rules.hostname));
        Step::Again
    }

    fn step(&mut self, cx: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Idle) {
            State::Data(body) => self.data_step(cx, body, inbox, out),
            State::Chunks(body) if body.is_spill_requested() => self.spill_now(body),
            State::Skipping(chunk) => self.skip_chunk_step(cx, chunk, inbox, out),
            State::Auth(exchange) => self.auth_step(exchange, inbox, out),
            State::HoldingBack { last } => self.denied(last, out),
            State::Telling(telling) => self.tell_each(telling, out),
            state => {
                self.state = state;
                self.command_step(cx, inbox, out)
            }
        }
    }

    fn answer(&mut self, cx: &Cx<'_>, answer: Response, out: &mut Outbox) -> Step {
        let fault = match answer {
            Response::Failed(fault) => Some(fault),
            _ => None,
        };
        let next = match (mem::replace(&mut self.state, State::Idle), fault) {
            (State::AwaitingVerify(credentials), _) => return self.verified(credentials, answer, out),
            (State::AwaitingRoom(envelope), None) => {
                reply::SENDER_OK.write(out);
                self.led_on(SENDER);
                State::Open(Open::new(envelope))
            }
            (State::AwaitingBegin(envelope, None), None) => {
                reply::GO_AHEAD.write(out);
                self.led_on(BODY);
                let framing = Framing::Dot(Decoder::new(self.rules.line_endings));
                State::Data(self.begin_data(cx, envelope, framing))
            }
            (State::AwaitingBegin(envelope, Some(chunk)), fault) => {
                self.led_on(BODY);
                let mut body = self.begin_data(cx, envelope, self.bdat_framing(chunk));
                if let Some(fault) = fault {
                    body.refuse(reply::failure_reply(fault));
                }
                State::Data(body)
            }
            (State::AwaitingSpill(body), None) if body.is_between_chunks() => State::Chunks(body),
            (State::AwaitingSpill(body), None) => State::Data(body),
            (State::AwaitingDelivery(message), _) => return self.delivered(message, &answer, out),
            (State::AwaitingDiscard { reply, last: true }, _) => {
                return self.say_of_message(reply, Then::Nothing, out);
            }
            (State::AwaitingDiscard { reply, last: false }, _) => {
                reply.write(out);
                self.state = State::Refused(reply, 0);
                return self.after_message(out);
            }
            // A body that can't be stored is read to its end like any other that is refused.
            (State::AwaitingSpill(mut body), Some(fault)) => {
                body.refuse(reply::failure_reply(fault));
                if body.is_between_chunks() { State::Chunks(body) } else { State::Data(body) }
            }
            (_, fault) => {
                let reply = reply::failure_reply(fault.unwrap_or(Failure::Broken));
                reply.write(out);
                out.push_event(Event::Refused { what: "message".into(), reply: reply.codes() });
                return self.after_message(out);
            }
        };
        self.state = next;
        Step::Again
    }

    fn secured(&mut self, _: &Cx<'_>, by: Encryption) {
        // What the client said is forgotten; what it has cost us is not.
        self.encryption = Some(by);
        self.client = None;
        self.user = None;
        self.state = State::Idle;
        self.led_on(UNDER_TLS);
    }

    fn standing(&self) -> SessionPhase {
        match (&self.state, self.phase()) {
            (State::Data(body) | State::AwaitingSpill(body), _) if body.is_bdat() => SessionPhase::Chunk,
            (State::Data(_) | State::AwaitingSpill(_), _) => SessionPhase::Data,
            (State::Skipping(_), _) => SessionPhase::Chunk,
            (State::Auth(exchange), _) => exchange.standing(),
            (State::Idle | State::Open(_) | State::Chunks(_) | State::Refused(..), phase) => {
                phase.session_phase()
            }
            _ => SessionPhase::Between,
        }
    }

    fn patience(&self) -> Patience {
        let limits = &self.rules.limits;
        let (limit, renewed_by) = match (&self.state, &self.client) {
            (State::Data(_) | State::Skipping(_), _) => (limits.data_silence, Renewal::Octet),
            (_, None) => (limits.smtp_greeting, Renewal::Progress),
            _ if self.is_known() => (limits.smtp_idle, Renewal::Command),
            _ => (limits.smtp_idle, Renewal::Progress),
        };
        let (write, lifetime) = (limits.smtp_write.0, Some(limits.smtp_session.0));
        Patience { limit: limit.0, renewed_by, write, lifetime }
    }

    fn progress(&self) -> Progress {
        let body = match &self.state {
            State::Data(body) | State::Chunks(body) | State::AwaitingSpill(body) => {
                Some(body.progress(self.rules.limits.data_rate))
            }
            _ => None,
        };
        let at = match (&self.state, body) {
            (State::AwaitingDelivery(_), _) => Stage::Delivering,
            (_, body) if self.is_known() => Stage::Trusted(body),
            (_, Some(body)) => Stage::Body(body),
            _ if self.client.is_none() || self.rules.policy.kind == Kind::Submission => Stage::Arriving,
            _ => Stage::Between,
        };
        Progress { at, ..self.progress }
    }

    fn take_work(&mut self) -> usize {
        mem::take(&mut self.work)
    }

    fn spill(&mut self) {
        if let State::Data(body) | State::Chunks(body) = &mut self.state {
            body.request_spill();
        }
    }

    fn expire(&mut self, out: &mut Outbox) {
        self.hang_up(out, "timeout", &reply::TOO_SLOW);
    }

    fn stop(&mut self, out: &mut Outbox) -> Step {
        self.stopping = true;
        match self.state {
            State::AwaitingDelivery(_) | State::AwaitingDiscard { .. } | State::Telling(_) => Step::Idle,
            _ => self.hang_up(out, "shutting down", &reply::SHUTTING_DOWN),
        }
    }
}

/// Whether all that waits is a QUIT.
fn is_only_quit(inbox: &Inbox) -> bool {
    inbox.unread().trim_ascii_end().eq_ignore_ascii_case(b"QUIT")
}
