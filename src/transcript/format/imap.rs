//! The notation of the requests of IMAP. A transcript has no content of their responses, so it cannot be replayed.

use super::quoted;
use crate::proto::imap::{
    command::FlagChange,
    flags::Flags,
    request::{FolderState, ImapRequest, ImapResponse},
    sequence_set::NumberSet,
};

/// Formats a request, as written after `?`.
pub(super) fn request(request: &ImapRequest) -> String {
    let flags = |flags: Flags, keywords: &[String]| {
        let keywords: Vec<String> = keywords.iter().map(|name| quoted(name.as_bytes())).collect();
        format!("{flags:?}{}", keywords.join(","))
    };
    match request {
        ImapRequest::Select { folder } => format!("? select folder={folder}"),
        ImapRequest::Unselect => "? unselect".into(),
        ImapRequest::Refresh => "? refresh".into(),
        ImapRequest::Fetch(fetch) => {
            let at = fetch.position;
            let from = if at.uid == 0 {
                String::new()
            } else {
                format!(" from={}/{}/{}", at.uid, at.item, at.octets)
            };
            format!("? fetch uids={} items={}{from}", set(&fetch.uids), fetch.items.len())
        }
        ImapRequest::Search(_) => "? search".into(),
        ImapRequest::Store(store) => {
            let sign = match store.change {
                FlagChange::Replace => "",
                FlagChange::Add => "+",
                FlagChange::Remove => "-",
            };
            let since = store.unchanged_since.map(|since| format!(" since={since}")).unwrap_or_default();
            format!(
                "? store uids={} flags={sign}{}{since}",
                set(&store.uids),
                flags(store.flags, &store.keywords)
            )
        }
        ImapRequest::Expunge { uids: None } => "? expunge".into(),
        ImapRequest::Expunge { uids: Some(uids) } => format!("? expunge uids={}", set(uids)),
        ImapRequest::Copy { uids, to, is_move } => {
            format!("? {} uids={} to={to}", if *is_move { "move" } else { "copy" }, set(uids))
        }
        ImapRequest::Append { folder, flags: named, keywords, date, bytes } => {
            let date = date.map(|date| format!(" date={date}")).unwrap_or_default();
            let flags = flags(*named, keywords);
            format!("? append folder={folder} flags={flags}{date} bytes={}", quoted(bytes))
        }
        ImapRequest::List { mailbox, status } => format!("? list mailbox={mailbox} status={}", status.len()),
        ImapRequest::Status { folder, items } => format!("? status folder={folder} items={}", items.len()),
        ImapRequest::Create { folder, special_use } => {
            let special_use = special_use.map(|of| format!(" use={of:?}")).unwrap_or_default();
            format!("? create folder={folder}{special_use}")
        }
        ImapRequest::Delete { folder } => format!("? delete folder={folder}"),
        ImapRequest::Rename { from, to } => format!("? rename folder={from} to={to}"),
        ImapRequest::Subscribe { folder, on } => {
            format!("? {} folder={folder}", if *on { "subscribe" } else { "unsubscribe" })
        }
        ImapRequest::Usage { mailbox } => format!("? usage mailbox={mailbox}"),
        ImapRequest::Prepare { mailbox } => format!("? prepare mailbox={mailbox}"),
    }
}

/// Formats a response, as written after `!`.
pub(super) fn response(response: &ImapResponse) -> String {
    let state = |word: &str, state: &FolderState| {
        format!(
            "! {word} messages={} uidvalidity={} uidnext={} modseq={}",
            state.messages.len(),
            state.uid_validity,
            state.uid_next,
            state.highest_modseq
        )
    };
    match response {
        ImapResponse::Done => "! done".into(),
        ImapResponse::State(of) => state("state", of),
        ImapResponse::Fetched(piece) => format!("! fetched octets={}", piece.octets.len()),
        ImapResponse::Found(uids) => format!("! found uids={}", set(uids)),
        ImapResponse::Stored { state: of, modified, .. } if modified.is_empty() => state("stored", of),
        ImapResponse::Stored { state: of, modified, .. } => {
            format!("{} modified={modified}", state("stored", of))
        }
        ImapResponse::Copied { uid_validity, from, to, .. } => {
            format!("! copied uidvalidity={uid_validity} from={} to={}", set(from), set(to))
        }
        ImapResponse::Appended { uid_validity, uid } => {
            format!("! appended uidvalidity={uid_validity} uid={uid}")
        }
        ImapResponse::Folders(folders) => format!("! folders {}", folders.len()),
        ImapResponse::Status(numbers) => {
            format!("! status messages={} unseen={}", numbers.messages, numbers.unseen)
        }
        ImapResponse::Usage { octets, messages } => format!("! usage octets={octets} messages={messages}"),
        ImapResponse::Refused(refusal) => format!("! refused {refusal:?}"),
    }
}

fn set(uids: &NumberSet) -> String {
    if uids.is_empty() { "-".into() } else { uids.to_string() }
}
