use std::fs::{self, OpenOptions};

use super::*;
use crate::transcript::archive::tests::session;

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
    let mut directory = TranscriptDir::open(path.to_owned(), BOUNDS).unwrap();
    directory.begin(ConnId(3), name(3), "head\n");
    assert_eq!(names(path), [name(1), name(2), name(3), "notes-of-mine.dlg".into()]);
    directory.append(ConnId(3), &"y".repeat(80));
    assert_eq!(names(path), [name(3), "notes-of-mine.dlg".into()], "not more than 100 octets");
    directory.append(ConnId(3), &"z".repeat(80));
    assert_eq!(names(path)[0], name(3), "the last one stays");
}

#[test]
fn what_does_not_fit_into_the_queue_is_dropped_and_told() {
    let (queue, entries) = bounded(QUEUE);
    let backend = WriterHandle { queue, ended: unbounded().0, waiting: Arc::default(), bounds: BOUNDS };
    let head = "x".repeat(20);
    let mut pen = backend.begin(Beginning { id: ConnId(1), file_name: name(1), head, shown: None });
    pen.write("C: NOOP\n".repeat(4));
    pen.write("C: NOOP\n".repeat(3)); // 20 + 32 are waiting, of 60
    pen.write("C: RSET\nS: 250\n".into());
    let taken = |entry| match entry {
        Entry::Begin(Beginning { head: text, .. }) | Entry::Lines(_, text) => {
            backend.waiting.fetch_sub(text.len(), Ordering::Relaxed);
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
fn a_session_ends_although_the_queue_is_full_at_its_end() {
    let ((queue, entries), (ended, ends)) = (bounded(1), unbounded());
    let handle = WriterHandle { queue, ended, waiting: Arc::default(), bounds: BOUNDS };
    let beginning =
        Beginning { id: ConnId(1), file_name: name(1), head: "x".into(), shown: Some(session(1)) };
    drop(handle.begin(beginning));
    drop(handle);
    let archive = Arc::new(Archive::default());
    let changed = Box::new(|| {});
    let thread = WriterThread {
        directory: None,
        archive: Arc::clone(&archive),
        changed,
        last_told: None,
        tell_at: None,
    };
    thread.run(&entries, &ends, &AtomicUsize::new(1));
    assert!(archive.sessions()[0].is_over);
}

#[test]
fn a_disk_that_is_full_costs_lines_that_are_told_when_it_is_not_full_any_longer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name(1));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut page = OpenTranscript { name: name(1), file: Some(full), octets: 0, dropped: 0 };
    assert_eq!(page.append(directory.path(), "one\ntwo\n").unwrap_err().kind(), ErrorKind::StorageFull);
    page.file = None;
    page.append(directory.path(), "three\n").unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "# dropped: 2 lines\nthree\n");
}

#[test]
fn u94_a_directory_that_was_removed_is_made_again_with_the_next_session() {
    use std::os::unix::fs::PermissionsExt;

    let home = tempfile::tempdir().unwrap();
    let (above, path) = (home.path().join("above"), home.path().join("above/transcripts"));
    fs::create_dir(&above).unwrap();
    fs::create_dir(&path).unwrap();
    let mut directory = TranscriptDir::open(path.clone(), BOUNDS).unwrap();
    directory.begin(ConnId(1), name(1), "one\n");
    fs::remove_dir_all(&path).unwrap();
    directory.append(ConnId(1), "C: NOOP\n");
    assert!(!path.exists(), "a session that goes on makes nothing");
    directory.begin(ConnId(2), name(2), "two\n");
    directory.append(ConnId(1), "C: QUIT\n");
    directory.append(ConnId(2), "C: QUIT\n");
    assert_eq!(names(&path), [name(2)]);
    assert_eq!(fs::read_to_string(path.join(name(2))).unwrap(), "two\nC: QUIT\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!((directory.files.len(), directory.octets), (1, 12), "the files that are gone count no more");

    fs::remove_dir_all(&above).unwrap();
    directory.begin(ConnId(3), name(3), "three\n");
    assert!(directory.is_gone && !directory.open.contains_key(&ConnId(3)));
    fs::create_dir(&above).unwrap();
    directory.begin(ConnId(4), name(4), "four\n");
    assert!(!directory.is_gone);
    assert_eq!(names(&path), [name(4)]);
}
