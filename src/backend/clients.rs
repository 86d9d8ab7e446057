//! The connections that the backend serves, and the responses that are ready for them.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
};

use super::{inbound::Inbound, open_maildrop::OpenMaildrop};
use crate::{
    capacity::{GradualMap, Shrinker},
    proto::request::{ConnId, Response},
    workers::job::ReadMessage,
};

/// The state that the backend keeps for one connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The client's address, for the throttling of logins.
    pub(super) peer: IpAddr,
    response_state: ResponseState,
    // Boxed, as the mailbox is: an idle session has neither, and there are thousands of idle sessions.
    pub(super) inbound: Option<Box<Inbound>>,
    /// The mailbox that the session has open or is opening.
    pub(super) maildrop: Option<Box<OpenMaildrop>>,
    /// The message that a session of the web API reads, between two pieces of it.
    pub(super) reading: Option<Box<ReadMessage>>,
    /// Changes in the spool for the transcript of the session.
    pub(super) changes: Vec<String>,
}

/// The response to the client's last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseState {
    /// The session makes the next request.
    NotOwed,
    /// The backend still has to respond.
    Owed,
    /// The backend still has to respond, and the connection is closed: the response will be dropped.
    OwedToClosed,
}

impl Client {
    pub(super) fn new(peer: IpAddr) -> Self {
        Self {
            peer,
            response_state: ResponseState::NotOwed,
            inbound: None,
            maildrop: None,
            reading: None,
            changes: Vec::new(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.response_state == ResponseState::OwedToClosed
    }
}

/// All connections that the backend serves.
#[derive(Debug, Default)]
pub(super) struct Clients {
    clients: GradualMap<ConnId, Client>,
    /// The number of connections whose response is outstanding.
    outstanding: usize,
    responses: VecDeque<(ConnId, Response)>,
}

impl Clients {
    pub(super) fn insert(&mut self, id: ConnId, peer: IpAddr) {
        self.clients.insert(id, Client::new(peer));
    }

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
        let client = self.clients.get_or_insert_with(id, || Client::new(Ipv4Addr::LOCALHOST.into()));
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
        None
    }

    pub(super) fn next_response(&mut self) -> Option<(ConnId, Response)> {
        self.responses.pop_front()
    }

    /// Takes the response to the request that was just made, if it is ready.
    pub(super) fn response_to(&mut self, id: ConnId) -> Option<Response> {
        // Thousands of responses may wait for this turn: they are searched only if one of them is for this connection,
        // and then it is among the last.
        if self.clients.get(&id)?.response_state != ResponseState::NotOwed {
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
