//! Folders, and messages that come into one: COPY, MOVE, APPEND.

use super::*;
use crate::{
    delivery::{Content, Delivery},
    maildir::{TmpFile, name},
    proto::imap::command::StatusItem,
    special_use::SpecialUse,
    workers::{DeliveredCopy, DeliveryReceipt},
};

fn folder(name: &str) -> Mailbox {
    mailbox("ann").in_folder(Folder::from_name(name).unwrap())
}

impl Bench {
    /// Puts a message into its folder, as the committer does.
    pub(super) fn commit(&mut self, delivery: Delivery) {
        let Delivery { from, to, append, content, ack_token, .. } = delivery;
        let recipient = to.into_iter().next().unwrap().unwrap();
        let mailbox = match recipient.folder {
            Some(folder) => recipient.mailbox.in_folder(folder),
            None => recipient.mailbox,
        };
        let Content::Memory(unique, bytes) = content else { panic!("a file") };
        let result = self.fixture.storage.durable_imap_maildir(&mailbox).map(|maildir| {
            let append = append.unwrap();
            let mut file = TmpFile::create(&maildir, unique).unwrap();
            file.write(&bytes).unwrap();
            file.close().unwrap();
            let octets = crate::wire_size::wire_size(&bytes);
            let subdir = if append.letters.is_empty() { Subdir::New } else { Subdir::Cur };
            let mut name = file.final_name(octets);
            if subdir == Subdir::Cur {
                name = String::from_utf8(name::with_flags(name.as_bytes(), &append.letters)).unwrap();
            }
            file.rename(&maildir, subdir, &name).unwrap();
            let version = file.version().unwrap();
            let entry = MessageEntry { name: name.into_bytes().into(), subdir, version, octets };
            let copy = DeliveredCopy { mailbox: mailbox.clone(), maildir: maildir.id(), entry };
            DeliveryReceipt { arrivals: vec![copy], failures: vec![None] }
        });
        let Self { folders, maildrops, clients, index, effects, receiver, accounts, quotas, .. } = self;
        let mut cx = super::super::super::receive::Context { now: SECOND, accounts, quotas, index, effects };
        receiver.delivered((from, &ack_token), clients, result, &mut cx);
        folders.number_appended(receiver, &mut FolderContext { maildrops, index, effects });
    }

    /// Another program writes into a file.
    fn write_into(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    #[track_caller]
    fn done(&mut self, request: ImapRequest) {
        let response = self.ask(CLIENT, request);
        let is_done =
            |response: &ImapResponse| matches!(response, ImapResponse::Done | ImapResponse::Created(_));
        assert!(matches!(&response, Response::Imap(response) if is_done(response)), "{response:?}");
    }

    #[track_caller]
    fn refused(&mut self, request: ImapRequest) -> Refusal {
        match self.ask(CLIENT, request) {
            Response::Imap(ImapResponse::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    fn create(&mut self, name: &str) {
        self.done(ImapRequest::Create { folder: folder(name), special_use: None });
    }

    /// COPY or MOVE of these messages: the state of the folder, and the UIDs before and after.
    #[track_caller]
    fn copy(&mut self, of: &[u32], to: Mailbox, is_move: bool) -> (String, String, String) {
        match self.ask(CLIENT, ImapRequest::Copy { uids: uids(of), to, is_move }) {
            Response::Imap(ImapResponse::Copied { state, uid_validity, from, to, .. }) => {
                assert!(uid_validity > 0);
                (text(&state.unwrap()), from.to_string(), to.to_string())
            }
            other => panic!("not copied: {other:?}"),
        }
    }

    /// APPEND: the UID validity and the UID.
    #[track_caller]
    fn append(&mut self, folder: Mailbox, flags: Flags, keywords: &[&str]) -> (u32, u32) {
        match self.ask_append(folder, flags, keywords) {
            Response::Imap(ImapResponse::Appended { uid: Some(uid) }) => uid,
            other => panic!("not appended: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn ask_append(&mut self, folder: Mailbox, flags: Flags, keywords: &[&str]) -> Response {
        self.clients.request(CLIENT);
        let begun = self.receiver.begin(CLIENT, self.clients.get_mut(CLIENT).unwrap(), SECOND);
        assert!(matches!(begun, Response::Done));
        self.clients.respond(CLIENT, begun);
        self.clients.next_response().unwrap();
        let keywords = keywords.iter().map(|keyword| (*keyword).to_owned()).collect();
        let bytes = b"Subject: x\n\ntext\n".to_vec();
        self.ask(CLIENT, ImapRequest::Append { folder, flags, keywords, date: Some(1_000_000_000), bytes })
    }

    #[track_caller]
    fn select_folder(&mut self, id: ConnId, name: &str) -> Arc<FolderState> {
        self.state(id, ImapRequest::Select { folder: folder(name) })
    }

    #[track_caller]
    fn list(&mut self, status: Vec<StatusItem>) -> Vec<String> {
        match self.ask(CLIENT, ImapRequest::List { mailbox: mailbox("ann"), status }) {
            Response::Imap(ImapResponse::Folders(folders)) => {
                let line = |info: crate::proto::imap::request::FolderInfo| {
                    let name = info.folder.folder().map_or("INBOX", Folder::directory).to_owned();
                    let exists = if info.exists { "" } else { " absent" };
                    let subscribed = if info.is_subscribed { "" } else { " unsubscribed" };
                    let special = info.special_use.map(|special| format!(" {special:?}")).unwrap_or_default();
                    let status = info.status.map(|s| format!(" {}/{}/{}", s.messages, s.unseen, s.uid_next));
                    format!("{name}{exists}{subscribed}{special}{}", status.unwrap_or_default())
                };
                folders.into_iter().map(line).collect()
            }
            other => panic!("no list: {other:?}"),
        }
    }

    /// Lets the times of the directories grow old, so that they may be believed.
    fn age(&self, path: &str) {
        for part in ["new", "cur"] {
            let dir = fs::File::open(self.path(path).join(part)).unwrap();
            dir.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        }
    }
}

#[test]
fn y53_copies_get_uids_in_a_folder_that_nobody_has_selected_and_in_one_that_somebody_has() {
    let mut bench = Bench::with_messages(&["new/1.a", "cur/2.b:2,FSb", "new/3.c"]);
    fs::write(bench.path("dovecot-keywords"), "0 other\n1 todo\n").unwrap();
    bench.state(CLIENT, ImapRequest::Refresh);
    bench.create("to");
    assert_eq!(bench.copy(&[1, 2], folder("to"), false), ("1 2FSb 3".into(), "1:2".into(), "1:2".into()));
    let seen = bench.select_folder(OTHER, "to");
    assert_eq!((text(&seen), seen.uid_next), ("1 2FSa".into(), 3), "the keyword has another letter");
    assert_eq!(seen.keywords.iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["todo"]);
    assert_eq!(bench.copy(&[3, 9], folder("to"), false).2, "3");
    assert_eq!(bench.events(), ["c2: 1 2FSa 3"]);
    bench.deliver("4.d");
    bench.events();
    assert_eq!(
        bench.copy(&[1, 4], mailbox("ann"), false),
        ("1 2FSb 3 4 5 6".into(), "1,4".into(), "5:6".into())
    );
    assert_eq!(text(&bench.select_folder(OTHER, "to")), "1 2FSa 3", "the UIDs stay");
}

#[test]
fn y252_a_folder_without_room_for_a_keyword_takes_the_message_without_it() {
    let mut bench = Bench::with_messages(&["new/1.a", "cur/2.b:2,Sa", "cur/3.c:2,Fbc"]);
    fs::write(bench.path("dovecot-keywords"), "0 $label9\n1 old3\n2 $label8\n").unwrap();
    bench.state(CLIENT, ImapRequest::Refresh);
    bench.create("to");
    let old: String = (0..26).map(|n| format!("{n} old{n}\n")).collect();
    fs::write(bench.path(".to/dovecot-keywords"), &old).unwrap();
    assert_eq!(bench.copy(&[1, 2], folder("to"), false).2, "1:2");
    assert_eq!(bench.copy(&[3], folder("to"), true), ("1 2Sa".into(), "3".into(), "3".into()));
    assert_eq!(bench.append(folder("to"), Flags::SEEN, &["OLD25", "new"]).1, 4);
    assert_eq!(text(&bench.select_folder(OTHER, "to")), "1 2S 3Fd 4Sz");
    assert_eq!(fs::read_to_string(bench.path(".to/dovecot-keywords")).unwrap(), old);
}

#[test]
fn y270_the_forwarded_flag_goes_along_to_a_folder_with_another_letter_of_it() {
    let mut bench = Bench::new();
    fs::write(bench.path("dovecot-keywords"), "0 todo\n1 $Forwarded\n").unwrap();
    ["cur/1.a:2,Sb", "cur/2.b:2,PSab"].iter().for_each(|name| bench.write(name));
    assert_eq!(text(&bench.select(CLIENT)), "1PS 2PSa");
    bench.create("own");
    bench.copy(&[1, 2], folder("own"), false);
    assert_eq!(text(&bench.select_folder(OTHER, "own")), "1PS 2PSa");
    assert_eq!(fs::read_to_string(bench.path(".own/dovecot-keywords")).unwrap(), "0 todo\n");
    bench.create("dovecot");
    fs::write(bench.path(".dovecot/dovecot-keywords"), "0 $Forwarded\n").unwrap();
    bench.copy(&[1, 2], folder("dovecot"), true);
    bench.append(folder("dovecot"), Flags::FORWARDED, &[]);
    assert_eq!(text(&bench.select_folder(ConnId(77), "dovecot")), "1PS 2PSb 3P");
    let letters = |file: std::io::Result<fs::DirEntry>| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.rsplit_once(',').unwrap().1.to_owned()
    };
    let mut letters: Vec<String> = fs::read_dir(bench.path(".dovecot/cur")).unwrap().map(letters).collect();
    letters.sort_unstable();
    assert_eq!(letters, ["Sa", "Sab", "a"], "the letters that Dovecot reads");
}

#[test]
fn y253_the_parents_of_a_subscribed_name_are_listed_although_none_exists() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    bench.done(ImapRequest::Subscribe { folder: folder("zz.y.x"), on: true, made: Vec::new() });
    assert_eq!(
        bench.list(Vec::new()),
        ["INBOX", ".zz absent unsubscribed", ".zz.y absent unsubscribed", ".zz.y.x absent"]
    );
}

#[test]
fn y56_moved_messages_are_gone_here_and_have_uids_there() {
    let names: Vec<String> = (0..600).map(|n| format!("new/{n:04}.a")).collect();
    let mut bench = Bench::with_messages(&names.iter().map(String::as_str).collect::<Vec<_>>());
    bench.create("to");
    let before = bench.select_folder(OTHER, "to").uid_validity;
    bench.turn();
    let all: Vec<u32> = (1..=599).collect();
    assert_eq!(bench.copy(&all, folder("to"), true), ("600".into(), "1:599".into(), "1:599".into()));
    assert_eq!(bench.names(), ["new/0599.a"]);
    let there = bench.select_folder(OTHER, "to");
    assert_eq!((there.messages.len(), there.uid_validity), (599, before));
    assert_eq!(bench.copy(&[1], folder("to"), true).1, "", "a message that is gone is no error");
}

#[test]
fn y55_a_copy_that_does_not_end_leaves_nothing() {
    let names: Vec<String> = (0..300).map(|n| format!("new/{n:04}.a")).collect();
    let mut bench = Bench::with_messages(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let all: Vec<u32> = (1..=300).collect();
    let copy = |is_move| ImapRequest::Copy { uids: uids(&all), to: folder("to"), is_move };
    assert_eq!(bench.refused(copy(false)), Refusal::NoFolder);
    assert_eq!(bench.refused(copy(true)), Refusal::NoFolder);
    bench.create("to");
    for number in [1, 40, 300, 500, 5000] {
        let plan = PlannedFault::new(&bench.path(".to"), number, FaultKind::Error);
        let response = bench.ask(CLIENT, copy(false));
        let is_hit = plan.triggered_at().is_some();
        drop(plan);
        let left =
            ["new", "cur", "tmp"].map(|part| fs::read_dir(bench.path(".to").join(part)).unwrap().count());
        assert!(matches!(response, Response::Failed(_)) == is_hit, "{response:?}");
        assert_eq!(left.iter().sum::<usize>(), if is_hit { 0 } else { 300 }, "fault {number}");
        assert_eq!(is_hit, number < 5000);
    }
    bench.loses_jobs = true;
    assert!(matches!(bench.ask(CLIENT, copy(false)), Response::Failed(Failure::TempFail)));
    bench.loses_jobs = false;
    assert_eq!(bench.names().len(), 300);
}

#[test]
fn y58_an_appended_message_has_a_uid_that_stays() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    let refused = bench.ask_append(folder("Drafts"), Flags::DRAFT, &[]);
    assert!(matches!(refused, Response::Failed(Failure::NoFolder)), "{refused:?}");
    let refused = bench.ask_append(folder("Drafts"), Flags::DRAFT, &["$label"]);
    assert!(matches!(refused, Response::Imap(ImapResponse::Refused(Refusal::NoFolder))), "{refused:?}");
    bench.create("Drafts");
    let (validity, first) = bench.append(folder("Drafts"), Flags::DRAFT, &[]);
    assert_eq!((first, bench.append(folder("Drafts"), Flags::empty(), &["$label"])), (1, (validity, 2)));
    let drafts = bench.select_folder(OTHER, "Drafts");
    assert_eq!((text(&drafts), drafts.uid_validity, drafts.uid_next), ("1D 2a".into(), validity, 3));
    assert_eq!(bench.append(folder("Drafts"), Flags::SEEN, &["$LABEL", "x"]), (validity, 3));
    assert_eq!(bench.events(), ["c2: 1D 2a 3Sab"]);
    assert_eq!(bench.append(mailbox("ann"), Flags::SEEN, &[]).1, 2);
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Refresh)), "1 2S");
}

#[test]
fn y52_the_numbers_of_a_folder_are_those_of_select() {
    let mut bench = Bench::with_messages(&["new/1.a", "cur/2.b:2,S", "cur/3.c:2,T", "new/.hidden"]);
    bench.create("to");
    bench.create("x.y");
    let items = vec![StatusItem::Messages, StatusItem::UidNext];
    bench.copy(&[1, 2, 3], folder("to"), false);
    fs::write(bench.path(".to/new/9.z"), "delivered by another program").unwrap();
    let lines = ["INBOX 3/2/4", ".to 4/3/5", ".x 0/0/1", ".x.y 0/0/1"];
    assert_eq!(bench.list(items.clone()), lines);
    bench.age(".to");
    // Twice, because the second list believes the first one while the times of the directories fit.
    assert_eq!(
        (bench.list(items.clone()), bench.list(items.clone())),
        (lines.map(Into::into).to_vec(), lines.map(Into::into).to_vec())
    );
    fs::write(bench.path(".to/new/10.z"), "another").unwrap();
    assert_eq!(bench.list(items)[1], ".to 5/4/6");
    let status = |items| ImapRequest::Status { folder: folder("to"), items };
    let Response::Imap(ImapResponse::Status(all)) = bench.ask(OTHER, status(vec![StatusItem::Size])) else {
        panic!("no status")
    };
    let selected = bench.select_folder(OTHER, "to");
    assert_eq!((all.uid_next, all.uid_validity), (selected.uid_next, selected.uid_validity));
    assert_eq!((all.messages, all.deleted, all.highest_modseq), (5, 1, selected.highest_modseq));
    let texts = ["new/1.a", "cur/2.b:2,S", "cur/3.c:2,T", "delivered by another program", "another"];
    // The last line of each has no end, which counts on the wire.
    assert_eq!(all.size, texts.iter().map(|text| text.len() as u64 + 2).sum::<u64>());
    let missing = ImapRequest::Status { folder: folder("nowhere"), items: Vec::new() };
    assert_eq!(bench.refused(missing), Refusal::NoFolder);
}

#[test]
fn y51_a_user_has_folders_with_special_uses_after_the_first_login() {
    let mut bench = Bench::new();
    bench.done(ImapRequest::Prepare { mailbox: mailbox("ann") });
    let special = ["Archive", "Drafts", "Junk", "Sent", "Trash"];
    let mut lines = vec!["INBOX".to_owned()];
    lines.extend(special.map(|word| format!(".{word} {word}")));
    assert_eq!(bench.list(Vec::new()), lines);
    bench.done(ImapRequest::Create { folder: folder("Gesendet"), special_use: Some(SpecialUse::Sent) });
    bench.done(ImapRequest::Subscribe { folder: folder("old.years"), on: true, made: Vec::new() });
    bench.done(ImapRequest::Subscribe { folder: mailbox("ann"), on: false, made: Vec::new() });
    let list = bench.list(Vec::new());
    let has = |line: &str| list.iter().any(|other| other == line);
    assert!(has(".Gesendet Sent") && has(".Sent") && has(".old.years absent"), "{list:?}");
    assert_eq!(list[0], "INBOX unsubscribed");
    assert_eq!(
        bench.refused(ImapRequest::Create { folder: mailbox("ann"), special_use: None }),
        Refusal::Exists
    );
    assert_eq!(bench.refused(ImapRequest::Delete { folder: mailbox("ann") }), Refusal::Cannot);
}

#[test]
fn y147_a_login_needs_no_folders_with_special_uses() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    fs::create_dir(bench.path(".restante.folders")).unwrap(); // no record can be written
    bench.done(ImapRequest::Prepare { mailbox: mailbox("ann") });
    assert_eq!(bench.list(Vec::new()), ["INBOX"], "no folder is told that was not made");
    fs::remove_dir(bench.path(".restante.folders")).unwrap();
    fs::write(bench.path(".Sent"), "no folder can have this name").unwrap();
    bench.done(ImapRequest::Prepare { mailbox: mailbox("ann") });
    assert!(!bench.list(Vec::new()).iter().any(|line| line.starts_with(".Sent")));
    fs::remove_file(bench.path(".Sent")).unwrap();
    // The next login tries again.
    bench.done(ImapRequest::Prepare { mailbox: mailbox("ann") });
    assert_eq!(bench.list(Vec::new()).len(), 6);
}

#[test]
fn y43_a_folder_that_was_deleted_and_made_again_has_another_uid_validity() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    bench.create("to");
    let first = bench.append(folder("to"), Flags::SEEN, &[]);
    bench.select_folder(OTHER, "to");
    bench.done(ImapRequest::Delete { folder: folder("to") });
    let response = bench.ask(OTHER, ImapRequest::Refresh);
    assert!(!matches!(response, Response::Imap(ImapResponse::State(_))), "{response:?}");
    bench.create("to");
    let second = bench.append(folder("to"), Flags::SEEN, &[]);
    assert!(second.0 > first.0 && second.1 == 1, "{first:?} {second:?}");
    // A new name keeps the UIDs, and the old name gets others.
    bench.done(ImapRequest::Rename { from: folder("to"), to: folder("other.name") });
    bench.create("to");
    assert!(bench.append(folder("to"), Flags::SEEN, &[]).0 > second.0);
    let renamed = bench.select_folder(OTHER, "other.name");
    assert_eq!((renamed.uid_validity, text(&renamed)), (second.0, "1S".into()));
    assert_eq!(
        bench.refused(ImapRequest::Rename { from: folder("to"), to: folder("other") }),
        Refusal::Exists
    );
    bench.done(ImapRequest::Rename { from: mailbox("ann"), to: folder("kept") });
    assert_eq!(text(&bench.select_folder(OTHER, "kept")), "1");
}

#[test]
fn y150_a_copy_that_would_leave_a_changed_message_out_copies_none_and_is_no() {
    for is_move in [false, true] {
        let mut bench = Bench::with_messages(&["new/1.a", "new/2.b"]);
        bench.create("to");
        // Another program writes into it, before the index hears of it.
        bench.write_into("new/1.a", "another text");
        let request = ImapRequest::Copy { uids: uids(&[1, 2]), to: folder("to"), is_move };
        let response = bench.ask(CLIENT, request);
        assert!(matches!(response, Response::Failed(Failure::Changed)), "{response:?}");
        let copies = fs::read_dir(bench.path(".to/new")).unwrap().count();
        let left = bench.names().len();
        assert_eq!((copies, left), if is_move && left == 1 { (1, 1) } else { (0, 2) });
        assert!(bench.path("new/1.a").exists());
        // The index hears of it, and the next attempt succeeds. By its length it is another message.
        fs::rename(bench.path("new/1.a"), bench.path("cur/1.a:2,S")).unwrap();
        let uid = bench.state(CLIENT, ImapRequest::Refresh).messages.last().unwrap().uid;
        let (_, from, _) = bench.copy(&[uid], folder("to"), is_move);
        assert_eq!(from, uid.to_string());
    }
}

#[test]
fn y173_a_copy_of_a_message_that_a_program_has_touched_needs_no_second_attempt() {
    for is_move in [false, true] {
        let mut bench = Bench::with_messages(&["new/1.a", "new/2.b"]);
        bench.create("to");
        let file = fs::File::options().write(true).open(bench.path("new/1.a")).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap(); // before the index hears of it
        let (_, from, to) = bench.copy(&[1, 2], folder("to"), is_move);
        assert_eq!((from.as_str(), to.as_str()), ("1:2", "1:2"));
        assert_eq!(bench.names().len(), if is_move { 0 } else { 2 });
    }
}
