//! FETCH and SEARCH: reading the messages of a folder for a client of IMAP.
//!
//! Each job does a part: FETCH renders a piece of its responses, and SEARCH reads some messages, so that other clients have
//! their turn between two parts.

use std::sync::{Arc, Weak};

use super::{
    imap_fetch::fetch_piece,
    imap_search::{SearchProgress, SearchSlice, search},
    piece_files::UnfinishedMessage,
    storage::Storage,
};
use crate::{
    index::Sequence,
    maildir::Maildir,
    proto::{
        imap::request::{Fetch, FetchedPiece, FolderState, ImapResponse, Search},
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
    /// FETCH: the next piece of its responses, of about so many octets. It begins with that message, if its file is open.
    Fetch(Box<Fetch>, usize, Option<Box<UnfinishedMessage>>),
    /// SEARCH, and the place to go on from.
    Search(Box<Search>, SearchProgress),
}

impl ReadRequest {
    /// The messages of a folder that is gone, of which none is left. `None`: the request is not for the rest of a message whose file
    /// is open.
    pub fn sequence_of_gone_folder(&self) -> Option<Arc<Sequence>> {
        let Self::Fetch(fetch, _, Some(_)) = self else { return None };
        let state = FolderState { keywords: fetch.state.keywords.clone(), ..FolderState::default() };
        Some(Arc::new(Sequence::new(Arc::new(state), Arc::default(), Vec::new())))
    }
}

/// The result of an [`ImapRead`].
#[derive(Debug)]
pub enum ReadOutcome {
    /// The response.
    Response(ImapResponse),
    /// A piece of the responses to FETCH, and the message that the next one begins with, if its file is open.
    Fetched(FetchedPiece, Option<Box<UnfinishedMessage>>),
    /// The next part of a search.
    Unfinished(Box<ImapRead>),
}

impl ImapRead {
    /// Does a part of the request.
    pub(super) fn run(mut self, storage: &Storage) -> Result<ReadOutcome, Failure> {
        let Self { maildir, sequence, request, client, .. } = &mut self;
        let is_gone = || client.strong_count() == 0;
        if is_gone() {
            return Err(Failure::TempFail);
        }
        Ok(ReadOutcome::Response(match request {
            ReadRequest::Fetch(fetch, max, unfinished) => {
                let files = (unfinished.take(), &storage.piece_files);
                let (piece, unfinished) = fetch_piece(maildir, sequence, fetch, *max, files)?;
                return Ok(ReadOutcome::Fetched(piece, unfinished));
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
