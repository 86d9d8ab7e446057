//! FETCH and SEARCH: reading the messages of a folder for a client of IMAP.

use std::sync::Arc;

use crate::{
    index::Sequence,
    maildir::Maildir,
    proto::{
        imap::request::{Fetch, ImapResponse, Search},
        request::{ConnId, Failure},
    },
};

/// A request that reads messages.
#[derive(Debug)]
pub struct ImapRead {
    /// The connection that gets the response.
    pub conn: ConnId,
    /// The open directories of the folder.
    pub maildir: Arc<Maildir>,
    /// The files of its messages.
    pub sequence: Arc<Sequence>,
    /// The request.
    pub request: ReadRequest,
}

/// The request of an [`ImapRead`].
#[derive(Debug)]
pub enum ReadRequest {
    /// FETCH: the next piece of its responses.
    Fetch(Box<Fetch>),
    /// SEARCH.
    Search(Box<Search>),
}

impl ImapRead {
    /// Serves the request.
    pub(super) fn run(self) -> Result<ImapResponse, Failure> {
        let Self { maildir: _, sequence: _, request, .. } = self;
        match request {
            ReadRequest::Fetch(_) | ReadRequest::Search(_) => Err(Failure::TempFail),
        }
    }
}
