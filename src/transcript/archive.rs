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
    time::SystemTime,
};

use super::{file_name::is_of_session, format};
use crate::{open_regular::read_bounded, proto::request::ConnId, safe_file::Directory};

/// The last sessions, and the directory of earlier ones.
#[derive(Debug, Default)]
pub struct Archive {
    recent: Mutex<Recent>,
    directory: Option<PathBuf>,
    /// True if a session shows transcripts, and waits for changes.
    is_watched: AtomicBool,
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
        let is_spoken = |line: &&str| line.starts_with("C: ") || line.starts_with("S: ");
        if let Some(line) = lines.lines().rev().find(is_spoken) {
            session.entry.last_line = line[..line.floor_char_boundary(MAX_LAST_LINE)].to_owned();
        }
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
        let names = Directory::trusted_if_root(directory).and_then(|open| open.names()).ok()?;
        let names = names.iter().filter_map(|name| name.to_str());
        let mut names: Vec<&str> = names.filter(|name| is_of_session(name, id)).collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        let read = |name| read_bounded(&directory.join(name), MAX_FILE).ok();
        let mut texts = names.into_iter().take(MAX_FILES).filter_map(read);
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
/// Octets of a file that is read.
const MAX_FILE: u64 = 2 << 20;

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    pub(in crate::transcript) fn session(n: u64) -> SessionEntry {
        SessionEntry {
            id: ConnId(n),
            service: "smtp".into(),
            peer: "127.0.0.1:1".parse().unwrap(),
            began: SystemTime::UNIX_EPOCH,
            last_line: String::new(),
            is_over: false,
        }
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
}
