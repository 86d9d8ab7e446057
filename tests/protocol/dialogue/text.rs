//! What a dialogue says beyond what transcripts do: the words of faults, and when two lines agree. How octets, asks
//! and answers are written is told in `restante::transcript::format`.

use restante::proto::{
    imap::request::ImapResponse,
    request::{Failure, Response},
};
pub(crate) use restante::transcript::format::{
    escaped, format_duration, format_request, unescaped, unquoted,
};

/// The words of an answer's fault.
pub(crate) fn fault(word: &str) -> Result<Failure, String> {
    let found = Failure::ALL.into_iter().find(|failure| failure.name() == word);
    found.ok_or_else(|| format!("{word} is not a fault"))
}

/// What became of one recipient: `ok`, or a fault.
pub(crate) fn outcome(word: &str) -> Result<Option<Failure>, String> {
    if word == "ok" { Ok(None) } else { fault(word).map(Some) }
}

/// The same text for a line that stands in the file and one that was said, but for `*`: it stands for the
/// rest of a `?` line.
pub(crate) fn agree(expected: &str, said: &str) -> bool {
    match expected.strip_suffix("=*") {
        Some(start) if expected.starts_with('?') => {
            said.strip_prefix(start).is_some_and(|rest| rest.starts_with('='))
        }
        _ => expected == said,
    }
}

/// The response to STORE or EXPUNGE without the state of the folder.
pub(super) fn without_state(response: Response) -> Result<Response, String> {
    match response {
        Response::Imap(ImapResponse::Stored { modified, is_partial, .. }) => {
            Ok(Response::Imap(ImapResponse::Stored { state: None, modified, is_partial }))
        }
        Response::Imap(ImapResponse::Expunged { removed, .. }) => {
            Ok(Response::Imap(ImapResponse::Expunged { state: None, removed }))
        }
        other => Err(format!("no change: {other:?}")),
    }
}
