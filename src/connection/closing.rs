//! What ends a connection that has not ended itself: its deadline, want of room, the end of the server, a bug of
//! ours.

use std::time::Duration;

use super::{Connection, EvictionPriority, Outbox, Phase, Stage};
use crate::{
    clock::Now,
    logging,
    proto::{self, BodyProgress, ResetOn, Step, Timeouts, event::Event},
};

impl Connection {
    /// When to look at this connection again if nothing happens. `None`: it waits for an answer of ours.
    pub fn deadline(&self) -> Option<Duration> {
        let Timeouts { read: limit, reset_on: renewed_by, write, session: lifetime } =
            self.session.timeouts();
        let read_from = match renewed_by {
            ResetOn::Progress => self.last_progress,
            ResetOn::Command => self.last_command,
            ResetOn::Octet => self.last_command.max(self.last_read),
        };
        let end = lifetime.map_or(Duration::MAX, |lifetime| self.opened_at + lifetime);
        match self.phase {
            Phase::AwaitingResponse => None,
            Phase::Paused(until) | Phase::Draining(until) | Phase::Handshake(until) => Some(until),
            Phase::Closed => Some(Duration::ZERO),
            Phase::Closing | Phase::FlushingBeforeTls => Some(self.last_write.max(self.last_command) + write),
            Phase::Running if self.transport.has_output(&self.outbox) => {
                Some(end.min(self.last_write.max(self.last_command) + write))
            }
            Phase::Running => Some(end.min(read_from + limit)),
        }
    }

    /// Does what a deadline asks for, if it has really come. The connection is to be pumped afterwards.
    pub fn on_timeout(&mut self, now: Now) {
        if self.deadline().is_none_or(|deadline| deadline > now.monotonic) {
            return;
        }
        match self.phase {
            Phase::Paused(_) => self.phase = Phase::Running,
            Phase::Handshake(_) => {
                self.outbox.push_event(Event::Ended { why: "TLS handshake too slow" });
                self.phase = Phase::Closed;
            }
            Phase::Running if !self.transport.has_output(&self.outbox) => {
                self.session_timeout(now);
                self.close(now);
            }
            Phase::Running | Phase::FlushingBeforeTls => {
                self.outbox.push_event(Event::Ended { why: WRITE_TIMED_OUT });
                self.record_abort(WRITE_TIMED_OUT);
                self.phase = Phase::Closed;
            }
            Phase::AwaitingResponse | Phase::Closing | Phase::Draining(_) | Phase::Closed => {
                self.phase = Phase::Closed
            }
        }
    }

    /// The server stops: the session says so, or is allowed to come to an end that is near.
    pub fn begin_shutdown(&mut self, now: Now) {
        match self.phase {
            Phase::Running | Phase::AwaitingResponse | Phase::Paused(_) => match self.session_shutdown(now) {
                Step::Abort => self.phase = Phase::Closed,
                Step::Close => self.close(now),
                _ => {}
            },
            Phase::FlushingBeforeTls | Phase::Handshake(_) => self.phase = Phase::Closed,
            Phase::Closing | Phase::Draining(_) | Phase::Closed => {}
        }
    }

    /// Closes with those last words, and without asking the session, which is broken.
    pub fn close_with_error(&mut self, last_words: &str, now: Now) {
        self.outbox = Outbox::default();
        if matches!(self.phase, Phase::FlushingBeforeTls | Phase::Handshake(_)) {
            self.phase = Phase::Closed;
            return;
        }
        self.outbox.line(last_words);
        self.record_abort(last_words);
        self.close(now);
    }

    /// Ends for want of room, with those last words.
    pub fn evict(&mut self, last_words: &str, why: &'static str, now: Now) {
        let was_over = self.is_closing();
        match self.phase {
            Phase::Running | Phase::Paused(_) => self.close_with_error(last_words, now),
            _ => self.phase = Phase::Closed,
        }
        if !was_over {
            self.outbox.push_event(Event::Ended { why });
        }
    }

    pub(super) fn close(&mut self, now: Now) {
        self.phase = Phase::Closing;
        self.last_command = now.monotonic;
    }

    /// By what the connection holds its place; `None`: it may not be ended now.
    pub fn eviction_priority(&self) -> Option<EvictionPriority> {
        let arriving = EvictionPriority { stage: Stage::Unidentified, last_progress: self.opened_at };
        let at = match self.phase {
            // Of its last words nothing is left here.
            Phase::Draining(_) | Phase::Closed => {
                return Some(EvictionPriority { stage: Stage::Closing, ..arriving });
            }
            Phase::FlushingBeforeTls | Phase::Handshake(_) => return Some(arriving),
            Phase::AwaitingResponse => return None,
            Phase::Running | Phase::Paused(_) | Phase::Closing => self.progress.stage,
        };
        Some(match at {
            proto::SessionStage::Delivering if self.phase == Phase::Closing => arriving,
            proto::SessionStage::Delivering => return None,
            proto::SessionStage::Unidentified => arriving,
            proto::SessionStage::Idle => {
                EvictionPriority { stage: Stage::Idle, last_progress: self.last_advance }
            }
            // Silence is paid for in advance for a while only.
            proto::SessionStage::Body(body) => EvictionPriority {
                stage: Stage::ReceivingBody,
                last_progress: body.paid_until().min(self.last_read + MAX_RATE_CREDIT),
            },
            proto::SessionStage::Trusted(_) => EvictionPriority {
                stage: Stage::Trusted,
                last_progress: self.last_command.max(self.last_write),
            },
        })
    }

    /// Whether the client is known, and its message on its way in; `None` while one waits for the disk.
    pub fn body_progress(&self) -> Option<(bool, Option<BodyProgress>)> {
        match self.progress.stage {
            proto::SessionStage::Trusted(body) => Some((true, body)),
            proto::SessionStage::Body(body) => Some((false, Some(body))),
            proto::SessionStage::Unidentified | proto::SessionStage::Idle => Some((false, None)),
            proto::SessionStage::Delivering => None,
        }
    }

    /// Whether message data is what would be read next.
    pub fn is_receiving_data(&self) -> bool {
        self.phase == Phase::Running && self.body_progress().is_some_and(|(_, body)| body.is_some())
    }

    /// Whether the session has served a client since it was asked last.
    pub fn take_served(&mut self) -> bool {
        let served = self.progress.served;
        std::mem::replace(&mut self.seen_served, served) < served
    }

    /// Memory is wanted: the session is to spill its message data in the next round.
    pub fn request_spill(&mut self) {
        self.session.request_spill();
    }

    /// Notes when the session has come further.
    pub(super) fn record_progress(&mut self, now: Now) {
        let progress = self.session.progress();
        if progress.commands != self.progress.commands {
            self.last_progress = now.monotonic;
        }
        if progress.further != self.progress.further {
            self.last_advance = now.monotonic;
        }
        self.progress = progress;
    }

    /// Whether the session takes no more steps; its last words may still be on their way.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Draining(_) | Phase::Closed)
    }

    /// Tells the log that the connection is over, and what came of it.
    pub fn log_closed(&mut self, now: Now) {
        self.log_events(Duration::ZERO);
        let lasted = now.monotonic.saturating_sub(self.opened_at);
        logging::closed(&self.peer_info, &self.summary, self.received, self.sent, lasted);
    }
}

/// Why a connection ends whose peer takes nothing of what it is sent.
const WRITE_TIMED_OUT: &str = "what was sent is not read";
/// Octets that came faster than they had to pay for so long a silence at most.
const MAX_RATE_CREDIT: Duration = Duration::from_secs(30);
