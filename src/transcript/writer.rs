//! The thread that writes transcripts to their files and to memory, so that no session waits for the disk.
//!
//! The rules: the writer drops text that it cannot write, and records the number of dropped lines. A full
//! disk costs transcripts, never mail. The oldest files are deleted to make room for new ones.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::{
    archive::{Archive, SessionEntry},
    file_name::is_transcript,
};
use crate::{limits::Limits, proto::request::ConnId, safe_file::Directory};

/// The limits of `[limits.transcripts]`, and the descriptors for open files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    files: usize,
    octets: u64,
    /// Octets of one transcript.
    session: usize,
    /// Octets that may wait for the thread.
    queue: usize,
    /// The largest number of files open at the same time.
    open: usize,
}

impl Bounds {
    pub(super) fn of(limits: &Limits, open: usize) -> Self {
        Self {
            files: limits.transcripts.max_count,
            octets: limits.transcripts.max_total_size.0,
            session: limits.transcripts.max_size.as_len(),
            queue: limits.transcripts.queue_size.as_len(),
            open,
        }
    }
}

enum Entry {
    /// A session begins.
    Begin(Beginning),
    /// More lines of a session.
    Lines(ConnId, String),
    /// A session ends, and its file is closed.
    End(ConnId),
    /// A request to reply when every entry before it is written.
    Flush(Sender<()>),
}

/// The beginning of a transcript.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) id: ConnId,
    pub(super) file_name: String,
    /// The first lines.
    pub(super) head: String,
    /// The session in the list of those in memory; `None` if it is in its file only.
    pub(super) shown: Option<SessionEntry>,
}

/// The sending end of the thread's queue.
#[derive(Debug, Clone)]
pub(super) struct WriterHandle {
    queue: Sender<Entry>,
    /// Sessions whose end found no place in the queue.
    ended: Sender<ConnId>,
    /// Octets of all entries in the queue.
    waiting: Arc<AtomicUsize>,
    bounds: Bounds,
}

impl WriterHandle {
    /// Creates the directory, if there is one and it does not exist, and starts the thread.
    pub(super) fn open(
        directory: Option<&Path>,
        bounds: Bounds,
        archive: Arc<Archive>,
        changed: Box<dyn Fn() + Send>,
    ) -> io::Result<Self> {
        let directory = match directory {
            Some(directory) => {
                Directory::trusted_if_root_or_new(directory)?;
                Some(TranscriptDir::open(directory.to_owned(), bounds)?)
            }
            None => None,
        };
        let writer = WriterThread { directory, archive, changed, last_told: None, tell_at: None };
        let (queue, entries) = bounded(QUEUE);
        let (ended, ends) = unbounded();
        let waiting = Arc::new(AtomicUsize::new(0));
        let in_queue = Arc::clone(&waiting);
        thread::Builder::new()
            .name("transcripts".into())
            .spawn(move || writer.run(&entries, &ends, &in_queue))?;
        Ok(Self { queue, ended, waiting, bounds })
    }

    /// Begins the transcript of a session. If the queue is full, that session has none.
    pub(super) fn begin(&self, beginning: Beginning) -> TranscriptWriter {
        let (id, written) = (beginning.id, beginning.head.len());
        let mut writer = TranscriptWriter { handle: self.clone(), id, written, dropped: 0, begun: false };
        writer.begun = writer.submit(Entry::Begin(beginning), writer.written);
        writer
    }

    /// Waits until everything is written. Queuing the request and waiting for the reply each take at most
    /// [`FLUSH_TIMEOUT`].
    pub(super) fn flush(&self) {
        let (written, wait) = bounded(1);
        if self.queue.send_timeout(Entry::Flush(written), FLUSH_TIMEOUT).is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIMEOUT); // the rest stays unwritten
        }
    }
}

/// Queues the lines of one file.
#[derive(Debug)]
pub(super) struct TranscriptWriter {
    handle: WriterHandle,
    id: ConnId,
    written: usize,
    /// The number of dropped lines not yet recorded.
    dropped: usize,
    begun: bool,
}

impl TranscriptWriter {
    /// Queues lines. Drops them if the queue is full.
    pub(super) fn write(&mut self, mut lines: String) {
        if !self.begun || self.written > self.handle.bounds.session {
            return;
        }
        let count = lines.lines().count();
        if self.dropped > 0 {
            lines.insert_str(0, &dropped(self.dropped));
        }
        self.written += lines.len();
        if self.written > self.handle.bounds.session {
            lines = format!("# cut: more than {} octets\n", self.handle.bounds.session);
        }
        let octets = lines.len();
        if self.submit(Entry::Lines(self.id, lines), octets) {
            self.dropped = 0;
        } else {
            self.dropped += count;
        }
    }

    fn submit(&self, entry: Entry, octets: usize) -> bool {
        let waiting = self.handle.waiting.fetch_add(octets, Ordering::Relaxed) + octets;
        let fits = waiting <= self.handle.bounds.queue && self.handle.queue.try_send(entry).is_ok();
        if !fits {
            self.handle.waiting.fetch_sub(octets, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for TranscriptWriter {
    fn drop(&mut self) {
        if self.begun {
            let WriterHandle { queue, ended, .. } = &self.handle;
            if queue.try_send(Entry::End(self.id)).is_err() {
                let _ = ended.send(self.id); // an error means that the writer has ended
            }
        }
    }
}

/// The thread, and the places that it writes to.
struct WriterThread {
    /// `None` if the transcripts are in memory only.
    directory: Option<TranscriptDir>,
    archive: Arc<Archive>,
    /// Tells that sessions in memory have changed.
    changed: Box<dyn Fn() + Send>,
    last_told: Option<Instant>,
    /// The time at which it is told that sessions have changed, if they have.
    tell_at: Option<Instant>,
}

impl WriterThread {
    fn run(mut self, entries: &Receiver<Entry>, ends: &Receiver<ConnId>, waiting: &AtomicUsize) {
        loop {
            let entry = match self.tell_at {
                Some(time) => entries.recv_deadline(time),
                None => entries.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match entry {
                Ok(entry) => self.write(entry, waiting),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // The last lines of these sessions come before their ends.
            if entries.is_empty() {
                ends.try_iter().for_each(|id| self.write(Entry::End(id), waiting));
            }
            if self.tell_at.is_some_and(|time| time <= Instant::now()) {
                (self.changed)();
                self.last_told = Some(Instant::now());
                self.tell_at = None;
            }
        }
    }

    fn write(&mut self, entry: Entry, waiting: &AtomicUsize) {
        let is_news = match entry {
            Entry::Begin(Beginning { id, file_name, head, shown }) => {
                waiting.fetch_sub(head.len(), Ordering::Relaxed);
                if let Some(directory) = &mut self.directory {
                    self.archive.file_begins(id, &file_name);
                    directory.begin(id, file_name, &head);
                }
                let is_shown = shown.is_some();
                if let Some(session) = shown {
                    self.archive.begin(session, &head);
                }
                is_shown
            }
            Entry::Lines(id, lines) => {
                waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                if let Some(directory) = &mut self.directory {
                    directory.append(id, &lines);
                }
                self.archive.append(id, &lines)
            }
            Entry::End(id) => {
                if let Some(directory) = &mut self.directory {
                    directory.open.remove(&id);
                }
                self.archive.end(id)
            }
            Entry::Flush(written) => {
                let _ = written.send(()); // an error means that the requester no longer waits
                false
            }
        };
        if is_news && self.tell_at.is_none() && self.archive.is_watched() {
            let now = Instant::now();
            self.tell_at = Some(self.last_told.map_or(now, |last| now.max(last + TELL_INTERVAL)));
        }
    }
}

/// The directory of transcripts, as the thread sees it.
struct TranscriptDir {
    directory: PathBuf,
    bounds: Bounds,
    /// Names and sizes of all files, the oldest first.
    files: VecDeque<(String, u64)>,
    octets: u64,
    /// Transcripts of sessions that have not ended.
    open: HashMap<ConnId, OpenTranscript>,
    last_error_logged: Option<Instant>,
    /// True while another program has removed the directory, and it cannot be made again.
    is_gone: bool,
}

/// A transcript whose session has not ended.
struct OpenTranscript {
    name: String,
    /// `None` if it was closed because too many were open.
    file: Option<File>,
    octets: u64,
    dropped: usize,
}

impl TranscriptDir {
    fn open(directory: PathBuf, bounds: Bounds) -> io::Result<Self> {
        let mut files = Vec::new();
        let open = Directory::trusted_if_root(&directory)?;
        for name in open.names()? {
            if let Some(name) = name.to_str().filter(|name| is_transcript(name)) {
                files.push((name.to_owned(), open.size(name.as_ref()).unwrap_or_default()));
            }
        }
        files.sort();
        let octets = files.iter().map(|(_, octets)| octets).sum();
        Ok(Self {
            directory,
            bounds,
            files: files.into(),
            octets,
            open: HashMap::new(),
            last_error_logged: None,
            is_gone: false,
        })
    }

    fn begin(&mut self, id: ConnId, name: String, head: &str) {
        if self.open.len() >= MAX_SESSIONS {
            self.open.clear(); // their sessions have ended unnoticed, or continue without a transcript
        }
        if self.open.values().filter(|transcript| transcript.file.is_some()).count() >= self.bounds.open {
            self.open.values_mut().for_each(|transcript| transcript.file = None);
        }
        if matches!(self.directory.try_exists(), Ok(false)) && !self.make_again() {
            return;
        }
        self.open.insert(id, OpenTranscript { name: name.clone(), file: None, octets: 0, dropped: 0 });
        self.files.push_back((name, 0));
        self.append(id, head);
    }

    /// Makes the directory again, which another program has removed with all its files. The sandbox forbids it, because its
    /// rules belong to the old directory; then the log tells the remedy once.
    fn make_again(&mut self) -> bool {
        let place = self.directory.display();
        match Directory::trusted_if_root_or_new(&self.directory) {
            Ok(_) => {
                log::warn!("{place}: the directory of the transcripts was removed, and is made again");
                self.is_gone = false;
                self.forget_all();
                true
            }
            Err(error) => {
                if !self.is_gone {
                    log::warn!(
                        "{place}: the directory of the transcripts was removed, and the server may not make it again \
                         ({error}): restart the server, which makes it; until then it writes no transcripts"
                    );
                }
                self.is_gone = true;
                self.forget_all();
                false
            }
        }
    }

    /// Forgets files that are gone. Their sessions go on without a transcript, because none begins in the middle of one.
    fn forget_all(&mut self) {
        self.open.clear();
        self.files.clear();
        self.octets = 0;
    }

    fn append(&mut self, id: ConnId, lines: &str) {
        let Some(transcript) = self.open.get_mut(&id) else { return };
        match transcript.append(&self.directory, lines) {
            Ok(octets) => {
                self.is_gone = false;
                self.octets += octets;
                // Searched from the end, because an active session is usually among the newest.
                if let Some(file) = self.files.iter_mut().rev().find(|(name, _)| *name == transcript.name) {
                    file.1 += octets;
                }
                self.prune();
            }
            // A user may have made a directory in the place of the old one, which the sandbox does not know.
            Err(_) if self.is_gone => {}
            Err(error) => self.log_error(&error),
        }
    }

    /// Deletes the oldest files beyond the limits.
    fn prune(&mut self) {
        while self.files.len() > 1
            && (self.files.len() > self.bounds.files || self.octets > self.bounds.octets)
        {
            let Some((name, octets)) = self.files.pop_front() else { return };
            self.octets -= octets.min(self.octets);
            self.open.retain(|_, transcript| transcript.name != name);
            // An error is ignored, because another program may have removed the file already.
            let _ = Directory::trusted_if_root(&self.directory).and_then(|open| open.remove(name.as_ref()));
        }
    }

    fn log_error(&mut self, error: &io::Error) {
        if self.last_error_logged.is_none_or(|last| last.elapsed() > ERROR_LOG_INTERVAL) {
            self.last_error_logged = Some(Instant::now());
            // The rules of the sandbox belong to the old directory.
            let is_new = error.kind() == ErrorKind::PermissionDenied;
            let remedy = if is_new { "; if the directory was made anew, restart the server" } else { "" };
            log::warn!("{}: cannot write transcripts: {error}{remedy}", self.directory.display());
        }
    }
}

impl OpenTranscript {
    /// Appends all of the lines, or none.
    fn append(&mut self, directory: &Path, lines: &str) -> io::Result<u64> {
        let text = if self.dropped > 0 { dropped(self.dropped) + lines } else { lines.to_owned() };
        let written = self.file(directory).and_then(|file| {
            let length = file.metadata()?.len();
            file.write_all(text.as_bytes()).inspect_err(|_| {
                let _ = file.set_len(length); // removes a part of the lines
            })
        });
        match written {
            Ok(()) => {
                self.dropped = 0;
                self.octets += text.len() as u64;
                Ok(text.len() as u64)
            }
            Err(error) => {
                self.dropped += lines.lines().count();
                Err(error)
            }
        }
    }

    fn file(&mut self, directory: &Path) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let (open, name) = (Directory::trusted_if_root(directory)?, self.name.as_ref());
                // The file is created only once. If another program has removed it, no new one begins in the
                // middle of the session.
                let made = if self.octets == 0 { open.create(name, 0o600).map(drop) } else { Ok(()) };
                match made {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists && self.dropped > 0 => {}
                    made => made?,
                }
                open.append(name)?
            }
        };
        Ok(self.file.insert(file))
    }
}

/// The line that records the number of dropped lines.
fn dropped(lines: usize) -> String {
    format!("# dropped: {lines} lines\n")
}

/// The shortest time between two calls of `changed`: a change is shown at once, and a flood of them ten times a second.
const TELL_INTERVAL: Duration = Duration::from_millis(100);
/// The largest number of entries in the queue.
const QUEUE: usize = 8192;
/// The time to wait for the disk when the server ends.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// The largest number of sessions with a transcript at the same time.
const MAX_SESSIONS: usize = 100_000;
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
