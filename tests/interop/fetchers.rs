//! Programs that fetch mail over POP3 or IMAP, and that we did not write.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    common::{PASSWORD, Server, client::deliver, home},
    imap,
    letters::{ALICE, identify, ids, letter, without_fields},
    programs::{Story, UNSHARE, at_home, in_time, limited, said, succeeded, unprivileged},
    visit::{Visit, look, look_for},
};

/// A program that fetches mail, and remembers the messages that it has fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fetchmail,
    Mpop,
    Getmail,
    FetchmailByImap,
    GetmailByImap,
}

/// Handling of fetched mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Mail stays on the server, and only new mail is fetched.
    OnServer,
    /// Everything is fetched, and deleted.
    Nothing,
}

impl Kind {
    /// Those that speak POP3.
    pub(crate) const ALL: [Self; 3] = [Self::Fetchmail, Self::Mpop, Self::Getmail];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Fetchmail | Self::FetchmailByImap => "fetchmail",
            Self::Mpop => "mpop",
            Self::Getmail | Self::GetmailByImap => "getmail",
        }
    }

    /// Its configuration: fetched mail goes into files below `got/new`.
    fn rules(self, server: &Server, home: &Path, keep: Keep) -> String {
        let by_imap = matches!(self, Self::FetchmailByImap | Self::GetmailByImap);
        let address = if by_imap { server.addresses("imap")[0] } else { server.pop3() };
        let (host, port, home) = (address.ip(), address.port(), home.display());
        match self {
            Self::Fetchmail | Self::FetchmailByImap => {
                let protocol = if by_imap { "imap" } else { "pop3 uidl" };
                let keep = if keep == Keep::OnServer { "keep" } else { "fetchall nokeep" };
                format!(
                    "poll {host} service {port} protocol {protocol} user {ALICE:?} password {PASSWORD} \
                     sslproto '' {keep} norewrite mda \"sh {home}/take\"\n"
                )
            }
            Self::Mpop => {
                let keep = if keep == Keep::OnServer { "keep on" } else { "keep off\nonly_new off" };
                format!(
                    "account default\nhost {host}\nport {port}\nuser {ALICE}\npassword {PASSWORD}\nauth user\n\
                     tls off\nreceived_header off\nuidls_file {home}/uidls\ndelivery maildir {home}/got\n{keep}\n"
                )
            }
            Self::Getmail | Self::GetmailByImap => {
                let kind = if by_imap {
                    "SimpleIMAPRetriever\nmailboxes = (\"INBOX\",)"
                } else {
                    "SimplePOP3Retriever"
                };
                let (delete, all) = (keep == Keep::Nothing, keep == Keep::Nothing);
                // getmail misses the end of a child that is quicker than itself, and waits for it until the
                // time-out: a shell is slower than its own deliverer.
                format!(
                    "[retriever]\ntimeout = 10\ntype = {kind}\nserver = {host}\nport = {port}\nusername = {ALICE}\n\
                     password = {PASSWORD}\n[destination]\ntype = MDA_external\npath = /bin/sh\n\
                     arguments = (\"{home}/take\",)\n[options]\n\
                     delete = {delete}\nread_all = {all}\nreceived = false\ndelivered_to = false\n"
                )
            }
        }
    }

    fn command(self, home: &Path, rules: &Path) -> Command {
        let mut command = match self {
            Self::Getmail | Self::GetmailByImap => unprivileged(self.program()),
            Self::Fetchmail | Self::FetchmailByImap | Self::Mpop => limited(self.program()),
        };
        match self {
            Self::Fetchmail | Self::FetchmailByImap => {
                command.env("FETCHMAILHOME", home).arg("--fetchmailrc").arg(rules);
                // As root it would share one lock with every other fetchmail of the machine.
                command.arg("--pidfile").arg(home.join("pid")).args(["--nosyslog", "--invisible"]);
            }
            Self::Mpop => {
                command.arg("--file").arg(rules);
            }
            Self::Getmail | Self::GetmailByImap => {
                command.arg("--getmaildir").arg(home).args(["--rcfile", "rules"]);
            }
        }
        command
    }

    /// Whether the program reported no error. The exit code 1 of fetchmail means that there was no mail.
    fn content(self, output: &Output) -> bool {
        output.status.success() || self.program() == "fetchmail" && output.status.code() == Some(1)
    }
}

/// Such a program with a directory of its own.
pub(crate) struct Fetcher {
    kind: Kind,
    home: TempDir,
}

/// The result of a fetch.
pub(crate) struct Fetched {
    /// The letters, or their faults.
    pub(crate) letters: Vec<Result<String, String>>,
    /// Whether the program reported no error.
    pub(crate) content: bool,
    pub(crate) said: String,
}

impl Fetcher {
    pub(crate) fn new(kind: Kind) -> Self {
        let home = home();
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(home.path().join("got").join(sub)).unwrap();
        }
        let take = format!("exec cat > \"$(mktemp {}/got/new/XXXXXXXX)\"\n", home.path().display());
        fs::write(home.path().join("take"), take).unwrap();
        Self { kind, home }
    }

    /// Lets it fetch, once.
    pub(crate) fn fetch(&self, server: &Server, keep: Keep) -> Fetched {
        let (home, rules) = (self.home.path(), self.home.path().join("rules"));
        fs::write(&rules, self.kind.rules(server, home, keep)).unwrap();
        fs::set_permissions(&rules, fs::Permissions::from_mode(0o600)).unwrap();
        let output = in_time(at_home(&mut self.kind.command(home, &rules), home).output().unwrap());
        let take = |entry: fs::DirEntry| {
            let text = fs::read(entry.path()).unwrap();
            fs::remove_file(entry.path()).unwrap();
            identify(&without_fields(&text, &["X-getmail-retrieved-from-mailbox: INBOX"]))
        };
        let got = fs::read_dir(home.join("got/new")).unwrap();
        let letters = got.map(|entry| take(entry.unwrap())).collect();
        Fetched { letters, content: self.kind.content(&output), said: said(&output) }
    }

    /// Lets it fetch; the letters in order of their ids.
    #[track_caller]
    fn fetch_all(&self, server: &Server, keep: Keep) -> Vec<String> {
        let fetched = self.fetch(server, keep);
        assert!(fetched.content, "{}", fetched.said);
        let mut letters: Vec<String> = fetched.letters.into_iter().map(|letter| letter.unwrap()).collect();
        letters.sort();
        letters
    }
}

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(&["fetchmail"], fetchmail_fetches_all_and_empties_the_mailbox),
        Story::new(&["fetchmail"], fetchmail_keeps_and_fetches_only_what_is_new),
        Story::new(&["mpop"], mpop_fetches_all_and_empties_the_mailbox),
        Story::new(&["mpop"], mpop_keeps_and_fetches_only_what_is_new),
        Story::new(&["getmail", UNSHARE], getmail_fetches_all_and_empties_the_mailbox),
        Story::new(&["getmail", UNSHARE], getmail_keeps_and_fetches_only_what_is_new),
        Story::new(&["fetchmail"], fetchmail_fetches_all_by_imap_and_empties_the_mailbox),
        Story::new(&["fetchmail"], fetchmail_keeps_and_fetches_by_imap_only_what_is_new),
        Story::new(&["getmail", UNSHARE], getmail_fetches_all_by_imap_and_empties_the_mailbox),
        Story::new(&["getmail", UNSHARE], getmail_keeps_and_fetches_by_imap_only_what_is_new),
        Story::new(&["curl"], curl_reads_what_is_listed_and_deletes_one),
    ]
}

fn fetchmail_fetches_all_and_empties_the_mailbox() {
    fetches_all(Kind::Fetchmail);
}

fn mpop_fetches_all_and_empties_the_mailbox() {
    fetches_all(Kind::Mpop);
}

fn getmail_fetches_all_and_empties_the_mailbox() {
    fetches_all(Kind::Getmail);
}

fn fetchmail_fetches_all_by_imap_and_empties_the_mailbox() {
    fetches_all(Kind::FetchmailByImap);
}

fn getmail_fetches_all_by_imap_and_empties_the_mailbox() {
    fetches_all(Kind::GetmailByImap);
}

fn fetches_all(kind: Kind) {
    let server = imap::server();
    let sent = ids("sent", 16);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let fetcher = Fetcher::new(kind);
    assert_eq!(fetcher.fetch_all(&server, Keep::Nothing), sorted(&sent));
    assert_eq!(Visit::begin(&server).count(), 0);
    let maildir = server.maildir(ALICE);
    assert!(maildir.files("new").is_empty() && maildir.files("cur").is_empty());
    assert!(fetcher.fetch_all(&server, Keep::Nothing).is_empty());
}

fn fetchmail_keeps_and_fetches_only_what_is_new() {
    fetches_what_is_new(Kind::Fetchmail);
}

fn mpop_keeps_and_fetches_only_what_is_new() {
    fetches_what_is_new(Kind::Mpop);
}

fn getmail_keeps_and_fetches_only_what_is_new() {
    fetches_what_is_new(Kind::Getmail);
}

fn fetchmail_keeps_and_fetches_by_imap_only_what_is_new() {
    fetches_what_is_new(Kind::FetchmailByImap);
}

fn getmail_keeps_and_fetches_by_imap_only_what_is_new() {
    fetches_what_is_new(Kind::GetmailByImap);
}

/// Also after other programs renamed the files, and after a new start of the server.
fn fetches_what_is_new(kind: Kind) {
    let mut server = imap::server();
    let sent = ids("sent", 12);
    let (early, late) = sent.split_at(8);
    early.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let fetcher = Fetcher::new(kind);
    assert_eq!(fetcher.fetch_all(&server, Keep::OnServer), sorted(early));
    let before = look_for(&server, early);

    let maildir = server.maildir(ALICE);
    for file in [maildir.files("new"), maildir.files("cur")].concat() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let (unique, _) = name.split_once(":2,").unwrap_or((&name, ""));
        fs::rename(&file, maildir.path.join("cur").join(format!("{unique}:2,FRS"))).unwrap();
    }
    late.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    assert_eq!(fetcher.fetch_all(&server, Keep::OnServer), sorted(late));
    assert!(fetcher.fetch_all(&server, Keep::OnServer).is_empty());

    server.restart();
    let after = look_for(&server, &sent);
    assert!(before.iter().all(|(letter, uid)| after.get(letter) == Some(uid)), "{before:?} {after:?}");
}

fn curl_reads_what_is_listed_and_deletes_one() {
    let server = Server::strict();
    let sent = ids("sent", 16);
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let listed = String::from_utf8(succeeded(curl(&server, "").output().unwrap())).unwrap();
    let mut read = Vec::new();
    for line in listed.lines() {
        let (number, octets) = line.split_once(' ').unwrap();
        let text = succeeded(curl(&server, number).output().unwrap());
        assert_eq!(text.len().to_string(), octets);
        read.push(identify(&text).unwrap());
    }
    assert_eq!(sorted(&read), sorted(&sent));
    succeeded(curl(&server, "3").args(["--request", "DELE", "--list-only"]).output().unwrap());
    let left = look(&server);
    read.remove(2);
    assert_eq!(left.into_keys().collect::<Vec<_>>(), sorted(&read));
}

/// curl in alice's mailbox.
pub(crate) fn curl(server: &Server, path: &str) -> Command {
    let mut command = limited("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--user", &format!("{ALICE}:{PASSWORD}")]);
    command.arg(format!("pop3://{}/{path}", server.pop3()));
    command
}

fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}
