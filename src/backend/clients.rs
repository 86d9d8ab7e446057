//! The connections for which the backend holds something, and the responses that are ready for them.
//!
//! The rule: a connection has an entry from a request to its response, and as long as it has a message or a mailbox. The
//! thousands that are idle have none.

use std::{collections::VecDeque, sync::Arc};

use super::{inbound::Inbound, open_maildrop::OpenMaildrop};
use crate::{
    capacity::{GradualMap, Shrinker},
    proto::request::{Access, ConnId, Response},
    workers::job::ReadMessage,
};

/// The state that the backend keeps for one connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    response_state: ResponseState,
    // Boxed, as the mailbox is: most clients have one of the two.
    pub(super) inbound: Option<Box<Inbound>>,
    /// The mailbox that the session has open or is opening.
    pub(super) maildrop: Option<Box<OpenMaildrop>>,
    /// The message that a session of the web API reads, between two pieces of it.
    pub(super) reading: Option<Box<ReadMessage>>,
    /// Held while a client of the web API or of IMAP waits for its response: jobs for one that has closed end early.
    pub(super) waiting: Option<Arc<()>>,
    /// Changes in the spool for the transcript of the session.
    pub(super) changes: Vec<String>,
}

/// The response to the client's last request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ResponseState {
    /// The session makes the next request.
    #[default]
    NotOwed,
    /// The backend still has to respond.
    Owed,
    /// The backend still has to respond, and the connection is closed: the response will be dropped.
    OwedToClosed,
}

impl Client {
    pub(super) fn is_closed(&self) -> bool {
        self.response_state == ResponseState::OwedToClosed
    }

    /// Whether an IMAP session has a folder open.
    pub(super) fn has_open_folder(&self) -> bool {
        let is_open = |maildrop: &OpenMaildrop| maildrop.access == Access::Shared && maildrop.files.is_some();
        self.maildrop.as_deref().is_some_and(is_open)
    }

    /// Whether the backend holds nothing for this client.
    fn is_idle(&self) -> bool {
        let Self { response_state, inbound, maildrop, reading, waiting: _, changes } = self;
        *response_state == ResponseState::NotOwed
            && inbound.is_none()
            && maildrop.is_none()
            && reading.is_none()
            && changes.is_empty()
    }
}

/// The connections that have made a request and are not idle.
#[derive(Debug, Default)]
pub(super) struct Clients {
    clients: GradualMap<ConnId, Client>,
    /// The number of connections whose response is outstanding.
    outstanding: usize,
    responses: VecDeque<(ConnId, Response)>,
}

impl Clients {
    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.clients).shrink(&mut self.responses);
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Client)> {
        self.clients.iter().map(|(id, client)| (*id, client))
    }

    /// A session has made a request.
    pub(super) fn request(&mut self, id: ConnId) {
        let client = self.clients.get_or_default(id);
        if std::mem::replace(&mut client.response_state, ResponseState::Owed) == ResponseState::NotOwed {
            self.outstanding += 1;
        }
    }

    /// Queues a response. Returns the client if its connection has closed meanwhile.
    pub(super) fn respond(&mut self, id: ConnId, response: Response) -> Option<Client> {
        let client = self.clients.get_mut(&id)?;
        let turn = std::mem::replace(&mut client.response_state, ResponseState::NotOwed);
        if turn != ResponseState::NotOwed {
            self.outstanding -= 1;
        }
        if turn == ResponseState::OwedToClosed {
            return self.clients.remove(&id);
        }
        if client.is_idle() {
            self.clients.remove(&id);
        }
        self.responses.push_back((id, response));
        None
    }

    /// The connection is closed. Returns the client, unless its response is outstanding: then it stays until that
    /// response.
    pub(super) fn close(&mut self, id: ConnId) -> Option<Client> {
        let client = self.clients.get_mut(&id)?;
        if client.response_state == ResponseState::NotOwed {
            return self.clients.remove(&id);
        }
        client.response_state = ResponseState::OwedToClosed;
        client.waiting = None;
        None
    }

    pub(super) fn next_response(&mut self) -> Option<(ConnId, Response)> {
        self.responses.pop_front()
    }

    /// Removes and returns the changes in the spool since the last response.
    pub(super) fn take_changes(&mut self, id: ConnId) -> Vec<String> {
        let Some(client) = self.clients.get_mut(&id) else { return Vec::new() };
        let changes = std::mem::take(&mut client.changes);
        if client.is_idle() {
            self.clients.remove(&id);
        }
        changes
    }

    /// Takes the response to the request that was just made, if it is ready.
    pub(super) fn response_to(&mut self, id: ConnId) -> Option<Response> {
        // Thousands of responses may wait for this turn: they are searched only if one of them is for this connection,
        // and then it is among the last.
        if self.clients.get(&id).is_some_and(|client| client.response_state != ResponseState::NotOwed) {
            return None;
        }
        let at = self.responses.iter().rposition(|(to, _)| *to == id)?;
        self.responses.remove(at).map(|(_, response)| response)
    }

    /// The number of responses outstanding.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether responses wait to be sent.
    pub(super) fn has_responses(&self) -> bool {
        !self.responses.is_empty()
    }
}
