//! Programs that mirror a mailbox over IMAP, read it and write to it, and that we did not write.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    common::{Maildir, PASSWORD, Server, client::deliver, eventually, home, mutt, write_private},
    imap::{Imap, number_after, server},
    letters::{ALICE, file, identified, identify, ids, letter, without_fields},
    programs::{Story, at_home, in_time, limited, said, succeeded},
};

/// A program that keeps a copy of a mailbox, and carries changes both ways.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Mbsync,
    Offlineimap,
}

/// Such a program, with a directory of its own.
struct Mirror<'a> {
    kind: Kind,
    server: &'a Server,
    home: TempDir,
}

impl<'a> Mirror<'a> {
    fn new(kind: Kind, server: &'a Server) -> Self {
        let home = home();
        fs::create_dir(home.path().join("local")).unwrap();
        let (address, at) = (server.addresses("imap")[0], home.path().display());
        let (host, port) = (address.ip(), address.port());
        let rules = match kind {
            Kind::Mbsync => format!(
                "IMAPAccount a\nHost {host}\nPort {port}\nUser {ALICE}\nPass {PASSWORD}\nSSLType None\n\
                 AuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath {at}/local/\n\
                 Inbox {at}/local/INBOX\nSubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\n\
                 Patterns *\nCreate Both\nExpunge Both\nSyncState *\n"
            ),
            Kind::Offlineimap => format!(
                "[general]\naccounts = a\nmetadata = {at}/meta\nui = basic\n[Account a]\nlocalrepository = l\n\
                 remoterepository = r\n[Repository l]\ntype = Maildir\nlocalfolders = {at}/local\n\
                 [Repository r]\ntype = IMAP\nremotehost = {host}\nremoteport = {port}\nremoteuser = {ALICE}\n\
                 remotepass = {PASSWORD}\nssl = no\nstarttls = no\nauth_mechanisms = LOGIN\n"
            ),
        };
        write_private(&home.path().join("rules"), &rules);
        Self { kind, server, home }
    }

    /// The copy of a folder.
    fn local(&self, folder: &str) -> Maildir {
        Maildir { path: self.home.path().join("local").join(folder) }
    }

    /// Carries the changes. Returns the number of messages that its sessions have read.
    #[track_caller]
    fn run(&self) -> usize {
        let before = self.ended().len();
        let mut command = match self.kind {
            Kind::Mbsync => limited("mbsync"),
            Kind::Offlineimap => limited("offlineimap"),
        };
        command.arg("-c").arg(self.home.path().join("rules"));
        command.args(match self.kind {
            Kind::Mbsync => &["--all"][..],
            Kind::Offlineimap => &["-o"],
        });
        succeeded(in_time(at_home(&mut command, self.home.path()).output().unwrap()));
        let log = self.ended();
        let closed = log[before..].lines().filter(|line| line.contains(" imap closed "));
        closed.map(|line| number_after(line, " read=")).sum()
    }

    /// The log, with the end of each session.
    fn ended(&self) -> String {
        eventually("the end of the sessions is in the log", || {
            let log = self.server.log();
            (log.matches(" imap login ").count() == log.matches(" imap closed ").count()).then_some(log)
        })
    }

    /// Carries changes once more, which must move nothing.
    #[track_caller]
    fn has_nothing_to_do(&self) {
        let files = || [files_below(&self.server.spool), files_below(&self.home.path().join("local"))];
        let before = files();
        assert_eq!(self.run(), 0, "it has read messages again");
        assert_eq!(files(), before);
    }

    /// The letters of a folder that both sides have, with their files here and flags there.
    #[track_caller]
    fn agreed(&self, folder: &str) -> BTreeMap<String, (PathBuf, String)> {
        let local = self.local(folder);
        let mut here = BTreeMap::new();
        for file in [local.files("new"), local.files("cur")].concat() {
            let text = without_fields(&fs::read(&file).unwrap(), &ADDED);
            assert!(here.insert(identified(&text), file).is_none(), "twice here");
        }
        let mut imap = Imap::ours(self.server);
        imap.ask(&format!("SELECT {folder}"));
        let mut there = BTreeMap::new();
        for response in imap.ask("UID FETCH 1:* (FLAGS BODY.PEEK[])") {
            let Some(text) = response.literals.first() else { continue };
            let id = identified(&without_fields(text, &ADDED));
            assert!(there.insert(id, response.text).is_none(), "twice there");
        }
        imap.logout();
        assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
        here.into_iter().zip(there.into_values()).map(|((id, file), flags)| (id, (file, flags))).collect()
    }
}

/// The fields that these programs add to letters, to know them again.
const ADDED: [&str; 2] = ["X-TUID: ", "X-OfflineIMAP: "];

/// The messages in all folders below a directory, by name.
fn files_below(directory: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.parent().is_some_and(|parent| parent.ends_with("new") || parent.ends_with("cur")) {
            files.insert(path);
        }
    }
    files
}

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&["mbsync"], mbsync_carries_changes_both_ways_and_each_once),
        Story::new(&["offlineimap"], offlineimap_carries_changes_both_ways_and_each_once),
        Story::new(&["curl"], curl_reads_searches_appends_and_deletes_by_imap),
        Story::new(&["mutt", "script"], mutt_flags_saves_and_deletes_by_imap),
        Story::new(&["neomutt", "script"], neomutt_flags_saves_and_deletes_by_imap),
    ]
}

fn mbsync_carries_changes_both_ways_and_each_once() {
    carries_changes_both_ways(Kind::Mbsync);
}

fn offlineimap_carries_changes_both_ways_and_each_once() {
    carries_changes_both_ways(Kind::Offlineimap);
}

fn carries_changes_both_ways(kind: Kind) {
    let server = server();
    let sent = ids("sent", 8);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let mirror = Mirror::new(kind, &server);
    assert_eq!(mirror.run(), 8);
    let first = mirror.agreed("INBOX");
    assert_eq!(first.keys().collect::<Vec<_>>(), sent.iter().collect::<Vec<_>>());
    assert!(mirror.local("Archive").path.join("cur").is_dir(), "a folder that is empty");
    mirror.has_nothing_to_do();

    // Here: a flag, a deletion, a new letter. There: the same, by other letters.
    let (flagged, _) = &first["sent-1"];
    let name = flagged.file_name().unwrap().to_str().unwrap();
    let name = name.split_once(":2,").map_or(name, |(name, _)| name);
    fs::rename(flagged, mirror.local("INBOX").path.join("cur").join(format!("{name}:2,FS"))).unwrap();
    fs::remove_file(&first["sent-2"].0).unwrap();
    mirror.local("INBOX").put("1767268800.M1P1.here", &file("here"));
    mirror.local("Archive").put("1767268800.M2P1.here", &file("archived"));
    let mut imap = Imap::ours(&server);
    imap.ask("SELECT INBOX");
    let uid = |id: &str| number_after(&first[id].1, "UID ");
    imap.ask(&format!("UID STORE {} +FLAGS (\\Answered \\Seen)", uid("sent-3")));
    imap.ask(&format!("UID STORE {} +FLAGS (\\Deleted)", uid("sent-4")));
    imap.ask("EXPUNGE");
    imap.ask(&format!("UID MOVE {} Archive", uid("sent-5")));
    imap.logout();
    deliver(&server, ALICE, &letter("there"));

    mirror.run();
    let second = mirror.agreed("INBOX");
    let wanted = ["here", "sent-0", "sent-1", "sent-3", "sent-6", "sent-7", "there"];
    assert_eq!(second.keys().collect::<Vec<_>>(), wanted);
    let archived = mirror.agreed("Archive");
    assert_eq!(archived.keys().collect::<Vec<_>>(), ["archived", "sent-5"]);
    let (_, flags) = &second["sent-1"];
    assert!(flags.contains("\\Flagged") && flags.contains("\\Seen"), "{flags}");
    let (here, _) = &second["sent-3"];
    assert!(here.to_string_lossy().ends_with(":2,RS"), "{}", here.display());
    for id in ["sent-0", "sent-1", "sent-3", "sent-6", "sent-7"] {
        assert_eq!(uid(id), number_after(&second[id].1, "UID "), "{id} has another UID");
    }
    mirror.has_nothing_to_do();
}

fn curl_reads_searches_appends_and_deletes_by_imap() {
    let server = server();
    let sent = ids("sent", 6);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let ask = |folder: &str, request: &str| {
        let output = curl(&server, folder).args(["--request", request]).output().unwrap();
        String::from_utf8(succeeded(output)).unwrap()
    };
    assert_eq!(ask("INBOX", "UID SEARCH ALL"), "* SEARCH 1 2 3 4 5 6\r\n");
    let read = |uid: &usize| {
        let text = succeeded(curl(&server, &format!("INBOX;UID={uid}")).output().unwrap());
        identify(&text).unwrap()
    };
    assert_eq!((1..=6).map(|uid| read(&uid)).collect::<Vec<_>>(), sent);
    assert_eq!(ask("INBOX", "UID SEARCH SUBJECT sent-3"), "* SEARCH 4\r\n");
    let listed = String::from_utf8(succeeded(curl(&server, "").output().unwrap())).unwrap();
    assert!(listed.starts_with("* LIST (") && listed.lines().count() == 6, "{listed}");

    let home = home();
    let upload = home.path().join("upload");
    fs::write(&upload, letter("mine")).unwrap();
    succeeded(curl(&server, "Sent").arg("--upload-file").arg(&upload).output().unwrap());
    let mut imap = Imap::ours(&server);
    assert_eq!(imap.read_all("Sent"), [(1, "mine".to_owned())]);

    assert!(ask("INBOX", "UID STORE 3 +FLAGS.SILENT (\\Deleted)").is_empty());
    assert_eq!(ask("INBOX", "EXPUNGE"), "* 3 EXPUNGE\r\n");
    let left = imap.read_all("INBOX");
    assert_eq!(left.into_iter().map(|(uid, _)| uid).collect::<Vec<_>>(), [1, 2, 4, 5, 6]);
}

/// curl in alice's folders.
fn curl(server: &Server, path: &str) -> Command {
    let mut command = limited("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--user", &format!("{ALICE}:{PASSWORD}")]);
    command.arg(format!("imap://{}/{path}", server.addresses("imap")[0]));
    command
}

fn mutt_flags_saves_and_deletes_by_imap() {
    reads_by_imap("mutt");
}

fn neomutt_flags_saves_and_deletes_by_imap() {
    reads_by_imap("neomutt");
}

fn reads_by_imap(program: &str) {
    let server = server();
    let sent = ids("sent", 6);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let keys = "<tag-pattern>~A<enter><tag-prefix><flag-message><untag-pattern>~A<enter>\
                <tag-pattern>~s \\\"sent-(2|3)$\\\"<enter><tag-prefix><save-message>=Archive<enter>\
                <delete-pattern>~s sent-1<enter><sync-mailbox><first-entry><display-message><exit><quit>";
    let output = reader(program, &server, keys);
    assert!(output.status.success(), "{}", said(&output));
    let mut imap = Imap::ours(&server);
    assert_eq!(imap.read_all("INBOX"), [(1, sent[0].clone()), (5, sent[4].clone()), (6, sent[5].clone())]);
    let flags: Vec<String> = imap.ask("UID FETCH 1:* FLAGS").into_iter().map(|one| one.text).collect();
    assert!(flags.iter().all(|flags| flags.contains("\\Flagged")), "{flags:?}");
    assert_eq!(flags.iter().filter(|flags| flags.contains("\\Seen")).count(), 1, "{flags:?}");
    assert_eq!(imap.read_all("Archive"), [(1, sent[2].clone()), (2, sent[3].clone())]);
    let names = server.maildir(ALICE).files("cur");
    assert_eq!(names.iter().filter(|name| name.to_string_lossy().contains(":2,F")).count(), 3, "{names:?}");
}

/// mutt or NeoMutt in alice's INBOX.
fn reader(program: &str, server: &Server, keys: &str) -> Output {
    let home = home();
    let place = format!("imap://{}/", server.addresses("imap")[0]);
    let options = format!(
        "-e 'set imap_user={ALICE} imap_pass={PASSWORD} ssl_starttls=no ssl_force_tls=no folder={place}'"
    );
    mutt::reader_in(program, home.path(), &format!("{place}INBOX"), &options, keys, 30)
}
