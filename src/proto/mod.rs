//! The two protocols, as plain values: no socket, file, thread or clock in here.
//!
//! A session eats an [`Inbox`], fills an [`Outbox`], and says with a [`Step`] what should happen next. What
//! it wants from the world is an [`Ask`]; the world replies with an [`Answer`]. The time comes in with
//! [`Cx`]. Nothing below this directory imports anything of ours but the leaves `limits`, `octets` and
//! `clock`, and `tests/layering.rs` holds it to that.

pub mod ask;
pub mod buf;
pub mod dot;
pub mod event;
pub mod folder;
pub mod pop3;
pub mod smtp;
pub mod telnet;

use std::time::Duration;

use crate::clock::Now;
use ask::{Answer, Ask, Directory};
use buf::{Inbox, Outbox};

/// What a session may look at while it steps.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    /// The time of this turn of the loop.
    pub now: Now,
    /// Who has a mailbox here.
    pub directory: &'a dyn Directory,
}

/// What a session wants next.
#[derive(Debug)]
pub enum Step {
    /// It did something and may have more to do: step again.
    Again,
    /// It can do nothing without more input.
    Idle,
    /// It wants something from the world, and takes no step before the answer.
    Ask(Ask),
    /// It takes no step for that long; input waits.
    Pause(Duration),
    /// Its last words are in the outbox: flush, then close.
    Close,
    /// Close without flushing: the peer must see that something is missing.
    Abort,
}

/// How long a session is willing to wait for its peer, and what ends the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The wait.
    pub limit: Duration,
    /// Whether single octets of input renew it (message data) or only whole commands do.
    pub renewed_by: Renewal,
    /// How long output may wait without the peer taking any of it.
    pub write: Duration,
    /// The longest life of the connection, if it has one.
    pub lifetime: Option<Duration>,
}

/// What renews a [`Patience`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// A whole command: a peer that sends an octet a minute gains nothing.
    Command,
    /// Any octet.
    Octet,
}

/// One session of one protocol.
pub trait Protocol {
    /// Speaks first: the banner.
    fn greet(&mut self, cx: &Cx<'_>, out: &mut Outbox) -> Step;

    /// Takes one step: a command line, a stretch of message data, or the next piece of a reply.
    fn step(&mut self, cx: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step;

    /// Takes the answer to the last [`Step::Ask`].
    fn answer(&mut self, cx: &Cx<'_>, answer: Answer, out: &mut Outbox) -> Step;

    /// How long to wait for the peer in the present state.
    fn patience(&self) -> Patience;

    /// The peer was too slow: the last words, after which the connection closes.
    fn expire(&mut self, out: &mut Outbox);

    /// The server stops. Either says the last words and closes, or goes on to an end that is near.
    fn stop(&mut self, out: &mut Outbox) -> Step;
}

/// Whether a count has come to its limit, where 0 is no limit.
pub(crate) fn reached(count: usize, limit: usize) -> bool {
    limit != 0 && count >= limit
}
