//! Words of a dialogue that transcripts do not have: the names of faults, and the rule by which two lines agree.
//! `restante::transcript::format` defines how octets, requests and responses are written.

use std::{sync::Arc, time::SystemTime};

use restante::proto::{
    imap::{
        flags::Flags,
        request::{ImapRequest, ImapResponse, Interruption},
        sequence_set::NumberSet,
    },
    request::{Failure, Response},
};

use super::folders::Folders;
pub(crate) use restante::transcript::format::{
    escaped, format_duration, format_request, format_response, unescaped, unquoted,
};

/// The failure of this name.
pub(crate) fn fault(word: &str) -> Result<Failure, String> {
    let found = Failure::ALL.into_iter().find(|failure| failure.name() == word);
    found.ok_or_else(|| format!("{word} is not a fault"))
}

/// The outcome for one recipient: `ok`, or a fault.
pub(crate) fn outcome(word: &str) -> Result<Option<Failure>, String> {
    if word == "ok" { Ok(None) } else { fault(word).map(Some) }
}

/// Whether a line of the session agrees with the one in the file. `=*` at the end of a `?` line stands for any
/// value.
pub(crate) fn agree(expected: &str, said: &str) -> bool {
    match expected.strip_suffix("=*") {
        Some(start) if expected.starts_with('?') => {
            said.strip_prefix(start).is_some_and(|rest| rest.starts_with('='))
        }
        _ => expected == said,
    }
}

/// The response to a change that a failure interrupts after some messages: `1 Full`.
pub(super) fn interrupted(
    folders: &mut Folders,
    request: Option<ImapRequest>,
    how: &str,
) -> Result<Response, String> {
    let (done, failure) = how.split_once(' ').ok_or("a number and a fault are missing")?;
    let (done, failure) = (done.parse().map_err(|_| format!("{done} is not a number"))?, fault(failure)?);
    let mut request = request.ok_or("no request of IMAP waits")?;
    let Response::Imap(ImapResponse::State(state)) = folders.answer(&ImapRequest::Refresh, b"") else {
        return Err("no folder is selected".into());
    };
    let first = |is_wanted: &dyn Fn(u32, Flags) -> bool| {
        let mut uids = NumberSet::default();
        let wanted = state.messages.iter().filter(|message| is_wanted(message.uid, message.flags));
        wanted.take(done).for_each(|message| uids.push(message.uid));
        uids
    };
    match &mut request {
        ImapRequest::Store(store) => store.uids = Arc::new(first(&|uid, _| store.uids.contains(uid))),
        ImapRequest::Copy { uids, .. } => *uids = first(&|uid, _| uids.contains(uid)),
        ImapRequest::Expunge { uids } => *uids = Some(first(&|_, flags| flags.intersects(Flags::DELETED))),
        other => return Err(format!("no change: {other:?}")),
    }
    let mut response = folders.answer(&request, b"");
    if let Response::Imap(
        ImapResponse::Stored { interruption, .. }
        | ImapResponse::Expunged { interruption, .. }
        | ImapResponse::Copied { interruption, .. },
    ) = &mut response
    {
        *interruption = Some(Interruption { done: done as u64, failure });
    }
    Ok(response)
}

/// The response of the folders to a request of IMAP. The few words that a transcript has for it must be the same.
pub(super) fn told(text: &str, served: Result<Response, String>) -> Result<Response, String> {
    let served = served.map_err(|_| format!("{text:?} is not an answer"))?;
    match format_response(&served, SystemTime::UNIX_EPOCH, false).unwrap_or_default() {
        words if words.strip_prefix("! ") == Some(text) => Ok(served),
        words => Err(format!("{text:?} is not the answer of the folders: {words}")),
    }
}

/// The response to STORE or EXPUNGE without the state of the folder.
pub(super) fn without_state(response: Response) -> Result<Response, String> {
    match response {
        Response::Imap(ImapResponse::Stored { modified, is_partial, interruption, .. }) => {
            Ok(Response::Imap(ImapResponse::Stored { state: None, modified, is_partial, interruption }))
        }
        Response::Imap(ImapResponse::Expunged { removed, interruption, .. }) => {
            Ok(Response::Imap(ImapResponse::Expunged { state: None, removed, interruption }))
        }
        other => Err(format!("no change: {other:?}")),
    }
}
