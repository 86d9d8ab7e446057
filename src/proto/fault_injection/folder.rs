//! The faults of IMAP sessions: the commands that are refused, and folders with another value of UIDVALIDITY.

use std::sync::Arc;

use crate::proto::{
    SessionEvent, Step,
    imap::request::{FolderState, FolderStatus, ImapRequest, ImapResponse},
    injection::ImapVerb,
    request::Request,
};

/// The command that a request belongs to, if a fault can refuse it.
pub(super) fn verb_of(request: &ImapRequest) -> Option<ImapVerb> {
    Some(match request {
        ImapRequest::Select { .. } => ImapVerb::Select,
        ImapRequest::List { .. } => ImapVerb::List,
        ImapRequest::Status { .. } => ImapVerb::Status,
        ImapRequest::Fetch(_) => ImapVerb::Fetch,
        ImapRequest::Search(_) => ImapVerb::Search,
        ImapRequest::Store(_) => ImapVerb::Store,
        ImapRequest::Append { .. } => ImapVerb::Append,
        ImapRequest::Copy { is_move: false, .. } => ImapVerb::Copy,
        ImapRequest::Copy { is_move: true, .. } => ImapVerb::Move,
        ImapRequest::Expunge { .. } => ImapVerb::Expunge,
        _ => return None,
    })
}

/// True if the session asks for the rest of the responses to a FETCH, so that its output may end inside a response.
pub(super) fn is_within_response(step: &Step) -> bool {
    matches!(step, Step::Request(Request::Imap(ImapRequest::Fetch(fetch))) if fetch.position != Default::default())
}

/// The values of UIDVALIDITY in a session: those of the folders, and so much more.
#[derive(Debug, Clone, Copy)]
pub(super) struct OtherValidity(pub(super) u32);

impl OtherValidity {
    pub(super) fn response(self, response: ImapResponse) -> ImapResponse {
        match response {
            ImapResponse::State(state) => ImapResponse::State(self.state(&state)),
            ImapResponse::Expunged { state, removed, interruption } => {
                let state = state.map(|state| self.state(&state));
                ImapResponse::Expunged { state, removed, interruption }
            }
            ImapResponse::Stored { state, modified, is_partial, interruption } => {
                let state = state.map(|state| self.state(&state));
                ImapResponse::Stored { state, modified, is_partial, interruption }
            }
            ImapResponse::Copied { state, uid_validity, messages, from, to, interruption } => {
                let (state, uid_validity) = (state.map(|state| self.state(&state)), self.of(uid_validity));
                ImapResponse::Copied { state, uid_validity, messages, from, to, interruption }
            }
            ImapResponse::Appended { uid } => {
                ImapResponse::Appended { uid: uid.map(|(validity, uid)| (self.of(validity), uid)) }
            }
            ImapResponse::Status(status) => ImapResponse::Status(self.status(status)),
            ImapResponse::Folders(mut folders) => {
                for folder in &mut folders {
                    folder.status = folder.status.map(|status| self.status(status));
                }
                ImapResponse::Folders(folders)
            }
            other => other,
        }
    }

    pub(super) fn event(self, event: &SessionEvent) -> Option<SessionEvent> {
        let SessionEvent::FolderChanged(state) = event else { return None };
        Some(SessionEvent::FolderChanged(self.state(state)))
    }

    fn state(self, state: &FolderState) -> Arc<FolderState> {
        Arc::new(FolderState {
            uid_validity: self.of(state.uid_validity),
            keywords: state.keywords.clone(),
            messages: state.messages.clone(),
            recent: state.recent.clone(),
            ..*state
        })
    }

    fn status(self, status: FolderStatus) -> FolderStatus {
        FolderStatus { uid_validity: self.of(status.uid_validity), ..status }
    }

    /// UIDVALIDITY is never 0 (RFC 9051 section 9, "nz-number").
    fn of(self, value: u32) -> u32 {
        value.checked_add(self.0).unwrap_or(self.0)
    }
}
