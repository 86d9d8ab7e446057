//! The queue from the logging threads to the writer thread. Logging never waits; dropped lines are counted.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crossbeam_channel::bounded;
use log::Level;

use super::{escape::escape, line::Line, output::Output, settings::Destination};
use crate::{
    file_rights::way_to_append,
    metrics::METRICS,
    parking_queue::{self, Receiver, Sender},
    printable,
};

#[derive(Debug)]
pub(super) enum Entry {
    Line(Line),
    /// Reply when everything before this is written. The number is that of lines dropped since the last line.
    Flush(u64, crossbeam_channel::Sender<()>),
    /// The output may have changed, at that time.
    ChangeOutput(SystemTime),
}

/// Collects the pieces from the logger into lines, and queues them.
pub(super) struct LineWriter {
    gathered: Vec<u8>,
    queue: Sender<Entry>,
    dropped: u64,
}

impl LineWriter {
    pub(super) fn new() -> (Self, Receiver<Entry>) {
        let (queue, entries) = parking_queue::bounded_for_one(QUEUE);
        (Self { gathered: Vec::new(), queue, dropped: 0 }, entries)
    }

    /// Another sender of the queue.
    pub(super) fn queue(&self) -> Sender<Entry> {
        self.queue.clone()
    }

    fn send(&mut self) {
        let text = String::from_utf8_lossy(&self.gathered);
        let (level, text) = parts(text.trim_end_matches('\n'));
        // The last check: a line stays one line, whatever paths and reasons it contains.
        let mut line = Line::new(level, printable::escape_line(text));
        line.dropped = self.dropped;
        self.gathered.clear();
        METRICS.log_lines.inc();
        match self.queue.try_send(Entry::Line(line)) {
            Ok(()) => {
                METRICS.log_queue.inc();
                self.dropped = 0;
            }
            Err(_) => {
                METRICS.log_dropped.inc();
                self.dropped += 1;
            }
        }
    }
}

/// Splits off the level that the logger has put in front.
fn parts(line: &str) -> (Level, &str) {
    let split = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    split.and_then(|(level, rest)| Some((level.parse().ok()?, rest))).unwrap_or((Level::Info, line))
}

impl Write for LineWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(piece);
        if piece.ends_with(b"\n") {
            self.send();
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (written, wait) = bounded(1);
        let asked = self.queue.send_timeout(Entry::Flush(self.dropped, written), FLUSH_TIMEOUT);
        if asked.is_ok() {
            self.dropped = 0;
        }
        if asked.is_ok() && wait.recv_timeout(FLUSH_TIMEOUT).is_ok() {
            return Ok(());
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// The thread that waits for the log's reader. Lines that cannot be written are dropped; the next line that
/// can be is preceded by their number. A line of this thread has the time of the entry after which it comes first, so that the
/// times of the log are in order.
pub(super) fn run_writer(queue: &Receiver<Entry>, mut output: Output, next: &PendingDestination) {
    let mut dropped = 0;
    while let Some(entry) = queue.recv() {
        let time = match &entry {
            Entry::Line(Line { time, .. }) | Entry::ChangeOutput(time) => *time,
            Entry::Flush(..) => SystemTime::now(),
        };
        if let Some(to) = next.take() {
            match Output::open(&to) {
                Ok(opened) => output = opened,
                Err(error) => {
                    // The old output is still open, and may be the one that is read.
                    let text = format!("the log stays where it is: cannot open {to}: {error}");
                    let text = escape(&text) + &advice(&to, &error);
                    let _ = output.write(&Line { time, ..Line::new(Level::Error, text) });
                }
            }
        }
        match entry {
            Entry::Line(line) => {
                METRICS.log_queue.sub(1);
                dropped = report_dropped(dropped + line.dropped, time, &mut output);
                if output.write(&line).is_err() {
                    METRICS.log_dropped.inc();
                    dropped += 1;
                }
            }
            Entry::Flush(more, written) => {
                dropped = report_dropped(dropped + more, time, &mut output);
                let _ = written.send(()); // the requester may have stopped waiting
            }
            Entry::ChangeOutput(_) => {}
        }
    }
}

/// The command that gives this process the right to a file that does not open, in the form of an end of that line.
fn advice(to: &Destination, error: &io::Error) -> String {
    let Destination::File(path) = to else { return String::new() };
    let way = (error.kind() == io::ErrorKind::PermissionDenied).then(|| way_to_append(path)).flatten();
    way.map(|way| format!(": {}", printable::escape_line(&way))).unwrap_or_default()
}

/// The output to use from the next line on. Locked only for an instant.
#[derive(Debug, Default)]
pub(super) struct PendingDestination(Mutex<Option<Destination>>);

impl PendingDestination {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn set(&self, to: Destination) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }

    fn take(&self) -> Option<Destination> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Writes the number of dropped lines, if any. Returns the number still to be reported.
fn report_dropped(dropped: u64, time: SystemTime, output: &mut Output) -> u64 {
    let line = || Line { time, ..Line::new(Level::Warn, format!("log dropped={dropped}")) };
    let told = dropped > 0 && output.write(&line()).is_ok();
    if told { 0 } else { dropped }
}

/// Lines that may wait for the writer. Further ones are dropped and counted.
const QUEUE: usize = 4096;
/// Time limit for the log's reader when the program ends.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;

    /// Everything written once all senders are gone.
    fn written(lines: LineWriter, entries: &Receiver<Entry>) -> String {
        drop(lines);
        let text = Arc::<Mutex<Vec<u8>>>::default();
        run_writer(entries, Output::stream(Page(Arc::clone(&text))), &PendingDestination::new());
        String::from_utf8(text.lock().unwrap().clone()).unwrap()
    }

    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_in_one_piece_with_its_time_and_level() {
        let (mut lines, entries) = LineWriter::new();
        for piece in ["[", "WARN", "] ", "one", "\n"] {
            lines.write_all(piece.as_bytes()).unwrap();
        }
        let text = written(lines, &entries);
        let (_, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "[WARN] one\n");
    }

    #[test]
    fn o04_a_reader_who_does_not_read_costs_lines_and_no_time() {
        let (mut lines, entries) = LineWriter::new();
        for n in 0..QUEUE + 3 {
            writeln!(lines, "[INFO] {n}").unwrap();
        }
        assert!(lines.flush().is_err());
        let waiting = entries.recv().unwrap();
        assert!(matches!(waiting, Entry::Line(line) if line.text == "0"));
        writeln!(lines, "[INFO] after").unwrap();
        let text = written(lines, &entries);
        let last: Vec<_> = text.lines().rev().take(2).map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(last, ["[INFO] after", "[WARN] log dropped=3"]);
    }

    #[test]
    fn n175_the_times_of_the_log_are_in_order_beside_lines_of_the_writer_itself() {
        let (mut lines, entries) = LineWriter::new();
        for n in 0..QUEUE + 3 {
            writeln!(lines, "[INFO] {n}").unwrap();
        }
        drop(entries.recv());
        let next = PendingDestination::new();
        next.set(Destination::File("/not/there/log".into()));
        writeln!(lines, "[INFO] after").unwrap();
        drop(lines);
        let text = Arc::<Mutex<Vec<u8>>>::default();
        run_writer(&entries, Output::stream(Page(Arc::clone(&text))), &next);
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        for told in ["[ERROR] the log stays where it is: ", "[WARN] log dropped="] {
            assert!(text.contains(told), "{told}");
        }
        assert!(text.lines().map(|line| line.split_once(' ').unwrap().0).is_sorted(), "{text}");
    }

    #[test]
    fn the_log_moves_to_another_place_between_two_lines_or_stays() {
        let home = tempfile::tempdir().unwrap();
        let (path, next) = (home.path().join("log"), Arc::new(PendingDestination::new()));
        let open = |to: &Destination| Output::open(to).unwrap();
        let to = Destination::File(path.clone());
        let (mut lines, entries) = LineWriter::new();
        let (thread, queue) = (
            std::thread::spawn({
                let (output, next) = (open(&to), Arc::clone(&next));
                move || run_writer(&entries, output, &next)
            }),
            lines.queue(),
        );
        let mut say = |text: &str, next_to: Destination| {
            writeln!(lines, "[INFO] {text}").unwrap();
            while lines.flush().is_err() {} // a machine may be slow
            next.set(next_to);
            queue.try_send(Entry::ChangeOutput(SystemTime::now())).unwrap();
            while lines.flush().is_err() {}
        };
        fs::rename(&path, home.path().join("log.1")).unwrap();
        say("one", to.clone());
        say("two", Destination::File(home.path().join("not/there")));
        say("three", to);
        drop((queue, lines));
        thread.join().unwrap();
        let text = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
        let texts = |name: &str| {
            text(name).lines().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts("log.1"), ["[INFO] one"]);
        let now = texts("log");
        assert_eq!((now.len(), &*now[0], &*now[2]), (3, "[INFO] two", "[INFO] three"));
        assert!(now[1].starts_with("[ERROR] the log stays where it is: cannot open "), "{}", now[1]);
    }
}
