//! The requests of IMAP sessions to the backend, and the responses, in a few words: mail and names of senders are not in
//! them.

use crate::proto::imap::{
    request::{ImapRequest, ImapResponse},
    sequence_set::NumberSet,
};

/// A request, as written after `? imap`.
pub(super) fn request(request: &ImapRequest) -> String {
    match request {
        ImapRequest::Select { folder } => format!("select mailbox={folder}"),
        ImapRequest::Unselect => "unselect".into(),
        ImapRequest::Refresh => "refresh".into(),
        ImapRequest::Fetch(fetch) => format!("fetch messages={}", count(&fetch.uids)),
        ImapRequest::Search(_) => "search".into(),
        ImapRequest::Store(store) => format!("store messages={}", count(&store.uids)),
        ImapRequest::Expunge { uids } => match uids {
            Some(uids) => format!("expunge messages={}", count(uids)),
            None => "expunge".into(),
        },
        ImapRequest::Copy { uids, to, is_move } => {
            let word = if *is_move { "move" } else { "copy" };
            format!("{word} messages={} to={to}", count(uids))
        }
        ImapRequest::Append { folder, .. } => format!("append mailbox={folder}"),
        ImapRequest::List { mailbox, .. } => format!("list mailbox={mailbox}"),
        ImapRequest::Status { folder, .. } => format!("status mailbox={folder}"),
        ImapRequest::Create { folder, .. } => format!("create mailbox={folder}"),
        ImapRequest::Delete { folder } => format!("delete mailbox={folder}"),
        ImapRequest::Rename { from, to } => format!("rename mailbox={from} to={to}"),
        ImapRequest::Subscribe { folder, on: true } => format!("subscribe mailbox={folder}"),
        ImapRequest::Subscribe { folder, on: false } => format!("unsubscribe mailbox={folder}"),
        ImapRequest::Usage { mailbox } => format!("usage mailbox={mailbox}"),
        ImapRequest::Prepare { mailbox } => format!("prepare mailbox={mailbox}"),
    }
}

/// A response, as written after `! imap`.
pub(super) fn response(response: &ImapResponse) -> String {
    match response {
        ImapResponse::Done => "done".into(),
        ImapResponse::State(state) => format!("state messages={}", state.messages.len()),
        ImapResponse::Fetched(piece) => {
            format!(
                "fetched octets={}{}",
                piece.octets.len(),
                if piece.next.is_none() { " last" } else { "" }
            )
        }
        ImapResponse::Found(found) => format!("found messages={}", count(found)),
        ImapResponse::Stored { modified, is_partial, .. } => {
            format!("stored modified={}{}", count(modified), if *is_partial { " partial" } else { "" })
        }
        ImapResponse::Copied { to, .. } => format!("copied messages={}", count(to)),
        ImapResponse::Appended { uid, .. } => format!("appended uid={uid}"),
        ImapResponse::Folders(folders) => format!("folders count={}", folders.len()),
        ImapResponse::Status(status) => format!("status messages={}", status.messages),
        ImapResponse::Usage { octets, messages } => format!("usage octets={octets} messages={messages}"),
        ImapResponse::Refused(refusal) => format!("refused {refusal:?}"),
    }
}

/// The number of messages in a set.
fn count(set: &NumberSet) -> u64 {
    set.ranges().map(|range| u64::from(range.end() - range.start()) + 1).sum()
}

/// The action that the server takes for a request.
pub(super) fn action(request: &str) -> Option<&'static str> {
    Some(match request.split(' ').next()? {
        "select" => "Lists the messages of the folder and gives each a UID",
        "refresh" => "Looks for news of the folder",
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
            (append, "append mailbox=bob"),
            (ImapRequest::Select { folder: folder.clone() }, "select mailbox=bob"),
            (ImapRequest::Subscribe { folder: folder.clone(), on: false }, "unsubscribe mailbox=bob"),
            (ImapRequest::Prepare { mailbox: folder }, "prepare mailbox=bob"),
            (ImapRequest::Refresh, "refresh"),
        ] {
            assert_eq!(request(&asked), text);
            assert!(action(text).is_some(), "{text}");
        }
    }
}
