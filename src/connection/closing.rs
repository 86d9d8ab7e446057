//! The causes that end a connection from outside its session: its deadline, eviction, shutdown, a bug.

use std::{net::IpAddr, time::Duration};

use super::{Connection, ConnectionState, EvictionPriority, EvictionStage, Outbox, output_mark::OutputMark};
use crate::{
    clock::Now,
    logging,
    proto::{
        self, BodyProgress, EndReason, HeldDocument, ResetOn, SessionPhase, Step, Timeouts, event::Event,
    },
};

impl Connection {
    /// The time at which to check this connection if no event arrives. `None` while it waits for a response.
    pub fn deadline(&self) -> Option<Duration> {
        let Timeouts { read, reset_on, write, session: lifetime } = self.session.timeouts();
        let read_from = match reset_on {
            ResetOn::Progress => self.last_progress,
            ResetOn::Command => self.last_command,
            ResetOn::Octet => self.last_command.max(self.last_read),
        };
        let end = lifetime.map_or(Duration::MAX, |lifetime| self.opened_at + lifetime);
        match self.state {
            ConnectionState::AwaitingResponse => None,
            ConnectionState::Paused(until)
            | ConnectionState::Draining(until)
            | ConnectionState::Handshake(until) => Some(until),
            ConnectionState::Closed => Some(Duration::ZERO),
            ConnectionState::Closing | ConnectionState::FlushingBeforeTls => {
                Some(self.last_write.max(self.last_command) + write)
            }
            ConnectionState::Running if self.transport.has_output(&self.outbox) => {
                Some(end.min(self.last_write.max(self.last_command) + write))
            }
            ConnectionState::Running => Some(end.min(read_from + read)),
        }
    }

    /// Carries out the timeout if the deadline has really passed. The caller pumps the connection afterwards.
    pub fn on_timeout(&mut self, now: Now) {
        if self.deadline().is_none_or(|deadline| deadline > now.monotonic) {
            return;
        }
        match self.state {
            ConnectionState::Paused(_) => self.state = ConnectionState::Running,
            ConnectionState::Handshake(_) => {
                self.outbox.push_event(Event::Ended { why: "TLS handshake too slow" });
                self.state = ConnectionState::Closed;
            }
            ConnectionState::Running if !self.transport.has_output(&self.outbox) => {
                if self.session_keep_alive(now) {
                    self.last_command = now.monotonic;
                    return;
                }
                self.session_timeout(now);
                self.close(now);
            }
            ConnectionState::Running | ConnectionState::FlushingBeforeTls => {
                self.outbox.push_event(Event::Ended { why: WRITE_TIMED_OUT });
                self.record_abort(WRITE_TIMED_OUT);
                self.state = ConnectionState::Closed;
            }
            ConnectionState::AwaitingResponse
            | ConnectionState::Closing
            | ConnectionState::Draining(_)
            | ConnectionState::Closed => self.state = ConnectionState::Closed,
        }
    }

    /// Ends the session: it says goodbye, or may complete a transaction that is nearly done.
    pub fn end_session(&mut self, why: EndReason, now: Now) {
        match self.state {
            ConnectionState::Running | ConnectionState::AwaitingResponse | ConnectionState::Paused(_) => {
                match self.session_end(why, now) {
                    Step::Abort => self.state = ConnectionState::Closed,
                    Step::Close => self.close(now),
                    _ => {}
                }
            }
            ConnectionState::FlushingBeforeTls | ConnectionState::Handshake(_) => {
                self.state = ConnectionState::Closed
            }
            ConnectionState::Closing | ConnectionState::Draining(_) | ConnectionState::Closed => {}
        }
    }

    /// Closes after a panic of the session, with this last reply and without a call to the session. Whole replies from
    /// before the panic stay. Inside a message or a document no word follows: the client must see that it is cut.
    pub fn close_after_panic(&mut self, last_words: &str, now: Now) {
        let OutputMark { pending, is_inside } = self.before_call.take().unwrap_or_else(|| self.output_mark());
        let is_plain =
            !matches!(self.state, ConnectionState::FlushingBeforeTls | ConnectionState::Handshake(_));
        self.outbox.truncate(pending);
        self.record_abort(last_words);
        if is_inside || !is_plain {
            self.state = ConnectionState::Closed;
        } else {
            self.outbox.line(last_words);
            self.close(now);
        }
    }

    pub(super) fn output_mark(&self) -> OutputMark {
        let is_inside = self.session.session_phase() == SessionPhase::Sending;
        OutputMark { pending: self.outbox.pending().len(), is_inside }
    }

    /// Closes with this last reply and without a call to the session.
    fn close_with_error(&mut self, last_words: &str, now: Now) {
        self.outbox = Outbox::default();
        if matches!(self.state, ConnectionState::FlushingBeforeTls | ConnectionState::Handshake(_)) {
            self.state = ConnectionState::Closed;
            return;
        }
        self.outbox.line(last_words);
        self.record_abort(last_words);
        self.close(now);
    }

    /// Closes the connection to make room, with this last reply.
    pub fn evict(&mut self, last_words: &str, why: &'static str, now: Now) {
        let was_over = self.is_closing();
        // Inside a message or a document the client would take any text for a part of it.
        let is_sending = match self.session.session_phase() {
            SessionPhase::Sending => true,
            SessionPhase::RequestHead => !self.outbox.is_empty(),
            _ => false,
        };
        match self.state {
            ConnectionState::Running | ConnectionState::Paused(_) if !is_sending => {
                self.close_with_error(last_words, now);
            }
            _ => self.state = ConnectionState::Closed,
        }
        if !was_over {
            self.outbox.push_event(Event::Ended { why });
        }
    }

    pub(super) fn close(&mut self, now: Now) {
        self.state = ConnectionState::Closing;
        self.last_command = now.monotonic;
    }

    /// The claim of this connection to its place. `None` if the server must not evict it now.
    pub fn eviction_priority(&self) -> Option<EvictionPriority> {
        let unidentified =
            EvictionPriority { stage: EvictionStage::Unidentified, last_progress: self.opened_at };
        let at = match self.state {
            // Its last reply has already left the outbox.
            ConnectionState::Draining(_) | ConnectionState::Closed => {
                return Some(EvictionPriority { stage: EvictionStage::Closing, ..unidentified });
            }
            ConnectionState::FlushingBeforeTls | ConnectionState::Handshake(_) => return Some(unidentified),
            ConnectionState::AwaitingResponse => return None,
            ConnectionState::Running | ConnectionState::Paused(_) | ConnectionState::Closing => {
                self.session.progress().stage
            }
        };
        Some(match at {
            proto::SessionStage::Delivering if self.state == ConnectionState::Closing => unidentified,
            proto::SessionStage::Delivering => return None,
            proto::SessionStage::Unidentified => unidentified,
            proto::SessionStage::Idle => {
                EvictionPriority { stage: EvictionStage::Idle, last_progress: self.last_advance }
            }
            // Octets that came early make up for silence, but only for a while.
            proto::SessionStage::Body(body) => EvictionPriority {
                stage: EvictionStage::ReceivingBody,
                last_progress: body.rate_deadline().min(self.last_read + MAX_RATE_CREDIT),
            },
            proto::SessionStage::Trusted(_) => EvictionPriority {
                stage: EvictionStage::Trusted,
                last_progress: self.last_command.max(self.last_write),
            },
        })
    }

    /// Whether the client is known, and the progress of its inbound message; `None` while a message waits for the
    /// disk.
    pub fn body_progress(&self) -> Option<(bool, Option<BodyProgress>)> {
        match self.session.progress().stage {
            proto::SessionStage::Trusted(body) => Some((true, body)),
            proto::SessionStage::Body(body) => Some((false, Some(body))),
            proto::SessionStage::Unidentified | proto::SessionStage::Idle => Some((false, None)),
            proto::SessionStage::Delivering => None,
        }
    }

    /// Whether the next input is message data.
    pub fn is_receiving_data(&self) -> bool {
        self.state == ConnectionState::Running && self.body_progress().is_some_and(|(_, body)| body.is_some())
    }

    /// The client's address.
    pub fn peer(&self) -> IpAddr {
        self.peer_info.peer
    }

    /// Whether the session has served its client since the last call.
    pub fn take_served(&mut self) -> bool {
        let served = self.counts.served;
        std::mem::replace(&mut self.seen_served, served) < served
    }

    /// The document that the session holds in memory until its client has read it.
    pub fn held_document(&self) -> Option<HeldDocument> {
        self.session.held_document(self.outbox.pending().len())
    }

    /// Asks the session to spill its message data in the next pump, because memory is short.
    pub fn request_spill(&mut self) {
        self.session.request_spill();
    }

    /// Records when the session makes progress.
    pub(super) fn record_progress(&mut self, now: Now) {
        let counts = self.session.progress().counts;
        if counts.commands != self.counts.commands {
            self.last_progress = now.monotonic;
        }
        if counts.advances != self.counts.advances {
            self.last_advance = now.monotonic;
        }
        self.counts = counts;
    }

    /// Whether the session takes no more steps. Its last reply may still be on its way.
    pub fn is_closing(&self) -> bool {
        matches!(
            self.state,
            ConnectionState::Closing | ConnectionState::Draining(_) | ConnectionState::Closed
        )
    }

    /// Logs that the connection has ended, with a summary.
    pub fn log_closed(&mut self, now: Now) {
        self.log_events(Duration::ZERO);
        let lasted = now.monotonic.saturating_sub(self.opened_at);
        logging::closed(&self.peer_info, &self.summary, self.received, self.sent, lasted);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.open.sub(1);
    }
}

/// The reason in the log when the peer does not read its output.
const WRITE_TIMED_OUT: &str = "write timeout";
/// The longest silence that octets ahead of the minimum rate can make up for.
const MAX_RATE_CREDIT: Duration = Duration::from_secs(30);
