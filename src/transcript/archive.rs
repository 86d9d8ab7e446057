//! The transcripts that the web inbox shows: those of the last sessions from memory, and earlier ones from their files.
//!
//! The rule: memory has a bound, whatever clients do: for one session, for all of them, and for their number. The oldest
//! session makes room for the next one. Only the writer thread and workers take the lock, and never while they wait for
//! a disk.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{file_name::session_of, format};
use crate::{open_regular::read_bounded, proto::request::ConnId, safe_file::Directory};

/// The last sessions, and the directory of earlier ones.
#[derive(Debug, Default)]
pub struct Archive {
    recent: Mutex<Recent>,
    directory: Option<PathBuf>,
    /// The names of the files there.
    files: Mutex<FileIndex>,
    /// True if a session shows transcripts, and waits for changes.
    is_watched: AtomicBool,
}

/// The newest transcripts in the directory. It is read once, and then each file that begins is added.
#[derive(Debug, Default)]
struct FileIndex {
    /// The oldest first.
    names: VecDeque<(ConnId, Box<str>)>,
    read_at: Option<Instant>,
}

impl FileIndex {
    fn push(&mut self, id: ConnId, name: &str) {
        self.names.push_back((id, name.into()));
        if self.names.len() > MAX_INDEXED {
            self.names.pop_front();
        }
    }

    /// The last files of a session, the newest first.
    fn of(&self, id: ConnId) -> Vec<String> {
        let names = self.names.iter().rev().filter(|(of, _)| *of == id);
        names.take(MAX_FILES).map(|(_, name)| name.to_string()).collect()
    }
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    /// The id of its connection.
    pub id: ConnId,
    /// The name of its service: "smtp", "submission", …
    pub service: String,
    /// The address of the client.
    pub peer: SocketAddr,
    /// The time at which it began.
    pub began: SystemTime,
    /// The last line of the dialogue, or its beginning.
    pub last_line: String,
    /// True if it has ended.
    pub is_over: bool,
    /// The mailbox of the user who has logged in.
    pub user: Option<String>,
    /// Messages that it has delivered.
    pub delivered: usize,
    /// Messages that it has read.
    pub retrieved: usize,
    /// The code of its last refusal.
    pub refusal: Option<String>,
}

impl SessionEntry {
    /// A session that begins.
    pub(super) fn new(id: ConnId, service: &str, peer: SocketAddr, began: SystemTime) -> Self {
        Self {
            id,
            service: service.to_owned(),
            peer,
            began,
            last_line: String::new(),
            is_over: false,
            user: None,
            delivered: 0,
            retrieved: 0,
            refusal: None,
        }
    }

    /// Takes the facts from lines of the transcript.
    fn record(&mut self, lines: &str) {
        for line in lines.lines() {
            if let Some(user) = line.strip_prefix("! welcome ") {
                self.user = Some(user[..user.floor_char_boundary(MAX_LAST_LINE)].to_owned());
            } else if line.starts_with("! delivered") {
                self.delivered += 1;
            } else if line.starts_with("S~ ") {
                self.retrieved += 1;
            } else if let Some(reply) = line.strip_prefix("S: ") {
                self.refusal = refusal_code(reply).or(self.refusal.take());
            }
            if line.starts_with("C: ") || line.starts_with("S: ") {
                line[..line.floor_char_boundary(MAX_LAST_LINE)].clone_into(&mut self.last_line);
            }
        }
    }
}

/// The code of a reply that refuses: `550 5.1.1`, or `-ERR`.
fn refusal_code(reply: &str) -> Option<String> {
    if reply.starts_with("-ERR") {
        return Some("-ERR".to_owned());
    }
    let code = reply.get(..3).filter(|code| code.bytes().all(|b| b.is_ascii_digit()))?;
    let is_status = |word: &&str| word.bytes().all(|b| b.is_ascii_digit() || b == b'.') && word.contains('.');
    let status = reply[3..].trim_start_matches(['-', ' ']).split(' ').next().filter(is_status);
    code.starts_with(['4', '5'])
        .then(|| status.map_or_else(|| code.to_owned(), |status| format!("{code} {status}")))
}

#[derive(Debug, Default)]
struct Recent {
    /// The oldest first.
    sessions: VecDeque<RecentSession>,
    /// Octets of all texts.
    octets: usize,
}

#[derive(Debug)]
struct RecentSession {
    entry: SessionEntry,
    text: String,
    /// True if the session is longer than the text.
    is_cut: bool,
}

impl Archive {
    /// The transcripts of a server that writes them to this directory, if there is one.
    pub(super) fn new(directory: Option<&Path>) -> Self {
        Self { directory: directory.map(Path::to_owned), ..Self::default() }
    }

    /// Records whether a session shows transcripts, and waits for changes.
    pub fn set_watched(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a session begins.
    pub(super) fn file_begins(&self, id: ConnId, name: &str) {
        let mut files = self.files();
        // Before the first request the directory has not been read.
        if files.read_at.is_some() {
            files.push(id, name);
        }
    }

    fn files(&self) -> MutexGuard<'_, FileIndex> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the files of a session. It may wait for a disk.
    fn names_of(&self, directory: &Path, id: ConnId) -> Vec<String> {
        let is_old = |read_at: Option<Instant>| read_at.is_none_or(|time| time.elapsed() >= REREAD_AFTER);
        let found = {
            let files = self.files();
            (files.of(id), is_old(files.read_at))
        };
        let (true, true) = (found.0.is_empty(), found.1) else { return found.0 };
        // Another server may write there too.
        let Ok(names) = Directory::trusted_if_root(directory).and_then(|open| open.names()) else {
            return Vec::new();
        };
        let mut names: Vec<(ConnId, Box<str>)> = names
            .iter()
            .filter_map(|name| name.to_str())
            .filter_map(|name| Some((session_of(name)?, name.into())))
            .collect();
        names.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
        let surplus = names.len().saturating_sub(MAX_INDEXED);
        let mut files = self.files();
        // A file that has begun meanwhile may be in the directory already, and then stands here twice.
        let newest = names.last().map(|(_, name)| name.clone());
        let later =
            files.names.drain(..).filter(|(_, name)| newest.as_ref().is_none_or(|newest| name > newest));
        let later: Vec<(ConnId, Box<str>)> = later.collect();
        files.names = names.drain(surplus..).chain(later).collect();
        files.read_at = Some(Instant::now());
        files.of(id)
    }

    /// A session begins, with the first lines of its transcript.
    pub(super) fn begin(&self, session: SessionEntry, head: &str) {
        let mut recent = self.recent();
        recent.sessions.push_back(RecentSession { entry: session, text: head.to_owned(), is_cut: false });
        recent.octets += head.len();
        recent.prune();
    }

    /// Adds lines to a session. Returns false if it is not shown, or no longer.
    pub(super) fn append(&self, id: ConnId, lines: &str) -> bool {
        let mut recent = self.recent();
        let Some(session) = recent.of(id).filter(|session| !session.is_cut) else { return false };
        let before = session.text.len();
        session.is_cut = before + lines.len() > MAX_SESSION;
        if session.is_cut {
            session.text.push_str(&format!("# cut: more than {MAX_SESSION} octets\n"));
        } else {
            session.text.push_str(lines);
        }
        session.entry.record(lines);
        let added = session.text.len() - before;
        recent.octets += added;
        recent.prune();
        true
    }

    /// A session has ended. Returns false if it is not shown.
    pub(super) fn end(&self, id: ConnId) -> bool {
        self.recent().of(id).map(|session| session.entry.is_over = true).is_some()
    }

    /// The last sessions, the newest first.
    pub fn sessions(&self) -> Vec<SessionEntry> {
        self.recent().sessions.iter().rev().map(|session| session.entry.clone()).collect()
    }

    /// The transcript of one of the last sessions.
    pub fn text(&self, id: ConnId) -> Option<String> {
        self.recent().of(id).map(|session| session.text.clone())
    }

    /// The transcript of the session that delivered a file. Ids of connections repeat after a restart, so a transcript counts
    /// only if it names the file. It may wait for a disk.
    pub fn of_delivery(&self, id: ConnId, file_name: &[u8]) -> Option<String> {
        // Flags follow a colon.
        let name = format::escaped(file_name.split(|b| *b == b':').next().unwrap_or_default());
        let is_name = |line: &str| {
            line.starts_with(DELIVERED)
                && line.rsplit('/').next().and_then(|last| last.split(':').next()) == Some(name.as_str())
        };
        let names_it = |text: &String| text.lines().any(is_name);
        if let Some(text) = self.text(id).filter(names_it) {
            return Some(text);
        }
        let directory = self.directory.as_deref()?;
        let read = |name| read_bounded(&directory.join(name), MAX_FILE).ok();
        let mut texts = self.names_of(directory, id).into_iter().filter_map(read);
        texts.find_map(|text| String::from_utf8(text).ok().filter(names_it))
    }
}

impl Recent {
    fn of(&mut self, id: ConnId) -> Option<&mut RecentSession> {
        // From the end, because the newest sessions are the active ones.
        self.sessions.iter_mut().rev().find(|session| session.entry.id == id)
    }

    fn prune(&mut self) {
        while self.sessions.len() > MAX_SESSIONS || (self.octets > MAX_OCTETS && self.sessions.len() > 1) {
            let Some(oldest) = self.sessions.pop_front() else { return };
            self.octets -= oldest.text.len();
        }
    }
}

/// The beginning of the line for a message that was delivered.
const DELIVERED: &str = "# spool: delivered ";
/// Sessions in memory.
const MAX_SESSIONS: usize = 200;
/// Octets of one session in memory.
const MAX_SESSION: usize = 128 * 1024;
/// Octets of all sessions in memory.
const MAX_OCTETS: usize = 4 << 20;
/// Octets of the last line in a list.
const MAX_LAST_LINE: usize = 200;
/// Files of one id that are read: one for each start of the server.
const MAX_FILES: usize = 8;
/// Files whose names are kept: some ten megabytes.
const MAX_INDEXED: usize = 100_000;
/// The directory is not read again before that time.
const REREAD_AFTER: Duration = Duration::from_secs(60);
/// Octets of a file that is read.
const MAX_FILE: u64 = 2 << 20;

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    pub(in crate::transcript) fn session(n: u64) -> SessionEntry {
        SessionEntry::new(ConnId(n), "smtp", "127.0.0.1:1".parse().unwrap(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn v106_a_session_has_its_user_and_its_result_from_its_lines() {
        let mut entry = session(1);
        entry.record("C: AUTH PLAIN *\n! welcome bob@x.test\nS: 235 2.7.0 Ok\nC: RCPT TO:<a@b.test>\n");
        entry.record("S: 550 5.1.1 No such user\nS: 250-PIPELINING\n! delivered\nS: 250 2.0.0 Queued\n");
        let facts = (entry.user.as_deref(), entry.delivered, entry.refusal.as_deref());
        assert_eq!(facts, (Some("bob@x.test"), 1, Some("550 5.1.1")));
        entry.record("S: -ERR no\nS: +OK\nS~ octets=3 lines=1\n");
        assert_eq!((entry.refusal.as_deref(), entry.retrieved), (Some("-ERR"), 1));
        assert_eq!(entry.last_line, "S: +OK");
        assert_eq!(
            ["421 bye", "220 hi", "4", "écart"].map(refusal_code),
            [Some("421".into()), None, None, None]
        );
    }

    #[test]
    fn v60_the_memory_of_sessions_has_a_bound_whatever_clients_do() {
        let archive = Archive::default();
        for n in 0..10_000 {
            archive.begin(session(n), "head\n");
        }
        assert_eq!(archive.sessions().len(), MAX_SESSIONS);
        assert_eq!(archive.sessions()[0].id, ConnId(9999), "the newest comes first");
        assert!(!archive.append(ConnId(0), "C: NOOP\n") && archive.text(ConnId(0)).is_none());
        for _ in 0..10_000 {
            archive.append(ConnId(9999), &"x".repeat(1000));
        }
        let text = archive.text(ConnId(9999)).unwrap();
        assert!(text.len() <= MAX_SESSION + 64 && text.contains("# cut: more than"), "{}", text.len());
        for n in 9800..10_000 {
            archive.append(ConnId(n), &"y".repeat(100_000));
        }
        let octets: usize = archive.recent().sessions.iter().map(|session| session.text.len()).sum();
        assert!(octets <= MAX_OCTETS && octets == archive.recent().octets, "{octets}");
        assert!(archive.end(ConnId(9999)) && archive.sessions()[0].is_over);
    }

    #[test]
    fn v61_a_message_has_the_transcript_that_names_its_file_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let archive = Archive::new(Some(home.path()));
        archive.begin(session(0x1000), "# spool: delivered /s/b@x.test/new/2.new\n");
        let old = "# spool: delivered /s/b@x.test/new/1.old\nS: 250 Queued\n";
        fs::write(home.path().join("20261121T180510.123Z-smtp-c1000.dlg"), old).unwrap();
        fs::write(home.path().join("20261121T180511.123Z-smtp-c1001.dlg"), old).unwrap();
        fs::write(home.path().join("20261121T180512.123Z-smtp-c1000.dlg"), "C: MAIL FROM:</1.old>\n")
            .unwrap();
        assert!(archive.of_delivery(ConnId(0x1000), b"2.new:2,S").is_some());
        assert_eq!(
            archive.of_delivery(ConnId(0x1000), b"1.old").as_deref(),
            Some(old),
            "of an earlier start"
        );
        assert_eq!(archive.of_delivery(ConnId(0x1002), b"1.old"), None);
        assert_eq!(archive.of_delivery(ConnId(0x1000), b"3.none"), None);
    }

    #[test]
    fn v103_the_directory_of_transcripts_is_read_once_and_not_for_each_page() {
        let home = tempfile::tempdir().unwrap();
        let archive = Archive::new(Some(home.path()));
        let text = |name: &str| format!("# spool: delivered /s/b@x.test/new/{name}\n");
        let write = |at: &str, id: u64, message: &str| {
            let name = format!("20261121T18051{at}.123Z-smtp-{}.dlg", ConnId(id));
            fs::write(home.path().join(&name), text(message)).unwrap();
            name
        };
        write("0", 0x1000, "1.a");
        assert_eq!(archive.of_delivery(ConnId(0x1000), b"1.a"), Some(text("1.a")));
        // The writer tells of its own files, and others are found when the directory is read the next time.
        write("1", 0x1001, "2.b");
        assert_eq!(archive.of_delivery(ConnId(0x1001), b"2.b"), None, "it was read a moment ago");
        archive.file_begins(ConnId(0x1002), &write("2", 0x1002, "3.c"));
        assert_eq!(archive.of_delivery(ConnId(0x1002), b"3.c"), Some(text("3.c")));
        let mut index = FileIndex::default();
        (0..=MAX_INDEXED as u64).for_each(|n| index.push(ConnId(n), "x"));
        assert_eq!((index.names.len(), index.of(ConnId(0)).len()), (MAX_INDEXED, 0));
    }
}
