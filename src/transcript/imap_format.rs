//! The requests of IMAP sessions to the backend, and the responses, in a few words. A response has no mail in it, so a
//! replay needs the folders, and compares these words with what they say.

use std::sync::Arc;

use super::octets::quoted;
use crate::proto::imap::{
    command::FlagChange,
    flags::Flags,
    request::{FolderState, ImapRequest, ImapResponse, Interruption},
    sequence_set::NumberSet,
};

/// A request, as written after `?`.
pub(super) fn request(request: &ImapRequest) -> String {
    let flags = |flags: Flags, keywords: &[String]| {
        let keywords: Vec<String> = keywords.iter().map(|name| quoted(name.as_bytes())).collect();
        format!("{flags:?}{}", keywords.join(","))
    };
    match request {
        ImapRequest::Select { folder } => format!("select folder={folder}"),
        ImapRequest::Unselect => "unselect".into(),
        ImapRequest::Refresh => "refresh".into(),
        ImapRequest::Fetch(fetch) => {
            let at = fetch.position;
            let from = if at.uid == 0 {
                String::new()
            } else {
                format!(" from={}/{}/{}", at.uid, at.item, at.octets)
            };
            format!("fetch uids={} items={}{from}", set(&fetch.uids), fetch.items.len())
        }
        ImapRequest::Search(_) => "search".into(),
        ImapRequest::Store(store) => {
            let sign = match store.change {
                FlagChange::Replace => "",
                FlagChange::Add => "+",
                FlagChange::Remove => "-",
            };
            let since = store.unchanged_since.map(|since| format!(" since={since}")).unwrap_or_default();
            format!(
                "store uids={} flags={sign}{}{since}",
                set(&store.uids),
                flags(store.flags, &store.keywords)
            )
        }
        ImapRequest::Expunge { uids: None } => "expunge".into(),
        ImapRequest::Expunge { uids: Some(uids) } => format!("expunge uids={}", set(uids)),
        ImapRequest::Copy { uids, to, is_move } => {
            format!("{} uids={} to={to}", if *is_move { "move" } else { "copy" }, set(uids))
        }
        ImapRequest::Append { folder, flags: named, keywords, date, bytes } => {
            let date = date.map(|date| format!(" date={date}")).unwrap_or_default();
            let flags = flags(*named, keywords);
            format!("append folder={folder} flags={flags}{date} bytes={}", quoted(bytes))
        }
        ImapRequest::List { mailbox, status } => format!("list mailbox={mailbox} status={}", status.len()),
        ImapRequest::Status { folder, items } => format!("status folder={folder} items={}", items.len()),
        ImapRequest::Create { folder, special_use } => {
            let special_use = special_use.map(|of| format!(" use={of:?}")).unwrap_or_default();
            format!("create folder={folder}{special_use}")
        }
        ImapRequest::Delete { folder } => format!("delete folder={folder}"),
        ImapRequest::Rename { from, to } => format!("rename folder={from} to={to}"),
        ImapRequest::Subscribe { folder, on, .. } => {
            format!("{} folder={folder}", if *on { "subscribe" } else { "unsubscribe" })
        }
        ImapRequest::Usage { mailbox } => format!("usage mailbox={mailbox}"),
        ImapRequest::Prepare { mailbox } => format!("prepare mailbox={mailbox}"),
    }
}

/// A response, as written after `!`.
pub(super) fn response(response: &ImapResponse) -> String {
    let state = |word: &str, state: &FolderState| {
        format!(
            "{word} messages={} uidvalidity={} uidnext={} modseq={}",
            state.messages.len(),
            state.uid_validity,
            state.uid_next,
            state.highest_modseq
        )
    };
    let told = |word: &str, of: &Option<Arc<FolderState>>| match of {
        Some(of) => state(word, of),
        None => word.to_owned(),
    };
    match response {
        ImapResponse::Done | ImapResponse::Created(_) => "done".into(),
        ImapResponse::State(of) => state("state", of),
        ImapResponse::Expunged { state: of, removed, interruption } => {
            format!("{} removed={removed}{}", told("expunged", of), interrupted(*interruption))
        }
        ImapResponse::Fetched(piece) => format!("fetched octets={}", piece.octets.len()),
        ImapResponse::Found { uids, .. } => format!("found uids={}", set(uids)),
        ImapResponse::Stored { state: of, modified, interruption, .. } => {
            let modified = if modified.is_empty() { String::new() } else { format!(" modified={modified}") };
            format!("{}{modified}{}", told("stored", of), interrupted(*interruption))
        }
        ImapResponse::Copied { uid_validity, from, to, interruption, .. } => {
            let (from, to, end) = (set(from), set(to), interrupted(*interruption));
            format!("copied uidvalidity={uid_validity} from={from} to={to}{end}")
        }
        ImapResponse::Appended { uid: Some((uid_validity, uid)) } => {
            format!("appended uidvalidity={uid_validity} uid={uid}")
        }
        ImapResponse::Appended { uid: None } => "appended".to_owned(),
        ImapResponse::Folders(folders) => format!("folders {}", folders.len()),
        ImapResponse::Status(numbers) => {
            format!("status messages={} unseen={}", numbers.messages, numbers.unseen)
        }
        ImapResponse::Usage { octets, messages } => format!("usage octets={octets} messages={messages}"),
        ImapResponse::Refused(refusal) => format!("refused {refusal:?}"),
    }
}

/// The failure of a change that is done in part.
fn interrupted(interruption: Option<Interruption>) -> String {
    interruption.map_or_else(String::new, |Interruption { done, failure }| {
        format!(" done={done} failed={}", failure.name())
    })
}

fn set(uids: &NumberSet) -> String {
    if uids.is_empty() { "-".into() } else { uids.to_string() }
}

/// The action that the server takes for a request that begins with this word.
pub(super) fn action(word: &str) -> Option<&'static str> {
    Some(match word {
        "select" => "Lists the messages of the folder and gives each a UID",
        "refresh" => "Asks for updates of the folder",
        "fetch" => "Reads the messages",
        "search" => "Searches the messages",
        "store" => "Changes the flags, which are letters in the names of the files",
        "expunge" => "Removes the files of deleted messages",
        "copy" => "Makes copies durable in the other folder; only then may it reply OK",
        "move" => "Makes the messages durable in the other folder, then removes them here",
        "append" => "Makes the message durable; only then may it reply OK",
        "list" => "Lists the folders",
        "status" => "Counts the messages of the folder",
        "create" => "Makes the folder",
        "delete" => "Removes the folder and its messages",
        "rename" => "Renames the folder, and those below it",
        "subscribe" | "unsubscribe" => "Changes the list of subscribed folders",
        "usage" => "Counts the octets and messages of the mailbox",
        "prepare" => "Makes the usual folders that are missing: Sent, Drafts, Trash, Junk, Archive",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::request::Mailbox;

    #[test]
    fn y84_a_request_is_told_in_a_few_words_and_explained() {
        let folder = Mailbox::named("bob").unwrap();
        let append = ImapRequest::Append {
            folder: folder.clone(),
            flags: Default::default(),
            keywords: Vec::new(),
            date: None,
            bytes: b"secret".to_vec(),
        };
        for (asked, text) in [
            (append, "append folder=bob flags= bytes=\"secret\""),
            (ImapRequest::Select { folder: folder.clone() }, "select folder=bob"),
            (
                ImapRequest::Subscribe { folder: folder.clone(), on: false, made: Vec::new() },
                "unsubscribe folder=bob",
            ),
            (ImapRequest::Prepare { mailbox: folder }, "prepare mailbox=bob"),
            (ImapRequest::Refresh, "refresh"),
        ] {
            assert_eq!(request(&asked), text);
            assert!(text.split(' ').next().and_then(action).is_some(), "{text}");
        }
    }
}
