//! A session that fails as an address demands. It is still a plain value: delays and closed connections are
//! steps, as in any other session.

use std::{
    cell::RefCell,
    mem,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    counts::SequenceCounts,
    directory::{CLOSING, FaultyAccountDirectory, RequestedFaults},
    folder::{OtherValidity, is_within_response, verb_of},
    hint::Remarks,
    maildrop::FaultyMaildrop,
    plan::FaultPlan,
};
use crate::{
    clock::Now,
    proto::{
        Context, Encryption, EndReason, Progress, Session, SessionEvent, SessionPhase, Step, Timeouts,
        buffer::{Inbox, Outbox},
        chaos::ChaosPoint,
        event::Event,
        imap::request::{FetchPosition, ImapRequest},
        injection::InjectedFault,
        protocol::Protocol,
        request::{Failure, Maildrop, MaildropRequest, ReceiveRequest, Request, Response},
        smtp::reply,
    },
};

/// Wraps a session, and causes faults on demand.
pub struct FaultySession {
    session: Box<dyn Session>,
    protocol: Protocol,
    counts: Rc<SequenceCounts>,
    /// The faults planned for this message, or for this session of POP3 or IMAP.
    plan: FaultPlan,
    /// The login name without its faults.
    user: String,
    maildrop: Option<Arc<FaultyMaildrop>>,
    /// The values of UIDVALIDITY that an IMAP session has instead of the folders' own.
    validity: Option<OtherValidity>,
    /// Octets that an IMAP session has sent since its login.
    sent: u64,
    fault_state: FaultState,
    held: Option<HeldOutput>,
    remarks: Remarks,
}

/// The state of the faults in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultState {
    /// No fault is in progress.
    Inactive,
    /// The session receives message data, and has read this number of octets.
    Data(u64),
    /// The message is being discarded. The reply to it will have this code.
    Refusing(u16),
    /// A message is being sent. `begun`: its first line is complete; `sent`: octets sent after that line.
    Reading { begun: bool, sent: u64 },
    /// The connection ends at the next response.
    Dropping(InjectedFault),
    /// The output after the next response is sent after this delay.
    Delaying(Duration),
}

/// Output of the session that is not yet sent, and the step to return after it.
struct HeldOutput {
    octets: Vec<u8>,
    /// Octets to send at a time.
    chunk_size: usize,
    interval: Duration,
    next_step: Step,
}

impl FaultySession {
    /// Wraps a session of this protocol. `counts` is shared by all sessions of a listener.
    pub fn new(session: Box<dyn Session>, protocol: Protocol, counts: Rc<SequenceCounts>) -> Self {
        Self {
            session,
            protocol,
            counts,
            plan: FaultPlan::default(),
            user: String::new(),
            maildrop: None,
            validity: None,
            sent: 0,
            fault_state: FaultState::Inactive,
            held: None,
            remarks: Remarks::default(),
        }
    }

    /// Whether replies say something about the form of login names. A new session does.
    pub fn set_notes(&mut self, has_notes: bool) {
        self.remarks.set_notes(has_notes);
    }

    /// Runs one step of the session. Returns its output, and its step after the faults are applied.
    fn call_session(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        act: impl FnOnce(&mut dyn Session, &Context<'_>, &mut Outbox) -> Step,
    ) -> (Vec<u8>, Step) {
        let mut said = Outbox::default();
        let found = RefCell::default();
        let counts = Rc::clone(&self.counts);
        let directory = FaultyAccountDirectory { inner: cx.directory, counts: &counts, found: &found };
        let cx = Context { now: cx.now, directory: &directory };
        let mut step = act(&mut *self.session, &cx, &mut said);
        if let Step::Request(request) = step {
            step = self.intercept_request(&cx, request, &mut said);
        }
        let RequestedFaults { injections, hangs_up, hint } = found.take();
        self.plan.add(injections);
        self.remarks.set_hint(hint);
        for event in said.take_events() {
            out.push_event(event);
        }
        let mut reply = said.pending().to_vec();
        if let Some(hint) = self.remarks.append_to(&mut reply, self.protocol) {
            out.push_event(Event::NoFault(hint));
        }
        if let Some(by) = self.bye(&reply, &step) {
            reply.extend_from_slice(b"* BYE A fault on demand\r\n");
            step = terminate(out, by, Step::Close);
        }
        (reply, if hangs_up { terminate(out, InjectedFault::Rcpt(CLOSING), Step::Close) } else { step })
    }

    /// Applies the planned faults to a request of the session.
    fn intercept_request(&mut self, cx: &Context<'_>, request: Request, said: &mut Outbox) -> Step {
        let stage = mem::replace(&mut self.fault_state, FaultState::Inactive);
        match &request {
            // A message of APPEND. The faults of an IMAP session are those of its login.
            Request::Receive(_) if self.protocol == Protocol::Imap => {}
            Request::Receive(ReceiveRequest::CheckSpace { .. }) => {
                self.plan = FaultPlan::default();
                if let Some(code) = cx.directory.chaos(ChaosPoint::Sender) {
                    return self.refuse_by_chance(cx, "MAIL", code, said);
                }
            }
            Request::Receive(ReceiveRequest::Begin | ReceiveRequest::BeginWhole { .. }) => {
                self.fault_state = FaultState::Data(0)
            }
            Request::Receive(ReceiveRequest::Spill { .. }) => self.fault_state = stage,
            Request::Receive(ReceiveRequest::Discard) | Request::Api(_) => {}
            Request::Imap(request) => {
                if verb_of(request).is_some_and(|verb| self.plan.refuses(verb)) {
                    return self.session.respond(cx, Response::Failed(Failure::TempFail), said);
                }
                match request {
                    ImapRequest::Fetch(fetch) if fetch.position == FetchPosition::default() => {
                        self.fault_state = FaultState::Reading { begun: true, sent: 0 };
                    }
                    ImapRequest::Fetch(_) => self.fault_state = stage,
                    ImapRequest::Append { .. } if self.plan.has(InjectedFault::DropAfterAppend) => {
                        self.fault_state = FaultState::Dropping(InjectedFault::DropAfterAppend);
                    }
                    _ => {}
                }
            }
            Request::Receive(ReceiveRequest::Deliver { .. }) => {
                if let Some(code) = self.plan.after_dot() {
                    self.fault_state = FaultState::Refusing(code);
                    return Step::Request(Request::Receive(ReceiveRequest::Discard));
                }
                if self.plan.has(InjectedFault::DropAfterDot) {
                    self.fault_state = FaultState::Dropping(InjectedFault::DropAfterDot);
                }
            }
            Request::Verify { user, password } => {
                self.remarks.begin_login(user, self.protocol);
                let (user, injections) = InjectedFault::split(user);
                self.user = user.clone();
                self.plan = FaultPlan::new(injections);
                (self.maildrop, self.sent) = (None, 0);
                self.validity = self.plan.has(InjectedFault::NewUidValidity).then(|| {
                    let session = self.counts.next(&self.user, InjectedFault::NewUidValidity);
                    OtherValidity(u32::try_from(session).unwrap_or(u32::MAX))
                });
                if !matches!(self.protocol, Protocol::Pop3 | Protocol::Imap)
                    && let Some(code) = cx.directory.chaos(ChaosPoint::Authentication)
                {
                    return self.refuse_by_chance(cx, "AUTH", code, said);
                }
                if self.plan.has(InjectedFault::WrongPassword) {
                    let failure = Failure::AuthFailed { delay: Duration::ZERO };
                    return self.session.respond(cx, Response::Failed(failure), said);
                }
                return Step::Request(Request::Verify { user, password: password.clone() });
            }
            Request::Maildrop(MaildropRequest::Open { .. }) => {
                let in_use = |most| self.counts.next(&self.user, InjectedFault::InUse(most)) <= most;
                if self.plan.in_use().is_some_and(in_use) {
                    // The session would retry until its lock timeout. A time far in the future ends the
                    // retries at once.
                    let now = Now { monotonic: cx.now.monotonic + FOREVER, ..cx.now };
                    return self.session.respond(
                        &Context { now, ..*cx },
                        Response::Failed(Failure::InUse),
                        said,
                    );
                }
            }
            Request::Maildrop(MaildropRequest::Read { from: 0, .. }) => {
                self.fault_state = FaultState::Reading { begun: false, sent: 0 }
            }
            Request::Maildrop(MaildropRequest::Read { .. }) => self.fault_state = stage,
            Request::Maildrop(MaildropRequest::Update { .. }) => {
                if self.plan.has(InjectedFault::DropBeforeQuitAnswer) {
                    self.fault_state = FaultState::Dropping(InjectedFault::DropBeforeQuitAnswer);
                } else if let Some(delay) = self.plan.slow_quit() {
                    self.fault_state = FaultState::Delaying(delay);
                }
            }
        }
        Step::Request(request)
    }

    /// Refuses a command instead of a request to the backend. The session believes that the server failed.
    fn refuse_by_chance(&mut self, cx: &Context<'_>, what: &str, code: u16, said: &mut Outbox) -> Step {
        let step = self.session.respond(cx, Response::Failed(Failure::TempFail), &mut Outbox::default());
        let refusal = reply::injected_reply(code);
        refusal.write(said);
        said.push_event(Event::Refused { what: what.into(), reply: refusal.codes() });
        if code == CLOSING { terminate(said, InjectedFault::Rcpt(code), Step::Close) } else { step }
    }

    /// Sends output: at once, after a delay, or in small pieces.
    fn emit(&mut self, octets: Vec<u8>, late: Option<Duration>, then: Step, out: &mut Outbox) -> Step {
        let late = late.or_else(|| self.plan.slow());
        let (piece, every) = match self.plan.drip() {
            Some(rate) => {
                let piece = (rate / PIECES_A_SECOND).max(1);
                (piece as usize, Duration::from_secs(piece) / u32::try_from(rate).unwrap_or(u32::MAX))
            }
            None => (octets.len(), Duration::ZERO),
        };
        let pause = late.unwrap_or(every);
        if octets.is_empty() || pause.is_zero() {
            out.push(&octets);
            return then;
        }
        self.held = Some(HeldOutput { octets, chunk_size: piece, interval: every, next_step: then });
        Step::Pause(pause)
    }

    /// Sends the next piece of the held output.
    fn emit_next(&mut self, mut held: HeldOutput, out: &mut Outbox) -> Step {
        let rest = held.octets.split_off(held.chunk_size.min(held.octets.len()));
        out.push(&held.octets);
        if rest.is_empty() {
            return held.next_step;
        }
        let every = held.interval;
        self.held = Some(HeldOutput { octets: rest, ..held });
        Step::Pause(every)
    }

    /// Returns the number of octets to send if this output contains the point at which the message must be
    /// cut. The reply line before the message does not count.
    fn truncation_point(&mut self, said: &[u8]) -> Option<(usize, InjectedFault)> {
        let most = self.plan.cut_at()?;
        let FaultState::Reading { begun, sent } = &mut self.fault_state else { return None };
        let reply = if *begun { 0 } else { memchr::memchr(b'\n', said)? + 1 };
        let left = usize::try_from(most.saturating_sub(*sent)).unwrap_or(usize::MAX);
        *begun = true;
        *sent += (said.len() - reply) as u64;
        (*sent >= most).then(|| (reply + left, InjectedFault::CutAt(most)))
    }

    /// Counts the output of an IMAP session. Returns the fault that ends it, if enough has been sent and no response is
    /// incomplete.
    fn bye(&mut self, said: &[u8], step: &Step) -> Option<InjectedFault> {
        let most = self.plan.bye_at().filter(|_| self.protocol == Protocol::Imap)?;
        self.sent += said.len() as u64;
        let is_whole = said.ends_with(b"\r\n") && !is_within_response(step);
        (self.sent >= most && is_whole).then_some(InjectedFault::ByeAt(most))
    }

    /// Wraps the maildrop, if sizes or unique ids must be wrong.
    fn wrap_maildrop(&mut self, truth: Arc<dyn Maildrop>) -> Arc<dyn Maildrop> {
        let wrong_size = self.plan.has(InjectedFault::WrongSize);
        let new_uidls = self.plan.has(InjectedFault::NewUidls);
        if !wrong_size && !new_uidls {
            return truth;
        }
        let session = new_uidls.then(|| self.counts.next(&self.user, InjectedFault::NewUidls));
        let altered =
            Arc::new(FaultyMaildrop { inner: truth, wrong_size, sending: AtomicBool::new(false), session });
        self.maildrop = Some(Arc::clone(&altered));
        altered
    }

    /// Records whether a message is being sent. Meanwhile sizes are right.
    fn set_sending(&self, is_so: bool) {
        if let Some(maildrop) = &self.maildrop {
            maildrop.sending.store(is_so, Ordering::Relaxed);
        }
    }
}

impl Session for FaultySession {
    fn greet(&mut self, cx: &Context<'_>, out: &mut Outbox) -> Step {
        self.session.greet(cx, out)
    }

    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if let Some(held) = self.held.take() {
            return self.emit_next(held, out);
        }
        let before = inbox.len();
        let data = if let FaultState::Data(taken) = self.fault_state { Some(taken) } else { None };
        if let (Some(taken), Some(most)) = (data, self.plan.drop_at())
            && taken + before as u64 >= most
        {
            return terminate(out, InjectedFault::DropAt(most), Step::Abort);
        }
        let (said, step) = self.call_session(cx, out, |session, cx, said| session.step(cx, inbox, said));
        if let (Some(taken), FaultState::Data(now)) = (data, &mut self.fault_state) {
            *now = taken + (before - inbox.len()) as u64;
        }
        self.emit(said, None, step, out)
    }

    fn respond(&mut self, cx: &Context<'_>, response: Response, out: &mut Outbox) -> Step {
        if let Response::Verified(mailbox) = &response
            && matches!(self.protocol, Protocol::Pop3 | Protocol::Imap)
            && !self.user.contains('@')
        {
            self.remarks.set_note(format!("the name has no domain, so this is the mailbox of {mailbox}"));
        }
        let response = match response {
            Response::Opened(truth) => Response::Opened(self.wrap_maildrop(truth)),
            Response::Imap(truth) => Response::Imap(match self.validity {
                Some(validity) => validity.response(truth),
                None => truth,
            }),
            response => response,
        };
        match self.fault_state {
            FaultState::Refusing(code) => {
                self.fault_state = FaultState::Inactive;
                let mut unsaid = Outbox::default();
                let step = self.session.respond(cx, Response::Failed(Failure::TempFail), &mut unsaid);
                let refusal = reply::injected_reply(code);
                let mut said = Outbox::default();
                refusal.write(&mut said);
                out.push_event(Event::Refused { what: "message".into(), reply: refusal.codes() });
                let step = if code == CLOSING {
                    terminate(out, InjectedFault::AfterDot(code), Step::Close)
                } else {
                    step
                };
                self.emit(said.pending().to_vec(), None, step, out)
            }
            FaultState::Dropping(by) => {
                self.call_session(cx, out, |session, cx, said| session.respond(cx, response, said));
                terminate(out, by, Step::Abort)
            }
            stage => {
                self.set_sending(true);
                let (mut said, mut step) =
                    self.call_session(cx, out, |session, cx, said| session.respond(cx, response, said));
                self.set_sending(false);
                if let Some((end, by)) = self.truncation_point(&said) {
                    said.truncate(end);
                    step = terminate(out, by, Step::Close);
                }
                let late = if let FaultState::Delaying(delay) = stage { Some(delay) } else { None };
                self.emit(said, late, step, out)
            }
        }
    }

    fn tls_started(&mut self, cx: &Context<'_>, by: Encryption) {
        self.plan = FaultPlan::default();
        self.session.tls_started(cx, by);
    }

    fn session_phase(&self) -> SessionPhase {
        self.session.session_phase()
    }

    fn timeouts(&self) -> Timeouts {
        self.session.timeouts()
    }

    fn keep_alive(&mut self, now: Now, out: &mut Outbox) -> bool {
        self.session.keep_alive(now, out)
    }

    fn progress(&self) -> Progress {
        self.session.progress()
    }

    fn take_work(&mut self) -> usize {
        self.session.take_work()
    }

    fn notify(&mut self, event: &SessionEvent, out: &mut Outbox) {
        if self.protocol == Protocol::Imap && self.plan.has(InjectedFault::SilentIdle) {
            return;
        }
        let other = self.validity.and_then(|validity| validity.event(event));
        self.session.notify(other.as_ref().unwrap_or(event), out);
    }

    fn request_spill(&mut self) {
        self.session.request_spill();
    }

    fn on_timeout(&mut self, out: &mut Outbox) {
        self.session.on_timeout(out);
    }

    fn end(&mut self, why: EndReason, out: &mut Outbox) -> Step {
        if self.held.is_some() { Step::Abort } else { self.session.end(why, out) }
    }
}

/// Logs the fault, and returns the step that ends the connection.
fn terminate(out: &mut Outbox, by: InjectedFault, step: Step) -> Step {
    out.push_event(Event::Injected(by));
    step
}

/// Longer than any login waits for a mailbox.
const FOREVER: Duration = Duration::from_secs(1 << 40);
const PIECES_A_SECOND: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ResetOn, request::Mailbox};

    /// A session that reports every change to its client.
    struct Telltale;

    impl Session for Telltale {
        fn greet(&mut self, _: &Context<'_>, _: &mut Outbox) -> Step {
            Step::Idle
        }

        fn step(&mut self, _: &Context<'_>, _: &mut Inbox, _: &mut Outbox) -> Step {
            Step::Idle
        }

        fn respond(&mut self, _: &Context<'_>, _: Response, _: &mut Outbox) -> Step {
            Step::Idle
        }

        fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {}

        fn timeouts(&self) -> Timeouts {
            let none = Duration::ZERO;
            Timeouts { read: none, reset_on: ResetOn::Command, write: none, session: None }
        }

        fn progress(&self) -> Progress {
            Progress::default()
        }

        fn notify(&mut self, event: &SessionEvent, out: &mut Outbox) {
            let SessionEvent::MailboxChanged { mailbox, messages } = event else { return };
            out.line(&format!("* {mailbox} has {messages}"));
        }

        fn on_timeout(&mut self, _: &mut Outbox) {}

        fn end(&mut self, _: EndReason, _: &mut Outbox) -> Step {
            Step::Close
        }
    }

    #[test]
    fn a_change_reaches_the_session_that_is_wrapped() {
        let mut session = FaultySession::new(Box::new(Telltale), Protocol::Pop3, Rc::default());
        let mut out = Outbox::default();
        let mailbox = Mailbox::named("bob").unwrap();
        session.notify(&SessionEvent::MailboxChanged { mailbox, messages: 3 }, &mut out);
        assert_eq!(out.pending(), b"* bob has 3\r\n");
    }
}
