//! The numbers that STATUS tells beside those of SELECT.

use super::*;
use crate::{
    proto::imap::{command::StatusItem, request::FolderStatus},
    workers::hierarchy_job::HierarchyJob,
};

impl Bench {
    #[track_caller]
    fn status(&mut self) -> FolderStatus {
        let items = vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::HighestModSeq];
        match self.ask(OTHER, ImapRequest::Status { folder: mailbox("ann"), items }) {
            Response::Imap(ImapResponse::Status(status)) => status,
            other => panic!("no status: {other:?}"),
        }
    }

    /// STATUS of a folder that no session has selected, which tells the numbers of the next SELECT.
    #[track_caller]
    fn status_as_select(&mut self) -> (u32, u64) {
        let status = self.status();
        let told = (status.uid_validity, status.uid_next, status.highest_modseq);
        let state = self.select(CLIENT);
        assert_eq!(told, (state.uid_validity, state.uid_next, state.highest_modseq));
        assert_eq!(status.messages as usize, state.messages.len());
        self.unselect();
        (status.uid_next, status.highest_modseq)
    }

    #[track_caller]
    fn unselect(&mut self) {
        let response = self.ask(CLIENT, ImapRequest::Unselect);
        assert!(matches!(response, Response::Imap(ImapResponse::Done)), "{response:?}");
    }
}

#[test]
fn y145_status_tells_the_numbers_of_select_and_each_change() {
    let mut bench = Bench::with_messages(&["new/1.a", "cur/2.b:2,S", "cur/3.c:2,"]);
    bench.unselect();
    assert_eq!(bench.status_as_select(), (4, 2));
    // A message of another program, which a short session numbers.
    bench.write("new/4.d");
    assert_eq!((bench.status_as_select(), bench.status_as_select()), ((5, 3), (5, 3)));
    // Another client stores a flag.
    bench.select(CLIENT);
    bench.store(change(&[2], FlagChange::Add, Flags::FLAGGED));
    assert_eq!(bench.status().highest_modseq, 4);
    bench.unselect();
    assert_eq!(bench.status_as_select(), (5, 4));
    // A message comes by APPEND while no session has the folder, and another one goes.
    bench.ask_append(mailbox("ann"), Flags::SEEN, &[]);
    let (uid_next, appended) = bench.status_as_select();
    assert!(uid_next == 6 && appended > 4, "{uid_next} {appended}");
    fs::remove_file(bench.path("new/1.a")).unwrap();
    assert_eq!(bench.status_as_select(), (6, appended + 1));
    // The index is dropped, and with it the numbers in memory. Those that are reserved follow.
    bench.folders = Folders::default();
    bench.index = Registry::new(&Limits::default(), 10);
    let later = bench.status_as_select();
    assert!(later >= (6, appended + 1), "{later:?}");
    bench.write("new/7.g");
    let last = bench.status_as_select();
    assert_eq!((last.0, last.1), (later.0 + 1, later.1 + 1));
    assert_eq!(bench.status_as_select(), last);
}

#[test]
fn y175_the_size_of_a_selected_folder_is_that_of_its_state_and_reads_no_file() {
    let mut bench = Bench::with_messages(&["new/1.a", "cur/2.b:2,ST"]);
    // The state does not have it yet.
    bench.write("new/3.c");
    let items = vec![StatusItem::Messages, StatusItem::Size];
    let response = bench.ask(OTHER, ImapRequest::Status { folder: mailbox("ann"), items });
    let Response::Imap(ImapResponse::Status(status)) = response else { panic!("{response:?}") };
    // The last line of each has no end, which counts on the wire.
    let octets = ["new/1.a", "cur/2.b:2,ST"].map(|text| text.len() as u64 + 2);
    assert_eq!((status.messages, status.size), (2, octets.iter().sum()));
}

#[test]
fn y174_a_list_ends_with_its_slice_when_the_client_has_gone() {
    let mut effects = Effects::default();
    let request = ImapRequest::List { mailbox: mailbox("ann"), status: vec![StatusItem::Size] };
    let job = || Box::new(HierarchyJob::new(CLIENT, request.clone(), Default::default()));
    Folders::slice_listed((CLIENT, true), job(), &mut effects);
    assert!(matches!(effects.next(), Some(Effect::Run(Job::Hierarchy(_)))));
    Folders::slice_listed((CLIENT, false), job(), &mut effects);
    assert!(matches!(effects.next(), Some(Effect::Respond(CLIENT, Response::Failed(_)))));
}
