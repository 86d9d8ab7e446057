//! The thread that waits for the disk, so that no session does.
//!
//! The rules: what can't be written is dropped, counted and told; a full disk costs transcripts, never mail;
//! and the oldest files make room for new ones.

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

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{limits::Limits, proto::ask::ConnId, safe_file::Directory};

/// The bounds of what is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    files: usize,
    octets: u64,
    session: usize,
    queue: usize,
    /// Files open at a time.
    open: usize,
}

impl Bounds {
    pub(super) fn of(limits: &Limits, open: usize) -> Self {
        Self {
            files: limits.transcripts,
            octets: limits.transcripts_size.0,
            session: limits.transcript.as_len(),
            queue: limits.transcript_queue.as_len(),
            open,
        }
    }
}

enum Entry {
    /// A session begins: the name of its file, and its first lines.
    Begin(ConnId, String, String),
    /// It goes on.
    Lines(ConnId, String),
    /// It is over.
    End(ConnId),
    /// Everything before this is written when it is answered.
    Flush(Sender<()>),
}

/// The near end of the queue to the thread.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    queue: Sender<Entry>,
    /// Octets in it.
    waiting: Arc<AtomicUsize>,
    bounds: Bounds,
}

impl Desk {
    /// Makes the directory if it is not there, and starts the thread.
    pub(super) fn open(directory: &Path, bounds: Bounds) -> io::Result<Self> {
        Directory::named_or_new(directory)?;
        let shelf = Shelf::open(directory.to_owned(), bounds)?;
        let (queue, entries) = bounded(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting);
        thread::Builder::new()
            .name("transcripts".into())
            .spawn(move || shelf.write_down(&entries, &taken))?;
        Ok(Self { queue, waiting, bounds })
    }

    /// Begins a file.
    pub(super) fn pen(&self, id: ConnId, name: String, head: String) -> Pen {
        let mut pen = Pen { desk: self.clone(), id, written: head.len(), dropped: 0, begun: false };
        pen.begun = pen.submit(Entry::Begin(id, name, head), pen.written);
        pen
    }

    /// Waits until everything is written, for a moment at most.
    pub(super) fn finish(&self) {
        let (written, wait) = bounded(1);
        if self.queue.send_timeout(Entry::Flush(written), PATIENCE).is_ok() {
            let _ = wait.recv_timeout(PATIENCE); // what is not written by now stays unwritten
        }
    }
}

/// What writes one file.
#[derive(Debug)]
pub(super) struct Pen {
    desk: Desk,
    id: ConnId,
    written: usize,
    /// Lines that were dropped, and not told yet.
    dropped: usize,
    begun: bool,
}

impl Pen {
    /// Queues some lines, or drops them.
    pub(super) fn write(&mut self, mut lines: String) {
        if !self.begun || self.written > self.desk.bounds.session {
            return;
        }
        let count = lines.lines().count();
        if self.dropped > 0 {
            lines.insert_str(0, &dropped(self.dropped));
        }
        self.written += lines.len();
        if self.written > self.desk.bounds.session {
            lines = format!("# cut: more than {} octets\n", self.desk.bounds.session);
        }
        let octets = lines.len();
        if self.submit(Entry::Lines(self.id, lines), octets) {
            self.dropped = 0;
        } else {
            self.dropped += count;
        }
    }

    fn submit(&self, entry: Entry, octets: usize) -> bool {
        let waiting = self.desk.waiting.fetch_add(octets, Ordering::Relaxed) + octets;
        let fits = waiting <= self.desk.bounds.queue && self.desk.queue.try_send(entry).is_ok();
        if !fits {
            self.desk.waiting.fetch_sub(octets, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        if self.begun {
            // A full queue: the file is closed when another one needs its place.
            let _ = self.desk.queue.try_send(Entry::End(self.id));
        }
    }
}

/// The files.
struct Shelf {
    directory: PathBuf,
    bounds: Bounds,
    /// Their names and octets, the oldest first.
    files: VecDeque<(String, u64)>,
    octets: u64,
    /// Those being written.
    pages: HashMap<ConnId, Page>,
    complained: Option<Instant>,
}

/// One of them.
struct Page {
    name: String,
    /// Closed when too many are open.
    file: Option<File>,
    octets: u64,
    dropped: usize,
}

impl Shelf {
    fn open(directory: PathBuf, bounds: Bounds) -> io::Result<Self> {
        let mut files = Vec::new();
        let open = Directory::named(&directory)?;
        for name in open.names()? {
            if let Some(name) = name.to_str().filter(|name| is_transcript(name)) {
                files.push((name.to_owned(), open.size(name.as_ref()).unwrap_or_default()));
            }
        }
        files.sort();
        let octets = files.iter().map(|(_, octets)| octets).sum();
        let (files, pages) = (files.into(), HashMap::new());
        Ok(Self { directory, bounds, files, octets, pages, complained: None })
    }

    fn write_down(mut self, entries: &Receiver<Entry>, waiting: &AtomicUsize) {
        for entry in entries {
            match entry {
                Entry::Begin(id, name, head) => {
                    waiting.fetch_sub(head.len(), Ordering::Relaxed);
                    self.begin(id, name, &head);
                }
                Entry::Lines(id, lines) => {
                    waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                    self.append(id, &lines);
                }
                Entry::End(id) => drop(self.pages.remove(&id)),
                Entry::Flush(written) => {
                    let _ = written.send(()); // who asked has lost patience
                }
            }
        }
    }

    fn begin(&mut self, id: ConnId, name: String, head: &str) {
        if self.pages.len() >= MOST_PAGES {
            self.pages.clear(); // their sessions ended unseen, or go on unwritten
        }
        if self.pages.values().filter(|page| page.file.is_some()).count() >= self.bounds.open {
            self.pages.values_mut().for_each(|page| page.file = None);
        }
        self.pages.insert(id, Page { name: name.clone(), file: None, octets: 0, dropped: 0 });
        self.files.push_back((name, 0));
        self.append(id, head);
    }

    fn append(&mut self, id: ConnId, lines: &str) {
        let Some(page) = self.pages.get_mut(&id) else { return };
        match page.append(&self.directory, lines) {
            Ok(octets) => {
                self.octets += octets;
                // The newest are the last: a session that writes is most often among them.
                if let Some(file) = self.files.iter_mut().rev().find(|(name, _)| *name == page.name) {
                    file.1 += octets;
                }
                self.make_room();
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Removes the oldest files beyond the bounds.
    fn make_room(&mut self) {
        while self.files.len() > 1
            && (self.files.len() > self.bounds.files || self.octets > self.bounds.octets)
        {
            let Some((name, octets)) = self.files.pop_front() else { return };
            self.octets -= octets.min(self.octets);
            self.pages.retain(|_, page| page.name != name);
            // Somebody else may have removed it.
            let _ = Directory::named(&self.directory).and_then(|open| open.remove(name.as_ref()));
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            log::warn!("{}: transcripts are not written: {error}", self.directory.display());
        }
    }
}

impl Page {
    /// Appends all of it, or nothing.
    fn append(&mut self, directory: &Path, lines: &str) -> io::Result<u64> {
        let text = if self.dropped > 0 { dropped(self.dropped) + lines } else { lines.to_owned() };
        let written = self.file(directory).and_then(|file| {
            let length = file.metadata()?.len();
            file.write_all(text.as_bytes()).inspect_err(|_| {
                let _ = file.set_len(length); // half a line is worse than none
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
                let (open, name) = (Directory::named(directory)?, self.name.as_ref());
                // Made once: a transcript that somebody has removed is not begun in its middle.
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

/// The line that tells of others.
fn dropped(lines: usize) -> String {
    format!("# dropped: {lines} lines\n")
}

/// Whether that may be the name of a transcript of ours: nothing else is ever removed.
fn is_transcript(name: &str) -> bool {
    let mut parts = name.split('-');
    let time = parts.next().is_some_and(|time| {
        time.len() == 20 && time.ends_with('Z') && time.starts_with(|c: char| c.is_ascii_digit())
    });
    time && parts.count() == 2 && name.ends_with(super::SUFFIX)
}

/// Entries that wait for the thread.
const QUEUE: usize = 8192;
/// How long the end of the server waits for the disk.
const PATIENCE: Duration = Duration::from_millis(500);
/// Sessions that are being written down.
const MOST_PAGES: usize = 100_000;
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    const BOUNDS: Bounds = Bounds { files: 3, octets: 100, session: 1000, queue: 60, open: 64 };

    fn name(n: usize) -> String {
        format!("20261121T180510.{n:03}Z-smtp-c{n}.dlg")
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_make_room_also_those_of_an_earlier_server_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        (0..3).for_each(|n| fs::write(path.join(name(n)), "x".repeat(30)).unwrap());
        fs::write(path.join("notes-of-mine.dlg"), "x".repeat(500)).unwrap();
        let mut shelf = Shelf::open(path.to_owned(), BOUNDS).unwrap();
        shelf.begin(ConnId(3), name(3), "head\n");
        assert_eq!(names(path), [name(1), name(2), name(3), "notes-of-mine.dlg".into()]);
        shelf.append(ConnId(3), &"y".repeat(80));
        assert_eq!(names(path), [name(3), "notes-of-mine.dlg".into()], "not more than 100 octets");
        shelf.append(ConnId(3), &"z".repeat(80));
        assert_eq!(names(path)[0], name(3), "the last one stays");
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_dropped_and_told() {
        let (queue, entries) = bounded(QUEUE);
        let desk = Desk { queue, waiting: Arc::default(), bounds: BOUNDS };
        let mut pen = desk.pen(ConnId(1), name(1), "x".repeat(20));
        pen.write("C: NOOP\n".repeat(4));
        pen.write("C: NOOP\n".repeat(3)); // 20 + 32 are waiting, of 60
        pen.write("C: RSET\nS: 250\n".into());
        let taken = |entry| match entry {
            Entry::Begin(_, _, text) | Entry::Lines(_, text) => {
                desk.waiting.fetch_sub(text.len(), Ordering::Relaxed);
                text
            }
            _ => String::new(),
        };
        let first: Vec<String> = entries.try_iter().map(taken).collect();
        assert_eq!(first, ["x".repeat(20), "C: NOOP\n".repeat(4)]);
        pen.write("C: QUIT\n".into());
        assert_eq!(taken(entries.try_recv().unwrap()), "# dropped: 5 lines\nC: QUIT\n");
    }

    #[test]
    fn a_disk_that_is_full_costs_lines_that_are_told_when_it_is_not_full_any_longer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name(1));
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut page = Page { name: name(1), file: Some(full), octets: 0, dropped: 0 };
        assert_eq!(page.append(directory.path(), "one\ntwo\n").unwrap_err().kind(), ErrorKind::StorageFull);
        page.file = None;
        page.append(directory.path(), "three\n").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "# dropped: 2 lines\nthree\n");
    }
}
