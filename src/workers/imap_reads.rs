//! FETCH and SEARCH: reading the messages of a folder for a client of IMAP.
//!
//! Each job does a part: FETCH renders a piece of its responses, and SEARCH reads some messages, so that other clients have
//! their turn between two parts.

use std::sync::{Arc, Weak};

use super::{
    imap_fetch::fetch_piece,
    imap_search::{SearchProgress, SearchSlice, search},
};
use crate::{
    index::Sequence,
    maildir::Maildir,
    proto::{
        imap::request::{Fetch, ImapResponse, Search},
        request::{ConnId, Failure},
    },
};

/// A part of a request that reads messages.
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
    /// Dropped when the client has gone.
    pub client: Weak<()>,
}

/// The request of an [`ImapRead`].
#[derive(Debug)]
pub enum ReadRequest {
    /// FETCH: the next piece of its responses, of about so many octets.
    Fetch(Box<Fetch>, usize),
    /// SEARCH, and the place to go on from.
    Search(Box<Search>, SearchProgress),
}

/// The result of an [`ImapRead`].
#[derive(Debug)]
pub enum ReadOutcome {
    /// The response.
    Response(ImapResponse),
    /// The next part of a search.
    Unfinished(Box<ImapRead>),
}

impl ImapRead {
    /// Does a part of the request.
    pub(super) fn run(mut self) -> Result<ReadOutcome, Failure> {
        let Self { maildir, sequence, request, client, .. } = &mut self;
        let is_gone = || client.strong_count() == 0;
        if is_gone() {
            return Err(Failure::TempFail);
        }
        Ok(ReadOutcome::Response(match request {
            ReadRequest::Fetch(fetch, max) => {
                ImapResponse::Fetched(fetch_piece(maildir, sequence, fetch, *max)?)
            }
            ReadRequest::Search(wanted, progress) => {
                let progress_before = std::mem::take(progress);
                match search(maildir, sequence, wanted, progress_before, (SEARCH_SLICE, &is_gone))? {
                    SearchSlice::Done { uids, has_gone } => {
                        ImapResponse::Found { uids, state: Arc::clone(&sequence.state), has_gone }
                    }
                    SearchSlice::Unfinished(rest) => {
                        *progress = rest;
                        return Ok(ReadOutcome::Unfinished(Box::new(self)));
                    }
                }
            }
        }))
    }
}

/// Octets that one part of a search reads and compares: some milliseconds.
const SEARCH_SLICE: u64 = 8 << 20;
