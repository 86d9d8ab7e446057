//! Bodies of requests that their sessions hold whole in memory, such as that of `POST /api/v1/send`.
//!
//! The rule: a large one begins when its memory is reserved. Until then its client waits, in an order that is fair to each
//! client, and its octets stay with it.

use std::time::Duration;

use super::{
    clients::{Client, Clients},
    effects::Effects,
    fair_queue::ClientKey,
    inbound::WaitingBody,
    receive::{Context, Receiver},
};
use crate::proto::request::{ConnId, Failure, Response};

impl Receiver {
    /// A body of this many octets is to begin, now or when there is room for it.
    pub(super) fn begin_whole(
        &mut self,
        (id, client, key): (ConnId, &mut Client, &ClientKey),
        octets: u64,
        cx: &mut Context<'_>,
    ) {
        if octets <= SMALL || self.waiting.len() == 0 && self.bodies.has_room_for_whole(octets) {
            return self.admit((id, client), octets, cx);
        }
        if let Some((lost, _)) = self.waiting.push(key, id, WaitingBody { octets, since: cx.now }) {
            cx.effects.fail(lost, Failure::Busy);
        }
    }

    /// Begins the bodies for which there is room by now.
    pub(super) fn admit_waiting(&mut self, clients: &mut Clients, cx: &mut Context<'_>) {
        while self.can_admit()
            && let Some((id, _, body)) = self.waiting.next(|_| true)
        {
            if let Some(client) = clients.get_mut(id) {
                self.admit((id, client), body.octets, cx);
            }
        }
    }

    /// Whether the body that comes next can begin.
    pub(super) fn can_admit(&self) -> bool {
        self.waiting.first().is_some_and(|body| self.bodies.has_room_for_whole(body.octets))
    }

    /// Refuses the bodies that have waited for too long.
    pub(super) fn expire_waiting(&mut self, cx: &mut Context<'_>) {
        for id in self.waiting.matching(|body| body.since + MAX_WAIT <= cx.now) {
            self.waiting.remove(id);
            cx.effects.fail(id, Failure::Busy);
        }
    }

    /// The connection is closed: its body does not begin.
    pub(super) fn waiting_closed(&mut self, id: ConnId, effects: &mut Effects) {
        if self.waiting.remove(id).is_some() {
            effects.fail(id, Failure::Busy);
        }
    }

    fn admit(&mut self, (id, client): (ConnId, &mut Client), octets: u64, cx: &mut Context<'_>) {
        let response = self.begin(id, client, cx.now);
        if octets > SMALL && matches!(response, Response::Done) {
            self.bodies.reserve_whole(id, octets);
        }
        cx.effects.respond(id, response);
    }
}

/// Octets of a body that never waits.
const SMALL: u64 = 256 * 1024;
/// The longest time that a body waits for memory.
const MAX_WAIT: Duration = Duration::from_secs(60);
