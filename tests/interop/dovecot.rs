//! Dovecot on the same Maildir: its IMAP server and its delivery agent, each a process of its own without the
//! daemon around it, as it runs behind `ssh`. The locks, the index files and the renames are the same.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    common::{Server, client::deliver, eventually, home},
    deliverers::Deliverer,
    letters::{ALICE, OPEN, file, identified, ids, letter},
    programs::{Story, UNSHARE, at_home, succeeded, unprivileged},
    visit::{Visit, look, look_for},
};

pub(crate) const DOVECOT_LDA: &str = "/usr/lib/dovecot/dovecot-lda";
pub(crate) const DOVECOT_IMAP: &str = "/usr/lib/dovecot/imap";

/// One of Dovecot's programs, for alice, at home in that directory.
pub(crate) fn dovecot(program: &str, home: &Path, server: &Server) -> Command {
    let config = home.join("dovecot.conf");
    let maildir = server.maildir(ALICE).path;
    let settings = format!("mail_location = maildir:{}\nfirst_valid_uid = 1\nssl = no\n", maildir.display());
    fs::write(&config, settings).unwrap();
    let mut command = unprivileged(program);
    at_home(&mut command, home).arg("-c").arg(&config);
    command
}

/// A session with Dovecot's IMAP server. It ends with its standard input.
pub(crate) struct Imap {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    tags: usize,
    log: PathBuf,
    _home: TempDir,
}

/// A line of the server, and the literals in it (RFC 9051 section 4.3).
pub(crate) struct Response {
    pub(crate) text: String,
    pub(crate) literals: Vec<Vec<u8>>,
}

impl Imap {
    /// A session, logged in.
    pub(crate) fn begin(server: &Server) -> Self {
        let home = home();
        let log = home.path().join("log");
        let mut command = dovecot(DOVECOT_IMAP, home.path(), server);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut imap = Self { child, input, output, tags: 0, log, _home: home };
        let greeting = imap.response();
        assert!(greeting.text.starts_with("* PREAUTH"), "{}", greeting.text);
        imap
    }

    fn response(&mut self) -> Response {
        let (mut text, mut literals) = (String::new(), Vec::new());
        loop {
            if self.output.read_line(&mut text).unwrap() == 0 {
                panic!("Dovecot is gone: {}", fs::read_to_string(&self.log).unwrap());
            }
            let octets = text.trim_end().strip_suffix('}').and_then(|text| text.rsplit_once('{'));
            let Some(octets) = octets.and_then(|(_, octets)| octets.parse().ok()) else {
                return Response { text, literals };
            };
            let mut literal = vec![0; octets];
            self.output.read_exact(&mut literal).unwrap();
            literals.push(literal);
        }
    }

    /// A command that must be answered with OK, and everything said before that.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> Vec<Response> {
        let (responses, result) = self.command(command.as_bytes());
        assert!(result.starts_with("OK"), "{command}: {result}");
        responses
    }

    /// A command that comes too late if the messages are gone: then its answer is NO.
    pub(crate) fn try_ask(&mut self, command: &str) -> Vec<Response> {
        let (responses, result) = self.command(command.as_bytes());
        assert!(!result.starts_with("BAD"), "{command}: {result}");
        responses
    }

    /// Everything said before the result of a command, and that.
    fn command(&mut self, command: &[u8]) -> (Vec<Response>, String) {
        self.tags += 1;
        let tag = format!("a{} ", self.tags);
        self.input.write_all(&[tag.as_bytes(), command, b"\r\n"].concat()).unwrap();
        let mut responses = Vec::new();
        loop {
            let response = self.response();
            if let Some(result) = response.text.strip_prefix(&tag) {
                return (responses, result.to_owned());
            }
            responses.push(response);
        }
    }

    /// Puts a letter into a mailbox.
    pub(crate) fn append(&mut self, mailbox: &str, letter: &[u8]) {
        let command = format!("APPEND {mailbox} {{{}+}}\r\n", letter.len());
        let (_, result) = self.command(&[command.as_bytes(), letter].concat());
        assert!(result.starts_with("OK"), "{result}");
    }

    /// Opens a mailbox and reads everything in it: the unique ids of IMAP, and the letters. What went meanwhile
    /// is left out.
    pub(crate) fn read_all(&mut self, mailbox: &str) -> Vec<(usize, String)> {
        self.ask(&format!("SELECT {mailbox}"));
        let fetched = self.try_ask("UID FETCH 1:* BODY.PEEK[]");
        let with_text = fetched.iter().filter_map(|response| Some((response, response.literals.first()?)));
        with_text.map(|(response, text)| (number_after(&response.text, "UID "), identified(text))).collect()
    }

    /// Ends the session.
    pub(crate) fn logout(mut self) {
        self.ask("LOGOUT");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Imap {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended if all went well
        let _ = self.child.wait();
    }
}

/// The number that follows this word.
fn number_after(text: &str, word: &str) -> usize {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {text:?}"));
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().unwrap()
}

pub(crate) fn stories() -> Vec<Story> {
    let (imap, both) = (&[DOVECOT_IMAP, UNSHARE][..], &[DOVECOT_IMAP, DOVECOT_LDA, UNSHARE][..]);
    vec![
        Story::new(imap, dovecot_flags_moves_and_expunges_while_pop3_reads),
        Story::new(imap, dovecot_sees_what_pop3_has_deleted),
        Story::new(imap, dovecot_appends_and_the_sizes_are_right),
        Story::new(imap, dovecot_and_pop3_agree_on_every_size),
        Story::new(both, uids_of_both_servers_are_stable_through_each_others_work),
    ]
}

fn dovecot_flags_moves_and_expunges_while_pop3_reads() {
    let (server, sent) = (Server::strict(), ids("sent", 8));
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let before = look_for(&server, &sent);
    let mut visit = Visit::begin(&server);
    let mut imap = Imap::begin(&server);
    imap.ask("CREATE Archive");
    imap.ask("SELECT INBOX");
    imap.ask("STORE 1:5 +FLAGS (\\Flagged \\Seen keyword)");
    imap.ask("MOVE 7,8 Archive");
    imap.ask("STORE 2 +FLAGS (\\Deleted)");
    imap.ask("EXPUNGE");

    let read: Vec<Option<String>> = (1..=8).map(|number| visit.read(number)).collect();
    let gone = [1, 6, 7];
    let wanted: Vec<Option<String>> =
        sent.iter().enumerate().map(|(n, id)| (!gone.contains(&n)).then(|| id.clone())).collect();
    assert_eq!(read, wanted);
    visit.delete(1);
    visit.delete(2); // Dovecot was first
    visit.quit();

    let left: Vec<String> =
        sent.iter().enumerate().filter(|(n, _)| (2..6).contains(n)).map(|(_, id)| id.clone()).collect();
    let after = look_for(&server, &left);
    assert!(after.iter().all(|(letter, uid)| before.get(letter) == Some(uid)), "{before:?} {after:?}");
    let archived: BTreeSet<String> = imap.read_all("Archive").into_iter().map(|(_, id)| id).collect();
    assert_eq!(archived, BTreeSet::from(["sent-6".to_owned(), "sent-7".to_owned()]));
    // The flags that each of them set have outlived the other's renames.
    imap.ask("SELECT INBOX");
    let flags = imap.ask("FETCH 1:* FLAGS");
    let flagged = flags.iter().filter(|response| response.text.contains("\\Flagged")).count();
    let seen = flags.iter().filter(|response| response.text.contains("\\Seen")).count();
    assert_eq!((flagged, seen), (3, 4), "three by Dovecot, and the one that was only read over POP3");
    imap.logout();
}

fn dovecot_sees_what_pop3_has_deleted() {
    let (server, sent) = (Server::strict(), ids("sent", 4));
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    let mut imap = Imap::begin(&server);
    imap.ask("SELECT INBOX");
    let mut visit = Visit::begin(&server);
    visit.read_all();
    visit.delete(1);
    visit.delete(3);
    visit.quit();
    let mut expunged = 0;
    eventually("Dovecot says that two are gone", || {
        expunged += imap.ask("NOOP").iter().filter(|response| response.text.contains(" EXPUNGE")).count();
        (expunged == 2).then_some(())
    });
    let left: Vec<String> = imap.read_all("INBOX").into_iter().map(|(_, id)| id).collect();
    assert_eq!(left, [&*sent[1], &*sent[3]]);
    imap.logout();
}

fn dovecot_appends_and_the_sizes_are_right() {
    let server = Server::strict();
    deliver(&server, ALICE, &letter("ours"));
    let mut imap = Imap::begin(&server);
    let mut all = vec!["ours".to_owned()];
    for n in 0..10 {
        for id in [format!("theirs-{n}"), format!("theirs-{n}{OPEN}")] {
            imap.append("INBOX", &letter(&id));
            all.push(id);
        }
    }
    let before = look_for(&server, &all);
    imap.ask("SELECT INBOX");
    imap.ask("STORE 1:* +FLAGS (\\Seen)");
    imap.logout();
    assert_eq!(look_for(&server, &all), before);
}

fn dovecot_and_pop3_agree_on_every_size() {
    let (server, sent) = (Server::strict(), ids("sent", 24));
    sent.iter().for_each(|id| deliver(&server, ALICE, &letter(id)));
    for id in ids("theirs", 8) {
        // By a name that tells no size: both have to count.
        server.maildir(ALICE).put(&format!("1767268800.{id}.host"), &file(&id));
    }
    let mut imap = Imap::begin(&server);
    imap.ask("SELECT INBOX");
    let mut theirs: Vec<usize> =
        imap.ask("FETCH 1:* RFC822.SIZE").iter().map(|r| number_after(&r.text, "RFC822.SIZE ")).collect();
    imap.logout();
    let mut ours = Visit::begin(&server).sizes().to_vec();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
}

/// Each delivers, flags and deletes in turn.
fn uids_of_both_servers_are_stable_through_each_others_work() {
    let server = Server::strict();
    deliver(&server, ALICE, &letter("ours-first"));
    let mut imap = Imap::begin(&server);
    let (mut pop3_ids, mut imap_ids) = (look(&server), imap.read_all("INBOX"));
    for turn in 0..8 {
        deliver(&server, ALICE, &letter(&format!("ours-{turn}")));
        succeeded(Deliverer::DovecotLda.deliver(&server, &format!("theirs-{turn}")));
        imap.append("INBOX", &letter(&format!("appended-{turn}")));
        imap.ask("SELECT INBOX");
        imap.ask(&format!("STORE {} FLAGS (\\Answered)", turn + 1));
        let mut visit = Visit::begin(&server);
        visit.read(turn + 2);
        visit.delete(1);
        visit.quit();

        let (pop3_now, imap_now) = (look(&server), imap.read_all("INBOX"));
        assert_eq!(pop3_now.len(), imap_now.len());
        assert_eq!(pop3_now.len(), 1 + 2 * (turn + 1));
        let moved = |(letter, uid): &(&String, &String)| pop3_now.get(*letter).is_some_and(|now| now != *uid);
        assert_eq!(pop3_ids.iter().find(moved), None);
        let moved = |(uid, letter): &&(usize, String)| imap_now.iter().any(|(n, l)| l == letter && n != uid);
        assert_eq!(imap_ids.iter().find(moved), None);
        (pop3_ids, imap_ids) = (pop3_now, imap_now);
    }
    imap.logout();
}
