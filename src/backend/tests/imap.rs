mod arrivals;
mod beside_pop3;
mod changes;
mod names;
mod numbers;
mod reads;
mod retries;

use std::{fs, path::PathBuf, time::UNIX_EPOCH};

use super::{
    super::{
        clients::{Client, Clients},
        effects::{Effect, Effects},
        imap::Folders,
        imap_context::FolderContext,
        imap_requests::Parts,
        maildrop::Maildrops,
        quota::{Fate, QuotaCache},
        receive::Receiver,
    },
    *,
};
use crate::{
    accounts::HashMemory,
    index::Registry,
    limits::Limits,
    maildir::{
        FileVersion, MessageEntry, Subdir, Usage,
        fault_points::{FaultKind, PlannedFault},
    },
    proto::{
        SessionEvent,
        folder::Folder,
        imap::{
            command::FlagChange,
            fetch_item::{Body, BodyName, FetchItem, Section},
            flags::Flags,
            request::{Fetch, FetchPosition, FolderState, ImapRequest, ImapResponse, Refusal, Search, Store},
            search_key::SearchKey,
            sequence_set::NumberSet,
        },
        request::Access,
    },
    workers::{Job, folder_job::FolderWork},
};

/// Folders, an index, and jobs that run as soon as they are asked for.
struct Bench {
    fixture: Fixture,
    folders: Folders,
    maildrops: Maildrops,
    clients: Clients,
    index: Registry,
    effects: Effects,
    receiver: Receiver,
    accounts: Accounts,
    quotas: QuotaCache,
    /// Whether jobs for folders and scans are lost, as those are that panic.
    loses_jobs: bool,
    /// Whether those are lost that give UIDs to the messages of the index.
    loses_refreshes: bool,
    jobs: usize,
    /// Jobs that have read messages.
    reads: usize,
}

impl Bench {
    fn new() -> Self {
        let fixture = Fixture::new();
        let limits = Limits::default();
        let mut maildrops = Maildrops::new(&limits, &fixture.fd_budget(), fixture.completions.clone());
        maildrops.cached_reads().ignore_durations();
        Self {
            folders: Folders::default(),
            maildrops,
            clients: Clients::default(),
            index: Registry::new(&limits, 10),
            effects: Effects::default(),
            receiver: Receiver::new("mx", &limits, 10, &fixture.waker),
            accounts: fixture.accounts(),
            quotas: QuotaCache::new(10, SECOND * 60),
            loses_jobs: false,
            loses_refreshes: false,
            jobs: 0,
            reads: 0,
            fixture,
        }
    }

    /// With messages of ann's, which a session has selected.
    fn with_messages(names: &[&str]) -> Self {
        let mut bench = Self::new();
        names.iter().for_each(|name| bench.write(name));
        bench.select(CLIENT);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fixture.storage.maildir(&mailbox("ann")).unwrap().path().join(name)
    }

    fn write(&self, name: &str) {
        fs::write(self.path(name), name).unwrap();
    }

    /// The names of the messages on the disk, sorted.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for subdir in ["new", "cur"] {
            for entry in fs::read_dir(self.path(subdir)).unwrap() {
                names.push(format!("{subdir}/{}", entry.unwrap().file_name().to_str().unwrap()));
            }
        }
        names.sort();
        names
    }

    /// Makes a request, and returns the response after all jobs.
    #[track_caller]
    fn ask(&mut self, id: ConnId, request: ImapRequest) -> Response {
        self.request(id, request);
        self.settle();
        let (to, response) = self.clients.next_response().expect("a response");
        assert_eq!(to, id);
        response
    }

    /// Makes a request, whose jobs have not run.
    fn request(&mut self, id: ConnId, request: ImapRequest) {
        self.clients.request(id);
        let Self { folders, maildrops, clients, index, effects, receiver, accounts, quotas, .. } = self;
        let client = clients.get_mut(id).unwrap();
        let cx = &mut FolderContext { maildrops, index, effects };
        let mut parts = Parts { folders, receiver, accounts, quotas, now: SECOND };
        if let Some(request) = parts.handle((id, client), request, cx) {
            folders.handle((id, client), request, SECOND, cx);
        }
    }

    #[track_caller]
    fn state(&mut self, id: ConnId, request: ImapRequest) -> Arc<FolderState> {
        match self.ask(id, request) {
            Response::Imap(
                ImapResponse::State(state) | ImapResponse::Expunged { state: Some(state), .. },
            ) => state,
            other => panic!("no state: {other:?}"),
        }
    }

    #[track_caller]
    fn select(&mut self, id: ConnId) -> Arc<FolderState> {
        self.state(id, ImapRequest::Select { folder: mailbox("ann") })
    }

    #[track_caller]
    fn store(&mut self, change: Store) -> (String, String, bool) {
        match self.ask(CLIENT, ImapRequest::Store(Box::new(change))) {
            Response::Imap(ImapResponse::Stored { state: Some(state), modified, is_partial, .. }) => {
                (text(&state), modified.to_string(), is_partial)
            }
            other => panic!("not stored: {other:?}"),
        }
    }

    /// Runs every job, and dispatches what follows.
    fn settle(&mut self) {
        loop {
            self.index.begin_turn();
            self.index.apply_events();
            let mut is_idle = true;
            for (id, job) in self.index.take_jobs() {
                is_idle = false;
                self.effects.run(Job::Index(id, job));
            }
            let Self { folders, maildrops, clients, index, effects, .. } = self;
            for (id, result) in index.take_login_results() {
                is_idle = false;
                let client = (id, clients.get_mut(id).unwrap());
                folders.index_ready(client, result, &mut FolderContext { maildrops, index, effects });
            }
            while let Some(effect) = self.effects.next() {
                is_idle = false;
                match effect {
                    Effect::Respond(id, response) => {
                        self.clients.respond(id, response);
                    }
                    Effect::Run(job) => self.run(job),
                    Effect::Deliver(delivery) => self.commit(delivery),
                }
            }
            if is_idle {
                return;
            }
        }
    }

    fn run(&mut self, job: Job) {
        let is_lost = match &job {
            Job::Folder(job) => {
                self.loses_jobs || self.loses_refreshes && matches!(job.work, FolderWork::Refresh(..))
            }
            Job::Index(_, job) => self.loses_jobs && matches!(job, crate::index::job::IndexJob::Scan(_)),
            _ => false,
        };
        self.jobs += usize::from(matches!(job, Job::Folder(_)));
        self.reads += usize::from(matches!(job, Job::Imap(_)));
        let completion = if is_lost {
            job.failure_completion(Failure::TempFail)
        } else {
            job.run(&self.fixture.storage, &mut HashMemory::default())
        };
        let Self { folders, maildrops, clients, index, effects, .. } = self;
        fn client(clients: &mut Clients, id: ConnId) -> (ConnId, &mut Client) {
            (id, clients.get_mut(id).unwrap())
        }
        match completion {
            None => {}
            Some(Completion::Index(id, result)) => index.complete(id, result),
            Some(Completion::Opened(id, result)) if client(clients, id).1.has_open_folder() => {
                Folders::reopened(
                    client(clients, id),
                    result,
                    &mut FolderContext { maildrops, index, effects },
                );
            }
            Some(Completion::Opened(id, result)) => {
                maildrops.open_finished(client(clients, id), result, index, effects);
            }
            Some(Completion::Folder(key, result)) => {
                folders.job_finished(&key, result, &mut FolderContext { maildrops, index, effects });
                let Self { receiver, accounts, quotas, .. } = self;
                let cx = &mut FolderContext { maildrops, index, effects };
                Parts { folders, receiver, accounts, quotas, now: SECOND }.job_finished(clients, cx);
            }
            Some(Completion::Hierarchy(id, result)) => {
                let Self { receiver, accounts, quotas, .. } = self;
                let cx = &mut FolderContext { maildrops, index, effects };
                folders.folders_finished((id, true), result, (quotas, SECOND), cx);
                Parts { folders, receiver, accounts, quotas, now: SECOND }.job_finished(clients, cx);
            }
            Some(Completion::Imap(id, result)) => {
                let (id, client) = client(clients, id);
                Folders::read_finished((id, client), result, effects);
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    /// Begins a turn of the loop, and returns the events of sessions.
    fn turn(&mut self) -> Vec<(ConnId, Arc<FolderState>)> {
        self.settle();
        let Self { folders, maildrops, index, effects, .. } = self;
        for change in index.take_changes() {
            folders.index_changed(&change.mailbox, &mut FolderContext { maildrops, index, effects });
        }
        self.settle();
        let state = |(id, event)| match event {
            SessionEvent::FolderChanged(state) => Some((id, state)),
            SessionEvent::FolderGone(_) => None,
            other => panic!("{other:?}"),
        };
        self.folders.take_events().into_iter().filter_map(state).collect()
    }

    /// The events of sessions, as text.
    fn events(&mut self) -> Vec<String> {
        self.turn().into_iter().map(|(id, state)| format!("{id}: {}", text(&state))).collect()
    }

    /// A message of our own is durable.
    fn deliver(&mut self, name: &str) {
        let maildir = self.fixture.storage.maildir(&mailbox("ann")).unwrap();
        self.write(&format!("new/{name}"));
        let stat = rustix::fs::stat(maildir.path().join("new").join(name)).unwrap();
        let version = FileVersion::of(&stat);
        let entry = MessageEntry {
            name: name.as_bytes().into(),
            subdir: Subdir::New,
            octets: version.bytes,
            version,
        };
        self.index.message_delivered(&mailbox("ann"), maildir.id(), entry);
    }
}

/// The UIDs with their letters.
fn text(state: &FolderState) -> String {
    let message =
        |message: &crate::proto::imap::request::MessageState| format!("{}{:?}", message.uid, message.flags);
    state.messages.iter().map(message).collect::<Vec<_>>().join(" ")
}

fn uids(uids: &[u32]) -> NumberSet {
    let mut set = NumberSet::default();
    uids.iter().for_each(|uid| set.push(*uid));
    set
}

fn change(of: &[u32], change: FlagChange, flags: Flags) -> Store {
    Store { uids: uids(of).into(), change, flags, keywords: Vec::new(), unchanged_since: None }
}

#[test]
fn sessions_share_a_folder_and_hear_of_a_delivery_without_asking() {
    let mut bench = Bench::with_messages(&["new/1.a", "cur/2.b:2,FS"]);
    let other = bench.select(OTHER);
    assert_eq!((text(&other), other.uid_next), ("1 2FS".into(), 3));
    assert!(other.uid_validity > 1_000_000_000);
    assert_eq!(bench.events(), Vec::<String>::new());
    for name in ["3.c", "4.d", "5.e"] {
        bench.deliver(name);
    }
    let jobs = bench.jobs;
    assert_eq!(bench.events(), ["c1: 1 2FS 3 4 5", "c2: 1 2FS 3 4 5"]);
    assert_eq!(bench.jobs, jobs + 1, "many changes of one turn are one job");
    assert_eq!(bench.events(), Vec::<String>::new());
}

#[test]
fn a_refresh_finds_what_other_programs_have_changed() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    bench.write("new/2.b");
    fs::rename(bench.path("new/1.a"), bench.path("cur/1.a:2,RST")).unwrap();
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Refresh)), "1RST 2");
    fs::remove_file(bench.path("cur/1.a:2,RST")).unwrap();
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Refresh)), "2");
}

#[test]
fn flags_go_to_the_names_of_files_and_to_every_session() {
    let mut bench = Bench::with_messages(&["new/1.a", "new/2.b", "cur/3.c:2,Sz"]);
    bench.select(OTHER);
    let mut add = change(&[1, 3], FlagChange::Add, Flags::FLAGGED);
    add.keywords = vec!["$Junk".into(), "todo".into()];
    assert_eq!(bench.store(add), ("1Fab 2 3FSabz".into(), String::new(), false));
    assert_eq!(bench.names(), ["cur/1.a:2,Fab", "cur/3.c:2,FSabz", "new/2.b"]);
    assert_eq!(fs::read_to_string(bench.path("dovecot-keywords")).unwrap(), "0 $Junk\n1 todo\n");
    let events = bench.turn();
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), [OTHER], "the response has it");
    assert_eq!(events[0].1.keywords.iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["$Junk", "todo"]);
    let mut remove = change(&[1, 3], FlagChange::Remove, Flags::FLAGGED);
    remove.keywords = vec!["TODO".into(), "never".into()];
    assert_eq!(bench.store(remove).0, "1a 2 3Saz");
    assert_eq!(bench.store(change(&[3], FlagChange::Replace, Flags::DRAFT)).0, "1a 2 3D");
    // A file in new/ that gets no flag stays there.
    assert_eq!(bench.store(change(&[2], FlagChange::Remove, Flags::SEEN)).0, "1a 2 3D");
    assert_eq!(bench.names(), ["cur/1.a:2,a", "cur/3.c:2,D", "new/2.b"]);
}

#[test]
fn y28_flags_are_changed_under_whatever_name_a_message_has_by_then() {
    let mut bench = Bench::with_messages(&["new/1.a", "new/2.b"]);
    fs::rename(bench.path("new/1.a"), bench.path("cur/1.a:2,R")).unwrap();
    fs::remove_file(bench.path("new/2.b")).unwrap();
    let (state, _, is_partial) = bench.store(change(&[1, 2], FlagChange::Add, Flags::SEEN));
    assert_eq!(bench.names(), ["cur/1.a:2,RS"]);
    assert!(state.starts_with("1RS") && is_partial, "{state}");
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Refresh)), "1RS");
}

#[test]
fn y29_a_message_that_has_changed_since_keeps_its_flags() {
    let mut bench = Bench::with_messages(&["new/1.a", "new/2.b", "new/3.c"]);
    let before = bench.state(CLIENT, ImapRequest::Refresh).highest_modseq;
    bench.store(change(&[1], FlagChange::Add, Flags::FLAGGED));
    // Another program changes a flag, and the index does not know it yet.
    fs::rename(bench.path("new/2.b"), bench.path("cur/2.b:2,R")).unwrap();
    let mut store = change(&[1, 2, 3], FlagChange::Add, Flags::SEEN);
    store.unchanged_since = Some(before);
    let (state, modified, _) = bench.store(store);
    assert_eq!(modified, "1:2");
    assert!(state.ends_with("3S"), "{state}");
    assert_eq!(bench.names(), ["cur/1.a:2,F", "cur/2.b:2,R", "cur/3.c:2,S"]);
}

#[test]
fn y23_a_keyword_too_many_changes_nothing() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    let keywords: String = (0..26).map(|n| format!("{n} k{n}\n")).collect();
    fs::write(bench.path("dovecot-keywords"), keywords).unwrap();
    let mut store = change(&[1], FlagChange::Add, Flags::FLAGGED);
    store.keywords = vec!["one".into()];
    let response = bench.ask(CLIENT, ImapRequest::Store(Box::new(store)));
    assert!(matches!(response, Response::Imap(ImapResponse::Refused(Refusal::TooManyKeywords))));
    assert_eq!(bench.names(), ["new/1.a"]);
}

#[test]
fn y30_expunge_removes_the_messages_with_the_flag_and_no_others() {
    let mut bench =
        Bench::with_messages(&["cur/1.a:2,ST", "cur/2.b:2,T", "new/3.c", "cur/4.d:2,T", "cur/5.e:2,T"]);
    // Another program has taken one flag away, and has moved another message.
    fs::rename(bench.path("cur/2.b:2,T"), bench.path("cur/2.b:2,S")).unwrap();
    fs::rename(bench.path("cur/4.d:2,T"), bench.path("cur/4.d:2,FT")).unwrap();
    bench.state(CLIENT, ImapRequest::Expunge { uids: Some(uids(&[1, 2, 3, 4])) });
    assert_eq!(bench.names(), ["cur/2.b:2,S", "cur/5.e:2,T", "new/3.c"]);
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Refresh)), "2S 3 5T");
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Expunge { uids: None })), "2S 3");
    assert_eq!(bench.names(), ["cur/2.b:2,S", "new/3.c"]);
}

#[test]
fn thousands_of_messages_are_changed_some_at_a_time() {
    let names: Vec<String> = (1000..2000).map(|n| format!("new/{n}.m")).collect();
    let mut bench = Bench::with_messages(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let all: Vec<u32> = (1..=1000).collect();
    let jobs = bench.jobs;
    let (state, ..) = bench.store(change(&all, FlagChange::Add, Flags::DELETED));
    assert!(state.starts_with("1T 2T 3T") && state.ends_with("1000T"));
    assert_eq!(bench.jobs, jobs + 4 + 1);
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Expunge { uids: None })), "");
    assert!(bench.names().is_empty());
}

#[test]
fn y31_a_job_that_is_lost_costs_a_request_and_no_uid() {
    let mut bench = Bench::with_messages(&["new/1.a", "new/2.b"]);
    bench.loses_jobs = true;
    bench.deliver("3.c");
    assert_eq!(bench.events(), Vec::<String>::new());
    let response =
        bench.ask(CLIENT, ImapRequest::Store(Box::new(change(&[1], FlagChange::Add, Flags::SEEN))));
    assert!(matches!(response, Response::Failed(Failure::TempFail)), "{response:?}");
    let response = bench.ask(CLIENT, ImapRequest::Refresh);
    assert!(matches!(response, Response::Failed(Failure::TempFail)), "{response:?}");
    bench.loses_jobs = false;
    let state = bench.state(CLIENT, ImapRequest::Refresh);
    let uids: Vec<u32> = state.messages.iter().map(|message| message.uid).collect();
    assert!(uids[..2] == [1, 2] && uids[2] > 2, "{uids:?}");
}

#[test]
fn a_folder_that_is_missing_is_refused_and_the_session_may_select_another() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    let folder = mailbox("ann").in_folder(Folder::from_name("lists").unwrap());
    let response = bench.ask(CLIENT, ImapRequest::Select { folder });
    assert!(matches!(response, Response::Imap(ImapResponse::Refused(Refusal::NoFolder))), "{response:?}");
    let response = bench.ask(CLIENT, ImapRequest::Refresh);
    assert!(matches!(response, Response::Failed(Failure::TempFail)));
    assert_eq!(text(&bench.select(CLIENT)), "1");
    assert!(matches!(bench.ask(CLIENT, ImapRequest::Unselect), Response::Imap(ImapResponse::Done)));
    bench.deliver("2.b");
    assert_eq!(bench.events(), Vec::<String>::new());
    assert_eq!(text(&bench.select(CLIENT)), "1 2");
}

#[test]
fn y32_a_folder_that_was_removed_and_made_again_has_another_uid_validity() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    let first = bench.select(OTHER).uid_validity;
    let path = bench.path("");
    fs::remove_dir_all(&path).unwrap();
    let response = bench.ask(CLIENT, ImapRequest::Refresh);
    assert!(matches!(response, Response::Imap(ImapResponse::Refused(Refusal::NoFolder))), "{response:?}");
    bench.write("new/1.a");
    // The time is the UID validity, and a test takes less than a second.
    let seconds = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    fs::write(path.join(".restante.uidvalidity"), format!("{seconds}\n")).unwrap();
    let state = bench.select(CLIENT);
    assert!(state.uid_validity > first && text(&state) == "1");
    let response = bench.ask(OTHER, ImapRequest::Store(Box::new(change(&[1], FlagChange::Add, Flags::SEEN))));
    assert!(matches!(response, Response::Failed(_)), "{response:?}");
}

#[test]
fn y34_an_error_of_the_disk_at_any_step_fails_a_request_and_loses_no_message() {
    let mut steps = Vec::new();
    for number in 1.. {
        let mut bench = Bench::new();
        ["new/1.a", "new/2.b"].iter().for_each(|name| bench.write(name));
        let fault = PlannedFault::new(bench.fixture.home.path(), number, FaultKind::Error);
        let delete = Store { uids: uids(&[1]).into(), ..change(&[1], FlagChange::Add, Flags::DELETED) };
        let requests = [
            ImapRequest::Select { folder: mailbox("ann") },
            ImapRequest::Store(Box::new(delete)),
            ImapRequest::Expunge { uids: None },
        ];
        let [selected, stored, expunged] = &requests.map(|request| bench.ask(CLIENT, request));
        let Some(step) = fault.triggered_at() else { break };
        drop(fault);
        steps.push(step);
        let has_failed = |response: &Response| matches!(response, Response::Failed(_));
        let is_whole = |state: &FolderState| state.messages.len() == 2;
        let has_both = matches!(selected, Response::Imap(ImapResponse::State(all)) if is_whole(all));
        assert!(has_both || has_failed(selected), "{step}: {selected:?}");
        let names = bench.names();
        assert!(names.contains(&"new/2.b".to_owned()), "{step}: {names:?}");
        assert!(has_failed(stored) || has_failed(expunged) || names.len() == 1, "{step}: {names:?}");
        // The next attempt finds all as it is.
        let messages = &bench.select(CLIENT).messages;
        assert_eq!(messages.len(), names.len(), "{step}");
        assert!(messages.is_sorted_by(|one, next| one.uid < next.uid));
        bench.state(CLIENT, ImapRequest::Expunge { uids: None });
    }
    for step in ["open directory", "replace uids", "reserve uids", "append uids", "fsync directory"] {
        assert!(steps.contains(&step), "{step} is not among {steps:?}");
    }
}
