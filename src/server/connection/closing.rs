//! What ends a connection that has not ended itself: its deadline, want of room, the end of the server, a bug of
//! ours.

use std::time::Duration;

use super::{Claim, Conn, Outbox, Phase, Stage};
use crate::{
    clock::Now,
    logging,
    proto::{self, Body, Patience, Renewal, Step, event::Event},
};

impl Conn {
    /// When to look at this connection again if nothing happens. `None`: it waits for an answer of ours.
    pub fn deadline(&self) -> Option<Duration> {
        let Patience { limit, renewed_by, write, lifetime } = self.session.patience();
        let read_from = match renewed_by {
            Renewal::Progress => self.last_led_on,
            Renewal::Command => self.last_command,
            Renewal::Octet => self.last_command.max(self.last_read),
        };
        let end = lifetime.map_or(Duration::MAX, |lifetime| self.began + lifetime);
        match self.phase {
            Phase::Waiting => None,
            Phase::Paused(until) | Phase::Draining(until) | Phase::Handshake(until) => Some(until),
            Phase::Gone => Some(Duration::ZERO),
            Phase::Closing | Phase::Securing => Some(self.last_write.max(self.last_command) + write),
            Phase::Open if self.transport.has_output(&self.outbox) => {
                Some(end.min(self.last_write.max(self.last_command) + write))
            }
            Phase::Open => Some(end.min(read_from + limit)),
        }
    }

    /// Does what a deadline asks for, if it has really come. The connection is to be pumped afterwards.
    pub fn expire(&mut self, now: Now) {
        if self.deadline().is_none_or(|deadline| deadline > now.steady) {
            return;
        }
        match self.phase {
            Phase::Paused(_) => self.phase = Phase::Open,
            Phase::Handshake(_) => {
                self.outbox.tell(Event::Ended { why: "TLS handshake too slow" });
                self.phase = Phase::Gone;
            }
            Phase::Open if !self.transport.has_output(&self.outbox) => {
                self.expire_session(now);
                self.close(now);
            }
            Phase::Open | Phase::Securing => {
                self.outbox.tell(Event::Ended { why: UNREAD });
                self.cut(UNREAD);
                self.phase = Phase::Gone;
            }
            Phase::Waiting | Phase::Closing | Phase::Draining(_) | Phase::Gone => self.phase = Phase::Gone,
        }
    }

    /// The server stops: the session says so, or is allowed to come to an end that is near.
    pub fn stop(&mut self, now: Now) {
        match self.phase {
            Phase::Open | Phase::Waiting | Phase::Paused(_) => match self.stop_session(now) {
                Step::Abort => self.phase = Phase::Gone,
                Step::Close => self.close(now),
                _ => {}
            },
            Phase::Securing | Phase::Handshake(_) => self.phase = Phase::Gone,
            Phase::Closing | Phase::Draining(_) | Phase::Gone => {}
        }
    }

    /// Closes with those last words, and without asking the session, which is broken.
    pub fn fail(&mut self, last_words: &str, now: Now) {
        self.outbox = Outbox::default();
        if matches!(self.phase, Phase::Securing | Phase::Handshake(_)) {
            self.phase = Phase::Gone;
            return;
        }
        self.outbox.line(last_words);
        self.cut(last_words);
        self.close(now);
    }

    /// Ends for want of room, with those last words.
    pub fn give_way(&mut self, last_words: &str, why: &'static str, now: Now) {
        let was_over = self.is_over();
        match self.phase {
            Phase::Open | Phase::Paused(_) => self.fail(last_words, now),
            _ => self.phase = Phase::Gone,
        }
        if !was_over {
            self.outbox.tell(Event::Ended { why });
        }
    }

    pub(super) fn close(&mut self, now: Now) {
        self.phase = Phase::Closing;
        self.last_command = now.steady;
    }

    /// By what the connection holds its place; `None`: it may not be ended now.
    pub fn claim(&self) -> Option<Claim> {
        let arriving = Claim { stage: Stage::Arriving, progress: self.began };
        let at = match self.phase {
            // Of its last words nothing is left here.
            Phase::Draining(_) | Phase::Gone => return Some(Claim { stage: Stage::Over, ..arriving }),
            Phase::Securing | Phase::Handshake(_) => return Some(arriving),
            Phase::Waiting => return None,
            Phase::Open | Phase::Paused(_) | Phase::Closing => self.progress.at,
        };
        Some(match at {
            proto::Stage::Delivering if self.phase == Phase::Closing => arriving,
            proto::Stage::Delivering => return None,
            proto::Stage::Arriving => arriving,
            proto::Stage::Between => Claim { stage: Stage::Between, progress: self.last_further },
            // Silence is paid for in advance for a while only.
            proto::Stage::Body(body) => {
                Claim { stage: Stage::Body, progress: body.paid_until().min(self.last_read + PAID_AHEAD) }
            }
            proto::Stage::Trusted(_) => {
                Claim { stage: Stage::Trusted, progress: self.last_command.max(self.last_write) }
            }
        })
    }

    /// Whether the client is known, and its message on its way in; `None` while one waits for the disk.
    pub fn body(&self) -> Option<(bool, Option<Body>)> {
        match self.progress.at {
            proto::Stage::Trusted(body) => Some((true, body)),
            proto::Stage::Body(body) => Some((false, Some(body))),
            proto::Stage::Arriving | proto::Stage::Between => Some((false, None)),
            proto::Stage::Delivering => None,
        }
    }

    /// Whether message data is what would be read next.
    pub fn takes_data(&self) -> bool {
        self.phase == Phase::Open && self.body().is_some_and(|(_, body)| body.is_some())
    }

    /// Whether the session has served a client since it was asked last.
    pub fn has_served(&mut self) -> bool {
        let served = self.progress.served;
        std::mem::replace(&mut self.served, served) < served
    }

    /// Memory is wanted: the session is to spill its message data in the next round.
    pub fn spill(&mut self) {
        self.session.spill();
    }

    /// Notes when the session has come further.
    pub(super) fn note_progress(&mut self, now: Now) {
        let progress = self.session.progress();
        if progress.commands != self.progress.commands {
            self.last_led_on = now.steady;
        }
        if progress.further != self.progress.further {
            self.last_further = now.steady;
        }
        self.progress = progress;
    }

    /// Whether the session takes no more steps; its last words may still be on their way.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Draining(_) | Phase::Gone)
    }

    /// Tells the log that the connection is over, and what came of it.
    pub fn tell_end(&mut self, now: Now) {
        self.log(Duration::ZERO);
        let lasted = now.steady.saturating_sub(self.began);
        logging::closed(&self.caller, &self.summary, self.received, self.sent, lasted);
    }
}

/// Why a connection ends whose peer takes nothing of what it is sent.
const UNREAD: &str = "what was sent is not read";
/// Octets that came faster than they had to pay for so long a silence at most.
const PAID_AHEAD: Duration = Duration::from_secs(30);
