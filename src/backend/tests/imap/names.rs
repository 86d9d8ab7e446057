//! DELETE, RENAME and COPY at once: requests of several sessions, before the jobs of any of them have run.

use super::*;

/// A third session.
const THIRD: ConnId = ConnId(3);

fn folder(of: &str, name: &str) -> Mailbox {
    mailbox(of).in_folder(Folder::from_name(name).unwrap())
}

impl Bench {
    /// The jobs that wait for a worker.
    fn jobs(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        while let Some(effect) = self.effects.next() {
            match effect {
                Effect::Run(job) => jobs.push(job),
                Effect::Respond(id, response) => drop(self.clients.respond(id, response)),
                Effect::Deliver(delivery) => self.commit(delivery),
            }
        }
        jobs
    }

    /// Runs all jobs, and returns the responses in words.
    fn responses(&mut self) -> Vec<String> {
        self.settle();
        let mut responses = Vec::new();
        while let Some((id, response)) = self.clients.next_response() {
            responses.push(match response {
                Response::Imap(ImapResponse::Copied { to, .. }) => format!("{id} copied to {to}"),
                Response::Imap(ImapResponse::Done | ImapResponse::Created(_)) => format!("{id} done"),
                Response::Imap(ImapResponse::Refused(refusal)) => format!("{id} {refusal:?}"),
                Response::Failed(failure) => format!("{id} {failure:?}"),
                other => format!("{id} {other:?}"),
            });
        }
        responses.sort();
        responses
    }

    #[track_caller]
    fn create_for(&mut self, of: &str, name: &str) {
        self.request(CLIENT, ImapRequest::Create { folder: folder(of, name), special_use: None });
        assert_eq!(self.responses(), ["c1 done"]);
    }
}

fn copy(of: &[u32], to: Mailbox) -> ImapRequest {
    ImapRequest::Copy { uids: uids(of), to, is_move: false }
}

#[test]
fn y101_a_folder_gets_another_name_or_goes_while_no_job_writes_its_uids() {
    for is_rename in [true, false] {
        let mut bench = Bench::with_messages(&["new/1.a", "new/2.b"]);
        bench.create_for("ann", "to");
        bench.create_for("ann", "to.below");
        bench.select(THIRD);
        let (to, other) = (folder("ann", "to"), folder("ann", "other"));
        bench.request(CLIENT, copy(&[1], folder("ann", "to.below")));
        let change = match is_rename {
            true => ImapRequest::Rename { from: to.clone(), to: other.clone() },
            false => ImapRequest::Delete { folder: folder("ann", "to.below") },
        };
        bench.request(OTHER, change);
        bench.request(THIRD, copy(&[2], folder("ann", "to.below")));
        let jobs = bench.jobs();
        assert!(matches!(jobs[..], [Job::Folder(_)]), "the change waits: {jobs:?}");
        jobs.into_iter().for_each(|job| bench.run(job));
        let responses = bench.responses();
        assert_eq!(responses, ["c1 copied to 1", "c2 done", "c3 NoFolder"], "{is_rename}");
        if is_rename {
            bench.request(THIRD, copy(&[2], folder("ann", "other.below")));
            assert_eq!(bench.responses(), ["c3 copied to 2"]);
            let state = bench.state(OTHER, ImapRequest::Select { folder: folder("ann", "other.below") });
            assert_eq!(text(&state), "1 2");
        }
        // A change that is refused holds nobody up.
        bench.request(OTHER, ImapRequest::Delete { folder: folder("ann", "nowhere") });
        assert_eq!(bench.responses(), ["c2 NoFolder"]);
        bench.create_for("ann", "nowhere");
        bench.request(THIRD, copy(&[2], folder("ann", "nowhere")));
        assert_eq!(bench.responses(), ["c3 copied to 1"]);
    }
}

#[test]
fn y102_a_copy_of_many_messages_ends_before_its_folder_gets_another_name() {
    let names: Vec<String> = (0..300).map(|n| format!("new/{n:04}.a")).collect();
    let mut bench = Bench::with_messages(&names.iter().map(String::as_str).collect::<Vec<_>>());
    bench.create_for("ann", "to");
    let all: Vec<u32> = (1..=300).collect();
    bench.request(CLIENT, copy(&all, folder("ann", "to")));
    bench.jobs().into_iter().for_each(|job| bench.run(job)); // the first 250
    bench.request(OTHER, ImapRequest::Rename { from: folder("ann", "to"), to: folder("ann", "other") });
    bench.request(THIRD, ImapRequest::Delete { folder: folder("ann", "other") });
    // The folder of the second change exists after the first one alone.
    let responses = bench.responses();
    assert_eq!(responses[..2], ["c1 copied to 1:300", "c2 done"], "{responses:?}");
    let is_there = bench.path(".other").exists();
    assert_eq!(responses[2], if is_there { "c3 NoFolder" } else { "c3 done" });
    if is_there {
        let state = bench.state(OTHER, ImapRequest::Select { folder: folder("ann", "other") });
        assert_eq!(state.messages.len(), 300);
    }
}

#[test]
fn y103_copies_and_deliveries_at_once_do_not_exceed_a_quota() {
    let mut bench = Bench::new();
    let inbox = bench.fixture.storage.maildir(&mailbox("bob")).unwrap();
    fs::write(inbox.path().join("new/1.a"), [b'x'; 30]).unwrap();
    for id in [CLIENT, OTHER] {
        bench.request(id, ImapRequest::Select { folder: mailbox("bob") });
        bench.responses();
    }
    for name in ["a", "b"] {
        bench.create_for("bob", name);
    }
    // The use of the quota is known to both, and the quota is 100 octets.
    bench.request(CLIENT, ImapRequest::Usage { mailbox: mailbox("bob") });
    bench.responses();
    assert!(bench.quotas.reserve(&mailbox("bob"), Usage { bytes: 35, messages: 1 }, &bench.accounts, SECOND));
    bench.request(CLIENT, copy(&[1], folder("bob", "a")));
    bench.request(OTHER, copy(&[1], folder("bob", "b")));
    assert_eq!(bench.responses(), ["c1 copied to 1", "c2 Quota"]);
    // The delivery did not take place, and its room is free again. That of the copy is not.
    bench.quotas.settle(&mailbox("bob"), Usage { bytes: 35, messages: 1 }, Fate::Refused, SECOND);
    bench.request(OTHER, copy(&[1], folder("bob", "b")));
    assert_eq!(bench.responses(), ["c2 copied to 1"]);
    assert_eq!(bench.quotas.usage(&mailbox("bob"), SECOND), Some(Usage { bytes: 90, messages: 3 }));
    // A copy that fails, or whose job is lost, gives its room back.
    bench.loses_jobs = true;
    bench.request(OTHER, copy(&[1], folder("bob", "b")));
    assert_eq!(bench.responses(), ["c2 TempFail"]);
    assert_eq!(bench.quotas.usage(&mailbox("bob"), SECOND).map(|usage| usage.bytes), Some(90));
}

#[test]
fn y105_a_uid_that_the_folder_cannot_keep_is_not_told() {
    let mut bench = Bench::with_messages(&["new/1.a", "new/2.b"]);
    bench.create_for("ann", "to");
    fs::create_dir(bench.path(".to").join(crate::maildir::uid_file::FILE)).unwrap();
    bench.request(CLIENT, copy(&[1], folder("ann", "to")));
    assert_eq!(bench.responses(), ["c1 copied to "]);
    bench.request(CLIENT, ImapRequest::Copy { uids: uids(&[2]), to: folder("ann", "to"), is_move: true });
    assert_eq!(bench.responses(), ["c1 copied to "]);
    let appended = bench.ask_append(folder("ann", "to"), Flags::DRAFT, &[]);
    assert!(matches!(appended, Response::Imap(ImapResponse::Appended { uid: None })), "{appended:?}");
    let there = ["new", "cur"].map(|part| fs::read_dir(bench.path(".to").join(part)).unwrap().count());
    assert_eq!(there.iter().sum::<usize>(), 3);
}

#[test]
fn y151_a_transfer_that_succeeded_is_no_no_after_its_folder_has_another_name() {
    for (is_move, is_late) in [(false, false), (true, false), (false, true), (true, true)] {
        let names: Vec<String> = (0..300).map(|n| format!(".from/new/{n:04}.a")).collect();
        let mut bench = Bench::new();
        bench.create_for("ann", "from");
        bench.create_for("ann", "to");
        names.iter().for_each(|name| bench.write(name));
        bench.state(CLIENT, ImapRequest::Select { folder: folder("ann", "from") });
        let all: Vec<u32> = (1..=300).collect();
        let rename = ImapRequest::Rename { from: folder("ann", "from"), to: folder("ann", "other") };
        if is_late {
            // The name has changed while a worker has the first slice.
            bench.request(CLIENT, ImapRequest::Copy { uids: uids(&all), to: folder("ann", "to"), is_move });
            let first = bench.jobs();
            bench.request(OTHER, rename);
            bench.jobs().into_iter().for_each(|job| bench.run(job));
            first.into_iter().for_each(|job| bench.run(job));
        } else {
            bench.request(CLIENT, ImapRequest::Copy { uids: uids(&all), to: folder("ann", "to"), is_move });
            bench.jobs().into_iter().for_each(|job| bench.run(job)); // the first 250
            bench.request(OTHER, rename);
        }
        let responses = bench.responses();
        assert!(responses.contains(&"c1 copied to 1:300".to_owned()), "{responses:?}");
    }
}

#[test]
fn y152_sessions_hear_that_their_folder_has_another_name_or_is_gone() {
    for is_rename in [true, false] {
        let mut bench = Bench::new();
        bench.create_for("ann", "up.below");
        let below = folder("ann", "up.below");
        for id in [CLIENT, THIRD] {
            bench.state(id, ImapRequest::Select { folder: below.clone() });
        }
        bench.select(OTHER);
        assert!(bench.folders.take_events().is_empty());
        let change = match is_rename {
            true => ImapRequest::Rename { from: folder("ann", "up"), to: folder("ann", "other") },
            false => ImapRequest::Delete { folder: below.clone() },
        };
        bench.request(OTHER, change);
        assert_eq!(bench.responses(), ["c2 done"]);
        assert!(bench.folders.has_events());
        let gone = |id| (id, SessionEvent::FolderGone(below.clone()));
        assert_eq!(bench.folders.take_events(), [gone(CLIENT), gone(THIRD)]);
        assert!(!bench.folders.has_events());
    }
}

#[test]
fn y192_inbox_gets_another_name_after_the_messages_that_leave_it_and_before_the_next_ones() {
    for is_move in [true, false] {
        let names: Vec<String> = (0..300).map(|n| format!("new/{n:04}.a")).collect();
        let mut bench = Bench::with_messages(&names.iter().map(String::as_str).collect::<Vec<_>>());
        bench.select(THIRD);
        bench.create_for("ann", "to");
        let transfer = |of: &[u32], to| ImapRequest::Copy { uids: uids(of), to: folder("ann", to), is_move };
        bench.request(CLIENT, transfer(&(1..=290).collect::<Vec<_>>(), "to"));
        bench.jobs().into_iter().for_each(|job| bench.run(job)); // the first 250
        bench.request(OTHER, ImapRequest::Rename { from: mailbox("ann"), to: folder("ann", "old") });
        bench.request(THIRD, transfer(&[291], "other"));
        let jobs = bench.jobs();
        assert!(
            matches!(&jobs[..], [Job::Folder(job)] if matches!(job.work, FolderWork::Transfer(_))),
            "the renaming waits for the rest of them, and the third session for the renaming: {jobs:?}"
        );
        jobs.into_iter().for_each(|job| bench.run(job));
        let responses = bench.responses();
        assert_eq!(responses, ["c1 copied to 1:290", "c2 done", "c3 NoFolder"], "{is_move}");
        assert!(
            !bench
                .folders
                .take_events()
                .iter()
                .any(|(_, event)| matches!(event, SessionEvent::FolderGone(_)))
        );
        for (name, count) in [("to", 290), ("old", if is_move { 10 } else { 300 })] {
            let state = bench.state(OTHER, ImapRequest::Select { folder: folder("ann", name) });
            assert_eq!(state.messages.len(), count, "{name}");
        }
        assert!(bench.names().is_empty());
        // INBOX is in use still.
        bench.write("new/new.a");
        assert_eq!(text(&bench.state(CLIENT, ImapRequest::Refresh)), "301");
    }
}
