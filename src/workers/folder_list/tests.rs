use std::fs;

use super::*;
use crate::{
    maildir::Spool,
    proto::{
        imap::request::{ImapRequest, ImapResponse},
        request::ConnId,
    },
    workers::hierarchy_job::{HierarchyJob, HierarchyResult},
};

/// A user with so many folders, each with messages of 3 KiB whose octets no file keeps.
fn user(folders: usize) -> (tempfile::TempDir, Storage, Mailbox) {
    let home = tempfile::tempdir().unwrap();
    let spool = Spool::open(&home.path().join("spool")).unwrap();
    let inbox = spool.open_or_create_maildir("bob").unwrap();
    for number in 0..folders {
        Folders::of(&inbox, MAX_FOLDERS).create(&format!(".{number}")).unwrap();
        for message in 0..4 {
            let path = inbox.path().join(format!(".{number}/new/{message}.a"));
            fs::write(path, b"x\n".repeat(1500)).unwrap();
        }
    }
    (home, Storage::unwatched(spool), Mailbox::named("bob").unwrap())
}

/// The response, and the slices that it took.
fn served(storage: &Storage, request: ImapRequest, slice_bytes: u64) -> (ImapResponse, usize) {
    let mut job = Box::new(HierarchyJob::new(ConnId(1), request, BTreeMap::new()));
    assert!(job.counts_sizes());
    for slices in 1..1000 {
        let limits = ScanLimits { slice_bytes, ..storage.scan_limits() };
        match job.run_slice(storage, limits).unwrap() {
            HierarchyResult::Done(outcome) => return (outcome.response, slices),
            HierarchyResult::Unfinished(rest) => job = rest,
        }
    }
    panic!("the slices end");
}

#[test]
fn y174_a_list_with_sizes_is_done_in_slices_that_count_some_messages_each() {
    let (_home, storage, mailbox) = user(5);
    let status = vec![StatusItem::Messages, StatusItem::Size];
    let list = || ImapRequest::List { mailbox: mailbox.clone(), status: status.clone() };
    let (first, slices) = served(&storage, list(), 8192);
    assert!((10..60).contains(&slices), "two messages a slice: {slices}");
    let (again, _) = served(&storage, list(), u64::MAX);
    let (ImapResponse::Folders(first), ImapResponse::Folders(again)) = (first, again) else {
        panic!("a list")
    };
    assert_eq!(first, again);
    let sizes: Vec<u64> = first.iter().map(|info| info.status.unwrap().size).collect();
    assert_eq!(sizes, [0, 18_000, 18_000, 18_000, 18_000, 18_000]);
}

#[test]
fn y174_the_size_of_one_folder_is_counted_in_slices_too() {
    let (_home, storage, mailbox) = user(1);
    let folder = named(&mailbox, "0").unwrap();
    let request = ImapRequest::Status { folder, items: vec![StatusItem::Size] };
    let (response, slices) = served(&storage, request, 8192);
    assert!(matches!(response, ImapResponse::Status(status) if status.size == 18_000), "{response:?}");
    assert!(slices > 1, "{slices}");
}
